//! A deregistered target gets nothing new, finishes what it has, and is cut when its time is over.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use pointsman::{
    Body, HealthCheck, Target, TargetGroup,
    body::BodyError,
    endpoint::Transport,
    error::Kind,
    head::Head,
    health::{Reason, State},
    id::RuleId,
    layer::{Assigned, Forward},
};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

use crate::support::{
    Script, answering, balancer, chunk, counts, endless, fetch, get, group, named, secs, send,
    settle, silent, state, until,
};

/// A group that lets its targets go after 40 seconds, before any other timeout.
fn draining(targets: &[Target]) -> TargetGroup {
    let web = group("web").deregistration_delay(secs(40)).build().unwrap();
    targets.iter().cloned().for_each(|target| web.register(target));
    web
}

/// Sends a request and returns the answer's body after its first chunk.
async fn first_chunk(web: &TargetGroup) -> Body {
    let mut body = balancer(web).oneshot(get("/")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "first");
    body
}

async fn cut(body: &mut Body) {
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&BodyError::Cut));
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_draining_target_gets_no_new_request() {
    let web = draining(&[named("one"), named("two")]);
    assert!(web.deregister("one"));
    let balancer = balancer(&web);
    for _ in 0..4 {
        assert_eq!(fetch(&balancer).await, (200, "two".into()));
    }
    // Not even that of a client whose session it has.
    let request = get("/");
    let picked = web.assign(&Head::of(&request, None), Some(&"one".into()), &[]).unwrap();
    assert_eq!(picked.member.id(), "two");
    web.deregister("two");
    let answer = send(&balancer, get("/")).await;
    assert_eq!(
        answer.error.unwrap().kind(),
        Kind::NoTarget,
        "there is no fail-open to the leaving"
    );
}

#[tokio::test(start_paused = true)]
async fn a_draining_target_is_seen_until_its_time_is_over() {
    let web = draining(&[named("one"), named("two")]);
    web.deregister("one");
    let target = web.status().target("one").unwrap().clone();
    assert_eq!(target.state, State::Draining);
    assert_eq!(target.reason, Some(Reason::DeregistrationInProgress));
    assert_eq!(web.status().healthy(), 1);
    tokio::time::advance(secs(39)).await;
    assert_eq!(state(&web, "one"), State::Draining);
    assert!(!web.deregister("one"), "it is leaving already");
    tokio::time::advance(secs(1)).await;
    assert!(web.status().target("one").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_goes_on_while_its_target_drains() {
    let slow = answering("slow", |_| async {
        tokio::time::sleep(secs(10)).await;
        let chunks = futures_util::stream::iter(["a", "b"]);
        let chunks = futures_util::StreamExt::then(chunks, |text| async move {
            tokio::time::sleep(secs(10)).await;
            chunk(text)
        });
        Response::new(Body::new(http_body_util::StreamBody::new(chunks)))
    });
    let web = draining(&[slow]);
    let request = tokio::spawn({
        let balancer = balancer(&web);
        async move { fetch(&balancer).await }
    });
    settle().await;
    web.deregister("slow");
    assert_eq!(web.status().in_flight(), 1);
    assert_eq!(request.await.unwrap(), (200, "ab".into()));
    assert_eq!(counts(&web.status(), "slow"), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_draining_target_has_no_more_time_to_answer_than_any() {
    let web = draining(&[silent("silent")]);
    let started = Instant::now();
    let request = tokio::spawn(balancer(&web).oneshot(get("/")));
    tokio::time::sleep(secs(30)).await;
    web.deregister("silent");
    let response = request.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), started.elapsed()), (504, secs(60)));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_502_at_the_end_of_the_delay() {
    let web = group("web").deregistration_delay(secs(20)).build().unwrap();
    web.register(silent("silent"));
    let request = tokio::spawn({
        let balancer = balancer(&web);
        async move { send(&balancer, get("/")).await }
    });
    settle().await;
    let load = {
        let request = get("/");
        let picked = web.assign(&Head::of(&request, None), None, &[]).unwrap();
        std::sync::Arc::clone(picked.member.load())
    };
    let deregistered = Instant::now();
    web.deregister("silent");
    let answer = request.await.unwrap();
    assert_eq!((answer.status, answer.text()), (502, "502 Bad Gateway\n"));
    let error = answer.error.unwrap();
    assert_eq!((error.kind(), error.target()), (Kind::Cut, Some(&"silent".into())));
    assert_eq!(deregistered.elapsed(), secs(20));
    // It is no fault of the target's.
    assert_eq!((load.in_flight(), load.answered(), load.failed()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_being_read_is_cut_when_time_is_over() {
    let web = draining(&[endless("endless")]);
    let mut body = first_chunk(&web).await;
    let deregistered = Instant::now();
    let reading = tokio::spawn(async move {
        cut(&mut body).await;
        deregistered.elapsed()
    });
    settle().await;
    web.deregister("endless");
    assert_eq!(reading.await.unwrap(), secs(40));
    assert_eq!(web.status().in_flight(), 0);
}

/// Waits until nothing is in flight at the target, and looks when that was.
async fn gone(load: &pointsman::lease::Load) -> Instant {
    // Time moves when all tasks wait.
    let started = Instant::now();
    while load.in_flight() > 0 {
        assert!(started.elapsed() < secs(3600), "never");
        tokio::time::sleep(secs(1)).await;
        settle().await;
    }
    Instant::now()
}

/// A body nobody reads, and the load it counts in.
async fn unread(web: &TargetGroup) -> (Body, std::sync::Arc<pointsman::lease::Load>) {
    let body = first_chunk(web).await;
    let request = get("/");
    let picked = web.assign(&Head::of(&request, None), None, &[]).unwrap();
    assert_eq!(picked.member.load().in_flight(), 2);
    (body, std::sync::Arc::clone(picked.member.load()))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_cut_when_time_is_over() {
    let web = draining(&[endless("endless")]);
    let (mut body, load) = unread(&web).await;
    let deregistered = Instant::now();
    web.deregister("endless");
    assert_eq!(gone(&load).await - deregistered, secs(40));
    assert_eq!((load.answered(), load.failed()), (0, 0));
    cut(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_is_cut_though_its_target_was_deregistered_outside_a_runtime() {
    let web = draining(&[endless("endless")]);
    let (mut body, load) = unread(&web).await;
    let deregistered = Instant::now();
    let outside = std::thread::spawn({
        let web = web.clone();
        // There the clock is the system's, so no time may pass.
        move || web.deregister("endless")
    });
    assert!(outside.join().unwrap());
    let lasted = gone(&load).await - deregistered;
    assert!(lasted >= secs(40) && lasted <= secs(41), "{lasted:?}");
    cut(&mut body).await;
}

#[tokio::test]
async fn a_body_is_cut_though_its_target_was_deregistered_in_a_runtime_that_ended() {
    let web = group("web").deregistration_delay(Duration::from_millis(50)).build().unwrap();
    web.register(endless("endless"));
    let (mut body, load) = unread(&web).await;
    let other = std::thread::spawn({
        let web = web.clone();
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async { web.deregister("endless") })
        }
    });
    assert!(other.join().unwrap());
    until("nothing is in flight", || load.in_flight() == 0).await;
    cut(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_is_cut_though_its_service_was_replaced_under_its_id() {
    let web = draining(&[endless("endless")]);
    let (mut body, load) = unread(&web).await;
    web.register(named("endless"));
    web.register(Target::new("127.0.0.1:9".parse().unwrap()).with_id("endless"));
    let deregistered = Instant::now();
    web.deregister("endless");
    assert_eq!(gone(&load).await - deregistered, secs(40));
    cut(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_began_after_its_target_was_deregistered_is_cut_too() {
    let web = draining(&[endless("endless")]);
    // A request that was picked by the snapshot before, and counts only now.
    let request = get("/");
    let picked = web.assign(&Head::of(&request, None), None, &[]).unwrap();
    let (member, load) = (picked.member, std::sync::Arc::clone(picked.lease.load()));
    drop(picked.lease);
    let deregistered = Instant::now();
    web.deregister("endless");
    settle().await;
    let lease = load.begin(None).unwrap();
    let assigned = Assigned::new(request, RuleId::Default, web.name().clone(), member, lease);
    let response = Forward::new().oneshot(assigned).await.unwrap();
    assert_eq!(gone(&load).await - deregistered, secs(40));
    cut(&mut response.into_body()).await;
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_registered_again_in_time_goes_on_as_before() {
    let target = endless("endless");
    let web = draining(std::slice::from_ref(&target));
    drop(first_chunk(&web).await);
    let (mut body, load) = unread(&web).await;
    let pending = tokio::spawn(async move { body.frame().await.map(drop) });
    web.deregister("endless");
    tokio::time::sleep(secs(39)).await;
    web.register(target.clone().weight(2).unwrap());
    let status = web.status().target("endless").unwrap().clone();
    assert_eq!((status.state, status.weight, status.in_flight), (State::Healthy, 2, 1));
    tokio::time::sleep(secs(600)).await;
    assert_eq!(load.in_flight(), 0, "the target's own idle timeout");
    assert!(pending.is_finished());

    // And what begins now is cut by the next deadline.
    let (mut body, load) = unread(&web).await;
    web.deregister("endless");
    tokio::time::sleep(secs(30)).await;
    web.register(target);
    web.deregister("endless");
    let deregistered = Instant::now();
    assert_eq!(gone(&load).await - deregistered, secs(40));
    cut(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn settings_that_change_while_a_target_drains_hold_when_it_comes_back() {
    let script = Script::failing(&["silent"]);
    let checked = || {
        let check = HealthCheck::probe(script.clone()).unhealthy_threshold(1);
        group("web").health_check(check).deregistration_delay(secs(40))
    };
    let target = silent("silent");
    let web = checked().build().unwrap();
    web.register(target.clone());
    let balancer = balancer(&web);
    settle().await;
    assert_eq!(state(&web, "silent"), State::Unhealthy);
    web.deregister("silent");
    // Nobody would ever find it healthy again.
    let transport = Transport::new().answer_timeout(secs(7));
    web.reconfigure(group("web").transport(transport)).unwrap();
    web.register(target.clone());
    assert_eq!(state(&web, "silent"), State::Healthy);
    let started = Instant::now();
    assert_eq!(send(&balancer, get("/")).await.status, 504);
    assert_eq!(started.elapsed(), secs(7));
    // And the other way round.
    web.deregister("silent");
    web.reconfigure(checked()).unwrap();
    web.register(target);
    assert_eq!(state(&web, "silent"), State::Initial);
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_cut_though_the_settings_changed() {
    let web = draining(&[endless("endless")]);
    let (mut body, load) = unread(&web).await;
    web.reconfigure(group("web").transport(Transport::new().answer_timeout(secs(7)))).unwrap();
    web.reconfigure(group("web").deregistration_delay(secs(40))).unwrap();
    let deregistered = Instant::now();
    web.deregister("endless");
    assert_eq!(gone(&load).await - deregistered, secs(40));
    cut(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn a_revived_target_cuts_nothing() {
    let target = silent("silent");
    let transport = Transport::new().answer_timeout(Duration::MAX);
    let web = group("web").deregistration_delay(secs(60)).transport(transport).build().unwrap();
    web.register(target.clone());
    let request = tokio::spawn(balancer(&web).oneshot(get("/")));
    settle().await;
    web.deregister("silent");
    tokio::time::sleep(secs(59)).await;
    web.register(target.clone());
    assert_eq!(counts(&web.status(), "silent"), (1, 0, 0), "with its counts");
    tokio::time::sleep(secs(3600)).await;
    assert!(!request.is_finished());
    web.deregister("silent");
    assert_eq!(request.await.unwrap().unwrap().status(), 502);
    // After its time it is another target.
    web.register(target);
    assert_eq!(counts(&web.status(), "silent"), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_all_is_cut_at_once() {
    let web = group("web").deregistration_delay(Duration::ZERO).build().unwrap();
    web.register(silent("silent"));
    let request = tokio::spawn(balancer(&web).oneshot(get("/")));
    settle().await;
    let started = Instant::now();
    web.deregister("silent");
    assert!(web.status().targets.is_empty());
    assert_eq!(request.await.unwrap().unwrap().status(), 502);

    web.register(endless("endless"));
    let (mut unread, load) = unread(&web).await;
    let mut read = first_chunk(&web).await;
    let reading = tokio::spawn(async move { cut(&mut read).await });
    settle().await;
    web.deregister("endless");
    settle().await;
    assert_eq!(load.in_flight(), 0);
    reading.await.unwrap();
    cut(&mut unread).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn draining_leaves_no_task_behind() {
    let web = draining(&[endless("endless"), named("named")]);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut balancer = balancer(&web);
    let bodies = futures_util::future::join_all((0..4).map(|_| balancer.call(get("/")))).await;
    assert_eq!(tasks(), before, "nothing is watched while nothing drains");
    web.set_targets([]);
    assert!(tasks() > before);
    tokio::time::sleep(secs(40)).await;
    settle().await;
    assert_eq!(tasks(), before);
    drop(bodies);
    // Nothing is in flight, so there is nothing to wait for.
    web.register(named("idle"));
    fetch(&balancer).await;
    web.set_targets([]);
    assert_eq!(tasks(), before);
}
