//! The example when it has used up the descriptors that it may have.

use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::{
    ask,
    child::Gateway,
    document, fixed, forward, group, listener, rule,
    support::{
        Server,
        programs::Port,
        socket::{Socket, status},
        soon, until,
    },
};

/// Several times what it has before anybody connects.
const DESCRIPTORS: u32 = 40;

#[tokio::test]
async fn without_descriptors_it_serves_those_it_has_and_accepts_when_some_are_free() {
    let (target, port) = (Server::named("web").await, Port::reserve());
    let rules = [rule(1, "/web", &forward("web"))];
    let listeners = [listener(port.address.port(), &fixed("fixed"), &rules)];
    let lb = document(&[group("web", &[target.address])], &listeners);
    let mut gateway = Gateway::start_within(DESCRIPTORS, &lb, &[&port]).await;
    // Its check takes a descriptor too; no other is due before long.
    gateway.turned(&[target.address], "healthy").await;
    until("the check's connection is closed", || target.counts.open() == 0).await;

    // Whether the last one is still accepted cannot be known.
    let mut clients = Vec::new();
    let trouble = loop {
        clients.push(Socket::connect(port.address).await);
        tokio::select! {
            (_, body) = ask(clients.last_mut().unwrap(), "/") => assert_eq!(body, "fixed"),
            line = gateway.complaint_about("cannot accept") => break line,
        }
    };
    let last = clients.pop().unwrap();
    let address = port.address.to_string();
    for part in ["WARN", "os error 24", "times=1", &address] {
        assert!(trouble.contains(part), "{part}: {trouble}");
    }
    assert!((8..DESCRIPTORS as usize).contains(&clients.len()), "{}", clients.len());

    let mut waiting = Socket::connect(port.address).await;
    waiting.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await.unwrap();
    for client in &mut clients {
        assert_eq!(ask(client, "/").await.1, "fixed");
    }
    // To connect to the target would take a descriptor, for which that is not to blame.
    assert_eq!(status(&ask(&mut clients[0], "/web").await.0), 503);
    let said = gateway.complaint_about("request failed").await;
    let expected = format!("connect to {}: too many open files", target.address);
    assert!(said.contains(&expected), "{said}");
    // It is told again a second later, and not tried all the time.
    let trouble = gateway.complaint_about("cannot accept").await;
    let times = trouble.split("times=").nth(1).unwrap();
    assert!((2..=101).contains(&times.parse::<u32>().unwrap()), "{trouble}");
    assert!(waiting.try_head().now_or_never().is_none(), "accepted without a descriptor");

    clients.drain(..4);
    let freed = Instant::now();
    let (head, body) = soon("an answer", waiting.answer()).await;
    assert_eq!((status(&head), &*body), (200, "fixed"));
    assert!(freed.elapsed() < Duration::from_secs(1), "{:?}", freed.elapsed());

    // All else comes back as well.
    drop((clients, last));
    let web = async { while ask(&mut waiting, "/web").await.1 != "web" {} };
    soon("a connection to the target", web).await;
    gateway.signal("TERM").await;
    assert_eq!(gateway.ended().await.code(), Some(0));
}
