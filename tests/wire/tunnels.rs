//! WebSockets and other upgrades: what makes a tunnel and what does not, what goes through it, who
//! ends it, and that no count is left over. Bodies that are streams of events are here, too.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::ws::{Message as AxumMessage, WebSocketUpgrade},
    routing::get,
};
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup, endpoint::Transport, proxy::HttpOptions,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error as WebSocketError, Message, client::IntoClientRequest},
};
use tower::{BoxError, ServiceExt, service_fn};

use crate::support::{
    Front, Server, at_rest, client, get as fetch,
    socket::{Socket, field, status},
    soon, until,
};

/// Long enough that nothing ends while a test looks at it.
const LONG: Duration = Duration::from_secs(300);

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(200);

const MIB: usize = 1024 * 1024;

const ASK: &str =
    "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
const AGREE: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

// Whoever speaks WebSocket, in front and behind.

/// A task that a test stops by dropping it.
struct Stopped<T>(JoinHandle<T>);

impl<T> Drop for Stopped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn by_axum(app: Router) -> (SocketAddr, Stopped<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, Stopped(serving))
}

#[cfg(feature = "server")]
async fn by_ours(balancer: LoadBalancer) -> (SocketAddr, Stopped<()>) {
    let server = pointsman::server::Server::builder().bind(([127, 0, 0, 1], 0)).build().unwrap();
    let address = server.local_addrs()[0];
    (address, Stopped(tokio::spawn(server.serve(balancer))))
}

#[cfg(not(feature = "server"))]
async fn by_ours(balancer: LoadBalancer) -> (SocketAddr, Stopped<()>) {
    by_axum(Router::new().fallback_service(balancer)).await
}

/// An app that sends back what it gets.
fn echoing() -> Router {
    let answer = |upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, AxumMessage::Text(_) | AxumMessage::Binary(_)) {
                    _ = socket.send(message).await;
                }
            }
        })
    };
    Router::new().route("/chat", get(answer))
}

/// The same by another hand.
async fn echoing_server() -> Server {
    Server::accept(([127, 0, 0, 1], 0).into(), |stream, _, _| async move {
        let Ok(mut socket) = accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                _ = socket.send(message).await;
            }
        }
    })
    .await
}

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let connecting = client_async(format!("ws://{address}/chat"), stream);
    soon("a WebSocket", connecting).await.unwrap().0
}

async fn echoes(socket: &mut WebSocketStream<TcpStream>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    let back = soon("an echo", socket.next()).await.unwrap().unwrap();
    assert!(back == message, "changed on the way");
}

fn group() -> TargetGroup {
    TargetGroup::builder("web").build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_passes_whoever_stands_in_front_and_behind() {
    let (behind, _app) = by_axum(echoing()).await;
    let tungstenite = echoing_server().await;
    let inner = Front::of([tungstenite.address]).await;
    let targets = [
        Target::new(tungstenite.address),
        Target::new(behind),
        Target::service("app", echoing()),
        Target::new(inner.address()),
        Target::service("balancer", inner.balancer.clone()),
    ];
    for target in targets {
        let group = group();
        let name = format!("{target:?}");
        group.register(target);
        let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
        let axum = by_axum(Router::new().fallback_service(balancer.clone())).await;
        let ours = by_ours(balancer).await;
        for (opened, front) in (1..).zip([axum, ours]) {
            let mut socket = connect(front.0).await;
            assert_eq!(group.status().in_flight(), 1, "{name}");
            echoes(&mut socket, Message::text("hello")).await;
            echoes(&mut socket, Message::binary(vec![7; MIB])).await;
            echoes(&mut socket, Message::binary(Vec::new())).await;
            assert_eq!(group.status().in_flight(), 1, "{name}");
            socket.close(None).await.unwrap();
            while soon("the end", socket.next()).await.is_some_and(|message| message.is_ok()) {}
            // The target has closed its side, and leaves it to the client to close his.
            drop(socket);
            at_rest(&group).await;
            let target = &group.status().targets[0];
            assert_eq!((target.answered, target.failed), (opened, 0), "{name}");
        }
    }
    inner.at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_wait_for_a_reader_that_takes_its_time() {
    // More than any system keeps of the four connections that they go over.
    const MESSAGES_MAX: usize = 512;
    let message = |number: usize| vec![number as u8; MIB];
    let target = echoing_server().await;
    let front = Front::of([target.address]).await;
    let (mut sink, mut stream) = connect(front.address()).await.split();
    let (tell, mut sent) = mpsc::unbounded_channel();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let sending = tokio::spawn(async move {
        let mut number = 0;
        while !*stopped.borrow() {
            assert!(number < MESSAGES_MAX, "nothing stops the sender");
            sink.send(Message::binary(message(number))).await.unwrap();
            number += 1;
            tell.send(()).unwrap();
        }
        sink.send(Message::text("the end")).await.unwrap();
        (sink, number)
    });
    // What there is between them has room for some; the rest waits where it is made.
    while let Ok(Some(())) = timeout(Duration::from_millis(500), sent.recv()).await {}
    stop.send(true).expect("nothing stops the sender");
    let mut read = 0;
    loop {
        let next = soon("a message", stream.next()).await.unwrap().unwrap();
        if next.is_text() {
            break;
        }
        assert!(next.into_data() == message(read), "changed on the way");
        read += 1;
    }
    let (sink, sent) = sending.await.unwrap();
    assert_eq!(read, sent);
    drop(sink);
    drop(stream);
    front.at_rest().await;
}

// What makes a tunnel.

/// A target that answers each request with the next of these, tells what it got, and then sends back
/// what comes, until the other side ends.
async fn answering(answers: &[&'static str]) -> (Server, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let answers = answers.to_vec();
    let target = Server::by_hand(move |mut socket, _| {
        let (tell, answers) = (tell.clone(), answers.clone());
        async move {
            for answer in answers {
                let Some((head, body)) = socket.request().await else { return };
                tell.send(head + &body).unwrap();
                _ = socket.send(answer).await;
            }
            loop {
                let bytes = socket.at_most(1).await;
                if bytes.is_empty() || socket.send(bytes).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (target, told)
}

/// A client and the target's side of a tunnel between them.
async fn tunnel(front: &Front, target: &mut mpsc::UnboundedReceiver<Socket>) -> (Socket, Socket) {
    let mut client = Socket::connect(front.address()).await;
    client.send(ASK).await.unwrap();
    let mut target = soon("a connection", target.recv()).await.unwrap();
    target.head().await;
    target.send(AGREE).await.unwrap();
    assert_eq!(status(&client.head().await), 101);
    (client, target)
}

/// A target whose connections a test plays itself.
async fn handed_over() -> (Server, mpsc::UnboundedReceiver<Socket>) {
    let (give, given) = mpsc::unbounded_channel();
    let target = Server::by_hand(move |socket, _| {
        let give = give.clone();
        async move { _ = give.send(socket) }
    })
    .await;
    (target, given)
}

#[tokio::test]
async fn both_heads_say_what_is_asked_and_nothing_of_the_connection_before() {
    let agree = "HTTP/1.1 101 Switching Protocols\r\n\
         connection: Upgrade, X-Theirs\r\n\
         upgrade: WebSocket\r\n\
         x-theirs: 1\r\n\
         content-length: 0\r\n\
         sec-websocket-accept: b\r\n\
         \r\n";
    let (target, mut told) = answering(&[agree]).await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    let ask = "GET /chat HTTP/1.1\r\n\
         host: a.com\r\n\
         connection: keep-alive, Upgrade, X-Mine\r\n\
         upgrade: websocket\r\n\
         x-mine: 1\r\n\
         te: trailers\r\n\
         http2-settings: AAMAAABkAAQAAP__\r\n\
         sec-websocket-key: a\r\n\
         sec-websocket-version: 13\r\n\
         \r\n";
    client.send(ask).await.unwrap();
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    let mut lines = head.lines().skip(1).filter(|line| !line.starts_with("date:"));
    let mut fields = lines.by_ref().take_while(|line| !line.is_empty()).collect::<Vec<_>>();
    fields.sort_unstable();
    assert_eq!(fields, ["connection: upgrade", "sec-websocket-accept: b", "upgrade: websocket"]);
    let seen = soon("a request", told.recv()).await.unwrap();
    assert!(seen.starts_with("GET /chat HTTP/1.1\r\n"), "{seen}");
    let mut fields = seen.lines().skip(1).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    fields.retain(|line| !line.starts_with("x-forwarded-"));
    fields.sort_unstable();
    let expected = [
        "connection: upgrade",
        "host: a.com",
        "sec-websocket-key: a",
        "sec-websocket-version: 13",
        "upgrade: websocket",
    ];
    assert_eq!(fields, expected);
    client.send("x").await.unwrap();
    assert_eq!(client.exactly(1).await, b"x");
}

#[tokio::test]
async fn bytes_that_come_directly_behind_the_heads_are_not_lost() {
    let early = vec![b'e'; 100_000];
    let target = Server::by_hand(move |mut socket, _| async move {
        socket.head().await;
        // In one piece, so that it is read with the head.
        _ = socket.send([AGREE.as_bytes(), &[b'f'; 5_000]].concat()).await;
        let bytes = socket.at_most(100_000).await;
        _ = socket.send(bytes).await;
    })
    .await;
    let front = Front::of([target.address]).await;
    let ours = by_ours(front.balancer.clone()).await;
    let axum = by_axum(Router::new().fallback_service(front.balancer.clone())).await;
    for address in [front.address(), ours.0, axum.0] {
        let mut client = Socket::connect(address).await;
        client.send([ASK.as_bytes(), &early].concat()).await.unwrap();
        assert_eq!(status(&client.head().await), 101);
        assert!(client.exactly(5_000).await == [b'f'; 5_000]);
        assert!(client.exactly(early.len()).await == early);
        assert!(client.rest().await.is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_is_not_101_is_an_answer_like_any_other() {
    let answers = [
        "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nx: 1\r\n\r\nno",
        "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ];
    let (target, mut told) = answering(&answers).await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    for (expected, text) in [(403, "no"), (426, ""), (200, "ok")] {
        client.send(ASK).await.unwrap();
        let (head, body) = client.answer().await;
        assert_eq!((status(&head), &*body), (expected, text));
        let seen = soon("a request", told.recv()).await.unwrap();
        assert_eq!(field(&seen, "upgrade"), Some("websocket"));
    }
    // Nothing was changed, so both connections are as good as before.
    assert_eq!(target.counts.opened(), 1);
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].answered, 3);
}

#[tokio::test]
async fn a_change_to_what_was_not_asked_for_is_502() {
    let check = async |ask: &str, answer: &'static str| {
        let (target, _told) = answering(&[answer]).await;
        let front = Front::of([target.address]).await;
        let mut client = Socket::connect(front.address()).await;
        client.send(ask).await.unwrap();
        let (head, body) = client.answer().await;
        assert_eq!(status(&head), 502, "{answer:?}");
        assert_eq!(field(&head, "upgrade"), None);
        assert!(body.starts_with("502"), "{body:?}");
        until("its connection is closed", || target.counts.open() == 0).await;
        front.at_rest().await;
        assert_eq!(front.group.status().targets[0].failed, 1);
    };
    let head = |fields: &str| format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n").leak();
    check(ASK, head("connection: upgrade\r\nupgrade: h2c\r\n")).await;
    check(ASK, head("connection: upgrade\r\nupgrade: websocket, h2c\r\n")).await;
    check(ASK, head("connection: upgrade\r\nupgrade: websocket\r\nupgrade: h2c\r\n")).await;
    check(ASK, head("connection: upgrade\r\n")).await;
    check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", AGREE).await;
    check("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n", AGREE).await;
    check("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", AGREE).await;
    let post = "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    check(&format!("{post}content-length: 1\r\n\r\nx"), AGREE).await;
}

#[tokio::test]
async fn what_may_not_be_upgraded_is_asked_without() {
    let check = async |ask: &str| {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        let (target, mut told) = answering(&[ok]).await;
        let front = Front::of([target.address]).await;
        let mut client = Socket::connect(front.address()).await;
        client.send(ask).await.unwrap();
        assert_eq!(status(&client.answer().await.0), 200, "{ask}");
        let seen = soon("a request", told.recv()).await.unwrap();
        assert_eq!(field(&seen, "upgrade"), None, "{ask}");
        assert_ne!(field(&seen, "connection"), Some("upgrade"), "{ask}");
        assert_eq!(field(&seen, "http2-settings"), None);
        front.at_rest().await;
    };
    let both = "host: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    check(&format!("POST / HTTP/1.1\r\n{both}content-length: 0\r\n\r\n")).await;
    check(&format!("GET / HTTP/1.0\r\n{both}\r\n")).await;
    check(&format!("GET / HTTP/1.1\r\n{both}content-length: 2\r\n\r\nab")).await;
    check("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n").await;
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA\r\n";
    check(&format!("GET / HTTP/1.1\r\nhost: a\r\n{h2c}\r\n")).await;
    let others = "connection: upgrade\r\nupgrade: mine\r\n";
    check(&format!("GET / HTTP/1.1\r\nhost: a\r\n{others}\r\n")).await;
}

#[tokio::test]
async fn a_protocol_that_the_user_names_is_tunnelled() {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: MINE\r\n\r\n";
    let (target, _told) = answering(&[answer]).await;
    let group = group();
    group.register(Target::new(target.address));
    let balancer = LoadBalancer::builder()
        .http(HttpOptions::new().upgrade("mine"))
        .build(RuleTable::forward_to(&group));
    let front = Server::balancing(&balancer).await;
    let mut client = Socket::connect(front.address).await;
    let ask = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: mine\r\n\r\n";
    client.send(ask).await.unwrap();
    assert_eq!(status(&client.head().await), 101);
    client.send("x").await.unwrap();
    assert_eq!(client.exactly(1).await, b"x");
}

#[tokio::test]
async fn without_a_connection_that_could_change_upgrade_is_not_asked_for() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let (target, mut told) = answering(&[ok]).await;
    let front = Front::of([target.address]).await;
    let request = Request::get("/")
        .header("host", "a")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .body(Body::default())
        .unwrap();
    let response = front.balancer.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(field(&told.recv().await.unwrap(), "upgrade"), None);
}

#[tokio::test]
async fn a_server_in_front_that_cannot_change_leaves_nothing_behind() {
    let (target, _told) = answering(&[AGREE]).await;
    let front = Front::of([target.address]).await;
    let balancer = front.balancer.clone();
    let server = Server::accept(([127, 0, 0, 1], 0).into(), move |stream, _, _| {
        let service = hyper_util::service::TowerToHyperService::new(balancer.clone());
        async move {
            let stream = hyper_util::rt::TokioIo::new(stream);
            let http = hyper::server::conn::http1::Builder::new();
            // Without upgrades, which it does not say to those it serves.
            _ = http.serve_connection(stream, service).await;
        }
    })
    .await;
    let mut client = Socket::connect(server.address).await;
    client.send(ASK).await.unwrap();
    client.rest().await;
    front.at_rest().await;
    until("the target's side is closed", || target.counts.open() == 0).await;
}

// Connections and targets that fail before there is a tunnel.

#[tokio::test]
async fn a_stale_connection_is_replaced_for_an_upgrade_too() {
    let (target, mut connections) = handed_over().await;
    let front = Front::of([target.address]).await;
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let address = front.uri("/");
    let asked = tokio::spawn(async move { fetch(&client(), address).await });
    let mut first = soon("a connection", connections.recv()).await.unwrap();
    first.head().await;
    first.send(ok).await.unwrap();
    assert_eq!(asked.await.unwrap().0, 200);
    let mut client = Socket::connect(front.address()).await;
    client.send(ASK).await.unwrap();
    first.head().await;
    drop(first);
    let mut second = soon("a connection", connections.recv()).await.unwrap();
    assert_eq!(field(&second.head().await, "upgrade"), Some("websocket"));
    second.send(AGREE).await.unwrap();
    assert_eq!(status(&client.head().await), 101);
    client.send("x").await.unwrap();
    assert_eq!(second.exactly(1).await, b"x");
}

#[tokio::test]
async fn another_target_is_asked_when_the_first_is_not_there() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let target = echoing_server().await;
    let front = Front::of([gone, target.address]).await;
    for _ in 0..4 {
        let mut socket = connect(front.address()).await;
        echoes(&mut socket, Message::text("hello")).await;
    }
    front.at_rest().await;
}

// How a tunnel ends.

#[tokio::test]
async fn a_half_that_is_closed_leaves_the_other_open() {
    let (_server, mut connections) = handed_over().await;
    let front = Front::of([_server.address]).await;
    let (mut client, mut target) = tunnel(&front, &mut connections).await;
    client.send("last").await.unwrap();
    client.finish().await;
    assert_eq!(target.rest().await, b"last");
    target.send("still here").await.unwrap();
    assert_eq!(client.exactly(10).await, b"still here");
    assert_eq!(front.group.status().in_flight(), 1);
    target.finish().await;
    assert!(client.rest().await.is_empty());
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].answered, 1);
}

#[tokio::test]
async fn a_client_that_vanishes_closes_the_targets_side() {
    let (server, mut connections) = handed_over().await;
    let front = Front::of([server.address]).await;
    for reset in [false, true] {
        let (client, mut target) = tunnel(&front, &mut connections).await;
        let client = client.into_inner();
        if reset {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        assert!(target.rest().await.is_empty());
        drop(target);
        front.at_rest().await;
    }
    assert_eq!(front.group.status().targets[0].failed, 0, "it is not the target's fault");
}

#[tokio::test]
async fn a_target_that_vanishes_closes_the_clients_side() {
    let (server, mut connections) = handed_over().await;
    let front = Front::of([server.address]).await;
    for (reset, failed) in [(false, 0), (true, 1)] {
        let (mut client, target) = tunnel(&front, &mut connections).await;
        let target = target.into_inner();
        if reset {
            target.set_zero_linger().unwrap();
        }
        drop(target);
        assert!(client.rest().await.is_empty());
        drop(client);
        front.at_rest().await;
        assert_eq!(front.group.status().targets[0].failed, failed, "{reset}");
    }
}

/// Nothing more is read of it, so that only writing tells.
#[tokio::test]
async fn a_target_that_ends_and_then_vanishes_closes_the_tunnel() {
    let (server, mut connections) = handed_over().await;
    let front = Front::of([server.address]).await;
    let (mut client, mut target) = tunnel(&front, &mut connections).await;
    target.finish().await;
    assert!(client.rest().await.is_empty());
    drop(target);
    let sending = async { while client.send("more").await.is_ok() {} };
    soon("the end of the client's side", sending).await;
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].failed, 0, "it said that it would send no more");
}

#[tokio::test]
async fn a_connection_that_was_a_tunnel_is_never_used_again() {
    let (target, _told) = answering(&[AGREE]).await;
    let front = Front::of([target.address]).await;
    for opened in 1..4 {
        let mut client = Socket::connect(front.address()).await;
        client.send(ASK).await.unwrap();
        assert_eq!(status(&client.head().await), 101);
        drop(client);
        front.at_rest().await;
        assert_eq!(target.counts.opened(), opened);
    }
}

#[tokio::test]
async fn silence_on_both_sides_closes_it() {
    let (server, mut connections) = handed_over().await;
    let transport = Transport::new().idle_timeout(SHORT);
    let group = TargetGroup::builder("web").transport(transport).build().unwrap();
    let front = Front::with(group, [server.address]).await;
    let (mut client, mut target) = tunnel(&front, &mut connections).await;
    assert!(client.rest().await.is_empty());
    assert!(target.rest().await.is_empty());
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].failed, 0);
}

#[tokio::test]
async fn a_deregistered_target_loses_its_tunnels_at_the_delay() {
    let (server, mut connections) = handed_over().await;
    let delay = |delay| TargetGroup::builder("web").deregistration_delay(delay).build().unwrap();
    let id = server.address.to_string();

    let front = Front::with(delay(SHORT), [server.address]).await;
    let (mut client, mut target) = tunnel(&front, &mut connections).await;
    assert!(front.group.deregister(&id));
    assert!(client.rest().await.is_empty(), "no frame of ours");
    assert!(target.rest().await.is_empty(), "no frame of ours");
    until("nothing is in flight", || front.group.status().in_flight() == 0).await;

    let front = Front::with(delay(LONG), [server.address]).await;
    let (mut client, mut target) = tunnel(&front, &mut connections).await;
    assert!(front.group.deregister(&id));
    client.send("on").await.unwrap();
    assert_eq!(target.exactly(2).await, b"on");
    target.send("on").await.unwrap();
    assert_eq!(client.exactly(2).await, b"on");
    assert_eq!(front.group.status().in_flight(), 1);
}

#[tokio::test]
async fn a_tunnel_counts_towards_the_cap_of_its_target() {
    let (server, mut connections) = handed_over().await;
    let group = TargetGroup::builder("web").in_flight_max(1).build().unwrap();
    let front = Front::with(group, [server.address]).await;
    let (client, target) = tunnel(&front, &mut connections).await;
    assert_eq!(fetch(&crate::support::client(), front.uri("/")).await.0, 503);
    drop((client, target));
    front.at_rest().await;
    tunnel(&front, &mut connections).await;
}

// Backpressure.

/// How much is written until nothing more is taken for a while.
async fn fill(socket: &mut Socket) -> usize {
    let chunk = vec![7; 64 * 1024];
    let mut written = 0;
    // Only whole chunks are told of, so no chunk may be written in part: that is put right by reading
    // to the end.
    while timeout(Duration::from_millis(500), socket.send(&chunk)).await.is_ok() {
        written += chunk.len();
        assert!(written < 256 * MIB, "nothing stops the sender");
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_faster_than_the_other_side_reads_is_stopped() {
    let (server, mut connections) = handed_over().await;
    let front = Front::of([server.address]).await;
    let (mut client, mut target) = tunnel(&front, &mut connections).await;
    let up = fill(&mut client).await;
    let down = fill(&mut target).await;
    assert!(up > 0 && down > 0);
    // All of it, and what was written of the last chunk in part.
    let (client_read, target_read) = tokio::join!(
        async {
            let bytes = client.exactly(down).await;
            client.finish().await;
            (bytes, client.rest().await)
        },
        async {
            let bytes = target.exactly(up).await;
            target.finish().await;
            (bytes, target.rest().await)
        }
    );
    for (whole, rest) in [client_read, target_read] {
        assert!(whole.iter().chain(&rest).all(|&byte| byte == 7));
        assert!(rest.len() < 64 * 1024);
    }
    front.at_rest().await;
}

// Draining the server in front.

#[cfg(feature = "server")]
mod draining {
    use pointsman::server::{Drained, Server as Ours};
    use tokio::sync::oneshot;

    use super::*;

    /// A tunnel through a server that drains for so long once it is told to.
    async fn tunnelled(
        drain: Duration,
    ) -> (Front, Socket, Socket, oneshot::Sender<()>, JoinHandle<Drained>) {
        let (server, mut connections) = handed_over().await;
        let front = Front::of([server.address]).await;
        let ours = Ours::builder().bind(([127, 0, 0, 1], 0)).drain_timeout(drain);
        // What it does for its idle connections is nothing to a tunnel.
        let ours = ours.idle_timeout(SHORT).build().unwrap();
        let address = ours.local_addrs()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = ours.serve_until(front.balancer.clone(), async { _ = stopped.await });
        let serving = tokio::spawn(serving);
        let mut client = Socket::connect(address).await;
        client.send(ASK).await.unwrap();
        let mut target = soon("a connection", connections.recv()).await.unwrap();
        target.head().await;
        target.send(AGREE).await.unwrap();
        assert_eq!(status(&client.head().await), 101);
        (front, client, target, stop, serving)
    }

    #[tokio::test]
    async fn a_server_that_ends_waits_for_its_tunnels() {
        let (front, mut client, mut target, stop, serving) = tunnelled(LONG).await;
        stop.send(()).unwrap();
        // Longer than an idle connection may be.
        assert!(timeout(2 * SHORT, client.at_most(1)).await.is_err());
        assert!(!serving.is_finished());
        client.send("on").await.unwrap();
        assert_eq!(target.exactly(2).await, b"on");
        drop(client);
        target.rest().await;
        drop(target);
        assert_eq!(soon("its end", serving).await.unwrap().cut, 0);
        front.at_rest().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_ends_cuts_its_tunnels_at_the_deadline() {
        let (front, mut client, mut target, stop, serving) = tunnelled(SHORT).await;
        stop.send(()).unwrap();
        assert!(client.rest().await.is_empty());
        assert!(target.rest().await.is_empty());
        assert_eq!(soon("its end", serving).await.unwrap().cut, 1);
        front.at_rest().await;
        assert_eq!(front.group.status().targets[0].failed, 0);
    }

    #[tokio::test]
    async fn a_server_that_is_dropped_cuts_its_tunnels_at_once() {
        let (front, mut client, mut target, _stop, serving) = tunnelled(LONG).await;
        serving.abort();
        assert!(client.rest().await.is_empty());
        assert!(target.rest().await.is_empty());
        front.at_rest().await;
    }
}

// Bodies whose parts are waited for.

#[tokio::test]
async fn an_event_is_not_kept_back_until_the_next() {
    let (acknowledge, acknowledged) = mpsc::unbounded_channel::<()>();
    let acknowledged = Arc::new(Mutex::new(Some(acknowledged)));
    let target = Server::answering(move |request| {
        let (acknowledge, acknowledged) = (acknowledge.clone(), Arc::clone(&acknowledged));
        async move {
            if request.uri().path() == "/acknowledge" {
                acknowledge.send(()).unwrap();
                return Response::new(Body::default());
            }
            let acknowledged = acknowledged.lock().unwrap().take().unwrap();
            // Each event but the first is sent only once the one before was acknowledged.
            let events =
                futures_util::stream::unfold((0, acknowledged), |(n, mut next)| async move {
                    if n > 0 {
                        next.recv().await?;
                    }
                    let event = bytes::Bytes::from(format!("data: {n}\n\n"));
                    (n < 5).then_some((Ok::<_, BoxError>(Frame::data(event)), (n + 1, next)))
                });
            let mut response = Response::new(Body::new(StreamBody::new(Box::pin(events))));
            let text = http::HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert("content-type", text);
            response
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let client = client();
    let request = Request::get(front.uri("/events")).body(Body::default()).unwrap();
    let mut response = soon("an answer", client.request(request)).await.unwrap();
    for n in 0..5 {
        let frame = soon("an event", response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {n}\n\n"));
        assert_eq!(fetch(&client, front.uri("/acknowledge")).await.0, 200);
    }
    assert!(soon("the end", response.frame()).await.is_none());
    front.at_rest().await;
}

#[tokio::test]
async fn a_long_poll_is_answered_when_there_is_something_to_say() {
    let (say, said) = mpsc::unbounded_channel::<String>();
    let said = Arc::new(tokio::sync::Mutex::new(said));
    let target = Server::answering(move |request| {
        let (say, said) = (say.clone(), Arc::clone(&said));
        async move {
            match request.uri().path() {
                "/poll" => Response::new(Body::from(said.lock().await.recv().await.unwrap())),
                path => {
                    say.send(path.to_owned()).unwrap();
                    Response::new(Body::default())
                }
            }
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut polls = JoinSet::new();
    for _ in 0..8 {
        let uri = front.uri("/poll");
        polls.spawn(async move { fetch(&client(), uri).await });
    }
    until("all are waiting", || front.group.status().in_flight() == 8).await;
    for n in 0..8 {
        assert_eq!(fetch(&client(), front.uri(&format!("/{n}"))).await.0, 200);
        let (status, text) = soon("an answer", polls.join_next()).await.unwrap().unwrap();
        assert_eq!((status, text), (200, format!("/{n}")));
    }
    front.at_rest().await;
}

#[tokio::test]
async fn a_refusal_reaches_a_websocket_client_as_it_is() {
    let refuse = service_fn(|_: Request<Body>| async {
        let mut response = Response::new(Body::from("members only"));
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        Ok::<_, BoxError>(response)
    });
    let remote = Server::answering(|_| async {
        let mut response = Response::new(Body::from("members only"));
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        response
    })
    .await;
    for target in [Target::service("local", refuse), Target::new(remote.address)] {
        let group = group();
        group.register(target);
        let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
        let front = Server::balancing(&balancer).await;
        let stream = TcpStream::connect(front.address).await.unwrap();
        let ask = format!("ws://{}/chat", front.address).into_client_request().unwrap();
        match soon("an answer", client_async(ask, stream)).await {
            Err(WebSocketError::Http(response)) => {
                assert_eq!(response.status(), 403);
            }
            other => panic!("expected 403, got {other:?}"),
        }
        at_rest(&group).await;
    }
}
