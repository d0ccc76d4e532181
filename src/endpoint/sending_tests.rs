//! What becomes of a request whose connection breaks, by how far it had come.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::endpoint::{Transport, connection::Idle};

/// A request that can be told from any other.
fn marked() -> Request<Body> {
    let request = Request::post("/a").header("host", "a").extension("kept");
    request.body(Body::default()).unwrap()
}

fn assert_marked(request: &Request<Body>) {
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/a"));
    assert_eq!(request.headers()["host"], "a");
    assert_eq!(request.extensions().get(), Some(&"kept"));
}

/// A connection that its other side is going to reset.
async fn doomed() -> (Endpoint, Opened, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Socket(listener.local_addr().unwrap());
    let endpoint = Endpoint::new(address, Transport::default(), Arc::default());
    let opened = endpoint.open(&mut Account::default()).await.ok().unwrap();
    let (other, _) = listener.accept().await.unwrap();
    other.set_zero_linger().unwrap();
    (endpoint, opened, other)
}

/// A connection that may carry a request.
async fn driven(endpoint: &Endpoint, opened: Opened) -> Idle {
    let Opened { stream, place, pool, since, .. } = opened;
    let idle = driver::start(stream, since, place, &pool, &endpoint.load, &endpoint.transport);
    let idle = idle.await.ok().unwrap();
    while !idle.sender.is_ready() {
        tokio::task::yield_now().await;
    }
    idle
}

/// What becomes of a request that is sent over a kept connection that was just reset.
async fn sent_over_stale(request: Request<Body>) -> Result<Rest, Error> {
    let (endpoint, opened, other) = doomed().await;
    let pool = Arc::clone(&opened.pool);
    pool.put(Handle::current().id(), driven(&endpoint, opened).await, 1);
    // Nobody has had the time to notice.
    drop(other);
    let runtime = Handle::current().id();
    let kept = endpoint.send_kept(request, runtime, &mut Account::default(), None);
    endpoint.after_kept(*kept.ok().unwrap().await.unwrap_err())
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_comes_back() {
    let (endpoint, opened, other) = doomed().await;
    drop(other);
    let error = endpoint.send_over(opened, Rest::new(marked())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    assert_marked(&error.take_unsent().unwrap());
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_is_no_affair_of_its_method() {
    let rest = sent_over_stale(marked()).await.unwrap();
    assert_marked(&rest.request);
}

#[tokio::test]
async fn a_request_with_a_body_does_not_come_back_without_it() {
    let with_body = || marked().map(|_| Body::from("body"));
    assert_eq!(sent_over_stale(with_body()).await.err().unwrap().kind(), Kind::Exchange);
    let (endpoint, opened, other) = doomed().await;
    drop(other);
    let error = endpoint.send_over(opened, Rest::new(with_body())).await.unwrap_err();
    assert!(error.take_unsent().is_none_or(|request| !request.body().is_end_stream()));
}

#[tokio::test]
async fn a_request_that_hyper_did_not_take_comes_back_with_its_extensions() {
    let (endpoint, opened, _other) = doomed().await;
    let Idle { seat, sender } = driven(&endpoint, opened).await;
    seat.close();
    while !sender.is_closed() {
        tokio::task::yield_now().await;
    }
    let lost = Idle { seat, sender }.send(marked(), None).await.err().unwrap();
    let Lost::Unsent(request) = lost else { panic!("it was taken") };
    assert_marked(&request);
}

/// Answers one request.
async fn answer(other: &mut TcpStream) {
    assert_ne!(other.read(&mut [0; 1024]).await.unwrap(), 0);
    other.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
}

#[tokio::test]
async fn a_target_that_answers_over_a_new_connection_is_not_ending() {
    let (endpoint, opened, mut other) = doomed().await;
    let pool = endpoint.pool().unwrap();
    pool.note_dropped();
    let sends = endpoint.send_over(opened, Rest::new(marked()));
    let (answered, ()) = tokio::join!(sends, answer(&mut other));
    assert!(answered.is_ok() && !pool.is_ending());
}

#[tokio::test]
async fn the_connection_of_a_probe_is_not_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Socket(listener.local_addr().unwrap());
    let endpoint = Endpoint::new(address, Transport::default(), Arc::default());
    let answers = async {
        let (mut other, _) = listener.accept().await.unwrap();
        answer(&mut other).await;
        let end = other.read_u8();
        tokio::time::timeout(Duration::from_secs(20), end).await.expect("it is closed")
    };
    let (answered, ended) = tokio::join!(endpoint.probe(marked(), None), answers);
    assert!(answered.is_ok() && ended.is_err());
}

#[tokio::test]
async fn what_was_lost_once_is_marked_however_it_comes_back() {
    let (endpoint, opened, other) = doomed().await;
    drop(other);
    let rest = Rest { request: Box::new(marked()), lost: true };
    let again = endpoint.send_over(opened, rest).await.unwrap_err().take_unsent().unwrap();
    assert_marked(&again);
    assert!(again.extensions().get::<Replayed>().is_some());
}

#[tokio::test]
async fn what_a_target_that_is_ending_has_read_goes_to_one_other_if_it_may_be_done_twice() {
    let check = async |method: Method, expected: Option<bool>| {
        let (endpoint, opened, mut other) = doomed().await;
        endpoint.pool().unwrap().note_dropped();
        let mut request = marked();
        *request.method_mut() = method.clone();
        let reads = async {
            assert_ne!(other.read(&mut [0; 1024]).await.unwrap(), 0);
            drop(other);
        };
        let sends = endpoint.send_over(opened, Rest::new(request));
        let (error, ()) = tokio::join!(sends, reads);
        let again = error.unwrap_err().take_unsent();
        let again = again.map(|request| is_replayable(&request));
        assert_eq!(again, expected, "{method}");
    };
    check(Method::GET, Some(false)).await;
    check(Method::POST, None).await;
}

#[tokio::test]
async fn an_answer_that_is_late_is_seen_by_whoever_drives_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Socket(listener.local_addr().unwrap());
    let looks_after = Duration::from_secs(1);
    let transport = Transport::new().connection_idle_timeout(looks_after);
    let endpoint = Endpoint::new(address, transport, Arc::default());
    let opened = endpoint.open(&mut Account::default()).await.ok().unwrap();
    let (mut other, _) = listener.accept().await.unwrap();
    let sends = endpoint.send_over(opened, Rest::new(marked()));
    let (answered, ()) = tokio::join!(sends, answer(&mut other));
    assert!(answered.is_ok());
    while endpoint.connections_idle() == 0 {
        tokio::task::yield_now().await;
    }
    let (began, runtime) = (Instant::now(), Handle::current().id());
    let due = Some(began + 2 * looks_after);
    let kept = endpoint.send_kept(marked(), runtime, &mut Account::default(), due);
    let answer = kept.ok().unwrap();
    assert!(answer.is_watched());
    assert!(answer.await.unwrap_err().is_late());
    assert!(began.elapsed() >= 2 * looks_after);
}

#[tokio::test]
async fn what_is_for_http_1_1_alone_waits_for_no_answer_that_nobody_has_seen() {
    let (endpoint, opened, _other) = doomed().await;
    let pool = Arc::clone(&opened.pool);
    let idle = driven(&endpoint, opened).await;
    let seat = Arc::clone(&idle.seat);
    let exchange = seat.traffic.outstanding.begin(0, None).exchange;
    let runtime = Handle::current().id();
    pool.put(runtime, idle, 1);
    let endless = || {
        type Part = Result<http_body::Frame<bytes::Bytes>, Error>;
        let body = futures_util::stream::pending::<Part>();
        Request::new(Body::new(http_body_util::StreamBody::new(body)))
    };
    let account = &mut Account::default();
    assert!(endpoint.send_kept(endless(), runtime, account, None).is_err());
    assert_eq!(endpoint.connections_idle(), 1);
    seat.traffic.outstanding.end(exchange);
    assert!(endpoint.send_kept(endless(), runtime, account, None).is_ok());
}
