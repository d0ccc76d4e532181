//! The server over real sockets: whom it serves, how it ends, and what it survives.

mod support;

use std::{
    convert::Infallible,
    future::{pending, ready},
    io::{BufRead, BufReader, ErrorKind, Read},
    net::{SocketAddr, TcpListener},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Extension, Router, routing::get};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    server::{BuildError, Drained, ForPeer, Server, ServerBuilder, WithPeer},
};
use support::{SOON, examples::example, until, within_limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tower::{BoxError, service_fn};

const HOUR: Duration = Duration::from_secs(3600);

/// A server that runs until it is told to stop.
struct Running {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Drained>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    fn start(builder: ServerBuilder, served: impl ForPeer) -> Self {
        let server = builder.build().unwrap();
        let addresses = server.local_addrs().to_vec();
        let (stop, stopped) = oneshot::channel();
        let stopped = async { _ = stopped.await };
        let serving = tokio::spawn(server.serve_until(served, stopped));
        Self { addresses, stop: Some(stop), serving }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.addresses[0]).await
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Waits for the end; how many connections were cut.
    async fn cut(&mut self) -> usize {
        timeout(SOON, &mut self.serving).await.expect("it ends").unwrap().cut
    }
}

/// One connection of a client that sees every byte.
struct Client(TcpStream);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(timeout(SOON, TcpStream::connect(address)).await.unwrap().unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Asks and reads the whole answer.
    async fn ask(&mut self, path: &str) -> String {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")).await;
        self.receive().await
    }

    /// Reads an answer with a Content-Length; all of it as text.
    async fn receive(&mut self) -> String {
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8(answer.clone()).unwrap();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let (_, length) = head.split_once("content-length: ").expect("it has a length");
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                if body.len() == length {
                    return text;
                }
            }
            let read = timeout(SOON, self.0.read_buf(&mut answer)).await.unwrap().unwrap();
            assert_ne!(read, 0, "closed after {text:?}");
        }
    }

    /// Reads until the connection is closed; what came before. A reset is an end as well.
    async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        _ = timeout(SOON, self.0.read_to_end(&mut rest)).await.expect("it is closed");
        String::from_utf8(rest).unwrap()
    }
}

fn local() -> ServerBuilder {
    Server::builder().bind(([127, 0, 0, 1], 0))
}

fn hello() -> impl ForPeer {
    WithPeer(Router::new().route("/", get(|| async { "hello" })))
}

/// Waits until nobody listens there.
async fn until_refused(address: SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(SOON, refused).await.expect("it listens no more");
}

// Whom it serves.

#[tokio::test]
async fn a_balancer_is_told_who_the_client_is() {
    let target = support::Server::answering(async |request| {
        let field = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
        let text =
            ["x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"].map(field).join(" ");
        Response::new(Body::from(text))
    })
    .await;
    let web = TargetGroup::builder("web").build().unwrap();
    web.register(Target::new(target.address));
    let running = Running::start(local(), LoadBalancer::new(RuleTable::forward_to(&web)));
    let answer = running.connect().await.ask("/").await;
    let port = running.addresses[0].port();
    assert!(answer.ends_with(&format!("\r\n\r\n127.0.0.1 {port} http")), "{answer}");
}

#[tokio::test]
async fn any_other_service_finds_the_peer_in_the_extensions() {
    let say = async |Extension(peer): Extension<Peer>| {
        format!("{} to {}", peer.client(), peer.local_addr().unwrap())
    };
    let running = Running::start(local(), WithPeer(Router::new().route("/", get(say))));
    let mut client = running.connect().await;
    let expected = format!("{} to {}", client.0.local_addr().unwrap(), running.addresses[0]);
    for _ in 0..2 {
        assert!(client.ask("/").await.ends_with(&expected), "{expected}");
    }
}

#[tokio::test]
async fn a_closure_makes_a_service_for_each_connection() {
    let made = Arc::new(AtomicUsize::new(0));
    let running = Running::start(local(), {
        let made = Arc::clone(&made);
        move |_: Peer| {
            let number = made.fetch_add(1, Ordering::SeqCst);
            service_fn(move |_: Request<Body>| {
                ready(Ok::<_, Infallible>(Response::new(Body::from(format!("number {number}")))))
            })
        }
    });
    for number in ["number 0", "number 1"] {
        let mut client = running.connect().await;
        assert!(client.ask("/").await.ends_with(number));
        assert!(client.ask("/").await.ends_with(number));
    }
    assert_eq!(made.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn it_listens_on_several_addresses() {
    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = local().listener(given.try_clone().unwrap()).bind(([127, 0, 0, 1], 0));
    let mut running = Running::start(builder, hello());
    assert_eq!(running.addresses[1], given.local_addr().unwrap());
    drop(given);
    assert_eq!(running.addresses.len(), 3);
    for address in running.addresses.clone() {
        assert!(Client::connect(address).await.ask("/").await.ends_with("hello"));
    }
    running.stop();
    assert_eq!(running.cut().await, 0);
    for address in running.addresses.clone() {
        until_refused(address).await;
    }
}

// Why it cannot be.

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = local().bind(address).build().unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot listen on {address}: ")), "{error}");
    assert!(matches!(error, BuildError::Bind(named, _) if named == address));
}

#[test]
fn what_cannot_be_is_said() {
    let check = |builder: ServerBuilder, expected| {
        assert_eq!(builder.build().unwrap_err().to_string(), expected);
    };
    check(Server::builder(), "no address to listen on: expected one at least");
    check(local().head_timeout(Duration::ZERO), "head_timeout 0s: expected more");
    check(local().idle_timeout(Duration::ZERO), "idle_timeout 0s: expected more");
    check(local().client_keep_alive(Duration::ZERO), "client_keep_alive 0s: expected more");
    check(
        local().requests_per_connection_max(0),
        "requests_per_connection_max 0: expected 1 or more",
    );
    check(local(), "not within a tokio runtime");
}

// How long clients may take.

#[tokio::test]
async fn a_head_has_a_deadline_and_an_idle_connection_another() {
    within_limits([true, true], async |limit| {
        let running = Running::start(local().head_timeout(limit).idle_timeout(HOUR), hello());
        let mut idle = running.connect().await;
        let first = idle.ask("/").await.ends_with("hello");
        // Whatever this one waits for, the other has been idle for at least as long.
        let mut slow = running.connect().await;
        slow.send("GET / HTTP/1.1\r\nHost: ").await;
        assert!(slow.closed().await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        let mut silent = running.connect().await;
        assert_eq!(silent.closed().await, "");
        let next = first && idle.ask("/").await.ends_with("hello");
        if next {
            idle.send("GET").await;
            assert!(idle.closed().await.starts_with("HTTP/1.1 408 Request Timeout\r\n"));
        }
        [first, next]
    })
    .await;
}

#[tokio::test]
async fn the_last_answer_of_a_connection_says_so_and_is_whole() {
    /// Asks until an answer is the last; how many there were, and how long that took.
    async fn last(builder: ServerBuilder) -> (usize, Duration) {
        let running = Running::start(builder, hello());
        let began = Instant::now();
        let mut client = running.connect().await;
        for requests in 1.. {
            let answer = client.ask("/").await;
            assert!(answer.ends_with("hello"), "{answer}");
            if answer.contains("\r\nconnection: close\r\n") {
                let lasted = began.elapsed();
                assert_eq!(client.closed().await, "");
                return (requests, lasted);
            }
        }
        unreachable!("it goes on until there is a last")
    }
    assert_eq!(last(local().requests_per_connection_max(1)).await.0, 1);
    assert_eq!(last(local().requests_per_connection_max(3)).await.0, 3);
    // Not the first, and not before its time.
    within_limits((true, true), async |age| {
        let (requests, lasted) = last(local().client_keep_alive(age)).await;
        (requests > 1, lasted >= age)
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let running = Running::start(local().idle_timeout(Duration::from_millis(200)), hello());
    let mut client = running.connect().await;
    let began = Instant::now();
    client.ask("/").await;
    assert_eq!(client.closed().await, "");
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut() {
    let dropped = Arc::new(AtomicBool::new(false));
    struct Endless(Arc<AtomicBool>);
    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let chunk = Bytes::from_static(&[7; 64 * 1024]);
            std::task::Poll::Ready(Some(Ok(Frame::data(chunk))))
        }
    }
    impl Drop for Endless {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let service = {
        let dropped = Arc::clone(&dropped);
        service_fn(move |_: Request<Body>| {
            ready(Ok::<_, Infallible>(Response::new(Endless(Arc::clone(&dropped)))))
        })
    };
    let builder = local().idle_timeout(Duration::from_millis(200));
    let running = Running::start(builder, WithPeer(service));
    for (version, expected) in [
        ("HTTP/1.1", Ok(())),
        // It would take what the system holds for the whole answer.
        ("HTTP/1.0", Err(ErrorKind::ConnectionReset)),
    ] {
        let mut client = running.connect().await;
        client.send(&format!("GET / {version}\r\nHost: a\r\n\r\n")).await;
        until("the body is dropped", || dropped.swap(false, Ordering::SeqCst)).await;
        assert_eq!(read_out(&mut client.0).await.0, expected, "{version}");
    }
}

// What breaks off, or comes early.

/// Whether a connection ended as it should, and what came over it before.
async fn read_out(stream: &mut TcpStream) -> (Result<(), ErrorKind>, Vec<u8>) {
    let mut all = Vec::new();
    let ended = timeout(SOON, stream.read_to_end(&mut all)).await.expect("it ends");
    (ended.map(drop).map_err(|error| error.kind()), all)
}

/// Answers with "hello", and when it is told so with a rest, or with what went wrong.
fn in_parts(go_on: &Arc<Notify>, rest: Option<&'static str>) -> impl ForPeer {
    let go_on = Arc::clone(go_on);
    WithPeer(service_fn(move |_: Request<Body>| {
        let go_on = Arc::clone(&go_on);
        let parts = stream::unfold(0, move |part| {
            let go_on = Arc::clone(&go_on);
            async move {
                let text = match part {
                    0 => Some("hello"),
                    1 => {
                        go_on.notified().await;
                        rest
                    }
                    _ => return None,
                };
                let text = text.ok_or_else(|| BoxError::from("the target is gone"));
                Some((text.map(|text| Frame::data(Bytes::from_static(text.as_bytes()))), part + 1))
            }
        });
        ready(Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(parts)))))
    }))
}

/// Asks for an answer in parts, and reads the first.
async fn ask_for_parts(running: &Running, version: &str) -> Client {
    let mut client = running.connect().await;
    client.send(&format!("GET / {version}\r\nHost: a\r\n\r\n")).await;
    let mut begun = Vec::new();
    while !begun.windows(5).any(|window| window == b"hello") {
        assert_ne!(timeout(SOON, client.0.read_buf(&mut begun)).await.unwrap().unwrap(), 0);
    }
    client
}

/// They take the end of the connection for that of the answer.
#[tokio::test]
async fn an_answer_without_a_length_that_breaks_off_is_no_whole_one_to_clients_of_http_1_0() {
    let check = async |version, rest, expected: Result<&str, ErrorKind>| {
        let go_on = Arc::new(Notify::new());
        let running = Running::start(local(), in_parts(&go_on, rest));
        let mut client = ask_for_parts(&running, version).await;
        go_on.notify_one();
        let (ended, rest) = read_out(&mut client.0).await;
        let rest = String::from_utf8(rest).unwrap();
        assert_eq!(ended.map(|()| rest.trim_start()), expected, "{version}");
    };
    check("HTTP/1.0", Some("world"), Ok("world")).await;
    check("HTTP/1.0", None, Err(ErrorKind::ConnectionReset)).await;
    // To others it is not whole without a last chunk.
    let closes = "HTTP/1.1\r\nConnection: close";
    check(closes, Some("world"), Ok("5\r\nworld\r\n0\r\n\r\n")).await;
    check(closes, None, Ok("")).await;
}

#[tokio::test]
async fn an_answer_without_a_length_that_is_cut_is_no_whole_one_to_clients_of_http_1_0() {
    let go_on = Arc::new(Notify::new());
    let builder = local().drain_timeout(Duration::from_millis(1));
    let mut running = Running::start(builder, in_parts(&go_on, None));
    let mut client = ask_for_parts(&running, "HTTP/1.0").await;
    running.stop();
    assert_eq!(running.cut().await, 1);
    assert_eq!(read_out(&mut client.0).await, (Err(ErrorKind::ConnectionReset), Vec::new()));
}

/// Answers before the end of an upload, with so many bytes.
fn hasty(length: usize) -> impl ForPeer {
    WithPeer(service_fn(move |request: Request<Body>| {
        drop(request);
        let answer = Response::builder().status(413).body(Body::from("x".repeat(length)));
        ready(Ok::<_, Infallible>(answer.unwrap()))
    }))
}

/// A client that has sent a head and a part of its body; it takes little at once.
async fn uploading(running: &Running, head: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(running.addresses[0]).await.unwrap();
    stream
        .write_all(format!("{head}content-length: 10000000\r\n\r\nxxx").as_bytes())
        .await
        .unwrap();
    stream
}

/// What hyper would take the connection over for must not make it forget what it has to write.
const UPLOADS: [&str; 3] = [
    "POST /up HTTP/1.1\r\nhost: a\r\n",
    "POST /up HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n",
    // Of a request before it is spoken of no more.
    "GET / HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n\r\nPOST /up HTTP/1.1\r\nhost: a\r\n",
];

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_comes_to_its_end() {
    let length = 20_000_000;
    let running = Running::start(local(), hasty(length));
    for head in &UPLOADS[..2] {
        let mut client = uploading(&running, head).await;
        // What the kernel holds is far less; the server waits for the client to take the rest.
        client.readable().await.unwrap();
        let (ended, answer) = read_out(&mut client).await;
        let (_, body) = std::str::from_utf8(&answer).unwrap().split_once("\r\n\r\n").unwrap();
        assert_eq!((ended, body.len()), (Ok(()), length), "{head}");
    }
}

#[tokio::test]
async fn an_upload_that_was_answered_is_taken_on_so_that_the_answer_is_not_lost() {
    let running = Running::start(local(), hasty(5));
    for head in UPLOADS {
        let mut client = uploading(&running, head).await;
        // More than the kernel holds.
        timeout(SOON, client.write_all(&vec![b'x'; 9_000_000])).await.unwrap().unwrap();
        let (ended, answer) = read_out(&mut client).await;
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!((ended, answer.ends_with("\r\n\r\nxxxxx")), (Ok(()), true), "{head}: {answer}");
    }
}

// How it ends.

/// A service that has begun, and ends when it is told.
#[derive(Clone, Default)]
struct Gate {
    begun: Arc<AtomicUsize>,
    open: Arc<Notify>,
}

impl Gate {
    fn service(&self) -> impl ForPeer {
        let gate = self.clone();
        WithPeer(service_fn(move |_: Request<Body>| {
            let gate = gate.clone();
            async move {
                gate.begun.fetch_add(1, Ordering::SeqCst);
                gate.open.notified().await;
                Ok::<_, Infallible>(Response::new(Body::from("done")))
            }
        }))
    }

    async fn until_begun(&self, count: usize) {
        until("the exchange begins", || self.begun.load(Ordering::SeqCst) == count).await;
    }
}

#[tokio::test]
async fn an_exchange_under_way_ends_before_the_server_does() {
    let gate = Gate::default();
    let mut running = Running::start(local().drain_timeout(HOUR), gate.service());
    let mut client = running.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.until_begun(1).await;
    running.stop();
    until_refused(running.addresses[0]).await;
    assert!(!running.serving.is_finished());
    gate.open.notify_one();
    let answer = client.closed().await;
    assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    assert_eq!(running.cut().await, 0);
}

#[tokio::test]
async fn idle_connections_are_closed_at_once() {
    let mut running = Running::start(local().drain_timeout(HOUR), hello());
    let mut used = running.connect().await;
    used.ask("/").await;
    let mut unused = running.connect().await;
    running.stop();
    assert_eq!(used.closed().await, "");
    assert_eq!(unused.closed().await, "");
    assert_eq!(running.cut().await, 0);
}

#[tokio::test]
async fn what_is_stuck_is_cut_at_the_deadline_and_counted() {
    let target = support::Server::answering(|_| pending()).await;
    let web = TargetGroup::builder("web").build().unwrap();
    web.register(Target::new(target.address));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    let limit = Duration::from_millis(200);
    let mut running = Running::start(local().drain_timeout(limit), balancer);
    let mut stuck = running.connect().await;
    stuck.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut idle = running.connect().await;
    until("it is sent", || target.counts.requests() == 1).await;
    let began = Instant::now();
    running.stop();
    assert_eq!(idle.closed().await, "");
    assert_eq!(running.cut().await, 1);
    assert!(began.elapsed() >= limit);
    assert_eq!(web.status().in_flight(), 0);
    assert_eq!(stuck.closed().await, "");
}

#[tokio::test]
async fn dropping_the_future_closes_everything() {
    let gate = Gate::default();
    let running = Running::start(local(), gate.service());
    let mut busy = running.connect().await;
    busy.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    gate.until_begun(1).await;
    let mut idle = running.connect().await;
    running.serving.abort();
    assert_eq!(busy.closed().await, "");
    assert_eq!(idle.closed().await, "");
    until_refused(running.addresses[0]).await;
    // The service was dropped, too: none but this gate is left.
    until("no service is left", || Arc::strong_count(&gate.begun) == 1).await;
}

#[tokio::test]
async fn a_socket_outlives_its_server_if_a_clone_is_kept() {
    let kept = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kept.local_addr().unwrap();
    let builder = Server::builder().listener(kept.try_clone().unwrap());
    let mut first = Running::start(builder, hello());
    assert!(first.connect().await.ask("/").await.ends_with("hello"));
    first.stop();
    assert_eq!(first.cut().await, 0);
    // Nobody accepts, and yet nobody is refused.
    let mut waiting = Client::connect(address).await;
    let second = Running::start(Server::builder().listener(kept), hello());
    assert!(waiting.ask("/").await.ends_with("hello"));
    drop(second);
}

#[tokio::test]
async fn ending_one_server_leaves_another_alone() {
    let web = TargetGroup::builder("web").build().unwrap();
    web.register(Target::service("app", Router::new().route("/", get(|| async { "app" }))));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    let mut one = Running::start(local(), balancer.clone());
    let two = Running::start(local(), balancer);
    let mut client = two.connect().await;
    assert!(client.ask("/").await.ends_with("app"));
    one.stop();
    assert_eq!(one.cut().await, 0);
    assert!(client.ask("/").await.ends_with("app"));
    assert!(two.connect().await.ask("/").await.ends_with("app"));
}

// What it survives.

#[tokio::test]
async fn a_panic_takes_its_own_connection_only() {
    let made = AtomicUsize::new(0);
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/panic", get(async || -> &'static str { panic!("a defect in the service") }));
    let mut running = Running::start(local(), move |_: Peer| {
        assert_ne!(made.fetch_add(1, Ordering::SeqCst), 0, "a defect in the maker");
        router.clone()
    });
    let mut unlucky = running.connect().await;
    assert_eq!(unlucky.closed().await, "");
    let mut other = running.connect().await;
    other.ask("/").await;
    let mut panics = running.connect().await;
    panics.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(panics.closed().await, "");
    assert!(other.ask("/").await.ends_with("hello"));
    assert!(running.connect().await.ask("/").await.ends_with("hello"));
    running.stop();
    assert_eq!(running.cut().await, 0);
}

#[tokio::test]
async fn a_service_that_fails_ends_its_connection_without_an_answer() {
    let service =
        service_fn(|_: Request<Body>| ready(Err::<Response<Body>, _>(std::io::Error::other("no"))));
    let running = Running::start(local(), WithPeer(service));
    let mut client = running.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.closed().await, "");
}

/// A process that does not outlive a test that fails.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(unix)]
#[tokio::test]
async fn it_goes_on_when_descriptors_are_free_again() {
    // Far more connections than there are descriptors, which tokio needs some of, too.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 32 && exec \"$0\""]).arg(example("server"));
    let mut child = Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut printed = BufReader::new(child.0.stdout.take().unwrap());
    let mut events = BufReader::new(child.0.stderr.take().unwrap()).lines();
    let mut first = String::new();
    printed.read_line(&mut first).unwrap();
    let address: SocketAddr = first.trim().strip_prefix("http://").unwrap().parse().unwrap();

    let mut clients = Vec::new();
    for _ in 0..64 {
        clients.push(Client::connect(address).await);
    }
    let mut failures = || {
        let event = events.find(|line| line.as_ref().unwrap().contains("cannot accept"));
        let event = event.unwrap().unwrap();
        assert!(event.contains("os error 24") && event.contains(&address.to_string()), "{event}");
        let times = event.split("times=").nth(1).unwrap().split(' ').next().unwrap();
        times.parse::<u32>().unwrap()
    };
    assert_eq!(failures(), 1);
    let spoken = Instant::now();
    // It is spoken of once a second, and was not tried again more often than every ten milliseconds.
    let times = failures();
    assert!(spoken.elapsed() > Duration::from_millis(900), "{:?}", spoken.elapsed());
    assert!((2..=101).contains(&times), "{times} times within a second");
    // Those it has are served meanwhile.
    assert!(clients[0].ask("/").await.contains(" for Some(\"127.0.0.1\")\n"));

    drop(clients);
    let freed = Instant::now();
    assert!(Client::connect(address).await.ask("/").await.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());

    let interrupt = format!("kill -INT {}", child.0.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let mut last = String::new();
    printed.read_to_string(&mut last).unwrap();
    assert_eq!(last, "0 connections were cut\n");
    assert!(child.0.wait().unwrap().success());
}
