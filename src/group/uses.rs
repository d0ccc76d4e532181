//! Who uses a group, and whether its checking task runs: one state, so that neither can be missed.
//!
//! The task itself is `check/`'s.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Uses(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    guards: usize,
    /// The number of the task that runs, and when it was last heard of.
    task: Option<(u64, Instant)>,
    tasks: u64,
}

impl Uses {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins a use.
    pub(crate) fn acquire(&self) {
        self.with(|state| state.guards += 1);
    }

    /// Ends a use.
    pub(crate) fn release(&self) {
        self.with(|state| state.guards = state.guards.saturating_sub(1));
    }

    /// Tells whether anybody uses the group.
    pub(crate) fn any(&self) -> bool {
        self.with(|state| state.guards > 0)
    }

    /// Claims to be the task, if the group is used and the last one was not heard of for `patience`.
    pub(crate) fn claim(&self, now: Instant, patience: Duration) -> Option<u64> {
        self.with(|state| {
            let alive = state.task.is_some_and(|(_, heard)| now < heard + patience);
            if alive || state.guards == 0 {
                return None;
            }
            state.tasks += 1;
            state.task = Some((state.tasks, now));
            Some(state.tasks)
        })
    }

    /// Says that a task lives; returns false if it is to end, and then it counts as ended.
    pub(crate) fn beat(&self, task: u64, now: Instant) -> bool {
        self.with(|state| match &mut state.task {
            Some((running, heard)) if *running == task => {
                *heard = now;
                if state.guards == 0 {
                    state.task = None;
                }
                state.guards > 0
            }
            _ => false,
        })
    }

    /// Says that a task ended, whatever ended it.
    pub(crate) fn ended(&self, task: u64) {
        self.with(|state| {
            if state.task.is_some_and(|(running, _)| running == task) {
                state.task = None;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_runs_while_the_group_is_used() {
        let uses = Uses::default();
        let (now, patience) = (Instant::now(), Duration::from_secs(60));
        assert_eq!(uses.claim(now, patience), None, "nobody uses it");
        uses.acquire();
        assert_eq!(uses.claim(now, patience), Some(1));
        assert_eq!(uses.claim(now, patience), None, "one runs");
        assert!(uses.beat(1, now));
        uses.release();
        assert!(!uses.beat(1, now), "nobody uses it any more");
        uses.acquire();
        assert_eq!(uses.claim(now, patience), Some(2), "the first one ended");
    }

    #[test]
    fn a_task_not_heard_of_is_replaced() {
        let uses = Uses::default();
        let (now, patience) = (Instant::now(), Duration::from_secs(60));
        uses.acquire();
        assert_eq!(uses.claim(now, patience), Some(1));
        assert_eq!(uses.claim(now + patience, patience), Some(2));
        assert!(!uses.beat(1, now + patience), "the old one ends when it comes back");
        uses.ended(1);
        assert!(uses.beat(2, now + patience));
    }
}
