//! A balancer used from two runtimes, one of which ends or is no longer driven.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::BodyExt;
use pointsman::{Body, HealthCheck, LoadBalancer, RuleTable, Target, TargetGroup, body::BodyError};
use tokio::{runtime::Runtime, sync::Barrier};
use tower::ServiceExt;

use crate::support::{Server, at_rest, soon, until};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A runtime that is always driven, and on it a target that answers a request for /n when n of them
/// are there.
fn target() -> (Runtime, Server) {
    let servers =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let together = Arc::new(Mutex::new(HashMap::<usize, Arc<Barrier>>::new()));
    let target = servers.block_on(Server::answering(move |request| {
        let count = request.uri().path().trim_start_matches('/').parse().unwrap();
        let mut together = together.lock().unwrap();
        let together =
            Arc::clone(together.entry(count).or_insert_with(|| Arc::new(Barrier::new(count))));
        async move {
            together.wait().await;
            Response::new(Body::from("one"))
        }
    }));
    (servers, target)
}

fn balancer_of(group: &TargetGroup, target: &Server) -> LoadBalancer {
    group.register(Target::new(target.address));
    LoadBalancer::new(RuleTable::forward_to(group))
}

/// Sends so many requests at once, over as many connections, and reads their answers.
async fn ask(balancer: &LoadBalancer, count: usize) {
    let all = (0..count).map(|_| async {
        let request = Request::get(format!("/{count}")).body(Body::default()).unwrap();
        let response = balancer.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "one");
    });
    soon("all answers", join_all(all)).await;
}

fn idle(group: &TargetGroup) -> usize {
    group.status().targets[0].connections_idle
}

#[test]
fn each_runtime_uses_its_own_connections_and_those_of_one_that_ended_are_gone() {
    let (servers, target) = target();
    let group = TargetGroup::builder("web").build().unwrap();
    let balancer = balancer_of(&group, &target);
    let (one, two) = (runtime(), runtime());
    one.block_on(async {
        ask(&balancer, 3).await;
        until("all are kept", || idle(&group) == 3).await;
    });
    // While nobody drives the first, its connections would not answer.
    two.block_on(async {
        ask(&balancer, 2).await;
        until("all are kept", || idle(&group) == 5).await;
    });
    assert_eq!(target.counts.opened(), 5);
    drop(one);
    assert_eq!(idle(&group), 2);
    two.block_on(async {
        until("the connections are closed", || target.counts.open() == 2).await;
        ask(&balancer, 2).await;
        at_rest(&group).await;
    });
    assert_eq!(target.counts.opened(), 5);
    drop(two);
    assert_eq!(idle(&group), 0);
    servers.block_on(until("the connections are closed", || target.counts.open() == 0));
}

#[test]
fn an_answer_whose_runtime_ends_is_cut_visibly_and_blames_nobody() {
    let servers =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let target = servers.block_on(Server::by_hand(|mut socket, _| async move {
        socket.head().await;
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        socket.send(answer).await.unwrap();
        socket.rest().await;
    }));
    let group = TargetGroup::builder("web").build().unwrap();
    let balancer = balancer_of(&group, &target);
    let (one, two) = (runtime(), runtime());
    let mut body = one.block_on(async {
        let request = Request::get("/").body(Body::default()).unwrap();
        let response = soon("an answer", balancer.clone().oneshot(request)).await.unwrap();
        let mut body = response.into_body();
        let frame = soon("a part", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "hello");
        body
    });
    drop(one);
    assert_eq!(group.status().in_flight(), 1);
    let error = two.block_on(soon("the end", body.frame())).unwrap().unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&BodyError::Lost));
    let status = &group.status().targets[0];
    assert_eq!((status.in_flight, status.answered, status.failed), (0, 0, 0));
    servers.block_on(until("the connection is closed", || target.counts.open() == 0));
}

/// A group that was checked from one runtime is checked from another that uses it.
fn checks_go_on(end: impl FnOnce(Runtime) -> Option<Runtime>) {
    let (servers, target) = target();
    let check = HealthCheck::http("/1").interval(Duration::from_millis(100)).unhealthy_threshold(1);
    let group = TargetGroup::builder("web").health_check(check).build().unwrap();
    let balancer = balancer_of(&group, &target);
    let (one, two) = (runtime(), runtime());
    one.block_on(async {
        ask(&balancer, 1).await;
        soon("it is healthy", group.until_healthy(1)).await;
    });
    let one = end(one);
    drop(target);
    two.block_on(soon("it is found out", async {
        while group.status().healthy() == 1 {
            let request = Request::get("/1").body(Body::default()).unwrap();
            _ = balancer.clone().oneshot(request).await.unwrap().into_body().collect().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        at_rest(&group).await;
    }));
    drop((one, servers));
}

#[test]
fn checks_go_on_when_the_runtime_they_ran_on_has_ended() {
    checks_go_on(|runtime| {
        drop(runtime);
        None
    });
}

#[test]
fn checks_go_on_when_the_runtime_they_ran_on_is_no_longer_driven() {
    checks_go_on(Some);
}

#[test]
fn a_call_made_outside_of_a_runtime_uses_the_connections_of_where_it_is_waited_for() {
    let (servers, target) = target();
    let group = TargetGroup::builder("web").build().unwrap();
    let mut balancer = balancer_of(&group, &target);
    let here = runtime();
    for _ in 0..3 {
        let request = Request::get("/1").body(Body::default()).unwrap();
        let called = tower::Service::call(&mut balancer, request);
        here.block_on(async {
            let response = called.await.unwrap();
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "one");
            until("it is kept", || idle(&group) == 1).await;
        });
    }
    assert_eq!(target.counts.opened(), 1);
    drop(servers);
}
