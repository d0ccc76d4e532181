//! All steps together: what a target, or a client, gets of what came.

use http::HeaderName;

use super::*;
use crate::proxy::{ForwardedFor, TraceIds};

type Fields<'a> = &'a [(&'a str, &'a str)];

fn request_of(fields: Fields<'_>) -> Request<Body> {
    let mut request = Request::new(Body::default());
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut fields = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect::<Vec<_>>();
    fields.sort();
    fields
}

fn check_with(options: &HttpOptions, received: Fields<'_>, peer: Option<Peer>, sent: Fields<'_>) {
    let mut request = request_of(received);
    toward_targets(&mut request, peer.as_ref(), options);
    let mut expected = HeaderMap::new();
    for (name, value) in sent {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        expected.append(name, HeaderValue::from_str(value).unwrap());
    }
    assert_eq!(sorted(request.headers()), sorted(&expected), "{received:?}");
}

fn check(received: Fields<'_>, peer: Option<Peer>, sent: Fields<'_>) {
    check_with(&HttpOptions::default(), received, peer, sent);
}

fn peer() -> Option<Peer> {
    let local = "10.0.0.1:8443".parse().unwrap();
    Some(Peer::new("192.0.2.1:5000".parse().unwrap()).local(local).https(true))
}

/// What targets are told of [`peer`].
const FORWARDED: [(&str, &str); 3] = [
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "8443"),
];

fn trusting(proxies: &[&str]) -> HttpOptions {
    HttpOptions::new().trusted_proxies(proxies.iter().map(|proxy| proxy.parse().unwrap()))
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
fn connection_cannot_remove_what_balancers_write() {
    let options = trusting(&["192.0.2.1"]).forwarded_for(ForwardedFor::Preserve);
    let fields = [
        ("x-amzn-trace-id", "Root=1-x-y"),
        ("x-amzn-mtls-clientcert-subject", "CN=a"),
        ("x-amzn-oidc-identity", "somebody"),
        ("x-amzn-anything", "1"),
        ("x-forwarded-for", "192.0.2.9"),
        ("x-forwarded-host", "a.com"),
        ("forwarded", "for=192.0.2.9"),
        ("x-real-ip", "192.0.2.9"),
        ("via", "1.1 cdn"),
        ("host", "a.com"),
        ("authorization", "Basic x"),
    ];
    let names = fields.map(|(name, _)| name).join(", ");
    let received = [&fields[..], &[("connection", &names)]].concat();
    let told = [("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")];
    check_with(&options, &received, peer(), &[&fields[..], &told].concat());
}

#[test]
fn who_takes_trailers_gets_them() {
    check(&[("te", "gzip, Trailers")], None, &[("connection", "te"), ("te", "trailers")]);
}

#[test]
fn vector_26_the_client_is_appended_to_x_forwarded_for() {
    let forged = [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "198.51.100.2, 198.51.100.3"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-port", "1"),
    ];
    let [_, proto, port] = FORWARDED;
    let all = ("x-forwarded-for", "198.51.100.1, 198.51.100.2, 198.51.100.3, 192.0.2.1");
    check(&forged, peer(), &[all, proto, port]);
}

#[test]
fn without_a_peer_nobody_vouches_for_the_client() {
    let forged = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("X-Forwarded-Prefix", "/admin"),
        ("x-forwarded-client-cert", "Subject=a"),
        ("x-forwarded-anything", "1"),
        ("x-forwarded-", "1"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x_forwarded_for", "1.1.1.1"),
        ("proxy", "http://evil.example"),
    ];
    check(&forged, None, &[]);
    check_with(&trusting(&["0.0.0.0/0", "::/0"]).forwarded(true), &forged, None, &[]);
    let others = [("x-forwarded", "1"), ("x-forward-for", "1"), ("y-x-forwarded-for", "1")];
    check(&others, None, &others);
}

#[test]
fn a_balancer_behind_a_balancer_appends_nothing() {
    let mut peer = peer().unwrap();
    peer.mark_forwarded();
    // All of it was written, or let pass, by the one in front.
    let fields = [
        ("x-forwarded-for", "a"),
        ("forwarded", "for=a"),
        ("x-real-ip", "a"),
        ("x-amzn-tls-version", "TLSv1.3"),
    ];
    let options = HttpOptions::new().forwarded(true).strip_amzn_headers(true);
    check_with(&options, &fields, Some(peer), &fields);
    check_with(
        &options.trusted_proxies(["192.0.2.0/24".parse().unwrap()]),
        &fields,
        Some(peer),
        &fields,
    );
}

#[test]
fn pieces_of_a_cookie_are_joined() {
    check(&[("cookie", "a=1"), ("cookie", "b=2")], None, &[("cookie", "a=1; b=2")]);
}

#[test]
fn what_a_client_may_not_say_is_dropped_and_what_it_may_passes() {
    let received = [
        ("x_forwarded_for", "1.1.1.1"),
        ("X.Forwarded-Proto", "https"),
        ("x_amzn_trace_id", "Root=1-x-y"),
        ("proxy", "http://evil.example"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x-amzn-trace-id", "Root=1-x-y"),
        ("x-amzn-mtls-clientcert", "a"),
        ("x-amzn-tls-version", "TLSv1.3"),
        ("x-amzn-oidc-data", "a"),
        ("x-forwarded-host", "a.com"),
        ("via", "1.1 a"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("tracestate", "a=b"),
    ];
    let told = |from: usize| [&received[from..], &FORWARDED].concat();
    check(&received, peer(), &told(6));
    let strip = HttpOptions::new().strip_amzn_headers(true);
    check_with(&strip, &received, peer(), &[&told(10)[..], &received[6..7]].concat());
}

#[test]
fn what_a_trusted_proxy_says_passes() {
    let received = [
        ("x-forwarded-for", "203.0.113.1, 192.0.2.9"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=192.0.2.9"),
        ("x-real-ip", "192.0.2.9"),
        ("x-amzn-tls-version", "TLSv1.3"),
        ("x_real_ip", "1.1.1.1"),
    ];
    let cdn = Peer::new("198.51.100.7:5000".parse().unwrap()).local(([10, 0, 0, 1], 8080).into());
    let sent = [
        ("x-forwarded-for", "203.0.113.1, 192.0.2.9, 198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=192.0.2.9"),
        ("x-real-ip", "192.0.2.9"),
        ("x-amzn-tls-version", "TLSv1.3"),
    ];
    let options = trusting(&["198.51.100.0/24"]).strip_amzn_headers(true);
    check_with(&options, &received, Some(cdn), &sent);
    // The same from anybody else.
    let options = trusting(&["10.0.0.0/8"]).strip_amzn_headers(true);
    let [for_, ..] = sent;
    let told = [for_, ("x-forwarded-proto", "http"), ("x-forwarded-port", "8080")];
    check_with(&options, &received, Some(cdn), &told);
}

#[test]
fn the_standards_fields_are_appended_if_asked() {
    let via = Via::new("edge").unwrap();
    let options = HttpOptions::new().forwarded(true).via(via).preserve_host_header(false);
    let received = [("host", "A.com"), ("forwarded", "for=1.1.1.1"), ("via", "1.0 a")];
    let sent = [
        // The Host as it came, and as it goes.
        ("forwarded", "for=192.0.2.1;proto=https;host=\"A.com\""),
        ("host", "a.com:8443"),
        ("via", "1.0 a, 1.1 edge"),
    ];
    check_with(&options, &received, peer(), &[&sent[..], &FORWARDED].concat());
    let mut response = Response::new(Body::default());
    *response.version_mut() = Version::HTTP_10;
    response.headers_mut().insert("via", HeaderValue::from_static("1.1 a"));
    toward_client(&mut response, &options);
    assert_eq!(sorted(response.headers()), [("via".into(), "1.1 a, 1.0 edge".into())]);
    assert_eq!(response.version(), Version::HTTP_11);
}

#[test]
fn the_host_is_kept_unless_it_is_to_be_rewritten() {
    let hosts = [("host", "A.com"), ("host", "b.com")];
    check(&hosts, peer(), &[&hosts[..], &FORWARDED].concat());
    let options = HttpOptions::new().preserve_host_header(false);
    check_with(&options, &hosts, peer(), &[&[("host", "a.com:8443")], &FORWARDED[..]].concat());
    check_with(&options.preserve_host_header(true), &hosts, None, &hosts);
}

#[test]
fn the_host_has_the_port_that_a_trusted_proxy_tells() {
    let options = trusting(&["192.0.2.1"]).preserve_host_header(false);
    let mut request = request_of(&[("host", "a.com"), ("x-forwarded-proto", "https")]);
    toward_targets(&mut request, peer().as_ref(), &options);
    assert_eq!(request.headers()["host"], "a.com");
    assert_eq!(request.headers()["x-forwarded-port"], "443");
}

#[test]
fn a_trace_id_is_made_and_kept_only_if_asked() {
    let name = "x-amzn-trace-id";
    let sent = |options: &HttpOptions, received: Fields<'_>| {
        let mut request = request_of(received);
        toward_targets(&mut request, peer().as_ref(), options);
        sorted(request.headers()).into_iter().find(|(found, _)| found == name).map(|(_, id)| id)
    };
    let came = [(name, "Root=1-x-y"), ("connection", name), ("x_amzn_trace_id", "Root=2")];
    assert_eq!(sent(&HttpOptions::new(), &[]), None);
    assert_eq!(sent(&HttpOptions::new(), &came).unwrap(), "Root=1-x-y");
    let options = HttpOptions::new().trace_ids(TraceIds::seeded(7));
    assert!(sent(&options, &[]).unwrap().starts_with("Root=1-"));
    let updated = sent(&options, &came).unwrap();
    assert!(updated.starts_with("Self=1-") && updated.ends_with(";Root=1-x-y"), "{updated}");
}
