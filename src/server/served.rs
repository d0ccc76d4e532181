//! What is served: a service for each connection, made for the client that opened it.

use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{BoxError, Service};

use crate::{balancer::LoadBalancer, body::Body, head::Peer};

/// Makes the service of each connection, told who its client is.
///
/// A [`LoadBalancer`] is one as it is. [`WithPeer`] makes one of any other service, and so does a
/// closure that takes a [`Peer`].
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, future::ready};
/// use http::{Request, Response};
/// use pointsman::{Body, Peer, server::ForPeer};
/// use tower::service_fn;
///
/// let served = |peer: Peer| {
///     service_fn(move |_: Request<Body>| {
///         let text = format!("hello {}\n", peer.ip());
///         ready(Ok::<_, Infallible>(Response::new(Body::from(text))))
///     })
/// };
/// let _service = served.for_peer(Peer::new("192.0.2.1:50000".parse().unwrap()));
/// ```
pub trait ForPeer: Send + Sync + 'static {
    /// The body of the responses.
    type Body: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// What answers the requests of one connection. A clone of it answers each; one that fails ends
    /// the connection without an answer.
    type Service: Service<Request<Body>, Response = Response<Self::Body>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + 'static;

    /// Makes the service of a connection that was just opened. If it panics, this connection is
    /// closed.
    fn for_peer(&self, peer: Peer) -> Self::Service;
}

impl ForPeer for LoadBalancer {
    type Body = Body;
    type Service = Self;

    fn for_peer(&self, peer: Peer) -> Self {
        Self::for_peer(self, peer)
    }
}

impl<F, S, B> ForPeer for F
where
    F: Fn(Peer) -> S + Send + Sync + 'static,
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;
    type Service = S;

    fn for_peer(&self, peer: Peer) -> S {
        self(peer)
    }
}

/// Any service; it finds the [`Peer`] in the extensions of each request.
///
/// # Examples
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use pointsman::{Peer, server::WithPeer};
///
/// async fn hello(Extension(peer): Extension<Peer>) -> String {
///     format!("hello {}\n", peer.ip())
/// }
///
/// let served = WithPeer(Router::new().route("/", get(hello)));
/// # drop::<WithPeer<Router>>(served);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WithPeer<S>(pub S);

impl<S, B> ForPeer for WithPeer<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;
    type Service = ToldPeer<S>;

    fn for_peer(&self, peer: Peer) -> ToldPeer<S> {
        ToldPeer { service: self.0.clone(), peer }
    }
}

/// The service that [`WithPeer`] makes of its own.
#[derive(Clone, Debug)]
pub struct ToldPeer<S> {
    service: S,
    peer: Peer,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for ToldPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        request.extensions_mut().insert(self.peer);
        self.service.call(request)
    }
}
