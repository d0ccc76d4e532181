//! What a connection waits for its client to do, since when, and until when.
//!
//! hyper asks its timer for a sleep when it begins to wait for the head of a request, and drops the
//! sleep when the head is there. [`Heads`], given to hyper as its timer, notes that, and [`Watched`],
//! the stream below hyper, what comes and goes. hyper has one deadline for both, so ours are kept
//! here: a connection may be idle for longer than a head may take. Who heeds them is `connection.rs`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::hold::{Hold, Waits};

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// From the first byte of a head to its last; that of the first request from accepting on.
    pub(super) head: Duration,
    /// From the end of an exchange to the next head's first byte, and to take any more of an answer.
    pub(super) idle: Duration,
}

/// What a client let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Head,
    Idle,
    Write,
}

/// The waits of one connection; only its own task reads and writes them.
pub(super) struct Watch {
    limits: Limits,
    opened: Instant,
    idle: Since,
    head: Since,
    write: Since,
    pub(super) hold: Hold,
}

/// Since when something is waited for, in microseconds from when the connection was opened.
struct Since(AtomicU64);

/// It is not waited for.
const NOT: u64 = u64::MAX;

impl Since {
    fn set(&self, micros: u64) {
        self.0.store(micros, Ordering::Relaxed);
    }

    fn clear(&self) {
        self.set(NOT);
    }

    fn get(&self) -> Option<Duration> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != NOT).then(|| Duration::from_micros(micros))
    }
}

impl Watch {
    /// Begins with the wait for the first head.
    pub(super) fn new(limits: Limits) -> Self {
        let not = || Since(AtomicU64::new(NOT));
        Self {
            limits,
            opened: Instant::now(),
            idle: not(),
            head: Since(AtomicU64::new(0)),
            write: not(),
            hold: Hold::default(),
        }
    }

    /// Returns when the client will be late, and with what; `None` while nothing is waited for, or
    /// for ever.
    pub(super) fn due(&self) -> Option<(Instant, Late)> {
        let due = |since: &Since, limit, late| {
            let due = self.opened.checked_add(since.get()?)?.checked_add(limit)?;
            Some((due, late))
        };
        let dues = [
            due(&self.head, self.limits.head, Late::Head),
            due(&self.idle, self.limits.idle, Late::Idle),
            due(&self.write, self.limits.idle, Late::Write),
        ];
        dues.into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(NOT)
    }

    fn waits_for_head(&self) {
        // The first head is waited for from accepting on.
        if self.head.get().is_none() {
            self.idle.set(self.now());
        }
    }

    fn has_head(&self) {
        self.head.clear();
        self.idle.clear();
    }

    /// Notes the first byte of a head. One that came together with the request before is noted only
    /// with those that follow it, so such a head may take the idle time before.
    fn received(&self) {
        if self.idle.get().is_some() {
            self.idle.clear();
            self.head.set(self.now());
        }
    }

    fn wrote(&self, progress: bool) {
        if progress {
            self.write.clear();
        } else if self.write.get().is_none() {
            self.write.set(self.now());
        }
    }
}

/// hyper's timer, which has heads to time and nothing else.
pub(super) struct Heads(pub(super) Arc<Watch>);

impl Timer for Heads {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.waits_for_head();
        Box::pin(Head(Arc::clone(&self.0)))
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(Duration::ZERO)
    }

    fn reset(&self, _: &mut Pin<Box<dyn Sleep>>, _: std::time::Instant) {
        self.0.waits_for_head();
    }
}

/// The wait for a head; it never ends by itself.
struct Head(Arc<Watch>);

impl Sleep for Head {}

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.0.has_head();
    }
}

/// The stream of a connection, which notes what comes and goes.
pub(super) struct Watched<I> {
    pub(super) stream: I,
    pub(super) watch: Arc<Watch>,
}

impl<I: Unpin> Watched<I> {
    fn stream(&mut self) -> Pin<&mut I> {
        Pin::new(&mut self.stream)
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.watch.wrote(written.is_ready());
        written
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch.hold.check(Waits::Reader, cx)?;
        let before = buf.filled().len();
        ready!(self.stream().poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.hold.check(Waits::Writer, cx)?;
        let written = self.stream().poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watch.hold.check(Waits::Writer, cx)?;
        let written = self.stream().poll_write_vectored(cx, parts);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.hold.check(Waits::Writer, cx)?;
        let flushed = self.stream().poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch.hold.check(Waits::Writer, cx)?;
        let ended = self.stream().poll_shutdown(cx);
        self.note(ended)
    }
}

impl<I> Drop for Watched<I> {
    fn drop(&mut self) {
        self.watch.hold.dropped();
    }
}
