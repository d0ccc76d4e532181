//! The floor that tries another target when the first gives the request back, or when the group's
//! policy lets it be sent once more.
//!
//! Which requests come back is decided below, in `endpoint/`, where a stale connection to the same
//! target is repaired too. What else may be sent once more is the policy's word, and whether there is
//! a copy to send `opted.rs`'s affair; without a policy no request is copied here.

mod opted;

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use tower::{Layer, Service};

use self::opted::Opted;
use super::{
    message::{Route, Routed},
    served::Served,
    stage::Stage,
};
use crate::{
    body::Body,
    error::{Error, Kind},
};

/// How many targets a request is offered to in all of which nothing was sent; more would only make a
/// client of a dead group wait. A policy may raise it.
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
    /// Makes the layer: an unsent request is offered to at most [`ATTEMPTS_MAX`] targets. What else goes
    /// to another target is each group's [`RetryPolicy`](crate::group::RetryPolicy).
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

/// Offers a request to another target if it was not sent, or if the group's policy says so.
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

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        let opted = Opted::of(&mut routed);
        let route = routed.route().clone();
        // The clone has not been found ready, so the one that has makes this call.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let future = inner.call(routed);
        let progress = Progress { route, opted, first: None };
        RetryFuture { attempt: Attempt::Called { future }, inner, progress }
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Retry`].
    pub struct RetryFuture<S, F> {
        #[pin]
        attempt: Attempt<F>,
        inner: S,
        progress: Progress,
    }
}

pin_project_lite::pin_project! {
    #[project = AttemptProjection]
    enum Attempt<F> {
        Called { #[pin] future: F },
        // Waits until the next call may be made. In a box, since most requests are never here.
        Waiting { routed: Option<Box<Routed>> },
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
                    let polled = future.poll(cx);
                    // The way of nearly all, past what moves the answer about.
                    if this.progress.opted.is_none() && !matches!(polled, Poll::Ready(Err(_))) {
                        return polled;
                    }
                    match this.progress.after(ready!(polled)) {
                        Next::Done(answer) => return Poll::Ready(answer),
                        Next::Again(routed) => {
                            this.attempt.set(Attempt::Waiting { routed: Some(routed) });
                        }
                    }
                }
                AttemptProjection::Waiting { routed } => {
                    if let Err(error) = ready!(this.inner.poll_ready(cx)) {
                        return Poll::Ready(this.progress.last_word(error));
                    }
                    let Some(routed) = routed.take() else { return Poll::Pending };
                    let future = this.inner.call(*routed);
                    this.attempt.set(Attempt::Called { future });
                }
            }
        }
    }
}

/// How far a request has come.
struct Progress {
    route: Route,
    /// What the group's policy needs; none if it has no policy.
    opted: Option<Box<Opted>>,
    // What the first attempt failed with; it stands when no target is left.
    first: Option<Error>,
}

#[expect(clippy::large_enum_variant, reason = "it lives for one match")]
enum Next {
    Done(Result<Response<Body>, Error>),
    Again(Box<Routed>),
}

impl Progress {
    /// Decides what follows from what became of an attempt.
    fn after(&mut self, answer: Result<Response<Body>, Error>) -> Next {
        match answer {
            Ok(response) => self.after_answer(response),
            Err(error) => self.after_error(error),
        }
    }

    fn after_answer(&mut self, response: Response<Body>) -> Next {
        let Some(opted) = &mut self.opted else { return Next::Done(Ok(response)) };
        // Another answer is there, so the one that was kept is not needed.
        opted.keep(None);
        let served = response.extensions().get::<Served>();
        let target = served.and_then(|served| served.target.clone());
        let again = target
            .and_then(|target| opted.after_status(&mut self.route, &target, response.status()));
        match again {
            Some(routed) => {
                opted.keep(Some(response));
                Next::Again(Box::new(routed))
            }
            None => Next::Done(Ok(response)),
        }
    }

    fn after_error(&mut self, error: Error) -> Next {
        let again = self.unsent(&error).or_else(|| {
            let target = error.target()?;
            self.opted.as_mut()?.after_error(&mut self.route, target, &error)
        });
        match again {
            Some(routed) => {
                self.first.get_or_insert(error);
                Next::Again(Box::new(routed))
            }
            None => Next::Done(self.last_word(error)),
        }
    }

    /// Returns the next attempt, if the request came back whole and may be offered once more.
    fn unsent(&mut self, error: &Error) -> Option<Routed> {
        let target = error.target()?;
        let attempts = self.opted.as_ref().map_or(0, |opted| opted.attempts()).max(ATTEMPTS_MAX);
        if self.route.tried.len() + 1 >= attempts {
            return None;
        }
        let request = error.take_unsent()?;
        let group = self.route.group.name();
        tracing::debug!(%group, %target, cause = %error, "another target is tried");
        self.route.next(target);
        Some(Routed::of(request, self.route.clone()))
    }

    /// An answer of a target stands above all errors. When nothing was sent to anybody, what went wrong
    /// first says most: one dead target is 502, not 503.
    fn last_word(&mut self, last: Error) -> Result<Response<Body>, Error> {
        if let Some(answer) = self.opted.as_mut().and_then(|opted| opted.take_kept()) {
            return Ok(answer);
        }
        let unsent = matches!(
            last.kind(),
            Kind::Connect
                | Kind::ConnectTimeout
                | Kind::NoTarget
                | Kind::Saturated
                | Kind::Exhausted
        );
        Err(self.first.take().filter(|_| unsent).unwrap_or(last))
    }
}

impl<S, F> fmt::Debug for RetryFuture<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried = &self.progress.route.tried;
        f.debug_struct("RetryFuture").field("tried", tried).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
