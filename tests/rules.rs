//! Rules through the whole balancer: what a client gets when a rule answers, or none can.

use std::{convert::Infallible, num::NonZeroU32};

use http::{Request, Response};
use http_body_util::BodyExt;
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    error::{Error, Kind},
    id::RuleId,
    layer::Served,
    rule::{Condition, FixedResponse, Forward, Redirect, Rule},
};
use tower::{ServiceExt, service_fn};

fn group(name: &str) -> TargetGroup {
    let group = TargetGroup::builder(name).build().unwrap();
    let service = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from("answered")))
    });
    group.register(Target::service(format!("{name}-1"), service));
    group
}

async fn ask(balancer: &LoadBalancer, request: Request<&'static str>) -> Response<Body> {
    balancer.clone().oneshot(request.map(Body::from)).await.unwrap()
}

fn kind(response: &Response<Body>) -> Option<Kind> {
    response.extensions().get::<Error>().map(Error::kind)
}

fn rule(priority: u32) -> RuleId {
    RuleId::Priority(NonZeroU32::new(priority).unwrap())
}

#[tokio::test]
async fn vector_15_a_group_without_targets_is_503_whatever_the_others_have() {
    let (blue, green) = (TargetGroup::builder("blue").build().unwrap(), group("green"));
    let split = Forward::split([(&blue, 1), (&green, 0)]);
    let rules = RuleTable::builder().default_action(split).build().unwrap();
    let balancer = LoadBalancer::new(rules);
    for _ in 0..20 {
        let response = ask(&balancer, Request::new("")).await;
        assert_eq!((response.status().as_u16(), kind(&response)), (503, Some(Kind::NoTarget)));
        assert_eq!(response.extensions().get::<Served>().unwrap().group.as_deref(), Some("blue"));
    }
}

#[tokio::test]
async fn without_a_rule_that_matches_the_answer_is_404() {
    let only = Rule::new(1).when(Condition::path_pattern(["/only"])).then(Forward::to(&group("a")));
    let balancer = LoadBalancer::new(RuleTable::builder().rule(only).build().unwrap());
    let response = ask(&balancer, Request::get("/else").body("").unwrap()).await;
    assert_eq!((response.status().as_u16(), kind(&response)), (404, Some(Kind::NoRule)));
    assert_eq!(response.extensions().get::<Served>(), None);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "404 Not Found\n");
    assert_eq!(ask(&balancer, Request::get("/only").body("").unwrap()).await.status(), 200);
}

#[tokio::test]
async fn a_rule_may_answer_by_itself() {
    let rules = RuleTable::builder()
        .rule(
            Rule::new(1)
                .when(Condition::path_pattern(["/old/*"]))
                .then(Redirect::moved_permanently().path("/new/#{path}").query("was=#{query}")),
        )
        .rule(
            Rule::new(2)
                .when(Condition::path_pattern(["/health"]))
                .then(FixedResponse::new(200).content_type("application/json").body("{}")),
        )
        .default_action(Forward::to(&group("a")))
        .build()
        .unwrap();
    let balancer = LoadBalancer::new(rules);
    let request = Request::get("/old/x?a=1").header("host", "h:8080").body("").unwrap();
    let response = ask(&balancer, request).await;
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["location"], "http://h:8080/new/old/x?was=a=1");
    assert_eq!(response.extensions().get(), Some(&Served::by_rule(rule(1))));

    let response = ask(&balancer, Request::get("/health").body("").unwrap()).await;
    assert_eq!(response.extensions().get(), Some(&Served::by_rule(rule(2))));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "{}");
}

#[tokio::test]
async fn a_rule_about_the_client_fails_closed_while_nobody_tells_who_that_is() {
    let rules = RuleTable::builder()
        .rule(
            Rule::new(1).when(Condition::source_ip(["192.0.2.0/24"])).then(FixedResponse::new(403)),
        )
        .default_action(Forward::to(&group("a")))
        .build()
        .unwrap();
    let balancer = LoadBalancer::new(rules);
    let response = ask(&balancer, Request::new("")).await;
    assert_eq!((response.status().as_u16(), kind(&response)), (500, Some(Kind::NoPeer)));

    let told = |client: &str| balancer.for_peer(Peer::new(client.parse().unwrap()));
    let get = || Request::get("http://a.test/").header("host", "a.test").body("").unwrap();
    assert_eq!(ask(&told("192.0.2.7:1"), get()).await.status(), 403);
    assert_eq!(ask(&told("198.51.100.7:1"), get()).await.status(), 200);
}

#[tokio::test]
async fn a_panicking_predicate_is_that_requests_500_and_nothing_else_suffers() {
    let panicking = pointsman::rule::from_fn(|head: &pointsman::head::Head<'_>| {
        assert!(head.path() != "/panic", "a predicate of the user's");
        false
    });
    let rules = RuleTable::builder()
        .rule(Rule::new(7).when(Condition::custom("mine", panicking)).then(FixedResponse::new(403)))
        .default_action(Forward::to(&group("a")))
        .build()
        .unwrap();
    let balancer = LoadBalancer::new(rules);
    let response = ask(&balancer, Request::get("/panic").body("").unwrap()).await;
    assert_eq!((response.status().as_u16(), kind(&response)), (500, Some(Kind::Panicked)));
    assert_eq!(response.extensions().get::<Error>().unwrap().rule(), Some(rule(7)));
    assert_eq!(ask(&balancer, Request::get("/").body("").unwrap()).await.status(), 200);
}
