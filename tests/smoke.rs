//! smoke
mod support;
use pointsman::*;
use support::*;

#[tokio::test]
async fn two_backends_take_turns() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let web =
        TargetGroup::builder("web").health_check(HealthCheck::http("/health")).build().unwrap();
    web.register(Target::new(one.address));
    web.register(Target::new(two.address));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    web.until_healthy(2).await;
    let front = Server::balancing(&balancer).await;
    let client = client();
    for _ in 0..5 {
        assert_eq!(get(&client, front.uri("/")).await, (200, "one".into()));
        assert_eq!(get(&client, front.uri("/")).await, (200, "two".into()));
    }
    println!("{}", web.status());
    println!("{}", balancer.explain(&http::Request::get("/").body(()).unwrap()));
    assert_eq!(web.status().in_flight(), 0);
    drop(one);
    for _ in 0..6 {
        assert_eq!(get(&client, front.uri("/")).await, (200, "two".into()));
    }
    drop(two);
    assert_eq!(get(&client, front.uri("/")).await.0, 502);
    println!("{}", web.status());
    drop(front);
    drop(balancer);
}
