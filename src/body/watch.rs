//! How long a body may stall.

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
            progress.note(false);
        }
    }

    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some((side, limit)) = self.idle else { return Poll::Pending };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.stalled {
            self.stalled = true;
            if let Some(progress) = &self.progress {
                progress.note(true);
            }
            sleep.as_mut().reset(Instant::now() + limit);
        }
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(match side {
            Side::Client => BodyError::ClientIdle(limit),
            Side::Target => BodyError::TargetIdle(limit),
        })
    }
}
