//! What becomes of a client's request before it is known where it goes: who its client is, and what
//! makes it fit for any target.
//!
//! Shared by those that take requests from outside, `rules.rs` and `forward_to.rs`. Which requests are
//! taken, and how their heads change, is `proxy/`'s affair.

use std::{
    fmt,
    future::{Ready, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Context, Poll},
};

use futures_util::future::Either;
use http::{Extensions, HeaderValue, Request, Response, StatusCode, header};
use tokio::time::Instant;
use tower::BoxError;

use crate::{
    body::Body,
    error::Error,
    head::{Head, Peer},
    proxy::{self, HttpOptions, Introduction, Passed, Screened},
};

/// A connection whose client is known, and what was made of that once for all its requests.
pub(super) struct Known {
    peer: Peer,
    introduction: Introduction,
    /// By which it was made.
    options: Arc<HttpOptions>,
}

impl Known {
    pub(super) fn new(peer: Peer, options: &Arc<HttpOptions>) -> Self {
        let introduction = Introduction::of(&peer, options);
        let peer = proxy::mark_trusted(peer, options);
        Self { peer, introduction, options: Arc::clone(options) }
    }

    /// Tells whether it is by these options, which may have changed since.
    fn is_by(&self, options: &Arc<HttpOptions>) -> bool {
        Arc::ptr_eq(&self.options, options)
    }
}

/// Returns who the client of a request is, if that is known; of a connection that is not `known`,
/// `find` says who opened it.
pub(super) fn peer(
    head: &Head<'_>,
    known: Option<&Known>,
    options: &Arc<HttpOptions>,
    find: impl FnOnce(&Extensions) -> Result<Option<Peer>, Error>,
) -> Result<Option<Peer>, Error> {
    // A balancer in front of this one, in this process, has found that out.
    let forwarded = head.extensions.get::<Peer>().filter(|peer| peer.is_forwarded());
    if forwarded.is_some() {
        return Ok(forwarded.copied());
    }
    let peer = match known {
        Some(known) if known.is_by(options) => Some(known.peer),
        Some(known) => Some(proxy::mark_trusted(known.peer, options)),
        None => find(head.extensions)?.map(|peer| proxy::mark_trusted(peer, options)),
    };
    Ok(peer.map(|peer| proxy::effective_peer(peer, head, options)))
}

/// Finds who the client is and whether the request is taken.
pub(super) fn receive<B: http_body::Body>(
    request: &mut Request<B>,
    known: Option<&Known>,
    options: &Arc<HttpOptions>,
    warned: &AtomicBool,
    find: impl FnOnce(&Extensions) -> Result<Option<Peer>, Error>,
) -> Result<(Option<Peer>, Screened), Error> {
    let peer = peer(&Head::of(request, None), known, options, find)?;
    if peer.is_none() && !warned.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "nobody tells who the client is, so X-Forwarded-* are dropped and source-ip conditions \
             cannot be decided: set LoadBalancer::builder().peer(...), call for_peer(...) for each \
             connection, or put a Peer into the request's extensions"
        );
    }
    Ok((peer, proxy::screen(request, peer.as_ref(), options)?))
}

/// Makes a request that is to be forwarded fit for any target.
pub(super) fn introduce<B>(
    request: Request<B>,
    peer: Option<&Peer>,
    known: Option<&Known>,
    options: &Arc<HttpOptions>,
    passed: Passed,
) -> Request<Body>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let mut request = request.map(|body| options.limit_body(Body::new(body)));
    let known = known.filter(|known| known.is_by(options)).map(|known| &known.introduction);
    proxy::introduce(&mut request, peer, known, options, passed.noted);
    if passed.alone {
        proxy::send_alone(request.headers_mut());
    }
    request
}

/// On a request that comes back unsent: it is fit for any target, and must not be made so again. A
/// service in this process that is a target does not get it, since it could pass it on.
#[derive(Clone, Copy)]
pub(super) struct Introduced {
    pub(super) peer: Option<Peer>,
    pub(super) deadline: Option<Instant>,
    pub(super) alone: bool,
    pub(super) attempt: u32,
}

impl Introduced {
    /// Takes the mark off a request that bears one.
    pub(super) fn take<B>(request: &mut Request<B>) -> Option<Self> {
        request.extensions_mut().remove()
    }

    /// Marks the request that comes back with an error.
    pub(super) fn mark(self, error: Error) -> Error {
        if let Some(mut request) = error.take_unsent() {
            request.extensions_mut().insert(self);
            error.keep_unsent(request);
        }
        error
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Rules`](super::Rules) and [`ForwardTo`](super::ForwardTo).
    pub struct ArrivalFuture<F> {
        #[pin]
        answer: Either<Ready<Result<Response<Body>, Error>>, F>,
        // Whether the client's connection ends with the answer, whatever that is.
        alone: bool,
    }
}

impl<F> ArrivalFuture<F> {
    /// Waits for an answer from below.
    pub(super) fn called(future: F, alone: bool) -> Self {
        Self { answer: Either::Right(future), alone }
    }

    /// Answers at once.
    pub(super) fn answered(answer: Result<Response<Body>, Error>, alone: bool) -> Self {
        Self { answer: Either::Left(ready(answer)), alone }
    }
}

impl<F> Future for ArrivalFuture<F>
where
    F: Future<Output = Result<Response<Body>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // The way of nearly all, past what moves the answer about.
        if !*this.alone {
            return this.answer.poll(cx);
        }
        let answer = task::ready!(this.answer.poll(cx));
        let mut response = answer.map_err(Error::with_alone)?;
        // A tunnel is the last on its connection anyway, and the field says to what it changes.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for ArrivalFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrivalFuture").finish_non_exhaustive()
    }
}
