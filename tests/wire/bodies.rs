//! Bodies go through as they come: every byte, at once, in both directions, and their trailers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use pointsman::Body;
use tokio::sync::{Notify, mpsc};
use tower::BoxError;

use crate::support::{
    Front, Server, client,
    socket::{Socket, status},
    soon,
};

/// A body of these frames, of unknown length.
fn streamed(frames: impl IntoIterator<Item = Frame<Bytes>, IntoIter: Send + 'static>) -> Body {
    let frames = stream::iter(frames).map(Ok::<_, BoxError>);
    Body::new(StreamBody::new(frames))
}

/// A body of what is sent over a channel.
fn sent(parts: mpsc::UnboundedReceiver<&'static str>) -> Body {
    let frames = stream::unfold(parts, |mut parts| async {
        let part = parts.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(part.as_bytes()))), parts))
    });
    Body::new(StreamBody::new(frames))
}

async fn echo() -> Server {
    Server::answering(|request| async { Response::new(Body::new(request.into_body())) }).await
}

#[tokio::test]
async fn ten_mebibytes_come_back_as_they_went() {
    // No part of it is like another.
    let all = (0..10 * 1024 * 1024_u32 / 4).flat_map(u32::to_le_bytes).collect::<Vec<_>>();
    let all = Bytes::from(all);
    let (echo, client) = (echo().await, client());
    let front = Front::of([echo.address]).await;
    let parts = (0..all.len()).step_by(10_007);
    let parts = parts.map(|at| all.slice(at..all.len().min(at + 10_007))).map(Frame::data);
    let bodies = [Body::from(all.clone()), streamed(parts.collect::<Vec<_>>())];
    for (body, length) in bodies.into_iter().zip([Some(all.len() as u64), None]) {
        let request = Request::post(front.uri("/")).body(body).unwrap();
        let response = soon("an answer", client.request(request)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), length);
        let back = soon("the body", response.into_body().collect()).await.unwrap().to_bytes();
        assert!(back == all);
        front.at_rest().await;
    }
    assert_eq!(front.group.status().targets[0].answered, 2);
}

#[tokio::test]
async fn each_part_of_an_answer_reaches_the_client_before_the_next_is_there() {
    let (send, parts) = mpsc::unbounded_channel();
    let parts = Arc::new(std::sync::Mutex::new(Some(parts)));
    let target = Server::answering(move |_| {
        let parts = parts.lock().unwrap().take().unwrap();
        async { Response::new(sent(parts)) }
    })
    .await;
    let front = Front::of([target.address]).await;
    let request = Request::get(front.uri("/")).body(Body::default()).unwrap();
    let mut response = soon("the head", client().request(request)).await.unwrap();
    for part in ["one", "two", "three"] {
        send.send(part).unwrap();
        let frame = soon("a part", response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    assert_eq!(front.group.status().in_flight(), 1);
    drop(send);
    assert!(soon("the end", response.frame()).await.is_none());
    front.at_rest().await;
}

#[tokio::test]
async fn each_part_of_a_request_reaches_the_target_before_the_next_is_there() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let target = Server::answering(move |mut request: Request<Incoming>| {
        let tell = tell.clone();
        async move {
            while let Some(frame) = request.frame().await {
                tell.send(frame.unwrap().into_data().unwrap()).unwrap();
            }
            Response::new(Body::from("ok"))
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let (send, parts) = mpsc::unbounded_channel();
    let request = Request::post(front.uri("/")).body(sent(parts)).unwrap();
    let answer = tokio::spawn(client().request(request));
    for part in ["one", "two", "three"] {
        send.send(part).unwrap();
        assert_eq!(soon("a part", told.recv()).await.unwrap(), part);
    }
    assert!(!answer.is_finished());
    drop(send);
    let response = soon("the answer", answer).await.unwrap().unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    front.at_rest().await;
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_request_is_passed_on_at_once() {
    let echo = echo().await;
    let front = Front::of([echo.address]).await;
    let (send, parts) = mpsc::unbounded_channel();
    let request = Request::post(front.uri("/")).body(sent(parts)).unwrap();
    let mut response = soon("the head", client().request(request)).await.unwrap();
    for part in ["one", "two", "three"] {
        send.send(part).unwrap();
        let frame = soon("a part", response.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    drop(send);
    assert!(soon("the end", response.frame()).await.is_none());
    front.at_rest().await;
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_reaches_the_client() {
    let refuse = Arc::new(Notify::new());
    let target = Server::by_hand({
        let refuse = Arc::clone(&refuse);
        move |mut socket, _| {
            let refuse = Arc::clone(&refuse);
            async move {
                socket.head().await;
                refuse.notified().await;
                let refusal = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\
                               connection: close\r\n\r\nbig";
                socket.send(refusal).await.unwrap();
            }
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000000\r\n\r\n";
    client.send(head).await.unwrap();
    client.send(vec![b'x'; 10_000]).await.unwrap();
    refuse.notify_one();
    let (head, body) = client.answer().await;
    assert_eq!((status(&head), &*body), (413, "big"));
    drop(client);
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].answered, 1);
}

/// What the balancer may hold of an answer that nobody takes: one read of hyper's on the side of the
/// target, one that waits for the side of the client, and there what is written at once, to which one
/// more read may be added. None of them is larger than hyper's own bound of 408 KiB.
#[cfg(target_os = "linux")]
const HELD_MAX: usize = 4 * 408 * 1024;

/// All tasks run on the thread of the test, so nothing of ours moves while it looks.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "current_thread")]
async fn what_a_client_does_not_take_is_left_with_the_target() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncWriteExt;

    use crate::{queues::Queues, support::socket::keep_little};
    for head in ["content-length: 1000000000", "transfer-encoding: chunked", "connection: close"] {
        let (tell, mut told) = mpsc::unbounded_channel();
        let given = Arc::new(AtomicUsize::new(0));
        let target = Server::accept(([127, 0, 0, 1], 0).into(), {
            let given = Arc::clone(&given);
            move |stream, peer, _| {
                let (tell, given) = (tell.clone(), Arc::clone(&given));
                async move {
                    keep_little(&stream);
                    tell.send((stream.local_addr().unwrap(), peer)).unwrap();
                    let mut socket = Socket::new(stream);
                    socket.head().await;
                    let mut head = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
                    // One chunk without end is enough.
                    if head.contains("chunked") {
                        head += "3b9aca00\r\n";
                    }
                    given.fetch_add(head.len(), Ordering::Relaxed);
                    socket.send(head).await.unwrap();
                    let mut stream = socket.into_inner();
                    let part = vec![b'x'; 16 * 1024];
                    while let Ok(written) = stream.write(&part).await {
                        given.fetch_add(written, Ordering::Relaxed);
                    }
                }
            }
        })
        .await;
        let front = Front::of([target.address]).await;
        let server = Server::balancing_closely(&front.balancer).await;
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        keep_little(&stream);
        let client = (stream.local_addr().unwrap(), server.address);
        let mut socket = Socket::new(stream);
        socket.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let from = soon("a connection to the target", told.recv()).await.unwrap();
        let ends = [from, (from.1, from.0), (client.1, client.0), client];
        // Returns what the balancer holds, and whether there is more that it could take.
        let held = || {
            let queues = Queues::at_rest(ends);
            let [at_target, toward_target, toward_client, at_client] = queues;
            let kept = at_target.unsent + toward_target.unread;
            let kept = kept + toward_client.unsent + at_client.unread;
            // What is there and not yet confirmed is kept at both ends.
            let held = given.load(Ordering::Relaxed).saturating_sub(kept);
            assert!(held <= HELD_MAX, "{head}: {held} bytes are held, {queues:?}");
            (held, toward_target.unread > 0)
        };
        // It is full when all tasks had many turns and none took what is there.
        let full = async {
            loop {
                let before = (given.load(Ordering::Relaxed), held());
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                let after = (given.load(Ordering::Relaxed), held());
                if before == after && matches!(after, (_, (_, true))) {
                    return after.1.0;
                }
            }
        };
        let held = soon("the balancer takes no more", full).await;
        println!("{head}: {held} bytes are held for a client that reads nothing");
        assert_eq!(status(&socket.head().await), 200);
        socket.exactly(64 * 1024).await;
        drop(socket);
        crate::support::until("its connection is closed", || target.counts.open() == 0).await;
        front.at_rest().await;
    }
}

fn sum() -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([(
        "x-sum".parse().unwrap(),
        HeaderValue::from_static("42"),
    )]))
}

#[tokio::test]
async fn trailers_of_an_answer_reach_the_client_that_takes_them() {
    let target = Server::answering(|_| async {
        let body = streamed([Frame::data(Bytes::from_static(b"body")), sum()]);
        let mut response = Response::new(body);
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        response
    })
    .await;
    let front = Front::of([target.address]).await;
    for (te, end) in [("te: trailers\r\n", "x-sum: 42\r\n"), ("te: gzip\r\n", ""), ("", "")] {
        let mut client = Socket::connect(front.address()).await;
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{te}\r\n");
        client.send(request).await.unwrap();
        assert_eq!(status(&client.head().await), 200);
        let body = String::from_utf8(client.rest().await).unwrap();
        assert_eq!(body, format!("4\r\nbody\r\n0\r\n{end}\r\n"), "{te:?}");
        front.at_rest().await;
    }
    assert_eq!(front.group.status().targets[0].answered, 3);
}

#[tokio::test]
async fn trailers_of_a_request_reach_the_target() {
    let target = Server::answering(|request: Request<Incoming>| async {
        let body = request.into_body().collect().await.unwrap();
        let sum = body.trailers().and_then(|trailers| trailers.get("x-sum").cloned());
        Response::new(Body::from(format!("{:?} {sum:?}", body.to_bytes())))
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client
        .send(
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n",
        )
        .await
        .unwrap();
    let (_, body) = client.answer().await;
    assert_eq!(body, r#"b"body" Some("42")"#);
    front.at_rest().await;
}
