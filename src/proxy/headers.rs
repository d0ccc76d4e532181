//! The header work of a proxy: what belongs to one connection goes, what tells about the client
//! comes.
//!
//! What depends on the target, of which there may be several, is `layer/forward.rs`'s.

use std::{
    io::{Cursor, Write},
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};

use super::{
    options::{ForwardedFor, HttpOptions},
    upgrade,
};
use crate::{body::Body, head::Peer};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that belong to one connection (RFC 9110 §7.6.1). Transfer-Encoding is among them since
/// each side frames its own messages.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::UPGRADE,
    HTTP2_SETTINGS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Fields that naming them in Connection does not remove: without them a message would mean
/// something else to the target than to us, or would not say who the client is.
fn survives_connection(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 5] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::COOKIE,
        header::AUTHORIZATION,
        header::SET_COOKIE,
    ];
    NAMES.contains(name) || name.as_str().starts_with("x-forwarded-")
}

/// Makes a client's request one that may go to any target. Called once a request, so that a second
/// attempt does not append twice.
///
/// Without a peer nobody vouches for X-Forwarded-*: what came under these names is dropped.
pub fn toward_targets(request: &mut Request<Body>, peer: Option<&Peer>, options: &HttpOptions) {
    introduce(request, peer.map(|peer| Introduction::of(peer, options)).as_ref(), options);
}

/// Does the same with what was made of the peer beforehand.
pub(crate) fn introduce(
    request: &mut Request<Body>,
    client: Option<&Introduction>,
    options: &HttpOptions,
) {
    let trailers = wants_trailers(request.headers());
    let protocol = upgrade::allowed(request, options);
    host_of_authority(request);
    let headers = request.headers_mut();
    strip_hop_by_hop(headers);
    // The body is read at once, which makes the server send 100 Continue itself.
    headers.remove(header::EXPECT);
    if let Some(protocol) = protocol {
        upgrade::name(headers, protocol);
    } else if trailers {
        // We pass trailers on, so we may say so ourselves (RFC 9110 §10.1.4).
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
    }
    join_cookies(headers);
    match client {
        Some(client) if client.peer.is_forwarded() => {}
        Some(client) => client.write(headers, options.forwarded_for),
        None => {
            headers.remove(X_FORWARDED_FOR);
            headers.remove(X_FORWARDED_PROTO);
            headers.remove(X_FORWARDED_PORT);
        }
    }
}

/// Makes a target's answer one that may go to the client.
pub fn toward_client(response: &mut Response<Body>) {
    strip_hop_by_hop(response.headers_mut());
    // The version of the target's answer says nothing about the client's connection.
    *response.version_mut() = Version::default();
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    // A length beside another framing is wrong (RFC 9112 §6.3), and would be believed once that is
    // gone.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut named = Vec::new();
    for value in headers.get_all(header::CONNECTION) {
        let names = value.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
        let names = names.filter_map(|name| HeaderName::from_bytes(name).ok());
        named.extend(names.filter(|name| !survives_connection(name)));
    }
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(header::TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|&b| b == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// An authority in the request target replaces the Host field (RFC 9112 §3.2.2).
fn host_of_authority(request: &mut Request<Body>) {
    let Some(authority) = request.uri().authority() else { return };
    let host = authority.as_str();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// HTTP/2 may send a cookie in pieces; HTTP/1.1 has one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    if let Ok(joined) = HeaderValue::from_bytes(&all.collect::<Vec<_>>().join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// A peer, and what is written of it: the same for all requests of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    pub(crate) peer: Peer,
    /// The client's address, with its port if that is asked for.
    address: HeaderValue,
    port: Option<HeaderValue>,
}

impl Introduction {
    pub(crate) fn of(peer: &Peer, options: &HttpOptions) -> Self {
        let port = peer.local_addr().map(|local| of_port(local.port()));
        let with_port = options.forwarded_for_port.then(|| peer.client().port());
        Self { peer: *peer, address: of_address(peer.ip(), with_port), port }
    }

    /// Tells of the client's address as asked, and overwrites protocol and port, as ALB does.
    fn write(&self, headers: &mut HeaderMap, forwarded_for: ForwardedFor) {
        match forwarded_for {
            ForwardedFor::Append => self.append(headers),
            ForwardedFor::Preserve => {}
            ForwardedFor::Remove => _ = headers.remove(X_FORWARDED_FOR),
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(self.peer.protocol()));
        match &self.port {
            Some(port) => _ = headers.insert(X_FORWARDED_PORT, port.clone()),
            None => _ = headers.remove(X_FORWARDED_PORT),
        }
    }

    fn append(&self, headers: &mut HeaderMap) {
        let mut before = headers.get_all(X_FORWARDED_FOR).iter().peekable();
        let value = if before.peek().is_none() {
            self.address.clone()
        } else {
            let mut all = before.map(HeaderValue::as_bytes).collect::<Vec<_>>();
            all.push(self.address.as_bytes());
            HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap_or_else(|_| self.address.clone())
        };
        headers.insert(X_FORWARDED_FOR, value);
    }
}

/// An address is at most 45 characters, 53 with brackets and port, all of which a field may have.
fn of_address(ip: IpAddr, port: Option<u16>) -> HeaderValue {
    let mut text = Cursor::new([0; 53]);
    _ = match port {
        Some(port) => write!(text, "{}", SocketAddr::new(ip, port)),
        None => write!(text, "{ip}"),
    };
    let length = text.position() as usize;
    // One allocation, also for the copies of the request.
    let text = Bytes::from_owner(text.into_inner()).slice(..length);
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn of_port(port: u16) -> HeaderValue {
    match port {
        // What most listeners have needs no allocation.
        80 => HeaderValue::from_static("80"),
        443 => HeaderValue::from_static("443"),
        port => HeaderValue::from(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(fields: &[(&str, &str)], peer: Option<Peer>) -> Vec<(String, String)> {
        let mut request = Request::new(Body::default());
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        toward_targets(&mut request, peer.as_ref(), &HttpOptions::default());
        let fields = request.headers().iter();
        let mut fields = fields
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect::<Vec<_>>();
        fields.sort();
        fields
    }

    fn check(fields: &[(&str, &str)], peer: Option<Peer>, expected: &[(&str, &str)]) {
        let expected =
            expected.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(sent(fields, peer), expected, "{fields:?}");
    }

    fn peer() -> Option<Peer> {
        let local = "10.0.0.1:8443".parse().unwrap();
        Some(Peer::new("192.0.2.1:5000".parse().unwrap()).local(local).https(true))
    }

    #[test]
    fn fields_of_the_connection_are_dropped() {
        check(
            &[
                ("connection", "close, X-Mine"),
                ("connection", "host, cookie, x-forwarded-for"),
                ("x-mine", "1"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("transfer-encoding", "chunked"),
                ("content-length", "5"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
                ("te", "gzip"),
                ("expect", "100-continue"),
                ("host", "a.com"),
                ("cookie", "a=1"),
                ("x-kept", "1"),
            ],
            None,
            &[("cookie", "a=1"), ("host", "a.com"), ("x-kept", "1")],
        );
    }

    #[test]
    fn who_takes_trailers_gets_them() {
        check(&[("te", "gzip, Trailers")], None, &[("connection", "te"), ("te", "trailers")]);
    }

    #[test]
    fn vector_26_the_client_is_appended_to_x_forwarded_for() {
        check(
            &[
                ("x-forwarded-for", "198.51.100.1"),
                ("x-forwarded-for", "198.51.100.2, 198.51.100.3"),
                ("x-forwarded-proto", "gopher"),
                ("x-forwarded-port", "1"),
            ],
            peer(),
            &[
                ("x-forwarded-for", "198.51.100.1, 198.51.100.2, 198.51.100.3, 192.0.2.1"),
                ("x-forwarded-port", "8443"),
                ("x-forwarded-proto", "https"),
            ],
        );
        check(
            &[],
            Some(Peer::new("[::ffff:192.0.2.1]:1".parse().unwrap())),
            &[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "http")],
        );
        check(
            &[],
            Some(Peer::new("[2001:db8::1]:1".parse().unwrap())),
            &[("x-forwarded-for", "2001:db8::1"), ("x-forwarded-proto", "http")],
        );
    }

    #[test]
    fn x_forwarded_for_is_treated_as_asked() {
        let check = |options: HttpOptions, client: &str, before: Option<&str>, expected| {
            let mut request = Request::new(Body::default());
            if let Some(before) = before {
                request.headers_mut().append(X_FORWARDED_FOR, before.parse().unwrap());
            }
            let peer = Peer::new(client.parse().unwrap());
            toward_targets(&mut request, Some(&peer), &options);
            let value = request.headers().get(X_FORWARDED_FOR).map(|v| v.to_str().unwrap());
            assert_eq!(value, expected, "{options:?}");
            assert_eq!(request.headers()[X_FORWARDED_PROTO], "http");
        };
        let with_port = HttpOptions::new().forwarded_for_port(true);
        let (v4, v6) = ("192.0.2.1:50000", "[2001:db8::1]:50000");
        check(with_port.clone(), v4, Some("a"), Some("a, 192.0.2.1:50000"));
        check(with_port.clone(), v6, None, Some("[2001:db8::1]:50000"));
        let longest = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
        check(with_port.clone(), longest, None, Some(longest));
        check(HttpOptions::new(), v6, None, Some("2001:db8::1"));
        let preserve = with_port.clone().forwarded_for(ForwardedFor::Preserve);
        check(preserve.clone(), v4, Some("a"), Some("a"));
        check(preserve, v4, None, None);
        let remove = with_port.forwarded_for(ForwardedFor::Remove);
        check(remove.clone(), v4, Some("a"), None);
        check(remove, v4, None, None);
    }

    #[test]
    fn every_address_and_port_is_written_out() {
        let addresses = ["0.0.0.0", "255.255.255.255", "1111:2222:3333:4444:5555:6666:7777:8888"];
        for (address, port) in addresses.iter().zip([80, 443, 65535]) {
            let address = address.parse::<IpAddr>().unwrap();
            let local = ([10, 0, 0, 1], port).into();
            check(
                &[],
                Some(Peer::new((address, 1).into()).local(local)),
                &[
                    ("x-forwarded-for", &address.to_string()),
                    ("x-forwarded-port", &port.to_string()),
                    ("x-forwarded-proto", "http"),
                ],
            );
        }
    }

    #[test]
    fn without_a_peer_nobody_vouches_for_the_client() {
        let forged = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "1"),
        ];
        check(&forged, None, &[]);
    }

    #[test]
    fn a_balancer_behind_a_balancer_appends_nothing() {
        let mut peer = peer().unwrap();
        peer.mark_forwarded();
        check(&[("x-forwarded-for", "a")], Some(peer), &[("x-forwarded-for", "a")]);
    }

    #[test]
    fn pieces_of_a_cookie_are_joined() {
        check(&[("cookie", "a=1"), ("cookie", "b=2")], None, &[("cookie", "a=1; b=2")]);
    }

    #[test]
    fn the_authority_of_the_target_is_the_host() {
        let mut request = Request::get("http://user@a.com:81/x").body(Body::default()).unwrap();
        request.headers_mut().insert("host", HeaderValue::from_static("b.com"));
        toward_targets(&mut request, None, &HttpOptions::default());
        assert_eq!(request.headers()["host"], "a.com:81");
    }
}
