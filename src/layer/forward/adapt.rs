//! What of a message depends on the one connection it goes over, to the target or back to the client.
//!
//! All that is the same for any target is done before, in `proxy/`.

use http::{HeaderValue, Request, Response, Uri, Version, header, uri::PathAndQuery};
use http_body::Body as _;

use super::super::arrival::Introduced;
use crate::{
    body::Body,
    endpoint::{Address, Endpoint},
    error::Error,
    head::Peer,
};

/// How a request came, for its answer, and for another target that may get it.
pub(super) struct Came {
    version: Version,
    /// Whether it had no Host, so that it has the target's.
    without_host: bool,
}

impl Came {
    /// Makes a request one for this endpoint.
    pub(super) fn adapt(
        request: &mut Request<Body>,
        endpoint: &Endpoint,
        peer: Option<Peer>,
    ) -> Self {
        let version = request.version();
        if endpoint.is_local() {
            _ = Introduced::take(request);
            toward_balancer(request, peer);
            return Self { version, without_host: false };
        }
        Self { version, without_host: toward_target(request, endpoint.address()) }
    }

    /// Undoes that in a request that was not sent, since another target may get it.
    pub(super) fn undo(&self, error: &Error) {
        let Some(mut request) = error.take_unsent() else { return };
        *request.version_mut() = self.version;
        // What came under this name is gone.
        request.headers_mut().remove(header::TRANSFER_ENCODING);
        if self.without_host {
            request.headers_mut().remove(header::HOST);
        }
        error.keep_unsent(request);
    }

    /// Says so if nothing can follow an answer on its client's connection: the rest of the request will
    /// not be read, or only the end of the connection is the answer's.
    pub(super) fn adapt_answer(&self, response: &mut Response<Body>, is_overtaken: bool) {
        // Of HTTP/2 only a stream ends.
        if is_overtaken && self.version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        // A client of HTTP/1.0 knows no chunks. To an answer of HTTP/1.1 hyper would add that the
        // connection is kept, if the client asks for it.
        if self.version == Version::HTTP_10
            && (is_overtaken || response.body().size_hint().exact().is_none())
        {
            *response.version_mut() = self.version;
        }
    }
}

/// Does what depends on the target: HTTP/1.1 and its framing, the origin form, and a Host if there is
/// none, which it tells.
fn toward_target(request: &mut Request<Body>, address: &Address) -> bool {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    // What belongs to the client's connection is gone from the head, its framing with it; hyper gives
    // a body of unknown length one again, but drops that of a GET or HEAD.
    let body = request.body();
    let sized = body.is_end_stream() || body.size_hint().exact().is_some();
    if !sized && !request.headers().contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::try_from(address.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
        return true;
    }
    false
}

/// Tells a balancer in this process who the client is, and that the forwarding headers say so
/// already. Whom this one did not believe, that one cannot either.
fn toward_balancer(request: &mut Request<Body>, peer: Option<Peer>) {
    let extensions = request.extensions_mut();
    let Some(mut peer) = peer else {
        extensions.remove::<Peer>();
        return;
    };
    peer.mark_forwarded();
    match extensions.get_mut::<Peer>() {
        Some(known) => *known = peer,
        None => _ = extensions.insert(peer),
    }
}
