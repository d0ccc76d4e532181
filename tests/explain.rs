//! Explaining equals deciding: over random tables, splits, weights, caps, held exchanges, sessions,
//! unhealthy targets, panicking predicates and unknown clients, the explanation of a request is what
//! then happens to it.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response};
#[cfg(feature = "sticky")]
use pointsman::stickiness::{CookieKey, LoadBalancerCookie};
use pointsman::{
    Body, HealthCheck, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    algorithm::LeastOutstandingRequests,
    error::Error,
    group::Why,
    layer::Served,
    probe::Probe,
    rule::{Condition, FixedResponse, Forward, Redirect, Rule, from_fn},
    target::Member,
};
use proptest::prelude::*;
use tower::{ServiceExt, service_fn};

/// Finds those unhealthy whose names are listed.
#[derive(Debug)]
struct Listed(Arc<Mutex<HashSet<String>>>);

impl Probe for Listed {
    fn check<'a>(
        &'a self,
        member: &'a Member,
    ) -> Pin<Box<dyn Future<Output = Result<(), tower::BoxError>> + Send + 'a>> {
        let ill = self.0.lock().unwrap().contains(member.id().as_str());
        Box::pin(async move { if ill { Err("listed".into()) } else { Ok(()) } })
    }
}

#[derive(Clone, Debug)]
struct GroupPlan {
    weights: Vec<u16>,
    ill: Vec<bool>,
    in_flight_max: Option<u32>,
    least_outstanding: bool,
    #[cfg_attr(not(feature = "sticky"), expect(dead_code, reason = "nothing to keep sessions by"))]
    sticky: bool,
    seed: u64,
}

#[derive(Clone, Debug)]
enum Step {
    /// A request for this path, from a client with or without a known address and cookies.
    Ask { path: usize, known: bool, cookies: bool },
    /// A request that stays in flight.
    Hold { path: usize },
    /// All that is held ends.
    Release,
    /// A target is deregistered.
    Deregister { group: usize, target: usize },
}

const PATHS: [&str; 5] = ["/a/1", "/b/1", "/panic", "/inside", "/other"];

fn group_plan() -> impl Strategy<Value = GroupPlan> {
    (0..5usize)
        .prop_flat_map(|len| {
            (
                prop::collection::vec(1..=9u16, len),
                prop::collection::vec(prop::bool::weighted(0.3), len),
                prop::option::of(1..3u32),
                any::<bool>(),
                any::<bool>(),
                any::<u64>(),
            )
        })
        .prop_map(|(weights, ill, in_flight_max, least_outstanding, sticky, seed)| GroupPlan {
            weights,
            ill,
            in_flight_max,
            least_outstanding,
            sticky,
            // The turn starts at the seed; far from the end of its range.
            seed: seed >> 8,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PATHS.len(), prop::bool::weighted(0.8), any::<bool>())
            .prop_map(|(path, known, cookies)| Step::Ask { path, known, cookies }),
        3 => (0..2usize).prop_map(|path| Step::Hold { path }),
        1 => Just(Step::Release),
        1 => (0..3usize, 0..4usize).prop_map(|(group, target)| Step::Deregister { group, target }),
    ]
}

fn build(name: &str, plan: &GroupPlan, ill: &Arc<Mutex<HashSet<String>>>) -> TargetGroup {
    let check = HealthCheck::probe(Listed(Arc::clone(ill)))
        .interval(Duration::from_secs(10))
        .unhealthy_threshold(1);
    let mut group = TargetGroup::builder(name).health_check(check).seed(plan.seed);
    if plan.least_outstanding {
        group = group.algorithm(LeastOutstandingRequests::default());
    }
    if let Some(max) = plan.in_flight_max {
        group = group.in_flight_max(max);
    }
    #[cfg(feature = "sticky")]
    if plan.sticky {
        let cookie = LoadBalancerCookie::builder(CookieKey::from_bytes([7; 32])).build().unwrap();
        group = group.stickiness(cookie);
    }
    let group = group.build().unwrap();
    for (i, (weight, sick)) in plan.weights.iter().zip(&plan.ill).enumerate() {
        let id = format!("{name}-{i}");
        if *sick {
            ill.lock().unwrap().insert(id.clone());
        }
        let service = service_fn(|request: Request<Body>| async move {
            if request.headers().contains_key("x-hold") {
                std::future::pending::<()>().await;
            }
            Ok::<_, Infallible>(Response::new(Body::from("x")))
        });
        group.register(Target::service(id, service).weight(*weight).unwrap());
    }
    group
}

fn table(groups: &[TargetGroup; 3], split: (u16, u16), seed: u64) -> RuleTable {
    let [a, b, c] = groups;
    let panicking = from_fn(|head: &pointsman::head::Head<'_>| {
        assert!(head.path() != "/panic", "a predicate of the user's");
        false
    });
    RuleTable::builder()
        .seed(seed)
        .rule(Rule::new(5).when(Condition::path_pattern(["/a/*"])).then(Forward::to(a)))
        .rule(Rule::new(10).when(Condition::path_pattern(["/b/*"])).then(Forward::split([
            (a, split.0),
            (b, split.1),
            (c, 1),
        ])))
        .rule(
            Rule::new(15).when(Condition::custom("mine", panicking)).then(FixedResponse::new(200)),
        )
        .rule(
            Rule::new(20)
                .when(Condition::path_pattern(["/inside"]))
                .when(Condition::source_ip(["10.0.0.0/8"]))
                .then(Redirect::found().path("/gone")),
        )
        .default_action(Forward::to(c))
        .build()
        .unwrap()
}

/// What happened to a request, or would.
#[derive(Debug, PartialEq)]
struct Fate {
    status_of_error: Option<u16>,
    rule: Option<String>,
    group: Option<String>,
    target: Option<String>,
    fail_open: bool,
}

fn foretold(balancer: &LoadBalancer, request: &Request<Body>) -> (Fate, Option<Why>) {
    let explanation = balancer.explain(request);
    let text = explanation.to_string();
    let target = explanation.choice();
    let pick = target.map(|target| &target.pick);
    let error = explanation.error().or(pick.and_then(|pick| pick.as_ref().err()));
    if let Some(Ok((id, _))) = pick {
        assert!(text.contains(id.as_str()), "{text}");
    }
    let fate = Fate {
        status_of_error: error.map(|error| error.status().as_u16()),
        rule: explanation.matched_rule().map(|rule| rule.to_string()),
        group: explanation.group().map(ToString::to_string),
        target: pick.and_then(|pick| pick.as_ref().ok()).map(|(id, _)| id.to_string()),
        fail_open: error.is_none() && target.is_some_and(|target| target.status.fail_open),
    };
    (fate, pick.and_then(|pick| pick.as_ref().ok()).map(|(_, why)| *why))
}

fn happened(response: &Response<Body>) -> Fate {
    let served = response.extensions().get::<Served>();
    let error = response.extensions().get::<Error>();
    // A rule that could not be decided did not match, though the error names it.
    let matched = error.is_none_or(|error| error.status() != 500);
    Fate {
        status_of_error: error.map(|error| error.status().as_u16()),
        rule: served.filter(|_| matched).map(|served| served.rule.to_string()),
        group: served.and_then(|served| served.group.as_ref().map(ToString::to_string)),
        target: served.and_then(|served| served.target.as_ref().map(ToString::to_string)),
        fail_open: served.is_some_and(|served| served.fail_open),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_explained_is_what_happens(
        plans in [group_plan(), group_plan(), group_plan()],
        split in (0..5u16, 0..5u16),
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(play(plans, split, seed, steps));
    }
}

async fn play(plans: [GroupPlan; 3], split: (u16, u16), seed: u64, steps: Vec<Step>) {
    let ill = Arc::default();
    let names = ["a", "b", "c"];
    let groups = [0, 1, 2].map(|i| build(names[i], &plans[i], &ill));
    let balancer = LoadBalancer::new(table(&groups, split, seed));
    // The first checks go out at once, and the paused clock moves on only when they are over.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut held = Vec::new();
    let mut cookies = Vec::<String>::new();
    for step in steps {
        let request = |path: usize| Request::get(PATHS[path]).header("host", "h");
        let (request, hold) = match step {
            Step::Release => {
                held.clear();
                continue;
            }
            Step::Deregister { group, target } => {
                groups[group].deregister(&format!("{}-{target}", names[group]));
                continue;
            }
            Step::Hold { path } => (request(path).header("x-hold", "1"), true),
            Step::Ask { path, known, cookies: with } => {
                let mut request = request(path);
                if with && !cookies.is_empty() {
                    request = request.header("cookie", cookies.join("; "));
                }
                if known {
                    let client = if seed.is_multiple_of(2) { "10.1.1.1:1" } else { "192.0.2.1:1" };
                    request = request.extension(Peer::new(client.parse().unwrap()));
                }
                (request, false)
            }
        };
        let request = request.body(Body::default()).unwrap();
        let (expected, why) = foretold(&balancer, &request);
        let before = foretold(&balancer, &request).0;
        assert_eq!(before, expected, "explaining changes nothing");
        if hold {
            let in_flight = |group: &str| {
                let group = groups.iter().find(|g| *g.name() == *group).unwrap().status();
                group
                    .targets
                    .iter()
                    .map(|t| (t.target.to_string(), t.in_flight))
                    .collect::<Vec<_>>()
            };
            let counted = expected.group.as_deref().map(in_flight);
            let mut answer = Box::pin(balancer.clone().oneshot(request));
            match futures_util::poll!(answer.as_mut()) {
                std::task::Poll::Ready(response) => {
                    assert_eq!(happened(&response.unwrap()), expected);
                }
                std::task::Poll::Pending => {
                    let (group, target) =
                        (expected.group.as_deref().unwrap(), expected.target.as_ref().unwrap());
                    let mut counted = counted.unwrap();
                    counted.iter_mut().find(|(id, _)| id == target).unwrap().1 += 1;
                    assert_eq!(in_flight(group), counted, "it is held by the target foretold");
                    held.push(answer);
                }
            }
            continue;
        }
        let response = balancer.clone().oneshot(request).await.unwrap();
        assert_eq!(happened(&response), expected);
        if let Some(cookie) = response.headers().get("set-cookie") {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            cookies = vec![pair.to_owned()];
        }
        assert!(why != Some(Why::Session) || cfg!(feature = "sticky"));
    }
    drop(held);
    tokio::task::yield_now().await;
    assert_eq!(groups.iter().map(|group| group.status().in_flight()).sum::<u32>(), 0);
}
