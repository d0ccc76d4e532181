//! Targets that answer before they have the body: what is left of it must not become a request, on
//! either side.

use std::sync::{Arc, Mutex};

use crate::{
    strict,
    support::{
        Front, Server,
        socket::{Socket, field, status},
    },
    target::{Answer, OF, Target, echo},
};

/// The end of a body that is a request of its own to whoever thinks the body ended before.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

const CANARY: &str = "GET /canary HTTP/1.1\r\nhost: a\r\n\r\n";

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Sends a head and the beginning of a body, gets the answer, and only then sends the end of the body
/// and another request.
async fn check(framing: &str, beginning: &'static str, end: &str) {
    let got = Arc::<Mutex<Vec<String>>>::default();
    let target = Server::by_hand({
        let got = Arc::clone(&got);
        move |mut socket, _| {
            let got = Arc::clone(&got);
            async move {
                let Some(head) = socket.try_head().await else { return };
                let mut all = head.into_bytes();
                let early = all.starts_with(b"POST");
                if early {
                    all.extend(socket.at_most(beginning.len()).await);
                    _ = socket.send(ANSWER).await;
                }
                let mut answered = !early;
                loop {
                    while let Some((request, length)) = strict::request(&all).unwrap() {
                        let (method, path) = request.request();
                        got.lock().unwrap().push(format!("{method} {path}"));
                        all.drain(..length);
                        if answered {
                            _ = socket.send(echo(&request).parts.concat()).await;
                        }
                        answered = true;
                    }
                    match &*socket.at_most(1).await {
                        [] => return,
                        part => all.extend(part),
                    }
                }
            }
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{beginning}");
    client.send(head).await.unwrap();
    let mut head = client.head().await;
    if status(&head) == 100 {
        head = client.head().await;
    }
    assert_eq!(status(&head), 200, "{framing}");
    client.exactly(2).await;

    // It may be closed already.
    _ = client.send(format!("{end}{CANARY}")).await;
    if let Some(head) = client.try_head().await {
        assert_eq!(field(&head, OF), Some("GET /canary"), "{framing}: {head}");
    }
    drop(client);
    front.at_rest().await;
    let got = got.lock().unwrap();
    let harmless = |request: &String| ["POST /", "GET /canary"].contains(&&**request);
    assert!(got.iter().all(harmless), "{framing}: {got:?}");
}

#[tokio::test]
async fn what_is_left_of_a_body_after_an_early_answer_is_no_request() {
    let length = format!("content-length: {}", 5 + SMUGGLED.len());
    let chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    check(&length, "hello", SMUGGLED).await;
    check("transfer-encoding: chunked", "5\r\nhello\r\n", &chunk).await;
    check(&format!("expect: 100-continue\r\n{length}"), "hello", SMUGGLED).await;
    // Nothing of the body was there.
    let length = format!("expect: 100-continue\r\ncontent-length: {}", SMUGGLED.len());
    check(&length, "", SMUGGLED).await;
    check("expect: 100-continue\r\ntransfer-encoding: chunked", "", &chunk).await;
}

/// A client that asks for a tunnel and does not wait for it. What it sends may be its next request, but
/// never goes to the target as it is.
#[tokio::test]
async fn what_comes_before_a_tunnel_is_there_goes_through_none() {
    for status_line in ["200 OK", "426 Upgrade Required", "403 Forbidden"] {
        let target = Target::answering(move |request| {
            let (method, path) = request.request();
            let head = format!("HTTP/1.1 {status_line}\r\n{OF}: {method} {path}\r\n");
            let answer = head + "content-length: 2\r\n\r\nok";
            Answer { parts: vec![answer.into_bytes()], end: false }
        })
        .await;
        let front = Front::of([target.address()]).await;
        let mut client = Socket::connect(front.address()).await;
        let asks = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.send(format!("{asks}{CANARY}")).await.unwrap();
        let head = client.head().await;
        assert_eq!(field(&head, OF), Some("GET /"), "{head}");
        client.exactly(2).await;
        // The connection may be closed, since it was to be a tunnel.
        if let Some(head) = client.try_head().await {
            assert_eq!(field(&head, OF), Some("GET /canary"), "{head}");
        }
        drop(client);
        front.at_rest().await;
        let seen = target.seen();
        assert_eq!(seen.rests, vec![], "{status_line}");
        for request in &seen.requests {
            // Who came through says where from.
            assert_eq!(request.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        }
    }
}
