//! A socket whose bytes a test writes and reads itself, as a client or as a target.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{SOON, soon};

/// One end of a connection; it remembers what it read too much.
pub struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Socket {
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    pub async fn connect(address: SocketAddr) -> Self {
        let stream = soon("connect", TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::new(stream)
    }

    /// Connects from an address of this machine's loopback, which has more than one only on Linux.
    #[cfg(target_os = "linux")]
    pub async fn connect_from(from: [u8; 4], to: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self::new(soon("connect", socket.connect(to)).await.unwrap())
    }

    /// Sends all, or fails since the other side is gone.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Sends the same again and again, until the other side says something or is gone.
    pub async fn flood(&mut self, part: &[u8]) {
        loop {
            tokio::select! {
                readable = self.stream.readable() => return readable.unwrap(),
                writable = self.stream.writable() => writable.unwrap(),
            }
            match self.stream.try_write(part) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads to the end of a head, or returns `None` if the other side ends before that.
    pub async fn try_head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.read.drain(..at + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads to the end of a head.
    pub async fn head(&mut self) -> String {
        soon("a head", self.try_head()).await.expect("the other side ended before a head")
    }

    /// Reads so many bytes, or all until the other side ends.
    pub async fn at_most(&mut self, count: usize) -> Vec<u8> {
        while self.read.len() < count
            && matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
        {}
        self.read.drain(..count.min(self.read.len())).collect()
    }

    /// Reads so many bytes, or as many as there are when no more come.
    pub async fn first(&mut self, count: usize) -> Vec<u8> {
        match timeout(SOON, self.at_most(count)).await {
            Ok(bytes) => bytes,
            Err(_) => std::mem::take(&mut self.read),
        }
    }

    /// Reads so many bytes.
    pub async fn exactly(&mut self, count: usize) -> Vec<u8> {
        let bytes = soon("bytes", self.at_most(count)).await;
        assert_eq!(bytes.len(), count, "ended early after {:?}", String::from_utf8_lossy(&bytes));
        bytes
    }

    /// Reads all until the other side ends, which must happen.
    pub async fn rest(&mut self) -> Vec<u8> {
        soon("the end of the connection", self.at_most(usize::MAX)).await
    }

    /// Reads a whole request, whose body has a length or is not there; `None` if there is no more.
    pub async fn request(&mut self) -> Option<(String, String)> {
        let head = self.try_head().await?;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.at_most(length).await;
        (body.len() == length).then(|| (head, String::from_utf8(body).unwrap()))
    }

    /// Reads a whole answer that says how long it is; returns its head and its body.
    pub async fn answer(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = field(&head, "content-length").expect("an answer without a length");
        let body = self.exactly(length.parse().unwrap()).await;
        (head, String::from_utf8(body).unwrap())
    }

    /// Waits until the other side ends; what it sends before can still be read.
    pub async fn closed(&mut self) {
        while matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {}
    }

    pub fn into_inner(self) -> TcpStream {
        self.stream
    }
}

/// Makes the system keep little of a connection, and always as much, where that can be said.
pub fn keep_little(stream: &TcpStream) {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        // Several times what is sent at once here: with less, either side waits for timers.
        const LITTLE: u32 = 256 * 1024;
        let same = stream.as_fd().try_clone_to_owned().unwrap();
        let same = tokio::net::TcpSocket::from_std_stream(std::net::TcpStream::from(same));
        same.set_send_buffer_size(LITTLE).unwrap();
        same.set_recv_buffer_size(LITTLE).unwrap();
    }
    #[cfg(not(unix))]
    let _ = stream;
}

/// Returns the value of a field of a head.
pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (this, value) = line.split_once(':')?;
        this.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Returns the status of an answer's head.
pub fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
