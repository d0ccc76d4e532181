//! A defect in what a user plugs in is that request's 500 and nobody else's: the next request on the
//! same connection is answered, and nothing stays counted.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    algorithm::{Algorithm, Pick, Picker, Weighted},
    body::BodyError,
    head::Head,
    id::{GroupName, TargetId},
    rule::{Condition, Forward, Rule, from_fn},
    stickiness::{Session, Stickiness},
};
use tower::{Service, ServiceExt, service_fn};

use crate::support::{
    Events, answering, balancer, chunk, counts, fetch, get, group, group_of, named, send, until,
    with_status,
};

/// Where to panic, switched on and off by the test.
#[derive(Clone, Debug, Default)]
struct Trap(Arc<AtomicBool>);

impl Trap {
    fn set(&self, armed: bool) {
        self.0.store(armed, Ordering::SeqCst);
    }

    fn step_on(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "stepped on a trap");
    }
}

/// One connection of a client's to a balancer behind hyper's server.
struct Connection(SendRequest<Body>);

impl Connection {
    async fn to(balancer: &LoadBalancer) -> Self {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(server), balancer.clone()));
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn fetch(&mut self) -> (u16, Option<String>) {
        self.0.ready().await.unwrap();
        let response = self.0.send_request(get("/")).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok();
        (status, body.map(|body| String::from_utf8(body.to_bytes().into()).unwrap()))
    }
}

/// Steps on the trap once, between two good requests on one connection.
async fn check(trap: &Trap, balancer: &LoadBalancer, cause: &str) {
    let events = Events::capture();
    let good = (200, Some("one".to_owned()));
    let mut connection = Connection::to(balancer).await;
    assert_eq!(connection.fetch().await, good, "{cause}");
    trap.set(true);
    let bad = (500, Some("500 Internal Server Error\n".to_owned()));
    assert_eq!(connection.fetch().await, bad, "{cause}");
    trap.set(false);
    assert_eq!(connection.fetch().await, good, "{cause}");
    for group in balancer.groups() {
        assert_eq!(group.status().in_flight(), 0, "{cause}");
    }
    let events = events.take_of("request failed");
    assert_eq!(events.len(), 1, "{cause}");
    assert_eq!(events[0].field("kind"), Some("Panicked"));
    let expected = format!("a policy or service of the user's panicked: {cause}");
    assert_eq!(events[0].field("cause"), Some(&*expected));
}

/// Picks the first target there is, unless it steps on one of its traps.
#[derive(Debug)]
struct First {
    prepare: Trap,
    pick: Trap,
}

struct FirstOf(usize, Trap);

impl Algorithm for First {
    fn name(&self) -> &'static str {
        "first"
    }

    fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker> {
        self.prepare.step_on();
        Box::new(FirstOf(members.len(), self.pick.clone()))
    }
}

impl Picker for FirstOf {
    fn pick(&self, pick: &mut Pick<'_>) -> Option<usize> {
        self.1.step_on();
        (0..self.0).find(|&i| pick.may(i))
    }
}

#[tokio::test]
async fn a_panic_of_a_picker_is_one_500() {
    let trap = Trap::default();
    let first = First { prepare: Trap::default(), pick: trap.clone() };
    let web = group("web").algorithm(first).build().unwrap();
    web.register(named("one"));
    check(&trap, &balancer(&web), "the algorithm panicked: stepped on a trap").await;
}

#[derive(Debug)]
struct Forgetful {
    recall: Trap,
    remember: Trap,
}

impl Stickiness for Forgetful {
    fn recall(&self, _: &GroupName, _: &Head<'_>, _: SystemTime) -> Session {
        self.recall.step_on();
        Session::default()
    }

    fn remember(&self, _: &GroupName, _: &Session, _: &TargetId, _: &mut HeaderMap, _: SystemTime) {
        self.remember.step_on();
    }
}

#[tokio::test]
async fn a_panic_of_a_stickiness_is_one_500() {
    let (recall, remember) = (Trap::default(), Trap::default());
    let stickiness = Forgetful { recall: recall.clone(), remember: remember.clone() };
    let web = group("web").stickiness(stickiness).build().unwrap();
    web.register(named("one"));
    let cause = "the stickiness panicked: stepped on a trap";
    check(&recall, &balancer(&web), cause).await;
    check(&remember, &balancer(&web), cause).await;
}

#[tokio::test]
async fn a_panic_of_a_peer_finder_is_one_500() {
    let trap = Trap::default();
    let finder = {
        let trap = trap.clone();
        LoadBalancer::builder().peer(move |_| {
            trap.step_on();
            None
        })
    };
    let balancer = finder.build(RuleTable::forward_to(&group_of("web", &["one"])));
    check(&trap, &balancer, "the peer finder panicked: stepped on a trap").await;
}

#[tokio::test]
async fn a_panic_of_a_predicate_is_one_500() {
    let (trap, web) = (Trap::default(), group_of("web", &["one"]));
    let predicate = from_fn({
        let trap = trap.clone();
        move |_: &Head<'_>| {
            trap.step_on();
            true
        }
    });
    let rule = Rule::new(1).when(Condition::custom("trapped", predicate)).then(Forward::to(&web));
    let balancer = LoadBalancer::new(RuleTable::builder().rule(rule).build().unwrap());
    let cause = "predicate \"trapped\" of rule 1 panicked: stepped on a trap";
    check(&trap, &balancer, cause).await;
}

#[tokio::test]
async fn a_panic_of_what_makes_the_responses_of_errors_gives_the_default_one() {
    let trap = Trap::default();
    let web = group("web").build().unwrap();
    let balancer = LoadBalancer::builder()
        .on_error({
            let trap = trap.clone();
            move |_| {
                trap.step_on();
                with_status(599, "one")
            }
        })
        .build(RuleTable::forward_to(&web));
    let events = Events::capture();
    let mut connection = Connection::to(&balancer).await;
    assert_eq!(connection.fetch().await, (599, Some("one".into())));
    trap.set(true);
    let plain = (503, Some("503 Service Unavailable\n".to_owned()));
    assert_eq!(connection.fetch().await, plain);
    trap.set(false);
    assert_eq!(connection.fetch().await, (599, Some("one".into())));
    let events = events.take_of("on_error panicked");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].field("panic"), Some("stepped on a trap"));
}

/// A service with a trap wherever there is room for one.
#[derive(Clone, Default)]
struct Trapped {
    ready: Trap,
    call: Trap,
    future: Trap,
}

impl Service<Request<Body>> for Trapped {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready.step_on();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.call.step_on();
        let trap = self.future.clone();
        Box::pin(async move {
            tokio::task::yield_now().await;
            trap.step_on();
            Ok(Response::new(Body::from("one")))
        })
    }
}

#[tokio::test]
async fn a_panic_of_a_service_in_this_process_is_one_500() {
    let service = Trapped::default();
    let web = group("web").build().unwrap();
    web.register(Target::service("one", service.clone()));
    let balancer = balancer(&web);
    for (place, trap) in [&service.ready, &service.call, &service.future].into_iter().enumerate() {
        check(trap, &balancer, "stepped on a trap").await;
        let (answered, failed) = (2 * (place as u64 + 1), place as u64 + 1);
        assert_eq!(counts(&web.status(), "one"), (0, answered, failed));
    }
}

/// Where a body panics.
#[derive(Clone, Copy, Debug)]
enum At {
    Frame,
    EndStream,
    SizeHint,
}

struct TrappedBody(At, Trap, Option<&'static str>);

impl TrappedBody {
    fn pass(&self, at: &[At]) {
        if at.iter().any(|at| std::mem::discriminant(at) == std::mem::discriminant(&self.0)) {
            self.1.step_on();
        }
    }
}

impl http_body::Body for TrappedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.pass(&[At::Frame]);
        Poll::Ready(self.2.take().map(|text| Ok(Frame::data(Bytes::from(text)))))
    }

    fn is_end_stream(&self) -> bool {
        self.pass(&[At::EndStream]);
        self.2.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.pass(&[At::SizeHint]);
        http_body::SizeHint::default()
    }
}

#[tokio::test]
async fn a_panic_of_a_body_cuts_it() {
    for at in [At::Frame, At::EndStream, At::SizeHint] {
        let trap = Trap::default();
        let web = group("web").build().unwrap();
        web.register(answering("one", {
            let trap = trap.clone();
            move |_| {
                let trap = trap.clone();
                async move {
                    let first = StreamBody::new(futures_util::stream::iter([chunk("one")]));
                    let armed = trap.0.load(Ordering::SeqCst);
                    trap.set(false);
                    let body = TrappedBody(at, trap.clone(), Some("one"));
                    let body = Body::new(body);
                    trap.set(armed);
                    Response::new(if armed { body } else { Body::new(first) })
                }
            }
        }));
        let balancer = balancer(&web);
        assert_eq!(fetch(&balancer).await, (200, "one".into()), "{at:?}");
        trap.set(true);
        // Either end of the connection may notice first that it goes no further.
        let mut connection = Connection::to(&balancer).await;
        let answer = match connection.0.send_request(get("/")).await {
            Ok(response) => response.into_body().collect().await.map(drop),
            Err(error) => Err(error),
        };
        assert!(answer.is_err(), "{at:?}");
        until("the exchange ended", || web.status().in_flight() == 0).await;
        trap.set(false);
        assert_eq!(fetch(&balancer).await, (200, "one".into()), "{at:?}");
        assert_eq!(counts(&web.status(), "one"), (0, 2, 1), "{at:?}");
    }
}

#[tokio::test]
async fn a_panic_in_the_middle_of_a_body_is_an_error_after_what_came_before() {
    let web = group("web").build().unwrap();
    web.register(answering("one", |_| async {
        let chunks = futures_util::stream::iter(0..2);
        let chunks = futures_util::StreamExt::map(chunks, |number| {
            assert_eq!(number, 0, "no second chunk");
            chunk("first")
        });
        Response::new(Body::new(StreamBody::new(chunks)))
    }));
    let response = balancer(&web).oneshot(get("/")).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&BodyError::Panicked));
    assert_eq!(counts(&web.status(), "one"), (0, 0, 1));
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_body_that_panics_when_it_is_dropped_unread_hurts_nobody() {
    let trap = Trap::default();
    let web = group("web").build().unwrap();
    web.register(answering("one", {
        let trap = trap.clone();
        move |_| {
            let body = TrappedBody(At::EndStream, trap.clone(), Some("one"));
            async { Response::new(Body::new(body)) }
        }
    }));
    let response = balancer(&web).oneshot(get("/")).await.unwrap();
    trap.set(true);
    drop(response);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn a_pick_that_cannot_be_is_one_500() {
    #[derive(Debug)]
    struct Beyond;
    struct BeyondAll;
    impl Algorithm for Beyond {
        fn name(&self) -> &'static str {
            "beyond"
        }
        fn prepare(&self, _: &[Weighted]) -> Box<dyn Picker> {
            Box::new(BeyondAll)
        }
    }
    impl Picker for BeyondAll {
        fn pick(&self, _: &mut Pick<'_>) -> Option<usize> {
            Some(7)
        }
    }
    let web = group("web").algorithm(Beyond).build().unwrap();
    web.register(named("one"));
    let answer = send(&balancer(&web), get("/")).await;
    assert_eq!(answer.status, 500);
    assert_eq!(
        answer.error.unwrap().to_string(),
        "a service failed: the algorithm picked place 7 of 1, which it may not"
    );
}

/// A group whose algorithm takes the first target, and what makes it panic while it prepares.
fn preparing() -> (TargetGroup, Trap) {
    let trap = Trap::default();
    let first = First { prepare: trap.clone(), pick: Trap::default() };
    (group("web").algorithm(first).build().unwrap(), trap)
}

async fn served(balancer: &LoadBalancer, times: usize) -> Vec<String> {
    let mut served = Vec::new();
    for _ in 0..times {
        served.push(fetch(balancer).await.1);
    }
    served
}

#[tokio::test]
async fn while_an_algorithm_cannot_prepare_the_old_picker_serves_what_is_left() {
    let (web, trap) = preparing();
    let balancer = balancer(&web);
    let one = named("one");
    web.register(one.clone());
    web.register(named("two"));
    assert_eq!(served(&balancer, 2).await, ["one", "one"]);

    let events = Events::capture();
    trap.set(true);
    web.register(named("three"));
    let events = events.take();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].level, tracing::Level::ERROR);
    assert_eq!(events[0].field("algorithm"), Some("first"));
    assert_eq!(events[0].field("panic"), Some("stepped on a trap"));
    assert_eq!(served(&balancer, 2).await, ["one", "one"]);

    web.deregister("one");
    assert_eq!(served(&balancer, 2).await, ["two", "two"]);
    assert_eq!(balancer.explain(&get("/")).target(), Some(&"two".into()));
    // It comes back as it was, since the old picker knows it.
    web.register(one.weight(5).unwrap());
    assert_eq!(served(&balancer, 2).await, ["one", "one"]);

    trap.set(false);
    web.deregister("one");
    assert_eq!(served(&balancer, 2).await, ["two", "two"]);
    web.deregister("two");
    assert_eq!(served(&balancer, 2).await, ["three", "three"]);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn when_nothing_is_left_to_the_old_picker_all_take_turns() {
    let (web, trap) = preparing();
    let balancer = balancer(&web);
    web.register(named("one"));
    trap.set(true);
    web.set_targets([named("two"), named("three")]);
    let mut served = served(&balancer, 4).await;
    served.sort();
    assert_eq!(served, ["three", "three", "two", "two"]);
    web.set_targets([]);
    assert_eq!(fetch(&balancer).await.0, 503);
}

#[tokio::test]
async fn an_algorithm_that_could_never_prepare_is_replaced_by_turns() {
    let trap = Trap::default();
    trap.set(true);
    let web = group("web").algorithm(First { prepare: trap, pick: Trap::default() });
    let web = web.build().unwrap();
    web.register(named("one"));
    web.register(named("two"));
    assert_eq!(served(&balancer(&web), 3).await, ["one", "two", "one"]);
}

#[tokio::test]
async fn the_old_picker_does_not_serve_an_address_that_was_replaced() {
    let (web, trap) = preparing();
    let balancer = balancer(&web);
    let place = |text: &'static str| {
        answering("one", move |_| async move { Response::new(Body::from(text)) })
    };
    web.register(place("old place"));
    web.register(named("two"));
    assert_eq!(served(&balancer, 1).await, ["old place"]);
    trap.set(true);
    web.register(place("new place"));
    assert_eq!(served(&balancer, 2).await, ["two", "two"], "all that is left to the old picker");
    web.deregister("two");
    assert_eq!(served(&balancer, 2).await, ["new place", "new place"]);
}

#[tokio::test]
async fn a_group_whose_algorithm_panicked_can_still_be_changed() {
    let (web, trap) = preparing();
    trap.set(true);
    let all = (0..50).map(|number| {
        let text = format!("target {number}");
        Target::service(
            text,
            service_fn(|_: Request<Body>| async {
                Ok::<_, Infallible>(Response::new(Body::from("served")))
            }),
        )
    });
    let threads = all.map(|target| {
        let web = web.clone();
        std::thread::spawn(move || web.register(target))
    });
    let threads = threads.collect::<Vec<_>>();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(web.status().targets.len(), 50);
    assert_eq!(served(&balancer(&web), 50).await, ["served"; 50]);
    assert!(web.status().targets.iter().all(|target| target.answered == 1));
}
