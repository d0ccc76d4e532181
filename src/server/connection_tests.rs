//! Limits and ends of a connection, over a pipe and a clock that stands until all wait.

use std::{
    convert::Infallible,
    future::{pending, ready},
};

use http_body_util::{BodyExt, Full};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::sleep,
};
use tower::service_fn;

use super::*;

const LIMITS: Limits = Limits { head: seconds(30), idle: seconds(60) };
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
                let ended = serve(stream, service, limits, &drain).await;
                (ended, opened.elapsed().as_secs())
            }
        });
        Self { client, drain, ended }
    }

    /// Served by what answers everything with "hello".
    fn hello() -> Self {
        Self::by(service_fn(|_: Request<Body>| ready(Ok(Response::new(Body::from("hello"))))))
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
        assert_eq!(answer, "", "after {begun:?}");
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

/// Answers with much more than the pipe holds.
fn much() -> Served {
    Served::by(service_fn(|_: Request<Body>| {
        ready(Ok(Response::new(Body::from("x".repeat(100_000)))))
    }))
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

#[tokio::test(start_paused = true)]
async fn no_limit_is_too_long() {
    let forever = Limits { head: Duration::MAX, idle: Duration::MAX };
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
    assert_eq!(serve(stream, service, LIMITS, &drain).await, Ok(()));
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
    let (give, mut given) = tokio::sync::mpsc::unbounded_channel();
    let mut served = Served::by(service_fn(move |mut request: Request<Body>| {
        let (give, upgrade) = (give.clone(), hyper::upgrade::on(&mut request));
        tokio::spawn(async move { give.send(TokioIo::new(upgrade.await.unwrap())).ok() });
        let answer = Response::builder().status(101).header("upgrade", "x");
        ready(Ok(answer.body(Body::default()).unwrap()))
    }));
    served.send(UPGRADE).await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(served.client.read_u8().await.unwrap());
    }
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
