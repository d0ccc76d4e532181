//! A body of a service in this process, which others than its reader can end.
//!
//! Who does so, and when, is `endpoint/live.rs`'s affair.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use http_body::Body as _;

use super::{Body, BodyError, Polled};
use crate::outcome::End;

/// A body of a service in this process: it can be ended by others than its reader, and its panics
/// are caught.
pub(crate) struct Shared(Mutex<Slot>);

struct Slot {
    /// The body, or what ended it.
    body: Result<Body, BodyError>,
    reader: Option<Waker>,
}

impl Shared {
    pub(super) fn new(body: Body) -> Self {
        Self(Mutex::new(Slot { body: Ok(body), reader: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the body, or says what ended it.
    pub(super) fn with<T>(&self, read: impl FnOnce(&mut Body) -> T) -> Result<T, BodyError> {
        self.lock().with(read)
    }

    pub(super) fn poll(&self, cx: &mut Context<'_>) -> Result<Polled, BodyError> {
        let mut slot = self.lock();
        let frame = slot.with(|body| Pin::new(body).poll_frame(cx))?;
        // Whoever ends the body wakes its reader, who is to see that.
        if frame.is_pending() && !slot.reader.as_ref().is_some_and(|old| old.will_wake(cx.waker()))
        {
            slot.reader = Some(cx.waker().clone());
        }
        Ok(frame)
    }

    /// Ends the body where it stands, and its exchange with it.
    pub(crate) fn cut(&self) {
        let (body, reader) = {
            let mut slot = self.lock();
            (slot.end(BodyError::Cut, End::Cut), slot.reader.take())
        };
        drop(body);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Slot {
    fn with<T>(&mut self, read: impl FnOnce(&mut Body) -> T) -> Result<T, BodyError> {
        let body = self.body.as_mut().map_err(|error| *error)?;
        catch_unwind(AssertUnwindSafe(|| read(body))).map_err(|_| {
            drop(self.end(BodyError::Panicked, End::Truncated));
            BodyError::Panicked
        })
    }

    /// Ends the exchange and returns the body, if it did not end before.
    fn end(&mut self, why: BodyError, end: End) -> Option<Body> {
        self.body.as_mut().ok()?.finish(end);
        std::mem::replace(&mut self.body, Err(why)).ok()
    }
}
