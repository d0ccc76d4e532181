//! What a connection waits for its client to do, since when, and until when; and which answer is to be
//! its last.
//!
//! hyper asks its timer for a sleep when it begins to wait for the head of a request, and drops the
//! sleep when the head is there. [`Heads`], given to hyper as its timer, notes that, and [`Watched`],
//! the stream below hyper, what comes and goes. hyper has one deadline for both, so ours are kept
//! here: a connection may be idle for longer than a head may take. Who heeds them is `connection.rs`.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Sleep, Timer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};

use super::hold::{Hold, Waits};

/// How long a client may take, and how long it may stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// From the first byte of a head to its last; that of the first request from accepting on.
    pub(crate) head: Duration,
    /// From the end of an exchange to the next head's first byte, and to take any more of an answer.
    pub(crate) idle: Duration,
    /// From accepting on; the next answer after it is the last.
    pub(crate) keep_alive: Duration,
    /// How many requests may come.
    pub(crate) requests: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            keep_alive: Duration::from_secs(3600),
            requests: u64::MAX,
        }
    }
}

/// How long a client may go on with a request that was answered before its end: nginx's number.
const LINGER: Duration = Duration::from_secs(30);

/// How long it may pause in that, and take to close then: nginx's number, too.
const LINGER_PAUSE: Duration = Duration::from_secs(5);

/// How long it may go on once the server is to end: time for the answer to be read, of which the client
/// may not have known, and no reason to keep a server up.
const LINGER_DRAINED: Duration = Duration::from_secs(1);

/// How much of that is read at once.
const DISCARDED: usize = 8 * 1024;

/// The answer to a head that is late.
pub(super) const LATE: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a client let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Head,
    Idle,
    Write,
}

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Late(Late),
    Old,
}

/// The waits of one connection; only its own task reads and writes them.
pub(super) struct Watch {
    limits: Limits,
    opened: Instant,
    idle: Since,
    head: Since,
    write: Since,
    linger: Since,
    pause: Since,
    drained: Since,
    pub(super) hold: Hold,
    /// Whether any of the head that is waited for has come.
    begun: AtomicBool,
    refused: AtomicBool,
    requests: AtomicU64,
    old: AtomicBool,
    /// Whether the request that was noted last has a body of which more may come.
    uploads: AtomicBool,
    /// Whether an answer is under way of which only the end of the connection is the end.
    open_ended: AtomicBool,
    /// Whether the stream was shut down.
    shut: AtomicBool,
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
            linger: not(),
            pause: not(),
            drained: not(),
            hold: Hold::default(),
            begun: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            old: AtomicBool::new(false),
            uploads: AtomicBool::new(false),
            open_ended: AtomicBool::new(false),
            shut: AtomicBool::new(false),
        }
    }

    /// Returns what is due next, and when; `None` while nothing is waited for, or for ever.
    fn due(&self) -> Option<(Instant, Due)> {
        let due = |since: Option<Duration>, limit, what| {
            let due = self.opened.checked_add(since?)?.checked_add(limit)?;
            Some((due, what))
        };
        let grows_old = (!self.old.load(Ordering::Relaxed)).then_some(Duration::ZERO);
        let dues = [
            due(self.head.get(), self.limits.head, Due::Late(Late::Head)),
            due(self.idle.get(), self.limits.idle, Due::Late(Late::Idle)),
            due(self.write.get(), self.limits.idle, Due::Late(Late::Write)),
            due(self.linger.get(), LINGER, Due::Late(Late::Idle)),
            due(self.pause.get(), LINGER_PAUSE, Due::Late(Late::Idle)),
            due(self.lingers_drained(), LINGER_DRAINED, Due::Late(Late::Idle)),
            due(grows_old, self.limits.keep_alive, Due::Old),
        ];
        dues.into_iter().flatten().min_by_key(|(due, _)| *due)
    }

    /// Notes that the server is to end.
    pub(super) fn drains(&self) {
        self.drained.set(self.now());
    }

    /// Returns since when the client goes on with its request although the server is to end.
    fn lingers_drained(&self) -> Option<Duration> {
        Some(self.drained.get()?.max(self.linger.get()?))
    }

    /// Notes an answer that ends with the connection.
    pub(super) fn begins_open_ended(&self) {
        self.open_ended.store(true, Ordering::Relaxed);
    }

    /// Tells whether the stream was shut down.
    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// Notes a request, and whether it has a body.
    pub(super) fn asked(&self, uploads: bool) {
        self.uploads.store(uploads, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells whether the answer to the request that was noted last is the last of the connection.
    pub(super) fn is_last(&self) -> bool {
        self.old.load(Ordering::Relaxed)
            || self.requests.load(Ordering::Relaxed) >= self.limits.requests
    }

    fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_micros()).unwrap_or(NOT)
    }

    fn waits_for_head(&self) {
        // There is a next one only after the end of a body.
        self.uploads.store(false, Ordering::Relaxed);
        self.open_ended.store(false, Ordering::Relaxed);
        // The first head is waited for from accepting on.
        if self.head.get().is_none() {
            self.idle.set(self.now());
        }
    }

    fn has_head(&self) {
        self.head.clear();
        self.idle.clear();
        self.begun.store(false, Ordering::Relaxed);
    }

    /// Has the next read answer a head that is late, and end the connection; of one that has not begun,
    /// nobody waits for an answer.
    pub(super) fn refuse(&self) {
        self.refused.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Notes the first byte of a head. One that came together with the request before is noted only
    /// with those that follow it, so such a head may take the idle time before.
    fn received(&self) {
        if self.idle.get().is_some() {
            self.idle.clear();
            self.head.set(self.now());
        }
        if self.head.get().is_some() {
            self.begun.store(true, Ordering::Relaxed);
        }
    }

    /// Notes that nothing more is written; returns whether more is to be read nevertheless. What
    /// follows on a stream that was taken over is not known here.
    fn lingers(&self) -> bool {
        let lingers = self.uploads.load(Ordering::Relaxed) && !self.hold.is_offered();
        if lingers && self.linger.get().is_none() {
            let now = self.now();
            self.linger.set(now);
            self.pause.set(now);
        }
        lingers
    }

    fn wrote(&self, progress: bool) {
        if progress {
            self.write.clear();
        } else if self.write.get().is_none() {
            self.write.set(self.now());
        }
    }
}

/// The one timer of a connection. What is waited for changes with each request, so it is moved when
/// it fires too early, and otherwise only if it would fire too late.
#[derive(Default)]
pub(super) struct Deadline {
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Deadline {
    /// Waits until the client is late.
    pub(super) fn poll_late(&mut self, watch: &Watch, cx: &mut Context<'_>) -> Poll<Late> {
        loop {
            let Some((at, due)) = watch.due() else { return Poll::Pending };
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if at < sleep.deadline() {
                sleep.as_mut().reset(at);
            }
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() < at {
                sleep.as_mut().reset(at);
                continue;
            }
            match due {
                Due::Late(late) => return Poll::Ready(late),
                Due::Old => watch.old.store(true, Ordering::Relaxed),
            }
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
    /// Makes the stream break when it is dropped.
    pub(super) reset: fn(&I),
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

impl<I: AsyncRead + Unpin> Watched<I> {
    /// Reads until the client closes; that it breaks the connection is an end as well.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); DISCARDED];
        // tokio's streams let others have their turn.
        loop {
            let mut read = ReadBuf::uninit(&mut space);
            let more = ready!(self.stream().poll_read(cx, &mut read)).is_ok();
            if !more || read.filled().is_empty() {
                return Poll::Ready(());
            }
            self.watch.pause.set(self.watch.now());
        }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.watch.hold.check(Waits::Reader, cx)?;
        if self.watch.refused.swap(false, Ordering::Relaxed) {
            // hyper has nothing to write then. Whoever does not take this at once is not waited for.
            if self.stream().poll_write(cx, LATE).is_ready() {
                _ = self.stream().poll_flush(cx);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(self.stream().poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.watch.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
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
        if self.watch.linger.get().is_none() {
            let ended = self.stream().poll_shutdown(cx);
            ready!(self.note(ended))?;
            // All is written, and this is its end.
            self.watch.open_ended.store(false, Ordering::Relaxed);
        }
        // Were it closed with something unread, the system would reset it, and the client might lose
        // the answer for that. RFC 9112 §9.6
        if self.watch.lingers() {
            ready!(self.poll_discard(cx));
        }
        self.watch.shut.store(true, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<I> Drop for Watched<I> {
    fn drop(&mut self) {
        // Else a part of the answer would look like all of it.
        if self.watch.open_ended.load(Ordering::Relaxed) {
            (self.reset)(&self.stream);
        }
        self.watch.hold.dropped();
    }
}
