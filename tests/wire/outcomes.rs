//! What is told of exchanges over connections.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use http_body_util::BodyExt;
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    outcome::{End, Outcome, Stage},
};

use crate::support::{Server, at_rest, client, fetch, until};

#[tokio::test]
async fn an_exchange_tells_whether_its_connection_was_kept_and_what_went_over_it() {
    let target = Server::answering(|request| async {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(Body::from([&body[..], b"!"].concat().escape_ascii().to_string()))
    })
    .await;
    let web = TargetGroup::builder("web").build().unwrap();
    web.register(Target::new(target.address));
    let told = Arc::new(Mutex::new(Vec::<Outcome>::new()));
    let observer = Arc::clone(&told);
    let balancer = LoadBalancer::builder()
        .observe(move |outcome| observer.lock().unwrap().push(outcome.clone()))
        .build(RuleTable::forward_to(&web));
    let (server, client) = (Server::balancing(&balancer).await, client());
    for body in ["hello", ""] {
        let request = Request::post(server.uri("/")).body(Body::from(body)).unwrap();
        assert_eq!(fetch(&client, request).await.1, format!("{body}!"));
        at_rest(&web).await;
        until("the connection is kept", || web.status().targets[0].connections_idle == 1).await;
    }
    let told = told.lock().unwrap();
    let [first, second] = &told[..] else { panic!("{told:?}") };
    for outcome in [first, second] {
        assert_eq!((outcome.end, outcome.stage), (End::Done, Stage::Body));
        assert!(outcome.head.unwrap() <= outcome.total);
    }
    assert_eq!((first.reused, first.sent, first.received), (false, 5, 6));
    assert!(first.connect.unwrap() <= first.head.unwrap());
    assert_eq!((second.reused, second.sent, second.received), (true, 0, 1));
    assert_eq!(second.connect, None);
}
