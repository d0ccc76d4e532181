//! How far a request body has come, for whoever waits for the answer to it.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::outcome::End;

/// When a request body last moved, for whoever waits for the answer to it.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    moved_ms: AtomicU64,
    bytes: AtomicU64,
    stalled: AtomicBool,
    over: AtomicBool,
    overtaken: AtomicBool,
    stall_max: Duration,
    failed: OnceLock<End>,
}

impl Progress {
    /// Makes one for a body that ends when it stalls for `stall_max`.
    pub(crate) fn new(stall_max: Duration) -> Self {
        Self {
            started: Instant::now(),
            moved_ms: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
            over: AtomicBool::new(false),
            overtaken: AtomicBool::new(false),
            stall_max,
            failed: OnceLock::new(),
        }
    }

    /// Returns from when on it is the target that is waited for: from the last part of the body, or
    /// when this was made. While the client is waited for, that is when it has had its time.
    pub(crate) fn target_since(&self) -> Instant {
        let moved = self.started + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
        if self.stalled.load(Ordering::Relaxed) { moved + self.stall_max } else { moved }
    }

    /// Tells whether it is the client that is waited for.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Notes that so many bytes were handed on.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns how many bytes were handed on.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes that the body broke off, and how its exchange ends for that.
    pub(crate) fn fail(&self, end: End) {
        // The first failure is what the others come from.
        _ = self.failed.set(end);
    }

    /// Returns how the exchange ends, if the body broke off.
    pub(crate) fn failed(&self) -> Option<End> {
        self.failed.get().copied()
    }

    /// Notes that a part came, or the end, or that the next is waited for.
    pub(crate) fn note(&self, stalled: bool) {
        // 2^64 ms will not pass.
        self.moved_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Notes that nobody reads the body any more: it was handed on to its end, or never will be.
    pub(crate) fn end(&self) {
        // Ordered with what is done when an answer comes before; see `endpoint/early.rs`.
        self.over.store(true, Ordering::SeqCst);
    }

    /// Tells whether nobody reads the body any more.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Notes that the answer came before the end of the body, so that nothing may follow either on its
    /// connections.
    pub(crate) fn overtake(&self) {
        self.overtaken.store(true, Ordering::Relaxed);
    }

    /// Tells whether the answer came before the end of the body.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.overtaken.load(Ordering::Relaxed)
    }
}
