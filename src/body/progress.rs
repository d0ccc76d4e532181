//! How far a request body has come, for whoever waits for the answer to it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// When a request body last moved, for whoever waits for the answer to it.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    moved_ms: AtomicU64,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), moved_ms: AtomicU64::new(0) }
    }

    /// Returns when a part last came, or when this was made.
    pub(crate) fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed))
    }

    pub(super) fn note(&self) {
        // 2^64 ms will not pass.
        self.moved_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}
