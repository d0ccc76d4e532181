//! Changes of protocol for services in this process, on a clock that stands until all wait. The client
//! comes over a stream in memory, through a server of hyper's.

use std::{convert::Infallible, sync::Arc};

use axum::{Router, extract::ws::WebSocketUpgrade, routing::get};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    outcome::{End, Outcome, Stage},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::{Mutex, mpsc},
    time::{Instant, advance, sleep, timeout},
};
use tokio_tungstenite::{client_async, tungstenite::Message};
use tower::service_fn;

use crate::support::{Events, balancer, counts, group, secs};

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// What a stream in memory holds, in each direction.
const STREAM: usize = 1024;

/// A client's connection to a balancer, which is told who the client is.
fn connect(balancer: &LoadBalancer) -> DuplexStream {
    let (client, near) = duplex(STREAM);
    let peer = Peer::new("192.0.2.1:50000".parse().unwrap());
    let service = balancer.for_peer(peer);
    tokio::spawn(async move {
        let http = hyper::server::conn::http1::Builder::new();
        _ = http.serve_connection(TokioIo::new(near), service).with_upgrades().await;
    });
    client
}

/// Asks for a WebSocket; returns the status.
async fn ask(client: &mut DuplexStream) -> u16 {
    client.write_all(ASK.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

/// A target that agrees to each request, and hands its side of the tunnel over to the test.
fn agreeing(name: &str) -> (Target, mpsc::UnboundedReceiver<Upgraded>) {
    let (give, given) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Body>| {
        let give = give.clone();
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                _ = give.send(TokioIo::new(upgraded));
            }
        });
        async { Ok::<_, Infallible>(switching("websocket")) }
    });
    (Target::service(name, service), given)
}

fn switching(protocol: &'static str) -> Response<Body> {
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, protocol)
        .body(Body::default())
        .unwrap()
}

/// A group of one such target, a balancer, and both ends of a tunnel.
async fn tunnel(group: &TargetGroup) -> (DuplexStream, Upgraded) {
    let (target, mut given) = agreeing("one");
    group.register(target);
    let mut client = connect(&balancer(group));
    assert_eq!(ask(&mut client).await, 101);
    (client, given.recv().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_websocket_of_axum_works_in_this_process() {
    let answer = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            _ = socket.send("welcome".into()).await;
            while let Some(Ok(message)) = socket.recv().await {
                _ = socket.send(message).await;
            }
        })
    };
    let group = group("web").build().unwrap();
    let app = Router::new().route("/chat", get(answer));
    group.register(Target::service("app", app));
    let stream = connect(&balancer(&group));
    let (mut socket, _) = client_async("ws://a/chat", stream).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("welcome"));
    for size in [0, 1, 125, 126, 65_536, 1024 * 1024] {
        socket.send(Message::binary(vec![1; size])).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().into_data() == vec![1; size]);
    }
    assert_eq!(counts(&group.status(), "app"), (1, 0, 0));
    drop(socket);
    sleep(secs(1)).await;
    assert_eq!(counts(&group.status(), "app"), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_in_this_process_is_in_flight_until_it_ends() {
    let group = group("web").build().unwrap();
    let (mut client, mut target) = tunnel(&group).await;
    client.write_all(b"there").await.unwrap();
    let mut bytes = [0; 5];
    target.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"there");
    client.shutdown().await.unwrap();
    assert_eq!(target.read(&mut bytes).await.unwrap(), 0);
    target.write_all(b"back.").await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(counts(&group.status(), "one"), (1, 0, 0));
    drop(target);
    assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
    sleep(secs(1)).await;
    assert_eq!(counts(&group.status(), "one"), (0, 1, 0));
}

/// Opens a tunnel of an observed balancer, through which some bytes go, and lets it end.
async fn outcome_of(end: impl AsyncFnOnce(&TargetGroup, DuplexStream, Upgraded)) -> Outcome {
    let transport = Transport::new().idle_timeout(secs(30));
    let web = group("web").transport(transport).deregistration_delay(secs(5)).build().unwrap();
    let (target, mut given) = agreeing("one");
    web.register(target);
    let (tell, mut told) = mpsc::unbounded_channel();
    let balancer = LoadBalancer::builder()
        .observe(move |outcome| tell.send(outcome.clone()).unwrap())
        .build(RuleTable::forward_to(&web));
    let mut client = connect(&balancer);
    assert_eq!(ask(&mut client).await, 101);
    let mut target = given.recv().await.unwrap();
    client.write_all(b"abc").await.unwrap();
    target.read_exact(&mut [0; 3]).await.unwrap();
    target.write_all(b"de").await.unwrap();
    client.read_exact(&mut [0; 2]).await.unwrap();
    end(&web, client, target).await;
    told.recv().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn how_a_tunnel_ended_is_told() {
    let closed = outcome_of(async |_, _, _| {}).await;
    let idle = outcome_of(async |_, _client, _target| sleep(secs(40)).await).await;
    let cut = outcome_of(async |group, _client, _target| {
        group.deregister("one");
        sleep(secs(10)).await;
    })
    .await;
    for (outcome, end) in [(closed, End::TunnelClosed), (idle, End::TunnelIdle), (cut, End::Cut)] {
        assert_eq!((outcome.end, outcome.stage), (end, Stage::Tunnel));
        assert_eq!((outcome.sent, outcome.received), (3, 2), "{end:?}");
        assert_eq!(outcome.status, Some(StatusCode::SWITCHING_PROTOCOLS));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deregistered_service_loses_its_tunnels_at_the_delay() {
    let group = group("web").deregistration_delay(secs(20)).build().unwrap();
    let (mut client, mut target) = tunnel(&group).await;
    let started = Instant::now();
    group.deregister("one");
    for _ in 0..3 {
        sleep(secs(5)).await;
        target.write_all(b"x").await.unwrap();
        client.read_u8().await.unwrap();
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(started.elapsed(), secs(20));
    assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    sleep(secs(1)).await;
    assert_eq!(group.status().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_revived_keeps_its_tunnels() {
    let group = group("web").deregistration_delay(secs(20)).build().unwrap();
    let (target, mut given) = agreeing("one");
    group.register(target.clone());
    let mut client = connect(&balancer(&group));
    assert_eq!(ask(&mut client).await, 101);
    let mut far = given.recv().await.unwrap();
    group.deregister("one");
    sleep(secs(10)).await;
    group.register(target);
    sleep(secs(40)).await;
    far.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_in_this_process_is_closed_when_it_is_idle() {
    let transport = Transport::new().idle_timeout(secs(30));
    let group = group("web").transport(transport).build().unwrap();
    let (mut client, mut target) = tunnel(&group).await;
    let started = Instant::now();
    sleep(secs(29)).await;
    client.write_all(b"x").await.unwrap();
    target.read_u8().await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(started.elapsed(), secs(59));
    assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_sends_to_a_service_that_reads_nothing_is_stopped_soon() {
    let group = group("web").build().unwrap();
    let (mut client, mut target) = tunnel(&group).await;
    let chunk = [7; 512];
    let mut written = [0, 0];
    while let Ok(count) = timeout(secs(1), client.write(&chunk)).await {
        written[0] += count.unwrap();
    }
    while let Ok(count) = timeout(secs(1), target.write(&chunk)).await {
        written[1] += count.unwrap();
    }
    // All that a tunnel may hold, with the streams on both of its sides.
    assert!(written[0] > 0 && written[1] > 0);
    assert!(written.iter().sum::<usize>() <= 256 * 1024, "{written:?}");
    let mut bytes = vec![0; written[0]];
    target.read_exact(&mut bytes).await.unwrap();
    let mut bytes = vec![0; written[1]];
    client.read_exact(&mut bytes).await.unwrap();
    assert!(bytes.iter().all(|&byte| byte == 7));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_is_not_told_of_a_tunnel() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let service = service_fn(move |mut request: Request<Body>| {
        let (tell, upgrade) = (tell.clone(), hyper::upgrade::on(&mut request));
        tokio::spawn(async move { tell.send(upgrade.await.is_ok()) });
        let mut response = Response::new(Body::from("no"));
        *response.status_mut() = StatusCode::FORBIDDEN;
        async { Ok::<_, Infallible>(response) }
    });
    let group = group("web").build().unwrap();
    group.register(Target::service("one", service));
    let mut client = connect(&balancer(&group));
    assert_eq!(ask(&mut client).await, 403);
    assert!(!told.recv().await.unwrap());
    let mut body = [0; 2];
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"no");
    // The connection goes on.
    assert_eq!(ask(&mut client).await, 403);
    client.read_exact(&mut body).await.unwrap();
    assert_eq!(counts(&group.status(), "one"), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_changes_to_something_else_is_502() {
    for protocol in ["mine", "h2c"] {
        let service =
            service_fn(
                move |_: Request<Body>| async move { Ok::<_, Infallible>(switching(protocol)) },
            );
        let group = group("web").build().unwrap();
        group.register(Target::service("one", service));
        assert_eq!(ask(&mut connect(&balancer(&group))).await, 502);
        assert_eq!(counts(&group.status(), "one"), (0, 0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_asked_is_500() {
    let events = Events::capture();
    let service = service_fn(|_: Request<Body>| async {
        assert_eq!(1, 2, "out of order");
        Ok::<_, Infallible>(switching("websocket"))
    });
    let group = group("web").build().unwrap();
    group.register(Target::service("one", service));
    assert_eq!(ask(&mut connect(&balancer(&group))).await, 500);
    assert_eq!(group.status().in_flight(), 0);
    assert_eq!(events.take_of("request failed").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_never_answers_is_late_and_cut_as_for_any_request() {
    let transport = Transport::new().answer_timeout(secs(30));
    let group = group("web").transport(transport).deregistration_delay(secs(5)).build().unwrap();
    group.register(crate::support::silent("one"));
    let started = Instant::now();
    assert_eq!(ask(&mut connect(&balancer(&group))).await, 504);
    assert_eq!(started.elapsed(), secs(30));
    let mut client = connect(&balancer(&group));
    let asked = tokio::spawn(async move { ask(&mut client).await });
    sleep(secs(1)).await;
    group.deregister("one");
    assert_eq!(asked.await.unwrap(), 502);
    assert_eq!(started.elapsed(), secs(36));
    assert_eq!(group.status().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_balancer_behind_a_balancer_is_told_who_the_client_is() {
    let seen = Arc::new(Mutex::new(None));
    let (target, mut given) = agreeing("one");
    let inner = group("inner").build().unwrap();
    inner.register(target);
    let middle = LoadBalancer::new(RuleTable::forward_to(&inner));
    let noting = {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<Body>| {
            let (seen, mut middle) = (Arc::clone(&seen), middle.clone());
            async move {
                *seen.lock().await = request.extensions().get::<Peer>().copied();
                tower::Service::call(&mut middle, request).await
            }
        })
    };
    let outer = group("outer").build().unwrap();
    outer.register(Target::service("middle", noting));
    let mut client = connect(&balancer(&outer));
    assert_eq!(ask(&mut client).await, 101);
    let mut target = given.recv().await.unwrap();
    assert_eq!(seen.lock().await.unwrap().ip().to_string(), "192.0.2.1");
    target.write_all(b"x").await.unwrap();
    assert_eq!(client.read_u8().await.unwrap(), b'x');
    assert_eq!((outer.status().in_flight(), inner.status().in_flight()), (1, 1));
    drop(client);
    assert_eq!(target.read(&mut [0]).await.unwrap(), 0);
    drop(target);
    advance(secs(1)).await;
    sleep(secs(1)).await;
    assert_eq!((outer.status().in_flight(), inner.status().in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_answer_leaves_nothing() {
    let group = group("web").build().unwrap();
    group.register(crate::support::silent("one"));
    let mut client = connect(&balancer(&group));
    client.write_all(ASK.as_bytes()).await.unwrap();
    sleep(secs(1)).await;
    assert_eq!(group.status().in_flight(), 1);
    drop(client);
    sleep(secs(1)).await;
    assert_eq!(group.status().in_flight(), 0);
}
