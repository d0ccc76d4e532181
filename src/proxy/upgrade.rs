//! Which requests may change the protocol of their connection, and which answers do.
//!
//! WebSocket may, and what the user names; from all other requests `Upgrade` is stripped, as RFC 9110
//! §7.8 allows. Who carries the bytes afterwards is `endpoint/tunnel.rs`.

use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};
use hyper::upgrade::OnUpgrade;

use super::{list, options::HttpOptions};
use crate::body::Body;

/// Returns the protocol a client asks for, if it asks as it must for one that it may have. Else nobody
/// below may take over the connection.
pub(super) fn allowed(request: &mut Request<Body>, options: &HttpOptions) -> Option<HeaderValue> {
    let token = asked(request).filter(|token| options.may_upgrade(token.as_bytes())).cloned();
    if token.is_none() {
        request.extensions_mut().remove::<OnUpgrade>();
    }
    token
}

/// Names another protocol in a message.
pub(super) fn name(headers: &mut HeaderMap, token: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, token);
}

/// Returns the protocol a request asks for: over HTTP/1.1, by a GET without a body whose Connection
/// names the field, and of a server that can change it.
fn asked(request: &Request<Body>) -> Option<&HeaderValue> {
    let token = token(request.headers())?;
    let may = *request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && http_body::Body::is_end_stream(request.body())
        && list::has(request.headers(), &header::CONNECTION, "upgrade")
        // HTTP/2 is a protocol that we would have to speak ourselves.
        && !token.as_bytes().eq_ignore_ascii_case(b"h2c")
        && request.extensions().get::<OnUpgrade>().is_some();
    may.then_some(token)
}

/// Returns the one protocol that is named. Of several, each side could take another one.
fn token(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut tokens = headers.get_all(header::UPGRADE).iter();
    tokens.next().filter(|_| tokens.next().is_none())
}

/// What was taken from a request that asks for another protocol.
#[derive(Debug)]
pub(crate) struct Asked {
    token: HeaderValue,
    /// There are clones of it that must never be polled, since one that is polled twice panics.
    client: OnUpgrade,
}

impl Asked {
    /// Takes what the client's server gave along with a request, so that nobody else does.
    pub(crate) fn take(request: &mut Request<Body>) -> Option<Self> {
        // Cheaper to ask for than the field, and there for few.
        request.extensions().get::<OnUpgrade>()?;
        let token = asked(request)?.clone();
        let client = request.extensions_mut().remove()?;
        Some(Self { token, client })
    }

    /// Gives it back with a request that goes to another target.
    pub(crate) fn put_back(self, request: &mut Request<Body>) {
        request.extensions_mut().insert(self.client);
    }

    /// Tells whether an answer of 101 means the protocol that was asked for.
    pub(crate) fn is_granted_by(&self, answer: &Response<Body>) -> bool {
        token(answer.headers())
            .is_some_and(|token| token.as_bytes().eq_ignore_ascii_case(self.token.as_bytes()))
    }

    /// Makes an answer of 101 one for the client, and returns its side of the tunnel to come.
    pub(crate) fn grant(self, answer: &mut Response<Body>) -> OnUpgrade {
        // There is no body to have a length (RFC 9110 §8.6).
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        name(answer.headers_mut(), self.token);
        self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEBSOCKET: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "websocket")];

    /// What a target would see of these fields.
    fn check(
        fields: &[(&str, &str)],
        change: impl FnOnce(&mut Request<Body>),
        options: HttpOptions,
        expected: &[&str],
    ) {
        let mut request = Request::new(Body::default());
        for (name, value) in fields {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        // There is no other way to one but a response of hyper's; this one is never polled.
        request.extensions_mut().insert(hyper::upgrade::on(Request::new(())));
        change(&mut request);
        let available = request.extensions().get::<OnUpgrade>().is_some();
        super::super::toward_targets(&mut request, None, &options);
        let seen = request.headers().iter();
        let seen = seen.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
        let mut seen = seen.collect::<Vec<_>>();
        seen.sort();
        assert_eq!(seen, expected, "{fields:?}");
        let left = request.extensions().get::<OnUpgrade>().is_some();
        assert_eq!(left, available && !expected.is_empty(), "{fields:?}");
    }

    const KEPT: &[&str] = &["connection: upgrade", "upgrade: websocket"];

    #[test]
    fn a_websocket_is_asked_for_of_the_target() {
        let plain = |fields, expected| check(fields, |_| {}, HttpOptions::default(), expected);
        plain(&WEBSOCKET, KEPT);
        plain(&[("connection", "keep-alive, UPGRADE"), ("upgrade", "websocket")], KEPT);
        plain(&[("connection", "x"), ("connection", "upgrade"), ("upgrade", "websocket")], KEPT);
        let mixed = &["connection: upgrade", "upgrade: WebSocket"];
        plain(&[("connection", "upgrade"), ("upgrade", "WebSocket")], mixed);
        // It is about the exchange that does not take place.
        plain(&[WEBSOCKET[0], WEBSOCKET[1], ("te", "trailers")], KEPT);
    }

    #[test]
    fn an_answer_that_grants_has_no_length() {
        let client = hyper::upgrade::on(Request::new(()));
        let asked = Asked { token: HeaderValue::from_static("websocket"), client };
        let mut answer = Response::new(Body::default());
        answer.headers_mut().insert("content-length", HeaderValue::from_static("0"));
        _ = asked.grant(&mut answer);
        assert!(answer.headers().get("content-length").is_none());
        assert_eq!(answer.headers()["connection"], "upgrade");
        assert_eq!(answer.headers()["upgrade"], "websocket");
    }

    #[test]
    fn nothing_else_is() {
        let plain = |fields| check(fields, |_| {}, HttpOptions::default(), &[]);
        plain(&[("upgrade", "websocket")]);
        plain(&[("connection", "keep-alive"), ("upgrade", "websocket")]);
        plain(&[("connection", "upgrade"), ("upgrade", "h2c")]);
        plain(&[("connection", "upgrade"), ("upgrade", "TLS/1.0")]);
        plain(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")]);
        plain(&[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")]);
        plain(&[("connection", "upgrade"), ("upgrade", "")]);
        let changed = |change: fn(&mut Request<Body>)| {
            check(&WEBSOCKET, change, HttpOptions::default(), &[]);
        };
        changed(|request| *request.method_mut() = Method::POST);
        changed(|request| *request.method_mut() = Method::HEAD);
        changed(|request| *request.version_mut() = Version::HTTP_10);
        changed(|request| *request.version_mut() = Version::HTTP_2);
        changed(|request| *request.body_mut() = Body::from("x"));
        changed(|request| _ = request.extensions_mut().remove::<OnUpgrade>());
    }

    #[test]
    fn what_the_user_names_is_but_never_http() {
        let named = |token, expected| {
            let options = HttpOptions::new().upgrade("mine").upgrade("h2c");
            check(&[("connection", "upgrade"), ("upgrade", token)], |_| {}, options, expected);
        };
        named("mine", &["connection: upgrade", "upgrade: mine"]);
        named("Mine", &["connection: upgrade", "upgrade: Mine"]);
        named("websocket", KEPT);
        named("h2c", &[]);
        named("H2C", &[]);
    }
}
