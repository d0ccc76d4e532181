//! What of a message depends on the one connection it goes over, to the target or back to the client.
//!
//! All that is the same for any target is done before, in `proxy/`.

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header,
    uri::PathAndQuery,
};
use http_body::Body as _;

use super::super::arrival::Introduced;
use crate::{
    body::Body,
    endpoint::{Address, Endpoint},
    error::Error,
    grammar,
    head::Peer,
};

/// How a request came, for its answer, and for another target that may get it.
pub(super) struct Came {
    version: Version,
    /// Whether it had no Host, so that it has the target's.
    without_host: bool,
    /// Whether its answer tells a length that is not its own.
    is_head: bool,
}

impl Came {
    /// Makes a request one for this endpoint.
    pub(super) fn adapt(
        request: &mut Request<Body>,
        endpoint: &Endpoint,
        peer: Option<Peer>,
    ) -> Self {
        let (version, is_head) = (request.version(), request.method() == Method::HEAD);
        if endpoint.is_local() {
            _ = Introduced::take(request);
            toward_balancer(request, peer);
            return Self { version, without_host: false, is_head };
        }
        let without_host = toward_target(request, endpoint.address());
        Self { version, without_host, is_head }
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

    /// Makes the length that a service in this process tells that of its answer's body.
    pub(super) fn frame_answer(&self, response: &mut Response<Body>) {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
        if !self.is_head && !bodiless.contains(&response.status()) {
            let length = response.body().size_hint().exact();
            correct_length(response.headers_mut(), length);
        }
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
    let length = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    if !correct_length(request.headers_mut(), length) && length.is_none() {
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

/// Makes the length that a head tells, if it tells one, that of its body, if that is known; returns
/// whether it tells one. A layer above, or a service in this process, may have changed the body only,
/// and hyper writes what it is given.
fn correct_length(headers: &mut HeaderMap, length: Option<u64>) -> bool {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return false };
    if let Some(length) = length
        && (!says(first, length) || lines.next().is_some())
    {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    true
}

fn says(value: &HeaderValue, length: u64) -> bool {
    value.to_str().ok().and_then(grammar::number) == Some(length)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_tells_the_length_of_its_body_or_none() {
        let check = |lines: &[&str], length, expected: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(correct_length(&mut headers, length), !lines.is_empty());
            let found = headers.get_all(header::CONTENT_LENGTH).iter().collect::<Vec<_>>();
            assert_eq!(found, expected, "{lines:?} {length:?}");
        };
        check(&["5"], Some(5), &["5"]);
        check(&["44"], Some(0), &["0"]);
        check(&["5", "5"], Some(5), &["5"]);
        check(&["5, 5"], Some(5), &["5"]);
        check(&["+5"], Some(5), &["5"]);
        check(&[], Some(5), &[]);
        // Whoever frames the body holds it to that.
        check(&["5"], None, &["5"]);
        check(&[], None, &[]);
    }

    #[test]
    fn a_target_is_told_the_length_of_the_body_it_gets() {
        let check = |body: &'static str, told: &str, expected: &str| {
            let request = Request::put("/").header("content-length", told);
            let mut request = request.body(Body::from(body)).unwrap();
            toward_target(&mut request, &"10.0.0.7:80".parse().unwrap());
            assert_eq!(request.headers()["content-length"], expected, "{body:?}");
            assert!(!request.headers().contains_key("transfer-encoding"), "{body:?}");
        };
        check("hello", "5", "5");
        check("hello", "44", "5");
        check("", "44", "0");
    }

    #[tokio::test]
    async fn what_a_service_in_this_process_tells_is_the_length_of_its_answer() {
        use tower::{ServiceExt, service_fn};

        use crate::layer::ForwardTo;

        let wrong = service_fn(|request: Request<Body>| async move {
            let status = request.uri().path()[1..].parse::<u16>().unwrap();
            let answer = Response::builder().status(status).header("content-length", "9");
            let is_empty = request.method() == Method::HEAD || status != 200;
            answer.body(Body::from(if is_empty { "" } else { "hello" }))
        });
        let forward = ForwardTo::new(crate::Target::service("wrong", wrong));
        for (method, path, expected) in [
            ("GET", "/200", "5"),
            ("HEAD", "/200", "9"),
            ("GET", "/304", "9"),
            ("GET", "/400", "0"),
        ] {
            let request = Request::builder().method(method).uri(path).header("host", "a");
            let request = request.body(Body::default()).unwrap();
            let answer = forward.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.headers()["content-length"], expected, "{method} {path}");
        }
    }
}
