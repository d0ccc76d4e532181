//! What a target receives and what a client gets back, byte for byte.

use pointsman::layer::ForwardTo;
use tokio::net::TcpListener;

use crate::support::{Front, Server, socket::Socket, soon, until};

/// An answer with nothing special, which reaches the client as it is.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ndate: D\r\n\r\nok";

/// What every target is told about the client; `{port}` is the one the client connected to.
const FORWARDED: &str =
    "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\nx-forwarded-port: {port}\r\n";

/// Sends a request through a balancer, and through what forwards on its own, to a target that gives
/// this answer, and compares all that the target received and all that the client got.
///
/// In `received`, `{forwarded}` is [`FORWARDED`], and `{target}` the target's own address. The target
/// ends its connection after an answer without a length. A character is a byte.
async fn check(request: &str, received: &str, answer: &str, got: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let front = Front::of([address]).await;
    check_by(&front.server, &listener, request, received, answer, got).await;
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].answered, 1);

    let forward = ForwardTo::new(address);
    let server = Server::forwarding(&forward).await;
    check_by(&server, &listener, request, received, answer, got).await;
    until("no exchange is in flight", || forward.in_flight() == 0).await;
}

async fn check_by(
    server: &Server,
    listener: &TcpListener,
    request: &str,
    received: &str,
    answer: &str,
    got: &str,
) {
    let received = received
        .replace("{forwarded}", FORWARDED)
        .replace("{port}", &server.address.port().to_string())
        .replace("{target}", &listener.local_addr().unwrap().to_string());
    let (request, received, got) = (bytes(request), bytes(&received), bytes(got));

    let mut client = Socket::connect(server.address).await;
    client.send(request).await.unwrap();
    let mut target = Socket::new(soon("a connection", listener.accept()).await.unwrap().0);
    same("the target received", &target.first(received.len()).await, &received);
    target.send(bytes(answer)).await.unwrap();
    let ends = !answer.contains("content-length");
    if ends {
        target.finish().await;
    }
    same("the client got", &client.first(got.len()).await, &got);

    client.finish().await;
    same("the client got more", &client.rest().await, b"");
    if !ends {
        target.finish().await;
    }
    same("the target received more", &target.rest().await, b"");
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap()).collect()
}

fn same(what: &str, found: &[u8], expected: &[u8]) {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n");
    assert!(found == expected, "{what}:\n{}\nexpected:\n{}", text(found), text(expected));
}

// Fields.

#[tokio::test]
async fn fields_of_one_connection_stay_on_it() {
    check(
        "GET / HTTP/1.1\r\n\
         host: a.com\r\n\
         connection: close, X-Mine\r\n\
         connection: host, cookie, authorization, x-forwarded-for\r\n\
         keep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\n\
         proxy-authorization: Basic x\r\n\
         te: gzip\r\n\
         upgrade: h2c\r\n\
         http2-settings: AAMAAABkAAQAAP__\r\n\
         x-mine: 1\r\n\
         cookie: a=1\r\n\
         authorization: Basic y\r\n\
         x-kept: 1\r\n\
         \r\n",
        "GET / HTTP/1.1\r\n\
         host: a.com\r\n\
         x-kept: 1\r\n\
         authorization: Basic y\r\n\
         cookie: a=1\r\n\
         {forwarded}\
         \r\n",
        "HTTP/1.1 200 OK\r\n\
         date: D\r\n\
         connection: keep-alive, X-Theirs\r\n\
         connection: content-length, set-cookie\r\n\
         keep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\n\
         proxy-authenticate: Basic\r\n\
         upgrade: h2c\r\n\
         x-theirs: 1\r\n\
         set-cookie: a=1\r\n\
         x-kept: 1\r\n\
         content-length: 2\r\n\
         \r\n\
         ok",
        "HTTP/1.1 200 OK\r\n\
         date: D\r\n\
         content-length: 2\r\n\
         x-kept: 1\r\n\
         set-cookie: a=1\r\n\
         connection: close\r\n\
         \r\n\
         ok",
    )
    .await;
}

#[tokio::test]
async fn the_client_is_appended_to_the_forwarding_fields() {
    check(
        "GET / HTTP/1.1\r\n\
         host: a\r\n\
         x-forwarded-for: 198.51.100.1\r\n\
         x-forwarded-proto: https\r\n\
         x-forwarded-port: 1\r\n\
         x-forwarded-for: 198.51.100.2, unknown\r\n\
         x-forwarded-proto: https\r\n\
         \r\n",
        "GET / HTTP/1.1\r\n\
         host: a\r\n\
         x-forwarded-for: 198.51.100.1, 198.51.100.2, unknown, 127.0.0.1\r\n\
         x-forwarded-proto: http\r\n\
         x-forwarded-port: {port}\r\n\
         \r\n",
        OK,
        OK,
    )
    .await;
}

#[tokio::test]
async fn fields_of_one_name_stay_apart_and_in_order() {
    check(
        "GET / HTTP/1.1\r\nhost: a\r\nx-a: 2\r\nX-A: 1\r\nx-a:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx-a: 2\r\nx-a: 1\r\nx-a: \r\n{forwarded}\r\n",
        "HTTP/1.1 200 OK\r\ndate: D\r\nset-cookie: b=2\r\nset-cookie: a=1, c\r\n\
         content-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ndate: D\r\nset-cookie: b=2\r\nset-cookie: a=1, c\r\n\
         content-length: 0\r\n\r\n",
    )
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_ascii_pass() {
    let answer = "HTTP/1.1 200 OK\r\ndate: D\r\nx-a: caf\u{e9}\r\ncontent-length: 0\r\n\r\n";
    check(
        "GET /caf\u{c3}\u{a9} HTTP/1.1\r\nhost: a\r\nx-a: caf\u{e9}\r\n\r\n",
        "GET /caf\u{c3}\u{a9} HTTP/1.1\r\nhost: a\r\nx-a: caf\u{e9}\r\n{forwarded}\r\n",
        answer,
        answer,
    )
    .await;
}

// The request target.

#[tokio::test]
async fn the_request_target_passes_as_it_came() {
    for target in [
        "/",
        "/a/../b//c/./d;e=f/",
        "/%2e%2E/%2f%zz/%",
        "/a?",
        "/a?b=c&d=%20+?&",
        "//a.com/b",
        "/\"[]^{|}~?\\",
        "/:80@b",
        "/a?http://b.com/c",
    ] {
        check(
            &format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"),
            &format!("GET {target} HTTP/1.1\r\nhost: a\r\n{{forwarded}}\r\n"),
            OK,
            OK,
        )
        .await;
    }
}

#[tokio::test]
async fn an_absolute_form_becomes_the_origin_form_and_its_host_counts() {
    check(
        "GET http://b.com:81/x?y HTTP/1.1\r\nhost: a.com\r\n\r\n",
        "GET /x?y HTTP/1.1\r\nhost: b.com:81\r\n{forwarded}\r\n",
        OK,
        OK,
    )
    .await;
    check(
        "GET http://b.com HTTP/1.1\r\nhost: b.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: b.com\r\n{forwarded}\r\n",
        OK,
        OK,
    )
    .await;
}

#[tokio::test]
async fn options_of_the_whole_server_stay_that() {
    check(
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
        OK,
        OK,
    )
    .await;
}

#[tokio::test]
async fn an_http_1_0_client_without_a_host_gets_an_answer_it_understands() {
    check(
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n{forwarded}host: {target}\r\n\r\n",
        "HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\ndate: D\r\n\r\nok",
    )
    .await;
    check(
        "GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
        OK,
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\ndate: D\r\nconnection: keep-alive\r\n\r\nok",
    )
    .await;
}

// Framing.

#[tokio::test]
async fn a_request_has_one_framing_field() {
    let length = "content-length: 4\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let chunks = "4\r\nbody\r\n0\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nhost: a\r\n";
    let check = async |framing: &str, sent: &str, got: &str| {
        check(&format!("{post}{framing}"), &format!("{post}{sent}"), OK, got).await;
    };
    check(&format!("{length}\r\nbody"), &format!("{length}{{forwarded}}\r\nbody"), OK).await;
    let rechunked = format!("{{forwarded}}{chunked}\r\n{chunks}");
    check(&format!("{chunked}\r\n{chunks}"), &rechunked, OK).await;
    // Both: it is the chunks that count, and the client's connection is not used again.
    let closed = OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    check(&format!("{length}{chunked}\r\n{chunks}"), &rechunked, &closed).await;
    check("content-length: 0\r\n\r\n", "content-length: 0\r\n{forwarded}\r\n", OK).await;
    check("\r\n", "{forwarded}\r\n", OK).await;
}

#[tokio::test]
async fn a_get_keeps_its_body() {
    // Not everybody reads one, so that both connections are closed after it.
    let closed = OK.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    check(
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody",
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}connection: close\r\n\r\n\
         body",
        OK,
        &closed,
    )
    .await;
    check(
        "GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n{forwarded}connection: close\r\n\
         transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        OK,
        &closed,
    )
    .await;
}

#[tokio::test]
async fn an_answer_has_one_framing_field() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let received = "GET / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ndate: D\r\ntransfer-encoding: chunked\r\n\r\n\
                   2\r\nok\r\n0\r\n\r\n";
    check(get, received, chunked, chunked).await;
    let both = "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\
                \r\n2\r\nok\r\n0\r\n\r\n";
    check(get, received, both, chunked).await;
    // Neither: the end of the connection is the end of the body.
    check(get, received, "HTTP/1.1 200 OK\r\ndate: D\r\n\r\nok", chunked).await;
    check(get, received, "HTTP/1.0 200 OK\r\ndate: D\r\n\r\nok", chunked).await;
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let check = async |method: &str, answer: &str| {
        check(
            &format!("{method} / HTTP/1.1\r\nhost: a\r\n\r\n"),
            &format!("{method} / HTTP/1.1\r\nhost: a\r\n{{forwarded}}\r\n"),
            answer,
            answer,
        )
        .await;
    };
    // The length is that of what a GET would get.
    check("HEAD", "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 1000\r\n\r\n").await;
    check("HEAD", "HTTP/1.1 200 OK\r\ndate: D\r\n\r\n").await;
    check("GET", "HTTP/1.1 204 No Content\r\ndate: D\r\n\r\n").await;
    check("GET", "HTTP/1.1 304 Not Modified\r\ndate: D\r\netag: \"a\"\r\n\r\n").await;
    check("GET", "HTTP/1.1 200 OK\r\ndate: D\r\ncontent-length: 0\r\n\r\n").await;
}

#[tokio::test]
async fn an_unknown_status_and_its_words_pass() {
    let answer = "HTTP/1.1 799 Whatever You Say\r\ndate: D\r\ncontent-length: 0\r\n\r\n";
    check(
        "BREW / HTTP/1.1\r\nhost: a\r\n\r\n",
        "BREW / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
        answer,
        answer,
    )
    .await;
}

// What comes before the answer.

#[tokio::test]
async fn vector_43_who_expects_to_be_told_to_go_on_is_told_by_the_balancer() {
    check(
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n{forwarded}\r\nbody",
        OK,
        &format!("HTTP/1.1 100 Continue\r\n\r\n{OK}"),
    )
    .await;
}

#[tokio::test]
async fn interim_answers_are_not_taken_for_the_answer() {
    check(
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n{forwarded}\r\n",
        &format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n{OK}"),
        OK,
    )
    .await;
}
