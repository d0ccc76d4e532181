//! The settings of a group are changed while it serves; what they do not touch stays.

mod support;

use std::{convert::Infallible, future::Future, pin::Pin, time::Duration};

use http::{Request, Response};
use pointsman::{
    Body, HealthCheck, LoadBalancer, RuleTable, Target, TargetGroup,
    algorithm::LeastOutstandingRequests,
    endpoint::Transport,
    group::{RetryPolicy, TargetGroupBuilder},
    health::State,
    probe::Probe,
    target::Member,
};
use support::{Server, client, get, until};
use tower::{ServiceExt, service_fn};

#[derive(Debug)]
struct Ill;

impl Probe for Ill {
    fn check<'a>(
        &'a self,
        _: &'a Member,
    ) -> Pin<Box<dyn Future<Output = Result<(), tower::BoxError>> + Send + 'a>> {
        Box::pin(async { Err("ill".into()) })
    }
}

fn web() -> TargetGroupBuilder {
    TargetGroup::builder("web")
}

#[tokio::test(start_paused = true)]
async fn settings_change_in_place_and_counts_stay() {
    let group = web().build().unwrap();
    for name in ["one", "two"] {
        let service = service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::default()))
        });
        group.register(Target::service(name, service));
    }
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let ask = async || balancer.clone().oneshot(Request::new(Body::default())).await.unwrap();
    let (first, _second) = (ask().await, ask().await);
    drop(first);
    let answered = |id: &str| group.status().target(id).unwrap().answered;
    assert_eq!(answered("one"), 1);

    group.reconfigure(web().in_flight_max(1).algorithm(LeastOutstandingRequests::new())).unwrap();
    assert_eq!(answered("one"), 1, "counts stay");
    let request = Request::new(());
    assert_eq!(
        balancer.explain(&request).choice().unwrap().algorithm,
        "least_outstanding_requests"
    );

    // Checks are switched on: the targets begin anew, and the next request starts the checking.
    let check = HealthCheck::probe(Ill).interval(Duration::from_secs(5)).unhealthy_threshold(1);
    group.reconfigure(web().health_check(check)).unwrap();
    assert_eq!(group.status().target("one").unwrap().state, State::Initial);
    tokio::time::sleep(Duration::from_secs(2)).await;
    ask().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(group.status().target("one").unwrap().state, State::Unhealthy);

    group.reconfigure(web()).unwrap();
    assert_eq!(group.status().healthy(), 2, "unchecked targets count as healthy");
}

#[tokio::test]
async fn a_retry_policy_is_heeded_from_when_it_is_set_to_when_it_is_taken_away() {
    let group = web().build().unwrap();
    for (name, status) in [("busy", 503), ("idle", 200)] {
        let service = service_fn(move |_: Request<Body>| async move {
            Response::builder().status(status).body(Body::default())
        });
        group.register(Target::service(name, service));
    }
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let check = async |settings: TargetGroupBuilder, expected: [u16; 2]| {
        group.reconfigure(settings).unwrap();
        let mut statuses = Vec::new();
        // They take turns.
        for _ in 0..2 {
            let answer = balancer.clone().oneshot(Request::new(Body::default())).await.unwrap();
            statuses.push(answer.status().as_u16());
        }
        statuses.sort_unstable();
        assert_eq!(statuses, expected);
    };
    check(web(), [200, 503]).await;
    check(web().retry(RetryPolicy::new().on_statuses([503])), [200, 200]).await;
    check(web(), [200, 503]).await;
}

#[test]
fn wrong_settings_and_other_groups_settings_change_nothing() {
    let group = web().in_flight_max(3).build().unwrap();
    let error = group.reconfigure(TargetGroup::builder("api").in_flight_max(0)).unwrap_err();
    assert_eq!(
        error.iter().collect::<Vec<_>>(),
        [r#"name "api": expected "web", the group's"#, "in_flight_max 0: expected 1 or more"]
    );
}

#[tokio::test]
async fn another_transport_opens_connections_of_its_own() {
    let target = Server::named("one").await;
    let group = web().build().unwrap();
    group.register(Target::new(target.address));
    let front = Server::balancing(&LoadBalancer::new(RuleTable::forward_to(&group))).await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(get(&client, front.uri("/")).await, (200, "one".into()));
    }
    until("one idle connection", || group.status().targets[0].connections_idle == 1).await;
    group.reconfigure(web()).unwrap();
    assert_eq!(get(&client, front.uri("/")).await.0, 200);
    assert_eq!(target.counts.opened(), 1, "the same transport keeps its connections");

    let brief = Transport::new().answer_timeout(Duration::from_secs(7));
    group.reconfigure(web().transport(brief)).unwrap();
    assert_eq!(get(&client, front.uri("/")).await.0, 200);
    assert_eq!(target.counts.opened(), 2);
    until("the old one is closed", || target.counts.open() == 1).await;
    assert_eq!(group.status().targets[0].answered, 5, "counts stay");
}
