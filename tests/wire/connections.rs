//! How many connections to a target there may be, and how long each is used.

use std::{sync::Arc, time::Duration};

use http::Response;
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    error::{Error, Kind},
    proxy::HttpOptions,
};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::support::{
    Front, Server, client, get,
    programs::Port,
    socket::{Socket, status},
    soon, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn group(transport: Transport) -> TargetGroup {
    TargetGroup::builder("web").transport(transport).build().unwrap()
}

/// A target that answers with its name each time it is allowed to.
async fn held(name: &'static str) -> (Server, Arc<Semaphore>) {
    let go_on = Arc::new(Semaphore::new(0));
    let target = Server::answering({
        let go_on = Arc::clone(&go_on);
        move |_| {
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.acquire().await.unwrap().forget();
                Response::new(Body::from(name))
            }
        }
    })
    .await;
    (target, go_on)
}

async fn asked(front: &Front, target: &Server) -> Socket {
    let before = target.counts.requests();
    let mut client = Socket::connect(front.address()).await;
    client.send(GET).await.unwrap();
    until("it has come", || target.counts.requests() == before + 1).await;
    client
}

#[tokio::test]
async fn a_target_has_no_more_connections_than_it_may() {
    let (target, go_on) = held("one").await;
    let front = Front::with(group(Transport::new().connections_max(2)), [target.address]).await;
    for _ in 0..3 {
        let mut clients = [asked(&front, &target).await, asked(&front, &target).await];
        let answer = front.balancer.clone().oneshot(http::Request::new(Body::default()));
        let answer = answer.await.unwrap();
        let error = answer.extensions().get::<Error>().unwrap();
        assert_eq!((error.kind(), answer.status().as_u16()), (Kind::Saturated, 503));
        let expected = format!("every target is at its cap: {} has 2 connections", target.address);
        assert_eq!(error.to_string(), expected);
        go_on.add_permits(2);
        for client in &mut clients {
            assert_eq!(client.answer().await.1, "one");
        }
        until("both are kept", || front.group.status().targets[0].connections_idle == 2).await;
        front.at_rest().await;
        // That is nobody's fault.
        assert_eq!(front.group.status().targets[0].failed, 0);
    }
    assert_eq!(target.counts.opened(), 2);
}

#[tokio::test]
async fn a_request_that_finds_no_connection_goes_to_another_target() {
    let (one, go_on) = held("one").await;
    let two = Server::named("two").await;
    let front = Front::with(group(Transport::new().connections_max(1)), [one.address]).await;
    let mut waiting = asked(&front, &one).await;
    front.group.register(Target::new(two.address));
    let client = client();
    for _ in 0..6 {
        let idle =
            || front.group.status().target(&two.address.to_string()).unwrap().connections_idle;
        assert_eq!(get(&client, front.uri("/")).await, (200, "two".to_owned()));
        until("it is kept", || idle() == 1).await;
    }
    go_on.add_permits(1);
    assert_eq!(waiting.answer().await.1, "one");
    front.at_rest().await;
    assert_eq!((one.counts.opened(), two.counts.opened()), (1, 1));
}

#[tokio::test]
async fn places_come_back_however_a_connection_ends() {
    let transport = Transport::new().connections_max(1).connections_idle_max(0);
    // Refused.
    let port = Port::reserve();
    let front = Front::with(group(transport.clone()), [port.address]).await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(get(&client, front.uri("/")).await.0, 502);
    }
    // Not kept, and left by the client while it is waited for.
    let (target, go_on) = held("one").await;
    let front = Front::with(group(transport), [target.address]).await;
    for _ in 0..3 {
        let left = asked(&front, &target).await;
        drop(left);
        until("it is closed", || target.counts.open() == 0).await;
        front.at_rest().await;
        let mut stays = asked(&front, &target).await;
        go_on.add_permits(1);
        assert_eq!(status(&stays.head().await), 200);
        until("it is closed", || target.counts.open() == 0).await;
        front.at_rest().await;
    }
}

/// The address takes connections only as far as its queue goes, which is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_place_comes_back_when_connecting_is_given_up() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _queued = Socket::connect(address).await;
    let group = group(Transport::new().connections_max(1));
    group.register(Target::new(address));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    for _ in 0..3 {
        let answer = balancer.clone().oneshot(http::Request::new(Body::default()));
        let given_up = tokio::time::timeout(Duration::from_millis(50), answer).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
}

/// The same address.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn connecting_takes_no_longer_than_the_request_may() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _queued = Socket::connect(address).await;
    let group = group(Transport::new().connect_timeout(Duration::from_secs(3600)));
    group.register(Target::new(address));
    let balancer = LoadBalancer::builder()
        .http(HttpOptions::new().request_timeout(Duration::from_millis(50)))
        .build(RuleTable::forward_to(&group));
    let answer = balancer.oneshot(http::Request::new(Body::default()));
    let answer = soon("it is over", answer).await.unwrap();
    assert_eq!(answer.status(), 504);
}

#[tokio::test]
async fn a_connection_carries_so_many_requests_and_no_more() {
    let target = Server::named("one").await;
    let transport = Transport::new().requests_per_connection_max(3);
    let front = Front::with(group(transport), [target.address]).await;
    let client = client();
    for request in 0..9 {
        assert_eq!(get(&client, front.uri("/")).await, (200, "one".to_owned()));
        front.at_rest().await;
        let kept = usize::from(request % 3 != 2);
        let settled = || {
            (front.group.status().targets[0].connections_idle, target.counts.open()) == (kept, kept)
        };
        until("it is kept or closed", settled).await;
        assert_eq!(target.counts.opened(), request / 3 + 1);
    }
}

#[tokio::test]
async fn a_connection_is_closed_at_its_age_but_not_in_the_middle_of_an_answer() {
    const AGE: Duration = Duration::from_millis(100);
    let (target, go_on) = held("one").await;
    let front =
        Front::with(group(Transport::new().connection_age_max(AGE)), [target.address]).await;
    // Idle when its time comes.
    let mut client = asked(&front, &target).await;
    go_on.add_permits(1);
    assert_eq!(client.answer().await.1, "one");
    until("it is closed", || target.counts.open() == 0).await;
    // Busy.
    let mut client = asked(&front, &target).await;
    tokio::time::sleep(2 * AGE).await;
    go_on.add_permits(1);
    assert_eq!(client.answer().await.1, "one");
    until("it is closed", || target.counts.open() == 0).await;
    front.at_rest().await;
    assert_eq!((target.counts.opened(), target.counts.requests()), (2, 2));
}

#[test]
fn bounds_of_zero_are_refused() {
    let check = |transport: Transport, expected: &str| {
        let error = TargetGroup::builder("web").transport(transport).build().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let new = Transport::new;
    check(new().connections_max(0), "transport: connections_max 0: expected 1 or more");
    check(
        new().requests_per_connection_max(0),
        "transport: requests_per_connection_max 0: expected 1 or more",
    );
    check(
        new().connection_age_max(Duration::ZERO),
        "transport: connection_age_max 0s: expected more",
    );
}

#[tokio::test]
async fn many_at_once_never_pass_the_line() {
    const MAX: usize = 4;
    let target = Server::named("one").await;
    let front = Front::with(group(Transport::new().connections_max(MAX)), [target.address]).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (uri, target) = (front.uri("/"), Arc::clone(&target.counts));
        clients.spawn(async move {
            let client = client();
            let mut answered = 0;
            for _ in 0..20 {
                let (status, _) = get(&client, uri.clone()).await;
                assert!(matches!(status, 200 | 503), "{status}");
                assert!(target.open() <= MAX, "{}", target.open());
                answered += usize::from(status == 200);
            }
            answered
        });
    }
    let answered = soon("all", clients.join_all()).await.into_iter().sum::<usize>();
    front.at_rest().await;
    assert!(answered > 0);
    assert_eq!((target.counts.requests(), target.counts.opened()), (answered, MAX));
}

/// A tunnel's connection is open for as long as the tunnel is.
#[tokio::test]
async fn a_tunnel_takes_a_place() {
    let target = Server::by_hand(|mut socket, _| async move {
        let Some(head) = socket.try_head().await else { return };
        if head.contains("upgrade: websocket") {
            let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
            let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                          upgrade: websocket\r\n";
            _ = socket.send(format!("{answer}{accept}\r\n\r\n")).await;
            socket.closed().await;
        } else {
            _ = socket.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    let front = Front::with(group(Transport::new().connections_max(1)), [target.address]).await;
    let mut tunnel = Socket::connect(front.address()).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tunnel.send(request).await.unwrap();
    assert_eq!(status(&tunnel.head().await), 101);
    let client = client();
    assert_eq!(get(&client, front.uri("/")).await.0, 503);
    drop(tunnel);
    front.at_rest().await;
    until("its connection is closed", || target.counts.open() == 0).await;
    assert_eq!(get(&client, front.uri("/")).await.0, 200);
}
