//! A connection whose stream has changed its protocol, and is somebody else's.
//!
//! It stays open, for whoever drains, until that stream is dropped; and when its task ends before, the
//! stream breaks. What goes over it, and how long it may be idle, is the affair of whoever has it.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};

use tokio::sync::Notify;

/// What the task of a connection and the stream below hyper share.
#[derive(Default)]
pub(super) struct Hold {
    /// Whether an answer is there that gives the stream away.
    wanted: AtomicBool,
    /// Whether the stream may be taken. Of all others nothing more is looked at.
    offered: AtomicBool,
    taken: Mutex<Taken>,
    dropped: AtomicBool,
    on_drop: Notify,
}

#[derive(Default)]
struct Taken {
    cut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Who of the two that may wait for a stream does.
#[derive(Clone, Copy)]
pub(super) enum Waits {
    Reader,
    Writer,
}

impl Hold {
    /// Says that an answer gives the stream away, which waits until it is offered.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Tells whether an answer waits to give the stream away.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Says that the stream may be taken.
    pub(super) fn offer(&self) {
        self.offered.store(true, Ordering::Relaxed);
    }

    /// Tells whether the stream may be taken.
    pub(super) fn is_offered(&self) -> bool {
        self.offered.load(Ordering::Relaxed)
    }

    /// Breaks the stream, wherever it is.
    pub(super) fn cut(&self) {
        if !self.offered.load(Ordering::Relaxed) {
            return;
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.cut = true;
        let waiting = [taken.reader.take(), taken.writer.take()];
        drop(taken);
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Fails once the stream is cut; before that, sees to it that who waits hears of it.
    pub(super) fn check(&self, who: Waits, cx: &Context<'_>) -> io::Result<()> {
        if !self.offered.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let waker = match who {
            Waits::Reader => &mut taken.reader,
            Waits::Writer => &mut taken.writer,
        };
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Ok(())
    }

    /// Says that the stream is gone.
    pub(super) fn dropped(&self) {
        self.dropped.store(true, Ordering::Release);
        self.on_drop.notify_one();
    }

    /// Waits until the stream is gone.
    pub(super) async fn released(&self) {
        while !self.dropped.load(Ordering::Acquire) {
            self.on_drop.notified().await;
        }
    }
}
