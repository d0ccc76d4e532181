//! One bound for what stands on a floor.

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
