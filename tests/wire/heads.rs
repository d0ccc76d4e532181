//! How much may come before an answer's body: the size of its head, its fields, and the interim
//! answers (1xx) before it, which reach no client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use pointsman::{Target, TargetGroup, endpoint::Transport, error::Kind};
use tokio::task::JoinSet;

use super::deadlines::error_of;
use crate::support::{
    Front, Server,
    socket::{Socket, field, status},
    until,
};

/// A target that sends this again and again, and says how many bytes of it were taken.
async fn endless(head: &'static str, again: &'static str) -> (Server, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let target = Server::by_hand({
        let taken = Arc::clone(&taken);
        move |mut socket, _| {
            let taken = Arc::clone(&taken);
            async move {
                socket.request().await;
                _ = socket.send(head).await;
                while socket.send(again).await.is_ok() {
                    taken.fetch_add(again.len(), Ordering::SeqCst);
                }
            }
        }
    })
    .await;
    (target, taken)
}

#[tokio::test]
async fn what_never_comes_to_an_answer_is_502_and_ends_the_connection() {
    // What the kernel's buffers hold and one read of hyper's.
    const TAKEN_MAX: usize = 16 * 1024 * 1024;
    let check = async |head, again, expected: &str| {
        let (target, taken) = endless(head, again).await;
        let group = TargetGroup::builder("web").build().unwrap();
        group.register(Target::new(target.address));
        let error = error_of(&group, Request::get("/")).await;
        assert_eq!((error.kind(), error.status().as_u16()), (Kind::Exchange, 502));
        assert_eq!(error.to_string(), format!("the exchange with the target broke: {expected}"));
        until("the target's connection is closed", || target.counts.open() == 0).await;
        let taken = taken.load(Ordering::SeqCst);
        println!("{head:?} {again:?}: {taken} bytes were taken");
        assert!(taken < TAKEN_MAX, "{taken}");
    };
    const LARGE: &str = "message head is too large";
    const MUCH: &str = "the target sent too much before the head of its answer";
    check("HTTP/1.1 200 OK\r\n", "a: b\r\n", LARGE).await;
    check("HTTP/1.1 200 OK\r\na: ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", LARGE).await;
    check("HTTP/1.1 200 ", "OK", LARGE).await;
    check("", "HTTP/1.1 100 Continue\r\n\r\n", MUCH).await;
    check("", "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n", MUCH).await;
    check("", "HTTP/1.1 199 Own\r\na: b\r\n\r\n", MUCH).await;
    check("", "\r\n\r\n", LARGE).await;
}

#[tokio::test]
async fn a_head_may_be_32_kib_and_have_256_fields() {
    let check = async |head: String, fits: bool| {
        let length = head.len();
        let target = Server::by_hand(move |mut socket, _| {
            let head = head.clone();
            async move {
                while socket.request().await.is_some() {
                    _ = socket.send(&head).await;
                }
            }
        })
        .await;
        let front = Front::of([target.address]).await;
        let mut client = Socket::connect(front.address()).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (head, _) = client.answer().await;
        assert_eq!(status(&head), if fits { 200 } else { 502 }, "{length}");
        front.at_rest().await;
        let kept = || front.group.status().targets[0].connections_idle == usize::from(fits);
        until("it is kept or closed", || kept() && target.counts.open() == usize::from(fits)).await;
    };
    let of_size = |size: usize| {
        let rest = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\na: \r\n\r\n";
        rest.replace("a: ", &format!("a: {}", "x".repeat(size - rest.len())))
    };
    check(of_size(32 * 1024), true).await;
    check(of_size(32 * 1024 + 1), false).await;
    let with_fields = |count: usize| {
        let fields = "a: b\r\n".repeat(count - 1);
        format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{fields}\r\n")
    };
    check(with_fields(256), true).await;
    check(with_fields(257), false).await;
}

/// hyper's server sends none but the 100 of its own making.
#[tokio::test]
async fn interim_answers_reach_no_client() {
    let target = Server::by_hand(|mut socket, _| async move {
        while socket.request().await.is_some() {
            let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n".repeat(10);
            _ = socket.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            _ = socket.send("HTTP/1.1 102 Processing\r\n\r\n").await;
            _ = socket.send(interim).await;
            _ = socket.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n",
        "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    ] {
        client.send(request).await.unwrap();
        let (head, body) = client.answer().await;
        assert_eq!((status(&head), &*body), (200, "ok"), "{request}");
        assert_eq!(field(&head, "link"), None);
    }
    front.at_rest().await;
    assert_eq!(target.counts.opened(), 1);
}

#[tokio::test]
async fn interim_answers_and_then_nothing_are_504() {
    let target = Server::by_hand(|mut socket, _| async move {
        socket.request().await;
        _ = socket.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 O").await;
        socket.closed().await;
    })
    .await;
    let transport = Transport::new().answer_timeout(Duration::from_millis(50));
    let group = TargetGroup::builder("web").transport(transport).build().unwrap();
    group.register(Target::new(target.address));
    let error = error_of(&group, Request::get("/")).await;
    assert_eq!((error.kind(), error.status().as_u16()), (Kind::AnswerTimeout, 504));
    until("the target's connection is closed", || target.counts.open() == 0).await;
}

/// A body may come at once with its head, and far more of it than a head may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_is_no_head() {
    const SIZE: usize = 2 * 1024 * 1024;
    let target = Server::by_hand(|mut socket, _| async move {
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n");
        let answer = answer + &"x".repeat(SIZE);
        while socket.request().await.is_some() {
            if socket.send(&answer).await.is_err() {
                return;
            }
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    for _ in 0..30 {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let (head, body) = client.answer().await;
        assert_eq!((status(&head), body.len()), (200, SIZE));
    }
    front.at_rest().await;
    assert_eq!(target.counts.opened(), 1);
}

/// Such an answer may be over, and its connection used again, before the one who waits for its head has
/// his turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_come_in_one_piece_are_no_heads_that_are_too_long() {
    let target = Server::by_hand(|mut socket, _| async move {
        let size = 100 * 1024;
        let answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n") + &"x".repeat(size);
        while socket.request().await.is_some() {
            socket.send(&answer).await.unwrap();
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let address = front.address();
        clients.spawn(async move {
            let mut socket = Socket::connect(address).await;
            for _ in 0..50 {
                socket.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                assert_eq!(status(&socket.answer().await.0), 200);
            }
        });
    }
    clients.join_all().await;
    front.at_rest().await;
}
