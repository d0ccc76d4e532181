//! Carrying between two streams in memory, on a clock that stands until all wait.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{advance, sleep},
};

use super::*;
use crate::lease::Load;

const LIMIT: Duration = Duration::from_secs(60);

/// What the streams on either side hold.
const STREAM: usize = 1024;

/// Both ends of a tunnel, and how it ended.
fn tunnel() -> (DuplexStream, DuplexStream, JoinHandle<End>) {
    let (client, near) = duplex(STREAM);
    let (target, far) = duplex(STREAM);
    let ended = async move { Pump::new(near, far, LIMIT, &mut lease()).await };
    (client, target, tokio::spawn(ended))
}

fn lease() -> Lease {
    Arc::new(Load::default()).begin(None).unwrap()
}

/// Writes as much as is taken.
async fn fill(stream: &mut DuplexStream) -> usize {
    let mut written = 0;
    while let Ok(count) = timeout(Duration::from_secs(1), stream.write(&[7; 333])).await {
        written += count.unwrap();
    }
    written
}

async fn read(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test(start_paused = true)]
async fn bytes_go_both_ways_as_they_are() {
    let (mut client, mut target, ended) = tunnel();
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let (sent, returned) = (bytes.clone(), bytes.clone());
    let client = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(&mut client);
        let mut back = Vec::new();
        let writing = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let (_, read) = tokio::join!(writing, reader.read_to_end(&mut back));
        read.unwrap();
        back
    });
    let mut there = Vec::new();
    target.read_to_end(&mut there).await.unwrap();
    assert!(there == bytes, "changed on the way to the target");
    // The target's half is still open.
    target.write_all(&returned).await.unwrap();
    target.shutdown().await.unwrap();
    assert!(client.await.unwrap() == bytes, "changed on the way to the client");
    assert_eq!(ended.await.unwrap(), End::TunnelClosed);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_read_from_is_stopped_and_loses_nothing() {
    let (mut client, mut target, _ended) = tunnel();
    let (up, down) = (fill(&mut client).await, fill(&mut target).await);
    // The streams on both sides, and one chunk between them.
    for written in [up, down] {
        assert!((2 * STREAM..=2 * STREAM + CHUNK).contains(&written), "{written}");
    }
    assert_eq!(read(&mut target, up).await, vec![7; up]);
    assert_eq!(read(&mut client, down).await, vec![7; down]);
}

#[tokio::test(start_paused = true)]
async fn one_direction_that_stands_still_does_not_stop_the_other() {
    let (mut client, mut target, _ended) = tunnel();
    fill(&mut client).await;
    target.write_all(b"on").await.unwrap();
    assert_eq!(read(&mut client, 2).await, b"on");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_no_side_sends_for_too_long() {
    let started = Instant::now();
    let (mut client, mut target, ended) = tunnel();
    for _ in 0..3 {
        sleep(Duration::from_secs(50)).await;
        client.write_all(b"a").await.unwrap();
        read(&mut target, 1).await;
        sleep(Duration::from_secs(50)).await;
        target.write_all(b"b").await.unwrap();
        read(&mut client, 1).await;
    }
    assert_eq!(ended.await.unwrap(), End::TunnelIdle);
    assert_eq!(started.elapsed(), Duration::from_secs(300) + LIMIT);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_nothing_any_more_is_idle_too() {
    let started = Instant::now();
    let (mut client, _target, ended) = tunnel();
    fill(&mut client).await;
    assert_eq!(ended.await.unwrap(), End::TunnelIdle);
    assert_eq!(started.elapsed(), LIMIT);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_ends_it() {
    let (mut client, target, ended) = tunnel();
    drop(target);
    // It said that it sends no more; that it reads no more shows only now.
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    advance(Duration::from_secs(1)).await;
    client.write_all(b"a").await.unwrap();
    assert_eq!(ended.await.unwrap(), End::TunnelClosed);

    let (client, mut target, ended) = tunnel();
    drop(client);
    assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    target.write_all(b"a").await.unwrap();
    assert_eq!(ended.await.unwrap(), End::TunnelClosed);
}

/// A stream whose other side has reset it.
struct Reset;

impl AsyncRead for Reset {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for Reset {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn whose_side_broke_is_told() {
    let (_open, near) = duplex(STREAM);
    assert_eq!(Pump::new(Reset, near, LIMIT, &mut lease()).await, End::ClientLeft);
    let (_open, near) = duplex(STREAM);
    assert_eq!(Pump::new(near, Reset, LIMIT, &mut lease()).await, End::Truncated);
    let (mut open, near) = duplex(STREAM);
    open.write_all(b"a").await.unwrap();
    assert_eq!(Pump::new(near, Reset, LIMIT, &mut lease()).await, End::Truncated);
}

/// Keeps what is written until it is flushed, as encryption does.
struct Lazy(DuplexStream, Vec<u8>);

impl AsyncRead for Lazy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lazy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.1.is_empty() {
            let Self(stream, kept) = &mut *self;
            let written = ready!(Pin::new(stream).poll_write(cx, kept))?;
            kept.drain(..written);
        }
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_keeps_is_flushed_when_nothing_follows() {
    let ((mut client, near), (mut target, far)) = (duplex(STREAM), duplex(STREAM));
    tokio::spawn(async move { Pump::new(near, Lazy(far, Vec::new()), LIMIT, &mut lease()).await });
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read(&mut target, 5).await, b"hello");
}
