//! Targets that cannot be reached, are silent, die or stall, and clients that stall: which status it
//! is, and that what is cut off looks cut off.

use std::time::Duration;

use http::{Request, Response, request};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    error::{Error, Kind},
    proxy::HttpOptions,
};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tower::ServiceExt;

use crate::support::{
    Front, Server, at_rest, client, fetch, get,
    programs::Port,
    socket::{Socket, field, status},
    soon, until,
};

const SHORT: Duration = Duration::from_millis(100);

fn group(transport: Transport) -> TargetGroup {
    TargetGroup::builder("web").transport(transport).build().unwrap()
}

/// The error a request to a group ends with.
pub(crate) async fn error_of(group: &TargetGroup, request: request::Builder) -> Error {
    let balancer = LoadBalancer::new(RuleTable::forward_to(group));
    let response = balancer.oneshot(request.body(Body::default()).unwrap()).await.unwrap();
    at_rest(group).await;
    let error = response.extensions().get::<Error>().expect("no error").clone();
    assert_eq!(response.status(), error.status());
    error
}

// Before the exchange.

#[tokio::test]
async fn a_refused_connection_is_502_and_names_the_target() {
    let port = Port::reserve();
    let group = group(Transport::new());
    group.register(Target::new(port.address));
    let error = error_of(&group, Request::post("/")).await;
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::Connect, 502));
    assert_eq!(error.target().unwrap(), &*port.address.to_string());
    let expected = format!("connect to {}: connection refused", port.address);
    assert_eq!(error.to_string(), format!("no connection to the target: {expected}"));
    assert_eq!(group.status().targets[0].failed, 1);
}

#[tokio::test]
async fn of_targets_that_all_refuse_the_first_is_named() {
    let (one, two) = (Port::reserve(), Port::reserve());
    let group = group(Transport::new());
    group.register(Target::new(one.address));
    group.register(Target::new(two.address));
    let error = error_of(&group, Request::post("/")).await;
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::Connect, 502));
    assert_eq!(error.target().unwrap(), &*one.address.to_string());
    assert!(group.status().targets.iter().all(|target| target.failed == 1));
}

#[tokio::test]
async fn an_upload_that_one_target_refuses_goes_whole_to_the_next() {
    let dead = Port::reserve();
    let echo = Server::answering(|request| async { Response::new(Body::new(request)) }).await;
    let front = Front::of([dead.address, echo.address]).await;
    let text = "0123456789abcdef".repeat(65_536);
    let client = client();
    for _ in 0..4 {
        let request = Request::post(front.uri("/")).body(Body::from(text.clone())).unwrap();
        let (head, back) = fetch(&client, request).await;
        assert_eq!(head.status, 200);
        assert!(back == text);
    }
    front.at_rest().await;
    let status = front.group.status();
    // A request takes a turn for each target, so each begins at the dead one.
    assert_eq!((status.targets[0].failed, status.targets[1].answered), (4, 4), "{status}");
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_in_time_is_504() {
    // One that does not accept, so that its backlog fills up and it answers no more.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        waiting.push(stream);
        if waiting.len() > 64 {
            println!("skipped: a backlog does not fill up here");
            return;
        }
    }
    // The target cannot be late with an answer to what it does not have.
    let transport = Transport::new().connect_timeout(SHORT).answer_timeout(SHORT / 2);
    let group = group(transport);
    group.register(Target::new(address));
    let error = error_of(&group, Request::get("/")).await;
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::ConnectTimeout, 504));
    let expected = format!("connect to {address} timed out after 100ms");
    assert!(error.to_string().ends_with(&expected), "{error}");

    // Who is sent there waits; nobody else does.
    let one = Server::named("one").await;
    let front = Front::with(self::group(Transport::new()), [address, one.address]).await;
    let mut waiting = Socket::connect(front.address()).await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    until("it waits", || front.group.status().targets[0].in_flight == 1).await;
    assert_eq!(get(&client(), front.uri("/")).await, (200, "one".into()));
    assert_eq!(front.group.status().in_flight(), 1);
}

// Before the answer's head.

#[tokio::test]
async fn vector_45_a_target_that_accepts_and_is_silent_is_504() {
    let target = Server::by_hand(|mut socket, _| async move { _ = socket.rest().await }).await;
    let front = Front::with(group(Transport::new().answer_timeout(SHORT)), [target.address]).await;
    let client = client();
    assert_eq!(get(&client, front.uri("/")).await.0, 504);
    until("its connection is closed", || target.counts.open() == 0).await;
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].failed, 1);
}

/// Whoever drives a kept connection sees that an answer is late if it looks in time anyway; if not, there
/// is a timer for the answer.
#[tokio::test]
async fn a_target_that_falls_silent_on_a_kept_connection_is_504_when_its_time_is_over() {
    const LOOKS_AFTER: Duration = Duration::from_secs(2);
    const LONG: Duration = Duration::from_secs(60);
    let check = async |looks_after, answer: Duration, request: Duration, kind: Kind| {
        let target = Server::by_hand(|mut socket, _| async move {
            _ = socket.request().await;
            _ = socket.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            _ = socket.rest().await;
        })
        .await;
        let transport = Transport::new().answer_timeout(answer);
        let group = group(transport.connection_idle_timeout(looks_after));
        group.register(Target::new(target.address));
        let balancer = LoadBalancer::builder().http(HttpOptions::new().request_timeout(request));
        let balancer = balancer.build(RuleTable::forward_to(&group));
        let ask = || {
            let request = Request::post("/").body(Body::default()).unwrap();
            soon("an answer", balancer.clone().oneshot(request))
        };
        assert_eq!(ask().await.unwrap().status(), 200);
        until("its connection is idle", || group.status().targets[0].connections_idle == 1).await;
        let began = tokio::time::Instant::now();
        let late = ask().await.unwrap();
        let took = began.elapsed();
        assert_eq!(late.status(), 504);
        let error = late.extensions().get::<Error>().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(took >= answer.min(request), "{error}: after {took:?}");
        assert_eq!(target.counts.opened(), 1, "{error}");
        until("its connection is closed", || target.counts.open() == 0).await;
        assert_eq!(group.status().targets[0].failed, 1);
    };
    let a_little_longer = LOOKS_AFTER + SHORT;
    tokio::join!(
        check(LOOKS_AFTER, a_little_longer, LONG, Kind::AnswerTimeout),
        check(LOOKS_AFTER, LONG, a_little_longer, Kind::RequestTimeout),
        check(LONG, SHORT, LONG, Kind::AnswerTimeout),
        check(LONG, LONG, SHORT, Kind::RequestTimeout),
    );
}

#[tokio::test]
async fn vector_44_a_target_that_closes_with_a_request_outstanding_is_502() {
    let check = async |request: &str, answer: &'static str, reset: bool| {
        let target = Server::by_hand(move |mut socket, _| async move {
            _ = socket.request().await;
            _ = socket.send(answer).await;
            if reset {
                socket.into_inner().set_zero_linger().unwrap();
            }
        })
        .await;
        let front = Front::of([target.address]).await;
        let mut client = Socket::connect(front.address()).await;
        client.send(request).await.unwrap();
        assert_eq!(status(&client.head().await), 502, "{request:?} {answer:?} {reset}");
        front.at_rest().await;
        assert_eq!(front.group.status().targets[0].failed, 1);
        assert_eq!(target.counts.opened(), 1);
    };
    for reset in [false, true] {
        check("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody", "", reset).await;
        // The connection is new, so that it may be the request that made the target close it.
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "", reset).await;
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nx: ", reset).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_502() {
    let check = async |answer: &'static str| {
        let target = Server::by_hand(move |mut socket, _| async move {
            _ = socket.request().await;
            _ = socket.send(answer).await;
            _ = socket.rest().await;
        })
        .await;
        let front = Front::of([target.address]).await;
        assert_eq!(get(&client(), front.uri("/")).await.0, 502, "{answer:?}");
        until("its connection is closed", || target.counts.open() == 0).await;
        front.at_rest().await;
    };
    check("220 mail.example.com ESMTP\r\n\r\n").await;
    check("HTTP/1.1 OK\r\n\r\n").await;
    check("HTTP/1.1 200 OK\r\na b: c\r\n\r\n").await;
    check("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").await;
    // Nobody asked for another protocol.
    check("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
}

// In the client's body.

#[tokio::test]
async fn a_client_that_stalls_in_its_upload_is_408() {
    let target = Server::by_hand(|mut socket, _| async move { _ = socket.rest().await }).await;
    // Of two deadlines that are alike, the one that says whose fault it is counts.
    let transport = Transport::new().idle_timeout(SHORT).answer_timeout(SHORT);
    let front = Front::with(group(transport), [target.address]).await;
    for body in ["content-length: 10\r\n\r\nhello", "transfer-encoding: chunked\r\n\r\n"] {
        for _ in 0..5 {
            let mut client = Socket::connect(front.address()).await;
            client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{body}")).await.unwrap();
            let (head, _) = client.answer().await;
            assert_eq!(
                (status(&head), field(&head, "connection")),
                (408, Some("close")),
                "{body:?}"
            );
            // What comes too late is neither the rest of its body nor a request.
            _ = client.send("worldGET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
            assert_eq!(client.rest().await, b"", "{body:?}");
        }
    }
    until("all connections are closed", || target.counts.open() == 0).await;
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].failed, 0, "it is not the target's fault");
}

#[tokio::test]
async fn a_client_whose_body_is_wrong_is_400_and_its_end_is_not_made_up() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let target = Server::by_hand(move |mut socket, _| {
        let tell = tell.clone();
        async move {
            socket.head().await;
            tell.send(socket.rest().await).unwrap();
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{head}5\r\nhello\r\nx\r\n")).await.unwrap();
    assert_eq!(status(&client.head().await), 400);
    let got = soon("the end at the target", told.recv()).await.unwrap();
    assert!(matches!(&*got, b"" | b"5\r\nhello\r\n"), "{}", got.escape_ascii());
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].failed, 0, "it is not the target's fault");
}

#[tokio::test]
async fn a_target_that_does_not_read_an_upload_is_504() {
    let target = Server::by_hand(|socket, _| async move {
        _ = std::future::pending::<()>().await;
        drop(socket);
    })
    .await;
    let transport = Transport::new().idle_timeout(SHORT).answer_timeout(SHORT);
    let front = Front::with(group(transport), [target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n").await.unwrap();
    client.flood(&[b'x'; 65_536]).await;
    assert_eq!(status(&client.head().await), 504);
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].failed, 1);
}

// In the answer's body.

/// A target sends a part of its body and then does what `end` says; returns what the client got
/// after the answer's head.
async fn cut_off(head: &str, part: &str, end: End) -> String {
    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{part}");
    let target = Server::by_hand(move |mut socket, _| {
        let answer = answer.clone();
        async move {
            _ = socket.request().await;
            _ = socket.send(&answer).await;
            match end {
                End::Closes => {}
                End::Resets => socket.into_inner().set_zero_linger().unwrap(),
                End::Stalls => _ = socket.rest().await,
            }
        }
    })
    .await;
    let transport = match end {
        End::Closes | End::Resets => Transport::new(),
        End::Stalls => Transport::new().idle_timeout(SHORT),
    };
    let front = Front::with(group(transport), [target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    assert_eq!(status(&client.head().await), 200);
    let rest = String::from_utf8(client.rest().await).unwrap();
    until("the target's connection is closed", || target.counts.open() == 0).await;
    front.at_rest().await;
    let status = &front.group.status().targets[0];
    assert_eq!((status.answered, status.failed), (0, 1), "{end:?}");
    rest
}

#[derive(Clone, Copy, Debug)]
enum End {
    Closes,
    Resets,
    Stalls,
}

#[tokio::test]
async fn an_answer_that_its_target_cuts_off_looks_cut_off_to_the_client() {
    for end in [End::Closes, End::Resets, End::Stalls] {
        assert_eq!(cut_off("content-length: 10", "hello", end).await, "hello", "{end:?}");
        let chunks = cut_off("transfer-encoding: chunked", "5\r\nhello\r\n", end).await;
        assert_eq!(chunks, "5\r\nhello\r\n", "{end:?}");
        // In the middle of a chunk.
        let chunks = cut_off("transfer-encoding: chunked", "a\r\nhello", end).await;
        assert_eq!(chunks, "5\r\nhello\r\n", "{end:?}");
    }
}
