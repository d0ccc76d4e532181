//! What another document changes while requests are answered, and what it leaves alone.

use std::{
    fmt::Display,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Response};
use http_body_util::{BodyExt, Collected, StreamBody};
use hyper::body::Frame;
use pointsman::{
    Body,
    gateway::{Document, Gateway, StartError},
    health::State,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet};
use tower::BoxError;

use super::{
    ask, document, fixed, forward, group, listener, rule, sticky,
    support::{
        MANY_SOCKETS, SOON, Server,
        programs::Port,
        socket::{Socket, field, status},
        soon, until,
    },
    text,
};

const PART: usize = 16 * 1024;

fn parse(document: &Value) -> Document {
    Document::parse(&document.to_string()).unwrap_or_else(|invalid| panic!("{invalid}"))
}

fn start(document: &Value) -> Gateway {
    Gateway::start(&parse(document), [127, 0, 0, 1].into()).unwrap()
}

fn reload(gateway: &mut Gateway, document: &Value) {
    gateway.reload(&parse(document)).unwrap();
}

/// Tries again while an address is in use, and awaits nothing in between. A program that another test
/// starts has copies of all sockets for a moment, until it is loaded, and so they are open for as long.
fn freed<T, E: Display>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let started = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(error) => {
                let in_use = error.to_string().contains("in use");
                assert!(in_use && started.elapsed() < SOON, "{error}");
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Asserts that nobody listens there. A copy of a socket may, see [`freed`]; nothing is awaited here
/// either, so what is closed was closed before.
fn assert_refused(address: SocketAddr) {
    let started = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < SOON, "{address} accepts");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Targets that answer with their name and what they were sent; the answer to `/slow` comes in as many
/// parts as the test asks for, whichever of them it is that was asked.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Option<mpsc::UnboundedReceiver<()>>>>);

impl Slow {
    /// Sends the next part for each message.
    fn arm(&self) -> mpsc::UnboundedSender<()> {
        let (more, parts) = mpsc::unbounded_channel();
        *self.0.lock().unwrap() = Some(parts);
        more
    }

    async fn target(&self, name: &'static str) -> Server {
        let slow = self.clone();
        Server::answering(move |request| {
            let slow = slow.clone();
            async move {
                if request.uri().path() == "/slow" {
                    let parts = slow.0.lock().unwrap().take().unwrap();
                    let frames = stream::unfold(parts, |mut parts| async {
                        parts.recv().await?;
                        let frame = Frame::data(Bytes::from(vec![b'x'; PART]));
                        Some((Ok::<_, BoxError>(frame), parts))
                    });
                    return Response::new(Body::new(StreamBody::new(frames)));
                }
                let sent = request.into_body().collect().await.map(Collected::to_bytes);
                let text = String::from_utf8(sent.unwrap_or_default().to_vec()).unwrap();
                Response::new(Body::from(format!("{name}:{text}")))
            }
        })
        .await
    }
}

/// A download whose parts come one by one.
struct Download {
    socket: Socket,
    more: mpsc::UnboundedSender<()>,
}

impl Download {
    async fn start(slow: &Slow, address: SocketAddr) -> Self {
        let more = slow.arm();
        let mut socket = Socket::connect(address).await;
        socket.send("GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
        let head = socket.head().await;
        assert_eq!((status(&head), field(&head, "transfer-encoding")), (200, Some("chunked")));
        Self { socket, more }
    }

    async fn part(&mut self) {
        self.more.send(()).unwrap();
        let mut left = PART;
        while left > 0 {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.extend(self.socket.exactly(1).await);
            }
            let size = std::str::from_utf8(&size).unwrap().trim();
            let size = usize::from_str_radix(size, 16).unwrap();
            let data = self.socket.exactly(size + 2).await;
            assert!(data[..size].iter().all(|byte| *byte == b'x'));
            left -= size;
        }
    }

    /// Reads the end; the connection may be used again.
    async fn end(self) -> Socket {
        let Self { mut socket, more } = self;
        drop(more);
        assert_eq!(socket.exactly(5).await, b"0\r\n\r\n");
        socket
    }
}

/// Clients that ask and ask, each on one connection, which must never be closed.
struct Load {
    started: Instant,
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr, connections: usize) -> Self {
        let started = Instant::now();
        let answered = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..connections {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            clients.spawn(async move {
                let mut socket = Socket::connect(address).await;
                for number in client.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (method, text) = match number % 2 {
                        0 => (Method::GET, String::new()),
                        _ => (Method::POST, format!("{client} {number} ").repeat(number % 200)),
                    };
                    let length = text.len();
                    let head = format!(
                        "{method} /load HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n"
                    );
                    socket.send(head + &text).await.unwrap();
                    let (head, body) = socket.answer().await;
                    let (_, echo) = body.split_once(':').expect(&body);
                    assert_eq!((status(&head), echo), (200, &*text), "{head}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { started, answered, stop, clients }
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, requests: usize) {
        let enough = self.answered.load(Ordering::SeqCst) + requests;
        until("more answers", || self.answered.load(Ordering::SeqCst) >= enough).await;
    }

    /// Ends the clients, none of which has failed. Returns how many requests were answered a second,
    /// from before the first connection to after the last answer.
    async fn end(mut self) -> f64 {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = soon("the last answers", self.clients.join_next()).await {
            ended.unwrap();
        }
        let answered = u32::try_from(self.answered.load(Ordering::SeqCst)).unwrap();
        f64::from(answered) / self.started.elapsed().as_secs_f64()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_fail_no_request_and_close_no_connection() {
    let _many = MANY_SOCKETS.lock().await;
    let slow = Slow::default();
    let (one, two) = (slow.target("one").await, slow.target("two").await);
    let (three, four) = (slow.target("three").await, slow.target("four").await);
    let pairs = [[one.address, two.address], [three.address, four.address]];
    let port = Port::reserve();
    let of = |pair: usize, weight: usize, ruled: bool| {
        let groups = [group("web", &pairs[pair % 2]), group("other", &pairs[(pair + 1) % 2])];
        let default = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": [
            {"TargetGroupArn": "web", "Weight": weight},
            {"TargetGroupArn": "other", "Weight": 100 - weight}
        ]}});
        let rules = [rule(1, "/lo*", &forward("other")), rule(2, "/none", &fixed("x"))];
        let rules = if ruled { &rules[..] } else { &[] };
        document(&groups, &[listener(port.address.port(), &default, rules)])
    };
    let mut gateway = start(&of(0, 100, false));
    let mut download = Download::start(&slow, port.address).await;
    download.part().await;
    let load = Load::start(port.address, 64);
    load.more(256).await;
    for number in 0..10 {
        reload(&mut gateway, &of(0, [100, 0, 50][number % 3], number % 2 == 1));
        download.part().await;
        load.more(256).await;
    }
    for pair in 1..=20 {
        reload(&mut gateway, &of(pair, 50, false));
        download.part().await;
        load.more(256).await;
    }
    // Else little would be shown: what goes wrong in a reload goes wrong for those under way.
    let rate = load.end().await;
    assert!(rate >= 500.0, "only {rate:.0} requests a second");
    let mut socket = download.end().await;
    assert!(ask(&mut socket, "/").await.1.ends_with(':'));
    drop(socket);
    assert_eq!(soon("the end of the gateway", gateway.shutdown()).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_fail_no_client_that_connects_meanwhile() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let port = Port::reserve();
    let of = |target: &Server, ruled: bool| {
        let rules = [rule(1, "/none", &fixed("x"))];
        let rules = if ruled { &rules[..] } else { &[] };
        document(
            &[group("web", &[target.address])],
            &[listener(port.address.port(), &forward("web"), rules)],
        )
    };
    let mut gateway = start(&of(&one, false));
    let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (answered, stop, address) = (Arc::clone(&answered), Arc::clone(&stop), port.address);
        clients.spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let mut socket = Socket::connect(address).await;
                let fields = "Host: a.test\r\nConnection: close\r\nContent-Length: 4";
                socket.send(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nbody")).await.unwrap();
                let (head, body) = socket.answer().await;
                assert_eq!(status(&head), 200, "{head}{body}");
                assert_eq!(socket.rest().await, b"");
                answered.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for number in 0..20 {
        let enough = answered.load(Ordering::SeqCst) + 50;
        until("more answers", || answered.load(Ordering::SeqCst) >= enough).await;
        reload(&mut gateway, &of([&two, &one][number % 2], number % 3 == 0));
    }
    stop.store(true, Ordering::SeqCst);
    clients.join_all().await;
    assert!(one.counts.requests() > 0 && two.counts.requests() > 0);
}

/// A target that agrees to each WebSocket and then sends back what it gets, its name first.
async fn echoing(name: &'static str) -> Server {
    Server::by_hand(move |mut socket, _| async move {
        // Also when it is asked for its health, which it then has not.
        let Some(_) = socket.try_head().await else { return };
        let agrees = format!("HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}\r\n{name}");
        _ = socket.send(agrees).await;
        while let [byte] = *socket.at_most(1).await {
            _ = socket.send([byte]).await;
        }
    })
    .await
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// Opens a WebSocket to a target, whose name comes first.
async fn websocket(address: SocketAddr, name: &str) -> Socket {
    let mut socket = Socket::connect(address).await;
    socket.send(format!("GET /chat HTTP/1.1\r\nHost: a.test\r\n{UPGRADE}\r\n")).await.unwrap();
    assert_eq!(status(&socket.head().await), 101);
    assert_eq!(socket.exactly(name.len()).await, name.as_bytes());
    socket
}

async fn echoes(socket: &mut Socket) {
    socket.send("hello").await.unwrap();
    assert_eq!(socket.exactly(5).await, b"hello");
}

#[tokio::test]
async fn a_websocket_goes_on_by_the_document_it_began_with() {
    let (old, new) = (echoing("old").await, echoing("new").await);
    let port = Port::reserve();
    let with = |targets: &[&Server], rules: &[Value], attributes: Value| {
        let addresses = targets.iter().map(|target| target.address).collect::<Vec<_>>();
        let mut lb = document(
            &[group("web", &addresses)],
            &[listener(port.address.port(), &fixed("default"), rules)],
        );
        lb["LoadBalancerAttributes"] = attributes;
        lb
    };
    let chat = [rule(1, "/chat", &forward("web"))];
    let mut gateway = start(&with(&[&old], &chat, json!([])));
    let mut first = websocket(port.address, "old").await;
    let web = gateway.assembly().group("web").unwrap().clone();

    // Its target goes.
    reload(&mut gateway, &with(&[&new], &chat, json!([])));
    echoes(&mut first).await;
    let draining = web.status().target(&old.address.to_string()).unwrap().clone();
    assert_eq!((draining.state, draining.in_flight), (State::Draining, 1));
    let mut second = websocket(port.address, "new").await;
    // Its rule goes, and what clients may do changes.
    let strict = json!([
        {"Key": "routing.http.desync_mitigation_mode", "Value": "strictest"},
        {"Key": "idle_timeout.timeout_seconds", "Value": "1"}
    ]);
    reload(&mut gateway, &with(&[&new], &[], strict));
    assert_eq!(text(port.address, "/chat").await, "default");
    // Longer than nothing may be sent by what holds now.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for socket in [&mut first, &mut second] {
        echoes(socket).await;
    }
    assert_eq!(web.status().in_flight(), 2);
    drop((first, second));
    until("both have ended", || web.status().in_flight() == 0).await;
    assert_eq!(soon("the end of the gateway", gateway.shutdown()).await, 0);
}

#[tokio::test]
async fn a_websocket_may_stay_for_half_a_minute_after_its_listener() {
    let target = echoing("web").await;
    let (stays, goes) = (Port::reserve(), Port::reserve());
    let of = |ports: &[&Port]| {
        let listener = |port: &&Port| listener(port.address.port(), &forward("web"), &[]);
        let listeners: Vec<_> = ports.iter().map(listener).collect();
        document(&[group("web", &[target.address])], &listeners)
    };
    let mut gateway = start(&of(&[&stays, &goes]));
    let web = gateway.assembly().group("web").unwrap().clone();
    let mut left = websocket(goes.address, "web").await;
    let mut other = websocket(stays.address, "web").await;
    reload(&mut gateway, &of(&[&stays]));
    assert_refused(goes.address);
    echoes(&mut left).await;
    echoes(&mut other).await;
    // Nothing moves on any socket from here on, so that the clock may run ahead of them.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    assert_eq!(gateway.shutdown().await, 2, "so many were cut");
    let lasted = began.elapsed();
    tokio::time::resume();
    assert!((29.0..31.0).contains(&lasted.as_secs_f64()), "{lasted:?}");
    assert_eq!((left.rest().await, other.rest().await), (vec![], vec![]), "no frame of ours");
    until("both have ended", || web.status().in_flight() == 0).await;
    until("the target sees it", || target.counts.open() == 0).await;
}

#[tokio::test]
async fn weights_hold_from_the_next_request() {
    let (blue, green) = (Server::named("blue").await, Server::named("green").await);
    let groups = [group("blue", &[blue.address]), group("green", &[green.address])];
    let port = Port::reserve();
    let of = |blue: usize, green: usize| {
        let groups_of = json!([
            {"TargetGroupArn": "blue", "Weight": blue}, {"TargetGroupArn": "green", "Weight": green}
        ]);
        let default = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": groups_of}});
        document(&groups, &[listener(port.address.port(), &default, &[])])
    };
    let mut gateway = start(&of(100, 0));
    let mut socket = Socket::connect(port.address).await;
    for _ in 0..3 {
        for (weights, expected) in [((100, 0), "blue"), ((0, 100), "green")] {
            reload(&mut gateway, &of(weights.0, weights.1));
            for _ in 0..20 {
                assert_eq!(ask(&mut socket, "/").await.1, expected);
            }
        }
    }
}

#[tokio::test]
async fn a_target_removed_during_a_download_finishes_it_and_gets_nothing_else() {
    let slow = Slow::default();
    let (old, new) = (slow.target("old").await, slow.target("new").await);
    let port = Port::reserve();
    let of = |target: &Server| {
        let listener = listener(port.address.port(), &forward("web"), &[]);
        document(&[group("web", &[target.address])], &[listener])
    };
    let mut gateway = start(&of(&old));
    let mut download = Download::start(&slow, port.address).await;
    reload(&mut gateway, &of(&new));
    download.part().await;
    let mut socket = Socket::connect(port.address).await;
    for _ in 0..10 {
        assert_eq!(ask(&mut socket, "/").await.1, "new:");
    }
    download.part().await;
    let web = gateway.assembly().group("web").unwrap().clone();
    let state = |id: &str| web.status().target(id).map(|target| target.state);
    assert_eq!(state(&old.address.to_string()), Some(State::Draining));
    let mut socket = download.end().await;
    assert_eq!(ask(&mut socket, "/").await.1, "new:");
    let answered = |target: &Server| {
        let status = web.status();
        let target = status.target(&target.address.to_string()).unwrap();
        (target.answered, target.in_flight)
    };
    until("all are counted", || [answered(&old), answered(&new)] == [(1, 0), (11, 0)]).await;
}

#[tokio::test]
async fn a_document_that_cannot_run_changes_nothing() {
    let (port, more) = (Port::reserve(), Port::reserve());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_at = taken.local_addr().unwrap();
    let of = |text, more: &[u16]| {
        let ports = [port.address.port()].into_iter().chain(more.iter().copied());
        let listeners: Vec<_> = ports.map(|port| listener(port, &fixed(text), &[])).collect();
        document(&[], &listeners)
    };
    let mut gateway = start(&of("old", &[]));
    let both = of("new", &[more.address.port(), taken_at.port()]);
    let error = gateway.reload(&parse(&both)).unwrap_err();
    assert!(matches!(error, StartError::Listen(_)), "{error}");
    assert!(error.to_string().contains(&taken_at.to_string()), "{error}");
    assert_eq!(gateway.local_addrs(), [port.address]);
    assert_eq!(text(port.address, "/").await, "old");
    // Of what could be had, nothing is kept.
    assert_refused(more.address);
    drop(taken);
    reload(&mut gateway, &both);
    assert_eq!(text(port.address, "/").await, "new");
    assert_eq!(text(more.address, "/").await, "new");
    assert_eq!(text(taken_at, "/").await, "new");
}

#[tokio::test]
async fn listeners_come_and_go_and_one_that_goes_ends_what_it_has() {
    let slow = Slow::default();
    let target = slow.target("web").await;
    let (stays, goes) = (Port::reserve(), Port::reserve());
    let of = |ports: &[&Port]| {
        let listener = |port: &&Port| listener(port.address.port(), &forward("web"), &[]);
        let listeners: Vec<_> = ports.iter().map(listener).collect();
        document(&[group("web", &[target.address])], &listeners)
    };
    let mut gateway = start(&of(&[&stays, &goes]));
    let mut idle = Socket::connect(goes.address).await;
    assert_eq!(ask(&mut idle, "/").await.1, "web:");
    let mut other = Socket::connect(stays.address).await;
    assert_eq!(ask(&mut other, "/").await.1, "web:");
    let mut download = Download::start(&slow, goes.address).await;

    reload(&mut gateway, &of(&[&stays]));
    assert_eq!(gateway.local_addrs(), [stays.address]);
    soon("the end of the idle connection", idle.closed()).await;
    assert_eq!(ask(&mut other, "/").await.1, "web:");
    download.part().await;
    // Its port is free while it ends.
    drop(freed(|| TcpListener::bind(goes.address)));
    download.part().await;
    let mut last = download.end().await;
    soon("the end of the last connection", last.closed()).await;

    reload(&mut gateway, &of(&[&goes, &stays]));
    assert_eq!(text(goes.address, "/").await, "web:");
    assert_eq!(ask(&mut other, "/").await.1, "web:");
    drop((idle, last, other));
    assert_eq!(soon("the end of the gateway", gateway.shutdown()).await, 0);
}

#[tokio::test]
async fn how_long_clients_may_take_changes_for_connections_that_are_opened_later() {
    let port = Port::reserve();
    let with_timeout = |seconds: &str| {
        let mut document = document(&[], &[listener(port.address.port(), &fixed("here"), &[])]);
        document["LoadBalancerAttributes"] = json!([
            {"Key": "idle_timeout.timeout_seconds", "Value": seconds}
        ]);
        document
    };
    let mut gateway = start(&with_timeout("60"));
    let mut before = Socket::connect(port.address).await;
    assert_eq!(ask(&mut before, "/").await.1, "here");
    reload(&mut gateway, &with_timeout("1"));
    let mut after = Socket::connect(port.address).await;
    assert_eq!(ask(&mut after, "/").await.1, "here");
    soon("the end of the idle connection", after.closed()).await;
    assert_eq!(ask(&mut before, "/").await.1, "here");
}

/// There is no other thread, so nothing but the call itself can have closed a socket.
#[tokio::test(flavor = "current_thread")]
async fn a_port_that_goes_and_comes_back_at_once_can_be_had() {
    goes_and_comes_back().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_goes_while_others_accept_can_be_had_again() {
    goes_and_comes_back().await;
}

async fn goes_and_comes_back() {
    let (stays, goes) = (Port::reserve(), Port::reserve());
    let of = |text, ports: &[&Port]| {
        let listener = |port: &&Port| listener(port.address.port(), &fixed(text), &[]);
        let listeners: Vec<_> = ports.iter().map(listener).collect();
        document(&[], &listeners)
    };
    let dropped = start(&of("dropped", &[&stays, &goes]));
    assert_eq!(text(goes.address, "/").await, "dropped");
    drop(dropped);
    let mut gateway = start(&of("0", &[&stays, &goes]));
    for round in ["1", "2", "3"] {
        let mut before = Socket::connect(goes.address).await;
        ask(&mut before, "/").await;
        // Nothing is awaited in between, so that no task may have been told of the end.
        reload(&mut gateway, &of(round, &[&stays]));
        drop(freed(|| TcpListener::bind(goes.address)));
        freed(|| gateway.reload(&parse(&of(round, &[&goes, &stays]))));
        assert_eq!(text(goes.address, "/").await, round);
        assert_eq!(text(stays.address, "/").await, round);
        soon("the end of the connection to the old one", before.closed()).await;
    }
    assert_eq!(soon("the end of the gateway", gateway.shutdown()).await, 0);
}

#[tokio::test]
async fn what_stays_keeps_its_health_counts_and_sessions() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let three = Server::named("three").await;
    let port = Port::reserve();
    let of = |targets: &[SocketAddr], rules: &[Value]| {
        document(
            &[sticky("web", targets)],
            &[listener(port.address.port(), &forward("web"), rules)],
        )
    };
    let mut gateway = start(&of(&[one.address, two.address], &[]));
    let web = gateway.assembly().group("web").unwrap().clone();
    until("both are healthy", || web.status().healthy() == 2).await;

    let mut socket = Socket::connect(port.address).await;
    let (head, first) = ask(&mut socket, "/").await;
    let cookie = field(&head, "set-cookie").unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("AWSALB="), "{head}");
    let count = |id: SocketAddr| web.status().target(&id.to_string()).unwrap().answered;
    until("it is counted", || count(one.address) + count(two.address) == 1).await;
    let answered = [count(one.address), count(two.address)];

    let three_of_them = [three.address, two.address, one.address];
    reload(&mut gateway, &of(&three_of_them, &[rule(1, "/x", &fixed("x"))]));
    assert_eq!(gateway.assembly().group("web"), Some(&web));
    assert!(web.status().healthy() >= 2, "{}", web.status());
    assert_eq!([count(one.address), count(two.address)], answered);
    for _ in 0..9 {
        let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}\r\n\r\n");
        socket.send(head).await.unwrap();
        assert_eq!(socket.answer().await.1, first);
    }
    assert_eq!(ask(&mut socket, "/x").await.1, "x");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn security_groups_decide_who_is_heard() {
    let port = Port::reserve();
    let of = |block: &str| {
        let ranges = json!([{"CidrIp": block}]);
        let number = port.address.port();
        let permission = json!({
            "IpProtocol": "tcp", "FromPort": number, "ToPort": number, "IpRanges": ranges
        });
        let mut document = document(&[], &[listener(number, &fixed("heard"), &[])]);
        document["SecurityGroups"] = json!([{"GroupId": "sg-1", "IpPermissions": [permission]}]);
        document
    };
    let outside = async |from: [u8; 4]| {
        // It is closed although no byte was sent.
        let mut silent = Socket::connect_from(from, port.address).await;
        soon("the end of the connection", silent.closed()).await;
        let mut asks = Socket::connect_from(from, port.address).await;
        _ = asks.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(asks.rest().await, b"", "not even an answer");
    };
    let mut gateway = start(&of("127.0.0.2/32"));
    let mut inside = Socket::connect_from([127, 0, 0, 2], port.address).await;
    assert_eq!(ask(&mut inside, "/").await.1, "heard");
    outside([127, 0, 0, 1]).await;
    outside([127, 0, 0, 3]).await;

    reload(&mut gateway, &of("127.0.0.1/32"));
    outside([127, 0, 0, 2]).await;
    assert_eq!(text(port.address, "/").await, "heard");
    // Who is in already stays, as at AWS.
    assert_eq!(ask(&mut inside, "/").await.1, "heard");
}
