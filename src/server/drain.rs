//! The word that a server is to end: given once, heard by each of its listeners and connections.

use std::{
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering},
    task::Context,
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

pub(super) struct Drain {
    begun: AtomicBool,
    notify: Notify,
    /// How long exchanges may go on after the word.
    pub(super) limit: Duration,
}

impl Drain {
    pub(super) fn new(limit: Duration) -> Self {
        Self { begun: AtomicBool::new(false), notify: Notify::new(), limit }
    }

    pub(super) fn begin(&self) {
        // Before those who wait are woken: what they look at then is this.
        self.begun.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    pub(super) async fn begun(&self) {
        let mut listening = pin!(self.notify.notified());
        // Before the word is looked at, so that it cannot be given unheard in between.
        listening.as_mut().enable();
        if !self.begun.load(Ordering::Acquire) {
            listening.await;
        }
    }

    /// Makes what hears of it within a task that waits for other things, too.
    pub(super) fn listen(&self) -> Listen<'_> {
        Listen {
            drain: self,
            notified: Box::pin(self.notify.notified()),
            waits: false,
            heard: false,
        }
    }
}

/// Hears once that a server is to end.
pub(super) struct Listen<'a> {
    drain: &'a Drain,
    notified: Pin<Box<Notified<'a>>>,
    waits: bool,
    heard: bool,
}

impl Listen<'_> {
    /// Tells once whether the word was given. It must be asked from the same task always.
    pub(super) fn hears(&mut self, cx: &mut Context<'_>) -> bool {
        if self.heard {
            return false;
        }
        // The task leaves its waker once: to leave it again would take a lock for each request.
        if !self.waits {
            self.waits = true;
            _ = self.notified.as_mut().poll(cx);
        }
        self.heard = self.drain.begun.load(Ordering::Acquire);
        self.heard
    }
}
