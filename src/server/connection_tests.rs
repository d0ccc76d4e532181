//! Limits and ends of a connection, over a pipe and a clock that stands until all wait.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{pending, ready},
};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::service_fn;

use super::{super::watch::LATE, *};

const LIMITS: Limits =
    Limits { head: seconds(30), idle: seconds(60), keep_alive: Duration::MAX, requests: u64::MAX };
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A connection that is served, and its client.
struct Served {
    client: DuplexStream,
    drain: Arc<Drain>,
    /// How it ended, and how many seconds after it was opened.
    ended: JoinHandle<(Result<(), &'static str>, u64)>,
}

impl Served {
    fn by<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send,
        S: 'static,
        S::Future: Send,
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        Self::within(LIMITS, service)
    }

    fn within<S, B>(limits: Limits, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send,
        S: 'static,
        S::Future: Send,
        B: http_body::Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let (client, stream) = duplex(1024);
        let drain = Arc::new(Drain::new(seconds(30)));
        let ended = tokio::spawn({
            let drain = Arc::clone(&drain);
            async move {
                let opened = Instant::now();
                let ended = serve(stream, |_| {}, service, limits, &drain).await;
                (ended, opened.elapsed().as_secs())
            }
        });
        Self { client, drain, ended }
    }

    /// Served by what answers everything with "hello".
    fn hello() -> Self {
        Self::hello_within(LIMITS)
    }

    fn hello_within(limits: Limits) -> Self {
        let hello = |_: Request<Body>| ready(Ok(Response::new(Body::from("hello"))));
        Self::within(limits, service_fn(hello))
    }

    async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one answer of "hello"; its head.
    async fn receive(&mut self) -> String {
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert_ne!(self.client.read_buf(&mut answer).await.unwrap(), 0, "it was closed");
        }
        String::from_utf8(answer).unwrap()
    }

    /// Waits for the end while the client stays.
    async fn end(self) -> (Result<(), &'static str>, u64) {
        self.ended.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_head_may_take_its_time_from_accepting_on() {
    for begun in ["", "G", "GET / HTTP/1.1\r\n", &GET[..GET.len() - 1]] {
        let mut served = Served::hello();
        sleep(seconds(29)).await;
        served.send(begun).await;
        let mut answer = String::new();
        served.client.read_to_string(&mut answer).await.unwrap();
        match begun {
            "" => assert_eq!(answer, ""),
            _ => assert_eq!(answer.as_bytes(), LATE, "after {begun:?}"),
        }
        assert_eq!(served.end().await, (Err("head_timeout"), 30), "after {begun:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_gets_no_more_time_by_trickling() {
    let mut served = Served::hello();
    for byte in GET.chars().chain("abcdef".chars().cycle()) {
        sleep(seconds(2)).await;
        if served.client.write_all(byte.to_string().as_bytes()).await.is_err() {
            break;
        }
    }
    assert_eq!(served.end().await, (Err("head_timeout"), 30));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_lives_longer_than_a_head_may_take() {
    let mut served = Served::hello();
    for _ in 0..3 {
        served.send(GET).await;
        served.receive().await;
        sleep(seconds(59)).await;
    }
    assert_eq!(served.end().await, (Ok(()), 2 * 59 + 60));
}

#[tokio::test(start_paused = true)]
async fn a_later_head_may_take_its_time_from_its_first_byte() {
    let mut served = Served::hello();
    served.send(GET).await;
    served.receive().await;
    sleep(seconds(50)).await;
    served.send("G").await;
    sleep(seconds(29)).await;
    served.send(&GET[1..]).await;
    served.receive().await;
    sleep(seconds(50)).await;
    served.send("GET /").await;
    let mut answer = Vec::new();
    served.client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, LATE);
    assert_eq!(served.end().await, (Err("head_timeout"), 50 + 29 + 50 + 30));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_began_with_the_request_before_is_bounded_too() {
    let mut served = Served::hello();
    served.send(&format!("{GET}GET /")).await;
    served.receive().await;
    assert_eq!(served.end().await, (Ok(()), 60));
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_waited_for() {
    let mut served = Served::by(service_fn(async |_: Request<Body>| {
        sleep(seconds(3600)).await;
        Ok(Response::new(Body::from("hello")))
    }));
    served.send(GET).await;
    served.receive().await;
    // The wait for the next request begins only now.
    assert_eq!(served.end().await, (Ok(()), 3600 + 60));
}

#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_the_services_affair() {
    let mut served = Served::by(service_fn(async |request: Request<Body>| {
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(Full::new(bytes)))
    }));
    served.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
    for letter in ["h", "e", "l", "l", "o"] {
        sleep(seconds(100)).await;
        served.send(letter).await;
    }
    served.receive().await;
    assert_eq!(served.end().await, (Ok(()), 560));
}

const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_answered_is_taken_so_that_its_client_comes_to_read() {
    let mut served = Served::hello();
    served.send(UPLOAD).await;
    // Far more than the pipe holds, and only then is the answer read.
    served.send(&"x".repeat(1_000_000)).await;
    served.receive().await;
    assert_eq!(served.client.read(&mut [0]).await.unwrap(), 0);
    drop(served.client);
    assert_eq!(served.ended.await.unwrap(), (Ok(()), 0));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_answered_is_not_taken_for_ever() {
    let mut silent = Served::hello();
    silent.send(UPLOAD).await;
    silent.receive().await;
    assert_eq!(silent.end().await, (Ok(()), 5));

    let mut slow = Served::hello();
    slow.send(UPLOAD).await;
    slow.receive().await;
    let sending = async {
        while slow.client.write_all(b"x").await.is_ok() {
            sleep(seconds(4)).await;
        }
    };
    sending.await;
    assert_eq!(slow.end().await, (Ok(()), 30));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_was_answered_does_not_keep_a_server_up() {
    let check = async |answered_after: u64, word_after: u64, expected: u64| {
        let mut served = Served::by(service_fn(move |_: Request<Body>| async move {
            sleep(seconds(answered_after)).await;
            Ok(Response::new(Body::from("hello")))
        }));
        served.send(UPLOAD).await;
        sleep(seconds(word_after)).await;
        served.drain.begin();
        served.receive().await;
        assert_eq!(served.end().await, (Ok(()), expected));
    };
    check(0, 2, 3).await;
    check(3, 1, 4).await;
    // It ends anyway.
    check(0, 5, 5).await;
}

#[tokio::test(start_paused = true)]
async fn whose_upload_was_read_to_its_end_is_not_waited_for() {
    let limits = Limits { requests: 2, ..LIMITS };
    let mut served = Served::within(
        limits,
        service_fn(async |request: Request<Body>| {
            request.into_body().collect().await.unwrap();
            Ok(Response::new(Body::from("hello")))
        }),
    );
    served.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").await;
    served.receive().await;
    served.send(GET).await;
    assert!(closes(&served.receive().await));
    assert_eq!(served.end().await, (Ok(()), 0));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_came_whole_does_not_delay_a_later_end() {
    let mut served = Served::by(service_fn(async |request: Request<Body>| {
        _ = request.into_body().collect().await;
        Ok(Response::new(Body::from("hello")))
    }));
    served.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    served.receive().await;
    sleep(seconds(7)).await;
    served.drain.begin();
    assert_eq!(served.end().await, (Ok(()), 7));
}

/// Answers with much more than the pipe holds.
fn much() -> Served {
    much_within(LIMITS)
}

fn much_within(limits: Limits) -> Served {
    let much = |_: Request<Body>| ready(Ok(Response::new(Body::from("x".repeat(100_000)))));
    Served::within(limits, service_fn(much))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_cut() {
    let mut served = much();
    served.send(GET).await;
    assert_eq!(served.end().await, (Err("write_timeout"), 60));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_is_not_cut() {
    let mut served = much();
    served.send(GET).await;
    for _ in 0..10 {
        sleep(seconds(59)).await;
        served.client.read_u8().await.unwrap();
    }
    assert_eq!(served.end().await, (Err("write_timeout"), 590 + 60));
}

/// Tells whether an answer says that it is the last.
fn closes(head: &str) -> bool {
    head.contains("connection: close\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_too_old_ends_with_its_next_answer() {
    let mut served = Served::hello_within(Limits { keep_alive: seconds(100), ..LIMITS });
    for _ in 0..2 {
        served.send(GET).await;
        assert!(!closes(&served.receive().await));
        sleep(seconds(49)).await;
    }
    // It grows old while it is idle, which the client need not know of.
    sleep(seconds(9)).await;
    served.send(GET).await;
    assert!(closes(&served.receive().await));
    assert_eq!(served.end().await, (Ok(()), 107));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_too_old_and_idle_is_closed_when_it_would_have_been() {
    let mut served = Served::hello_within(Limits { keep_alive: seconds(30), ..LIMITS });
    served.send(GET).await;
    served.receive().await;
    assert_eq!(served.end().await, (Ok(()), 60));
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_is_not_cut_by_age_and_one_not_begun_says_close() {
    let slow = service_fn(async |_: Request<Body>| {
        sleep(seconds(10)).await;
        Ok(Response::new(Body::from("hello")))
    });
    let mut served = Served::within(Limits { keep_alive: seconds(5), ..LIMITS }, slow);
    // The second comes with the first, and is not looked at any more.
    served.send(&GET.repeat(2)).await;
    assert!(closes(&served.receive().await));
    assert_eq!(served.client.read(&mut [0; 10]).await.unwrap(), 0);
    assert_eq!(served.end().await, (Ok(()), 10));

    let mut served = much_within(Limits { keep_alive: seconds(5), ..LIMITS });
    served.send(GET).await;
    sleep(seconds(10)).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"xxxx") || answer.len() < 100_000 {
        assert_ne!(served.client.read_buf(&mut answer).await.unwrap(), 0, "it was cut");
    }
    assert!(!closes(&String::from_utf8_lossy(&answer)));
    served.send(GET).await;
    let mut rest = String::new();
    served.client.read_to_string(&mut rest).await.unwrap();
    assert!(closes(&rest));
    assert_eq!(served.end().await, (Ok(()), 10));
}

#[tokio::test(start_paused = true)]
async fn a_connection_brings_only_so_many_requests() {
    for max in [1, 2, 5] {
        let mut served = Served::hello_within(Limits { requests: max, ..LIMITS });
        for request in 1..=max {
            served.send(GET).await;
            assert_eq!(closes(&served.receive().await), request == max, "{request} of {max}");
        }
        assert_eq!(served.end().await, (Ok(()), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_of_protocol_says_to_which_even_if_it_is_the_last_answer() {
    let service = service_fn(|_: Request<Body>| {
        let switching = Response::builder().status(101).header("connection", "upgrade");
        ready(Ok(switching.header("upgrade", "x").body(Body::default()).unwrap()))
    });
    let limits = Limits { requests: 1, ..LIMITS };
    let mut served = Served::within(limits, service);
    served.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(served.client.read_buf(&mut head).await.unwrap(), 0, "it was closed");
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("connection: upgrade\r\n") && !closes(&head), "{head}");
}

#[tokio::test(start_paused = true)]
async fn no_limit_is_too_long() {
    let forever = Limits {
        head: Duration::MAX,
        idle: Duration::MAX,
        keep_alive: Duration::MAX,
        requests: u64::MAX,
    };
    let service = service_fn(|_: Request<Body>| ready(Ok(Response::new(Body::from("hello")))));
    let mut served = Served::within(forever, service);
    sleep(seconds(1_000_000)).await;
    served.send(GET).await;
    served.receive().await;
    sleep(seconds(1_000_000)).await;
    served.send(GET).await;
    served.receive().await;
    drop(served.client);
    assert_eq!(served.ended.await.unwrap().0, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_head_is_refused() {
    async fn check(head: String, status: &str, reason: &'static str) {
        let shown: String = head.chars().take(40).collect();
        let mut served = Served::hello();
        let (mut reads, mut writes) = tokio::io::split(served.client);
        let sending = tokio::spawn(async move {
            // It may be closed in the middle.
            _ = writes.write_all(head.as_bytes()).await;
        });
        let mut answer = String::new();
        reads.read_to_string(&mut answer).await.unwrap();
        sending.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{shown}: {answer}");
        served.client = duplex(1).0;
        assert_eq!(served.end().await, (Err(reason), 0), "{shown}");
    }
    let fields = |count: usize| "a: b\r\n".repeat(count);
    let too_large = "431 Request Header Fields Too Large";
    check("nonsense\r\n\r\n".into(), "400 Bad Request", "malformed").await;
    check(format!("GET / HTTP/1.1\r\n{}\r\n", fields(257)), too_large, "head_too_large").await;
    let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(HEAD_SIZE_MAX));
    check(long, too_large, "head_too_large").await;
    let endless = "a".repeat(2 * HEAD_SIZE_MAX);
    check(endless, too_large, "head_too_large").await;
}

#[tokio::test(start_paused = true)]
async fn heads_within_the_limits_pass() {
    let mut served = Served::hello();
    let fields = "a: b\r\n".repeat(HEADERS_MAX);
    served.send(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
    served.receive().await;
    let rest = "GET / HTTP/1.1\r\na: \r\n\r\n".len();
    let value = "b".repeat(HEAD_SIZE_MAX - rest);
    served.send(&format!("GET / HTTP/1.1\r\na: {value}\r\n\r\n")).await;
    served.receive().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_at_the_word() {
    for requests in 0..3 {
        let mut served = Served::hello();
        for _ in 0..requests {
            served.send(GET).await;
            let head = served.receive().await;
            assert!(!head.contains("connection: close"), "{head}");
        }
        // It waits already.
        sleep(seconds(1)).await;
        served.drain.begin();
        assert_eq!(served.end().await, (Ok(()), 1), "after {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn an_exchange_ends_after_the_word_and_closes() {
    let mut served = Served::by(service_fn(async |_: Request<Body>| {
        sleep(seconds(10)).await;
        Ok(Response::new(Body::from("hello")))
    }));
    served.send(GET).await;
    sleep(seconds(1)).await;
    served.drain.begin();
    let head = served.receive().await;
    assert!(head.contains("connection: close\r\n"), "{head}");
    assert_eq!(served.end().await, (Ok(()), 10));
}

#[tokio::test(start_paused = true)]
async fn the_word_given_before_is_heard() {
    let (_client, stream) = duplex(1024);
    let drain = Drain::new(seconds(30));
    drain.begin();
    drain.begun().await;
    let service =
        service_fn(|_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Body::default()))));
    assert_eq!(serve(stream, |_| {}, service, LIMITS, &drain).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_the_middle_is_told_from_one_that_is_done() {
    let check = async |sent: &str, ended| {
        let service =
            service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
        let mut served = Served::by(service);
        served.send(sent).await;
        sleep(seconds(1)).await;
        drop(served.client);
        assert_eq!(served.ended.await.unwrap(), (ended, 1), "after {sent:?}");
    };
    check("", Ok(())).await;
    check("GET /", Err("client_left")).await;
    check(GET, Err("client_left")).await;
}

const UPGRADE: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";

type Taken = TokioIo<hyper::upgrade::Upgraded>;

/// A connection that its service has taken over; the client has the answer.
async fn taken_over() -> (Served, Taken) {
    taken_over_by(UPGRADE, 101).await
}

async fn taken_over_by(request: &str, status: u16) -> (Served, Taken) {
    let (served, given) = wanted_by(request, status).await;
    (served, given.unwrap())
}

/// The same, whether or not it was given its connection by this answer.
async fn wanted_by(request: &str, status: u16) -> (Served, hyper::Result<Taken>) {
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
    let mut served = Served::by(service_fn(move |mut request: Request<Body>| {
        let (give, upgrade) = (give.clone(), hyper::upgrade::on(&mut request));
        tokio::spawn(async move { give.send(upgrade.await.map(TokioIo::new)).ok() });
        async move {
            request.into_body().collect().await.unwrap();
            let answer = Response::builder().status(status).header("upgrade", "x");
            Ok(answer.body(Body::default()).unwrap())
        }
    }));
    served.send(request).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(served.client.read_u8().await.unwrap());
    }
    assert!(head.starts_with(format!("HTTP/1.1 {status}").as_bytes()));
    (served, given.recv().await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_taken_over_has_no_limits_and_ends_with_its_stream() {
    let (mut served, mut taken) = taken_over().await;
    sleep(seconds(1000)).await;
    served.send("x").await;
    assert_eq!(taken.read_u8().await.unwrap(), b'x');
    // Whatever it writes, nobody reads.
    let writing = tokio::spawn(async move {
        let stuck = tokio::time::timeout(seconds(1000), taken.write_all(&[0; 4096])).await;
        assert!(stuck.is_err());
        taken
    });
    let taken = writing.await.unwrap();
    served.drain.begin();
    sleep(seconds(1000)).await;
    assert!(!served.ended.is_finished());
    drop(taken);
    assert_eq!(served.end().await, (Ok(()), 3000));
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_granted_takes_the_connection_over() {
    let request = "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nx";
    let (mut served, mut taken) = taken_over_by(request, 200).await;
    assert_eq!(taken.read_u8().await.unwrap(), b'x');
    taken.write_all(b"hello").await.unwrap();
    assert_eq!(served.receive().await, "hello");
    drop(taken);
    assert_eq!(served.end().await, (Ok(()), 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_granted_is_not_taken_over() {
    let check = async |method: &str, target: &str, fields: &str, status| {
        let request =
            format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n");
        let (served, given) = wanted_by(&request, status).await;
        assert!(given.is_err(), "{request:?} {status}");
        assert_eq!(served.end().await, (Ok(()), 0), "{request:?} {status}");
    };
    check("CONNECT", "a:1", "", 405).await;
    check("CONNECT", "a:1", "", 302).await;
    check("GET", "/", "connection: upgrade\r\nupgrade: x\r\n", 200).await;
    check("GET", "/", "", 200).await;
    // Nobody asked for that.
    check("GET", "/", "", 101).await;
}

#[tokio::test(start_paused = true)]
async fn who_took_over_after_an_upload_may_write_no_more_and_read_on() {
    let request = UPGRADE.replace("GET", "POST");
    let request = request.replace("\r\n\r\n", "\r\ncontent-length: 4\r\n\r\nbody");
    let (mut served, mut taken) = taken_over_by(&request, 101).await;
    let ends = tokio::time::timeout(seconds(1), taken.shutdown());
    ends.await.expect("it waits for nobody").unwrap();
    assert_eq!(served.client.read(&mut [0]).await.unwrap(), 0);
    served.send("x").await;
    assert_eq!(taken.read_u8().await.unwrap(), b'x');
    drop(taken);
    assert_eq!(served.end().await, (Ok(()), 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_taken_over_breaks_with_the_task_of_its_connection() {
    let (mut served, taken) = taken_over().await;
    // Each half waits in a task of its own.
    let (mut reader, mut writer) = tokio::io::split(taken);
    let reading = tokio::spawn(async move { reader.read_u8().await.unwrap_err().kind() });
    let writing = tokio::spawn(async move {
        let error = writer.write_all(&[0; 4096]).await.unwrap_err().kind();
        // And whatever is tried afterwards.
        assert!(writer.flush().await.is_err() && writer.shutdown().await.is_err());
        error
    });
    sleep(seconds(1)).await;
    assert!(!reading.is_finished() && !writing.is_finished());
    served.ended.abort();
    for waiting in [reading, writing] {
        let broken = tokio::time::timeout(seconds(1), waiting).await.expect("it is told");
        assert_eq!(broken.unwrap(), std::io::ErrorKind::ConnectionAborted);
    }
    let mut rest = Vec::new();
    served.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest.len(), 1024, "what lay in the stream, and then its end");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_could_have_been_taken_over_goes_on_as_any_other() {
    let mut served = Served::hello();
    for _ in 0..2 {
        served.send(UPGRADE).await;
        served.receive().await;
    }
    assert_eq!(served.end().await, (Ok(()), 60));
}

thread_local! {
    static WAS_RESET: Cell<bool> = const { Cell::new(false) };
}

#[tokio::test(start_paused = true)]
async fn only_a_part_of_an_answer_without_a_length_is_reset_to_clients_of_http_1_0() {
    let check = async |request: &str, breaks_off: bool, expected: bool| {
        let service = service_fn(move |request: Request<Body>| {
            let end = breaks_off.then(|| Err(BoxError::from("the target is gone")));
            let parts = [Ok(Frame::data(Bytes::from("hello")))].into_iter().chain(end);
            let body = Body::new(StreamBody::new(stream::iter(parts)));
            let mut answer = Response::new(body);
            if request.uri().path() == "/length" {
                answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
            }
            ready(Ok::<_, Infallible>(answer))
        });
        let (mut client, stream) = duplex(1024);
        client.write_all(request.as_bytes()).await.unwrap();
        WAS_RESET.set(false);
        let drain = Drain::new(seconds(30));
        _ = serve(stream, |_| WAS_RESET.set(true), service, LIMITS, &drain).await;
        assert_eq!(WAS_RESET.get(), expected, "{request:?} {breaks_off}");
    };
    check("GET / HTTP/1.0\r\n\r\n", true, true).await;
    check("GET / HTTP/1.0\r\n\r\n", false, false).await;
    check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false).await;
    check("GET /length HTTP/1.0\r\n\r\n", true, false).await;
    // Only the head goes out, and the connection goes on.
    check("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, false).await;
}
