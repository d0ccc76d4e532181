//! What a group's retry policy sends once more, counted where it arrives.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup, endpoint::Transport, group::RetryPolicy,
};
use tokio::net::TcpSocket;
use tower::{BoxError, ServiceExt, service_fn};

use crate::support::{
    Front, Server, client, fetch, get,
    socket::{Socket, field, status},
    until, within_limits,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";

/// What a target does with each request, once it has read it.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Answer(&'static str),
    /// Ends the connection.
    Close,
    /// Answers the first request of each connection, and ends it when it has read the second.
    Once(&'static str),
    /// Ends the connection, and whatever is under way on it.
    Reset,
    /// Reads the head, and ends the connection when so many bytes of the body are there.
    CloseAt(usize),
    /// Reads the head only, and answers.
    Early(&'static str),
    /// Does nothing.
    Silent,
}
use Deed::{Answer, Close, CloseAt, Early, Once, Reset, Silent};

/// What arrived: which target it was, the head, and the body as it was framed.
#[derive(Clone, Debug)]
struct Arrival {
    target: usize,
    head: String,
    body: Vec<u8>,
}

#[derive(Clone, Default)]
struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    fn note(&self, target: usize, head: &str, body: Vec<u8>) {
        self.0.lock().unwrap().push(Arrival { target, head: head.to_owned(), body });
    }

    fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Takes what arrived; returns at which targets.
    fn targets(&self) -> Vec<usize> {
        self.take().iter().map(|arrival| arrival.target).collect()
    }
}

/// Reads the body of a request as it is framed.
async fn body(socket: &mut Socket, head: &str) -> Vec<u8> {
    if let Some(length) = field(head, "content-length") {
        return socket.at_most(length.parse().unwrap()).await;
    }
    if field(head, "transfer-encoding").is_none() {
        return Vec::new();
    }
    // The last chunk and the trailers end as a head does; no part of a body here has an empty line.
    socket.try_head().await.unwrap_or_default().into_bytes()
}

async fn target(number: usize, deed: Deed, arrivals: &Arrivals) -> Server {
    let arrivals = arrivals.clone();
    Server::by_hand(move |mut socket, _| {
        let arrivals = arrivals.clone();
        async move {
            let mut answered = false;
            while let Some(head) = socket.try_head().await {
                let body = match deed {
                    CloseAt(bytes) => socket.at_most(bytes).await,
                    Early(_) => Vec::new(),
                    _ => body(&mut socket, &head).await,
                };
                arrivals.note(number, &head, body);
                match deed {
                    Once(_) if answered => return,
                    Answer(answer) | Once(answer) | Early(answer) => {
                        socket.send(answer).await.unwrap()
                    }
                    Close | CloseAt(_) => return,
                    Reset => return socket.into_inner().set_zero_linger().unwrap(),
                    Silent => return socket.closed().await,
                }
                answered = true;
            }
        }
    })
    .await
}

/// A group with a policy, and a front of it; a target for each deed, in the order they are picked.
struct Setup {
    front: Front,
    arrivals: Arrivals,
    servers: Vec<Server>,
}

impl Setup {
    async fn of(policy: RetryPolicy, deeds: &[Deed]) -> Self {
        Self::over(Transport::new(), policy, deeds).await
    }

    async fn over(transport: Transport, policy: RetryPolicy, deeds: &[Deed]) -> Self {
        let arrivals = Arrivals::default();
        let mut servers = Vec::new();
        for (number, deed) in deeds.iter().enumerate() {
            servers.push(target(number, *deed, &arrivals).await);
        }
        let group = TargetGroup::builder("web").retry(policy).transport(transport).build().unwrap();
        let addresses = servers.iter().map(|server| server.address);
        let front = Front::with(group, addresses).await;
        Self { front, arrivals, servers }
    }

    /// Sends a request and returns its status and the answer's body.
    async fn ask(&self, method: Method, body: Body) -> (u16, String) {
        let request = Request::builder().method(method).uri(self.front.uri("/a")).body(body);
        let (head, text) = fetch(&client(), request.unwrap()).await;
        (head.status.as_u16(), text)
    }
}

/// Every condition there is, but for answers that are late.
fn policy() -> RetryPolicy {
    RetryPolicy::new().on_reset(true).on_statuses([502, 503, 504])
}

/// A body whose length nobody tells, with a trailer.
fn chunked(parts: &[&'static str]) -> Body {
    let parts = parts.iter().map(|part| Ok::<_, BoxError>(Frame::data(Bytes::from(*part))));
    let sum = HeaderMap::from_iter([("sum".parse().unwrap(), "9".parse().unwrap())]);
    let frames = parts.chain([Ok(Frame::trailers(sum))]).collect::<Vec<_>>();
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// Joins the chunks of a body; whoever copies it may cut it into others.
fn joined(framed: &[u8]) -> (String, String) {
    let mut rest = std::str::from_utf8(framed).unwrap();
    let mut data = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").expect("a chunk's size");
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (data, after.to_owned());
        }
        data.push_str(&after[..size]);
        rest = after[size..].strip_prefix("\r\n").expect("the end of a chunk");
    }
}

#[tokio::test]
async fn what_is_lost_before_the_head_of_an_answer_goes_to_another_target() {
    for deed in [Close, Reset, Answer(BUSY)] {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            let setup = Setup::of(policy(), &[deed, Answer(OK)]).await;
            assert_eq!(setup.ask(method.clone(), Body::default()).await.0, 200);
            assert_eq!(setup.arrivals.targets(), [0, 1], "{method} {deed:?}");
            setup.front.at_rest().await;
        }
    }
    for deed in [Close, Reset, CloseAt(3), Answer(BUSY)] {
        let setup = Setup::of(policy(), &[deed, Answer(OK)]).await;
        assert_eq!(setup.ask(Method::PUT, "a body".into()).await, (200, "ok".to_owned()));
        let arrivals = setup.arrivals.take();
        assert_eq!(arrivals.len(), 2);
        assert_eq!(arrivals[0].head, arrivals[1].head, "the client named the host");
        assert_eq!(field(&arrivals[1].head, "content-length"), Some("6"));
        assert_eq!(arrivals[1].body, b"a body");
        setup.front.at_rest().await;
    }
}

#[tokio::test]
async fn what_is_lost_on_a_kept_connection_goes_to_another_target_with_its_body() {
    let setup = Setup::of(policy(), &[Once(OK), Answer(OK)]).await;
    for _ in 0..2 {
        assert_eq!(setup.ask(Method::GET, Body::default()).await.0, 200);
    }
    let idle = || setup.front.group.status().targets.iter().all(|one| one.connections_idle == 1);
    until("a connection to each is kept", idle).await;
    setup.arrivals.take();
    assert_eq!(setup.ask(Method::PUT, "a body".into()).await.0, 200);
    assert_eq!(setup.arrivals.targets(), [0, 1]);
    setup.front.at_rest().await;
}

#[tokio::test]
async fn what_may_not_be_done_twice_arrives_once() {
    for deed in [Close, Reset, Answer(BUSY)] {
        for method in [Method::POST, Method::PATCH] {
            for body in ["", "a body"] {
                let setup = Setup::of(policy(), &[deed, Answer(OK)]).await;
                let answer = setup.ask(method.clone(), body.into()).await;
                let whole = if matches!(deed, Answer(_)) {
                    (503, "busy")
                } else {
                    (502, "502 Bad Gateway\n")
                };
                assert_eq!((answer.0, answer.1.as_str()), whole, "{method} {deed:?}");
                assert_eq!(setup.arrivals.targets(), [0]);
                setup.front.at_rest().await;
            }
        }
    }
}

#[tokio::test]
async fn a_body_in_chunks_and_its_trailers_are_whole_at_the_second_target() {
    for deed in [Close, CloseAt(1), Answer(BUSY)] {
        let setup = Setup::of(policy(), &[deed, Answer(OK)]).await;
        let mut request = Request::put(setup.front.uri("/a"));
        request = request.header("te", "trailers").header("trailer", "sum");
        let request = request.body(chunked(&["one ", "two ", "three"])).unwrap();
        assert_eq!(fetch(&client(), request).await.0.status, 200, "{deed:?}");
        let arrivals = setup.arrivals.take();
        assert_eq!(arrivals.len(), 2);
        let last = &arrivals[1];
        assert_eq!(field(&last.head, "transfer-encoding"), Some("chunked"));
        assert_eq!(field(&last.head, "content-length"), None);
        let whole = ("one two three".to_owned(), "sum: 9\r\n\r\n".to_owned());
        assert_eq!(joined(&last.body), whole, "{deed:?}");
        setup.front.at_rest().await;
    }
}

/// The client sends the rest only when the second target has the request.
#[tokio::test]
async fn what_the_client_had_not_sent_yet_reaches_the_second_target() {
    let setup = Setup::of(policy(), &[CloseAt(6), Answer(OK)]).await;
    let heads = Arc::new(Mutex::new(String::new()));
    // In place of the second: it tells when it has the beginning.
    let second = Server::by_hand({
        let heads = Arc::clone(&heads);
        move |mut socket, _| {
            let heads = Arc::clone(&heads);
            async move {
                socket.head().await;
                *heads.lock().unwrap() = String::from_utf8(socket.exactly(6).await).unwrap();
                let rest = socket.exactly(7).await;
                heads.lock().unwrap().push_str(std::str::from_utf8(&rest).unwrap());
                socket.send(OK).await.unwrap();
            }
        }
    })
    .await;
    setup.front.group.deregister(&setup.servers[1].address.to_string());
    setup.front.group.register(Target::new(second.address));
    let mut socket = Socket::connect(setup.front.address()).await;
    socket.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 13\r\n\r\nfirst ").await.unwrap();
    until("the second target has the beginning", || *heads.lock().unwrap() == "first ").await;
    socket.send("seconds").await.unwrap();
    assert_eq!(status(&socket.answer().await.0), 200);
    assert_eq!(*heads.lock().unwrap(), "first seconds");
    setup.front.at_rest().await;
}

#[tokio::test]
async fn an_upload_longer_than_what_is_kept_is_whole_and_arrives_once() {
    const LENGTH: usize = 1024 * 1024;
    let unknown = || {
        let part = Bytes::from(vec![b'x'; 4096]);
        let parts = vec![part; LENGTH / 4096].into_iter();
        let frames = parts.map(|part| Ok::<_, BoxError>(Frame::data(part)));
        Body::new(StreamBody::new(stream::iter(frames)))
    };
    for known in [true, false] {
        let upload = || if known { Body::from("x".repeat(LENGTH)) } else { unknown() };
        for (deed, expected) in [(Close, 502), (Reset, 502), (Answer(BUSY), 503), (Answer(OK), 200)]
        {
            let setup = Setup::of(policy(), &[deed, Answer(OK)]).await;
            assert_eq!(setup.ask(Method::PUT, upload()).await.0, expected, "{deed:?} {known}");
            let arrivals = setup.arrivals.take();
            assert_eq!(arrivals.iter().map(|a| a.target).collect::<Vec<_>>(), [0]);
            let body = &arrivals[0].body;
            let data = if known { body.len() } else { joined(body).0.len() };
            assert_eq!(data, LENGTH);
            setup.front.at_rest().await;
        }
    }
    // All of what may be kept.
    let setup = Setup::of(policy().replay_max(LENGTH), &[Close, Answer(OK)]).await;
    assert_eq!(setup.ask(Method::PUT, unknown()).await.0, 200);
    let arrivals = setup.arrivals.take();
    assert_eq!(arrivals.len(), 2);
    assert!(arrivals.iter().all(|arrival| joined(&arrival.body).0 == "x".repeat(LENGTH)));
}

#[tokio::test]
async fn the_answer_of_a_target_stands_when_no_better_one_comes() {
    for (deeds, arrived) in [
        (&[Answer(BUSY)][..], &[0][..]),
        (&[Answer(BUSY), Close], &[0, 1]),
        (&[Answer(BUSY), Answer(BUSY)], &[0, 1]),
        (&[Close, Answer(BUSY)], &[0, 1]),
    ] {
        let setup = Setup::of(policy(), deeds).await;
        assert_eq!(setup.ask(Method::GET, Body::default()).await, (503, "busy".to_owned()));
        assert_eq!(setup.arrivals.targets(), arrived, "{deeds:?}");
        setup.front.at_rest().await;
    }
    let setup = Setup::of(policy().budget_percent(0).budget_floor(0), &[Answer(BUSY), Answer(OK)]);
    let setup = setup.await;
    assert_eq!(setup.ask(Method::GET, Body::default()).await, (503, "busy".to_owned()));
    assert_eq!(setup.arrivals.targets(), [0]);
}

#[tokio::test]
async fn an_answer_to_half_an_upload_is_passed_on() {
    let setup = Setup::of(policy(), &[Early(BUSY), Answer(OK)]).await;
    let mut socket = Socket::connect(setup.front.address()).await;
    socket.send("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 13\r\n\r\nfirst ").await.unwrap();
    let (head, body) = socket.answer().await;
    assert_eq!((status(&head), body.as_str()), (503, "busy"));
    assert_eq!(setup.arrivals.targets(), [0]);
    drop(socket);
    setup.front.at_rest().await;
}

#[tokio::test]
async fn a_target_that_is_late_may_be_given_up_for_another() {
    for body in ["", "a body"] {
        let ask = async |limit, policy| {
            let transport = Transport::new().answer_timeout(limit);
            let setup = Setup::over(transport, policy, &[Silent, Answer(OK)]).await;
            let (status, _) = setup.ask(Method::PUT, body.into()).await;
            setup.front.at_rest().await;
            until("the late one is let go", || setup.servers[0].counts.open() == 0).await;
            let arrivals = setup.arrivals.take().into_iter();
            (status, arrivals.map(|arrival| (arrival.target, arrival.body)).collect::<Vec<_>>())
        };
        let of = |target| (target, body.as_bytes().to_vec());
        within_limits((504, vec![of(0)]), async |limit| ask(limit, policy()).await).await;
        within_limits((200, vec![of(0), of(1)]), async |limit| {
            ask(limit, policy().on_answer_timeout(true)).await
        })
        .await;
    }
}

#[tokio::test]
async fn a_dead_group_gets_its_share_of_retries_and_no_more() {
    let policy = policy().attempts_max(3).budget_floor(0);
    let setup = Setup::of(policy, &[Close, Reset, Close]).await;
    for number in 1..=100 {
        let (status, _) = get(&client(), setup.front.uri("/")).await;
        assert_eq!(status, 502);
        assert!(setup.arrivals.count() <= number + number / 5);
    }
    // 20, unless the test takes more than ten seconds.
    assert!(setup.arrivals.count() > 105, "{}", setup.arrivals.count());
    setup.front.at_rest().await;
}

/// An address that refuses, held so that nobody else gets it.
fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// How a body goes over a connection is no matter of a service that there is none to.
#[tokio::test]
async fn a_service_that_gets_what_a_target_refused_sees_no_framing_of_its_own() {
    let (_held, refused) = refusing();
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::new(refused));
    let seen = Arc::new(Mutex::new(None));
    group.register(Target::service("here", {
        let seen = Arc::clone(&seen);
        service_fn(move |request: Request<Body>| {
            *seen.lock().unwrap() = Some(request.headers().clone());
            std::future::ready(Ok::<_, BoxError>(Response::new(Body::default())))
        })
    }));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let request = Request::put("/").body(chunked(&["a"])).unwrap();
    assert_eq!(balancer.oneshot(request).await.unwrap().status(), 200);
    let headers = seen.lock().unwrap().take().unwrap();
    assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
}

#[tokio::test]
async fn each_target_gets_its_own_host_when_the_client_names_none() {
    let arrivals = Arrivals::default();
    let closing = target(0, Close, &arrivals).await;
    let answering = target(1, Answer(OK), &arrivals).await;
    let (_held, refused) = refusing();
    for first in [refused, closing.address] {
        let group = TargetGroup::builder("web").retry(policy()).build().unwrap();
        let front = Front::with(group, [first, answering.address]).await;
        let mut socket = Socket::connect(front.address()).await;
        socket.send("GET / HTTP/1.0\r\n\r\n").await.unwrap();
        assert_eq!(status(&socket.head().await), 200);
        let last = arrivals.take().pop().unwrap();
        assert_eq!(field(&last.head, "host"), Some(answering.address.to_string().as_str()));
        front.at_rest().await;
    }
}
