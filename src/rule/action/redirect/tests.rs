//! Where redirects lead.

use http::Request;

use super::*;
use crate::rule::invalid::InvalidRules;

fn request(target: &str, host: &str) -> Request<()> {
    Request::get(target).header("host", host).body(()).unwrap()
}

fn check(redirect: &Redirect, request: &Request<()>, peer: Option<&Peer>, expected: &str) {
    let response = redirect.response(&Head::of(request, peer)).unwrap();
    assert_eq!(response.headers()["location"], expected);
}

fn faults(redirect: &Redirect) -> Vec<String> {
    let mut faults = Faults::default();
    redirect.check(&mut faults);
    let invalid = faults.into_result().err();
    let faults = invalid.iter().flat_map(InvalidRules::faults);
    faults.map(|fault| format!("{} {}", fault.place(), fault.value().unwrap_or(""))).collect()
}

#[test]
fn the_location_is_absolute_and_has_a_port() {
    let moved = Redirect::found().path("/new/#{path}");
    check(&moved, &request("/a/b?c=d", "Example.COM"), None, "http://example.com:80/new/a/b?c=d");
    check(&moved, &request("/", "h"), None, "http://h:80/new/");
    assert_eq!(moved.response(&Head::of(&request("/", "h"), None)).unwrap().status(), 302);
}

#[test]
fn without_a_query_there_is_no_question_mark() {
    let redirect = Redirect::found().port(8080);
    check(&redirect, &request("/a", "h"), None, "http://h:8080/a");
    check(&redirect, &request("/a?", "h"), None, "http://h:8080/a");
    check(&redirect.query(""), &request("/a?b", "h"), None, "http://h:8080/a");
}

#[test]
fn the_port_is_that_of_the_peer_else_of_the_host_else_of_the_protocol() {
    let redirect = Redirect::found().host("to.example");
    let peer = Peer::new("192.0.2.1:5000".parse().unwrap());
    let local = peer.local("192.0.2.9:8443".parse().unwrap()).https(true);
    check(&redirect, &request("/", "h:81"), Some(&local), "https://to.example:8443/");
    check(&redirect, &request("/", "h:81"), Some(&peer), "http://to.example:81/");
    check(&redirect, &request("/", "h"), Some(&peer.https(true)), "https://to.example:443/");
    check(&redirect, &request("/", "h"), None, "http://to.example:80/");
    check(&redirect, &request("https://h/", "x"), None, "https://to.example:443/");
    // The peer knows; what the client wrote into the URI does not count beside it.
    check(&redirect, &request("https://h/", "x"), Some(&peer), "http://to.example:80/");
}

#[test]
fn keywords_stand_where_they_may() {
    let redirect = Redirect::found()
        .protocol("https")
        .host("www.#{host}")
        .path("/#{host}/#{port}/#{path}")
        .query("from=#{protocol}://#{host}:#{port}/#{path}&#{query}");
    assert_eq!(faults(&redirect), [""; 0]);
    check(
        &redirect,
        &request("/p?q", "H:81"),
        None,
        "https://www.h:81/h/81/p?from=http://h:81/p&q",
    );
}

#[test]
fn the_path_and_query_stay_as_they_came_except_for_what_is_not_ascii() {
    let redirect = Redirect::found().port(1);
    check(&redirect, &request("//a/../%61?x=%31", "h"), None, "http://h:1//a/../%61?x=%31");
    check(&redirect, &request("/é?é", "h"), None, "http://h:1/%C3%A9?%C3%A9");
}

#[test]
fn a_location_is_8192_bytes_at_most() {
    let redirect = Redirect::found().port(1);
    let length = "http://h:1/".len();
    let fits = format!("/{}", "a".repeat(8192 - length));
    check(&redirect, &request(&fits, "h"), None, &format!("http://h:1{fits}"));
    let error = redirect.location(&Head::of(&request(&format!("{fits}a"), "h"), None)).unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::RedirectTooLong, 507));
}

#[test]
fn a_host_that_is_none_is_replaced_by_the_address_connected_to() {
    let redirect = Redirect::found().path("/x");
    let peer = Peer::new("192.0.2.1:5000".parse().unwrap());
    let v4 = peer.local("192.0.2.9:80".parse().unwrap());
    let v6 = peer.local("[2001:db8::9]:80".parse().unwrap());
    for host in ["", "a.com/evil", "a b", "a:b:80", "[a]"] {
        check(&redirect, &request("/", host), Some(&v4), "http://192.0.2.9:80/x");
        check(&redirect, &request("/", host), Some(&v6), "http://[2001:db8::9]:80/x");
        assert!(redirect.location(&Head::of(&request("/", host), Some(&peer))).is_err());
    }
    check(&redirect, &request("/", "[::1]:80"), None, "http://[::1]:80/x");
}

#[test]
fn each_part_says_what_it_may_be() {
    let check = |redirect: Redirect, expected: &str| assert_eq!(faults(&redirect), [expected]);
    let to = Redirect::found;
    check(to().protocol("ftp"), "redirect protocol ftp");
    check(to().protocol("#{host}"), "redirect protocol #{host}");
    check(to().host(""), "redirect host ");
    check(to().host("a.com:80"), "redirect host a.com:80");
    check(to().host("#{path}"), "redirect host #{path}");
    check(to().host("[a]"), "redirect host [a]");
    check(to().port(0), "redirect port 0");
    check(to().port("+1"), "redirect port +1");
    check(to().port(65536), "redirect port 65536");
    check(to().port("#{port}0"), "redirect port #{port}0");
    check(to().path("a"), "redirect path a");
    check(to().path("/?a"), "redirect path /?a");
    check(to().path("/a b"), "redirect path /a b");
    check(to().path("/#{query}"), "redirect path /#{query}");
    check(to().path("/#{"), "redirect path /#{");
    check(to().port(1).query("?a"), "redirect query ?a");
    check(to().port(1).query("#{fragment}"), "redirect query #{fragment}");
    assert_eq!(faults(&to().host("[::1]")), [""; 0]);
    assert_eq!(faults(&to().path("/new/#{path}")), [""; 0]);
}

#[test]
fn a_redirect_to_itself_is_a_loop() {
    let itself = "redirect redirect 301 to #{protocol}://#{host}:#{port}/#{path}?#{query}";
    assert_eq!(faults(&Redirect::moved_permanently()), [itself]);
    let only_query = Redirect::moved_permanently().query("a=b");
    assert_eq!(faults(&only_query).len(), 1);
}

#[test]
fn a_page_goes_along_only_if_there_is_one() {
    let (bare, paged) = (Redirect::found().port(1), Redirect::found().port(1).page("<p>moved"));
    let answer = |redirect: &Redirect| {
        let request = request("/", "h");
        redirect.response(&Head::of(&request, None)).unwrap()
    };
    let (bare, paged) = (answer(&bare), answer(&paged));
    assert!(!bare.headers().contains_key("content-type"));
    assert_eq!(http_body::Body::size_hint(bare.body()).exact(), Some(0));
    assert_eq!(paged.headers()["content-type"], "text/html");
    assert_eq!(http_body::Body::size_hint(paged.body()).exact(), Some(8));
}
