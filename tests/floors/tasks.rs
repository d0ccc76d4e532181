//! One task checks a group while a table uses it: however many tables do, on whatever runtime, and no
//! longer.

use std::time::Duration;

use futures_util::FutureExt;
use pointsman::{
    HealthCheck, LoadBalancer, RuleTable, TargetGroup,
    health::{Reason, State},
    layer::{Routed, RulesLayer},
    rule::{Condition, Forward, Rule},
};
use tokio::runtime::{Builder, Handle, Runtime};
use tower::Layer;

use crate::support::{
    Finding, SOON, Script, balancer, fetch, get, group, group_of, named, secs, send, settle, state,
    until,
};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

fn checked(name: &str, script: &Script) -> TargetGroup {
    let check = HealthCheck::probe(script.clone()).interval(secs(10)).unhealthy_threshold(1);
    let group = group(name).health_check(check).build().unwrap();
    group.register(named("one"));
    group
}

/// A group that is checked every twenty milliseconds, for those tests where time cannot stand still.
fn checked_often(script: &Script) -> TargetGroup {
    let check = HealthCheck::probe(script.clone()).interval(Duration::from_millis(20));
    let group = group("web").health_check(check).build().unwrap();
    group.register(named("one"));
    group
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_group_has_one_task_however_many_use_it() {
    let before = tasks();
    let script = Script::well();
    let web = checked("web", &script);
    let rule = |priority| {
        let rule = Rule::new(priority).when(Condition::path_pattern([format!("/{priority}")]));
        rule.then(Forward::to(&web))
    };
    let table = RuleTable::builder().rule(rule(1)).rule(rule(2)).default_action(Forward::to(&web));
    let table = table.build().unwrap();
    let balancers = (0..5).map(|_| LoadBalancer::new(table.clone())).collect::<Vec<_>>();
    let layer = RulesLayer::new(RuleTable::forward_to(&web));
    let clones = balancers.clone();
    for balancer in &balancers {
        fetch(balancer).await;
    }
    assert_eq!(tasks(), before + 1);
    tokio::time::sleep(secs(35)).await;
    assert!((3..=5).contains(&script.count()), "{}", script.count());

    // It ends with the last use.
    drop((balancers, layer));
    settle().await;
    assert_eq!(tasks(), before + 1);
    drop(clones);
    settle().await;
    assert_eq!(tasks(), before);
    let count = script.count();
    tokio::time::sleep(secs(100)).await;
    assert_eq!(script.count(), count);
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_in_the_middle_of_its_checks() {
    let before = tasks();
    let script = Script::well();
    script.finds("one", Finding::Hangs);
    let web = checked("web", &script);
    let balancer = balancer(&web);
    settle().await;
    assert_eq!((tasks(), script.count()), (before + 1, 1));
    drop(balancer);
    settle().await;
    assert_eq!(tasks(), before);
    assert_eq!(state(&web, "one"), State::Unused);
}

#[tokio::test(start_paused = true)]
async fn a_group_in_no_table_is_unused() {
    let script = Script::well();
    let web = checked("web", &script);
    let unused = |web: &TargetGroup| {
        let target = web.status().targets[0].clone();
        assert_eq!((target.state, target.reason), (State::Unused, Some(Reason::NotInUse)));
        assert_eq!(web.status().healthy(), 0);
    };
    tokio::time::sleep(secs(100)).await;
    unused(&web);
    assert_eq!(script.count(), 0);
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    balancer.set_rules(RuleTable::forward_to(&group_of("other", &[])));
    unused(&web);
    tokio::time::sleep(secs(100)).await;
    assert_eq!(script.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_routed_to_yet_is_checked_too() {
    let script = Script::well();
    let (web, api) = (checked("web", &script), checked("api", &script));
    let rule = Rule::new(1).when(Condition::path_pattern(["/api"])).then(Forward::to(&api));
    let table = RuleTable::builder().rule(rule).default_action(Forward::to(&web));
    let _balancer = LoadBalancer::new(table.build().unwrap());
    api.until_healthy(1).await;
    web.until_healthy(1).await;
}

#[tokio::test(start_paused = true)]
async fn swapping_tables_that_share_a_group_does_not_restart_its_checks() {
    let before = tasks();
    let script = Script::well();
    let web = checked("web", &script);
    let other = checked("other", &Script::well());
    let balancer = balancer(&web);
    web.until_healthy(1).await;
    for _ in 0..100 {
        let table = RuleTable::builder().default_action(Forward::split([(&web, 1), (&other, 1)]));
        balancer.set_rules(table.build().unwrap());
        assert_eq!(state(&web, "one"), State::Healthy);
        balancer.set_rules(RuleTable::forward_to(&web));
        assert_eq!(state(&web, "one"), State::Healthy);
        settle().await;
    }
    assert_eq!(script.count(), 1, "no time passed");
    assert_eq!(tasks(), before + 1);
    tokio::time::sleep(secs(12)).await;
    assert_eq!(script.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_health_hears_when_an_old_group_is_used_again() {
    let script = Script::well();
    let web = checked("web", &script);
    let first = balancer(&web);
    web.until_healthy(1).await;
    drop(first);
    settle().await;
    let waiting = tokio::spawn({
        let web = web.clone();
        async move { web.until_healthy(1).await }
    });
    settle().await;
    assert!(!waiting.is_finished());
    let _second = balancer(&web);
    tokio::time::timeout(secs(60), waiting).await.unwrap().unwrap();
}

#[test]
fn a_balancer_made_outside_a_runtime_starts_its_checks_at_the_first_call() {
    let script = Script::well();
    let web = checked_often(&script);
    let balancer = balancer(&web);
    // A call outside of any runtime does not count.
    assert_eq!(send(&balancer, get("/")).now_or_never().unwrap().status, 500);
    assert_eq!(script.count(), 0);
    let runtime = runtime();
    runtime.block_on(async {
        assert_eq!(fetch(&balancer).await, (200, "one".into()));
        tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
    });
    assert_eq!(state(&web, "one"), State::Healthy);
}

#[test]
fn a_call_outside_a_runtime_does_not_put_the_checks_off() {
    let script = Script::well();
    let web = checked("web", &script);
    let balancer = balancer(&web);
    assert_eq!(send(&balancer, get("/")).now_or_never().unwrap().status, 500);
    // The interval is ten seconds.
    runtime().block_on(async {
        fetch(&balancer).await;
        until("the first check", || script.count() == 1).await;
    });
}

#[test]
fn the_floor_of_rules_alone_starts_the_checks_too() {
    let script = Script::well();
    let web = checked("web", &script);
    let floor = RulesLayer::new(RuleTable::forward_to(&web));
    runtime().block_on(async {
        let below = tower::service_fn(|_: Routed| async {
            Ok::<_, pointsman::error::Error>(http::Response::new(pointsman::Body::default()))
        });
        tower::ServiceExt::oneshot(floor.layer(below), get("/")).await.unwrap();
        until("the first check", || script.count() == 1).await;
    });
}

/// Calls until another check is made.
fn check_goes_on(runtime: &Runtime, balancer: &LoadBalancer, script: &Script) {
    let count = script.count();
    runtime.block_on(async {
        let calling = async {
            while script.count() < count + 3 {
                assert_eq!(fetch(balancer).await, (200, "one".into()));
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, calling).await.unwrap();
    });
}

#[test]
fn checks_go_on_on_the_runtime_that_lives() {
    let script = Script::well();
    let web = checked_often(&script);
    let (first, second) = (runtime(), runtime());
    let balancer = first.block_on(async { balancer(&web) });
    check_goes_on(&first, &balancer, &script);
    drop(first);
    check_goes_on(&second, &balancer, &script);
}

#[test]
fn checks_go_on_though_their_runtime_is_not_driven_any_more() {
    let script = Script::well();
    let web = checked_often(&script);
    // Nobody drives it but who blocks on it.
    let first = Builder::new_current_thread().enable_all().build().unwrap();
    let second = runtime();
    let balancer = first.block_on(async { balancer(&web) });
    check_goes_on(&first, &balancer, &script);
    check_goes_on(&second, &balancer, &script);
    // The first one's task finds, when it comes back, that it was replaced.
    first.block_on(async {
        let ends = async {
            while tasks() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, ends).await.unwrap();
    });
    check_goes_on(&second, &balancer, &script);
    assert_eq!(second.metrics().num_alive_tasks(), 1);
}

#[test]
fn a_table_installed_outside_a_runtime_is_checked_from_the_next_call_on() {
    let script = Script::well();
    let web = checked_often(&script);
    let runtime = runtime();
    let balancer = runtime.block_on(async { balancer(&group_of("other", &["one"])) });
    balancer.set_rules(RuleTable::forward_to(&web));
    assert_eq!(script.count(), 0);
    check_goes_on(&runtime, &balancer, &script);
}
