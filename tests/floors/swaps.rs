//! Rule tables swapped under load: each request is decided by one table, whole.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::Request;
use pointsman::{
    Body, LoadBalancer, RuleTable, TargetGroup,
    error::Kind,
    id::RuleId,
    rule::{Condition, FixedResponse, Forward, Rule},
};

use crate::support::{get, group, group_of, named, send};

/// A table with one rule, of this priority, that matches everything.
fn table(priority: u32, group: &TargetGroup) -> RuleTable {
    let rule = Rule::new(priority).when(Condition::path_pattern(["*"])).then(Forward::to(group));
    RuleTable::builder().rule(rule).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_is_decided_by_one_table() {
    let blue = group_of("blue", &["blue 1", "blue 2"]);
    let green = group_of("green", &["green 1", "green 2"]);
    let tables = [table(10, &blue), table(20, &green)];
    let balancer = LoadBalancer::new(tables[0].clone());
    let (done, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load = (0..4).map(|_| {
        let (done, requests) = (Arc::clone(&done), Arc::clone(&requests));
        let balancer = balancer.clone();
        tokio::spawn(async move {
            let mut seen = HashMap::<_, usize>::new();
            while !done.load(Ordering::SeqCst) {
                let answer = send(&balancer, get("/")).await;
                let served = answer.served.unwrap();
                assert_eq!(answer.body.as_deref(), served.target.as_deref());
                let served = (served.rule.to_string(), served.group, served.target);
                *seen.entry(served).or_default() += 1;
                requests.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
            seen
        })
    });
    let load = load.collect::<Vec<_>>();
    for swap in 0..300 {
        balancer.set_rules(tables[swap % 2].clone());
        // A few requests for each table.
        let so_far = requests.load(Ordering::SeqCst);
        while requests.load(Ordering::SeqCst) < so_far + 5 {
            tokio::task::yield_now().await;
        }
    }
    done.store(true, Ordering::SeqCst);
    let mut seen = HashMap::new();
    for load in load {
        for (served, count) in load.await.unwrap() {
            *seen.entry(served).or_insert(0) += count;
        }
    }
    let served = |rule: &str, group: &str, target: &str| {
        (rule.to_owned(), Some(group.into()), Some(target.into()))
    };
    let expected = [
        served("rule 10", "blue", "blue 1"),
        served("rule 10", "blue", "blue 2"),
        served("rule 20", "green", "green 1"),
        served("rule 20", "green", "green 2"),
    ];
    assert_eq!(seen.len(), 4, "{seen:?}");
    for served in expected {
        assert!(seen[&served] > 100, "{seen:?}");
    }
    for group in [blue, green] {
        assert_eq!(group.status().in_flight(), 0);
    }
}

#[tokio::test]
async fn what_is_under_way_goes_on_by_the_old_table() {
    let (release, released) = tokio::sync::watch::channel(false);
    let web = group("web").build().unwrap();
    web.register(crate::support::answering("slow", move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|released| *released).await.unwrap();
            http::Response::new(Body::from("slow"))
        }
    }));
    let balancer = LoadBalancer::new(table(10, &web));
    let request = tokio::spawn({
        let balancer = balancer.clone();
        async move { send(&balancer, get("/")).await }
    });
    crate::support::settle().await;
    balancer.set_rules(RuleTable::builder().build().unwrap());
    assert_eq!(send(&balancer, get("/")).await.error.unwrap().kind(), Kind::NoRule);
    release.send_replace(true);
    let answer = request.await.unwrap();
    assert_eq!((answer.status, answer.target()), (200, "slow"));
    assert_eq!(answer.served.unwrap().rule.to_string(), "rule 10");
}

#[tokio::test]
async fn each_action_says_which_rule_it_was() {
    let web = group_of("web", &[]);
    web.register(named("one"));
    let when = |path| Condition::path_pattern([path]);
    let table = RuleTable::builder()
        .rule(Rule::new(1).when(when("/fixed")).then(FixedResponse::new(418).body("short")))
        .rule(
            Rule::new(2)
                .when(when("/old/*"))
                .then(pointsman::rule::Redirect::moved_permanently().path("/new")),
        )
        .default_action(Forward::to(&web))
        .build()
        .unwrap();
    let balancer = LoadBalancer::new(table);
    let ask = async |path: &str| {
        let request = Request::get(path).header("host", "a.example").body(Body::default());
        let answer = send(&balancer, request.unwrap()).await;
        assert!(answer.error.is_none());
        let served = answer.served.unwrap();
        let target = served.target.map(|target| target.to_string());
        (answer.status, served.rule, served.group.map(|group| group.to_string()), target)
    };
    let rule = |priority| RuleId::Priority(std::num::NonZeroU32::new(priority).unwrap());
    assert_eq!(ask("/fixed").await, (418, rule(1), None, None));
    assert_eq!(ask("/old/x").await, (301, rule(2), None, None));
    let forwarded = (200, RuleId::Default, Some("web".into()), Some("one".into()));
    assert_eq!(ask("/").await, forwarded);
}
