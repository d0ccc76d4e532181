//! What goes wrong is one event and one response: short to the client, whole to who mounted the
//! balancer.

use std::future::pending;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use pointsman::{
    Body, HealthCheck, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    error::{Error, Kind},
    rule::{Condition, Forward, Redirect, Rule},
};
use tower::{BoxError, service_fn};
use tracing::Level;

use crate::support::{
    Answer, Events, Refusing, Script, answering, balancer, get, group, group_of, named, secs, send,
    silent, with_status,
};

/// What an event of an error is expected to say beside its kind and status.
#[derive(Default)]
struct Said {
    rule: Option<&'static str>,
    group: Option<&'static str>,
    target: Option<&'static str>,
    cause: String,
}

fn said(cause: impl Into<String>) -> Said {
    Said { cause: cause.into(), ..Said::default() }
}

fn by_default(group: &'static str, target: Option<&'static str>, cause: impl Into<String>) -> Said {
    Said { rule: Some("default rule"), group: Some(group), target, cause: cause.into() }
}

async fn check(balancer: &LoadBalancer, request: Request<Body>, kind: Kind, said: Said) -> Answer {
    let events = Events::capture();
    let answer = send(balancer, request).await;
    let status = kind.status();
    assert_eq!(answer.status, status, "{kind:?}");

    let error = answer.error.clone().unwrap();
    assert_eq!((error.kind(), error.status()), (kind, status));
    assert_eq!(error.to_string(), said.cause);
    assert_eq!(error.rule().map(|rule| rule.to_string()).as_deref(), said.rule);
    assert_eq!(error.group().map(|group| &**group), said.group);
    assert_eq!(error.target().map(|target| &**target), said.target);
    assert!(error.take_unsent().is_none(), "no request rides in the response");

    let served = answer.served.as_ref();
    assert_eq!(served.map(|served| served.rule.to_string()).as_deref(), said.rule);
    assert_eq!(served.and_then(|served| served.group.as_deref()), said.group);
    assert_eq!(served.and_then(|served| served.target.as_deref()), said.target);

    let (level, message) = match status.is_server_error() {
        true => (Level::WARN, "request failed"),
        false => (Level::INFO, "request refused"),
    };
    let events = events.take_of(message);
    assert_eq!(events.len(), 1, "{kind:?}");
    assert_eq!(events[0].level, level);
    assert_eq!(events[0].field("kind"), Some(&*format!("{kind:?}")));
    assert_eq!(events[0].field("reason"), Some(error.reason()));
    assert_eq!(events[0].field("status"), Some(status.as_str()));
    assert_eq!(events[0].field("rule"), said.rule);
    assert_eq!(events[0].field("group"), said.group);
    assert_eq!(events[0].field("target"), said.target);
    assert_eq!(events[0].field("cause"), Some(&*said.cause));

    // The client hears the status and its name, and that is all.
    let plain = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap());
    assert_eq!(answer.text(), plain);
    assert_eq!(answer.headers.len(), 1);
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    answer
}

fn with_rule(rule: Rule) -> LoadBalancer {
    LoadBalancer::new(RuleTable::builder().rule(rule).build().unwrap())
}

fn of_one(target: Target) -> (TargetGroup, LoadBalancer) {
    let web = group("web").build().unwrap();
    web.register(target);
    let balancer = balancer(&web);
    (web, balancer)
}

#[tokio::test]
async fn no_rule_is_404() {
    let balancer = LoadBalancer::new(RuleTable::builder().build().unwrap());
    check(&balancer, get("/"), Kind::NoRule, said("no rule matched")).await;
}

#[tokio::test]
async fn a_client_nobody_knows_is_500_where_a_rule_asks_for_it() {
    let web = group_of("web", &["one"]);
    let rule = Rule::new(1).when(Condition::source_ip(["10.0.0.0/8"])).then(Forward::to(&web));
    let balancer = with_rule(rule);
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.error.unwrap().kind()), (500, Kind::NoPeer));
    let peer = Peer::new("10.1.2.3:4".parse().unwrap());
    assert_eq!(send(&balancer.for_peer(peer), get("/")).await.status, 200);
}

#[tokio::test]
async fn nobody_knowing_the_client_is_warned_of_once() {
    let events = Events::capture();
    let balancer = balancer(&group_of("web", &["one"]));
    for _ in 0..3 {
        send(&balancer, get("/")).await;
        send(&balancer.clone(), get("/")).await;
    }
    let events = events.take();
    assert_eq!((events.len(), events[0].level), (1, Level::WARN));
    assert!(events[0].message.starts_with("nobody tells who the client is"));
}

#[tokio::test]
async fn a_redirect_that_is_too_long_is_507() {
    let rule = Rule::new(1)
        .when(Condition::path_pattern(["*"]))
        .then(Redirect::found().path("/#{path}/#{path}"));
    let path = "/x".repeat(3000);
    let request = Request::get(path).header("host", "a.example").body(Body::default()).unwrap();
    let answer = send(&with_rule(rule), request).await;
    let error = answer.error.unwrap();
    assert_eq!((answer.status, error.kind()), (507, Kind::RedirectTooLong));
    assert_eq!(error.rule().unwrap().to_string(), "rule 1");
}

#[tokio::test]
async fn no_target_is_503() {
    let said = by_default("web", None, "no target to pick: the group has no registered target");
    check(&balancer(&group_of("web", &[])), get("/"), Kind::NoTarget, said).await;
}

#[tokio::test]
async fn a_target_that_refuses_is_502() {
    let refusing = Refusing::new();
    let (web, balancer) = of_one(Target::new(refusing.address).with_id("one"));
    let cause =
        format!("no connection to the target: connect to {}: connection refused", refusing.address);
    check(&balancer, get("/"), Kind::Connect, by_default("web", Some("one"), cause)).await;
    assert_eq!((web.status().in_flight(), web.status().targets[0].failed), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_answer_is_504() {
    let (web, balancer) = of_one(silent("one"));
    let cause = "no answer from the target in time: no answer within 60s";
    check(&balancer, get("/"), Kind::AnswerTimeout, by_default("web", Some("one"), cause)).await;
    assert_eq!((web.status().in_flight(), web.status().targets[0].failed), (0, 1));
}

#[tokio::test]
async fn a_service_that_fails_is_500_and_its_words_stay_inside() {
    let (web, balancer) = of_one(Target::service(
        "one",
        service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("the password is x") }),
    ));
    let said = by_default("web", Some("one"), "a service failed: the password is x");
    check(&balancer, get("/"), Kind::Other, said).await;
    assert_eq!((web.status().in_flight(), web.status().targets[0].failed), (0, 1));
}

#[tokio::test]
async fn a_service_may_fail_with_an_error_of_ours() {
    let (_web, balancer) = of_one(Target::service(
        "one",
        service_fn(|_: Request<Body>| async {
            Err::<Response<Body>, _>(Error::new(Kind::ConnectTimeout, "not there"))
        }),
    ));
    let cause = "no connection to the target in time: not there";
    check(&balancer, get("/"), Kind::ConnectTimeout, by_default("web", Some("one"), cause)).await;
}

#[tokio::test]
async fn an_answer_that_switches_protocols_unasked_is_502() {
    let target = answering("one", |_| async { with_status(101, "") });
    let (web, balancer) = of_one(target);
    let cause = "the exchange with the target broke: the target answered 101 unasked";
    check(&balancer, get("/"), Kind::Exchange, by_default("web", Some("one"), cause)).await;
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_time_for_an_answer_begins_when_the_last_of_the_request_came() {
    let target = answering("one", |request| async {
        _ = http_body_util::BodyExt::collect(request.into_body()).await;
        pending().await
    });
    let transport = Transport::new().answer_timeout(secs(10)).idle_timeout(secs(30));
    let web = group("web").transport(transport).build().unwrap();
    web.register(target);
    // Two parts, each within the time for one.
    let chunks = futures_util::stream::iter(0..2);
    let chunks = futures_util::StreamExt::then(chunks, |_| async {
        tokio::time::sleep(secs(8)).await;
        Ok::<_, BoxError>(Frame::data(Bytes::from("x")))
    });
    let request = Request::post("/").body(Body::new(StreamBody::new(chunks))).unwrap();
    let started = tokio::time::Instant::now();
    let answer = send(&balancer(&web), request).await;
    assert_eq!((answer.status, started.elapsed()), (504, secs(26)));
}

#[tokio::test]
async fn responses_of_errors_may_be_made_by_the_user() {
    let web = group_of("web", &[]);
    let balancer = LoadBalancer::builder()
        .on_error(|error| {
            let mut response =
                with_status(error.status().as_u16(), format!("<{:?}>", error.kind()));
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static("5"));
            response
        })
        .build(RuleTable::forward_to(&web));
    let events = Events::capture();
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.text()), (503, "<NoTarget>"));
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(answer.error.unwrap().kind(), Kind::NoTarget);
    assert_eq!(answer.served.unwrap().group, Some("web".into()));
    assert_eq!(events.take_of("request failed").len(), 1);
    // An answer of a target's is none of its business.
    web.register(answering("one", |_| async { with_status(500, "mine") }));
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.text()), (500, "mine"));
    assert!(answer.error.is_none());
    assert!(events.take_of("request failed").is_empty());
}

#[tokio::test]
async fn good_requests_are_no_events() {
    let events = Events::capture();
    let check = HealthCheck::probe(Script::well());
    let web = group("web").health_check(check).build().unwrap();
    let (one, two) = (named("one"), named("two"));
    web.set_targets([one.clone(), two]);
    let balancer = balancer(&web).for_peer(Peer::new("192.0.2.1:1".parse().unwrap()));
    web.until_healthy(2).await;
    for _ in 0..4 {
        send(&balancer, get("/")).await;
    }
    web.deregister("one");
    web.register(one.weight(3).unwrap());
    let messages = events.take().into_iter().map(|event| event.message).collect::<Vec<_>>();
    assert_eq!(messages, ["health changed", "health changed"]);
}
