//! The floor that keeps sessions: which target did this client have, and which has it now?
//!
//! How a session is written down is `stickiness/`'s affair; whether its target may still be picked
//! is the group's.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use tower::{Layer, Service};

use super::{
    message::Routed,
    served::Served,
    stage::{PassFuture, Stage},
};
use crate::{body::Body, error::Error, group::TargetGroup, stickiness::Session};

/// Makes [`Sticky`].
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, TargetGroup, error::Error, id::RuleId, layer::{Routed, StickyLayer}};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// // A group without stickiness: the request passes as it is.
/// let web = TargetGroup::builder("web").build().unwrap();
/// let below = service_fn(|routed: Routed| async move {
///     assert!(routed.prefer().is_none());
///     Ok::<_, Error>(Response::new(Body::default()))
/// });
/// let routed = Routed::new(Request::new(Body::default()), RuleId::Default, web);
/// let response = StickyLayer::new().layer(below).oneshot(routed).await.unwrap();
/// assert!(response.headers().is_empty());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct StickyLayer(());

impl StickyLayer {
    /// Makes the layer; the settings are each group's.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for StickyLayer {
    type Service = Sticky<S>;

    fn layer(&self, inner: S) -> Sticky<S> {
        Sticky { inner }
    }
}

/// Asks for the target a client had, and tells the client which it has.
#[derive(Clone, Copy, Debug)]
pub struct Sticky<S> {
    inner: S,
}

impl<S: Stage<Routed>> Service<Routed> for Sticky<S> {
    type Response = Response<Body>;
    type Error = Error;
    type Future = PassFuture<StickyFuture<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed) -> Self::Future {
        let rule = routed.rule();
        match routed.group().recall(&routed.head()) {
            Ok(session) => {
                let prefer = session.as_ref().and_then(|session| session.target().cloned());
                let session = session.map(|session| (routed.group().clone(), session));
                routed.set_prefer(prefer);
                let future = self.inner.call(routed);
                PassFuture::passed(StickyFuture { future, session })
            }
            Err(error) => PassFuture::refused(error.with_rule(rule)),
        }
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Sticky`].
    pub struct StickyFuture<F> {
        #[pin]
        future: F,
        session: Option<(TargetGroup, Session)>,
    }
}

impl<F> Future for StickyFuture<F>
where
    F: Future<Output = Result<Response<Body>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // Past what moves the answer about.
        if this.session.is_none() {
            return this.future.poll(cx);
        }
        let mut answer = ready!(this.future.poll(cx));
        if let Some((group, session)) = this.session.take()
            && let Ok(response) = &mut answer
            && let Some(Served { rule, target: Some(target), .. }) = response.extensions().get()
        {
            let (rule, target) = (*rule, target.clone());
            group
                .remember(&session, &target, response.headers_mut())
                .map_err(|error| error.with_rule(rule).with_target(target))?;
        }
        Poll::Ready(answer)
    }
}

impl<F> fmt::Debug for StickyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyFuture").finish_non_exhaustive()
    }
}
