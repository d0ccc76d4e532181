//! Who is registered in a group, and who of them gets a request.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pointsman::{
    HealthCheck, LoadBalancer, TargetGroup,
    algorithm::{Algorithm, LeastOutstandingRequests, Pick, Picker, RoundRobin, Weighted},
    endpoint::Transport,
    error::Kind,
    group::Why,
    head::Head,
    health::{Reason, State},
    lease::Lease,
    rng::Rng,
};
use tower::ServiceExt;
use tracing::Level;

use crate::support::{
    Answer, Event, Events, Finding, Script, answering, balancer, counts, endless, fetch, get,
    group, group_of, named, secs, send, settle, silent, state,
};

/// The targets that answer so many requests, in their order.
async fn served(balancer: &LoadBalancer, times: usize) -> Vec<String> {
    let mut served = Vec::new();
    for _ in 0..times {
        let answer = send(balancer, get("/")).await;
        assert_eq!(answer.text(), answer.target());
        served.push(answer.target().to_owned());
    }
    served
}

fn ids(group: &TargetGroup) -> Vec<String> {
    group.status().targets.iter().map(|target| target.target.to_string()).collect()
}

/// A group whose targets are checked by a script every ten seconds; one failure makes one unhealthy,
/// one success healthy.
fn checked(script: &Script, targets: &[&'static str]) -> TargetGroup {
    let check = HealthCheck::probe(script.clone()).interval(secs(10));
    let check = check.healthy_threshold(1).unhealthy_threshold(1);
    let group = group("web").health_check(check).build().unwrap();
    targets.iter().for_each(|target| group.register(named(target)));
    group
}

fn take(group: &TargetGroup) -> Result<Lease, pointsman::error::Error> {
    let request = get("/");
    group.assign(&Head::of(&request, None), None, &[]).map(|assignment| assignment.lease)
}

#[tokio::test]
async fn targets_come_and_go_at_once() {
    let web = group_of("web", &["one", "two"]);
    let balancer = balancer(&web);
    assert_eq!(served(&balancer, 4).await, ["one", "two", "one", "two"]);
    web.register(named("three"));
    assert_eq!(ids(&web), ["one", "two", "three"]);
    let mut all = served(&balancer, 3).await;
    all.sort();
    assert_eq!(all, ["one", "three", "two"]);
    assert!(web.deregister("two"));
    assert!(!web.deregister("two"), "it is gone already");
    assert!(!web.deregister("four"), "it was never there");
    let mut left = served(&balancer, 4).await;
    left.sort();
    assert_eq!(left, ["one", "one", "three", "three"]);
}

#[tokio::test(start_paused = true)]
async fn a_set_of_targets_replaces_the_other_in_one_step() {
    let web = group_of("web", &["one", "two"]);
    let balancer = balancer(&web);
    web.set_targets([named("three"), named("two").weight(2).unwrap()]);
    assert_eq!(state(&web, "one"), State::Draining);
    let mut served = served(&balancer, 6).await;
    served.sort();
    assert_eq!(served, ["three", "three", "two", "two", "two", "two"]);
    tokio::time::advance(secs(300)).await;
    assert_eq!(ids(&web), ["two", "three"]);
    web.set_targets([]);
    assert_eq!(fetch(&balancer).await.0, 503);
}

#[tokio::test]
async fn of_two_targets_with_one_id_in_a_set_the_later_counts() {
    let web = group("web").build().unwrap();
    let one = named("one");
    web.set_targets([one.clone().weight(2).unwrap(), one.weight(3).unwrap()]);
    assert_eq!((ids(&web).len(), web.status().targets[0].weight), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_weight_keeps_counts_and_health() {
    let script = Script::well();
    let web = checked(&script, &[]);
    let one = endless("one");
    web.register(one.clone());
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    drop(balancer.clone().oneshot(get("/")).await.unwrap());
    let open = balancer.clone().oneshot(get("/")).await.unwrap();
    web.register(one.weight(7).unwrap());
    let target = web.status().target("one").unwrap().clone();
    assert_eq!((target.weight, target.state, target.in_flight), (7, State::Healthy, 1));
    settle().await;
    assert_eq!(script.count(), 1, "it is not a new target");
    drop(open);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_address_under_the_same_id_keeps_the_counts_only() {
    let script = Script::well();
    let web = checked(&script, &["one"]);
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    assert_eq!(fetch(&balancer).await, (200, "one".into()));
    let held = take(&web).unwrap();
    script.finds("one", Finding::Hangs);
    let elsewhere = |_| async { http::Response::new("elsewhere".into()) };
    web.register(answering("one", elsewhere));
    let target = web.status().target("one").unwrap().clone();
    assert_eq!((target.in_flight, target.answered), (1, 1));
    assert_eq!(target.state, State::Initial);
    assert_eq!(target.reason, Some(Reason::RegistrationInProgress));
    assert_eq!(fetch(&balancer).await, (200, "elsewhere".into()));
    assert_eq!(counts(&web.status(), "one"), (1, 2, 0));
    settle().await;
    assert_eq!(script.asked("one").len(), 2, "it is checked at once");
    drop(held);
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn an_empty_group_is_503() {
    let answer = send(&balancer(&group_of("web", &[])), get("/")).await;
    assert_eq!((answer.status, answer.text()), (503, "503 Service Unavailable\n"));
    let error = answer.error.unwrap();
    assert_eq!(error.kind(), Kind::NoTarget);
    assert_eq!(error.to_string(), "no target to pick: the group has no registered target");
    assert_eq!(error.group(), Some(&"web".into()));
    let served = answer.served.unwrap();
    assert_eq!((served.group, served.target), (Some("web".into()), None));
}

#[tokio::test]
async fn a_group_whose_targets_are_all_full_is_503() {
    let web = group("web").in_flight_max(2).build().unwrap();
    web.register(named("one"));
    web.register(named("two"));
    let balancer = balancer(&web);
    let mut held = (0..4).map(|_| take(&web).unwrap()).collect::<Vec<_>>();
    assert!(web.status().targets.iter().all(|target| target.in_flight == 2));
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.text()), (503, "503 Service Unavailable\n"));
    let error = answer.error.unwrap();
    assert_eq!(error.kind(), Kind::Saturated);
    let text = "every target is at its cap: each has 2 requests in flight, the most allowed";
    assert_eq!(error.to_string(), text);
    held.pop();
    assert_eq!(fetch(&balancer).await.0, 200);
    assert_eq!(fetch(&balancer).await.0, 200, "the place is free again after each answer");
    drop(held);
    assert_eq!(web.status().in_flight(), 0);
}

#[test]
fn a_full_target_does_not_keep_the_session_of_its_client() {
    let web = group("web").in_flight_max(1).build().unwrap();
    web.register(named("one"));
    web.register(named("two"));
    let request = get("/");
    let assign = || web.assign(&Head::of(&request, None), Some(&"two".into()), &[]);
    let (first, second) = (assign().unwrap(), assign().unwrap());
    assert_eq!((first.member.id().as_str(), first.why), ("two", Why::Session));
    assert_eq!((second.member.id().as_str(), second.why), ("one", Why::Algorithm));
    assert_eq!(assign().unwrap_err().kind(), Kind::Saturated);
}

#[test]
fn a_cap_holds_against_many_at_once() {
    for algorithm in 0..2 {
        let web = group("web").in_flight_max(3);
        let web = match algorithm {
            0 => web.algorithm(RoundRobin::new()),
            _ => web.algorithm(LeastOutstandingRequests::new()),
        };
        let web = web.build().unwrap();
        web.register(named("one"));
        web.register(named("two"));
        let refused = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        match take(&web) {
                            Ok(lease) => {
                                assert!(lease.load().in_flight() <= 3);
                                std::thread::yield_now();
                            }
                            Err(error) => {
                                assert_eq!(error.kind(), Kind::Saturated);
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(web.status().in_flight(), 0);
    }
}

/// Round robin that notes how often it was asked, and about whom it asked.
#[derive(Debug, Default, Clone)]
struct Counting(Arc<Mutex<(usize, Vec<usize>)>>);
struct CountingPicker(Counting, Box<dyn Picker>);

impl Algorithm for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker> {
        Box::new(CountingPicker(self.clone(), RoundRobin::new().prepare(members)))
    }
}

impl Picker for CountingPicker {
    fn pick(&self, pick: &mut Pick<'_>) -> Option<usize> {
        self.0.0.lock().unwrap().0 += 1;
        let (turn, rng) = (AtomicU64::new(pick.turn()), Rng::seeded(0));
        let may = |place| {
            self.0.0.lock().unwrap().1.push(place);
            pick.may(place)
        };
        self.1.pick(&mut Pick::new(pick.head(), &may, &turn, &rng))
    }
}

#[test]
fn a_refusal_looks_at_each_target_once() {
    let counting = Counting::default();
    let web = group("web").algorithm(counting.clone()).in_flight_max(1).build().unwrap();
    web.set_targets((0..100).map(|number| named("any").with_id(format!("target {number}"))));
    let held = (0..100).map(|_| take(&web).unwrap()).collect::<Vec<_>>();
    *counting.0.lock().unwrap() = Default::default();
    assert_eq!(take(&web).unwrap_err().kind(), Kind::Saturated);
    let (picks, mut asked) = std::mem::take(&mut *counting.0.lock().unwrap());
    asked.sort_unstable();
    assert_eq!((picks, asked), (1, (0..100).collect()));
    drop(held);
}

#[tokio::test]
async fn an_algorithm_may_refuse() {
    #[derive(Debug)]
    struct Never;
    impl Algorithm for Never {
        fn name(&self) -> &'static str {
            "never"
        }
        fn prepare(&self, _: &[Weighted]) -> Box<dyn Picker> {
            Box::new(Never)
        }
    }
    impl Picker for Never {
        fn pick(&self, _: &mut Pick<'_>) -> Option<usize> {
            None
        }
    }
    let web = group("web").algorithm(Never).build().unwrap();
    web.register(named("one"));
    let error = send(&balancer(&web), get("/")).await.error.unwrap();
    assert_eq!(error.kind(), Kind::NoTarget);
    assert_eq!(error.to_string(), "no target to pick: the algorithm picked none");
}

#[tokio::test(start_paused = true)]
async fn an_unhealthy_target_gets_nothing_while_another_is_healthy() {
    let script = Script::failing(&["one", "three"]);
    let web = checked(&script, &["one", "two", "three"]);
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    assert_eq!(served(&balancer, 4).await, ["two"; 4]);
    let answer = send(&balancer, get("/")).await;
    assert!(!answer.served.unwrap().fail_open);
    // Not even to the client whose session it has.
    let request = get("/");
    let picked = web.assign(&Head::of(&request, None), Some(&"one".into()), &[]).unwrap();
    assert_eq!(picked.member.id(), "two");
    let text = balancer.explain(&request).to_string();
    assert!(text.contains("  one: unhealthy, weight 1, 0 in flight: may not\n"), "{text}");
    assert!(text.contains("  two: healthy, weight 1, 1 in flight: may be picked\n"), "{text}");

    script.finds("one", Finding::Well);
    web.until_healthy(2).await;
    let mut served = served(&balancer, 4).await;
    served.sort();
    assert_eq!(served, ["one", "one", "two", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_target_gets_nothing_before_its_first_check_while_another_is_healthy() {
    let script = Script::well();
    let web = checked(&script, &["one"]);
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    script.finds("two", Finding::Hangs);
    web.register(named("two"));
    assert_eq!(served(&balancer, 3).await, ["one"; 3]);
    assert_eq!(state(&web, "two"), State::Initial);
}

const ENTERED: &str = "no target is healthy: all that are registered get traffic";
const LEFT: &str = "only healthy targets get traffic again, if any is registered";

/// The warnings that were told.
fn warnings(events: &Events) -> Vec<String> {
    let warning = |event: Event| {
        assert_eq!(event.field("group"), Some("web"), "{event:?}");
        event.message
    };
    let events = events.take().into_iter().filter(|event| event.level == Level::WARN);
    events.filter(|event| !event.message.contains("who the client is")).map(warning).collect()
}

#[tokio::test(start_paused = true)]
async fn when_no_target_is_healthy_all_are_picked_from() {
    let events = Events::capture();
    let script = Script::well();
    let web = checked(&script, &["one", "two"]);
    let balancer = balancer(&web);
    web.until_healthy(2).await;
    assert_eq!(warnings(&events), [""; 0]);

    script.finds("one", Finding::Fails("ill"));
    script.finds("two", Finding::Fails("ill"));
    tokio::time::sleep(secs(12)).await;
    assert_eq!(warnings(&events), [ENTERED]);
    assert!(web.status().fail_open);
    for target in ["one", "two", "one"] {
        let answer = send(&balancer, get("/")).await;
        assert_eq!(answer.target(), target);
        assert!(answer.served.unwrap().fail_open);
    }
    let text = balancer.explain(&get("/")).to_string();
    assert!(text.contains("no target is healthy, so all that are registered are picked from\n"));
    assert!(text.contains("  one: unhealthy, weight 1, 0 in flight: may be picked\n"), "{text}");
    // One more that fails is nothing new.
    script.finds("three", Finding::Fails("ill"));
    web.register(named("three"));
    tokio::time::sleep(secs(12)).await;
    assert_eq!(warnings(&events), [""; 0]);

    script.finds("two", Finding::Well);
    web.until_healthy(1).await;
    assert_eq!(warnings(&events), [LEFT]);
    assert!(!web.status().fail_open);
    assert_eq!(served(&balancer, 3).await, ["two"; 3]);
    assert!(!send(&balancer, get("/")).await.served.unwrap().fail_open);
}

#[tokio::test(start_paused = true)]
async fn vector_17_three_targets_that_all_fail_their_checks_all_serve() {
    let events = Events::capture();
    let script = Script::failing(&["one", "two", "three"]);
    let web = checked(&script, &["one", "two", "three"]);
    let balancer = balancer(&web);
    settle().await;
    assert!(web.status().targets.iter().all(|target| target.state == State::Unhealthy));
    assert_eq!(served(&balancer, 6).await, ["one", "two", "three", "one", "two", "three"]);
    assert_eq!(warnings(&events), [ENTERED]);
    web.set_targets([]);
    assert_eq!(warnings(&events), [LEFT]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_waits_for_its_first_checks_serves_without_a_warning() {
    let events = Events::capture();
    let script = Script::well();
    script.finds("one", Finding::Hangs);
    let web = checked(&script, &["one"]);
    let balancer = balancer(&web);
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.served.unwrap().fail_open), (200, true));
    assert_eq!(warnings(&events), [""; 0]);
    script.finds("one", Finding::Well);
    web.until_healthy(1).await;
    assert_eq!(warnings(&events), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_target_that_was_picked_regardless_of_its_health_says_so() {
    let script = Script::failing(&["one"]);
    let web = checked(&script, &[]);
    web.register(silent("one"));
    let answer = send(&balancer(&web), get("/")).await;
    assert_eq!((answer.status, answer.target()), (504, "one"));
    assert!(answer.served.unwrap().fail_open);
}

#[tokio::test]
async fn a_group_without_checks_has_healthy_targets() {
    let web = group_of("web", &["one"]);
    assert_eq!(state(&web, "one"), State::Healthy);
    assert_eq!(web.status().targets[0].reason, None);
    assert!(!web.status().fail_open);
    web.until_healthy(1).await;
}

#[tokio::test]
async fn a_status_is_a_table_for_a_person() {
    let web = group_of("web", &["one", "second"]);
    fetch(&balancer(&web)).await;
    let _held = take(&web).unwrap();
    assert_eq!(
        web.status().to_string(),
        "web: 2 of 2 targets healthy\n  \
           target  state      weight  in flight  answered  failed\n  \
           one     healthy         1          0         1       0\n  \
           second  healthy         1          1         0       0\n"
    );
}

#[test]
fn many_may_change_a_group_at_once() {
    let web = group("web").deregistration_delay(Duration::ZERO).build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let web = &web;
            scope.spawn(move || {
                for round in 0..50 {
                    let id = format!("{thread} {round}");
                    web.register(named("any").with_id(&*id));
                    assert!(web.status().target(&id).is_some(), "it is published on return");
                    assert!(take(web).is_ok());
                    if round < 49 {
                        assert!(web.deregister(&id));
                        assert!(web.status().target(&id).is_none());
                    }
                }
            });
        }
    });
    let mut left = ids(&web);
    left.sort();
    assert_eq!(left, (0..8).map(|thread| format!("{thread} 49")).collect::<Vec<_>>());
    // The picker agrees with what is registered.
    let mut picked = (0..8)
        .map(|_| {
            let request = get("/");
            let picked = web.assign(&Head::of(&request, None), None, &[]).unwrap();
            picked.member.id().to_string()
        })
        .collect::<Vec<_>>();
    picked.sort();
    assert_eq!(picked, left);
}

#[test]
fn ever_new_targets_cost_a_group_nothing_that_lasts() {
    let web = group("web").build().unwrap();
    web.register(named("busy"));
    let lease = take(&web).unwrap();
    assert!(web.deregister("busy"));
    web.register(named("stays"));
    // Within the delay of five minutes, all of them are draining.
    for round in 0..3000 {
        let id = format!("target {round}");
        web.register(named("any").with_id(&*id));
        assert!(take(&web).is_ok());
        assert!(web.deregister(&id));
    }
    let status = web.status();
    let state = |id: &str| status.target(id).map(|target| target.state);
    assert_eq!(status.targets.len(), 1003, "one is busy, one stays, and one was the last");
    assert_eq!((state("busy"), state("stays")), (Some(State::Draining), Some(State::Healthy)));
    assert_eq!((state("target 0"), state("target 2999")), (None, Some(State::Draining)));
    // The same one again and again.
    for _ in 0..3000 {
        web.register(named("target 2999"));
        assert!(web.deregister("target 2999"));
    }
    assert_eq!(web.status().targets.len(), 1002);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_time_may_be_for_ever() {
    let check = HealthCheck::probe(Script::well()).interval(Duration::MAX).timeout(Duration::MAX);
    let transport = Transport::new()
        .connect_timeout(Duration::MAX)
        .answer_timeout(Duration::MAX)
        .idle_timeout(Duration::MAX)
        .connection_idle_timeout(Duration::MAX);
    let web = group("web")
        .health_check(check)
        .transport(transport)
        .deregistration_delay(Duration::MAX)
        .build()
        .unwrap();
    let body = |request: http::Request<pointsman::Body>| async {
        tokio::time::sleep(secs(3600)).await;
        http::Response::new(request.into_body())
    };
    web.register(answering("one", body));
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    let slow = async_stream(["a", "b"]);
    let request = http::Request::post("/").body(slow).unwrap();
    let response = balancer.clone().oneshot(request).await.unwrap();
    web.deregister("one");
    assert_eq!(Answer::of(response).await.text(), "ab");
    assert_eq!(state(&web, "one"), State::Draining);
}

/// A body whose chunks come an hour apart.
fn async_stream(chunks: [&'static str; 2]) -> pointsman::Body {
    let chunks = futures_util::stream::iter(chunks);
    let chunks = futures_util::StreamExt::then(chunks, |text| async move {
        tokio::time::sleep(secs(3600)).await;
        crate::support::chunk(text)
    });
    pointsman::Body::new(http_body_util::StreamBody::new(chunks))
}

#[tokio::test]
async fn a_set_may_be_replaced_under_load() {
    let web = group("web").build().unwrap();
    let target = |id| {
        answering(id, move |_| async move {
            tokio::task::yield_now().await;
            http::Response::new(id.into())
        })
    };
    web.register(target("first"));
    let balancer = balancer(&web);
    let load = futures_util::future::join_all((0..20).map(|_| served(&balancer, 50)));
    let change = async {
        for round in 0..50 {
            web.set_targets([target(if round / 3 % 2 == 0 { "even" } else { "odd" })]);
            tokio::task::yield_now().await;
        }
    };
    let (served, ()) = tokio::join!(load, change);
    let served = served.into_iter().flatten().collect::<std::collections::HashSet<_>>();
    assert_eq!(served.len(), 3, "each set got its share: {served:?}");
    assert_eq!(web.status().in_flight(), 0);
}
