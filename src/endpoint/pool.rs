//! The idle connections of one endpoint: last in, first out, a lane for each runtime.
//!
//! It holds and lends; who opens, drives and ages a connection is `driver.rs`.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::AtomicUsize},
    time::Duration,
};

use tokio::{runtime, time::Instant};

use super::{connection::Idle, seat::Seat, traffic::Place};

/// A connection polled by a runtime that is not driven would hang its request, so each runtime has
/// connections of its own.
struct Lane {
    runtime: runtime::Id,
    idle: Vec<Idle>,
}

/// How long the end of a kept connection tells of the end of its target. A kernel takes microseconds
/// for each descriptor of a process that was killed.
const ENDING_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Pool {
    lanes: Mutex<Vec<Lane>>,
    /// When the target last dropped a connection that was kept, unless it has answered over a new one
    /// since.
    dropped: Mutex<Option<Instant>>,
    /// How many are open, idle or not. Apart from the pool, which none of them is to keep alive.
    open: Arc<AtomicUsize>,
}

impl Pool {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Lane>) -> T) -> T {
        f(&mut self.lanes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a place for one more connection, unless `max` are taken.
    pub(super) fn place(&self, max: usize) -> Option<Place> {
        Place::take(&self.open, max)
    }

    /// Says that the target dropped a connection that was kept.
    pub(super) fn note_dropped(&self) {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Says that the target answered over a new connection.
    pub(super) fn note_alive(&self) {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells whether the target seems to be ending.
    ///
    /// When a process is killed, its kernel drops its connections and may yet let new ones in, which
    /// are lost when its listening socket goes. A target that resets whatever it gets is no such case:
    /// it keeps no connections.
    pub(super) fn is_ending(&self) -> bool {
        let dropped = *self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.is_some_and(|dropped| dropped.elapsed() < ENDING_FOR)
    }

    /// Takes the connection that was used last; those known to be closed are dropped.
    pub(super) fn take(&self, runtime: runtime::Id) -> Option<Idle> {
        self.with(|lanes| {
            let lane = lanes.iter_mut().find(|lane| lane.runtime == runtime)?;
            loop {
                let idle = lane.idle.pop()?;
                if idle.seat.is_retired() {
                    continue;
                }
                if idle.sender.is_ready() {
                    return Some(idle);
                }
                self.note_dropped();
            }
        })
    }

    /// Keeps a connection, unless `max` are kept already.
    pub(super) fn put(&self, runtime: runtime::Id, idle: Idle, max: usize) -> bool {
        self.with(|lanes| {
            if lanes.iter().map(|lane| lane.idle.len()).sum::<usize>() >= max {
                return false;
            }
            match lanes.iter_mut().find(|lane| lane.runtime == runtime) {
                Some(lane) => lane.idle.push(idle),
                None => lanes.push(Lane { runtime, idle: vec![idle] }),
            }
            true
        })
    }

    /// Takes this very connection out, if it is idle; a lane left empty is cleared away.
    pub(super) fn remove(&self, runtime: runtime::Id, seat: &Arc<Seat>) -> Option<Idle> {
        self.with(|lanes| {
            let at = lanes.iter().position(|lane| lane.runtime == runtime)?;
            let lane = lanes.get_mut(at)?;
            let found = lane.idle.iter().position(|idle| Arc::ptr_eq(&idle.seat, seat));
            let idle = found.map(|found| lane.idle.remove(found));
            if lane.idle.is_empty() {
                lanes.swap_remove(at);
            }
            idle
        })
    }

    /// Returns how many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.with(|lanes| lanes.iter().map(|lane| lane.idle.len()).sum())
    }
}
