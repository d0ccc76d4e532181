//! Servers over loopback that cost next to nothing: they write bytes made beforehand, and read no
//! more of what comes than where it ends.

use std::{net::SocketAddr, thread};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Ends a head.
pub const HEAD_END: &[u8] = b"\r\n\r\n";

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

/// Answers every request, none of which has a body, with the same bytes.
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
