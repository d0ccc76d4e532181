//! Each exchange is told of once, when it has ended, with its end, its stage, its times and its bytes.

use std::sync::{Arc, Mutex};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    error::Kind,
    outcome::{End, Outcome, Side, Stage},
};
use tower::{BoxError, ServiceExt, service_fn};
use tracing::Level;

use crate::support::{
    Events, Refusing, answering, chunk, counts, endless, exhausted, fetch, get, group, named, secs,
    send, settle, silent, until, with_status,
};

type Told = Arc<Mutex<Vec<Outcome>>>;

/// A group of these targets, whose waits are all 10 s long, and a balancer that is observed.
fn observed(targets: &[Target]) -> (TargetGroup, LoadBalancer, Told) {
    let transport = Transport::new().answer_timeout(secs(10)).idle_timeout(secs(10));
    let web = group("web").transport(transport).deregistration_delay(secs(5)).build().unwrap();
    targets.iter().cloned().for_each(|target| web.register(target));
    let told = Told::default();
    let observer = Arc::clone(&told);
    let balancer = LoadBalancer::builder()
        .observe(move |outcome| observer.lock().unwrap().push(outcome.clone()))
        .build(RuleTable::forward_to(&web));
    (web, balancer, told)
}

/// The one outcome that was told, in short: how it ended and where, the status, its seconds.
fn only(told: &Told) -> (End, Stage, Option<u16>, u64) {
    let told = told.lock().unwrap();
    let [outcome] = &told[..] else { panic!("{told:?}") };
    assert_eq!((outcome.group.as_str(), outcome.attempt), ("web", 1));
    let status = outcome.status.map(|status| status.as_u16());
    (outcome.end, outcome.stage, status, outcome.total.as_secs())
}

/// A body whose parts come after so many seconds each, and that fails after the last if so wanted.
fn slowly(pauses: &[u64], fails: bool) -> Body {
    let parts = pauses.iter().map(|pause| Some(*pause)).chain(fails.then_some(None));
    let parts = parts.collect::<Vec<_>>();
    let parts =
        futures_util::StreamExt::then(futures_util::stream::iter(parts), |pause| async move {
            let Some(pause) = pause else { return Err(BoxError::from("broken")) };
            tokio::time::sleep(secs(pause)).await;
            chunk("part")
        });
    Body::new(StreamBody::new(parts))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_went_out_is_told_with_its_times_and_bytes() {
    let echo = answering("one", |request: Request<Body>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "partpart");
        Response::new(slowly(&[3, 4, 0], false))
    });
    let (_, balancer, told) = observed(&[echo]);
    let request = Request::post("/").body(slowly(&[1, 1], false)).unwrap();
    assert_eq!(send(&balancer, request).await.text(), "partpartpart");
    assert_eq!(only(&told), (End::Done, Stage::Body, Some(200), 9));
    let outcome = told.lock().unwrap()[0].clone();
    assert_eq!((outcome.sent, outcome.received), (8, 12));
    assert_eq!((outcome.head, outcome.connect, outcome.reused), (Some(secs(2)), None, false));
    assert_eq!(outcome.target, "one");
    assert_eq!(outcome.end.side(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_told_wherever_it_does() {
    let (web, balancer, told) = observed(&[silent("one")]);
    let asking = tokio::spawn(balancer.oneshot(get("/")));
    settle().await;
    tokio::time::advance(secs(3)).await;
    asking.abort();
    until("it is gone", || web.status().in_flight() == 0).await;
    assert_eq!(only(&told), (End::ClientLeft, Stage::Head, None, 3));
    assert_eq!(told.lock().unwrap()[0].end.side(), Some(Side::Client));

    let (_, balancer, told) = observed(&[endless("one")]);
    let mut body = balancer.oneshot(get("/")).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert_eq!(only(&told), (End::ClientLeft, Stage::Body, Some(200), 0));
    assert_eq!(told.lock().unwrap()[0].received, 5);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_late_is_told() {
    let (web, balancer, told) = observed(&[silent("one")]);
    assert_eq!(fetch(&balancer).await.0, 504);
    assert_eq!(only(&told), (End::TargetLate, Stage::Head, None, 10));
    assert_eq!(counts(&web.status(), "one"), (0, 0, 1));

    let (web, balancer, told) = observed(&[endless("one")]);
    assert_eq!(fetch(&balancer).await, (200, "(broken off)".into()));
    assert_eq!(only(&told), (End::TargetLate, Stage::Body, Some(200), 10));
    assert_eq!(counts(&web.status(), "one"), (0, 0, 1));

    // What the client does is no fault of the target's.
    let reading = Target::service(
        "one",
        service_fn(|request: Request<Body>| async {
            request.into_body().collect().await?;
            Ok::<_, BoxError>(Response::new(Body::default()))
        }),
    );
    for (body, kind, expected) in [
        (slowly(&[2, 60], false), Kind::ClientIdle, (End::ClientLate, Stage::Head, None, 12)),
        (slowly(&[2], true), Kind::ClientBody, (End::ClientLeft, Stage::Head, None, 2)),
    ] {
        let (web, balancer, told) = observed(std::slice::from_ref(&reading));
        let answer = send(&balancer, Request::put("/").body(body).unwrap()).await;
        assert_eq!(answer.error.unwrap().kind(), kind);
        assert_eq!(only(&told), expected);
        assert_eq!(told.lock().unwrap()[0].sent, 4);
        assert_eq!(counts(&web.status(), "one"), (0, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_is_told_with_how_far_it_came() {
    let (web, balancer, told) =
        observed(&[answering("one", |_| async { Response::new(slowly(&[0, 1], true)) })]);
    assert_eq!(fetch(&balancer).await, (200, "(broken off)".into()));
    assert_eq!(only(&told), (End::Truncated, Stage::Body, Some(200), 1));
    assert_eq!(told.lock().unwrap()[0].received, 8);
    assert_eq!(counts(&web.status(), "one"), (0, 0, 1));

    let failing = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("broken") });
    let (_, balancer, told) = observed(&[Target::service("one", failing)]);
    assert_eq!(fetch(&balancer).await.0, 500);
    assert_eq!(only(&told), (End::Broken, Stage::Head, None, 0));
    assert_eq!(told.lock().unwrap()[0].end.side(), Some(Side::Target));
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_at_the_deregistration_delay_is_told() {
    for (target, expected) in [
        (silent("one"), (End::Cut, Stage::Head, None, 5)),
        (endless("one"), (End::Cut, Stage::Body, Some(200), 5)),
    ] {
        let (web, balancer, told) = observed(&[target]);
        let asking = tokio::spawn(async move { fetch(&balancer).await });
        until("it is asked", || web.status().in_flight() == 1).await;
        settle().await;
        web.deregister("one");
        asking.await.unwrap();
        assert_eq!(only(&told), expected);
        assert_eq!(told.lock().unwrap()[0].end.side(), Some(Side::Balancer));
    }
}

#[tokio::test(start_paused = true)]
async fn what_this_machine_lacks_is_no_fault_of_the_targets() {
    let service = service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>(exhausted()) });
    let (web, balancer, told) = observed(&[Target::service("one", service)]);
    assert_eq!(fetch(&balancer).await.0, 503);
    assert_eq!(only(&told), (End::Exhausted, Stage::Head, None, 0));
    assert_eq!(told.lock().unwrap()[0].end.side(), Some(Side::Balancer));
    assert_eq!(counts(&web.status(), "one"), (0, 0, 0));
}

#[tokio::test]
async fn every_attempt_is_an_exchange() {
    let refusing = Refusing::new();
    let (_, balancer, told) = observed(&[Target::new(refusing.address), named("two")]);
    assert_eq!(fetch(&balancer).await, (200, "two".into()));
    let told = told.lock().unwrap();
    let told = told.iter().map(|outcome| (outcome.attempt, outcome.end, outcome.stage));
    let expected = [(1, End::Broken, Stage::Connect), (2, End::Done, Stage::Body)];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn an_answer_of_5xx_ended_well_and_counts_against_the_target() {
    let (web, balancer, told) =
        observed(&[answering("one", |_| async { with_status(503, "busy") })]);
    assert_eq!(fetch(&balancer).await, (503, "busy".into()));
    assert_eq!(only(&told), (End::Done, Stage::Body, Some(503), 0));
    assert_eq!(counts(&web.status(), "one"), (0, 1, 1));
}

#[tokio::test]
async fn an_observer_that_panics_spoils_nothing() {
    let web = group("web").build().unwrap();
    web.register(named("one"));
    let balancer =
        LoadBalancer::builder().observe(|_| panic!("of no use")).build(RuleTable::forward_to(&web));
    for _ in 0..2 {
        assert_eq!(fetch(&balancer).await, (StatusCode::OK.as_u16(), "one".into()));
    }
    assert_eq!(counts(&web.status(), "one"), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn each_exchange_is_one_event_for_those_who_debug() {
    let events = Events::capture();
    let (_, balancer, _) =
        observed(&[answering("one", |_| async { Response::new(slowly(&[2, 1], false)) })]);
    fetch(&balancer).await;
    let told = events.take_of("exchange ended");
    let [event] = &told[..] else { panic!("{told:?}") };
    let field = |name| event.field(name).unwrap_or_default();
    assert_eq!((event.level, field("group"), field("target")), (Level::DEBUG, "web", "one"));
    assert_eq!((field("end"), field("stage"), field("status")), ("Done", "Body", "200"));
    assert_eq!((field("total"), field("received")), ("3s", "8"));
}
