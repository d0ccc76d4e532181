//! What checks find out, when they are made, and who is told.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, Request, Response, Uri};
use pointsman::{
    Body, HealthCheck, LoadBalancer, Target, TargetGroup,
    group::HealthChange,
    health::{Failure, Reason, State},
};
use tokio::{sync::watch, time::Instant};
use tower::{service_fn, util::BoxCloneSyncService};
use tracing::Level;

use crate::support::{
    Events, Finding, Script, answering, balancer, exhausted, fetch, group, group_of, named, secs,
    settle, silent, state, with_status,
};

/// A group in use, with this check.
fn checked(check: HealthCheck, targets: &[Target]) -> (TargetGroup, LoadBalancer) {
    let web = group("web").health_check(check).build().unwrap();
    targets.iter().cloned().for_each(|target| web.register(target));
    let balancer = balancer(&web);
    (web, balancer)
}

/// A check by script every ten seconds, where one result is enough to turn a target.
fn scripted(script: &Script) -> HealthCheck {
    let check = HealthCheck::probe(script.clone()).interval(secs(10));
    check.healthy_threshold(1).unhealthy_threshold(1)
}

fn verdict(group: &TargetGroup, target: &str) -> (State, Option<Reason>, Option<String>) {
    let status = group.status();
    let target = status.target(target).unwrap();
    (target.state, target.reason, target.description.as_deref().map(ToOwned::to_owned))
}

#[tokio::test(start_paused = true)]
async fn vector_19_a_first_good_check_makes_a_new_target_healthy_at_once() {
    let check = HealthCheck::http("/health").healthy_threshold(10);
    let (web, _balancer) = checked(check, &[named("one")]);
    let (state, reason, _) = verdict(&web, "one");
    assert_eq!((state, reason), (State::Initial, Some(Reason::RegistrationInProgress)));
    let started = Instant::now();
    web.until_healthy(1).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert_eq!(verdict(&web, "one"), (State::Healthy, None, None));
}

#[tokio::test(start_paused = true)]
async fn vector_20_one_failure_of_two_leaves_a_target_healthy() {
    let script = Script::well();
    let check = HealthCheck::probe(script.clone()).interval(secs(10)).unhealthy_threshold(2);
    let (web, _balancer) = checked(check, &[named("one")]);
    web.until_healthy(1).await;
    script.finds("one", Finding::Fails("ill"));
    tokio::time::sleep(secs(12)).await;
    assert_eq!(script.count(), 2);
    assert_eq!(verdict(&web, "one"), (State::Healthy, None, None));
    tokio::time::sleep(secs(10)).await;
    let ill = (State::Unhealthy, Some(Reason::FailedHealthChecks), Some("ill".into()));
    assert_eq!(verdict(&web, "one"), ill);
}

#[tokio::test(start_paused = true)]
async fn a_target_recovers_after_so_many_good_checks_in_a_row() {
    let script = Script::failing(&["one"]);
    let check = scripted(&script).healthy_threshold(3);
    let (web, _balancer) = checked(check, &[named("one")]);
    settle().await;
    assert_eq!(state(&web, "one"), State::Unhealthy);
    let states = async |findings: [Finding; 6]| {
        let mut states = Vec::new();
        for finding in findings {
            script.finds("one", finding);
            let before = script.count();
            while script.count() == before {
                tokio::time::sleep(secs(1)).await;
            }
            settle().await;
            states.push(state(&web, "one") == State::Healthy);
        }
        states
    };
    let (well, ill) = (|| Finding::Well, || Finding::Fails("ill"));
    let findings = [well(), well(), ill(), well(), well(), well()];
    assert_eq!(states(findings).await, [false, false, false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_this_machine_cannot_make_says_nothing_of_the_target() {
    let events = Events::capture();
    let script = Script::failing(&["ill"]);
    let check = scripted(&script).healthy_threshold(2).unhealthy_threshold(2);
    let (web, _balancer) = checked(check, &[named("well"), named("ill")]);
    tokio::time::sleep(secs(12)).await;
    let states = || [state(&web, "well"), state(&web, "ill")];
    assert_eq!(states(), [State::Healthy, State::Unhealthy]);

    // Each gets one of the two that turn it; what comes then does not count.
    script.finds("well", Finding::Fails("ill"));
    script.finds("ill", Finding::Well);
    tokio::time::sleep(secs(12)).await;
    ["well", "ill", "new", "newer"].iter().for_each(|id| script.finds(id, Finding::CannotAsk));
    let count = script.count();
    events.take();
    ["new", "newer"].into_iter().for_each(|id| web.register(named(id)));
    settle().await;
    let told = events.take_of("targets could not be checked");
    let told = told.iter().map(|told| (told.level, told.field("targets"), told.field("cause")));
    let cause = "no port or descriptor left to reach the target: too many open files";
    assert_eq!(told.collect::<Vec<_>>(), [(Level::WARN, Some("2"), Some(cause))]);
    tokio::time::sleep(secs(60)).await;
    assert!(script.count() > count + 12, "it is tried again and again");
    assert_eq!(states(), [State::Healthy, State::Unhealthy]);
    assert_eq!(state(&web, "new"), State::Initial);
    assert!(!events.take_of("targets could not be checked").is_empty());
    assert!(events.take().is_empty());

    let after_one_more = async |id: &str, finding| {
        script.finds(id, finding);
        let asked = script.asked(id).len();
        while script.asked(id).len() == asked {
            tokio::time::sleep(secs(1)).await;
        }
        settle().await;
        state(&web, id)
    };
    assert_eq!(after_one_more("well", Finding::Fails("ill")).await, State::Unhealthy);
    assert_eq!(after_one_more("ill", Finding::Well).await, State::Healthy);
    assert_eq!(after_one_more("new", Finding::Well).await, State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn an_http_check_that_this_machine_cannot_make_says_nothing_either() {
    let is_lacking = Arc::new(AtomicU16::new(0));
    let target = {
        let is_lacking = Arc::clone(&is_lacking);
        Target::service(
            "one",
            service_fn(move |_: Request<Body>| {
                let is_lacking = is_lacking.load(Relaxed) > 0;
                async move {
                    if is_lacking { Err(exhausted()) } else { Ok(Response::new(Body::default())) }
                }
            }),
        )
    };
    let check = HealthCheck::http("/").interval(secs(10)).unhealthy_threshold(1);
    let (web, _balancer) = checked(check, &[target]);
    web.until_healthy(1).await;
    is_lacking.store(1, Relaxed);
    tokio::time::sleep(secs(60)).await;
    assert_eq!(state(&web, "one"), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn first_checks_are_made_at_once_and_later_ones_at_the_interval_give_or_take_a_tenth() {
    let script = Script::well();
    let ids = (0..20).map(|number| format!("target {number}")).collect::<Vec<_>>();
    let targets = ids.iter().map(|id| named("any").with_id(&**id)).collect::<Vec<_>>();
    let check = HealthCheck::probe(script.clone()).interval(secs(30));
    let (web, _balancer) = checked(check, &targets);
    let started = Instant::now();
    web.until_healthy(20).await;
    tokio::time::sleep(secs(300)).await;
    let mut gaps = HashSet::new();
    for id in &ids {
        let asked = script.asked(id);
        assert_eq!(asked[0], started);
        assert!((9..=11).contains(&(asked.len() - 1)), "{}", asked.len());
        for pair in asked.windows(2) {
            let gap = pair[1] - pair[0];
            // Timers have whole milliseconds.
            let allowed = secs(27)..=secs(33) + Duration::from_millis(2);
            assert!(allowed.contains(&gap), "{gap:?}");
            gaps.insert(gap.as_millis());
        }
    }
    assert!(gaps.len() > 100, "they spread: {}", gaps.len());
    let (low, high) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*low < 28_000 && *high > 32_000, "{low} to {high}");
}

#[tokio::test(start_paused = true)]
async fn a_target_registered_later_is_checked_at_once() {
    let script = Script::well();
    let (web, _balancer) = checked(scripted(&script), &[named("one")]);
    tokio::time::sleep(secs(5)).await;
    web.register(named("two"));
    let registered = Instant::now();
    settle().await;
    assert_eq!(script.asked("two"), [registered]);
    assert_eq!(state(&web, "two"), State::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_draining_target_is_not_checked_and_one_that_comes_back_is_at_once() {
    let script = Script::well();
    let one = named("one");
    let (web, _balancer) = checked(scripted(&script), std::slice::from_ref(&one));
    settle().await;
    web.deregister("one");
    tokio::time::sleep(secs(60)).await;
    assert_eq!(script.count(), 1);
    web.register(one);
    let back = Instant::now();
    assert_eq!(state(&web, "one"), State::Healthy);
    settle().await;
    assert_eq!(script.asked("one")[1..], [back]);
}

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_a_probe_has_its_reason_and_words() {
    let check = async |finding: Finding, reason: Reason, description: &str| {
        let script = Script::well();
        script.finds("one", finding);
        let (web, _balancer) = checked(scripted(&script), &[named("one")]);
        // The default timeout.
        tokio::time::sleep(secs(5)).await;
        settle().await;
        let expected = (State::Unhealthy, Some(reason), Some(description.to_owned()));
        assert_eq!(verdict(&web, "one"), expected);
    };
    check(Finding::Fails("too hot"), Reason::FailedHealthChecks, "too hot").await;
    let failure = Failure::new(Reason::ResponseCodeMismatch, "said no");
    check(Finding::FailsWith(failure), Reason::ResponseCodeMismatch, "said no").await;
    check(Finding::Hangs, Reason::Timeout, "the probe took longer than 5s").await;
    let panicked = "the probe panicked: oh";
    check(Finding::Panics("oh"), Reason::InternalError, panicked).await;
    check(Finding::PanicsAtOnce("oh"), Reason::InternalError, panicked).await;
}

type Answering = BoxCloneSyncService<Request<Body>, Response<Body>, tower::BoxError>;

#[tokio::test(start_paused = true)]
async fn each_way_to_fail_a_request_has_its_reason_and_words() {
    let check = async |target: Target, reason: Reason, description: &str| {
        let check = HealthCheck::http("/health?deep=1").unhealthy_threshold(1);
        let (web, _balancer) = checked(check, &[target.with_id("one")]);
        tokio::time::sleep(secs(5)).await;
        settle().await;
        let expected = (State::Unhealthy, Some(reason), Some(description.to_owned()));
        assert_eq!(verdict(&web, "one"), expected);
        let target = &web.status().targets[0];
        assert_eq!((target.in_flight, target.answered, target.failed), (0, 0, 0));
    };
    let asked = "GET /health?deep=1 in this process";
    let answers = |status| answering("one", move |_| async move { with_status(status, "x") });
    let text = format!("{asked} answered 404, expected 200-299");
    check(answers(404), Reason::ResponseCodeMismatch, &text).await;
    let text = format!("{asked} answered 302, expected 200-299");
    check(answers(302), Reason::ResponseCodeMismatch, &text).await;
    let text = format!("{asked}: no answer within 5s");
    check(silent("one"), Reason::Timeout, &text).await;
    let text = format!("{asked}: out of order");
    let failing = Answering::new(service_fn(|_| async { Err("out of order".into()) }));
    check(Target::service("one", failing), Reason::FailedHealthChecks, &text).await;
    let text = format!("{asked}: boom");
    let panicking = Answering::new(service_fn(|_| async { panic!("boom") }));
    check(Target::service("one", panicking), Reason::FailedHealthChecks, &text).await;
}

#[tokio::test(start_paused = true)]
async fn before_it_is_decided_a_new_target_says_what_went_wrong() {
    let script = Script::failing(&["one"]);
    let (web, _balancer) = checked(scripted(&script).unhealthy_threshold(2), &[named("one")]);
    settle().await;
    let deciding =
        (State::Initial, Some(Reason::InitialHealthChecking), Some("not well".to_owned()));
    assert_eq!(verdict(&web, "one"), deciding);
    tokio::time::sleep(secs(12)).await;
    assert_eq!(state(&web, "one"), State::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn a_matcher_says_which_answers_are_good() {
    let answers = |status| answering("one", move |_| async move { with_status(status, "x") });
    for (status, expected) in [(200, State::Unhealthy), (302, State::Healthy)] {
        let check = HealthCheck::http("/").matcher("204,300-399").unhealthy_threshold(1);
        let (web, _balancer) = checked(check, &[answers(status)]);
        settle().await;
        assert_eq!(state(&web, "one"), expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_in_this_process_is_asked_for_what_was_set() {
    let seen = Arc::new(Mutex::new(Vec::<(Uri, HeaderMap)>::new()));
    let target = answering("one", {
        let seen = Arc::clone(&seen);
        move |request| {
            let (uri, headers) = (request.uri().clone(), request.headers().clone());
            seen.lock().unwrap().push((uri, headers));
            async { Response::new(Body::default()) }
        }
    });
    let check = HealthCheck::http("/a?b=1").header("x-one", "1").header("user-agent", "checker");
    let (web, _balancer) = checked(check.clone(), std::slice::from_ref(&target));
    web.until_healthy(1).await;
    let (web, _balancer) = checked(check.host("example.com"), &[target]);
    web.until_healthy(1).await;
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(uri, headers)| {
        uri == "/a?b=1" && headers["x-one"] == "1" && headers["user-agent"] == "checker"
    }));
    let hosts = seen.iter().map(|(_, headers)| headers["host"].to_str().unwrap());
    assert_eq!(hosts.collect::<Vec<_>>(), ["localhost", "example.com"]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_a_good_one_within_the_timeout() {
    let slow = answering("one", |_| async {
        tokio::time::sleep(secs(8)).await;
        Response::new(Body::default())
    });
    let check = HealthCheck::http("/").timeout(secs(9)).unhealthy_threshold(1);
    let (web, _balancer) = checked(check, std::slice::from_ref(&slow));
    tokio::time::sleep(secs(8)).await;
    settle().await;
    assert_eq!(state(&web, "one"), State::Healthy);
    let (web, _balancer) = checked(HealthCheck::http("/").unhealthy_threshold(1), &[slow]);
    tokio::time::sleep(secs(8)).await;
    settle().await;
    assert_eq!(state(&web, "one"), State::Unhealthy);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_slow_to_answer_is_not_asked_again_meanwhile() {
    let script = Script::well();
    script.finds("one", Finding::Hangs);
    let check = scripted(&script).timeout(secs(10));
    let (_web, _balancer) = checked(check, &[named("one")]);
    tokio::time::sleep(secs(1005)).await;
    let asked = script.asked("one");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= secs(10)), "{asked:?}");
    assert!(asked.len() >= 90, "{}", asked.len());
}

#[tokio::test(start_paused = true)]
async fn checks_are_made_side_by_side() {
    let script = Script::well();
    script.finds("dead", Finding::Hangs);
    let (web, _balancer) = checked(scripted(&script), &[named("dead"), named("one")]);
    let started = Instant::now();
    web.until_healthy(1).await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn of_very_many_targets_some_are_checked_at_a_time() {
    let script = Script::well();
    let ids = (0..600).map(|number| format!("target {number}")).collect::<Vec<_>>();
    ids.iter().take(300).for_each(|id| script.finds(id, Finding::Hangs));
    let targets = ids.iter().map(|id| named("any").with_id(&**id)).collect::<Vec<_>>();
    let (web, _balancer) = checked(scripted(&script), &targets);
    settle().await;
    assert_eq!(script.count(), 256, "no more are under way");
    let started = Instant::now();
    web.until_healthy(300).await;
    assert_eq!(started.elapsed(), secs(5), "after the timeout of the first");
    tokio::time::sleep(secs(5)).await;
    settle().await;
    let unhealthy = web.status().targets.into_iter().filter(|t| t.state == State::Unhealthy);
    assert_eq!(unhealthy.count(), 300);
}

#[tokio::test(start_paused = true)]
async fn of_too_many_targets_those_are_checked_first_that_waited_longest() {
    let script = Script::well();
    let ids = (0..600).map(|number| format!("target {number}")).collect::<Vec<_>>();
    ids.iter().for_each(|id| script.finds(id, Finding::Hangs));
    let targets = ids.iter().map(|id| named("any").with_id(&**id)).collect::<Vec<_>>();
    let (_web, _balancer) = checked(scripted(&script).timeout(secs(10)), &targets);
    tokio::time::sleep(secs(35)).await;
    // Four rounds of 256, and the first have been due again in each.
    for id in &ids {
        let asked = script.asked(id).len();
        assert!(asked == 1 || asked == 2, "{id}: {asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_told_in_their_order() {
    let events = Events::capture();
    let script = Script::well();
    let (web, balancer) = checked(scripted(&script), &[named("one")]);
    let (mut changes, mut others) = (web.changes(), web.changes());
    script.finds("two", Finding::FailsWith(Failure::new(Reason::Timeout, "too slow")));
    web.register(named("two"));
    tokio::time::sleep(secs(1)).await;
    script.finds("one", Finding::Fails("gone bad"));
    script.finds("two", Finding::Well);
    tokio::time::sleep(secs(12)).await;

    let mut told = Vec::new();
    while let Some(change) = changes.next().now_or_never().flatten() {
        told.push(change);
    }
    let of = |target: &str| {
        let of = told.iter().filter(|change| change.target == target);
        of.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        of("one"),
        [
            "web one: initial -> healthy: the probe succeeded",
            "web one: healthy -> unhealthy (Target.FailedHealthChecks): gone bad",
        ]
    );
    assert_eq!(
        of("two"),
        [
            "web two: initial -> unhealthy (Target.Timeout): too slow",
            "web two: unhealthy -> healthy: the probe succeeded",
        ]
    );
    let HealthChange { old, new, reason, .. } = told[0];
    assert_eq!((old, new, reason), (State::Initial, State::Healthy, None));
    // Every listener hears all of them.
    for change in &told {
        assert_eq!(others.next().await.as_ref(), Some(change));
    }

    // And each is one event.
    let events = events.take_of("health changed");
    assert_eq!(events.len(), told.len());
    for (event, change) in events.iter().zip(&told) {
        assert_eq!(event.level, Level::INFO);
        assert_eq!(event.field("group"), Some("web"));
        assert_eq!(event.field("target"), Some(&*change.target));
        assert_eq!(event.field("old"), Some(&*change.old.to_string()));
        assert_eq!(event.field("new"), Some(&*change.new.to_string()));
        assert_eq!(event.field("reason"), change.reason.map(|r| r.to_string()).as_deref());
        assert_eq!(event.field("description"), Some(&*change.description));
    }

    // They end with the group.
    drop((web, balancer));
    settle().await;
    assert_eq!(changes.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_change_says_what_was_asked_and_what_came_back_when_a_target_recovers_too() {
    let events = Events::capture();
    let status = Arc::new(AtomicU16::new(503));
    let target = {
        let status = Arc::clone(&status);
        answering("one", move |_| std::future::ready(with_status(status.load(Relaxed), "x")))
    };
    let check = HealthCheck::http("/health?x=1").interval(secs(10)).matcher("200,204");
    let check = check.healthy_threshold(2).unhealthy_threshold(2);
    let (web, _balancer) = checked(check, &[target]);
    let mut changes = web.changes();
    let mut next = async || changes.next().await.unwrap().to_string();
    let asked = "GET /health?x=1 in this process answered";
    let mismatch = "(Target.ResponseCodeMismatch)";
    assert_eq!(
        next().await,
        format!("web one: initial -> unhealthy {mismatch}: {asked} 503, expected 200,204")
    );
    status.store(204, Relaxed);
    assert_eq!(
        next().await,
        format!("web one: unhealthy -> healthy: {asked} 204, expected 200,204")
    );
    // A healthy target has none, as at ALB.
    assert_eq!(verdict(&web, "one"), (State::Healthy, None, None));
    status.store(404, Relaxed);
    assert_eq!(
        next().await,
        format!("web one: healthy -> unhealthy {mismatch}: {asked} 404, expected 200,204")
    );
    let logged = events.take_of("health changed");
    let logged: Vec<_> = logged.iter().map(|event| event.field("description").unwrap()).collect();
    let expected = [503, 204, 404].map(|status| format!("{asked} {status}, expected 200,204"));
    assert_eq!(logged, expected);
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_woken_and_hears_only_what_comes() {
    let script = Script::well();
    let (web, _balancer) = checked(scripted(&script), &[named("one")]);
    web.until_healthy(1).await;
    let mut changes = web.changes();
    let waiting = tokio::spawn(async move { changes.next().await });
    settle().await;
    assert!(!waiting.is_finished());
    script.finds("one", Finding::Fails("ill"));
    let change = waiting.await.unwrap().unwrap();
    assert_eq!((change.old, change.new), (State::Healthy, State::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_does_not_read_keeps_the_latest_changes() {
    let script = Script::well();
    let (web, _balancer) = checked(scripted(&script), &[named("one")]);
    web.until_healthy(1).await;
    let mut changes = web.changes();
    for round in 0..1100 {
        let ill = round % 2 == 0;
        script.finds("one", if ill { Finding::Fails("ill") } else { Finding::Well });
        let expected = if ill { State::Unhealthy } else { State::Healthy };
        while state(&web, "one") != expected {
            tokio::time::sleep(secs(1)).await;
        }
    }
    let mut told = Vec::new();
    while let Some(change) = changes.next().now_or_never().flatten() {
        told.push(change.new);
    }
    assert_eq!(told.len(), 1024);
    assert_eq!(told.last(), Some(&State::Healthy));
}

/// A target that is well at first, and fails its second check when it is told to.
fn held(id: &str) -> (Target, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let asked = Arc::new(Mutex::new(0));
    let target = answering(id, move |_| {
        let mut released = released.clone();
        let first = {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            *asked == 1
        };
        async move {
            if !first {
                released.wait_for(|released| *released).await.unwrap();
            }
            with_status(if first { 200 } else { 500 }, "x")
        }
    });
    (target, release)
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_of_a_target_that_left_meanwhile_is_not_told() {
    let events = Events::capture();
    let check = HealthCheck::http("/").interval(secs(100)).timeout(secs(50)).unhealthy_threshold(1);
    let (target, release) = held("one");
    let (web, _balancer) = checked(check.clone(), &[target]);
    web.until_healthy(1).await;
    tokio::time::sleep(secs(120)).await;
    events.take();
    let mut changes = web.changes();
    // Another one takes its place; the check of the old one is still under way.
    web.register(named("one"));
    release.send_replace(true);
    settle().await;
    assert_eq!(state(&web, "one"), State::Healthy);
    let told = changes.next().now_or_never().flatten().unwrap();
    assert_eq!((told.old, told.new), (State::Initial, State::Healthy));
    assert_eq!(changes.next().now_or_never(), None);

    let (target, release) = held("one");
    let (web, _balancer) = checked(check, std::slice::from_ref(&target));
    web.until_healthy(1).await;
    tokio::time::sleep(secs(120)).await;
    let mut changes = web.changes();
    web.deregister("one");
    release.send_replace(true);
    settle().await;
    assert_eq!(changes.next().now_or_never(), None);
    assert_eq!(events.take_of("health changed").len(), 2, "each was healthy once");
}

#[tokio::test(start_paused = true)]
async fn results_that_come_together_change_the_group_once() {
    let script = Script::well();
    let ids = (0..100).map(|number| format!("target {number}")).collect::<Vec<_>>();
    let targets = ids.iter().map(|id| named("any").with_id(&**id)).collect::<Vec<_>>();
    let prepared = Arc::new(Mutex::new(Vec::new()));

    #[derive(Debug)]
    struct Noting(Arc<Mutex<Vec<usize>>>);
    impl pointsman::algorithm::Algorithm for Noting {
        fn name(&self) -> &'static str {
            "noting"
        }
        fn prepare(
            &self,
            members: &[pointsman::algorithm::Weighted],
        ) -> Box<dyn pointsman::algorithm::Picker> {
            self.0.lock().unwrap().push(members.len());
            pointsman::algorithm::RoundRobin::new().prepare(members)
        }
    }
    let web = group("web").health_check(scripted(&script)).algorithm(Noting(Arc::clone(&prepared)));
    let web = web.build().unwrap();
    web.set_targets(targets);
    prepared.lock().unwrap().clear();
    let _balancer = balancer(&web);
    web.until_healthy(100).await;
    assert_eq!(*prepared.lock().unwrap(), [100]);
}

#[tokio::test]
async fn a_group_without_checks_tells_of_no_changes_and_has_no_task() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let web = group_of("web", &["one"]);
    let mut changes = web.changes();
    let balancer = balancer(&web);
    assert_eq!(fetch(&balancer).await, (200, "one".into()));
    settle().await;
    assert_eq!(changes.next().now_or_never(), None);
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_good_answer_is_not_read() {
    let target = answering("one", |_| async {
        let endless = futures_util::stream::repeat_with(|| crate::support::chunk("more"));
        Response::new(Body::new(http_body_util::StreamBody::new(endless)))
    });
    let (web, _balancer) = checked(HealthCheck::http("/"), &[target]);
    web.until_healthy(1).await;
}
