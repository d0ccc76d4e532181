//! What floors have in common: one bound for what stands on one, and one future for those that may
//! refuse a request at once.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::Response;
use tower::Service;

use crate::{body::Body, error::Error};

/// A service on a floor of the balancer: takes the floor's request, answers with our body or error.
///
/// It is there for every service that fits; nobody implements it by hand.
pub trait Stage<R>:
    Service<R, Response = Response<Body>, Error = Error, Future: Send + 'static>
{
}

impl<S, R> Stage<R> for S where
    S: Service<R, Response = Response<Body>, Error = Error, Future: Send + 'static>
{
}

pin_project_lite::pin_project! {
    /// The future of [`Sticky`](super::Sticky) and [`Select`](super::Select): of the floor below, or an
    /// error at once.
    pub struct PassFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Passed { #[pin] future: F },
        Refused { error: Option<Error> },
    }
}

impl<F> PassFuture<F> {
    /// Waits for an answer from below.
    pub(super) fn passed(future: F) -> Self {
        Self { state: State::Passed { future } }
    }

    /// Fails at once.
    pub(super) fn refused(error: Error) -> Self {
        Self { state: State::Refused { error: Some(error) } }
    }
}

impl<F> Future for PassFuture<F>
where
    F: Future<Output = Result<Response<Body>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProjection::Passed { future } => future.poll(cx),
            StateProjection::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for PassFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PassFuture").finish_non_exhaustive()
    }
}
