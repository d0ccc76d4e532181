//! Requests, and whether they pass.

use http::StatusCode;
use http_body_util::Full;

use super::{super::desync::DesyncMode, *};
use crate::body::Body;

fn peer() -> Peer {
    Peer::new("192.0.2.1:5000".parse().unwrap())
}

fn request(line: &str, fields: &[(&str, &str)]) -> Request<Body> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri).body(Body::default()).unwrap();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    request
}

/// Screens a request of a client, and returns the status it is refused with; 0 if it passes, 1 if it
/// passes alone, 200 if it is answered.
fn status(request: &mut Request<Body>, options: &HttpOptions) -> u16 {
    match screen(request, Some(&peer()), options) {
        Ok(Screened::Pass(passed)) => passed.alone.into(),
        Ok(Screened::LastHop) => 200,
        Err(error) => {
            assert!(error.closes_client(), "{error}");
            error.status().as_u16()
        }
    }
}

fn check_with(options: &HttpOptions, line: &str, fields: &[(&str, &str)], expected: u16) {
    let mut request = request(line, fields);
    assert_eq!(status(&mut request, options), expected, "{line} {fields:?}");
}

fn check(line: &str, fields: &[(&str, &str)], expected: u16) {
    check_with(&HttpOptions::default(), line, fields, expected);
}

const HOST: (&str, &str) = ("host", "a.com");

#[test]
fn methods_for_the_proxy_itself_are_not_allowed() {
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "trace"] {
        check(&format!("{method} /"), &[HOST], 0);
    }
    check("TRACE /", &[HOST], 405);
    check("CONNECT a.com:80", &[HOST], 405);
}

#[test]
fn a_request_target_has_one_of_three_forms() {
    for uri in
        ["/", "/a/../b?c\\d", "//", "http://a.com", "https://b.com:81/x?y", "HTTP://a.com/", "/*"]
    {
        check(&format!("GET {uri}"), &[HOST], 0);
    }
    for uri in [
        "*",
        "a",
        "a.com:80",
        "1.2.3.4",
        "ftp://a.com/",
        "ws://a.com/",
        "http://u@a.com/",
        "http://u:p@a.com/",
        "http://a.com:65536/",
        "/a\\b",
        "http://a.com/\\b",
    ] {
        check(&format!("GET {uri}"), &[HOST], 400);
    }
    check("OPTIONS *", &[HOST], 0);
    check("OPTIONS http://a.com", &[HOST], 0);
}

#[test]
fn a_host_is_one_host() {
    check("GET /", &[("host", "a.com:8080")], 0);
    check("GET /", &[("host", "[::1]:80")], 0);
    check("GET /", &[HOST, HOST], 400);
    for host in ["", "a b", "a/b", "u@a.com", "a.com:x", "a,b c", "a\\b", "caf\u{e9}"] {
        check("GET /", &[("host", host)], 400);
        check("GET http://a.com/", &[("host", host)], 400);
    }
    // The one in the request target counts, whatever the field says.
    check("GET http://b.com/", &[HOST], 0);
}

#[test]
fn a_host_may_be_missing_where_no_client_can_have_forgotten_it() {
    let options = HttpOptions::default();
    let check = |version, peer: Option<Peer>, uri: &str, passes| {
        let mut request = request(&format!("GET {uri}"), &[]);
        *request.version_mut() = version;
        let screened = screen(&mut request, peer.as_ref(), &options);
        assert_eq!(screened.is_ok(), passes, "{version:?} {peer:?} {uri}");
    };
    let mut inner = peer();
    inner.mark_forwarded();
    check(Version::HTTP_11, Some(peer()), "/", false);
    check(Version::HTTP_11, Some(peer()), "http://a.com/", false);
    check(Version::HTTP_11, None, "/", true);
    check(Version::HTTP_11, Some(inner), "/", true);
    check(Version::HTTP_10, Some(peer()), "/", true);
    check(Version::HTTP_2, Some(peer()), "https://a.com/", true);
}

#[test]
fn a_host_of_http_2_is_the_authority() {
    let check = |host, passes| {
        let mut request = request("GET https://a.com/", &[("host", host)]);
        *request.version_mut() = Version::HTTP_2;
        let screened = screen(&mut request, None, &HttpOptions::default());
        assert_eq!(screened.is_ok(), passes, "{host}");
    };
    check("a.com", true);
    check("A.com", true);
    check("b.com", false);
}

#[test]
fn what_is_too_long_is_refused_and_what_just_fits_is_not() {
    let sized = |length: usize| "a".repeat(length);
    check(&format!("GET /{}", sized(16 * 1024 - 1)), &[HOST], 0);
    check(&format!("GET /{}", sized(16 * 1024)), &[HOST], 414);
    check(&format!("GET http://a.com/{}", sized(16 * 1024 - 12)), &[HOST], 414);
    check(&format!("GET http://a.com/{}", sized(16 * 1024 - 13)), &[HOST], 0);
    check("GET /", &[HOST, ("x-a", &sized(16 * 1024 - 7))], 0);
    check("GET /", &[HOST, ("x-a", &sized(16 * 1024 - 6))], 431);
    // Four of 16 KiB, less one by what Host takes.
    let (full, host) = (sized(16 * 1024 - 7), "host: a.com\r\n".len());
    let fields = |last: usize| {
        let last = sized(16 * 1024 - 7 - last);
        let options = HttpOptions::default();
        let mut all = vec![HOST, ("x-a", &full), ("x-a", &full), ("x-a", &full)];
        all.push(("x-a", &last));
        status(&mut request("GET /", &all), &options)
    };
    assert_eq!(fields(host), 0);
    assert_eq!(fields(host - 1), 431);
    let mut many = vec![HOST];
    many.resize(256, ("x-a", "b"));
    check("GET /", &many, 0);
    many.push(("x-a", "b"));
    check("GET /", &many, 431);
}

#[test]
fn every_limit_can_be_set() {
    let options = HttpOptions::new().uri_size_max(5);
    check_with(&options, "GET /abcd", &[HOST], 0);
    check_with(&options, "GET /abcde", &[HOST], 414);
    let options = HttpOptions::new().header_size_max(13);
    check_with(&options, "GET /", &[HOST], 0);
    check_with(&options, "GET /", &[HOST, ("x-abc", "abcde")], 431);
    let options = HttpOptions::new().headers_size_max(26);
    check_with(&options, "GET /", &[HOST, ("x-abc", "abcd")], 0);
    check_with(&options, "GET /", &[HOST, ("x-abc", "abcde")], 431);
    let options = HttpOptions::new().headers_max(1);
    check_with(&options, "GET /", &[HOST], 0);
    check_with(&options, "GET /", &[HOST, ("a", "b")], 431);
    let options = HttpOptions::new().forwarded_for_max(2);
    check_with(&options, "GET /", &[HOST, ("x-forwarded-for", "a, b")], 0);
    check_with(&options, "GET /", &[HOST, ("x-forwarded-for", "a, b, c")], 463);
}

#[test]
fn proxies_are_counted_over_all_lines() {
    let of = |count: usize| vec!["1.1.1.1"; count].join(", ");
    let (fifteen, sixteen, thirty) = (of(15), of(16), of(30));
    let line = "x-forwarded-for";
    check("GET /", &[HOST, (line, &thirty)], 0);
    check("GET /", &[HOST, (line, &fifteen), (line, &fifteen)], 0);
    check("GET /", &[HOST, (line, &fifteen), (line, &sixteen)], 463);
    check("GET /", &[HOST, (line, &format!(", ,{thirty},,"))], 0);
    // A balancer in front of this one, in this process, has added one.
    let (mut inner, options) = (peer(), HttpOptions::default());
    inner.mark_forwarded();
    let mut request = request("GET /", &[HOST, (line, &of(31))]);
    assert!(screen(&mut request, Some(&inner), &options).is_ok());
}

#[test]
fn nothing_but_to_be_told_to_go_on_can_be_expected() {
    check("POST /", &[HOST, ("expect", "100-continue")], 0);
    check("POST /", &[HOST, ("expect", "100-Continue, 100-continue")], 0);
    check("POST /", &[HOST, ("expect", "200-ok")], 417);
    check("POST /", &[HOST, ("expect", "100-continue, x=y")], 417);
    check("POST /", &[HOST, ("expect", "100-continue"), ("expect", "x")], 417);
}

#[test]
fn a_body_may_be_limited() {
    let options = HttpOptions::new().body_size_max(4);
    let check = |body: &'static [u8], passes| {
        let mut request = Request::new(Full::new(body));
        let screened = screen(&mut request, None, &options);
        assert_eq!(screened.is_ok(), passes, "{body:?}");
        if let Err(error) = screened {
            assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        }
    };
    check(b"", true);
    check(b"abcd", true);
    check(b"abcde", false);
}

#[test]
fn a_mode_decides_about_what_may_be_read_in_two_ways() {
    let check_of = |line: &str, fields: &[(&str, &str)], monitor, defensive, strictest| {
        let mut all = vec![HOST];
        all.extend(fields);
        for (mode, expected) in [
            (DesyncMode::Monitor, monitor),
            (DesyncMode::Defensive, defensive),
            (DesyncMode::Strictest, strictest),
        ] {
            check_with(&HttpOptions::new().desync_mode(mode), line, &all, expected);
        }
    };
    let check = |fields: &[(&str, &str)], monitor, defensive, strictest| {
        check_of("GET /", fields, monitor, defensive, strictest);
    };
    check(&[], 0, 0, 0);
    check(&[("content-length", "0")], 0, 0, 400);
    check(&[("content-length", "5")], 0, 1, 400);
    check(&[("content-length", "5"), ("transfer-encoding", "chunked")], 0, 1, 400);
    check(&[("transfer-encoding", "chunked, chunked")], 0, 400, 400);
    // Nobody could tell the target of it.
    check(&[("transfer-encoding", "gzip, chunked")], 501, 501, 400);
    check(&[("transfer-encoding", "x, chunked")], 501, 400, 400);
    // Of a DELETE no mode refuses the body, and only the first lets others follow it.
    check_of("DELETE /", &[("content-length", "5")], 0, 1, 1);
    check_of("DELETE /", &[("transfer-encoding", "chunked")], 0, 1, 1);
    check_of("DELETE /", &[("content-length", "0")], 0, 0, 0);
    check_of("DELETE /", &[("content-length", "5"), ("content-length", "5")], 0, 1, 400);
    check_of("PUT /", &[("content-length", "5")], 0, 0, 0);
}

#[test]
fn fields_that_no_target_may_get_are_dropped() {
    let check = |options: HttpOptions, expected: &[&str]| {
        let names = [
            "content_length",
            "transfer.encoding",
            "x_a",
            "x.b",
            "x-c",
            "contentlength",
            "x~d",
            "1",
        ];
        let mut fields = vec![HOST];
        fields.extend(names.map(|name| (name, "5")));
        let mut request = request("POST /", &fields);
        status(&mut request, &options.desync_mode(DesyncMode::Monitor));
        let mut left = request.headers().keys().map(HeaderName::as_str).collect::<Vec<_>>();
        left.sort_unstable();
        assert_eq!(left, expected);
    };
    let plain = ["1", "contentlength", "host", "x-c", "x.b", "x_a", "x~d"];
    check(HttpOptions::new(), &plain);
    let plain = ["1", "contentlength", "host", "x-c"];
    check(HttpOptions::new().drop_invalid_header_fields(true), &plain);
}

#[test]
fn paths_that_servers_read_differently_are_refused_if_asked_for() {
    for path in ["//a", "/a%2fb", "/a%5Cb", "/a%00", "/..;/a", "/%zz"] {
        check(&format!("GET {path}"), &[HOST], 0);
        let options = HttpOptions::new().reject_ambiguous_paths(true);
        check_with(&options, &format!("GET {path}"), &[HOST], 400);
        check_with(&options, &format!("GET /?{path}"), &[HOST], 0);
    }
}

#[test]
fn options_are_counted_down() {
    let check = |method: &str, value: &str, expected: u16, left: &str| {
        let mut request = request(&format!("{method} *"), &[HOST, ("max-forwards", value)]);
        if method != "OPTIONS" {
            *request.uri_mut() = Uri::from_static("/");
        }
        assert_eq!(status(&mut request, &HttpOptions::default()), expected, "{method} {value}");
        assert_eq!(request.headers()["max-forwards"], left);
    };
    check("OPTIONS", "0", 200, "0");
    check("OPTIONS", "1", 0, "0");
    check("OPTIONS", "010", 0, "9");
    for value in ["", "+1", "-1", "a", "99999999999999999999"] {
        check("OPTIONS", value, 0, value);
    }
    check("GET", "0", 0, "0");
}
