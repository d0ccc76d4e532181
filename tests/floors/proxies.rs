//! Behind a trusted proxy everybody sees the same client: rules, redirects, sessions, targets, and
//! `explain`; and nobody believes anybody else.

use std::{net::SocketAddr, time::SystemTime};

use http::{HeaderMap, Request, Response};
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target,
    head::Head,
    id::{GroupName, TargetId},
    proxy::{HttpOptions, Via},
    rule::{Condition, Forward, Redirect, Rule},
    stickiness::{Session, Stickiness},
};

use crate::support::{Answer, answering, balancer, get, group, group_of, send, with_status};

/// Keeps each client at the target it had by its address, and tells it that one.
#[derive(Debug)]
struct ByAddress;

impl Stickiness for ByAddress {
    fn recall(&self, _: &GroupName, head: &Head<'_>, now: SystemTime) -> Session {
        let client = head.peer.map(|peer| peer.client().to_string()).unwrap_or_default();
        Session::new("mirror".into(), now).with_memo(client)
    }

    fn remember(
        &self,
        _: &GroupName,
        session: &Session,
        _: &TargetId,
        headers: &mut HeaderMap,
        _: SystemTime,
    ) {
        headers.insert("session-of", session.memo().parse().unwrap());
    }
}

/// Answers with what it was told of the client.
fn mirror() -> Target {
    answering("mirror", |request| async move {
        let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"];
        let field = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        Response::new(Body::from(names.map(field).join(" | ")))
    })
}

/// Forwards one client's requests, and sends all others elsewhere.
fn table() -> RuleTable {
    let web = group("web").stickiness(ByAddress).build().unwrap();
    web.register(mirror());
    let forward = Rule::new(1)
        .when(Condition::source_ip(["192.0.2.0/24", "2001:db8:b::/48"]))
        .then(Forward::to(&web));
    let elsewhere = Redirect::found().host("elsewhere.example").query("of=#{protocol}:#{port}");
    RuleTable::builder().rule(forward).default_action(elsewhere).build().unwrap()
}

fn options() -> HttpOptions {
    let proxies = ["10.0.0.0/8", "2001:db8:a::1"];
    HttpOptions::new().trusted_proxies(proxies.map(|proxy| proxy.parse().unwrap()))
}

/// A peer at port 8080 of ours.
fn at(address: &str) -> Peer {
    Peer::new(address.parse().unwrap()).local("10.0.0.9:8080".parse().unwrap())
}

fn request(fields: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = get("/a");
    request.headers_mut().insert("host", "a.com".parse().unwrap());
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// Sends a request over a connection from an address, in each of the two ways a balancer is told of
/// it, and says what came of it in one line, which `explain` agrees with.
async fn outcome(options: HttpOptions, socket: &str, fields: &[(&'static str, &str)]) -> String {
    let balancer = LoadBalancer::builder().http(options).build(table());
    let of_client = balancer.for_peer(at(socket));
    let told = || {
        let mut request = request(fields);
        request.extensions_mut().insert(at(socket));
        request
    };
    let explained = of_client.explain(&request(fields));
    assert_eq!(explained.to_string(), balancer.explain(&told()).to_string());
    let (one, other) = (send(&of_client, request(fields)).await, send(&balancer, told()).await);
    let line = |answer: &Answer| match answer.status {
        200 => {
            assert_eq!(explained.target().unwrap(), "mirror");
            let session = answer.headers["session-of"].to_str().unwrap();
            format!("{session} | {}", answer.text())
        }
        302 => {
            let location = answer.headers["location"].to_str().unwrap();
            assert_eq!(explained.location(), Some(location));
            location.to_owned()
        }
        status => panic!("{status}: {}", answer.text()),
    };
    assert_eq!(line(&one), line(&other));
    line(&one)
}

#[tokio::test]
async fn everybody_sees_the_client_that_a_trusted_proxy_speaks_for() {
    let check = async |socket: &str, fields: &[(&'static str, &str)], expected: &str| {
        assert_eq!(outcome(options(), socket, fields).await, expected, "{socket} {fields:?}");
    };
    let (cdn, forged) = ("10.0.0.1:5000", "198.51.100.1:5000");
    let (of, proto, port) = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-port");

    let fields = [(of, "192.0.2.1"), (proto, "https"), (port, "8443")];
    check(cdn, &fields, "192.0.2.1:0 | 192.0.2.1, 10.0.0.1 | https | 8443").await;
    // Nobody else is believed.
    check(forged, &fields, "http://elsewhere.example:8080/a?of=http:8080").await;

    let fields = [(of, "203.0.113.1"), (proto, "https"), (port, "8443")];
    check(cdn, &fields, "https://elsewhere.example:8443/a?of=https:8443").await;
    let fields = [(of, "203.0.113.1"), (proto, "https")];
    check(cdn, &fields, "https://elsewhere.example:443/a?of=https:443").await;
    check("[2001:db8:a::1]:1", &fields, "https://elsewhere.example:443/a?of=https:443").await;
    // A client cannot get past the rule by what it says itself.
    let fields = [(of, "192.0.2.1, 203.0.113.1"), (proto, "https, http")];
    check(cdn, &fields, "http://elsewhere.example:80/a?of=http:80").await;
    let fields = [(of, "192.0.2.1, evil, 203.0.113.1")];
    check(cdn, &fields, "http://elsewhere.example:8080/a?of=http:8080").await;

    let fields = [(of, "[2001:db8:b::7]:1234, 10.0.0.2"), (proto, "gopher")];
    let seen = "[2001:db8:b::7]:1234 | [2001:db8:b::7]:1234, 10.0.0.2, 10.0.0.1 | http | 8080";
    check(cdn, &fields, seen).await;
}

#[tokio::test]
async fn nobody_is_trusted_unless_named() {
    let fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
    let seen = outcome(HttpOptions::new(), "10.0.0.1:5000", &fields).await;
    assert_eq!(seen, "http://elsewhere.example:8080/a?of=http:8080");
    let seen = outcome(HttpOptions::new(), "192.0.2.9:5000", &fields).await;
    assert_eq!(seen, "192.0.2.9:5000 | 192.0.2.1, 192.0.2.9 | http | 8080");
}

#[tokio::test]
async fn an_app_behind_a_cdn_that_ends_tls_is_not_sent_to_https_for_ever() {
    let app = answering("app", |request| async move {
        match request.headers()["x-forwarded-proto"].to_str().unwrap() {
            "https" => Response::new(Body::from("welcome")),
            _ => with_status(308, ""),
        }
    });
    let web = group_of("web", &[]);
    web.register(app);
    let ask = async |options: HttpOptions| {
        let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&web));
        let fields = [("x-forwarded-proto", "https")];
        send(&balancer.for_peer(at("10.0.0.1:5000")), request(&fields)).await.status
    };
    assert_eq!(ask(options()).await, 200);
    assert_eq!(ask(HttpOptions::new()).await, 308);
}

#[tokio::test]
async fn a_balancer_behind_a_balancer_believes_what_the_first_one_did() {
    let outer = group_of("outer", &[]);
    let inner = LoadBalancer::new(table());
    outer.register(Target::service("inner", inner));
    let fields = [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")];
    let told = LoadBalancer::builder().http(options()).build(RuleTable::forward_to(&outer));
    let answer = send(&told.for_peer(at("10.0.0.1:5000")), request(&fields)).await;
    assert_eq!(answer.text(), "192.0.2.1, 10.0.0.1 | https | 443");
    assert_eq!(answer.headers["session-of"], "192.0.2.1:0");
    // Nor does it think again, whomever it would trust itself.
    let outer = group_of("outer", &[]);
    let trusting = LoadBalancer::builder().http(options()).build(table());
    outer.register(Target::service("inner", trusting));
    let answer = send(&balancer(&outer).for_peer(at("10.0.0.1:5000")), request(&fields)).await;
    assert_eq!(answer.headers["location"], "http://elsewhere.example:8080/a?of=http:8080");
}

#[tokio::test]
async fn both_ways_the_messages_tell_through_whom_they_came() {
    let web = group_of("web", &[]);
    web.register(answering("one", |request| async move {
        let via = request.headers()["via"].to_str().unwrap().to_owned();
        let mut response = Response::new(Body::from(via));
        response.headers_mut().append("via", "1.1 app".parse().unwrap());
        response
    }));
    let options = HttpOptions::new().via(Via::new("edge").unwrap());
    let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&web));
    let client = "192.0.2.1:5000".parse::<SocketAddr>().unwrap();
    let answer = send(&balancer.for_peer(Peer::new(client)), request(&[("via", "1.0 a")])).await;
    assert_eq!(answer.text(), "1.0 a, 1.1 edge");
    assert_eq!(answer.headers["via"], "1.1 app, 1.1 edge");
}
