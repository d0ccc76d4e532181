//! Each floor alone over a stub, the messages between them, and layers of tower's own between floors.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::SystemTime,
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use pointsman::{
    Body, Peer, RuleTable, Target, TargetGroup,
    error::{Error, Kind},
    head::Head,
    id::{GroupName, RuleId, TargetId},
    layer::{
        Assigned, Forward, HealthLayer, RespondLayer, RetryLayer, Routed, RulesLayer, SelectLayer,
        Served, Stage, StickyLayer,
    },
    lease::Lease,
    outcome::End,
    stickiness::{Session, Stickiness},
    target::Member,
};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer,
    load_shed::LoadShedLayer, service_fn, timeout::TimeoutLayer,
};

use crate::support::{
    Refusing, answering, endless, fetch, get, group, group_of, named, secs, send, settle, silent,
    with_status,
};

const DEFAULT: RuleId = RuleId::Default;

fn peer() -> Peer {
    Peer::new("192.0.2.1:5000".parse().unwrap())
}

fn ok() -> Result<Response<Body>, Error> {
    Ok(Response::new(Body::default()))
}

/// Takes a member of a group as the Select floor does.
fn taken(group: &TargetGroup) -> (Arc<Member>, Lease) {
    let request = get("/");
    let assignment = group.assign(&Head::of(&request, None), None, &[]).unwrap();
    (assignment.member, assignment.lease)
}

fn assigned(group: &TargetGroup) -> Assigned {
    let (member, lease) = taken(group);
    Assigned::new(get("/"), DEFAULT, group.name().clone(), member, lease)
}

#[test]
fn a_routed_request_says_all_it_was_told() {
    let web = group("web").build().unwrap();
    let mut routed = Routed::new(get("/a?b"), DEFAULT, web.clone());
    assert_eq!((routed.rule(), routed.group()), (DEFAULT, &web));
    assert_eq!((routed.peer(), routed.prefer(), routed.tried()), (None, None, &[][..]));
    routed.request_mut().headers_mut().insert("host", HeaderValue::from_static("a.com"));
    let routed = routed
        .with_peer(Some(peer()))
        .with_prefer(Some("two".into()))
        .with_tried(vec!["one".into()]);
    let head = routed.head();
    assert_eq!((head.path(), head.query(), head.host()), ("/a", Some("b"), Some("a.com")));
    assert_eq!((head.peer, routed.peer()), (Some(&peer()), Some(&peer())));
    assert_eq!(routed.prefer(), Some(&"two".into()));
    assert_eq!(routed.tried(), ["one"]);
    assert_eq!(routed.request().uri(), "/a?b");
}

#[test]
fn an_assigned_request_says_all_it_was_told() {
    let web = group_of("web", &["one"]);
    let mut assigned = assigned(&web);
    assert_eq!((assigned.rule(), &**assigned.group()), (DEFAULT, "web"));
    assert_eq!(assigned.member().id(), "one");
    assert_eq!((assigned.is_fail_open(), assigned.peer()), (false, None));
    assert_eq!(assigned.lease().end(), End::ClientLeft);
    assigned.lease_mut().settle(End::Broken);
    *assigned.request_mut().uri_mut() = "/else".parse().unwrap();
    let assigned = assigned.with_fail_open(true).with_peer(Some(peer()));
    assert_eq!((assigned.is_fail_open(), assigned.peer()), (true, Some(&peer())));
    assert_eq!(assigned.request().uri(), "/else");
    assert_eq!(assigned.lease().end(), End::Broken);
    assert_eq!(web.status().in_flight(), 1);
    drop(assigned);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn respond_answers_for_an_error() {
    let below = service_fn(|_: Request<Body>| async {
        let error = Error::new(Kind::Connect, "connection refused").with_rule(DEFAULT);
        let error = error.with_group("web".into()).with_target("one".into());
        Err::<Response<Body>, _>(error.with_unsent(get("/")))
    });
    let answer = send(&RespondLayer::new().layer(below), get("/")).await;
    assert_eq!((answer.status, answer.text()), (502, "502 Bad Gateway\n"));
    assert_eq!(answer.headers["content-type"], "text/plain; charset=utf-8");
    let served = answer.served.unwrap();
    assert_eq!(served, Served::by_target(DEFAULT, "web".into(), "one".into()));
    let error = answer.error.unwrap();
    assert_eq!(error.to_string(), "no connection to the target: connection refused");
    assert!(error.take_unsent().is_none(), "no request rides along with the response");
}

#[tokio::test]
async fn respond_lets_an_answer_pass() {
    let below = service_fn(|_: Request<Body>| async {
        Ok::<_, Error>(with_status(418, "short and stout"))
    });
    let answer = send(&RespondLayer::new().layer(below), get("/")).await;
    assert_eq!((answer.status, answer.text()), (418, "short and stout"));
    assert!(answer.error.is_none() && answer.served.is_none());
}

/// Fails to get ready as often as it is told, and answers every call.
#[derive(Clone)]
struct Unready {
    failures: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Unready {
    fn times(failures: usize) -> Self {
        Self { failures: Arc::new(failures.into()), calls: Arc::default() }
    }
}

impl<R> Service<R> for Unready {
    type Response = Response<Body>;
    type Error = Error;
    type Future = std::future::Ready<Result<Response<Body>, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let left = self.failures.load(Ordering::SeqCst);
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        self.failures.store(left - 1, Ordering::SeqCst);
        Poll::Ready(Err(Error::new(Kind::Other, format!("failure {left}"))))
    }

    fn call(&mut self, _: R) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        std::future::ready(ok())
    }
}

#[tokio::test]
async fn respond_answers_the_next_call_with_what_poll_ready_failed_with() {
    let below = Unready::times(2);
    let mut respond = RespondLayer::new().layer(below.clone());
    let ready = ServiceExt::<Request<Body>>::ready(&mut respond).await.unwrap();
    // Asked again, it keeps what it has.
    let ready = ServiceExt::<Request<Body>>::ready(ready).await.unwrap();
    let response = ready.call(get("/")).await.unwrap();
    assert_eq!(response.status(), 500);
    let error = response.extensions().get::<Error>().unwrap();
    assert_eq!(error.to_string(), "a service failed: failure 2");
    assert_eq!(below.calls.load(Ordering::SeqCst), 0);

    let ready = ServiceExt::<Request<Body>>::ready(&mut respond).await.unwrap();
    assert_eq!(ready.call(get("/")).await.unwrap().status(), 500);
    let ready = ServiceExt::<Request<Body>>::ready(&mut respond).await.unwrap();
    assert_eq!(ready.call(get("/")).await.unwrap().status(), 200);
    assert_eq!(below.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_clone_of_respond_does_not_answer_for_the_failure_of_another() {
    let mut respond = RespondLayer::new().layer(Unready::times(1));
    ServiceExt::<Request<Body>>::ready(&mut respond).await.unwrap();
    let clone = respond.clone();
    assert_eq!(clone.oneshot(get("/")).await.unwrap().status(), 200);
    assert_eq!(respond.call(get("/")).await.unwrap().status(), 500);
}

#[tokio::test]
async fn every_floor_passes_on_that_those_below_are_not_ready() {
    let web = group_of("web", &["one"]);
    async fn check<S: Service<R>, R>(mut floor: S)
    where
        S::Error: std::fmt::Display,
    {
        let error = floor.ready().await.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("a service failed: failure 1"));
    }
    let below = || Unready::times(1);
    check::<_, Request<Body>>(RulesLayer::new(RuleTable::forward_to(&web)).layer(below())).await;
    check::<_, Routed>(StickyLayer::new().layer(below())).await;
    check::<_, Routed>(RetryLayer::new().layer(below())).await;
    check::<_, Routed>(SelectLayer::new().layer(below())).await;
    check::<_, Assigned>(HealthLayer::new().layer(below())).await;
}

#[tokio::test]
async fn rules_hand_on_the_group_the_client_and_headers_fit_for_any_target() {
    let web = group_of("web", &["one"]);
    let seen = Arc::new(Mutex::new(None));
    let below = service_fn({
        let seen = Arc::clone(&seen);
        move |routed: Routed| {
            *seen.lock().unwrap() = Some(routed);
            async { ok() }
        }
    });
    let rules = RulesLayer::new(RuleTable::forward_to(&web)).layer(below);
    let mut request = Request::post("/a?b")
        .header("host", "a.test")
        .header("connection", "x-mine")
        .header("x-mine", "1")
        .header("x-forwarded-for", "203.0.113.9")
        .body(http_body_util::Full::new(&b"hello"[..]))
        .unwrap();
    request.extensions_mut().insert(peer());
    rules.oneshot(request).await.unwrap();

    let mut routed = seen.lock().unwrap().take().unwrap();
    assert_eq!((routed.rule(), routed.group(), routed.peer()), (DEFAULT, &web, Some(&peer())));
    assert_eq!(routed.request().uri(), "/a?b");
    let headers = routed.request().headers();
    assert!(!headers.contains_key("connection") && !headers.contains_key("x-mine"));
    assert_eq!(headers["x-forwarded-for"], "203.0.113.9, 192.0.2.1");
    let body = std::mem::take(routed.request_mut().body_mut());
    assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
}

/// Reads a session from one header and writes it to another.
#[derive(Debug)]
struct InHeader;

impl Stickiness for InHeader {
    fn recall(&self, _: &GroupName, head: &Head<'_>, now: SystemTime) -> Session {
        let target = head.headers.get("session").and_then(|target| target.to_str().ok());
        match target {
            Some(target) => Session::new(target.into(), now).with_memo(format!("had {target}")),
            None => Session::default(),
        }
    }

    fn remember(
        &self,
        group: &GroupName,
        session: &Session,
        target: &TargetId,
        headers: &mut HeaderMap,
        _: SystemTime,
    ) {
        let text = format!("{group} {target} ({})", session.memo());
        headers.insert("session", text.parse().unwrap());
    }
}

#[tokio::test]
async fn sticky_asks_for_the_target_a_client_had_and_tells_it_which_answered() {
    let web = group("web").stickiness(InHeader).build().unwrap();
    // Another one answers than was asked for.
    let below = service_fn(|routed: Routed| async move {
        let prefer = routed.prefer().map(ToString::to_string).unwrap_or_default();
        let mut response = Response::new(Body::from(prefer));
        let served = Served::by_target(routed.rule(), routed.group().name().clone(), "two".into());
        response.extensions_mut().insert(served);
        Ok::<_, Error>(response)
    });
    let sticky = StickyLayer::new().layer(below);
    let ask = async |session: Option<&str>, prefer: &str, told: &str| {
        let mut request = get("/");
        if let Some(session) = session {
            request.headers_mut().insert("session", session.parse().unwrap());
        }
        let routed = Routed::new(request, DEFAULT, web.clone());
        let response = sticky.oneshot(routed).await.unwrap();
        assert_eq!(response.headers()["session"], told);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), prefer);
    };
    ask(Some("one"), "one", "web two (had one)").await;
    ask(None, "", "web two ()").await;
}

#[tokio::test]
async fn sticky_says_nothing_when_no_target_answered() {
    let web = group("web").stickiness(InHeader).build().unwrap();
    let sticky = StickyLayer::new().layer(service_fn(|_: Routed| async { ok() }));
    let response = sticky.oneshot(Routed::new(get("/"), DEFAULT, web)).await.unwrap();
    assert!(response.headers().is_empty());
}

/// What each attempt of a request saw: the targets tried before it, and the one preferred.
type Attempts = Arc<Mutex<Vec<(Vec<String>, Option<String>)>>>;

/// Fails with what `error` makes of the number of the attempt, and keeps the request unsent.
fn failing(
    error: impl Fn(usize) -> Error + Clone + Send + 'static,
) -> (Attempts, impl Stage<Routed> + Clone) {
    let attempts = Attempts::default();
    let below = service_fn({
        let attempts = Arc::clone(&attempts);
        move |mut routed: Routed| {
            let mut attempts = attempts.lock().unwrap();
            let tried = routed.tried().iter().map(ToString::to_string).collect();
            attempts.push((tried, routed.prefer().map(ToString::to_string)));
            let number = attempts.len();
            let request = std::mem::take(routed.request_mut());
            assert_eq!(request.uri(), "/kept");
            let target = TargetId::from(format!("target {number}"));
            let error = error(number).with_target(target).with_unsent(request);
            async { Err::<Response<Body>, _>(error) }
        }
    });
    (attempts, below)
}

async fn retried(below: impl Stage<Routed> + Clone) -> Error {
    let web = group("web").build().unwrap();
    let routed = Routed::new(get("/kept"), DEFAULT, web).with_prefer(Some("mine".into()));
    RetryLayer::new().layer(below).oneshot(routed).await.unwrap_err()
}

#[tokio::test]
async fn an_unsent_request_is_offered_to_three_targets_and_the_first_error_stands() {
    let (attempts, below) = failing(|number| Error::new(Kind::Connect, format!("no {number}")));
    let error = retried(below).await;
    assert_eq!(error.to_string(), "no connection to the target: no 1");
    let attempts = attempts.lock().unwrap();
    let tried = |tried: &[&str]| tried.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        *attempts,
        [
            (vec![], Some("mine".into())),
            (tried(&["target 1"]), None),
            (tried(&["target 1", "target 2"]), None),
        ]
    );
}

#[tokio::test]
async fn what_says_more_than_that_nothing_was_sent_stands() {
    let check = async |kind: Kind, expected: Kind| {
        let (attempts, below) =
            failing(move |number| if number == 1 { Kind::Connect.into() } else { kind.into() });
        assert_eq!(retried(below).await.kind(), expected, "{kind:?}");
        assert_eq!(attempts.lock().unwrap().len(), 3);
    };
    check(Kind::NoTarget, Kind::Connect).await;
    check(Kind::Saturated, Kind::Connect).await;
    check(Kind::Exhausted, Kind::Connect).await;
    check(Kind::ConnectTimeout, Kind::Connect).await;
    check(Kind::Exchange, Kind::Exchange).await;
    check(Kind::AnswerTimeout, Kind::AnswerTimeout).await;
    check(Kind::Panicked, Kind::Panicked).await;
}

#[tokio::test]
async fn a_request_that_may_have_been_sent_is_not_offered_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let below = service_fn({
        let calls = Arc::clone(&calls);
        move |_: Routed| {
            calls.fetch_add(1, Ordering::SeqCst);
            async { Err::<Response<Body>, _>(Error::from(Kind::Exchange).with_target("a".into())) }
        }
    });
    assert_eq!(retried(below).await.kind(), Kind::Exchange);
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn select_picks_and_counts_from_there_on() {
    let web = group_of("web", &["one", "two"]);
    let select = SelectLayer::new().layer(service_fn({
        let web = web.clone();
        move |assigned: Assigned| {
            assert_eq!(web.status().in_flight(), 1);
            assert_eq!((assigned.rule(), &**assigned.group()), (DEFAULT, "web"));
            assert_eq!(assigned.peer(), Some(&peer()));
            let target = assigned.member().id().to_string();
            async move { Ok::<_, Error>(Response::new(Body::from(target))) }
        }
    }));
    let ask = async |routed: Routed| {
        let response = select.clone().oneshot(routed).await?;
        let target = response.into_body().collect().await.unwrap().to_bytes();
        Ok::<_, Error>(String::from_utf8(target.into()).unwrap())
    };
    let routed = || Routed::new(get("/"), DEFAULT, web.clone()).with_peer(Some(peer()));
    assert_eq!(ask(routed()).await.unwrap(), "one");
    assert_eq!(ask(routed()).await.unwrap(), "two");
    assert_eq!(ask(routed().with_prefer(Some("two".into()))).await.unwrap(), "two");
    assert_eq!(ask(routed().with_tried(vec!["one".into()])).await.unwrap(), "two");
    let tried = vec!["one".into(), "two".into()];
    let error = ask(routed().with_tried(tried)).await.unwrap_err();
    assert_eq!((error.kind(), error.rule()), (Kind::NoTarget, Some(DEFAULT)));
    assert_eq!(error.group(), Some(&"web".into()));
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn health_says_what_counts_against_a_target() {
    let web = group_of("web", &["one"]);
    let below = service_fn(|mut assigned: Assigned| async move {
        assigned.lease_mut().answered(StatusCode::SERVICE_UNAVAILABLE);
        ok()
    });
    below.oneshot(assigned(&web)).await.unwrap();
    assert_eq!(web.status().targets[0].failed, 0);
    HealthLayer::new().layer(below).oneshot(assigned(&web)).await.unwrap();
    assert_eq!(web.status().targets[0].failed, 1);
}

#[tokio::test]
async fn forward_says_who_served_and_hides_what_a_balancer_behind_it_said() {
    let web = group("web").build().unwrap();
    web.register(answering("one", |_| async {
        let mut response = with_status(201, "made");
        response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        response.extensions_mut().insert(Error::from(Kind::NoTarget));
        let inner = Served::by_target(DEFAULT, "inner".into(), "inner".into());
        response.extensions_mut().insert(inner);
        response
    }));
    let assigned = assigned(&web).with_fail_open(true);
    let response = Forward::new().oneshot(assigned).await.unwrap();
    assert_eq!(response.status(), 201);
    assert!(!response.headers().contains_key("connection"));
    assert!(response.extensions().get::<Error>().is_none());
    let mut served = Served::by_target(DEFAULT, "web".into(), "one".into());
    served.fail_open = true;
    assert_eq!(response.extensions().get(), Some(&served));
    assert_eq!(web.status().in_flight(), 1, "the exchange lasts as long as the body");
    drop(response);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn forward_names_rule_group_and_target_in_its_errors() {
    let web = group("web").build().unwrap();
    web.register(Target::service(
        "one",
        service_fn(|_: Request<Body>| async { Err::<Response<Body>, _>("out of order") }),
    ));
    let error = Forward::new().oneshot(assigned(&web)).await.unwrap_err();
    assert_eq!((error.kind(), error.rule()), (Kind::Other, Some(DEFAULT)));
    assert_eq!((error.group(), error.target()), (Some(&"web".into()), Some(&"one".into())));
    assert_eq!(error.to_string(), "a service failed: out of order");
    assert_eq!(web.status().in_flight(), 0);
}

/// All floors by hand, with `between` before the last one.
macro_rules! stack {
    ($group:expr $(, $method:ident($layer:expr))*) => {
        ServiceBuilder::new()
            .layer(RespondLayer::new())
            .layer(RulesLayer::new(RuleTable::forward_to($group)))
            .layer(StickyLayer::new())
            .layer(RetryLayer::new())
            .layer(SelectLayer::new())
            .layer(HealthLayer::new())
            $(.$method($layer))*
            .service(Forward::new())
    };
}

#[tokio::test]
async fn all_floors_by_hand_are_a_balancer() {
    let web = group_of("web", &["one", "two"]);
    let stack = stack!(&web);
    assert_eq!(fetch(&stack).await, (200, "one".into()));
    assert_eq!(fetch(&stack).await, (200, "two".into()));
}

#[tokio::test]
async fn a_concurrency_limit_may_stand_between_floors() {
    let web = group_of("web", &[]);
    let (release, released) = tokio::sync::watch::channel(false);
    web.register(answering("one", move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            Response::new(Body::from("one"))
        }
    }));
    let stack = stack!(&web, layer(ConcurrencyLimitLayer::new(1)));
    let first = tokio::spawn({
        let stack = stack.clone();
        async move { fetch(&stack).await }
    });
    settle().await;
    let second = tokio::spawn({
        let stack = stack.clone();
        async move { fetch(&stack).await }
    });
    settle().await;
    assert_eq!(web.status().in_flight(), 1, "the second waits above the floor that counts");
    release.send_replace(true);
    assert_eq!(first.await.unwrap(), (200, "one".into()));
    assert_eq!(second.await.unwrap(), (200, "one".into()));
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_between_floors_is_504() {
    let web = group_of("web", &[]);
    web.register(silent("silent"));
    let stack = stack!(&web, map_err(Error::from), layer(TimeoutLayer::new(secs(3))));
    let started = tokio::time::Instant::now();
    let answer = send(&stack, get("/")).await;
    assert_eq!((answer.status, answer.text()), (504, "504 Gateway Timeout\n"));
    assert_eq!(started.elapsed(), secs(3));
    assert_eq!(web.status().in_flight(), 0);
    // It is to the lease as if the client had left.
    assert_eq!((web.status().targets[0].answered, web.status().targets[0].failed), (0, 0));
}

#[tokio::test]
async fn an_unsent_request_survives_the_trip_through_the_timeout_of_others() {
    let check = async |dead: Target| {
        let web = group_of("web", &[]);
        web.register(dead);
        web.register(answering("echo", |request| async {
            assert_eq!(request.uri(), "/kept?whole");
            assert_eq!(request.headers()["x-kept"], "1");
            Response::new(request.into_body())
        }));
        let stack = stack!(&web, map_err(Error::from), layer(TimeoutLayer::new(secs(20))));
        for _ in 0..4 {
            let request = Request::post("/kept?whole").header("x-kept", "1");
            let answer = send(&stack, request.body(Body::from("all of it")).unwrap()).await;
            assert_eq!((answer.status, answer.text()), (200, "all of it"));
            assert_eq!(answer.target(), "echo");
        }
        // A request takes two turns, so each comes to the dead one first.
        assert_eq!(web.status().targets[0].failed, 4);
        assert_eq!(web.status().in_flight(), 0);
    };
    check(Target::service(
        "dead",
        service_fn(|request: Request<Body>| async {
            Err::<Response<Body>, _>(Error::from(Kind::Connect).with_unsent(request))
        }),
    ))
    .await;
    let refusing = Refusing::new();
    check(Target::new(refusing.address)).await;
}

#[tokio::test]
async fn load_that_is_shed_between_floors_is_503() {
    let web = group_of("web", &[]);
    web.register(endless("one"));
    web.register(silent("two"));
    let stack = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(RulesLayer::new(RuleTable::forward_to(&web)))
        .map_err(Error::from)
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(SelectLayer::new())
        .service(Forward::new());
    // The first has its head, and with it its place is free again.
    let first = stack.clone().oneshot(get("/")).await.unwrap();
    assert_eq!(first.status(), 200);
    let second = tokio::spawn(stack.clone().oneshot(get("/")));
    settle().await;
    assert_eq!(web.status().in_flight(), 2);
    let answer = send(&stack, get("/")).await;
    assert_eq!((answer.status, answer.text()), (503, "503 Service Unavailable\n"));
    assert_eq!(web.status().in_flight(), 2);
    second.abort();
    settle().await;
    drop(first);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn a_request_may_be_changed_between_floors() {
    let web = group_of("web", &[]);
    web.register(answering("one", |request| async move {
        let text = format!("{} {:?}", request.uri(), request.headers()["x-target"]);
        Response::new(Body::from(text))
    }));
    let stack = stack!(
        &web,
        map_request(|mut assigned: Assigned| {
            let target = assigned.member().id().parse().unwrap();
            let request = assigned.request_mut();
            request.headers_mut().insert("x-target", target);
            *request.uri_mut() = format!("/v2{}", request.uri()).parse().unwrap();
            assigned
        })
    );
    assert_eq!(fetch(&stack).await, (200, "/v2/ \"one\"".into()));
}

#[tokio::test]
async fn a_request_may_be_changed_before_its_target_is_picked() {
    let web = group_of("web", &["one", "two"]);
    let stack = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(RulesLayer::new(RuleTable::forward_to(&web)))
        .map_request(|routed: Routed| routed.with_prefer(Some("two".into())))
        .layer(SelectLayer::new())
        .service(Forward::new());
    for _ in 0..3 {
        assert_eq!(fetch(&stack).await, (200, "two".into()));
    }
}

#[tokio::test]
async fn a_target_that_came_later_is_found_by_a_stack_made_before() {
    let web = group_of("web", &[]);
    let stack = stack!(&web);
    assert_eq!(fetch(&stack).await.0, 503);
    web.register(named("late"));
    assert_eq!(fetch(&stack).await, (200, "late".into()));
}
