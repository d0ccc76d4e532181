//! What all floors together cost a request: over an end that answers at once, and over a connection.
//!
//! `cargo bench --bench stack`
//!
//! In process, what is counted is what comes on top of making the request and the response. Over a
//! connection it is what comes on top of the bare pool, which does the same header work but has no
//! floors: no rules, no picking, no counts, no deadlines.

// Not in `support`, since counting replaces the allocator, which the other benches leave alone.
#[path = "support/allocations.rs"]
mod allocations;
mod support;

use std::{convert::Infallible, future::ready, process::ExitCode, sync::Arc};

use http::{HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::BodyExt;
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    endpoint::{Endpoint, Transport},
    head::Head,
    proxy::{self, HttpOptions},
};
#[cfg(feature = "sticky")]
use pointsman::{
    layer::Served,
    stickiness::{CookieKey, LoadBalancerCookie},
};
use tokio::{runtime::Runtime, task::yield_now};
use tower::{ServiceExt, service_fn};

use allocations::allocations_of;
use support::{
    settings::stack as settings,
    table::{Table, Unit},
    timing::{Case, Times},
    wire,
};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut table = Table::new("stack");
    in_process(&mut table, &runtime);
    over_a_connection(&mut table, &runtime);
    table.finish()
}

fn in_process(table: &mut Table, runtime: &Runtime) {
    let plain = balancer(TargetGroup::builder("web").build().unwrap());
    let alone = |cookie: Option<HeaderValue>| {
        async move || {
            let request = request(Method::GET, cookie.as_ref());
            let response = std::hint::black_box((request, answer())).1;
            read(response).await;
        }
    };
    let floors = |balancer: LoadBalancer, cookie: Option<HeaderValue>| {
        async move || {
            let request = request(Method::GET, cookie.as_ref());
            // As servers do, which clone a service for each request.
            read(balancer.clone().oneshot(request).await.unwrap()).await;
        }
    };
    let mut cases = vec![repeat(runtime, alone(None)), repeat(runtime, floors(plain, None))];
    #[cfg(feature = "sticky")]
    {
        let (sticky, cookie) = runtime.block_on(session());
        cases.push(repeat(runtime, alone(Some(cookie.clone()))));
        cases.push(repeat(runtime, floors(sticky, Some(cookie))));
    }
    let counts = cases.iter_mut().map(allocations).collect::<Vec<_>>();
    let times = Times::of(cases);
    let goals = [settings::ALLOCATIONS_MAX, settings::ALLOCATIONS_STICKY_MAX];
    for (pair, (name, goal)) in ["", ", with a session"].into_iter().zip(goals).enumerate() {
        let (alone, floors) = (2 * pair, 2 * pair + 1);
        if floors >= counts.len() {
            continue;
        }
        table.say(format!("request and response alone{name}"), counts[alone], Unit::Allocations);
        table.say("  time", times.least(alone), Unit::Nanoseconds);
        let more = counts[floors] - counts[alone];
        table.hold(format!("floors on top{name}"), more, goal as f64, Unit::Allocations);
        table.say("  time", times.least(floors) - times.least(alone), Unit::Nanoseconds);
    }
}

fn over_a_connection(table: &mut Table, runtime: &Runtime) {
    let (listener, address) = wire::listen();
    wire::on_a_thread("backend", async { wire::serve(listener, wire::answer_of(1024)).await });
    let target = Target::new(address);
    let load = Arc::default();
    let pool = Arc::new(Endpoint::new(target.address().clone(), Transport::default(), load));
    let bare = |method: Method| {
        let pool = Arc::clone(&pool);
        async move || {
            let mut request = request(method.clone(), None);
            let peer = request.extensions().get::<Peer>().copied();
            proxy::toward_targets(&mut request, peer.as_ref(), &HttpOptions::default());
            let mut response = pool.send(request).await.unwrap();
            proxy::toward_client(&mut response, &HttpOptions::default());
            read(response).await;
            until_idle(&pool).await;
        }
    };
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(target);
    let member = group.assign(&Head::of(&Request::new(()), None), None, &[]).unwrap().member;
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let floors = |method: Method| {
        let (balancer, endpoint) = (balancer.clone(), Arc::clone(member.endpoint()));
        async move || {
            let request = request(method.clone(), None);
            read(balancer.clone().oneshot(request).await.unwrap()).await;
            until_idle(&endpoint).await;
        }
    };
    let mut cases = vec![
        // A request that may not be sent twice is not copied.
        repeat(runtime, bare(Method::POST)),
        repeat(runtime, floors(Method::POST)),
        repeat(runtime, bare(Method::GET)),
        repeat(runtime, floors(Method::GET)),
    ];
    let counts = cases.iter_mut().map(allocations).collect::<Vec<_>>();
    let times = Times::of(cases);
    for endpoint in [&pool, member.endpoint()] {
        assert_eq!(endpoint.connections_idle(), 1, "a connection was not used again");
    }
    table.say("bare pool over a connection, POST", counts[0], Unit::Allocations);
    table.say("  time", times.least(0) / 1e3, Unit::Microseconds);
    let (goal, copy_goal) = (settings::ALLOCATIONS_WIRE_MAX, settings::ALLOCATIONS_WIRE_COPY_MAX);
    let more = |case: usize| counts[case] - counts[0];
    table.hold("floors on top, POST", more(1), goal as f64, Unit::Allocations);
    table.say("  time, in that of the bare pool", times.ratio(1, 0), Unit::Times);
    table.say("bare pool on top, GET", more(2), Unit::Allocations);
    table.hold("floors on top, GET", more(3), copy_goal as f64, Unit::Allocations);
    table.say("  time, in that of the bare pool with GET", times.ratio(3, 2), Unit::Times);
}

/// Makes a case of a request that is made, answered and read to its end.
fn repeat<'a>(runtime: &'a Runtime, mut exchange: impl AsyncFnMut() + 'a) -> Case<'a> {
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                exchange().await;
            }
        });
    })
}

fn allocations(case: &mut Case<'_>) -> f64 {
    // What is made once, connections for one, is there after a few.
    case(10);
    allocations_of(settings::COUNTED, || case(settings::COUNTED))
}

fn request(method: Method, cookie: Option<&HeaderValue>) -> Request<Body> {
    let mut request = Request::new(Body::default());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from_static("/index.html");
    let fields = [
        (header::HOST, "bench.example"),
        (header::USER_AGENT, "bench/1.0"),
        (header::ACCEPT, "text/html"),
        (header::ACCEPT_ENCODING, "gzip"),
        (header::ACCEPT_LANGUAGE, "en"),
    ];
    for (name, value) in fields {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Some(cookie) = cookie {
        request.headers_mut().insert(header::COOKIE, cookie.clone());
    }
    let address = |host| ([192, 0, 2, host], 443).into();
    request.extensions_mut().insert(Peer::new(address(1)).local(address(2)).https(true));
    request
}

fn answer() -> Response<Body> {
    let mut response = Response::new(Body::from("hello"));
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// Reads an answer to its end.
async fn read(response: Response<Body>) {
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
}

/// Waits until the connection is in the pool again, where the next request finds it.
async fn until_idle(endpoint: &Endpoint) {
    while endpoint.connections_idle() == 0 {
        yield_now().await;
    }
}

/// Makes a balancer over a group with two ends that answer at once.
fn balancer(group: TargetGroup) -> LoadBalancer {
    let end = service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(answer())));
    group.register(Target::service("one", end));
    group.register(Target::service("two", end));
    LoadBalancer::new(RuleTable::forward_to(&group))
}

/// Makes a balancer that keeps sessions, and the cookie of a client that has one.
#[cfg(feature = "sticky")]
async fn session() -> (LoadBalancer, HeaderValue) {
    let cookie = LoadBalancerCookie::builder(CookieKey::generate().unwrap()).build().unwrap();
    let balancer = balancer(TargetGroup::builder("web").stickiness(cookie).build().unwrap());
    let ask = async |cookie: Option<&HeaderValue>| {
        let response = balancer.clone().oneshot(request(Method::GET, cookie)).await.unwrap();
        let served = response.extensions().get::<Served>().unwrap().clone();
        let set = response.headers().get(header::SET_COOKIE).cloned();
        (served.target.unwrap(), set)
    };
    let (target, set) = ask(None).await;
    let set = set.unwrap();
    let (pair, _) = set.to_str().unwrap().split_once(';').unwrap();
    let cookie = HeaderValue::from_str(pair).unwrap();
    for _ in 0..4 {
        assert_eq!(ask(Some(&cookie)).await.0, target, "the session was not recalled");
    }
    (balancer, cookie)
}
