//! A request may last only so long in all, whatever each of its waits may take, and who was waited for
//! at the end is told.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    body::BodyError,
    endpoint::Transport,
    error::Kind,
    id::RuleId,
    layer::{Routed, SelectLayer},
    outcome::{End, Outcome, Stage},
    proxy::HttpOptions,
};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::support::{
    Refusing, answering, chunk, counts, endless, fetch, get, group, named, secs, send, silent,
};

type Told = Arc<Mutex<Vec<Outcome>>>;

/// A balancer whose requests may last 7 s, and whose targets may take 10 s for all they do.
fn limited(targets: &[Target]) -> (TargetGroup, LoadBalancer, Told) {
    limited_to(7, targets)
}

fn limited_to(limit: u64, targets: &[Target]) -> (TargetGroup, LoadBalancer, Told) {
    let transport = Transport::new().answer_timeout(secs(10)).idle_timeout(secs(10));
    let web = group("web").transport(transport).build().unwrap();
    targets.iter().cloned().for_each(|target| web.register(target));
    let told = Told::default();
    let observer = Arc::clone(&told);
    let balancer = LoadBalancer::builder()
        .http(HttpOptions::new().request_timeout(secs(limit)))
        .observe(move |outcome| observer.lock().unwrap().push(outcome.clone()))
        .build(RuleTable::forward_to(&web));
    (web, balancer, told)
}

/// How the one exchange ended, at which stage, and after how many seconds.
fn only(told: &Told) -> (End, Stage, u64) {
    let told = told.lock().unwrap();
    let [outcome] = &told[..] else { panic!("{told:?}") };
    (outcome.end, outcome.stage, outcome.total.as_secs())
}

/// A body of a part every so many seconds, without end.
fn dripping(pause: u64) -> Body {
    let parts = stream::repeat(()).then(move |()| async move {
        sleep(secs(pause)).await;
        chunk("part")
    });
    Body::new(StreamBody::new(parts))
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_answer_before_the_deadline_is_504() {
    let (web, balancer, told) = limited(&[silent("one")]);
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.target()), (504, "one"));
    assert_eq!(answer.error.as_ref().unwrap().kind(), Kind::RequestTimeout);
    assert_eq!(only(&told), (End::TargetLate, Stage::Head, 7));
    assert_eq!(counts(&web.status(), "one"), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_breaks_off_at_the_deadline_however_steadily_it_comes() {
    for (target, received) in
        [(answering("one", |_| async { Response::new(dripping(2)) }), 12), (endless("one"), 5)]
    {
        let (web, balancer, told) = limited(&[target]);
        assert_eq!(fetch(&balancer).await, (200, "(broken off)".into()));
        assert_eq!(only(&told), (End::TargetLate, Stage::Body, 7));
        assert_eq!(told.lock().unwrap()[0].received, received);
        assert_eq!(counts(&web.status(), "one"), (0, 0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_before_the_deadline_is_whole() {
    let target = answering("one", |_| async {
        sleep(secs(3)).await;
        let parts = stream::iter([chunk("a"), chunk("b")]).then(|part| async {
            sleep(secs(1)).await;
            part
        });
        Response::new(Body::new(StreamBody::new(parts)))
    });
    let (_, balancer, told) = limited(&[target]);
    assert_eq!(fetch(&balancer).await, (200, "ab".into()));
    assert_eq!(only(&told), (End::Done, Stage::Body, 5));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_request_is_not_whole_at_the_deadline_is_408() {
    let reading = answering("one", |request: Request<Body>| async move {
        _ = request.into_body().collect().await;
        Response::new(Body::default())
    });
    // Before and after the target would be late if the client had sent nothing more.
    for (limit, pause) in [(7, 2), (15, 9), (35, 9)] {
        let (web, balancer, told) = limited_to(limit, std::slice::from_ref(&reading));
        let request = Request::post("/").body(dripping(pause)).unwrap();
        let answer = send(&balancer, request).await;
        assert_eq!((answer.status, answer.error.unwrap().kind()), (408, Kind::ClientIdle));
        assert_eq!(only(&told), (End::ClientLate, Stage::Head, limit));
        assert_eq!(counts(&web.status(), "one"), (0, 0, 0));
    }
}

/// A body that always has another part.
struct Plenty;

impl http_body::Body for Plenty {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(Some(chunk("part")))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_answer_too_slowly_is_the_one_that_is_late() {
    let (web, balancer, told) =
        limited(&[answering("one", |_| async { Response::new(Body::new(Plenty)) })]);
    let mut body = balancer.oneshot(get("/")).await.unwrap().into_body();
    for _ in 0..3 {
        body.frame().await.unwrap().unwrap();
        sleep(secs(3)).await;
    }
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&BodyError::RequestTimeout));
    assert!(body.frame().await.is_none());
    assert_eq!(only(&told), (End::ClientLate, Stage::Body, 9));
    assert_eq!(counts(&web.status(), "one"), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_answer_that_is_taken_late_is_let_through() {
    let (_, balancer, told) =
        limited(&[answering("one", |_| async { Response::new(Body::from("all")) })]);
    let body = balancer.oneshot(get("/")).await.unwrap().into_body();
    sleep(secs(8)).await;
    assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
    assert_eq!(only(&told), (End::Done, Stage::Body, 8));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_deadline_lasts() {
    let target = answering("one", |_| async { Response::new(dripping(9)) });
    let web = group("web").build().unwrap();
    web.register(target);
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    let mut body = balancer.oneshot(get("/")).await.unwrap().into_body();
    for _ in 0..1000 {
        body.frame().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn all_attempts_share_one_deadline() {
    let seen: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let refusing = Refusing::new();
    let web = group("web").build().unwrap();
    web.register(Target::new(refusing.address));
    web.register(named("two"));
    let below = {
        let seen = Arc::clone(&seen);
        service_fn(move |routed: Routed| {
            seen.lock().unwrap().push(routed.deadline().unwrap());
            SelectLayer::new().layer(pointsman::layer::Forward::new()).oneshot(routed)
        })
    };
    let options = HttpOptions::new().request_timeout(secs(7));
    let rules = RuleTable::forward_to(&web);
    let stack = tower::ServiceBuilder::new()
        .layer(pointsman::layer::RulesLayer::with_options(rules, options, |_| None))
        .layer(pointsman::layer::RetryLayer::new())
        .service(below);
    assert_eq!(stack.oneshot(get("/")).await.unwrap().status(), 200);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_no_target_is_tried() {
    let asked = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&asked);
    let web = group("web").build().unwrap();
    web.register(answering("one", move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        async { Response::new(Body::default()) }
    }));
    for (passed, expected) in [(true, Some(Kind::RequestTimeout)), (false, None)] {
        let deadline = Instant::now() + secs(if passed { 0 } else { 1 });
        let routed = Routed::new(get("/"), RuleId::Default, web.clone());
        let select = SelectLayer::new().layer(pointsman::layer::Forward::new());
        let answer = select.oneshot(routed.with_deadline(Some(deadline))).await;
        assert_eq!(answer.err().map(|error| error.kind()), expected);
        assert_eq!(web.status().in_flight(), 0);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(counts(&web.status(), "one"), (0, 1, 0));
}
