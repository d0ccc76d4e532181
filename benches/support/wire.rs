//! Servers and clients over loopback that cost next to nothing: they write bytes made beforehand,
//! and read no more of what comes than where it ends.

use std::{net::SocketAddr, thread};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Ends a head. Nobody here sends a request with a body.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// How long a cookie is, about that of the balancer's.
const COOKIE: usize = 84;

/// Runs a task on a thread and a runtime of its own, as long as the program lasts.
pub fn on_a_thread<F>(name: &str, task: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(task);
    };
    thread::Builder::new().name(name.to_owned()).spawn(run).unwrap();
}

/// Listens on a port of the system's choice; what then accepts may run elsewhere.
pub fn listen() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An answer of 200 whose body has a size.
pub fn answer_of(size: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nserver: bench\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
         content-type: text/plain\r\ncontent-length: {size}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + size, b'x');
    answer
}

/// Answers every request with the same bytes.
pub async fn serve(listener: std::net::TcpListener, answer: Vec<u8>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve_connection(stream, answer.clone()));
    }
}

async fn serve_connection(mut stream: TcpStream, answer: Vec<u8>) {
    stream.set_nodelay(true).unwrap();
    let mut request = Vec::with_capacity(4096);
    while stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        if request.ends_with(HEAD_END) {
            request.clear();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }
}

/// A client that keeps its connection, and a session if it is given one.
pub struct Client {
    stream: TcpStream,
    /// Some application's, until it is given one: requests of the same length cost servers the same.
    cookie: String,
    has_session: bool,
    answer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let cookie = format!("application={}", "x".repeat(COOKIE - "application=".len()));
        Self { stream, cookie, has_session: false, answer: Vec::with_capacity(64 * 1024) }
    }

    /// Sends a GET, and reads an answer with a body of so many bytes.
    pub async fn get(&mut self, size: usize) {
        let request = format!(
            "GET /index.html HTTP/1.1\r\nhost: bench.example\r\nuser-agent: bench/1.0\r\n\
             accept: text/html\r\naccept-encoding: gzip\r\ncookie: {}\r\n\r\n",
            self.cookie
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.answer.clear();
        let head = loop {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(read > 0, "the proxy closed the connection");
            if let Some(end) = self.answer.windows(4).position(|bytes| bytes == HEAD_END) {
                break end + HEAD_END.len();
            }
        };
        while self.answer.len() < head + size {
            let read = self.stream.read_buf(&mut self.answer).await.unwrap();
            assert!(read > 0, "the proxy closed the connection");
        }
        let head = str::from_utf8(&self.answer[..head]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(self.answer.len(), head.len() + size, "{head}");
        if let Some((_, set)) = head.split_once("set-cookie: ") {
            let (pair, _) = set.split_once(';').unwrap();
            self.cookie = pair.to_owned();
            self.has_session = true;
        }
    }

    /// Tells whether it was given a session.
    pub fn has_session(&self) -> bool {
        self.has_session
    }
}
