//! The answers of services in this process that are going out.
//!
//! Each is ended at its target's deregistration delay, even one that nobody reads; what comes over a
//! connection is its driver's affair.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::runtime::Handle;

use crate::{
    body::{Body, Shared},
    lease::Load,
};

#[derive(Default)]
pub(super) struct Live(Mutex<State>);

#[derive(Default)]
struct State {
    bodies: Vec<Weak<Shared>>,
    /// Where the last of them was answered. Whoever deregisters a target may be outside of any
    /// runtime, or in one that ends before the delay does.
    runtime: Option<Handle>,
    /// Whether a task waits for the deadline.
    cutting: bool,
}

impl Live {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes the body one that can be cut.
    pub(super) fn adopt(self: &Arc<Self>, body: Body, load: &Arc<Load>) -> Body {
        let (body, shared) = body.share();
        self.with(|state| {
            // Doubling from here on keeps the clearing away at a constant cost an exchange.
            if state.bodies.len() == state.bodies.capacity() {
                state.bodies.retain(|shared| shared.strong_count() > 0);
                state.bodies.reserve(state.bodies.len().max(16));
            }
            state.bodies.push(Arc::downgrade(&shared));
            state.runtime = Handle::try_current().ok();
        });
        // Its request was under way when the draining began.
        if load.is_draining() {
            self.cut_when_drained(load);
        }
        body
    }

    /// Sees to it that all bodies end at the deadline; by a task that lasts as long as the draining.
    pub(super) fn cut_when_drained(self: &Arc<Self>, load: &Arc<Load>) {
        let runtime = self.with(|state| {
            let live = state.bodies.iter().any(|shared| shared.strong_count() > 0);
            let runtime = state.runtime.clone().filter(|_| live && !state.cutting)?;
            state.cutting = true;
            Some(runtime)
        });
        if let Some(runtime) = runtime {
            let cutting = Cutting { live: Arc::clone(self), load: Arc::clone(load), ended: false };
            runtime.spawn(cutting.run());
        }
    }
}

/// The task that waits for the deadline.
struct Cutting {
    live: Arc<Live>,
    load: Arc<Load>,
    ended: bool,
}

impl Cutting {
    async fn run(mut self) {
        while !self.ended {
            let over = self.load.drained().await;
            let bodies = self.live.with(|state| {
                // Deregistered again before this task came to hear of the revival: it stays.
                if !over && self.load.deadline().is_some() {
                    return Vec::new();
                }
                self.ended = true;
                state.cutting = false;
                if over { std::mem::take(&mut state.bodies) } else { Vec::new() }
            });
            // Outside of the lock, since the body of a service is dropped here.
            bodies.iter().filter_map(Weak::upgrade).for_each(|shared| shared.cut());
        }
    }
}

impl Drop for Cutting {
    fn drop(&mut self) {
        // The runtime ended before the delay did.
        if !self.ended {
            self.live.with(|state| state.cutting = false);
        }
    }
}
