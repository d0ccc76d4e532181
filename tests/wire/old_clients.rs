//! Clients of HTTP/1.0: they know neither chunks nor connections that are kept unasked.

use crate::support::{
    Front, Server,
    programs::Port,
    socket::{Socket, field, status},
    until,
};

/// Sends this to a target that answers with that; returns the head and all that follows it.
async fn asked(request: &str, answer: &'static str) -> (String, String) {
    let target = Server::by_hand(move |mut socket, _| async move {
        while socket.request().await.is_some() {
            _ = socket.send(answer).await;
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send(request).await.unwrap();
    let head = client.head().await;
    let rest = String::from_utf8(client.rest().await).unwrap();
    front.at_rest().await;
    // How the client's connection ends is no matter of the target's.
    until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
    (head, rest)
}

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n";
const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn what_comes_in_chunks_goes_out_without_and_ends_with_the_connection() {
    for fields in ["", "connection: keep-alive\r\n", "te: trailers\r\n"] {
        let request = format!("GET / HTTP/1.0\r\nhost: a\r\n{fields}\r\n");
        let (head, body) = asked(&request, CHUNKED).await;
        assert_eq!(status(&head), 200);
        assert!(head.starts_with("HTTP/1.0 "), "{head}");
        assert_eq!(field(&head, "transfer-encoding"), None);
        assert_eq!(field(&head, "content-length"), None);
        assert_eq!(field(&head, "connection"), None);
        assert_eq!(body, "helloworld");
    }
}

/// That a client is an old one is remembered on each attempt.
#[tokio::test]
async fn the_answer_of_another_target_is_the_same_to_them() {
    let gone = Port::reserve();
    let target = Server::by_hand(|mut socket, _| async move {
        while socket.request().await.is_some() {
            _ = socket.send(CHUNKED).await;
        }
    })
    .await;
    let front = Front::of([gone.address, target.address]).await;
    for _ in 0..2 {
        let mut client = Socket::connect(front.address()).await;
        client.send("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await.unwrap();
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert_eq!(field(&head, "connection"), None);
        assert_eq!(client.rest().await, b"helloworld");
        front.at_rest().await;
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_their_request_keeps_no_connection() {
    let target = Server::by_hand(|mut socket, _| async move {
        socket.head().await;
        _ = socket.send(LENGTH).await;
        socket.closed().await;
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    let head = "POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ncontent-length: 9\r\n\r\n";
    client.send(format!("{head}half")).await.unwrap();
    let head = client.head().await;
    assert_eq!(status(&head), 200);
    assert_eq!(field(&head, "connection"), Some("close"), "{head}");
    assert_eq!(client.exactly(2).await, b"ok");
    front.at_rest().await;
}

#[tokio::test]
async fn a_connection_is_kept_for_those_who_ask() {
    let (head, body) = asked("GET / HTTP/1.0\r\n\r\n", LENGTH).await;
    assert_eq!((field(&head, "content-length"), &*body), (Some("2"), "ok"));
    let twice = "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n";
    let (head, rest) = asked(twice, LENGTH).await;
    assert_eq!(field(&head, "connection"), Some("keep-alive"));
    let second = rest.strip_prefix("ok").unwrap();
    assert_eq!(status(second), 200);
    assert!(second.ends_with("\r\n\r\nok"), "{second}");
}

#[tokio::test]
async fn answers_without_a_body_are_the_same_to_them() {
    for answer in [
        "HTTP/1.1 204 No Content\r\netag: x\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
    ] {
        let (head, body) = asked("GET / HTTP/1.0\r\n\r\n", answer).await;
        assert_eq!((field(&head, "etag"), &*body), (Some("x"), ""));
        assert_eq!(field(&head, "transfer-encoding"), None);
    }
}

#[tokio::test]
async fn their_bodies_have_a_length_toward_the_target() {
    let target = Server::by_hand(|mut socket, _| async move {
        while let Some((head, body)) = socket.request().await {
            assert!(head.starts_with("POST / HTTP/1.1\r\n"), "{head}");
            assert_eq!(body, "hello");
            _ = socket.send(LENGTH).await;
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send("POST / HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello").await.unwrap();
    assert_eq!(client.answer().await.1, "ok");
    assert_eq!(client.rest().await, b"");
    front.at_rest().await;
}
