//! Answers that come before their request is sent to the end: both can run at once, but when the
//! answer is complete, nothing more is sent, and neither connection carries another request.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::StreamBody;
use pointsman::Body;
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, unbounded_channel},
};
use tower::{BoxError, ServiceExt};

use crate::support::{
    Front, Server,
    socket::{Socket, field, status},
    soon, until,
};

const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
const SIZED: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n";

/// A target that answers as soon as it has a head, and then tells of its connection's end, when it
/// has read what came before.
struct Hasty {
    target: Server,
    left: UnboundedReceiver<Vec<u8>>,
}

impl Hasty {
    async fn of(parts: &'static [&'static str], go_on: &Arc<Notify>) -> Self {
        let (tell, left) = unbounded_channel();
        let go_on = Arc::clone(go_on);
        let target = Server::by_hand(move |mut socket, _| {
            let (tell, go_on) = (tell.clone(), Arc::clone(&go_on));
            async move {
                socket.head().await;
                for (number, part) in parts.iter().enumerate() {
                    if number > 0 {
                        go_on.notified().await;
                    }
                    _ = socket.send(part).await;
                }
                _ = tell.send(socket.rest().await);
            }
        })
        .await;
        Self { target, left }
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_closes_both_connections_when_it_is_complete() {
    let check = async |request: &str, parts: &'static [&'static str], body: &str| {
        let go_on = Arc::new(Notify::new());
        let mut hasty = Hasty::of(parts, &go_on).await;
        let front = Front::of([hasty.target.address]).await;
        let mut client = Socket::connect(front.address()).await;
        client.send(request).await.unwrap();
        let head = client.head().await;
        assert_eq!(status(&head), 200, "{request}");
        assert_eq!(field(&head, "connection"), Some("close"), "{head}");
        for _ in 1..parts.len() {
            go_on.notify_one();
        }
        // The upload is stalled, and neither side is ended by the client or the target.
        assert_eq!(client.rest().await, body.as_bytes());
        soon("the end at the target", hasty.left.recv()).await.unwrap();
        front.at_rest().await;
        let target = &front.group.status().targets[0];
        assert_eq!((target.answered, target.failed, target.connections_idle), (1, 0, 0));
        until("the client's connection is closed", || front.server.counts.open() == 0).await;
    };
    const EMPTY: &[&str] = &["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"];
    const LENGTH: &[&str] = &["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello", "world"];
    const CHUNKED: &[&str] =
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", "0\r\n\r\n"];
    const TRAILERS: &[&str] = &[
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-a\r\n\r\n5\r\nhello\r\n",
        "0\r\nx-a: 1\r\n\r\n",
    ];
    for request in [POST, SIZED] {
        check(request, EMPTY, "").await;
        check(request, LENGTH, "helloworld").await;
        check(request, CHUNKED, "5\r\nhello\r\n0\r\n\r\n").await;
        check(request, TRAILERS, "5\r\nhello\r\n0\r\n\r\n").await;
    }
}

/// Of HTTP/2 only a stream ends, and it has no word for that in its heads.
#[tokio::test]
async fn only_a_connection_that_ends_with_the_answer_is_said_to() {
    for (version, expected) in [
        (Version::HTTP_10, Some("close")),
        (Version::HTTP_11, Some("close")),
        (Version::HTTP_2, None),
    ] {
        let (go_on, parts) =
            (Arc::new(Notify::new()), &["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]);
        let mut hasty = Hasty::of(parts, &go_on).await;
        let front = Front::of([hasty.target.address]).await;
        let stalled = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        let mut request = Request::post("/").body(Body::new(StreamBody::new(stalled))).unwrap();
        *request.version_mut() = version;
        let response = soon("an answer", front.balancer.clone().oneshot(request)).await.unwrap();
        let said = response.headers().get("connection").map(|value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), said), (200, expected), "{version:?}");
        drop(response);
        soon("the end at the target", hasty.left.recv()).await.unwrap();
        front.at_rest().await;
    }
}

#[tokio::test]
async fn an_upload_goes_on_while_the_answer_does_and_no_longer() {
    let target = Server::answering(|request| async { Response::new(Body::new(request)) }).await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send(POST).await.unwrap();
    let head = client.head().await;
    assert_eq!(field(&head, "connection"), Some("close"));
    for part in ["5\r\nhello\r\n", "5\r\nworld\r\n", "0\r\n\r\n"] {
        client.send(part).await.unwrap();
        assert_eq!(client.exactly(part.len()).await, part.as_bytes());
    }
    assert_eq!(client.rest().await, b"");
    front.at_rest().await;
    // Nothing was left of it in the end, but that was not sure when the answer came.
    until("the target's connection is closed", || target.counts.open() == 0).await;
    assert_eq!(front.group.status().targets[0].answered, 1);
}

#[tokio::test]
async fn an_upload_that_is_answered_after_its_end_costs_no_connection() {
    let target = Server::by_hand(|mut socket, _| async move {
        while let Some(head) = socket.try_head().await {
            if field(&head, "transfer-encoding").is_some() {
                while !socket.exactly(1).await.ends_with(b"0") {}
                socket.exactly(4).await;
            } else {
                let length = field(&head, "content-length").unwrap();
                socket.exactly(length.parse().unwrap()).await;
            }
            socket.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    for _ in 0..20 {
        client.send(format!("{POST}5\r\nhello\r\n0\r\n\r\n")).await.unwrap();
        let (head, _) = client.answer().await;
        assert_eq!(field(&head, "connection"), None);
        until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
        let size = 200_000;
        let sized = format!("PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
        client.send(sized).await.unwrap();
        client.send(vec![b'x'; size]).await.unwrap();
        let (head, _) = client.answer().await;
        assert_eq!(field(&head, "connection"), None);
        until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
    }
    front.at_rest().await;
    assert_eq!((target.counts.opened(), front.server.counts.opened()), (1, 1));
}

/// It has not read what was sent to it, so its kernel resets the connection.
#[tokio::test]
async fn an_answer_reaches_the_client_though_its_target_closes_on_the_upload() {
    let check = async |answer: &'static str, body: &'static str| {
        let target = Server::by_hand(move |mut socket, _| async move {
            socket.head().await;
            socket.exactly(100_000).await;
            _ = socket.send(answer).await;
        })
        .await;
        let front = Front::of([target.address]).await;
        for _ in 0..10 {
            let mut client = Socket::connect(front.address()).await;
            client.send(SIZED).await.unwrap();
            // The connection to the target is full when it answers.
            let (mut read, mut write) = client.into_inner().into_split();
            let upload = tokio::spawn(async move {
                let part = vec![b'x'; 65_536];
                while tokio::io::AsyncWriteExt::write_all(&mut write, &part).await.is_ok() {}
            });
            let mut got = Vec::new();
            let read = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut got);
            _ = soon("the end", read).await;
            let got = String::from_utf8(got).unwrap();
            assert!(got.starts_with("HTTP/1.1 413 "), "{got:?}");
            assert!(got.ends_with(body), "{got:?}");
            upload.abort();
            front.at_rest().await;
        }
    };
    check("HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig", "\r\n\r\nbig").await;
    check(
        "HTTP/1.1 413 Too Large\r\ntransfer-encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n",
        "\r\n\r\n3\r\nbig\r\n0\r\n\r\n",
    )
    .await;
}
