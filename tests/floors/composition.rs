//! A balancer in the hands of others: tower-http's layers around it, axum's routers, hyper, and a
//! balancer behind a balancer.

use std::{convert::Infallible, fmt::Debug, net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing};
use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    error::{Error, Kind},
    layer::Served,
    proxy::HttpOptions,
    rule::{Condition, FixedResponse, Forward, Rule},
};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_http::{
    compression::CompressionLayer,
    cors::CorsLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
};

use crate::support::{answering, balancer, fetch, get, group_of, named, secs, send, silent};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Error: Debug>,
{
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

/// A target that answers with what it sees: the path, or a header.
fn mirror(name: &'static str) -> Target {
    answering(name, |request| async move {
        let field = request.uri().query().and_then(|name| request.headers().get(name));
        let seen = match field {
            Some(value) => value.to_str().unwrap().to_owned(),
            None => request.uri().to_string(),
        };
        Response::new(Body::from(seen))
    })
}

#[tokio::test]
async fn the_layers_of_tower_http_wrap_a_balancer_as_it_is() {
    let web = group_of("web", &[]);
    web.register(answering("one", |request| async move {
        let id = request.headers()[REQUEST_ID].to_str().unwrap();
        // Below 32 bytes nothing is compressed.
        Response::builder()
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Body::from(format!("{id} {}", "x".repeat(1000))))
            .unwrap()
    }));
    let service = ServiceBuilder::new()
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(TraceLayer::new_for_http())
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(CorsLayer::permissive())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, secs(20)))
        .service(balancer(&web));
    let ask = async |encoding: &str| {
        let request = Request::get("/")
            .header(header::ORIGIN, "http://a.example")
            .header(header::ACCEPT_ENCODING, encoding);
        let request = request.body(Body::default()).unwrap();
        service.clone().oneshot(request).await.unwrap()
    };
    let response = ask("identity").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert_eq!(response.extensions().get::<Served>().unwrap().target, Some("one".into()));
    let id = response.headers()[REQUEST_ID].to_str().unwrap().to_owned();
    assert_eq!(text(response).await, format!("{id} {}", "x".repeat(1000)));

    let response = ask("gzip").await;
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes.starts_with(&[0x1f, 0x8b]) && bytes.len() < 200);
    assert_eq!(web.status().in_flight(), 0);
    assert_eq!(web.status().targets[0].answered, 2);

    // What the layers answer by themselves does not reach a target.
    let preflight = Request::options("/")
        .header(header::ORIGIN, "http://a.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT");
    let preflight = preflight.body(Body::default()).unwrap();
    assert_eq!(service.clone().oneshot(preflight).await.unwrap().status(), 200);
    assert_eq!(web.status().targets[0].answered, 2);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_around_a_balancer_looks_like_a_client_that_left() {
    let web = group_of("web", &[]);
    web.register(silent("silent"));
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, secs(3)))
        .service(balancer(&web));
    assert_eq!(service.oneshot(get("/")).await.unwrap().status(), 408);
    let target = &web.status().targets[0];
    assert_eq!((target.in_flight, target.answered, target.failed), (0, 0, 0));
}

#[test]
fn a_balancer_takes_requests_with_any_body() {
    fn is_shared<S: Clone + Send + Sync + 'static>() {}
    fn takes<B>()
    where
        LoadBalancer: Service<
                Request<B>,
                Response = Response<Body>,
                Error = Infallible,
                Future: Send + 'static,
            >,
    {
    }
    is_shared::<LoadBalancer>();
    takes::<Body>();
    takes::<Full<Bytes>>();
    takes::<Empty<Bytes>>();
    takes::<axum::body::Body>();
    takes::<Incoming>();
    takes::<String>();
    takes::<http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>>();
}

#[tokio::test]
async fn bodies_of_any_kind_arrive_whole() {
    let web = group_of("web", &[]);
    web.register(answering("echo", |request| async { Response::new(request.into_body()) }));
    let balancer = balancer(&web);
    async fn check<B>(balancer: &LoadBalancer, body: B, expected: &str)
    where
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let response = balancer.clone().oneshot(Request::new(body)).await.unwrap();
        assert_eq!(text(response).await, expected);
    }
    check(&balancer, Body::from("ours"), "ours").await;
    check(&balancer, Full::new(Bytes::from("full")), "full").await;
    check(&balancer, Empty::<Bytes>::new(), "").await;
    check(&balancer, String::from("text"), "text").await;
    let chunks = futures_util::stream::iter(["a", "b", "c"].map(Ok::<_, Infallible>));
    check(&balancer, axum::body::Body::from_stream(chunks), "abc").await;
    assert_eq!(web.status().in_flight(), 0);
}

#[tokio::test]
async fn a_fallback_gets_what_no_route_of_axums_takes() {
    let web = group_of("web", &[]);
    web.register(mirror("one"));
    let app: Router = Router::new()
        .route("/about", routing::get(|| async { "about" }))
        .fallback_service(balancer(&web));
    let ask = async |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        text(app.clone().oneshot(request).await.unwrap()).await
    };
    assert_eq!(ask("/about").await, "about");
    assert_eq!(ask("/else/where?x=1").await, "/else/where?x=1");
    assert_eq!(ask("/").await, "/");
}

fn by_path(group: &TargetGroup, path: &str) -> LoadBalancer {
    let rule = Rule::new(1).when(Condition::path_pattern([path])).then(Forward::to(group));
    let table = RuleTable::builder().rule(rule).default_action(FixedResponse::new(404));
    LoadBalancer::new(table.build().unwrap())
}

#[tokio::test]
async fn a_route_of_axums_keeps_the_whole_path_and_a_nest_the_rest() {
    let web = group_of("web", &[]);
    web.register(mirror("one"));
    let app: Router = Router::new()
        .route_service("/api/{*rest}", by_path(&web, "/api/v1*"))
        .nest_service("/nest", by_path(&web, "/v1*"));
    let ask = async |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        (response.status().as_u16(), text(response).await)
    };
    assert_eq!(ask("/api/v1/a%2fb?x=1").await, (200, "/api/v1/a%2fb?x=1".into()));
    assert_eq!(ask("/api/v2").await.0, 404);
    assert_eq!(ask("/nest/v1/a?x=1").await, (200, "/v1/a?x=1".into()));
    assert_eq!(ask("/nest/nest/v1").await.0, 404);
}

#[tokio::test]
async fn who_the_client_is_may_be_read_from_what_axum_leaves() {
    let web = group_of("web", &[]);
    web.register(mirror("one"));
    let balancer = LoadBalancer::builder()
        .peer(|extensions| {
            extensions.get::<ConnectInfo<SocketAddr>>().map(|info| Peer::new(info.0))
        })
        .build(RuleTable::forward_to(&web));
    let app: Router = Router::new().fallback_service(balancer);
    let mut request = Request::new(axum::body::Body::empty());
    *request.uri_mut() = "/?x-forwarded-for".parse().unwrap();
    let client = "192.0.2.7:1234".parse::<SocketAddr>().unwrap();
    request.extensions_mut().insert(ConnectInfo(client));
    request.headers_mut().insert("host", "a.test".parse().unwrap());
    assert_eq!(text(app.oneshot(request).await.unwrap()).await, "192.0.2.7");
}

#[tokio::test]
async fn a_handle_outlives_mounting() {
    let (web, api) = (group_of("web", &["web 1"]), group_of("api", &["api 1"]));
    let balancer = balancer(&web);
    let app: Router = Router::new().fallback_service(balancer.clone());
    let ask = async || {
        let request = Request::new(axum::body::Body::empty());
        text(app.clone().oneshot(request).await.unwrap()).await
    };
    assert_eq!(ask().await, "web 1");
    assert_eq!(balancer.groups(), std::slice::from_ref(&web));
    assert_eq!(balancer.group("web"), Some(web));
    balancer.set_rules(RuleTable::forward_to(&api));
    assert_eq!(ask().await, "api 1");
    assert_eq!(balancer.rules().groups(), [api]);
    assert_eq!(balancer.group("web"), None);
}

#[tokio::test]
async fn a_balancer_for_one_connection_shares_the_rules() {
    let (web, api) = (group_of("web", &[]), group_of("api", &["api 1"]));
    web.register(mirror("one"));
    let balancer = balancer(&web);
    let of_client = balancer.for_peer(Peer::new("192.0.2.1:5000".parse().unwrap()));
    let seen = send(&of_client, get("/?x-forwarded-for")).await;
    assert_eq!(seen.text(), "192.0.2.1");
    let seen = send(&balancer, get("/?x-forwarded-for")).await;
    assert_eq!(seen.text(), "/?x-forwarded-for", "nobody said who the client is");
    balancer.set_rules(RuleTable::forward_to(&api));
    assert_eq!(fetch(&of_client).await, (200, "api 1".into()));
}

#[tokio::test]
async fn a_balancer_behind_a_balancer_leaves_the_forwarding_headers_as_they_are() {
    let inner = group_of("inner", &[]);
    inner.register(mirror("backend"));
    let outer = group_of("outer", &[]);
    outer.register(Target::service("inner", balancer(&inner)));
    let peer = Peer::new("192.0.2.1:5000".parse().unwrap());
    let local = "10.0.0.1:8443".parse().unwrap();
    let peer = peer.local(local).https(true);

    let check = async |balancer: LoadBalancer, extension: Option<Peer>, seen: [&str; 3]| {
        let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"];
        for (name, seen) in names.into_iter().zip(seen) {
            let mut request = get(&format!("/?{name}"));
            request.headers_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
            if let Some(peer) = extension {
                request.extensions_mut().insert(peer);
            }
            let answer = send(&balancer, request).await;
            assert_eq!(answer.text(), seen, "{name}");
            let served = answer.served.unwrap();
            assert_eq!((served.group, served.target), (Some("outer".into()), Some("inner".into())));
        }
    };
    let seen = ["203.0.113.9, 192.0.2.1", "https", "8443"];
    check(balancer(&outer), Some(peer), seen).await;
    check(balancer(&outer).for_peer(peer), None, seen).await;
    let nobody = ["/?x-forwarded-for", "/?x-forwarded-proto", "/?x-forwarded-port"];
    check(balancer(&outer), None, nobody).await;
    // Whom the outer one does not believe, the inner one does not either.
    let unbelieving = LoadBalancer::builder().peer(|_| None);
    check(unbelieving.build(RuleTable::forward_to(&outer)), Some(peer), nobody).await;
    // One that would find the client by itself does not write it a second time.
    let finding = LoadBalancer::builder().peer(move |_| Some(peer));
    let finding = finding.build(RuleTable::forward_to(&inner));
    outer.register(Target::service("inner", finding));
    check(balancer(&outer), Some(peer), seen).await;
    // Nor does one that was told of another.
    let told = balancer(&inner).for_peer(Peer::new("192.0.2.2:5000".parse().unwrap()));
    outer.register(Target::service("inner", told));
    check(balancer(&outer), Some(peer), seen).await;
}

#[tokio::test]
async fn errors_of_a_balancer_behind_a_balancer_are_answers() {
    let inner = group_of("inner", &[]);
    let outer = group_of("outer", &[]);
    outer.register(Target::service("inner", balancer(&inner)));
    let answer = send(&balancer(&outer), get("/")).await;
    assert_eq!((answer.status, answer.text()), (503, "503 Service Unavailable\n"));
    assert!(answer.error.is_none());
    let served = answer.served.unwrap();
    assert_eq!((served.group, served.target), (Some("outer".into()), Some("inner".into())));
}

#[test]
fn a_call_outside_a_runtime_is_an_error() {
    let web = group_of("web", &["one"]);
    web.register(Target::new("127.0.0.1:9".parse().unwrap()));
    let balancer = balancer(&web);
    for _ in 0..2 {
        let answer = futures_util::FutureExt::now_or_never(send(&balancer, get("/"))).unwrap();
        assert_eq!(answer.status, 500);
        assert_eq!(answer.error.unwrap().kind(), Kind::NoRuntime);
    }
    for target in web.status().targets {
        assert_eq!((target.in_flight, target.failed), (0, 0));
    }
}

#[test]
fn an_answer_waited_for_outside_of_a_runtime_is_an_error_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (here, there) = (group_of("here", &["one"]), group_of("there", &[]));
    there.register(Target::new("127.0.0.1:9".parse().unwrap()));
    for (web, timeout) in [(&here, None), (&there, None), (&there, Some(Duration::from_secs(1)))] {
        let options = HttpOptions::new();
        let options = timeout.into_iter().fold(options, HttpOptions::request_timeout);
        let mut balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(web));
        let called = {
            let _inside = runtime.enter();
            Service::call(&mut balancer, get("/"))
        };
        let answer = futures_util::FutureExt::now_or_never(called).unwrap().unwrap();
        assert_eq!(answer.status(), 500, "{timeout:?}");
        assert_eq!(answer.extensions().get::<Error>().unwrap().kind(), Kind::NoRuntime);
        assert_eq!(web.status().in_flight(), 0);
    }
}

#[test]
fn an_error_of_ours_is_one_of_everybodys() {
    fn is_error<E: std::error::Error + Clone + Send + Sync + 'static>() {}
    is_error::<Error>();
}

#[tokio::test]
async fn explaining_changes_nothing() {
    let web = group_of("web", &["one", "two"]);
    web.register(named("three"));
    let balancer = balancer(&web);
    for target in ["one", "two", "three", "one"] {
        for _ in 0..3 {
            let explanation = balancer.explain(&get("/"));
            let picked = explanation.target().cloned();
            assert_eq!(picked, Some(target.into()), "{explanation}");
        }
        assert_eq!(web.status().in_flight(), 0);
        assert_eq!(fetch(&balancer).await, (200, target.into()));
    }
}
