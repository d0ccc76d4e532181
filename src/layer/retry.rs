//! The floor that tries another target when the first gives the request back.
//!
//! Which requests come back is decided below, in `endpoint/`, where a stale connection to the same
//! target is repaired too; what may not be sent twice never comes back once anything was sent.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use tower::{Layer, Service};

use super::{
    message::{Route, Routed},
    stage::Stage,
};
use crate::{
    body::Body,
    error::{Error, Kind},
};

/// How many targets a request is offered to in all; more would only make a client of a dead group
/// wait.
pub const ATTEMPTS_MAX: usize = 3;

/// Makes [`Retry`].
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, Target, TargetGroup, error::{Error, Kind}, id::RuleId};
/// use pointsman::layer::{Routed, RetryLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let web = TargetGroup::builder("web").build().unwrap();
/// // The first target cannot be reached; the request comes back and is offered to another.
/// let below = service_fn(|mut routed: Routed| async move {
///     if routed.tried().is_empty() {
///         let request = std::mem::take(routed.request_mut());
///         return Err(Error::from(Kind::Connect).with_target("one".into()).with_unsent(request));
///     }
///     Ok(Response::new(Body::from("two")))
/// });
/// let routed = Routed::new(Request::new(Body::default()), RuleId::Default, web);
/// assert!(RetryLayer::new().layer(below).oneshot(routed).await.is_ok());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RetryLayer(());

impl RetryLayer {
    /// Makes the layer: an unsent request is offered to at most [`ATTEMPTS_MAX`] targets.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { inner }
    }
}

/// Offers a request that was not sent to another target.
#[derive(Clone, Copy, Debug)]
pub struct Retry<S> {
    inner: S,
}

impl<S: Stage<Routed> + Clone> Service<Routed> for Retry<S> {
    type Response = Response<Body>;
    type Error = Error;
    type Future = RetryFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        let route = routed.route().clone();
        // The clone has not been found ready, so the one that has makes this call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let future = inner.call(routed);
        RetryFuture { attempt: Attempt::Called { future }, inner, route, first: None }
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Retry`].
    pub struct RetryFuture<S, F> {
        #[pin]
        attempt: Attempt<F>,
        inner: S,
        route: Route,
        // What the first attempt failed with; it stands when no target is left.
        first: Option<Error>,
    }
}

pin_project_lite::pin_project! {
    #[project = AttemptProjection]
    enum Attempt<F> {
        Called { #[pin] future: F },
        // Waits until the next call may be made.
        Waiting { routed: Option<Routed> },
    }
}

impl<S, F> Future for RetryFuture<S, F>
where
    S: Stage<Routed, Future = F>,
    F: Future<Output = Result<Response<Body>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        loop {
            match this.attempt.as_mut().project() {
                AttemptProjection::Called { future } => {
                    let error = match ready!(future.poll(cx)) {
                        Ok(response) => return Poll::Ready(Ok(response)),
                        Err(error) => error,
                    };
                    let Some(routed) = again(this.route, &error) else {
                        return Poll::Ready(Err(last_word(this.first.take(), error)));
                    };
                    this.first.get_or_insert(error);
                    this.attempt.set(Attempt::Waiting { routed: Some(routed) });
                }
                AttemptProjection::Waiting { routed } => {
                    ready!(this.inner.poll_ready(cx))?;
                    let Some(routed) = routed.take() else { return Poll::Pending };
                    let future = this.inner.call(routed);
                    this.attempt.set(Attempt::Called { future });
                }
            }
        }
    }
}

/// Returns the next attempt, if the request is whole and may be offered once more.
fn again(route: &mut Route, error: &Error) -> Option<Routed> {
    let target = error.target()?;
    if route.tried.len() + 1 >= ATTEMPTS_MAX {
        return None;
    }
    let request = error.take_unsent()?;
    tracing::debug!(group = %route.group.name(), %target, cause = %error, "another target is tried");
    route.tried.push(target.clone());
    route.prefer = None;
    Some(Routed::of(request, route.clone()))
}

/// When nothing was sent to anybody, what went wrong first says most: one dead target is 502, not
/// 503.
fn last_word(first: Option<Error>, last: Error) -> Error {
    let unsent = matches!(
        last.kind(),
        Kind::Connect | Kind::ConnectTimeout | Kind::NoTarget | Kind::Saturated
    );
    first.filter(|_| unsent).unwrap_or(last)
}

impl<S, F> fmt::Debug for RetryFuture<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryFuture").field("tried", &self.route.tried).finish_non_exhaustive()
    }
}
