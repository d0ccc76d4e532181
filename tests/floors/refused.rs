//! Requests that no target may get, and such as must be alone on their connections: what is told of
//! them, and which connections are closed.

use std::time::SystemTime;

use http::{HeaderMap, Request, Response, Version};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    error::{Error, Kind},
    head::Head,
    id::{GroupName, TargetId},
    layer::{RespondLayer, Routed, RulesLayer},
    proxy::{DesyncMode, HttpOptions, ProxyStatus, Via},
    rule::{FixedResponse, Redirect},
    stickiness::{Session, Stickiness},
};
use tower::{BoxError, Layer, ServiceExt, service_fn, timeout::error::Elapsed};
use tracing::Level;

use crate::support::{Answer, Events, Refusing, balancer, get, group, group_of, send};

fn with_mode(group: &TargetGroup, mode: DesyncMode) -> LoadBalancer {
    let options = HttpOptions::new().desync_mode(mode);
    LoadBalancer::builder().http(options).build(RuleTable::forward_to(group))
}

/// A request with a length that a GET has no use for.
fn ambiguous() -> Request<Body> {
    let mut request = get("/");
    request.headers_mut().insert("content-length", "4".parse().unwrap());
    *request.body_mut() = Body::from("body");
    request
}

fn severe() -> Request<Body> {
    let mut request = get("/");
    request.headers_mut().insert("transfer-encoding", "chunked, chunked".parse().unwrap());
    request
}

fn closes(answer: &Answer) -> bool {
    answer.headers.get("connection").is_some_and(|value| value == "close")
}

#[tokio::test]
async fn a_request_that_may_be_read_in_two_ways_is_told_of_once_in_every_mode() {
    let web = group_of("web", &["one"]);
    let odd = || {
        let mut request = get("/");
        request.headers_mut().insert("content-length", "0".parse().unwrap());
        request
    };
    let check = async |request: Request<Body>, mode, status: u16, class: &str, reason: &str| {
        let events = Events::capture();
        let answer = send(&with_mode(&web, mode), request).await;
        assert_eq!(answer.status, status, "{mode:?} {reason}");
        let refused = status == 400;
        let told = events.take_of("a request may be read in two ways");
        assert_eq!(told.len(), 1, "{mode:?} {reason}");
        assert_eq!(told[0].level, Level::INFO);
        assert_eq!(told[0].field("classification"), Some(class));
        assert_eq!(told[0].field("classification_reason"), Some(reason));
        assert_eq!(told[0].field("refused"), Some(if refused { "true" } else { "false" }));
        let told = events.take_of("request refused");
        assert_eq!(told.len(), usize::from(refused), "{mode:?} {reason}");
        let cause = format!("the request may be read in two ways: {reason}");
        assert!(told.iter().all(|told| told.field("cause") == Some(&*cause)));
    };
    use DesyncMode::{Defensive, Monitor, Strictest};
    for (mode, status) in [(Monitor, 200), (Defensive, 200), (Strictest, 400)] {
        check(odd(), mode, status, "Acceptable", "GetHeadZeroContentLength").await;
        check(ambiguous(), mode, status, "Ambiguous", "UndefinedContentLengthSemantics").await;
    }
    for (mode, status) in [(Monitor, 200), (Defensive, 400), (Strictest, 400)] {
        check(severe(), mode, status, "Severe", "MultipleTransferEncodingChunked").await;
    }
    let events = Events::capture();
    send(&with_mode(&web, Strictest), get("/")).await;
    assert!(events.take_of("a request may be read in two ways").is_empty());
}

#[tokio::test]
async fn whatever_answers_a_doubtful_request_closes_the_connection() {
    let of_target = |target| {
        let group = group_of("web", &[]);
        group.register(target);
        balancer(&group)
    };
    let fixed = RuleTable::builder().default_action(FixedResponse::new(200)).build().unwrap();
    let redirect = RuleTable::builder().default_action(Redirect::found().path("/b"));
    let redirect = redirect.build().unwrap();
    let refusing = Refusing::new();
    for (balancer, status) in [
        (balancer(&group_of("web", &["one"])), 200),
        (balancer(&group_of("web", &[])), 503),
        (of_target(Target::new(refusing.address)), 502),
        (LoadBalancer::new(fixed), 200),
        (LoadBalancer::new(redirect), 302),
        (LoadBalancer::new(RuleTable::builder().build().unwrap()), 404),
    ] {
        let answer = send(&balancer, get("/")).await;
        assert_eq!((answer.status, closes(&answer)), (status, false));
        let answer = send(&balancer, ambiguous()).await;
        assert_eq!((answer.status, closes(&answer)), (status, true));
    }
}

/// A stickiness whose word cannot be relied on.
#[derive(Debug)]
struct Broken;

impl Stickiness for Broken {
    fn recall(&self, _: &GroupName, _: &Head<'_>, _: SystemTime) -> Session {
        panic!("broken")
    }

    fn remember(&self, _: &GroupName, _: &Session, _: &TargetId, _: &mut HeaderMap, _: SystemTime) {
    }
}

#[tokio::test]
async fn so_do_answers_of_floors_that_know_nothing_of_it() {
    let sticky = group("web").stickiness(Broken).build().unwrap();
    let answer = send(&balancer(&sticky), ambiguous()).await;
    assert_eq!((answer.status, closes(&answer)), (500, true));

    // A layer of somebody else's between the floors.
    let late = service_fn(|_: Routed| async {
        Err::<Response<Body>, _>(Error::from(BoxError::from(Elapsed::new())))
    });
    let rules = RulesLayer::with_options(
        RuleTable::forward_to(&group_of("web", &["one"])),
        HttpOptions::new(),
        |_| None,
    );
    let stack = RespondLayer::new().layer(rules.layer(late));
    let response = stack.oneshot(ambiguous()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["connection"] == "close"),
        (504, true)
    );
}

#[tokio::test]
async fn a_refusal_closes_a_connection_that_carries_nothing_else() {
    let balancer = LoadBalancer::builder().on_error(|error| {
        let mut response = Response::new(Body::from("mine"));
        *response.status_mut() = error.status();
        response
    });
    let balancer = balancer.build(RuleTable::forward_to(&group_of("web", &["one"])));
    for (version, expected) in
        [(Version::HTTP_10, true), (Version::HTTP_11, true), (Version::HTTP_2, false)]
    {
        let request = Request::builder().method("TRACE").version(version).uri("http://a.test/");
        let answer = send(&balancer, request.body(Body::default()).unwrap()).await;
        assert_eq!((answer.status, answer.text()), (405, "mine"));
        assert_eq!(closes(&answer), expected, "{version:?}");
        assert_eq!(answer.error.unwrap().kind(), Kind::MethodNotAllowed);
        assert!(answer.served.is_none());
    }
}

#[tokio::test]
async fn what_is_done_with_messages_can_be_changed_beside_the_rules() {
    let (web, api) = (group_of("web", &["web 1"]), group_of("api", &["api 1"]));
    let balancer = balancer(&web);
    let handle = balancer.clone();
    handle.set_http(HttpOptions::new().desync_mode(DesyncMode::Monitor));
    assert_eq!(send(&balancer, severe()).await.text(), "web 1");
    handle.set_rules(RuleTable::forward_to(&api));
    assert_eq!(send(&balancer, severe()).await.text(), "api 1");
    handle.set_http(HttpOptions::new());
    assert_eq!(send(&balancer, severe()).await.status, 400);
    assert_eq!(send(&balancer, get("/")).await.text(), "api 1");
}

#[tokio::test]
async fn the_names_in_answers_change_with_the_options() {
    let balancer = balancer(&group_of("web", &["one"]));
    let names = async |balancer: &LoadBalancer, request| {
        let answer = send(balancer, request).await;
        let name = |name| answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (name("via"), name("proxy-status"))
    };
    assert_eq!(names(&balancer, get("/")).await, (None, None));
    let handle = balancer.clone();
    let options = HttpOptions::new().via(Via::new("new").unwrap());
    handle.set_http(options.proxy_status(ProxyStatus::new("edge").unwrap()));
    let (via, status) = names(&balancer, get("/")).await;
    assert_eq!(via.as_deref(), Some("1.1 new"));
    assert_eq!(status.as_deref(), Some("edge; received-status=200"));
    let (via, status) = names(&balancer, severe()).await;
    assert_eq!((via, status.as_deref()), (None, Some("edge; error=http_request_error")));
    handle.set_http(HttpOptions::new());
    assert_eq!(names(&balancer, get("/")).await, (None, None));
}
