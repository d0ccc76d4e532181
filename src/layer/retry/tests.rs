//! The floor over stubs: what is sent once more, what is not, and what the client gets in the end.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tower::{BoxError, ServiceExt, service_fn};

use super::*;
use crate::{
    group::{RetryPolicy, TargetGroup},
    id::{RuleId, TargetId},
    lease::Load,
    outcome::Blame,
    target::Target,
};

/// What a target does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Cannot be reached.
    Refuse,
    /// Breaks the exchange when it has read so many parts of the body.
    Reset(usize),
    /// Breaks the exchange in the middle of the head of its answer.
    BreakHead,
    /// Never answers.
    Silent,
    /// Reads all, and answers with a status and what it read.
    Answer(u16),
    /// Answers at once with a status and its name, and reads nothing.
    Early(u16),
}
use Deed::{Answer, BreakHead, Early, Refuse, Reset, Silent};

/// What arrived at each target: its place, and the head.
#[derive(Clone, Debug, PartialEq)]
struct Arrival {
    target: String,
    head: String,
    prefer: Option<TargetId>,
    boxed: bool,
}

#[derive(Clone)]
struct Targets {
    group: TargetGroup,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    loads: Arc<Vec<Arc<Load>>>,
    /// Bodies that a target did not read and did not drop.
    unread: Arc<Mutex<Vec<Body>>>,
}

/// Builds a group of targets `0`, `1`, … with a policy.
fn targets(count: usize, policy: Option<RetryPolicy>) -> Targets {
    let builder = TargetGroup::builder("web");
    let group = match policy {
        Some(policy) => builder.retry(policy).build().unwrap(),
        None => builder.build().unwrap(),
    };
    (0..count).for_each(|number| group.register(target(number)));
    let loads = (0..count).map(|_| Arc::default()).collect::<Vec<_>>().into();
    Targets { group, arrivals: Arc::default(), loads, unread: Arc::default() }
}

/// What the group knows of a target; what it does is a stub's affair.
fn target(number: usize) -> Target {
    let never = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    Target::service(number.to_string(), never)
}

impl Targets {
    /// Sends a request to targets that do this, one after the other.
    async fn send(
        &self,
        request: Request<Body>,
        deeds: &'static [Deed],
    ) -> Result<Response<Body>, Error> {
        let this = self.clone();
        let below = service_fn(move |routed: Routed| this.clone().serve(routed, deeds));
        let routed = Routed::new(request, RuleId::Default, self.group.clone());
        RetryLayer::new().layer(below).oneshot(routed.with_prefer(Some("mine".into()))).await
    }

    async fn serve(
        self,
        mut routed: Routed,
        deeds: &'static [Deed],
    ) -> Result<Response<Body>, Error> {
        let place = routed.tried().len();
        if place >= self.loads.len() {
            return Err(Error::new(Kind::NoTarget, "every target was tried"));
        }
        let target = TargetId::from(place.to_string());
        let mut lease = self.loads[place].begin(None).unwrap();
        lease.blame(Blame::Failures);
        let request = routed.request();
        self.arrivals.lock().unwrap().push(Arrival {
            target: target.to_string(),
            head: format!("{} {} {:?}", request.method(), request.uri(), request.headers()),
            prefer: routed.prefer().cloned(),
            boxed: format!("{:?}", request.body()).contains("boxed"),
        });
        let mut request = mem::take(routed.request_mut());
        let of_target = |error: Error| Err(error.with_target(target.clone()));
        let (status, body) = match deeds[place] {
            Refuse => return of_target(Error::new(Kind::Connect, "refused").with_unsent(request)),
            Reset(parts) => {
                for _ in 0..parts {
                    _ = request.body_mut().frame().await;
                }
                return of_target(Error::new(Kind::Exchange, "reset").with_unanswered());
            }
            BreakHead => return of_target(Error::new(Kind::Exchange, "half a head")),
            Silent => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return of_target(Kind::AnswerTimeout.into());
            }
            Answer(status) => {
                let body = request.into_body().collect().await.unwrap();
                let trailers = body.trailers().map(|trailers| format!("{trailers:?}"));
                let text = String::from_utf8(body.to_bytes().into()).unwrap();
                (status, format!("{place}{text}{}", trailers.unwrap_or_default()))
            }
            Early(status) => {
                self.unread.lock().unwrap().push(request.into_body());
                (status, format!("{place}early"))
            }
        };
        let status = StatusCode::from_u16(status).unwrap();
        lease.answered(status);
        let mut response = Response::new(Body::from(body).with_lease(lease));
        *response.status_mut() = status;
        let group = self.group.name().clone();
        response.extensions_mut().insert(Served::by_target(RuleId::Default, group, target));
        Ok(response)
    }

    /// Sends a request and says which targets it arrived at, and what the client got: status and body,
    /// or what failed.
    async fn ask(&self, request: Request<Body>, deeds: &'static [Deed]) -> (String, String) {
        self.arrivals.lock().unwrap().clear();
        let answer = match self.send(request, deeds).await {
            Err(error) => error.to_string(),
            Ok(response) => {
                let status = response.status().as_u16();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                format!("{status} {}", String::from_utf8_lossy(&body))
            }
        };
        let arrivals = self.arrivals.lock().unwrap();
        (arrivals.iter().map(|arrival| arrival.target.as_str()).collect(), answer)
    }
}

fn request(method: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(method).uri("/a?b").header("x-kept", "1");
    request.body(body.into()).unwrap()
}

/// A body of three parts and a trailer, whose length nobody tells.
fn parts() -> Body {
    let parts = ["one ", "two ", "three "].map(|part| Frame::data(Bytes::from(part)));
    let sum = http::HeaderMap::from_iter([("sum".parse().unwrap(), "9".parse().unwrap())]);
    let frames = parts.into_iter().chain([Frame::trailers(sum)]).map(Ok::<_, BoxError>);
    Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())))
}

/// Every condition there is.
fn all() -> RetryPolicy {
    RetryPolicy::new().on_reset(true).on_answer_timeout(true).on_statuses([429, 502, 503, 504])
}

async fn check(
    policy: RetryPolicy,
    request: Request<Body>,
    deeds: &'static [Deed],
    expected: (&str, &str),
) {
    let what = format!("{request:?} {policy:?} {deeds:?}");
    let (arrived, answer) = targets(deeds.len(), Some(policy)).ask(request, deeds).await;
    assert_eq!((arrived.as_str(), answer.as_str()), expected, "{what}");
}

const RESET: &str = "the exchange with the target broke: reset";

#[tokio::test(start_paused = true)]
async fn only_what_is_idempotent_is_sent_once_more() {
    let deeds: &[&[Deed]] =
        &[&[Reset(0), Answer(200)], &[Silent, Answer(200)], &[Answer(503), Answer(200)]];
    for deeds in deeds {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            check(all(), request(method, ""), deeds, ("01", "200 1")).await;
            check(all(), request(method, "x"), deeds, ("01", "200 1x")).await;
        }
        for method in ["POST", "PATCH", "TRACE", "CONNECT", "WHATEVER"] {
            let targets = targets(2, Some(all()));
            assert_eq!(targets.ask(request(method, ""), deeds).await.0, "0", "{method}");
            assert_eq!(targets.ask(request(method, "x"), deeds).await.0, "0", "{method}");
        }
    }
    // Nothing of it was sent.
    check(all(), request("POST", "x"), &[Refuse, Answer(200)], ("01", "200 1x")).await;
    check(all(), request("POST", "x"), &[Refuse, Reset(0), Answer(200)], ("01", RESET)).await;
}

#[tokio::test(start_paused = true)]
async fn each_condition_is_opted_for_on_its_own() {
    const LATE: &str = "no answer from the target in time";
    let new = RetryPolicy::new;
    let get = || request("GET", "");
    check(new(), get(), &[Reset(0), Answer(200)], ("0", RESET)).await;
    check(new().on_answer_timeout(true), get(), &[Reset(0), Answer(200)], ("0", RESET)).await;
    check(new().on_reset(true), get(), &[Silent, Answer(200)], ("0", LATE)).await;
    check(new().on_reset(true), get(), &[Answer(503), Answer(200)], ("0", "503 0")).await;
    check(new().on_statuses([503]), get(), &[Answer(502), Answer(200)], ("0", "502 0")).await;
    check(new().on_statuses([503]), get(), &[Reset(0), Answer(200)], ("0", RESET)).await;
    check(new().on_statuses([429]), get(), &[Answer(429), Answer(200)], ("01", "200 1")).await;
    // Some of an answer was there.
    const HALF: &str = "the exchange with the target broke: half a head";
    check(all(), get(), &[BreakHead, Answer(200)], ("0", HALF)).await;
}

#[tokio::test]
async fn without_a_policy_nothing_is_copied_and_nothing_is_sent_twice() {
    for (policy, boxed) in [(None, false), (Some(RetryPolicy::new()), false), (Some(all()), true)] {
        let targets = targets(2, policy);
        let (arrived, _) = targets.ask(request("PUT", "x"), &[Reset(1), Answer(200)]).await;
        assert_eq!(targets.arrivals.lock().unwrap()[0].boxed, boxed);
        assert_eq!(arrived, if boxed { "01" } else { "0" });
        // It may not be sent twice, so that its copy would be for nothing.
        targets.ask(request("POST", "x"), &[Answer(200)]).await;
        assert!(!targets.arrivals.lock().unwrap()[0].boxed);
    }
}

#[tokio::test]
async fn the_request_is_the_same_each_time_but_for_whom_the_client_had() {
    let targets = targets(3, Some(all().attempts_max(3)));
    let deeds = &[Reset(0), Answer(503), Answer(200)];
    assert_eq!(targets.ask(request("PUT", parts()), deeds).await.0, "012");
    let arrivals = targets.arrivals.lock().unwrap();
    assert_eq!(arrivals[0].head, "PUT /a?b {\"x-kept\": \"1\"}");
    assert!(arrivals.iter().all(|arrival| arrival.head == arrivals[0].head));
    let prefer = arrivals.iter().map(|arrival| arrival.prefer.as_deref()).collect::<Vec<_>>();
    assert_eq!(prefer, [Some("mine"), None, None]);
}

#[tokio::test]
async fn a_body_is_whole_wherever_an_attempt_broke() {
    const WHOLE: &str = r#"200 3one two three {"sum": "9"}"#;
    let policy = || all().attempts_max(4);
    check(
        policy(),
        request("PUT", parts()),
        &[Reset(0), Reset(1), Reset(2), Answer(200)],
        ("0123", WHOLE),
    )
    .await;
    check(
        policy(),
        request("PUT", parts()),
        &[Reset(4), Reset(0), Reset(5), Answer(200)],
        ("0123", WHOLE),
    )
    .await;
    check(
        policy(),
        request("PUT", parts()),
        &[Reset(2), Refuse, Reset(1), Answer(200)],
        ("0123", WHOLE),
    )
    .await;
    check(
        policy(),
        request("PUT", parts()),
        &[Answer(503), Reset(2), Answer(502), Answer(200)],
        ("0123", WHOLE),
    )
    .await;
}

#[tokio::test]
async fn a_body_longer_than_what_is_kept_is_sent_once_and_whole() {
    let check = async |max, body: Body, deeds, expected| {
        check(all().replay_max(max), request("PUT", body), deeds, expected).await;
    };
    // It says how long it is.
    check(5, Body::from("123456"), &[Reset(0), Answer(200)], ("0", RESET)).await;
    check(6, Body::from("123456"), &[Reset(1), Answer(200)], ("01", "200 1123456")).await;
    // It does not; of "one two three " and its trailer 18 bytes are kept.
    check(17, parts(), &[Reset(4), Answer(200)], ("0", RESET)).await;
    check(18, parts(), &[Reset(4), Answer(200)], ("01", r#"200 1one two three {"sum": "9"}"#))
        .await;
    check(4, parts(), &[Reset(1), Answer(200)], ("01", r#"200 1one two three {"sum": "9"}"#)).await;
    check(4, parts(), &[Reset(2), Answer(200)], ("0", RESET)).await;
    check(0, parts(), &[Answer(503), Answer(200)], ("0", r#"503 0one two three {"sum": "9"}"#))
        .await;
    check(0, Body::default(), &[Reset(0), Answer(200)], ("01", "200 1")).await;
}

#[tokio::test]
async fn an_answer_is_given_up_only_for_another() {
    let all = || all().attempts_max(3);
    let get = || request("GET", "");
    check(all(), get(), &[Answer(503)], ("0", "503 0")).await;
    check(all(), get(), &[Answer(503), Reset(0)], ("01", "503 0")).await;
    check(all(), get(), &[Answer(503), Refuse], ("01", "503 0")).await;
    check(all(), get(), &[Answer(503), Refuse, Answer(200)], ("012", "200 2")).await;
    check(all(), get(), &[Answer(503), BreakHead, Answer(200)], ("01", "503 0")).await;
    check(all(), get(), &[Answer(503), Answer(502), Reset(0), Answer(200)], ("012", "502 1")).await;
    check(all(), get(), &[Answer(503), Answer(404), Answer(200)], ("01", "404 1")).await;
    check(all(), get(), &[Reset(0), Answer(503), Reset(0), Answer(200)], ("012", "503 1")).await;
    let none = all().budget_percent(0).budget_floor(0);
    check(none, get(), &[Answer(503), Answer(200)], ("0", "503 0")).await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_has_gone_out_stands() {
    let targets = targets(2, Some(all()));
    let deeds = &[Early(503), Answer(200)];
    let (arrived, answer) = targets.ask(request("PUT", parts()), deeds).await;
    assert_eq!((arrived.as_str(), answer.as_str()), ("0", "503 0early"));
    // Its target may read on.
    let mut rest = targets.unread.lock().unwrap().pop().unwrap();
    assert_eq!(rest.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
    // Without a body there is nothing to read.
    assert_eq!(targets.ask(request("PUT", ""), deeds).await.0, "01");
}

#[tokio::test]
async fn the_exchange_of_an_answer_that_is_given_up_ends_as_answered() {
    let targets = targets(2, Some(all()));
    let response = targets.send(request("GET", ""), &[Answer(503), Answer(200)]).await.unwrap();
    let counts = |place: usize| {
        let load = &targets.loads[place];
        (load.in_flight(), load.answered(), load.failed())
    };
    assert_eq!((counts(0), counts(1)), ((0, 1, 1), (1, 0, 0)));
    drop(response);
    assert_eq!(counts(1).0, 0);
}

#[tokio::test]
async fn a_request_is_sent_to_so_many_targets_and_no_more() {
    const DEEDS: &[Deed] = &[Reset(0); 12];
    let get = || request("GET", "");
    check(all(), get(), DEEDS, ("01", RESET)).await;
    check(all().attempts_max(3), get(), DEEDS, ("012", RESET)).await;
    check(all().attempts_max(10), get(), DEEDS, ("0123456789", RESET)).await;
    check(all().attempts_max(10), get(), &[Reset(0), Reset(0)], ("01", RESET)).await;
    const REFUSED: &str = "no connection to the target: refused";
    check(all(), get(), &[Refuse; 12], ("012", REFUSED)).await;
    check(all().attempts_max(5), get(), &[Refuse; 12], ("01234", REFUSED)).await;
    check(all(), get(), &[Refuse, Reset(0), Answer(200)], ("01", RESET)).await;
    check(all(), get(), &[Reset(0), Refuse, Answer(200)], ("012", "200 2")).await;
}

/// Sends so many requests to a dead group; returns how many arrived at a target.
async fn arrivals(targets: &Targets, deeds: &'static [Deed], requests: usize) -> usize {
    let before = targets.arrivals.lock().unwrap().len();
    for _ in 0..requests {
        targets.send(request("GET", ""), deeds).await.unwrap_err();
    }
    targets.arrivals.lock().unwrap().len() - before
}

#[tokio::test(start_paused = true)]
async fn a_dead_group_is_asked_for_its_share_more_and_no_more() {
    const DEAD: &[Deed] = &[Reset(0); 10];
    let targets = targets(10, Some(all().attempts_max(10)));
    assert_eq!(arrivals(&targets, DEAD, 1000).await, 1200);
    // The floor: nothing came in these ten seconds.
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(arrivals(&targets, DEAD, 10).await, 20);
    // Other settings, the same budget.
    let same = TargetGroup::builder("web").retry(all().attempts_max(10));
    targets.group.reconfigure(same).unwrap();
    assert_eq!(arrivals(&targets, DEAD, 10).await, 10);
    let more = all().attempts_max(10).budget_floor(15);
    targets.group.reconfigure(TargetGroup::builder("web").retry(more)).unwrap();
    assert_eq!(arrivals(&targets, DEAD, 10).await, 15);
    targets.group.reconfigure(TargetGroup::builder("web")).unwrap();
    assert_eq!(arrivals(&targets, DEAD, 10).await, 10);
}

#[tokio::test(start_paused = true)]
async fn only_what_was_sent_costs_a_budget() {
    let policy = all().budget_percent(0).budget_floor(1).replay_max(4);
    let targets = targets(2, Some(policy));
    let check = async |times, deeds, expected| {
        for _ in 0..times {
            assert_eq!(targets.ask(request("GET", ""), deeds).await.0, expected, "{deeds:?}");
        }
    };
    check(100, &[Refuse, Answer(200)], "01").await;
    // Neither does an attempt for which nobody is left.
    assert!(targets.group.deregister("1"));
    check(100, &[Answer(503), Answer(200)], "0").await;
    targets.group.register(target(1));
    // Nor one that cannot be made, since the body was too long.
    let (arrived, _) = targets.ask(request("PUT", parts()), &[Reset(4), Answer(200)]).await;
    assert_eq!(arrived, "0");
    check(1, &[Reset(0), Answer(200)], "01").await;
    check(1, &[Reset(0), Answer(200)], "0").await;
}

#[tokio::test]
async fn an_answer_stands_if_the_floor_below_fails_to_get_ready() {
    #[derive(Clone)]
    struct Once(Targets, Arc<AtomicUsize>);
    impl Service<Routed> for Once {
        type Response = Response<Body>;
        type Error = Error;
        type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            match self.1.fetch_add(1, Ordering::SeqCst) {
                0 => Poll::Ready(Ok(())),
                _ => Poll::Ready(Err(Kind::Other.into())),
            }
        }
        fn call(&mut self, routed: Routed) -> Self::Future {
            Box::pin(self.0.clone().serve(routed, &[Answer(503), Answer(200)]))
        }
    }
    let targets = targets(2, Some(all()));
    let routed = Routed::new(request("GET", ""), RuleId::Default, targets.group.clone());
    let below = Once(targets, Arc::default());
    let response = RetryLayer::new().layer(below).oneshot(routed).await.unwrap();
    assert_eq!(response.status(), 503);
}

/// A body whose client comes to its end only when the first attempt is over.
#[tokio::test]
async fn what_the_first_attempt_did_not_read_is_read_by_the_second() {
    let (sender, receiver) = mpsc::unbounded_channel::<&'static str>();
    let frames = stream::unfold(receiver, |mut receiver| async {
        let part = receiver.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from(part))), receiver))
    });
    let body = Body::new(StreamBody::new(frames));
    sender.send("first ").unwrap();
    let targets = targets(2, Some(all()));
    let asked = targets.ask(request("PUT", body), &[Reset(1), Answer(200)]);
    let client = async {
        while targets.arrivals.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        sender.send("second").unwrap();
        drop(sender);
    };
    let (asked, ()) = futures_util::future::join(asked, client).await;
    assert_eq!(asked, ("01".to_owned(), "200 1first second".to_owned()));
}
