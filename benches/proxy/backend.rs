//! The targets of all proxies: they answer with bytes made beforehand, and count the length of a
//! request's body, no more. What is asked for stands in the path.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::Semaphore,
    time::sleep,
};

use crate::support::{
    settings::proxy as settings,
    wire::{self, HEAD_END},
};

/// Is answered when [`Backends::release`] says so. This answer and the next are small.
pub const HELD: &str = "/held";

/// Is answered, and the connection closed.
pub const CLOSED: &str = "/closed";

/// The path of an answer with a body of so many bytes.
pub fn path_of(size: usize) -> String {
    format!("/bytes/{size}")
}

/// Two targets.
pub struct Backends {
    pub addresses: [SocketAddr; 2],
    answers: Arc<Answers>,
}

struct Answers {
    by_path: BTreeMap<String, Vec<u8>>,
    default: Vec<u8>,
    closed: Vec<u8>,
    held: AtomicUsize,
    gate: Semaphore,
}

impl Backends {
    pub fn start(runtime: &Runtime) -> Self {
        let sizes = settings::SCENARIOS.iter().map(|scenario| scenario.down);
        let default = wire::answer_of(settings::SMALL);
        let mut closed = default.clone();
        let after_status = "HTTP/1.1 200 OK\r\n".len();
        closed.splice(after_status..after_status, *b"connection: close\r\n");
        let answers = Arc::new(Answers {
            by_path: sizes.map(|size| (path_of(size), wire::answer_of(size))).collect(),
            default,
            closed,
            held: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        });
        let addresses = [wire::listen(), wire::listen()].map(|(listener, address)| {
            runtime.spawn(serve(listener, Arc::clone(&answers)));
            address
        });
        Self { addresses, answers }
    }

    /// Waits until so many requests are held; panics if they take too long.
    pub async fn until_held(&self, requests: usize) {
        let started = Instant::now();
        while self.answers.held.load(Ordering::Relaxed) < requests {
            assert!(started.elapsed() < settings::PATIENCE, "requests were lost");
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Answers so many of those that are held.
    pub fn release(&self, requests: usize) {
        self.answers.gate.add_permits(requests);
    }
}

async fn serve(listener: std::net::TcpListener, answers: Arc<Answers>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_connection(stream, Arc::clone(&answers)));
    }
}

async fn serve_connection(mut stream: TcpStream, answers: Arc<Answers>) {
    stream.set_nodelay(true).unwrap();
    let mut bytes = Vec::with_capacity(64 << 10);
    loop {
        let end = loop {
            if !stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                return;
            }
            if let Some(end) = head_end(&bytes) {
                break end;
            }
        };
        let head = str::from_utf8(&bytes[..end]).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let length = field(head, "content-length").map_or(0, |length| length.parse().unwrap());
        assert_eq!(field(head, "transfer-encoding"), None, "the length was known");
        let mut came = bytes.len() - end;
        while came < length {
            bytes.clear();
            match stream.read_buf(&mut bytes).await {
                Ok(read) if read > 0 => came += read,
                _ => return,
            }
        }
        assert_eq!(came, length, "nobody sends a request before the last is answered");
        bytes.clear();
        let answer = match path.as_str() {
            CLOSED => &answers.closed,
            HELD => {
                answers.held.fetch_add(1, Ordering::Relaxed);
                answers.gate.acquire().await.unwrap().forget();
                answers.held.fetch_sub(1, Ordering::Relaxed);
                &answers.default
            }
            path => answers.by_path.get(path).unwrap_or(&answers.default),
        };
        if stream.write_all(answer).await.is_err() || path == CLOSED {
            return;
        }
    }
}

/// Tells where a head ends, if it is all there.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(HEAD_END.len())
        .position(|window| window == HEAD_END)
        .map(|start| start + HEAD_END.len())
}

/// The value of a field; other proxies have their own mind about the case of its name.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.find(|(field, _)| field.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}
