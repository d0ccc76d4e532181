//! The floor that picks the target; the exchange counts from here on.
//!
//! Which target is the group's decision.

use std::task::{Context, Poll};

use http::Response;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::{
    message::{Assigned, Routed},
    stage::{PassFuture, Stage},
};
use crate::{
    body::Body,
    error::{Error, Kind},
};

/// Makes [`Select`].
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, Target, TargetGroup, error::Error, id::RuleId};
/// use pointsman::layer::{Assigned, Routed, SelectLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let web = TargetGroup::builder("web").build().unwrap();
/// web.register(Target::new("127.0.0.1:3001".parse().unwrap()));
/// let below = service_fn(|assigned: Assigned| async move {
///     assert_eq!(assigned.member().id(), "127.0.0.1:3001");
///     Ok::<_, Error>(Response::new(Body::default()))
/// });
/// let routed = Routed::new(Request::new(Body::default()), RuleId::Default, web);
/// assert!(SelectLayer::new().layer(below).oneshot(routed).await.is_ok());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectLayer(());

impl SelectLayer {
    /// Makes the layer; the settings are each group's.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for SelectLayer {
    type Service = Select<S>;

    fn layer(&self, inner: S) -> Select<S> {
        Select { inner }
    }
}

/// Picks a target of the group.
#[derive(Clone, Copy, Debug)]
pub struct Select<S> {
    inner: S,
}

impl<S: Stage<Assigned>> Service<Routed> for Select<S> {
    type Response = Response<Body>;
    type Error = Error;
    type Future = PassFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed) -> Self::Future {
        // The attempt before has used its time up; no target is to be blamed for this one.
        if routed.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            let error = Error::from(Kind::RequestTimeout).with_rule(routed.rule());
            let error = error.with_group(routed.group().name().clone());
            return PassFuture::refused(error);
        }
        let picked = routed.group().assign(&routed.head(), routed.prefer(), routed.tried());
        let picked = match picked {
            Ok(picked) => picked,
            Err(error) => return PassFuture::refused(error.with_rule(routed.rule())),
        };
        PassFuture::passed(self.inner.call(Assigned::of(routed, picked)))
    }
}
