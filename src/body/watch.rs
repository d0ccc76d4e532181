//! How long a body may stall, and when it last moved.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::fate::BodyError;

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

    fn note(&self) {
        // 2^64 ms will not pass.
        self.moved_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Client,
    Target,
}

/// How long a body may stall. The timer is made at the first stall, so a body that is there at once
/// costs none.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) idle: Option<(Side, Duration)>,
    sleep: Option<Pin<Box<Sleep>>>,
    stalled: bool,
    pub(super) progress: Option<Arc<Progress>>,
}

impl Watch {
    /// Stops the clock, since the body is at its end.
    pub(super) fn stop(&mut self) {
        self.sleep = None;
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self.idle, Some((Side::Client, _)))
    }

    pub(super) fn moved(&mut self) {
        self.stalled = false;
        if let Some(progress) = &self.progress {
            progress.note();
        }
    }

    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some((side, limit)) = self.idle else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.stalled {
            self.stalled = true;
            sleep.as_mut().reset(Instant::now() + limit);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(match side {
            Side::Client => BodyError::ClientIdle(limit),
            Side::Target => BodyError::TargetIdle(limit),
        })
    }
}
