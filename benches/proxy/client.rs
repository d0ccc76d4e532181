//! Clients over loopback that cost next to nothing, and how many of them keep a proxy busy.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::{backend::head_end, support::settings::proxy as settings};

/// How long a cookie is, about that of the balancer's.
const COOKIE: usize = 84;

/// What request bodies are made of.
static BODY: [u8; 64 << 10] = [b'x'; 64 << 10];

/// What a client asks.
#[derive(Clone)]
pub struct Ask {
    pub method: &'static str,
    pub path: String,
    /// The size of the request's body.
    pub up: usize,
    /// The size of the answer's.
    pub down: usize,
    /// Over a connection of its own.
    pub is_fresh: bool,
}

impl Ask {
    /// A GET over a connection that is kept, answered with as little as anything.
    pub fn get(path: impl Into<String>) -> Self {
        let path = path.into();
        Self { method: "GET", path, up: 0, down: settings::SMALL, is_fresh: false }
    }
}

/// A client that keeps its connection if it can, and a session if it is given one.
pub struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// Some application's, until it is given one: requests of the same length cost servers the same.
    cookie: String,
    has_session: bool,
    bytes: Vec<u8>,
}

impl Client {
    pub fn of(address: SocketAddr) -> Self {
        let cookie = format!("application={}", "x".repeat(COOKIE - "application=".len()));
        let bytes = Vec::with_capacity(64 << 10);
        Self { address, stream: None, cookie, has_session: false, bytes }
    }

    /// Connects, if it is not.
    pub async fn connect(&mut self) -> &mut TcpStream {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            self.stream = Some(stream);
        }
        self.stream.as_mut().unwrap()
    }

    /// Sends a request and reads the answer.
    pub async fn exchange(&mut self, ask: &Ask) {
        self.send(ask).await;
        self.receive(ask).await;
    }

    async fn send(&mut self, ask: &Ask) {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench/1.0\r\n\
             accept: text/html\r\naccept-encoding: gzip\r\ncookie: {}\r\n",
            ask.method, ask.path, self.cookie
        );
        if ask.up > 0 {
            head.push_str(&format!("content-length: {}\r\n", ask.up));
        }
        if ask.is_fresh {
            head.push_str("connection: close\r\n");
        }
        head.push_str("\r\n");
        let stream = self.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut left = ask.up;
        while left > 0 {
            let part = &BODY[..left.min(BODY.len())];
            stream.write_all(part).await.unwrap();
            left -= part.len();
        }
    }

    async fn receive(&mut self, ask: &Ask) {
        let Self { stream, bytes, .. } = self;
        let connection = stream.as_mut().unwrap();
        bytes.clear();
        let end = loop {
            let read = connection.read_buf(bytes).await.unwrap();
            assert!(read > 0, "the proxy closed the connection");
            if let Some(end) = head_end(bytes) {
                break end;
            }
        };
        let mut came = bytes.len() - end;
        let head = str::from_utf8(&bytes[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        if let Some((_, set)) = head.split_once("set-cookie: ") {
            let (pair, _) = set.split_once(';').unwrap();
            self.cookie = pair.to_owned();
            self.has_session = true;
        }
        while came < ask.down {
            bytes.clear();
            let read = connection.read_buf(bytes).await.unwrap();
            assert!(read > 0, "the proxy closed the connection");
            came += read;
        }
        assert_eq!(came, ask.down);
        if ask.is_fresh {
            // Whoever closes first keeps the connection's ghost for a minute; it must not be us, who
            // would run out of ports.
            assert_eq!(connection.read_buf(bytes).await.unwrap(), 0, "the proxy did not close");
            *stream = None;
        }
    }
}

/// Clients of a proxy.
pub struct Load {
    clients: Vec<Client>,
    is_sticky: bool,
}

#[derive(Clone, Copy)]
pub enum Until {
    Passed(Duration),
    /// Each client has sent so many.
    Each(usize),
}

impl Load {
    /// Of a proxy that gives sessions, or does not.
    pub fn of(address: SocketAddr, clients: usize, is_sticky: bool) -> Self {
        Self { clients: (0..clients).map(|_| Client::of(address)).collect(), is_sticky }
    }

    /// Lets one client after another send a request.
    pub async fn one_by_one(&mut self, ask: &Ask) {
        for client in &mut self.clients {
            client.exchange(ask).await;
        }
    }

    /// Keeps all clients busy, and returns how many requests were answered.
    pub async fn run(&mut self, ask: &Ask, until: Until) -> usize {
        let started = Instant::now();
        let answered = Arc::new(AtomicUsize::new(0));
        let mut busy = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let (answered, ask, is_sticky) = (Arc::clone(&answered), ask.clone(), self.is_sticky);
            busy.spawn(async move {
                for sent in 1.. {
                    client.exchange(&ask).await;
                    assert_eq!(client.has_session, is_sticky);
                    answered.fetch_add(1, Ordering::Relaxed);
                    let is_over = match until {
                        Until::Passed(time) => started.elapsed() >= time,
                        Until::Each(requests) => sent >= requests,
                    };
                    if is_over {
                        break;
                    }
                }
                client
            });
        }
        self.clients = busy.join_all().await;
        answered.load(Ordering::Relaxed)
    }
}
