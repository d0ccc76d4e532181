//! Targets whose answers are wrong: what the client sees of each, what it is called, and whether the
//! target's connection is used again.
//!
//! Where hyper decides, these rows pin what it decides.

use http::Response;
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    error::{Error, Kind},
};

use crate::support::{
    Server, at_rest,
    socket::{Socket, field, status},
    until,
};

/// What a target does after its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Waits for the next request, and answers it in the same way.
    Waits,
    Closes,
    Resets,
}

/// Whether the target's connection carries a second request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Connection {
    Kept,
    Dropped,
}

use self::{
    Connection::{Dropped, Kept},
    Then::{Closes, Resets, Waits},
};

/// A target that answers with these bytes, and a balancer that tells the client what went wrong.
struct Scene {
    target: Server,
    group: TargetGroup,
    server: Server,
}

impl Scene {
    async fn of(answer: Vec<u8>, then: Then) -> Self {
        let target = Server::by_hand(move |mut socket, _| {
            let answer = answer.clone();
            async move {
                while socket.request().await.is_some() {
                    if socket.send(&answer).await.is_err() {
                        return;
                    }
                    match then {
                        Waits => {}
                        Closes => return,
                        Resets => {
                            return socket.into_inner().set_zero_linger().unwrap();
                        }
                    }
                }
            }
        })
        .await;
        let group = TargetGroup::builder("web").build().unwrap();
        group.register(Target::new(target.address));
        let balancer = LoadBalancer::builder()
            .on_error(|error: &Error| {
                let kind = error.kind();
                let mut response = Response::new(Body::from(format!("{kind:?}: {error}")));
                *response.status_mut() = error.status();
                response
            })
            .build(RuleTable::forward_to(&group));
        let server = Server::balancing(&balancer).await;
        Self { target, group, server }
    }

    /// Sends a request over a connection of its own; returns all that came back.
    async fn ask(&self, method: &str) -> String {
        let mut client = Socket::connect(self.server.address).await;
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        client.send(request).await.unwrap();
        let got = client.rest().await;
        at_rest(&self.group).await;
        got.iter().map(|&byte| char::from(byte)).collect()
    }
}

/// Says what a client sees: the status and whether the body came to its end, and the body.
fn seen(method: &str, got: &str) -> String {
    let Some((head, body)) = got.split_once("\r\n\r\n") else { return format!("no head: {got}") };
    let code = status(head);
    let (whole, body) = if method == "HEAD" || code == 204 || code == 304 {
        (body.is_empty(), body.to_owned())
    } else if let Some(length) = field(head, "content-length") {
        (body.len() == length.parse::<usize>().unwrap(), body.to_owned())
    } else {
        assert_eq!(field(head, "transfer-encoding"), Some("chunked"), "{head}");
        chunks(body)
    };
    format!("{code} {} {body}", if whole { "whole" } else { "truncated" })
}

/// Puts chunks together, and says whether the last one came.
fn chunks(mut rest: &str) -> (bool, String) {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (after == "\r\n", body);
        }
        body.push_str(&after[..size.min(after.len())]);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    (false, body)
}

async fn check(method: &str, answer: &str, then: Then, expected: &str, connection: Connection) {
    let bytes = answer.chars().map(|character| u8::try_from(character).unwrap()).collect();
    let scene = Scene::of(bytes, then).await;
    let shown = answer.escape_debug().to_string();
    let shown = &shown[..shown.len().min(100)];
    let expected = match expected.strip_prefix("502 ") {
        Some(text) => {
            format!("502 whole {:?}: the exchange with the target broke: {text}", Kind::Exchange)
        }
        None => expected.to_owned(),
    };
    for opened in 1..=2 {
        let got = scene.ask(method).await;
        let seen = seen(method, &got);
        // Of what breaks off a client may see less, or nothing if it does so at once.
        let less =
            |truncated: &str| expected.contains(" truncated ") && expected.starts_with(truncated);
        assert!(
            seen == expected || less(&seen) || (got.is_empty() && less("")),
            "{method} {shown} {then:?}: {seen}, expected {expected}"
        );
        let settled = || {
            let idle = scene.group.status().targets[0].connections_idle;
            idle == scene.target.counts.open()
        };
        until("the connection is kept or closed", settled).await;
        let opened = if connection == Kept { 1 } else { opened };
        assert_eq!(scene.target.counts.opened(), opened, "{method} {shown} {then:?}");
    }
}

const GARBAGE: &str = "502 invalid HTTP version parsed";
const STATUS: &str = "502 invalid HTTP status-code parsed";
const HEADER: &str = "502 invalid HTTP header parsed";
const LENGTH: &str = "502 the target's answer has an invalid content-length";
const CODING: &str = "502 the target's answer has a transfer coding other than chunked";

#[tokio::test]
async fn what_is_no_http_is_502() {
    for (answer, expected) in [
        ("garbage\r\n\r\n", GARBAGE),
        ("\0\0\0\0\r\n\r\n", GARBAGE),
        ("<html>hello</html>", GARBAGE),
        ("220 mail ESMTP\r\n", GARBAGE),
        ("SSH-2.0-OpenSSH_9.6\r\n", GARBAGE),
        // What a server of HTTP/2 says first, and what one of TLS says to HTTP/1.
        ("\0\0\u{12}\u{4}\0\0\0\0\0\0\u{3}\0\0\0\u{80}\0\u{4}\0\u{1}\0\0", GARBAGE),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", GARBAGE),
        ("\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}", GARBAGE),
        ("HTTP/2.0 200 OK\r\n\r\n", GARBAGE),
        ("HTTP/1.2 200 OK\r\n\r\n", GARBAGE),
        ("http/1.1 200 OK\r\n\r\n", GARBAGE),
        ("HTTP/1.1200 OK\r\n\r\n", GARBAGE),
        ("HTTP/1.1 OK\r\n\r\n", STATUS),
        ("HTTP/1.1 99 OK\r\ncontent-length: 0\r\n\r\n", STATUS),
        ("HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n", STATUS),
        ("HTTP/1.1 1000 OK\r\ncontent-length: 0\r\n\r\n", STATUS),
        ("HTTP/1.1 -20 OK\r\ncontent-length: 0\r\n\r\n", STATUS),
        ("HTTP/1.1 20\u{b2} OK\r\ncontent-length: 0\r\n\r\n", STATUS),
        ("HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n", STATUS),
        (
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "502 the target answered 101 unasked",
        ),
    ] {
        check("GET", answer, Waits, expected, Dropped).await;
    }
}

#[tokio::test]
async fn a_head_with_a_wrong_line_is_502() {
    for line in [
        "no colon",
        ": empty",
        "a b: 1",
        "a : 1",
        " a: 1",
        "a\0: 1",
        "a: 1\0",
        "a: 1\rx",
        "a\r: 1",
        "\u{e4}: 1",
        "a(: 1",
        "a: 1\r\n folded",
        "a: 1\r\n\tfolded",
        "a: 1\u{7f}",
        "a: \u{1}",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{line}\r\ncontent-length: 0\r\n\r\n");
        check("GET", &answer, Waits, HEADER, Dropped).await;
    }
}

#[tokio::test]
async fn a_head_that_can_be_read_is_passed_on() {
    for (head, expected) in [
        ("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 \u{e4}\r\ncontent-length: 2\r\n\r\nok", "200 whole ok"),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", "200 whole ok"),
        ("HTTP/1.1 600 Own\r\ncontent-length: 2\r\n\r\nok", "600 whole ok"),
        ("HTTP/1.1 999 Own\r\ncontent-length: 2\r\n\r\nok", "999 whole ok"),
        ("HTTP/1.1 200 OK\r\na: \u{e4}\u{80}\tb\r\ncontent-length: 2\r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 OK\r\na:\r\ncontent-length:2\r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2 \r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "200 whole ok"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", "200 whole ok"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
            "200 whole ok",
        ),
    ] {
        check("GET", head, Waits, expected, Kept).await;
    }
}

#[tokio::test]
async fn a_head_whose_framing_is_wrong_is_502() {
    for (lines, expected) in [
        ("content-length: x", "502 invalid content-length parsed"),
        ("content-length: -2", "502 invalid content-length parsed"),
        ("content-length: +2", "502 invalid content-length parsed"),
        ("content-length: 0x2", "502 invalid content-length parsed"),
        ("content-length: 2 2", "502 invalid content-length parsed"),
        ("content-length:", "502 invalid content-length parsed"),
        ("content-length: 2, 3", "502 invalid content-length parsed"),
        ("content-length: 2\r\ncontent-length: 3", "502 invalid content-length parsed"),
        ("content-length: 18446744073709551616", "502 invalid content-length parsed"),
        ("content-length: 18446744073709551615", "502 message head is too large"),
        ("content-length: 9223372036854775808", LENGTH),
        ("content-length: 02\r\ncontent-length: 2", LENGTH),
        ("transfer-encoding: gzip", CODING),
        ("transfer-encoding: gzip, chunked", CODING),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", CODING),
        ("transfer-encoding: chunked, chunked", CODING),
        ("transfer-encoding: chunked, identity", CODING),
        ("transfer-encoding: identity", CODING),
        ("transfer-encoding: xchunked", CODING),
        ("transfer-encoding: \u{b}chunked", HEADER),
        ("transfer-encoding:", CODING),
        ("transfer-encoding: gzip\r\ncontent-length: 2", CODING),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n");
        check("GET", &answer, Waits, expected, Dropped).await;
    }
}

#[tokio::test]
async fn a_wrong_length_is_not_passed_on_even_if_there_is_no_body() {
    for lines in ["content-length: 2\r\ncontent-length: 3", "content-length: x"] {
        let answer = format!("HTTP/1.1 304 Not Modified\r\n{lines}\r\n\r\n");
        check("GET", &answer, Waits, LENGTH, Dropped).await;
        let scene = Scene::of(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n").into(), Waits).await;
        let got = scene.ask("HEAD").await;
        assert_eq!(status(&got), 502, "{got}");
        until("the connection is closed", || scene.target.counts.open() == 0).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_looks_broken_off() {
    for (answer, then, expected) in [
        ("content-length: 10\r\n\r\n", Closes, "200 truncated "),
        ("content-length: 10\r\n\r\nhello", Closes, "200 truncated hello"),
        ("content-length: 10\r\n\r\nhello", Resets, "200 truncated hello"),
        ("transfer-encoding: chunked\r\n\r\n", Closes, "200 truncated "),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Closes, "200 truncated hello"),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Resets, "200 truncated hello"),
        ("transfer-encoding: chunked\r\n\r\na\r\nhello", Closes, "200 truncated hello"),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Closes, "200 truncated hello"),
        // Only a reset tells it from one that is complete.
        ("connection: close\r\n\r\nhello", Resets, "200 truncated hello"),
    ] {
        check("GET", &format!("HTTP/1.1 200 OK\r\n{answer}"), then, expected, Dropped).await;
    }
}

#[tokio::test]
async fn a_body_whose_chunks_are_wrong_is_broken_off() {
    for chunks in [
        "xyz\r\n",
        "-5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "\r\nhello\r\n",
        "5\nhello\r\n",
        "fffffffffffffffff\r\nhello\r\n",
        "5;a\nb\r\nhello\r\n",
        "5;a\rb\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "5\rhello\r\n",
        "5,5\r\nhello\r\n",
        "\u{b2}\r\nhello\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
        check("GET", &answer, Waits, "200 truncated ", Dropped).await;
        let answer =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n{chunks}");
        check("GET", &answer, Waits, "200 truncated ok", Dropped).await;
    }
    for after in [
        "5\r\nhelloworld\r\n",
        "5\r\nhello\n0\n\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{after}");
        check("GET", &answer, Waits, "200 truncated hello", Dropped).await;
    }
    let extensions = format!("5;{}\r\nhello\r\n", "x".repeat(20_000));
    let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{extensions}");
    check("GET", &answer, Waits, "200 truncated ", Dropped).await;
    let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(20_000));
    let answer = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{trailers}");
    check("GET", &answer, Waits, "200 truncated ", Dropped).await;
}

#[tokio::test]
async fn what_follows_an_answer_ends_its_connection() {
    for (method, answer, expected) in [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok+", "200 whole ok"),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
            "200 whole ok",
        ),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n+", "200 whole "),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\nbody", "204 whole "),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody", "204 whole "),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 4\r\n\r\nbody", "304 whole "),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "304 whole ",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody", "200 whole "),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
            "200 whole ",
        ),
        // Both lengths: the chunks are believed, the connection is not.
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "200 whole ok",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
            "200 whole ok",
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 2\r\n\r\nok",
            "200 whole ok",
        ),
    ] {
        check(method, answer, Waits, expected, Dropped).await;
    }
}

#[tokio::test]
async fn answers_without_a_body_keep_their_connection_and_their_fields() {
    for (method, answer, expected, fields) in [
        (
            "HEAD",
            "200 OK\r\ncontent-length: 1234\r\netag: x",
            "200 whole ",
            "content-length: 1234\r\netag: x\r\n",
        ),
        ("HEAD", "200 OK\r\ncontent-length: 7, 7", "200 whole ", "content-length: 7\r\n"),
        ("HEAD", "200 OK\r\ntransfer-encoding: chunked\r\netag: x", "200 whole ", "etag: x\r\n"),
        ("HEAD", "200 OK\r\netag: x", "200 whole ", "etag: x\r\n"),
        ("GET", "204 No Content\r\netag: x", "204 whole ", "etag: x\r\n"),
        // hyper writes no length where there is no body.
        ("GET", "204 No Content\r\ncontent-length: 0\r\netag: x", "204 whole ", "etag: x\r\n"),
        ("GET", "304 Not Modified\r\ncontent-length: 1234\r\netag: x", "304 whole ", "etag: x\r\n"),
    ] {
        let answer = format!("HTTP/1.1 {answer}\r\n\r\n");
        check(method, &answer, Waits, expected, Kept).await;
        let got = Scene::of(answer.into(), Waits).await.ask(method).await;
        let (_, lines) = got.split_once("\r\n").unwrap();
        assert!(lines.starts_with(fields), "{method} {got}");
        let length = fields.contains("content-length");
        assert_eq!(field(&got, "content-length").is_some(), length, "{method} {got}");
        assert_eq!(field(&got, "transfer-encoding"), None, "{method} {got}");
    }
}

#[tokio::test]
async fn targets_of_http_1_0_are_understood() {
    for (answer, then, expected, connection) in [
        ("HTTP/1.0 200 OK\r\n\r\nhello", Closes, "200 whole hello", Dropped),
        ("HTTP/1.0 200 OK\r\n\r\nhello", Resets, "200 truncated hello", Dropped),
        ("HTTP/1.1 200 OK\r\n\r\nhello", Closes, "200 whole hello", Dropped),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", Closes, "200 whole hello", Dropped),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", Waits, "200 whole hello", Dropped),
        (
            "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 5\r\n\r\nhello",
            Waits,
            "200 whole hello",
            Dropped,
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nhello",
            Closes,
            "200 truncated hello",
            Dropped,
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Waits,
            "502 unexpected transfer-encoding parsed",
            Dropped,
        ),
    ] {
        check("GET", answer, then, expected, connection).await;
    }
}

#[tokio::test]
async fn a_head_that_does_not_come_is_502() {
    for (answer, then, expected) in [
        ("", Closes, "502 the target closed the connection without an answer"),
        (
            "HTTP/1.1 200 O",
            Closes,
            "502 the target closed the connection in the middle of its answer's head",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
            Closes,
            "502 the target closed the connection in the middle of its answer's head",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            Closes,
            "502 the target closed the connection in the middle of its answer's head",
        ),
        ("HTTP/1.1 200 O", Resets, "502 connection error: connection reset"),
    ] {
        check("GET", answer, then, expected, Dropped).await;
    }
}
