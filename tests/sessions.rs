//! Sessions through the whole balancer: who had a target keeps it while it can be had.
#![cfg(feature = "sticky")]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response, header};
use http_body_util::BodyExt;
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    clock::Clock,
    group::TargetGroupBuilder,
    layer::Served,
    rule::{Condition, Forward, Rule},
    stickiness::{CookieKey, LoadBalancerCookie},
};
use support::{Server, client, fetch};
use tower::{ServiceExt, service_fn};

fn key() -> CookieKey {
    CookieKey::from_bytes([1; 32])
}

fn sticky(name: &str) -> TargetGroupBuilder {
    TargetGroup::builder(name).stickiness(LoadBalancerCookie::builder(key()).build().unwrap())
}

/// Registers services that answer with their names.
fn register(group: &TargetGroup, names: &[&'static str]) {
    for name in names {
        let name = *name;
        let service = service_fn(move |_: Request<Body>| async move {
            Ok::<_, Infallible>(Response::new(Body::from(name)))
        });
        group.register(Target::service(name, service));
    }
}

/// A client that keeps cookies as a browser does, by name.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn cookies(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, headers: &http::HeaderMap) -> bool {
        let set = headers.get_all(header::SET_COOKIE);
        for cookie in &set {
            let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.insert(name.to_owned(), value.to_owned());
        }
        set.iter().next().is_some()
    }

    /// Asks a balancer; who answered, and whether the cookie was written.
    async fn ask(&mut self, balancer: &LoadBalancer, path: &str) -> (String, bool) {
        let request = Request::get(path).header("cookie", self.cookies()).body(Body::default());
        let response = balancer.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let written = self.keep(response.headers());
        let target = response.extensions().get::<Served>().unwrap().target.clone().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, target.as_bytes());
        (target.to_string(), written)
    }
}

#[tokio::test]
async fn a_client_keeps_its_target_and_others_go_elsewhere() {
    let group = sticky("web").build().unwrap();
    register(&group, &["one", "two", "three"]);
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let (mut ann, mut bob) = (Browser::default(), Browser::default());
    assert_eq!(ann.ask(&balancer, "/").await, ("one".into(), true));
    assert_eq!(bob.ask(&balancer, "/").await, ("two".into(), true));
    for _ in 0..5 {
        assert_eq!(ann.ask(&balancer, "/").await.0, "one");
        assert_eq!(bob.ask(&balancer, "/").await.0, "two");
    }
}

#[tokio::test]
async fn vector_24_a_target_that_is_deregistered_is_replaced_and_the_cookie_with_it() {
    let group = sticky("web").build().unwrap();
    register(&group, &["one", "two"]);
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let mut ann = Browser::default();
    assert_eq!(ann.ask(&balancer, "/").await.0, "one");
    group.deregister("one");
    assert_eq!(ann.ask(&balancer, "/").await, ("two".into(), true));
    // The session stays where it went when the old target comes back.
    register(&group, &["one"]);
    for _ in 0..3 {
        assert_eq!(ann.ask(&balancer, "/").await.0, "two");
    }
}

#[tokio::test]
async fn sessions_are_kept_from_when_a_group_is_told_to_until_it_is_told_not_to() {
    let web = TargetGroup::builder("web").build().unwrap();
    register(&web, &["one", "two"]);
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    let mut browser = Browser::default();
    let mut check = async |settings: TargetGroupBuilder, written: bool, targets: usize| {
        web.reconfigure(settings).unwrap();
        let (mut served, mut is_written) = (HashSet::new(), false);
        for _ in 0..4 {
            let (target, is_new) = browser.ask(&balancer, "/").await;
            is_written |= is_new;
            served.insert(target);
        }
        assert_eq!((is_written, served.len()), (written, targets));
    };
    check(TargetGroup::builder("web"), false, 2).await;
    check(sticky("web"), true, 1).await;
    check(TargetGroup::builder("web"), false, 2).await;
}

#[tokio::test]
async fn two_groups_in_turn_keep_both_targets_in_one_cookie() {
    let (web, api) = (sticky("web").build().unwrap(), sticky("api").build().unwrap());
    register(&web, &["web one", "web two"]);
    register(&api, &["api one", "api two"]);
    let rules = RuleTable::builder()
        .rule(Rule::new(1).when(Condition::path_pattern(["/api/*"])).then(Forward::to(&api)))
        .default_action(Forward::to(&web))
        .build()
        .unwrap();
    let balancer = LoadBalancer::new(rules);
    let mut others = Browser::default();
    others.ask(&balancer, "/api/").await;
    let mut ann = Browser::default();
    assert_eq!(ann.ask(&balancer, "/").await.0, "web one");
    assert_eq!(ann.ask(&balancer, "/api/").await.0, "api two");
    assert_eq!(ann.0.len(), 1, "one cookie for both");
    for _ in 0..4 {
        assert_eq!(ann.ask(&balancer, "/").await.0, "web one");
        assert_eq!(ann.ask(&balancer, "/api/").await.0, "api two");
    }
}

#[tokio::test]
async fn balancers_that_share_a_key_share_sessions() {
    let balancer = |key: CookieKey| {
        let cookie = LoadBalancerCookie::builder(key).build().unwrap();
        let group = TargetGroup::builder("web").stickiness(cookie).build().unwrap();
        register(&group, &["one", "two"]);
        LoadBalancer::new(RuleTable::forward_to(&group))
    };
    let (first, second) = (balancer(key()), balancer(key()));
    let stranger = balancer(CookieKey::from_bytes([2; 32]));
    let mut ann = Browser::default();
    first.clone().oneshot(Request::new(Body::default())).await.unwrap();
    assert_eq!(ann.ask(&first, "/").await.0, "two");
    assert_eq!(ann.ask(&second, "/").await.0, "two", "a fresh balancer would begin with one");
    assert_eq!(ann.ask(&stranger, "/").await.0, "one", "it cannot read the cookie");
}

#[tokio::test(start_paused = true)]
async fn a_session_slides_with_its_use_and_ends_without() {
    let duration = Duration::from_secs(100);
    let cookie = LoadBalancerCookie::builder(key()).duration(duration).build().unwrap();
    let group =
        TargetGroup::builder("web").stickiness(cookie).clock(Clock::tokio()).build().unwrap();
    register(&group, &["one", "two"]);
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let mut ann = Browser::default();
    assert_eq!(ann.ask(&balancer, "/").await.0, "one");
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(ann.ask(&balancer, "/").await, ("one".into(), true), "it slides");
    }
    tokio::time::advance(Duration::from_secs(103)).await;
    assert_eq!(ann.ask(&balancer, "/").await, ("two".into(), true), "it ended");
}

#[tokio::test]
async fn a_dead_target_is_replaced_within_the_request() {
    let group = sticky("web").build().unwrap();
    let server = Server::named("living").await;
    let dead = Server::named("dead").await;
    group.register(Target::new(dead.address).with_id("dead"));
    group.register(Target::new(server.address).with_id("living"));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let mut ann = Browser::default();
    assert_eq!(ann.ask(&balancer, "/").await.0, "dead");
    drop(dead);
    assert_eq!(ann.ask(&balancer, "/").await, ("living".into(), true));
    assert_eq!(ann.ask(&balancer, "/").await.0, "living");
}

/// A server that, like Socket.IO's long polling, knows only the sessions that it began itself.
async fn long_polling() -> Server {
    static SESSIONS: AtomicUsize = AtomicUsize::new(1);
    let known = Arc::new(Mutex::new(HashSet::<String>::new()));
    Server::answering(move |request| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let mut known = known.lock().unwrap();
        let mut response = match query.split('&').find_map(|pair| pair.strip_prefix("sid=")) {
            None => {
                let sid = SESSIONS.fetch_add(1, Ordering::SeqCst).to_string();
                known.insert(sid.clone());
                Response::new(Body::from(sid))
            }
            Some(sid) if known.contains(sid) => Response::new(Body::from("2")),
            Some(_) => {
                let mut response = Response::new(Body::from("unknown sid"));
                *response.status_mut() = http::StatusCode::BAD_REQUEST;
                response
            }
        };
        response.headers_mut().insert("connection", header::HeaderValue::from_static("keep-alive"));
        async move { response }
    })
    .await
}

/// Begins a session and polls ten times, as Socket.IO's client does; how many polls failed.
async fn polls_that_fail(front: &Server) -> usize {
    let (client, mut browser) = (client(), Browser::default());
    let mut failed = 0;
    let mut sid = String::new();
    for poll in 0..11 {
        let query = if poll == 0 { String::new() } else { format!("&sid={sid}") };
        let uri = front.uri(&format!("/socket.io/?EIO=4&transport=polling{query}"));
        let request = Request::get(uri).header("cookie", browser.cookies()).body(Body::default());
        let (parts, body) = fetch(&client, request.unwrap()).await;
        browser.keep(&parts.headers);
        if poll == 0 {
            sid = body;
        } else if parts.status == 400 {
            failed += 1;
        }
    }
    failed
}

#[tokio::test]
async fn long_polling_fails_without_stickiness_and_holds_with_it() {
    let servers = [long_polling().await, long_polling().await, long_polling().await];
    let front = async |group: TargetGroup| {
        servers.iter().for_each(|server| group.register(Target::new(server.address)));
        Server::balancing(&LoadBalancer::new(RuleTable::forward_to(&group))).await
    };
    let plain = front(TargetGroup::builder("plain").build().unwrap()).await;
    let sticky = front(sticky("sticky").build().unwrap()).await;
    assert!(polls_that_fail(&plain).await > 0);
    for _ in 0..3 {
        assert_eq!(polls_that_fail(&sticky).await, 0);
    }
}
