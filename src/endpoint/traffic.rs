//! The stream below hyper: how many bytes go over it, how many may come before the head of an answer,
//! and what the head of a request was.
//!
//! hyper bounds each head, but not how many interim ones (1xx) come before the one that is waited for.
//! What a byte means is hyper's affair.

use std::{
    io, mem,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The head of an answer, and so much as well of what comes before it: ALB's number.
pub(super) const HEAD_SIZE_MAX: usize = 32 * 1024;

/// The memory for the head of a request that a connection holds on to.
const HEAD_KEPT: usize = 4 * 1024;

/// How many bytes went over a connection, whatever they mean; hyper does not say.
pub(super) struct Traffic {
    received: AtomicU64,
    written: AtomicU64,
    /// How many bytes may have come while the head of an answer is awaited.
    received_max: AtomicU64,
    doubt: Mutex<Doubt>,
    /// Whether the next that is written is the head of a request that is to be kept.
    keeping: AtomicBool,
    /// The head that was kept last.
    kept: Mutex<Vec<u8>>,
    /// Whether the stream has changed its protocol, so that it is not hyper that writes.
    switched: AtomicBool,
}

/// Whether the head of an answer has come, of which only the one who waits for it knows.
#[derive(Default)]
struct Doubt {
    /// Of which exchange: the next may begin before the one who waited for the last has his turn.
    exchange: u64,
    raised: bool,
    asker: Option<Waker>,
    reader: Option<Waker>,
}

impl Doubt {
    /// Lets the reader go on.
    fn settle(self) {
        if let Some(reader) = self.reader {
            reader.wake();
        }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            received: AtomicU64::new(0),
            written: AtomicU64::new(0),
            received_max: AtomicU64::new(u64::MAX),
            doubt: Mutex::default(),
            keeping: AtomicBool::new(false),
            kept: Mutex::default(),
            switched: AtomicBool::new(false),
        }
    }
}

impl Traffic {
    /// Returns how many bytes were received and written.
    pub(super) fn seen(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    /// Says that a request is sent now; returns the number of the exchange.
    pub(super) fn await_head(&self) -> u64 {
        let received_max = self.received.load(Ordering::Relaxed) + HEAD_SIZE_MAX as u64;
        let (exchange, before) = self.with_doubt(|doubt| {
            self.received_max.store(received_max, Ordering::Relaxed);
            let exchange = doubt.exchange + 1;
            (exchange, mem::replace(doubt, Doubt { exchange, ..Doubt::default() }))
        });
        before.settle();
        exchange
    }

    /// Tells whether so much has come that the head of the answer must have, and if not, remembers whom
    /// to wake when it has. Nothing more is read then before `end_awaiting`.
    pub(super) fn is_in_doubt(&self, exchange: u64, asker: &Waker) -> bool {
        self.with_doubt(|doubt| {
            if doubt.exchange != exchange {
                return false;
            }
            if !doubt.raised && !doubt.asker.as_ref().is_some_and(|old| old.will_wake(asker)) {
                doubt.asker = Some(asker.clone());
            }
            doubt.raised
        })
    }

    /// Says that the head of the answer came, or is waited for no longer.
    pub(super) fn end_awaiting(&self, exchange: u64) {
        let doubt = self.with_doubt(|doubt| {
            if doubt.exchange != exchange {
                return Doubt::default();
            }
            self.received_max.store(u64::MAX, Ordering::Relaxed);
            mem::replace(doubt, Doubt { exchange, ..Doubt::default() })
        });
        doubt.settle();
    }

    /// Has the head kept that is written next; hyper writes the head of a request without a body at
    /// once.
    pub(super) fn keep_head(&self) {
        self.keeping.store(true, Ordering::Relaxed);
    }

    /// Returns the head that was kept, if it was written, or was to be.
    pub(super) fn kept_head(&self) -> Option<Vec<u8>> {
        let is_due = self.keeping.swap(false, Ordering::Relaxed);
        let kept = mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        (!is_due).then_some(kept)
    }

    /// Keeps what is written if it is such a head.
    fn writes(&self, bytes: &[u8]) {
        if self.keeping.load(Ordering::Relaxed) {
            self.keeping.store(false, Ordering::Relaxed);
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            // The same memory for each request of the connection, but for very long ones.
            kept.clear();
            kept.shrink_to(HEAD_KEPT);
            kept.extend_from_slice(bytes);
        }
    }

    /// Says that what is written from now on belongs to another protocol.
    pub(super) fn switch(&self) {
        self.switched.store(true, Ordering::Relaxed);
    }

    /// Tells, before more is read, whether it is in doubt that the head of the answer has come.
    fn raises_doubt(&self, reader: &Waker) -> bool {
        let is_too_much =
            || self.received.load(Ordering::Relaxed) > self.received_max.load(Ordering::Relaxed);
        if !is_too_much() {
            return false;
        }
        let asker = self.with_doubt(|doubt| {
            is_too_much().then(|| {
                doubt.raised = true;
                doubt.reader = Some(reader.clone());
                doubt.asker.take()
            })
        });
        if let Some(Some(asker)) = &asker {
            asker.wake_by_ref();
        }
        asker.is_some()
    }

    fn with_doubt<T>(&self, f: impl FnOnce(&mut Doubt) -> T) -> T {
        f(&mut self.doubt.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts what was written.
    ///
    /// That the other side takes no more is for the reading side to find out: there may be an answer
    /// before the end, and hyper would throw it away. A tunnel reads no more once the other side has
    /// ended, so it is told.
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
        match &written {
            Poll::Ready(Ok(count)) => {
                self.written.fetch_add(*count as u64, Ordering::Relaxed);
            }
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
        if this.traffic.raises_doubt(cx.waker()) {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            this.traffic.received.fetch_add(read as u64, Ordering::Relaxed);
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
        this.traffic.writes(buf);
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
        let this = self.get_mut();
        this.traffic.writes(bufs.first().map_or(&[], |first| first));
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.traffic.wrote(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer that comes in one piece is over before the one who waits for its head has his turn,
    /// and its connection has carried the next request by then.
    #[test]
    fn a_doubt_about_one_answer_is_none_about_the_next() {
        let (traffic, waker) = (Traffic::default(), Waker::noop());
        let first = traffic.await_head();
        assert!(!traffic.is_in_doubt(first, waker));
        traffic.received.fetch_add(HEAD_SIZE_MAX as u64 + 1, Ordering::Relaxed);
        assert!(traffic.raises_doubt(waker));
        let second = traffic.await_head();
        assert!(!traffic.is_in_doubt(second, waker));
        assert!(!traffic.is_in_doubt(first, waker));
        traffic.end_awaiting(first);
        // What is awaited is bounded still.
        assert!(!traffic.raises_doubt(waker));
        traffic.received.fetch_add(HEAD_SIZE_MAX as u64 + 1, Ordering::Relaxed);
        assert!(traffic.raises_doubt(waker));
        assert!(traffic.is_in_doubt(second, waker));
        traffic.end_awaiting(second);
        assert!(!traffic.raises_doubt(waker));
    }

    #[test]
    fn of_a_head_that_was_not_written_the_one_before_is_not_kept() {
        let traffic = Traffic::default();
        traffic.keep_head();
        traffic.writes(b"first");
        // It was answered, so nobody asked for it.
        traffic.keep_head();
        assert_eq!(traffic.kept_head(), None);
        traffic.keep_head();
        traffic.writes(b"third");
        traffic.writes(b"no head");
        assert_eq!(traffic.kept_head().unwrap(), b"third");
    }

    #[test]
    fn a_very_long_head_does_not_cost_its_memory_for_ever() {
        let traffic = Traffic::default();
        for length in [100 * HEAD_KEPT, 100] {
            traffic.keep_head();
            traffic.writes(&vec![b'x'; length]);
        }
        assert!(traffic.kept_head().unwrap().capacity() < 2 * HEAD_KEPT);
    }
}
