//! How long a body may stall, and when it must be at its end.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

use super::fate::BodyError;
use crate::lease::Progress;

#[derive(Clone, Copy, Default, PartialEq)]
pub(super) enum Side {
    Client,
    #[default]
    Target,
}

/// How long a body may stall, and when it must be at its end. The timer is made at the first stall, so
/// a body that is there at once costs none.
#[derive(Default)]
pub(super) struct Watch {
    idle: Option<Duration>,
    /// When the body must be at its end.
    pub(super) deadline: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
    pub(super) progress: Option<Arc<Progress>>,
    side: Side,
    stalled: bool,
}

impl Watch {
    /// Sets how long the body may stall, and whose it is.
    pub(super) fn limit_idle(&mut self, side: Side, limit: Duration) {
        (self.side, self.idle) = (side, Some(limit));
    }

    /// Stops the clock, since the body is at its end.
    pub(super) fn stop(&mut self) {
        self.sleep = None;
    }

    pub(super) fn is_client(&self) -> bool {
        self.side == Side::Client
    }

    pub(super) fn moved(&mut self) {
        self.stalled = false;
        if let Some(progress) = &self.progress {
            progress.note(false);
        }
    }

    /// Tells whether the body must have been at its end.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Waits, while the body stalls, until it does so for too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(limit) = self.idle else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.stalled {
            self.stalled = true;
            if let Some(progress) = &self.progress {
                progress.note(true);
            }
            let late = Instant::now() + limit;
            sleep.as_mut().reset(self.deadline.map_or(late, |deadline| deadline.min(late)));
        }
        ready!(sleep.as_mut().poll(cx));
        if self.is_overdue() {
            return Poll::Ready(BodyError::RequestTimeout);
        }
        Poll::Ready(match self.side {
            Side::Client => BodyError::ClientIdle(limit),
            Side::Target => BodyError::TargetIdle(limit),
        })
    }
}
