//! The floor that says which outcomes count against the target.
//!
//! Nothing is recorded here; the lease does that when the exchange ends.

use std::task::{Context, Poll};

use http::Response;
use tower::{Layer, Service};

use super::{message::Assigned, stage::Stage};
use crate::{body::Body, error::Error, outcome::Blame};

/// Makes [`Health`].
///
/// # Examples
///
/// ```
/// use pointsman::layer::HealthLayer;
/// use tower::ServiceBuilder;
///
/// let builder = ServiceBuilder::new().layer(HealthLayer::new());
/// # drop(builder);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HealthLayer(());

impl HealthLayer {
    /// Counts against the target what ALB's anomaly detection counts: answers of 5xx, and
    /// exchanges without a proper answer. `GroupStatus` shows the count as `failed`.
    pub fn new() -> Self {
        Self::default()
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = Health<S>;

    fn layer(&self, inner: S) -> Health<S> {
        Health { inner }
    }
}

/// Says which outcomes count against the target.
#[derive(Clone, Copy, Debug)]
pub struct Health<S> {
    inner: S,
}

impl<S: Stage<Assigned>> Service<Assigned> for Health<S> {
    type Response = Response<Body>;
    type Error = Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut assigned: Assigned) -> S::Future {
        assigned.lease_mut().blame(Blame::Failures);
        self.inner.call(assigned)
    }
}
