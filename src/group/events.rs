//! Changes of health as a stream.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use crate::{
    health::{Reason, State},
    id::{GroupName, TargetId},
};

/// How many changes wait for a reader; the oldest are dropped, so that nobody who forgets to read
/// holds memory.
const WAITING_MAX: usize = 1024;

/// A target's state changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthChange {
    /// The group.
    pub group: GroupName,
    /// The target.
    pub target: TargetId,
    /// The state before.
    pub old: State,
    /// The state now.
    pub new: State,
    /// Why it is not healthy.
    pub reason: Option<Reason>,
    /// What the last check asked and what came back, also if it went well; of a probe of the user's
    /// own that failed, the text of its error.
    pub description: Arc<str>,
}

impl fmt::Display for HealthChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {} -> {}", self.group, self.target, self.old, self.new)?;
        if let Some(reason) = self.reason {
            write!(f, " ({reason})")?;
        }
        write!(f, ": {}", self.description)
    }
}

/// The changes of a group's health from the call of `changes()` on; at most 1024 wait to be read,
/// the oldest are dropped. It ends when the group is gone.
#[derive(Debug)]
pub struct HealthChanges(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<HealthChange>,
    reader: Option<Waker>,
    ended: bool,
}

/// All who listen to one group.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Vec<Weak<Mutex<Queue>>>>);

impl Listeners {
    pub(super) fn subscribe(&self) -> HealthChanges {
        let queue = Arc::default();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|queue| queue.strong_count() > 0);
        all.push(Arc::downgrade(&queue));
        HealthChanges(queue)
    }

    pub(super) fn send(&self, change: &HealthChange) {
        self.each(|queue| {
            if queue.waiting.len() == WAITING_MAX {
                queue.waiting.pop_front();
            }
            queue.waiting.push_back(change.clone());
        });
    }

    fn each(&self, f: impl Fn(&mut Queue)) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in all.iter().filter_map(Weak::upgrade) {
            let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
            f(&mut queue);
            if let Some(reader) = queue.reader.take() {
                reader.wake();
            }
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.each(|queue| queue.ended = true);
    }
}

impl Stream for HealthChanges {
    type Item = HealthChange;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<HealthChange>> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.waiting.pop_front() {
            Some(change) => Poll::Ready(Some(change)),
            None if queue.ended => Poll::Ready(None),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}
