//! Connections that are kept: what if one turns out to be closed, how many are kept, and how long.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use pointsman::{Body, LoadBalancer, RuleTable, Target, TargetGroup, endpoint::Transport};
use tokio::{
    sync::{Barrier, Notify},
    task::JoinSet,
};
use tower::{ServiceExt, service_fn};

use crate::support::{
    Front, MANY_SOCKETS, Server, at_rest, client, fetch, get, socket::Socket, soon, until,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n";

/// How often each request line arrived at a target.
type Arrived = Arc<Mutex<BTreeMap<String, usize>>>;

fn note(arrived: &Arrived, head: &str) {
    let line = head.lines().next().unwrap().to_owned();
    *arrived.lock().unwrap().entry(line).or_default() += 1;
}

fn arrivals(arrived: &Arrived, method: &Method, path: &str) -> usize {
    let line = format!("{method} {path} HTTP/1.1");
    arrived.lock().unwrap().get(&line).copied().unwrap_or(0)
}

/// Sends 600 requests to a target that promises to keep its connections and closes each after one
/// answer; returns how often each arrived, and its status.
async fn to_a_silent_closer(method: Method, body: &'static str) -> Vec<(usize, u16)> {
    let arrived = Arrived::default();
    let target = Server::by_hand({
        let arrived = Arc::clone(&arrived);
        move |mut socket, _| {
            let arrived = Arc::clone(&arrived);
            async move {
                let Some((head, _)) = socket.request().await else { return };
                note(&arrived, &head);
                _ = socket.send(OK).await;
            }
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (method, uri) = (method.clone(), front.uri(""));
        clients.spawn(async move {
            let client = client();
            let mut statuses = Vec::new();
            for each in 0..75 {
                let path = format!("/{number}/{each}");
                let request = Request::builder().method(method.clone()).uri(format!("{uri}{path}"));
                let (head, _) = fetch(&client, request.body(Body::from(body)).unwrap()).await;
                statuses.push((path, head.status.as_u16()));
            }
            statuses
        });
    }
    let statuses = clients.join_all().await.into_iter().flatten();
    front.at_rest().await;
    statuses.map(|(path, status)| (arrivals(&arrived, &method, &path), status)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_closes_silently_after_each_answer_costs_no_get() {
    for (arrivals, status) in to_a_silent_closer(Method::GET, "").await {
        assert_eq!((arrivals, status), (1, 200));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_closes_silently_after_each_answer_never_gets_a_post_twice() {
    let all = to_a_silent_closer(Method::POST, "body").await;
    let lost = all.iter().filter(|post| **post == (0, 502)).count();
    println!("{lost} of {} POSTs were 502", all.len());
    assert!(all.iter().all(|post| matches!(post, (1, 200) | (0, 502))), "{all:?}");
}

/// A target answers the first request of each connection and closes at the second, having read it.
#[tokio::test]
async fn a_connection_that_ends_with_the_next_request_costs_only_what_may_not_be_sent_twice() {
    let arrived = Arrived::default();
    let target = Server::by_hand({
        let arrived = Arc::clone(&arrived);
        move |mut socket, _| {
            let arrived = Arc::clone(&arrived);
            async move {
                let Some((head, _)) = socket.request().await else { return };
                note(&arrived, &head);
                _ = socket.send(OK).await;
                let Some((head, _)) = socket.request().await else { return };
                note(&arrived, &head);
            }
        }
    })
    .await;
    let (front, client) = (Front::of([target.address]).await, client());
    for (number, (method, body, expected)) in [
        (Method::GET, "", (200, 2)),
        (Method::HEAD, "", (200, 2)),
        (Method::OPTIONS, "", (200, 2)),
        (Method::DELETE, "", (200, 2)),
        (Method::PUT, "", (200, 2)),
        // Its body is gone with the first attempt.
        (Method::PUT, "body", (502, 1)),
        (Method::POST, "", (502, 1)),
        (Method::POST, "body", (502, 1)),
        (Method::PATCH, "", (502, 1)),
    ]
    .into_iter()
    .enumerate()
    {
        // Whatever is kept from before is used up, and one fresh connection is kept.
        let opened = target.counts.opened();
        until("a connection is fresh", || front.group.status().targets[0].connections_idle == 0)
            .await;
        assert_eq!(get(&client, front.uri("/first")).await.0, 200);
        until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
        assert_eq!(target.counts.opened(), opened + 1);

        let path = format!("/{number}");
        let request = Request::builder().method(&method).uri(front.uri(&path));
        let (head, _) = fetch(&client, request.body(Body::from(body)).unwrap()).await;
        let seen = (head.status.as_u16(), arrivals(&arrived, &method, &path));
        assert_eq!(seen, expected, "{method} {body:?}");
        if expected.0 == 200 {
            // The fresh connection of the repair is used up as well.
            until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
            let request = Request::post(front.uri("/last")).body(Body::default()).unwrap();
            assert_eq!(fetch(&client, request).await.0.status, 502);
        }
        front.at_rest().await;
    }
}

/// A target that answers its first request, and is gone for good when it has the second.
async fn mortal(arrived: &Arrived) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::clone(arrived);
    tokio::spawn(async move {
        let mut socket = Socket::new(listener.accept().await.unwrap().0);
        socket.request().await.unwrap();
        socket.send(OK).await.unwrap();
        note(&arrived, &socket.request().await.unwrap().0);
        // Before its connection, so that no other takes that one's place.
        drop(listener);
    });
    address
}

#[tokio::test]
async fn a_request_that_ends_its_targets_ends_two_at_most() {
    let arrived = Arrived::default();
    let targets = [mortal(&arrived).await, mortal(&arrived).await, mortal(&arrived).await];
    let (front, client) = (Front::of(targets).await, client());
    for _ in targets {
        assert_eq!(get(&client, front.uri("/first")).await.0, 200);
    }
    let idle = || front.group.status().targets.iter().all(|target| target.connections_idle == 1);
    until("all connections are kept", idle).await;
    assert_eq!(get(&client, front.uri("/deadly")).await.0, 502);
    assert_eq!(arrivals(&arrived, &Method::GET, "/deadly"), 2);
    // The one that is left.
    assert_eq!(get(&client, front.uri("/deadly")).await.0, 502);
    assert_eq!(arrivals(&arrived, &Method::GET, "/deadly"), 3);
    front.at_rest().await;
}

/// What earlier layers left with a request, whoever picks and answers sees on each attempt.
#[tokio::test]
async fn a_lost_request_goes_to_another_target_with_its_extensions() {
    let arrived = Arrived::default();
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::new(mortal(&arrived).await));
    let told = |request: Request<Body>| async move {
        let told = request.extensions().get::<&str>().copied().unwrap_or("nothing");
        Ok::<_, Infallible>(Response::new(Body::from(told)))
    };
    group.register(Target::service("local", service_fn(told)));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let ask = async || {
        let request = Request::get("/").extension("kept").body(Body::default()).unwrap();
        let body = balancer.clone().oneshot(request).await.unwrap().into_body();
        soon("an answer", body.collect()).await.unwrap().to_bytes()
    };
    assert_eq!(ask().await, "");
    until("it is kept", || group.status().targets[0].connections_idle == 1).await;
    assert_eq!(ask().await, "kept");
    // By the first target, which ends with it, and then by the second.
    assert_eq!(ask().await, "kept");
    assert_eq!(arrivals(&arrived, &Method::GET, "/"), 1);
    at_rest(&group).await;
}

/// How a target that ends treats its connections, the one before the other: so many requests each
/// reads, of which it answers all but the last.
async fn ending(arrived: &Arrived, connections: &'static [usize]) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let arrived = Arc::clone(arrived);
    tokio::spawn(async move {
        for requests in connections {
            let mut socket = Socket::new(listener.accept().await.unwrap().0);
            for left in (0..*requests).rev() {
                let Some((head, _)) = socket.request().await else { break };
                note(&arrived, &head);
                if left > 0 {
                    socket.send(OK).await.unwrap();
                }
            }
        }
    });
    address
}

/// The kernel of a process that was killed may let in what nobody will read any more.
#[tokio::test]
async fn what_is_lost_on_a_new_connection_goes_to_another_target_if_kept_ones_were_dropped() {
    let check = async |method: Method, connections, kept, expected: (u16, usize)| {
        let arrived = Arrived::default();
        let steady = Server::by_hand({
            let arrived = Arc::clone(&arrived);
            move |mut socket, _| {
                let arrived = Arc::clone(&arrived);
                async move {
                    while let Some((head, _)) = socket.request().await {
                        note(&arrived, &head);
                        _ = socket.send(OK).await;
                    }
                }
            }
        })
        .await;
        let ending = ending(&arrived, connections).await;
        let (front, client) = (Front::of([ending, steady.address]).await, client());
        for _ in 0..2 * kept {
            assert_eq!(get(&client, front.uri("/first")).await.0, 200);
        }
        let request = Request::builder().method(&method).uri(front.uri("/lost"));
        let (head, _) = fetch(&client, request.body(Body::default()).unwrap()).await;
        let seen = (head.status.as_u16(), arrivals(&arrived, &method, "/lost"));
        assert_eq!(seen, expected, "{method} {connections:?}");
        front.at_rest().await;
    };
    // Over the kept connection, over a new one, and by the other target.
    check(Method::GET, &[2, 1], 1, (200, 3)).await;
    check(Method::POST, &[2, 1], 1, (502, 1)).await;
    // No connection was kept, so that none was dropped: this target resets whatever it gets.
    check(Method::GET, &[1], 0, (502, 1)).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_its_head_is_not_asked_for_again() {
    let target = Server::by_hand(|mut socket, counts| async move {
        while socket.request().await.is_some() {
            counts.requests.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if counts.requests() == 1 {
                _ = socket.send(OK).await;
            } else {
                _ = socket.send("HTTP/1.1 200 O").await;
                return;
            }
        }
    })
    .await;
    let (front, client) = (Front::of([target.address]).await, client());
    assert_eq!(get(&client, front.uri("/")).await.0, 200);
    assert_eq!(get(&client, front.uri("/")).await.0, 502);
    assert_eq!((target.counts.requests(), target.counts.opened()), (2, 1));
    front.at_rest().await;
}

const FORGED: &str = "HTTP/1.1 200 OK\r\nx-forged: 1\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn bytes_after_an_answer_never_become_another() {
    let check = async |method: Method, answer: &'static str| {
        let target = Server::by_hand(move |mut socket, _| async move {
            while socket.request().await.is_some() {
                _ = socket.send(answer).await;
            }
        })
        .await;
        let (front, client) = (Front::of([target.address]).await, client());
        for count in 1..=3 {
            let request = Request::builder().method(&method).uri(front.uri("/"));
            let (head, _) = fetch(&client, request.body(Body::default()).unwrap()).await;
            assert_eq!(head.status, 200, "{method} {answer:?}");
            assert!(!head.headers.contains_key("x-forged"));
            until("its connection is closed", || target.counts.open() == 0).await;
            assert_eq!(target.counts.opened(), count);
        }
        front.at_rest().await;
    };
    let after = |answer| &*format!("HTTP/1.1 200 OK\r\n{answer}{FORGED}").leak();
    check(Method::HEAD, after("content-length: 72\r\n\r\n")).await;
    check(Method::GET, after("content-length: 2\r\n\r\nok")).await;
    check(Method::GET, after("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")).await;
}

#[tokio::test]
async fn bytes_on_an_idle_connection_end_it_and_are_nobodys_answer() {
    for bytes in
        [FORGED, "HTTP/1.1 408 Request Timeout\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "\r\n"]
    {
        let forge = Arc::new(Notify::new());
        let target = Server::by_hand({
            let forge = Arc::clone(&forge);
            move |mut socket, _| {
                let forge = Arc::clone(&forge);
                async move {
                    while socket.request().await.is_some() {
                        _ = socket.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                        forge.notified().await;
                        _ = socket.send(bytes).await;
                    }
                }
            }
        })
        .await;
        let (front, client) = (Front::of([target.address]).await, client());
        for count in 1..=3 {
            assert_eq!(get(&client, front.uri("/")).await, (200, "ok".into()), "{bytes:?}");
            let idle = || front.group.status().targets[0].connections_idle == 1;
            until("it is idle", idle).await;
            forge.notify_one();
            until("its connection is closed", || target.counts.open() == 0).await;
            assert_eq!(target.counts.opened(), count, "{bytes:?}");
        }
        front.at_rest().await;
        assert_eq!(front.group.status().targets[0].answered, 3, "{bytes:?}");
    }
}

/// Sends 200 requests at once, each over a connection of its own, to a target that answers when all
/// are there.
async fn after_200_at_once(transport: Transport) -> (Server, TargetGroup) {
    const AT_ONCE: usize = 200;
    let together = Arc::new(Barrier::new(AT_ONCE));
    let target = Server::answering(move |_| {
        let together = Arc::clone(&together);
        async move {
            together.wait().await;
            Response::new(Body::from("ok"))
        }
    })
    .await;
    let group = TargetGroup::builder("web").transport(transport).build().unwrap();
    group.register(Target::new(target.address));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let answer = balancer.clone().oneshot(Request::new(Body::default()));
        clients.spawn(async { answer.await.unwrap().into_body().collect().await.unwrap() });
    }
    soon("all answers", clients.join_all()).await;
    assert_eq!(target.counts.opened(), AT_ONCE);
    at_rest(&group).await;
    (target, group)
}

#[tokio::test]
async fn idle_connections_to_a_target_are_bounded() {
    let _alone = MANY_SOCKETS.lock().await;
    let check = async |transport: Transport, max: usize| {
        let (target, group) = after_200_at_once(transport).await;
        let idle = || group.status().targets[0].connections_idle;
        until("the rest is closed", || (target.counts.open(), idle()) == (max, max)).await;
    };
    check(Transport::new(), 64).await;
    check(Transport::new().connections_idle_max(5), 5).await;
    check(Transport::new().connections_idle_max(0), 0).await;
}

#[tokio::test]
async fn idle_connections_are_closed_after_their_time() {
    let _alone = MANY_SOCKETS.lock().await;
    let timeout = Duration::from_millis(50);
    let (target, group) =
        after_200_at_once(Transport::new().connection_idle_timeout(timeout)).await;
    until("all are closed", || target.counts.open() == 0).await;
    assert_eq!(group.status().targets[0].connections_idle, 0);
}

#[tokio::test]
async fn a_connection_that_waits_for_an_answer_is_not_idle() {
    const TIMEOUT: Duration = Duration::from_millis(50);
    let target = Server::by_hand(|mut socket, _| async move {
        while let Some((head, _)) = socket.request().await {
            if head.contains("/slow") {
                tokio::time::sleep(4 * TIMEOUT).await;
            }
            _ = socket.send(OK).await;
        }
    })
    .await;
    let transport = Transport::new().connection_idle_timeout(TIMEOUT);
    let group = TargetGroup::builder("web").transport(transport).build().unwrap();
    let (front, client) = (Front::with(group, [target.address]).await, client());
    assert_eq!(get(&client, front.uri("/")).await.0, 200);
    assert_eq!(get(&client, front.uri("/slow")).await.0, 200);
    front.at_rest().await;
    until("it is closed in the end", || target.counts.open() == 0).await;
}

/// hyper would write the upload in the version of that answer, without its body.
#[tokio::test]
async fn an_upload_of_unknown_length_arrives_whole_after_an_answer_of_http_1_0() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let target = Server::by_hand(move |mut socket, _| {
        let tell = tell.clone();
        async move {
            while let Some(head) = socket.try_head().await {
                let is_upload = head.starts_with("POST");
                let rest = if is_upload { socket.first(15).await } else { Vec::new() };
                _ = tell.send(head.lines().next().unwrap().to_owned());
                _ = tell.send(String::from_utf8(rest).unwrap());
                let answer =
                    "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
                _ = socket.send(answer).await;
            }
        }
    })
    .await;
    let front = Front::of([target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    client.answer().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    client.send(format!("{head}5\r\nhello\r\n0\r\n\r\n")).await.unwrap();
    client.answer().await;
    let expected = ["GET / HTTP/1.1", "", "POST / HTTP/1.1", "5\r\nhello\r\n0\r\n\r\n"];
    for expected in expected {
        assert_eq!(told.recv().await.unwrap(), expected);
    }
}
