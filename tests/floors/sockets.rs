//! Checks over real sockets: every way a server can fail one, and what is sent.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pointsman::{
    HealthCheck, LoadBalancer, Target, TargetGroup,
    health::{Reason, State},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::support::{Refusing, SOON, balancer, group, until};

/// A server that reads a head, writes what it was told to, and waits for the connection to be closed.
struct Server {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    heads: Mutex<Vec<String>>,
    opened: AtomicUsize,
    /// How many connections the other side closed.
    closed: AtomicUsize,
}

impl Seen {
    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a server does when it has written its answer.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Waits,
    Closes,
    /// It goes on to write, a byte at a time.
    Drips,
}

impl Server {
    async fn answering(answer: &'static str, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve(stream, answer, then, Arc::clone(&seen)));
                }
            }
        });
        Self { address, seen, task }
    }
}

async fn serve(mut stream: TcpStream, answer: &str, then: Then, seen: Arc<Seen>) {
    seen.opened.fetch_add(1, Ordering::SeqCst);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            seen.closed.fetch_add(1, Ordering::SeqCst);
            return;
        };
        head.push(byte);
    }
    seen.heads.lock().unwrap().push(String::from_utf8(head).unwrap());
    stream.write_all(answer.as_bytes()).await.unwrap();
    match then {
        Then::Closes => return,
        Then::Waits => _ = stream.read_to_end(&mut Vec::new()).await,
        Then::Drips => {
            while stream.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
    seen.closed.fetch_add(1, Ordering::SeqCst);
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A group with one target, where one failure is enough. The default interval is longer than any of
/// these tests, and the timeout long enough for a busy machine.
fn checked(check: HealthCheck, address: SocketAddr) -> (TargetGroup, LoadBalancer) {
    let check = check.unhealthy_threshold(1);
    let web = group("web").health_check(check).build().unwrap();
    web.register(Target::new(address).with_id("one"));
    let balancer = balancer(&web);
    (web, balancer)
}

async fn check(address: SocketAddr, reason: Reason, description: &str) {
    let mut check = HealthCheck::http("/health");
    if reason == Reason::Timeout {
        check = check.timeout(Duration::from_millis(20));
    }
    let (web, _balancer) = checked(check, address);
    until("a first check", || web.status().targets[0].state != State::Initial).await;
    let target = web.status().targets[0].clone();
    assert_eq!((target.state, target.reason), (State::Unhealthy, Some(reason)), "{target:?}");
    let expected = format!("GET http://{address}/health{description}");
    assert_eq!(target.description.as_deref(), Some(&*expected));
}

#[tokio::test]
async fn each_way_to_fail_has_its_words() {
    let broken = Reason::FailedHealthChecks;
    let refusing = Refusing::new();
    check(refusing.address, broken, ": connection refused").await;
    let failing = async |answer, then, reason, description: &str| {
        let server = Server::answering(answer, then).await;
        check(server.address, reason, description).await;
    };
    let text = ": the target closed the connection in the middle of its answer's head";
    failing("HTTP/1.1 200 OK\r\ncontent-le", Then::Closes, broken, text).await;
    let text = ": the target closed the connection without an answer";
    failing("", Then::Closes, broken, text).await;
    let text = ": invalid HTTP version parsed";
    failing("SSH-2.0-OpenSSH_9.6\r\n", Then::Waits, broken, text).await;
    let text = ": invalid HTTP status-code parsed";
    failing("HTTP/1.1 what?\r\n\r\n", Then::Waits, broken, text).await;
    let text = " answered 404, expected 200-299";
    let answer = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    failing(answer, Then::Waits, Reason::ResponseCodeMismatch, text).await;
    // A redirect is not followed.
    let text = " answered 301, expected 200-299";
    let answer = "HTTP/1.1 301 Moved\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
    failing(answer, Then::Waits, Reason::ResponseCodeMismatch, text).await;
    let text = ": no answer within 20ms";
    failing("", Then::Waits, Reason::Timeout, text).await;
    failing("HTTP/1.1 200 OK\r\n", Then::Waits, Reason::Timeout, text).await;
}

#[tokio::test]
async fn a_check_that_is_answered_drop_by_drop_has_its_time_all_the_same() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nx: ", Then::Drips).await;
    check(server.address, Reason::Timeout, ": no answer within 20ms").await;
    until("its connection is closed", || server.seen.closed() == 1).await;
}

#[tokio::test]
async fn a_check_says_where_it_goes_and_what_else_it_was_told() {
    let server = Server::answering(OK, Then::Waits).await;
    let address = server.address;
    let check = HealthCheck::http("/a?b=1").header("x-one", "1");
    let (web, _balancer) = checked(check.clone(), address);
    tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
    let head = server.seen.heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("GET /a?b=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nhost: {address}\r\n")), "{head}");
    assert!(head.contains("\r\nx-one: 1\r\n"), "{head}");

    server.seen.heads.lock().unwrap().clear();
    drop((web, _balancer));
    let (web, _balancer) = checked(check.host("example.com"), address);
    tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
    let head = server.seen.heads.lock().unwrap().last().unwrap().clone();
    assert!(head.contains("\r\nhost: example.com\r\n"), "{head}");
    assert!(!head.contains(&address.to_string()), "{head}");
}

#[tokio::test]
async fn another_port_may_be_asked() {
    let server = Server::answering(OK, Then::Waits).await;
    let refusing = Refusing::new();
    let port = server.address.port();
    let (web, _balancer) = checked(HealthCheck::http("/").port(port), refusing.address);
    tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
    let head = server.seen.heads.lock().unwrap()[0].clone();
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")), "{head}");

    // And its failures name it.
    let server = Server::answering(OK, Then::Waits).await;
    let check = HealthCheck::http("/").port(refusing.address.port());
    let (web, _balancer) = checked(check, server.address);
    until("a first check", || web.status().targets[0].state != State::Initial).await;
    let expected = format!("GET http://{}/: connection refused", refusing.address);
    assert_eq!(web.status().targets[0].description.as_deref(), Some(&*expected));
}

#[tokio::test]
async fn a_connection_is_closed_after_its_check() {
    let check = async |answer| {
        let server = Server::answering(answer, Then::Waits).await;
        let check = HealthCheck::http("/").interval(Duration::from_millis(300));
        let (web, balancer) = checked(check, server.address);
        // The server counts a connection when we close it.
        until("three checks", || server.seen.closed() >= 3).await;
        assert_eq!(web.status().targets[0].connections_idle, 0);
        tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
        drop((web, balancer));
        until("all are closed", || server.seen.closed() == server.seen.opened()).await;
    };
    tokio::join!(
        check(OK),
        check("HTTP/1.1 204 No Content\r\n\r\n"),
        // There is more to come, which is not waited for.
        check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"),
    );
}

#[tokio::test]
async fn a_target_that_comes_back_is_found() {
    let server = Server::answering(OK, Then::Waits).await;
    let address = server.address;
    let check = HealthCheck::http("/").interval(Duration::from_millis(300)).healthy_threshold(2);
    let (web, _balancer) = checked(check, address);
    tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
    drop(server);
    let refused = format!("GET http://{address}/: connection refused");
    let description = || web.status().targets[0].description.clone();
    until("it is gone", || description().as_deref() == Some(&*refused)).await;
    assert_eq!(web.status().healthy(), 0);
    let back = TcpListener::bind(address).await.unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = back.accept().await.unwrap();
            tokio::spawn(serve(stream, OK, Then::Waits, Arc::default()));
        }
    });
    tokio::time::timeout(SOON, web.until_healthy(1)).await.unwrap();
    serving.abort();
}
