//! A body that others than its reader can end, and whose panics are caught.
//!
//! Who ends it, and when, is `endpoint/live.rs`'s affair; what is recorded of its exchange then is
//! said in `mod.rs`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tower::BoxError;

use super::fate::BodyError;
use crate::outcome::End;

/// A body with which an exchange ends.
pub(crate) trait Finish: HttpBody<Data = Bytes, Error = BoxError> + Unpin {
    /// Says how the exchange ended and ends it.
    fn finish(&mut self, end: End);
}

/// What polling a body gives.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// A body of a service in this process: it can be ended by others than its reader, and its panics
/// are caught.
pub(crate) struct Shared<B>(Mutex<Slot<B>>);

struct Slot<B> {
    /// The body, or what ended it.
    body: Result<B, BodyError>,
    reader: Option<Waker>,
}

impl<B: Finish> Shared<B> {
    pub(super) fn new(body: B) -> Self {
        Self(Mutex::new(Slot { body: Ok(body), reader: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Slot<B>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&mut B) -> T) -> Result<T, BodyError> {
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

impl<B: Finish> Slot<B> {
    fn with<T>(&mut self, read: impl FnOnce(&mut B) -> T) -> Result<T, BodyError> {
        let body = self.body.as_mut().map_err(|error| *error)?;
        catch_unwind(AssertUnwindSafe(|| read(body))).map_err(|_| {
            drop(self.end(BodyError::Panicked, End::Truncated));
            BodyError::Panicked
        })
    }

    /// Ends the exchange and returns the body, if it did not end before.
    fn end(&mut self, why: BodyError, end: End) -> Option<B> {
        self.body.as_mut().ok()?.finish(end);
        std::mem::replace(&mut self.body, Err(why)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::{body::Body, lease::Load};

    #[tokio::test]
    async fn a_shared_body_is_cut_while_nobody_reads_it() {
        let load = Arc::new(Load::default());
        let mut lease = load.begin(None).unwrap();
        lease.answered(http::StatusCode::OK);
        let stalling = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let body = Body::new(StreamBody::new(stalling)).with_lease(lease);
        let (mut body, shared) = body.share();
        shared.cut();
        assert_eq!((load.in_flight(), load.answered()), (0, 0));
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&BodyError::Cut));
    }
}
