//! What a retry policy does with targets in this process, and which policies a group takes.

use http::Request;
use pointsman::{Body, TargetGroup, group::RetryPolicy};

use crate::support::{answering, balancer, counts, endless, get, group, named, send, with_status};

fn with_policy() -> TargetGroup {
    let policy = RetryPolicy::new().on_reset(true).on_statuses([503]);
    group("web").retry(policy).build().unwrap()
}

#[tokio::test]
async fn an_answer_that_is_given_up_counts_as_the_answer_it_was() {
    let group = with_policy();
    // One with a body that somebody would have to read, and that nobody does.
    group.register(answering("busy", |_| async { with_status(503, "busy") }));
    group.register(named("idle"));
    let balancer = balancer(&group);
    let answer = send(&balancer, get("/")).await;
    assert_eq!((answer.status, answer.text(), answer.target()), (200, "idle", "idle"));
    let status = group.status();
    assert_eq!(counts(&status, "busy"), (0, 1, 1));
    assert_eq!(counts(&status, "idle"), (0, 1, 0));
}

#[tokio::test]
async fn a_client_that_leaves_in_between_leaves_no_count_behind() {
    let group = with_policy();
    group.register(answering("busy", |_| async { with_status(503, "busy") }));
    group.register(crate::support::silent("silent"));
    let asking = tokio::spawn({
        let balancer = balancer(&group);
        async move { send(&balancer, get("/")).await }
    });
    crate::support::until("both have it", || group.status().in_flight() == 2).await;
    asking.abort();
    assert!(asking.await.unwrap_err().is_cancelled());
    assert_eq!(group.status().in_flight(), 0);
}

#[tokio::test]
async fn a_target_that_does_not_read_a_body_gives_it_up_to_the_next() {
    let group = with_policy();
    group.register(answering("busy", |_| async { with_status(503, "busy") }));
    group.register(answering("echo", |request: Request<Body>| async {
        http::Response::new(request.into_body())
    }));
    let request = Request::put("/").body(Body::from("a body")).unwrap();
    let answer = send(&balancer(&group), request).await;
    assert_eq!((answer.target(), answer.text()), ("echo", "a body"));
}

#[tokio::test]
async fn a_failure_of_a_service_is_neither_a_reset_nor_an_answer() {
    let group = with_policy();
    group.register(answering("panics", |_| async { panic!("on purpose") }));
    group.register(endless("endless"));
    let answer = send(&balancer(&group), get("/")).await;
    assert_eq!((answer.status, answer.target()), (500, "panics"));
}

#[test]
fn a_group_says_all_that_is_wrong_with_a_policy_at_once() {
    let policy = RetryPolicy::new().on_statuses([404, 503]).attempts_max(1).replay_max(usize::MAX);
    let invalid = group("web").in_flight_max(0).retry(policy.clone()).build().unwrap_err();
    let most = usize::MAX;
    let expected = [
        "in_flight_max 0: expected 1 or more",
        "retry: status 404: expected 429, or 500 to 599",
        "retry: attempts_max 1: expected 2 to 10",
        &format!("retry: replay_max {most}: expected 0 to 1048576"),
    ];
    assert_eq!(invalid.iter().collect::<Vec<_>>(), expected);
    let group = with_policy();
    assert!(group.reconfigure(TargetGroup::builder("web").retry(policy)).is_err());
}
