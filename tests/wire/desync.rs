//! Requests that servers read differently, or that are not for targets: what the client gets, and
//! what the target received of it, byte for byte.
//!
//! That includes all that hyper's server answers or takes in its own way before a layer sees it.

use std::sync::{Arc, Mutex};

use pointsman::{
    LoadBalancer, RuleTable, Target, TargetGroup,
    proxy::{DesyncMode, HttpOptions},
};

use crate::support::{
    Front, Server,
    socket::{Socket, field, status},
    soon, until,
};

/// What follows a request on its connection, if that is used again.
const NEXT: &str = "GET /next HTTP/1.1\r\nhost: a\r\n\r\n";

/// A target that notes all bytes of all its connections, and answers whenever what it has ends with
/// `last`.
struct Noting {
    server: Server,
    received: Arc<Mutex<Vec<String>>>,
}

impl Noting {
    async fn until(last: &'static str) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&received);
        let server = Server::by_hand(move |mut socket, _| {
            let notes = Arc::clone(&notes);
            async move {
                let mut connection = None;
                loop {
                    let bytes = socket.at_most(1).await;
                    let Some(&byte) = bytes.first() else { return };
                    let ends = {
                        let mut notes = notes.lock().unwrap();
                        let at = *connection.get_or_insert_with(|| {
                            notes.push(String::new());
                            notes.len() - 1
                        });
                        notes[at].push(char::from(byte));
                        notes[at].ends_with(last)
                    };
                    if ends
                        && socket
                            .send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                            .await
                            .is_err()
                    {
                        return;
                    }
                }
            }
        })
        .await;
        Self { server, received }
    }

    /// What came on each connection.
    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }
}

async fn front(options: HttpOptions, target: &Noting) -> Front {
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::new(target.server.address));
    let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&group));
    let server = Server::balancing(&balancer).await;
    Front { group, balancer, server }
}

fn mode(mode: DesyncMode) -> HttpOptions {
    HttpOptions::new().desync_mode(mode)
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap()).collect()
}

/// Sends a request and another behind it; the first is refused with this status, the other not even
/// read, and the target receives nothing. With status 0 the connection ends without an answer.
async fn check_refused(options: HttpOptions, request: &str, expected: u16) {
    let target = Noting::until("").await;
    let front = front(options, &target).await;
    let mut client = Socket::connect(front.address()).await;
    client.send(bytes(&format!("{request}{NEXT}"))).await.unwrap();
    if expected != 0 {
        let head = client.head().await;
        assert_eq!(status(&head), expected, "{request:?}: {head}");
        assert_eq!(field(&head, "connection"), Some("close"), "{request:?}: {head}");
        let length = field(&head, "content-length").unwrap().parse().unwrap();
        client.exactly(if request.starts_with("HEAD") { 0 } else { length }).await;
    }
    assert_eq!(client.rest().await, b"", "{request:?}");
    front.at_rest().await;
    assert_eq!(target.server.counts.opened(), 0, "{request:?}");
}

/// How a request passes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Passes {
    /// Both connections are used again.
    Together,
    /// The client's is closed.
    AloneAtTheClient,
    /// Both are closed.
    Alone,
}

/// Sends a request, of which the target receives these bytes, with `{forwarded}` for what it is told
/// about the client.
async fn check_passes(options: HttpOptions, request: &str, received: &'static str, passes: Passes) {
    let end = if received.ends_with("0\r\n\r\n") {
        "0\r\n\r\n"
    } else if received.ends_with("body") {
        "body"
    } else {
        "\r\n\r\n"
    };
    let target = Noting::until(end).await;
    let front = front(options, &target).await;
    let forwarded = format!(
        "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-port: {}\r\n",
        front.address().port()
    );
    let mut client = Socket::connect(front.address()).await;
    client.send(bytes(request)).await.unwrap();
    let head = client.head().await;
    assert_eq!(status(&head), 200, "{request:?}");
    let close = field(&head, "connection") == Some("close");
    assert_eq!(close, passes != Passes::Together, "{request:?}: {head}");
    front.at_rest().await;
    assert_eq!(target.received(), [received.replace("{forwarded}", &forwarded)], "{request:?}");
    if passes != Passes::Together {
        assert_eq!(client.rest().await, b"", "{request:?}");
        client = Socket::connect(front.address()).await;
    }
    if passes == Passes::Alone {
        until("the target's connection is closed", || target.server.counts.open() == 0).await;
    } else {
        until("it is in the pool", || idle(&front) == 1).await;
    }
    // What follows gets an answer of its own, on a connection that nobody doubts.
    let next = if end == "\r\n\r\n" { NEXT } else { "POST / HTTP/1.1\r\nhost: a\r\n" };
    client.send(next).await.unwrap();
    match end {
        "body" => client.send("content-length: 4\r\n\r\nbody").await.unwrap(),
        "0\r\n\r\n" => client.send("transfer-encoding: chunked\r\n\r\n0\r\n\r\n").await.unwrap(),
        _ => {}
    }
    assert_eq!(status(&client.head().await), 200, "{request:?}");
    let connections = if passes == Passes::Alone { 2 } else { 1 };
    assert_eq!(target.server.counts.opened(), connections, "{request:?}");
}

fn idle(front: &Front) -> usize {
    front.group.status().targets.iter().map(|target| target.connections_idle).sum()
}

// What hyper's server sees to by itself.

#[tokio::test]
async fn what_hyper_refuses_reaches_no_target_in_any_mode() {
    let post = "POST / HTTP/1.1\r\nhost: a\r\n";
    for (request, expected) in [
        // Where the body ends.
        (format!("{post}content-length: +4\r\n\r\nbody"), 400),
        (format!("{post}content-length: -4\r\n\r\nbody"), 400),
        (format!("{post}content-length: 0x4\r\n\r\nbody"), 400),
        (format!("{post}content-length: 4 4\r\n\r\nbody"), 400),
        (format!("{post}content-length: 4,4\r\n\r\nbody"), 400),
        (format!("{post}content-length: 4.0\r\n\r\nbody"), 400),
        (format!("{post}content-length:\r\n\r\nbody"), 400),
        (format!("{post}content-length: 18446744073709551616\r\n\r\nbody"), 400),
        (format!("{post}content-length: 4\r\ncontent-length: 5\r\n\r\nbody"), 400),
        (format!("{post}transfer-encoding: identity\r\n\r\nbody"), 400),
        (format!("{post}transfer-encoding: gzip\r\n\r\nbody"), 400),
        (format!("{post}transfer-encoding: xchunked\r\n\r\nbody"), 400),
        (format!("{post}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400),
        (format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n0\r\n\r\n"), 400),
        (format!("{post}transfer-encoding:\r\n\r\nbody"), 400),
        (format!("{post}transfer-encoding: \"chunked\"\r\n\r\n0\r\n\r\n"), 400),
        (format!("{post}transfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n"), 400),
        ("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(), 400),
        // Lines.
        (format!("{post}x-a: b\r\n content-length: 4\r\n\r\nbody"), 400),
        (format!("{post}x-a: b\r\n\tc\r\n\r\n"), 400),
        (format!("{post}content-length : 4\r\n\r\nbody"), 400),
        (format!("{post}content-length\t: 4\r\n\r\nbody"), 400),
        (format!("{post}content-length\r\n\r\n"), 400),
        (format!("{post}: b\r\n\r\n"), 400),
        (format!("{post}x a: b\r\n\r\n"), 400),
        (format!("{post}x(a): b\r\n\r\n"), 400),
        (format!("{post}caf\u{e9}: b\r\n\r\n"), 400),
        (format!("{post}x-\0a: b\r\n\r\n"), 400),
        (format!("{post}x-a: b\0c\r\n\r\n"), 400),
        (format!("{post}x-a: b\rc\r\n\r\n"), 400),
        (format!("{post}x-a: b\u{7f}c\r\n\r\n"), 400),
        (format!("{post}x-a: b\u{1}c\r\n\r\n"), 400),
        // The request line.
        ("GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /\u{7f} HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /\ta HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /  HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.1 \r\nhost: a\r\n\r\n".into(), 400),
        ("GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("G@T / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        (" GET / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /\r\n".into(), 400),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/0.9\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / http/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / HTTP/1.10\r\nhost: a\r\n\r\n".into(), 400),
        ("GET / JUNK/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET http:///a HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET http://a b/ HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET a/b HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        ("GET /caf\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n".into(), 400),
        // HTTP/2 by prior knowledge is another protocol, not a request.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 0),
    ] {
        check_refused(mode(DesyncMode::Monitor), &request, expected).await;
    }
}

#[tokio::test]
async fn what_hyper_takes_in_its_own_way_is_written_anew() {
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    for (request, received, passes) in [
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent-length: 04\r\n\r\nbody"
                .into(),
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}\r\nbody",
            Passes::Together,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\
                 transfer-encoding: chunked\r\n\r\n{chunks}"
            ),
            "POST / HTTP/1.1\r\nhost: a\r\n{forwarded}transfer-encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\n\r\n",
            Passes::AloneAtTheClient,
        ),
        (
            format!(
                "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                 content-length: nonsense\r\n\r\n{chunks}"
            ),
            "POST / HTTP/1.1\r\nhost: a\r\n{forwarded}transfer-encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\n\r\n",
            Passes::AloneAtTheClient,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
             0004;a=b;\"c\"\r\nbody\r\n0;d\r\n\r\n"
                .into(),
            "POST / HTTP/1.1\r\nhost: a\r\n{forwarded}transfer-encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\n\r\n",
            Passes::Together,
        ),
        (
            "GET / HTTP/1.1\nhost: a\nx-a: b\n\n".into(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n{forwarded}\r\n",
            Passes::Together,
        ),
        (
            "\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            "GET / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
            Passes::Together,
        ),
        (
            "GET / HTTP/1.1\r\nhost:\t a \t\r\nx-a:b\r\n\r\n".into(),
            "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n{forwarded}\r\n",
            Passes::Together,
        ),
        (
            "GET /a?b#c HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            "GET /a?b HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
            Passes::Together,
        ),
        (
            "OPTIONS http://a HTTP/1.1\r\nhost: a\r\n\r\n".into(),
            "OPTIONS / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
            Passes::Together,
        ),
    ] {
        check_passes(mode(DesyncMode::Strictest), &request, received, passes).await;
    }
}

#[tokio::test]
async fn a_body_whose_chunks_are_none_is_400_and_its_end_is_not_made_up() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let extension = "a".repeat(16 * 1024);
    for chunks in [
        "+4\r\nbody\r\n0\r\n\r\n",
        "-4\r\nbody\r\n0\r\n\r\n",
        "0x4\r\nbody\r\n0\r\n\r\n",
        "g\r\nbody\r\n0\r\n\r\n",
        "\r\nbody\r\n0\r\n\r\n",
        ";a\r\nbody\r\n0\r\n\r\n",
        " 4\r\nbody\r\n0\r\n\r\n",
        "4 4\r\nbody\r\n0\r\n\r\n",
        "4_0\r\nbody\r\n0\r\n\r\n",
        "10000000000000004\r\nbody\r\n0\r\n\r\n",
        "4\nbody\r\n0\r\n\r\n",
        "4\rbody\r\n0\r\n\r\n",
        "4;a\nbody\r\n0\r\n\r\n",
        "4\r\nbody\n0\r\n\r\n",
        "4\r\nbody0\r\n\r\n",
        "4\r\nbodyXX0\r\n\r\n",
        "3\r\nbody\r\n0\r\n\r\n",
        "4;a=\"\r\nb\"\r\n0\r\n\r\n",
        "4\r\nbody\r\n0\n\r\n",
        "4\r\nbody\r\n0\r\nx a: b\r\n\r\n",
        "4\r\nbody\r\n0\r\nx-a: b\0\r\n\r\n",
        &format!("4;{extension}\r\nbody\r\n0\r\n\r\n"),
    ] {
        let target = Noting::until("never").await;
        let front = front(mode(DesyncMode::Monitor), &target).await;
        let mut client = Socket::connect(front.address()).await;
        client.send(format!("{head}{chunks}{NEXT}")).await.unwrap();
        let (answer, _) = client.answer().await;
        assert_eq!(status(&answer), 400, "{chunks:?}");
        assert_eq!(field(&answer, "connection"), Some("close"), "{chunks:?}");
        assert_eq!(client.rest().await, b"", "{chunks:?}");
        front.at_rest().await;
        until("the target's connection is closed", || target.server.counts.open() == 0).await;
        let received = target.received();
        assert!(received.len() <= 1, "{chunks:?}: {received:?}");
        assert!(received.iter().all(|all| !all.contains("0\r\n\r\n")), "{chunks:?}: {received:?}");
    }
}

// What we see to.

#[tokio::test]
async fn what_is_severe_is_refused() {
    let post = "POST / HTTP/1.1\r\nhost: a\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    for fields in [
        "content-length: 4\r\ntransfer_encoding: chunked\r\n\r\nbody",
        "content_length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "content-length: 4\r\ncontent_length: 5\r\n\r\nbody",
        "content-length: 4\r\ncontent.length: x\r\n\r\nbody",
        "transfer-encoding: x, chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: , chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        &format!("{chunked}{chunked}\r\n0\r\n\r\n"),
    ] {
        for mode in [DesyncMode::Defensive, DesyncMode::Strictest] {
            let options = HttpOptions::new().desync_mode(mode);
            check_refused(options, &format!("{post}{fields}"), 400).await;
        }
    }
    // No mode lets a coding pass that the target would not be told of.
    let gzip = format!("{post}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    check_refused(mode(DesyncMode::Monitor), &gzip, 501).await;
    let unknown = format!("{post}transfer-encoding: x, chunked\r\n\r\n0\r\n\r\n");
    check_refused(mode(DesyncMode::Monitor), &unknown, 501).await;
}

#[tokio::test]
async fn what_is_ambiguous_is_alone_on_its_connections() {
    for (request, received) in [
        (
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
            "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}{close}\r\nbody",
        ),
        (
            "HEAD / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
            "HEAD / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}{close}\r\nbody",
        ),
        (
            "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n{forwarded}{close}transfer-encoding: chunked\r\n\r\n\
             0\r\n\r\n",
        ),
        // Nothing is left of what resembles a framing field as nearly as that.
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ncontent_length: 4\r\n\r\nbody",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}{close}\r\nbody",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer.encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\n{forwarded}{close}\r\n",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontentlength: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontentlength: 4\r\n{forwarded}{close}\r\n",
        ),
    ] {
        let alone = received.replace("{close}", "connection: close\r\n").leak();
        check_passes(mode(DesyncMode::Defensive), request, alone, Passes::Alone).await;
        let together = received.replace("{close}", "").leak();
        check_passes(mode(DesyncMode::Monitor), request, together, Passes::Together).await;
        check_refused(mode(DesyncMode::Strictest), request, 400).await;
    }
}

#[tokio::test]
async fn a_delete_with_a_body_is_alone_on_its_connections() {
    let length = (
        "DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
        "DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}{close}\r\nbody",
    );
    let chunks = (
        "DELETE / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "DELETE / HTTP/1.1\r\nhost: a\r\n{forwarded}{close}transfer-encoding: chunked\r\n\r\n\
         0\r\n\r\n",
    );
    for (request, received) in [length, chunks] {
        let alone = received.replace("{close}", "connection: close\r\n").leak();
        check_passes(mode(DesyncMode::Defensive), request, alone, Passes::Alone).await;
        check_passes(mode(DesyncMode::Strictest), request, alone, Passes::Alone).await;
        let together = received.replace("{close}", "").leak();
        check_passes(mode(DesyncMode::Monitor), request, together, Passes::Together).await;
    }
    // Without a body there is nothing that could be left.
    for (request, received) in [
        ("DELETE / HTTP/1.1\r\nhost: a\r\n\r\n", "DELETE / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n"),
        (
            "DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
            "DELETE / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{forwarded}\r\n",
        ),
    ] {
        check_passes(mode(DesyncMode::Strictest), request, received, Passes::Together).await;
    }
}

#[tokio::test]
async fn what_is_acceptable_passes_unless_all_must_be_strict() {
    let request = "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let received = "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n{forwarded}\r\n";
    check_passes(HttpOptions::new(), request, received, Passes::Together).await;
    check_refused(mode(DesyncMode::Strictest), request, 400).await;
}

#[tokio::test]
async fn what_is_not_for_targets_is_refused_and_nothing_behind_it_is_read() {
    let of = HttpOptions::new;
    let paths = of().reject_ambiguous_paths(true);
    let proxies = vec!["1.1.1.1"; 31].join(",");
    let long = "a".repeat(16 * 1024);
    for (options, request, expected) in [
        (of(), "TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        (of(), "TRACE * HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n\r\n", 405),
        (of(), "CONNECT a.com:80 HTTP/1.1\r\nhost: a.com:80\r\n\r\n", 405),
        (of(), "CONNECT / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        (of(), "GET / HTTP/1.1\r\n\r\n", 400),
        (of(), "GET http://a.com/ HTTP/1.1\r\n\r\n", 400),
        (of(), "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        (of(), "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (of(), "GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
        (of(), "GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        (of(), "GET / HTTP/1.1\r\nhost: u@a.com\r\n\r\n", 400),
        (of(), "GET / HTTP/1.1\r\nhost: a.com/b\r\n\r\n", 400),
        (of(), "GET / HTTP/1.1\r\nhost: a.com:b\r\n\r\n", 400),
        (of(), "GET http://u@a.com/ HTTP/1.1\r\nhost: a.com\r\n\r\n", 400),
        (of(), "GET ftp://a.com/ HTTP/1.1\r\nhost: a.com\r\n\r\n", 400),
        (of(), "GET a.com:80 HTTP/1.1\r\nhost: a.com\r\n\r\n", 400),
        (of(), "GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (of(), "GET /a\\b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (paths, "GET /a/..;/b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (of().body_size_max(3), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody", 413),
        (
            of().body_size_max(3),
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
            413,
        ),
        (of(), &format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        (of(), "POST / HTTP/1.1\r\nhost: a\r\nexpect: the worst\r\n\r\n", 417),
        (of(), &format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {long}\r\n\r\n"), 431),
        (of(), &format!("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {proxies}\r\n\r\n"), 463),
    ] {
        check_refused(options, request, expected).await;
    }
}

#[tokio::test]
async fn options_go_as_far_as_they_are_to_go() {
    check_passes(
        HttpOptions::new(),
        "OPTIONS * HTTP/1.1\r\nhost: a\r\nmax-forwards: 10\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\nmax-forwards: 9\r\n{forwarded}\r\n",
        Passes::Together,
    )
    .await;
    let target = Noting::until("").await;
    let front = front(HttpOptions::new(), &target).await;
    let mut client = Socket::connect(front.address()).await;
    for _ in 0..2 {
        client.send("OPTIONS / HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\n\r\n").await.unwrap();
        assert_eq!(status(&client.answer().await.0), 200);
    }
    assert_eq!(target.server.counts.opened(), 0);
}

#[tokio::test]
async fn names_that_are_no_plain_words_are_dropped_on_demand() {
    check_passes(
        HttpOptions::new().drop_invalid_header_fields(true),
        "GET / HTTP/1.1\r\nhost: a\r\nx_a: 1\r\nx.b: 1\r\nx-c: 1\r\nx~d: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-c: 1\r\n{forwarded}\r\n",
        Passes::Together,
    )
    .await;
}

// A body that gets too long.

const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";

#[tokio::test]
async fn a_body_that_gets_too_long_is_413_and_its_end_is_not_made_up() {
    let target = Noting::until("never").await;
    let front = front(HttpOptions::new().body_size_max(3), &target).await;
    let mut client = Socket::connect(front.address()).await;
    client.send(CHUNKED).await.unwrap();
    until("the beginning came", || target.received().iter().any(|all| all.ends_with("ab\r\n")))
        .await;
    client.send("2\r\ncd\r\n").await.unwrap();
    let head = client.head().await;
    assert_eq!((status(&head), field(&head, "connection")), (413, Some("close")));
    until("the target's connection is closed", || target.server.counts.open() == 0).await;
    assert!(target.received()[0].ends_with("\r\n\r\n2\r\nab\r\n"), "{:?}", target.received());
    front.at_rest().await;
}

#[tokio::test]
async fn an_answer_to_a_body_that_gets_too_long_is_cut() {
    let target = Server::by_hand(|mut socket, _| async move {
        socket.head().await;
        socket.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegin").await.unwrap();
        socket.closed().await;
    })
    .await;
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::new(target.address));
    let options = HttpOptions::new().body_size_max(3);
    let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&group));
    let server = Server::balancing(&balancer).await;
    let front = Front { group, balancer, server };
    let mut client = Socket::connect(front.address()).await;
    client.send(CHUNKED).await.unwrap();
    assert_eq!(status(&client.head().await), 200);
    assert_eq!(client.exactly(5).await, b"begin");
    client.send("2\r\ncd\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(soon("the end", client.rest()).await, b"");
    until("the target's connection is closed", || target.counts.open() == 0).await;
    front.at_rest().await;
}

#[tokio::test]
async fn a_body_that_just_fits_passes() {
    check_passes(
        HttpOptions::new().body_size_max(4),
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\n{forwarded}transfer-encoding: chunked\r\n\r\n\
         4\r\nbody\r\n0\r\n\r\n",
        Passes::Together,
    )
    .await;
}
