//! The stream below hyper: how many bytes go over it. What is written of a request it hands to
//! `head_copy.rs`, and it reads no more than `outstanding.rs` allows.
//!
//! What a byte means is hyper's affair.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{head_copy::KeptHead, outstanding::Outstanding};

/// How many bytes went over a connection, whatever they mean; hyper does not say.
#[derive(Default)]
pub(super) struct Traffic {
    received: Count,
    written: Count,
    /// The answer that it is to bring next.
    pub(super) outstanding: Outstanding,
    /// What was written of a request that may be sent once more.
    pub(super) kept_head: KeptHead,
    /// Whether the stream has changed its protocol, so that it is not hyper that writes.
    switched: AtomicBool,
}

/// A number of bytes that one task counts and others read.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts more. Nobody else does, so there is no need to do it in one step.
    fn add(&self, bytes: usize) {
        self.0.store(self.get() + bytes as u64, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Returns how many bytes were received and written.
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.received.get(), self.written.get())
    }

    /// Says that what is written from now on belongs to another protocol.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Counts what was written.
    ///
    /// That the other side takes no more is for the reading side to find out: there may be an answer
    /// before the end, and hyper would throw it away. A tunnel reads no more once the other side has
    /// ended, so it is told.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match &written {
            Poll::Ready(Ok(count)) => self.written.add(*count),
            Poll::Ready(Err(error))
                if matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
                    && !self.switched.load(Ordering::Relaxed) =>
            {
                return Poll::Pending;
            }
            _ => {}
        }
        written
    }
}

/// Counts what goes over the stream below hyper, and is one of those that may be open.
pub(super) struct Counted {
    pub(super) stream: TcpStream,
    pub(super) traffic: Arc<Traffic>,
    pub(super) _place: Place,
}

/// The place of one connection among those that may be open; it is free again when this is dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Place {
    /// Takes one, unless `max` are taken.
    pub(super) fn take(open: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let order = Ordering::Relaxed;
        open.fetch_update(order, order, |open| (open < max).then(|| open + 1)).ok()?;
        Some(Self(Arc::clone(open)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let Traffic { received, outstanding, .. } = &*this.traffic;
        if outstanding.stops(received.get(), cx.waker()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            received.add(read);
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.traffic.kept_head.writes(buf);
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.traffic.wrote(written)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head alone costs the system less this way.
        if let [only] = bufs {
            return self.poll_write(cx, only);
        }
        let this = self.get_mut();
        this.traffic.kept_head.writes(bufs.first().map_or(&[], |first| first));
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.traffic.wrote(written)
    }
}
