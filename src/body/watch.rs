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

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Client,
    Target,
}

/// How long a body may stall, and when it must be at its end. The timer is made at the first stall, so
/// a body that is there at once costs none.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) idle: Option<(Side, Duration)>,
    /// When the body must be at its end.
    pub(super) deadline: Option<Instant>,
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
            progress.note(false);
        }
    }

    /// Tells whether the body must have been at its end.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Waits, while the body stalls, until it does so for too long.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some((side, limit)) = self.idle else { return Poll::Pending };
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
        Poll::Ready(match side {
            Side::Client => BodyError::ClientIdle(limit),
            Side::Target => BodyError::TargetIdle(limit),
        })
    }
}
