//! What forwards to one target on its own: its requests are refused, introduced and given back, its
//! tunnels and errors are, as behind a balancer. That all else is the same is held in `bytes.rs`.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Request, Response, Version};
use http_body_util::BodyExt;
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    error::{Error, Kind},
    id::RuleId,
    layer::{ForwardTo, RespondLayer, Served},
    outcome::{End, Outcome},
    proxy::{HttpOptions, ProxyStatus, Via},
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{
    Server,
    programs::Port,
    socket::{Socket, field, status},
    soon, until, within_limits,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A target that tells all heads it gets, each with its body.
async fn telling() -> (Server, Arc<Mutex<Vec<String>>>) {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let target = Server::by_hand({
        let told = Arc::clone(&told);
        move |mut socket, _| {
            let told = Arc::clone(&told);
            async move {
                while let Some((head, body)) = socket.request().await {
                    told.lock().unwrap().push(head + &body);
                    _ = socket.send(OK).await;
                }
            }
        }
    })
    .await;
    (target, told)
}

fn peer() -> Peer {
    Peer::new("192.0.2.1:50000".parse().unwrap()).local("10.0.0.9:80".parse().unwrap())
}

fn options() -> HttpOptions {
    HttpOptions::new().via(Via::new("edge").unwrap()).forwarded(true)
}

#[tokio::test]
async fn what_no_proxy_takes_is_refused_and_ends_the_clients_connection() {
    let (target, told) = telling().await;
    let server = Server::forwarding(&ForwardTo::new(target.address)).await;
    let check = async |request: &str, expected: u16| {
        let mut client = Socket::connect(server.address).await;
        client.send(request).await.unwrap();
        let (head, _) = client.answer().await;
        assert_eq!((status(&head), field(&head, "connection")), (expected, Some("close")));
        assert!(client.rest().await.is_empty());
    };
    check("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405).await;
    check("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400).await;
    check("GET / HTTP/1.1\r\nhost: a\r\nexpect: more\r\n\r\n", 417).await;
    assert!(told.lock().unwrap().is_empty());
    // It passes, but alone.
    check("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx", 200).await;
    assert_eq!(told.lock().unwrap().len(), 1);
    until("the target's connection is closed, too", || target.counts.open() == 0).await;
}

#[tokio::test]
async fn who_forwarded_is_told_with_the_answer_and_to_who_observes() {
    let (target, _) = telling().await;
    let outcomes = Arc::<Mutex<Vec<Outcome>>>::default();
    let forward = ForwardTo::new(Target::new(target.address).with_id("one")).observe({
        let outcomes = Arc::clone(&outcomes);
        move |outcome| outcomes.lock().unwrap().push(outcome.clone())
    });
    let name = ProxyStatus::new("edge").unwrap();
    let service = RespondLayer::new().proxy_status(name).layer(forward.clone());
    let response = service.oneshot(Request::new(Body::default())).await.unwrap();
    assert_eq!(response.headers()["proxy-status"], "edge; received-status=200");
    let served = response.extensions().get::<Served>().unwrap();
    assert_eq!((served.rule, served.target.as_deref()), (RuleId::Default, Some("one")));
    assert_eq!(forward.in_flight(), 1);
    response.into_body().collect().await.unwrap();
    assert_eq!(forward.in_flight(), 0);
    let outcomes = outcomes.lock().unwrap();
    let outcome = &outcomes[0];
    assert_eq!((outcome.end, outcome.received, &*outcome.group), (End::Done, 2, "one"));
}

#[tokio::test]
async fn an_unsent_request_goes_to_another_target_as_it_is() {
    let gone = Port::reserve();
    let (target, told) = telling().await;
    let attempts = Arc::<Mutex<Vec<u32>>>::default();
    let observe = || {
        let attempts = Arc::clone(&attempts);
        move |outcome: &Outcome| attempts.lock().unwrap().push(outcome.attempt)
    };
    let first = ForwardTo::new(gone.address).http(options()).observe(observe());
    // Of its own options, which are not asked for a request that was introduced already.
    let second = ForwardTo::new(target.address).observe(observe());
    let request = Request::post("/")
        .version(Version::HTTP_10)
        .header("content-length", "4")
        .header("x-forwarded-for", "198.51.100.1")
        .extension(peer())
        .body(Body::from("body"))
        .unwrap();
    let error = first.oneshot(request).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.target().map(|id| &**id)),
        (Kind::Connect, Some(&*gone.address.to_string()))
    );
    let response = second.oneshot(error.take_unsent().unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    let host = target.address;
    let expected = format!(
        "POST / HTTP/1.1\r\ncontent-length: 4\r\nx-forwarded-for: 198.51.100.1, 192.0.2.1\r\n\
         x-forwarded-proto: http\r\nx-forwarded-port: 80\r\n\
         forwarded: for=192.0.2.1;proto=http\r\nvia: 1.0 edge\r\nhost: {host}\r\n\r\nbody"
    );
    assert_eq!(*told.lock().unwrap(), [expected]);
    assert_eq!(*attempts.lock().unwrap(), [1, 2]);
}

#[tokio::test]
async fn an_unsent_request_is_still_alone_and_has_no_more_time_than_before() {
    let gone = ForwardTo::new(Port::reserve().address);
    let (target, told) = telling().await;
    let request = || {
        let request = Request::get("/").header("host", "a").header("content-length", "1");
        request.extension(peer()).body(Body::from("x")).unwrap()
    };
    let error = gone.clone().oneshot(request()).await.unwrap_err();
    let service = RespondLayer::new().layer(ForwardTo::new(target.address));
    let response = service.clone().oneshot(error.take_unsent().unwrap()).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    response.into_body().collect().await.unwrap();
    assert!(told.lock().unwrap()[0].contains("\r\nconnection: close\r\n"));
    until("its connection is closed", || target.counts.open() == 0).await;

    within_limits(Kind::Connect, async |limit| {
        let limited = gone.clone().http(HttpOptions::new().request_timeout(limit));
        let error = limited.oneshot(request()).await.unwrap_err();
        let kind = error.kind();
        if kind == Kind::Connect {
            tokio::time::sleep(limit).await;
            let response = service.clone().oneshot(error.take_unsent().unwrap()).await.unwrap();
            assert_eq!(response.status(), 504);
            let late = response.extensions().get::<Error>().unwrap().kind();
            assert_eq!(late, Kind::RequestTimeout);
            assert_eq!(response.headers()["connection"], "close");
        }
        kind
    })
    .await;
    assert_eq!(told.lock().unwrap().len(), 1);
}

/// A service in this process could pass it on, and nobody would look at it again.
#[tokio::test]
async fn no_request_that_goes_out_says_that_it_needs_no_introduction() {
    let (target, told) = telling().await;
    let inner = ForwardTo::new(target.address);
    let app = service_fn(move |mut request: Request<Body>| {
        request.headers_mut().insert("upgrade", "h2c".parse().unwrap());
        request.headers_mut().insert("x_forwarded_for", "203.0.113.1".parse().unwrap());
        inner.clone().oneshot(request)
    });
    let outer = ForwardTo::new(Target::service("app", app.clone()));
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::service("app", app));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let request = || {
        let request = Request::get("/").header("host", "a").extension(peer());
        request.body(Body::default()).unwrap()
    };
    let unsent = async || {
        let gone = ForwardTo::new(Port::reserve().address);
        gone.oneshot(request()).await.unwrap_err().take_unsent().unwrap()
    };
    assert_eq!(outer.clone().oneshot(request()).await.unwrap().status(), 200);
    assert_eq!(outer.oneshot(unsent().await).await.unwrap().status(), 200);
    assert_eq!(balancer.oneshot(unsent().await).await.unwrap().status(), 200);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 3);
    for head in &*told {
        assert!(!head.contains("upgrade") && !head.contains('_'), "{head}");
    }
    assert_eq!(field(&told[1], "x-forwarded-for"), Some("192.0.2.1"));
}

#[tokio::test]
async fn as_a_target_it_gives_back_what_it_could_not_send() {
    let gone = Port::reserve();
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::service("app", ForwardTo::new(gone.address)));
    let other = |_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::default())) };
    group.register(Target::service("other", service_fn(other)));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let response = balancer.oneshot(Request::new(Body::default())).await.unwrap();
    assert_eq!(response.extensions().get::<Served>().unwrap().target.as_deref(), Some("other"));
    assert_eq!(group.status().targets[0].failed, 1);
}

#[tokio::test]
async fn a_tunnel_is_carried_and_closed_when_nothing_moves() {
    let target = Server::by_hand(|mut socket, _| async move {
        socket.head().await;
        let agree =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        _ = socket.send(agree).await;
        let bytes = socket.at_most(4).await;
        _ = socket.send(bytes).await;
        socket.closed().await;
    })
    .await;
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nping";
    within_limits((Some(101), b"ping".to_vec(), 1), async |limit| {
        let transport = Transport::new().idle_timeout(limit);
        let forward = ForwardTo::new(target.address).transport(transport).unwrap();
        let server = Server::forwarding(&forward).await;
        let mut client = Socket::connect(server.address).await;
        client.send(ask).await.unwrap();
        let head = soon("a head", client.try_head()).await;
        let pong = soon("the echo", client.at_most(4)).await;
        let in_flight = forward.in_flight();
        // An answer that is not that of the target has more to it.
        let rest = client.rest().await;
        until("no exchange is in flight", || forward.in_flight() == 0).await;
        let status = head.map(|head| status(&head));
        assert!(rest.is_empty() || status != Some(101));
        (status, pong, in_flight)
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let (target, _) = telling().await;
    let transport = Transport::new().connections_max(0).answer_timeout(Duration::ZERO);
    let error = ForwardTo::new(target.address).transport(transport).unwrap_err();
    let expected =
        "transport: answer_timeout 0s: expected more, connections_max 0: expected 1 or more";
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn an_answer_that_is_late_is_504_and_blamed_on_the_target() {
    let silent =
        service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let transport = Transport::new().answer_timeout(Duration::from_millis(20));
    let forward = ForwardTo::new(Target::service("silent", silent)).transport(transport).unwrap();
    let answer = forward.clone().oneshot(Request::new(Body::default()));
    let error = soon("an error", answer).await.unwrap_err();
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::AnswerTimeout, 504));
    assert_eq!(forward.in_flight(), 0);
}
