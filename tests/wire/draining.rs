//! A target that is deregistered: what is in flight goes on, but not for ever, and nothing new comes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use pointsman::{Body, Target, TargetGroup, health::State};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};

use crate::support::{
    Front, Server, client, get,
    programs::Port,
    socket::{Socket, status},
    soon, until,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Long enough that nothing is cut while a test looks at it.
const LONG: Duration = Duration::from_secs(300);

/// Short enough to be waited for.
const SHORT: Duration = Duration::from_millis(200);

/// A target that sends each part of an answer when it is allowed to, on every connection.
struct Held {
    target: Server,
    go_on: Arc<Semaphore>,
}

impl Held {
    async fn of(parts: &'static [&'static str]) -> Self {
        let go_on = Arc::new(Semaphore::new(0));
        let target = Server::by_hand({
            let go_on = Arc::clone(&go_on);
            move |mut socket, counts| {
                let go_on = Arc::clone(&go_on);
                async move {
                    while socket.request().await.is_some() {
                        counts.requests.fetch_add(1, Ordering::SeqCst);
                        for part in parts {
                            tokio::select! {
                                permit = go_on.acquire() => permit.unwrap().forget(),
                                () = socket.closed() => return,
                            }
                            _ = socket.send(part).await;
                        }
                    }
                }
            }
        })
        .await;
        Self { target, go_on }
    }

    fn go_on(&self) {
        self.go_on.add_permits(1);
    }

    async fn front(&self, delay: Duration) -> Front {
        let group = TargetGroup::builder("web").deregistration_delay(delay).build().unwrap();
        Front::with(group, [self.target.address]).await
    }

    /// Sends a request, which is at the target afterwards.
    async fn asked_by(&self, front: &Front) -> Socket {
        let before = self.target.counts.requests();
        let mut client = Socket::connect(front.address()).await;
        client.send(GET).await.unwrap();
        until("it has come", || self.target.counts.requests() == before + 1).await;
        client
    }

    fn id(&self) -> String {
        self.target.address.to_string()
    }

    async fn is_left(&self) {
        until("its connections are closed", || self.target.counts.open() == 0).await;
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
const PARTS: &[&str] = &[HEAD, "hello", "world"];

#[tokio::test]
async fn what_is_in_flight_on_a_draining_target_goes_on_to_its_end() {
    let held = Held::of(PARTS).await;
    let front = held.front(LONG).await;
    // One waits for its answer, and one is in the middle of it.
    let mut reading = held.asked_by(&front).await;
    held.go_on();
    assert_eq!(status(&reading.head().await), 200);
    let mut waiting = held.asked_by(&front).await;
    assert!(front.group.deregister(&held.id()));
    let status_now = front.group.status();
    let target = status_now.target(&held.id()).unwrap();
    assert_eq!((target.state, target.in_flight), (State::Draining, 2));
    for _ in 0..5 {
        held.go_on();
    }
    assert_eq!(reading.exactly(10).await, b"helloworld");
    assert_eq!(waiting.answer().await.1, "helloworld");
    front.at_rest().await;
    // It is used no more, so its connections are not kept either.
    held.is_left().await;
    let target = &front.group.status().targets[0];
    assert_eq!((target.state, target.answered, target.failed), (State::Draining, 2, 0));
}

#[tokio::test]
async fn idle_connections_to_a_draining_target_are_closed_at_once() {
    let target = Server::named("one").await;
    let front = Front::of([target.address]).await;
    assert_eq!(get(&client(), front.uri("/")).await.0, 200);
    until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
    front.group.deregister(&target.address.to_string());
    until("it is closed", || target.counts.open() == 0).await;
    until("it is not kept", || front.group.status().targets[0].connections_idle == 0).await;
}

#[tokio::test]
async fn a_draining_target_gets_no_new_request() {
    let held = Held::of(PARTS).await;
    let other = Server::named("other").await;
    let front = held.front(LONG).await;
    let mut waiting = held.asked_by(&front).await;
    front.group.register(Target::new(other.address));
    front.group.deregister(&held.id());
    let client = client();
    for _ in 0..10 {
        assert_eq!(get(&client, front.uri("/")).await, (200, "other".into()));
    }
    // Not even when there is no other.
    front.group.deregister(&other.address.to_string());
    assert_eq!(get(&client, front.uri("/")).await.0, 503);
    assert_eq!(held.target.counts.requests(), 1);
    for _ in PARTS {
        held.go_on();
    }
    assert_eq!(waiting.answer().await.1, "helloworld");
    front.at_rest().await;
}

#[tokio::test]
async fn an_exchange_without_an_answer_is_cut_at_the_deregistration_delay() {
    let held = Held::of(PARTS).await;
    let front = held.front(SHORT).await;
    let mut waiting = held.asked_by(&front).await;
    let load = load_of(&front);
    front.group.deregister(&held.id());
    assert_eq!(status(&waiting.head().await), 502);
    held.is_left().await;
    until("it is counted out", || load.in_flight() == 0).await;
    assert_eq!((load.answered(), load.failed()), (0, 0), "it is not the target's fault");
    assert!(front.group.status().targets.is_empty());
}

#[tokio::test]
async fn what_is_cut_on_a_connection_that_was_kept_is_not_sent_once_more() {
    let held = Held::of(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let front = held.front(SHORT).await;
    let mut answered = held.asked_by(&front).await;
    held.go_on();
    assert_eq!(answered.answer().await.1, "ok");
    until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
    let mut waiting = held.asked_by(&front).await;
    front.group.deregister(&held.id());
    assert_eq!(status(&waiting.head().await), 502);
    held.is_left().await;
    let counts = &held.target.counts;
    assert_eq!((counts.requests(), counts.opened()), (2, 1));
}

#[tokio::test]
async fn an_answer_under_way_is_cut_visibly_at_the_deregistration_delay() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let check = async |parts: &'static [&'static str], got: &str| {
        let held = Held::of(parts).await;
        let front = held.front(SHORT).await;
        let mut reading = held.asked_by(&front).await;
        held.go_on();
        held.go_on();
        assert_eq!(status(&reading.head().await), 200);
        assert_eq!(reading.exactly(got.len()).await, got.as_bytes());
        let load = load_of(&front);
        front.group.deregister(&held.id());
        assert_eq!(reading.rest().await, b"", "no end of the body");
        held.is_left().await;
        until("it is counted out", || load.in_flight() == 0).await;
        assert_eq!((load.answered(), load.failed()), (0, 0), "it is not the target's fault");
    };
    check(PARTS, "hello").await;
    check(&[CHUNKED, "5\r\nhello\r\n", "0\r\n\r\n"], "5\r\nhello\r\n").await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut_at_the_deregistration_delay() {
    const LENGTH: usize = 1_000_000_000;
    let target = Server::by_hand(|mut socket, counts| async move {
        socket.head().await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LENGTH}\r\n\r\n");
        socket.send(head).await.unwrap();
        let part = vec![b'x'; 65_536];
        // When nothing more can be written for a while, all buffers on the way are full.
        while let Ok(sent) = tokio::time::timeout(SHORT / 4, socket.send(&part)).await {
            sent.unwrap();
        }
        counts.requests.fetch_add(1, Ordering::SeqCst);
        socket.rest().await;
    })
    .await;
    let group = TargetGroup::builder("web").deregistration_delay(SHORT).build().unwrap();
    let front = Front::with(group, [target.address]).await;
    let mut client = Socket::connect(front.address()).await;
    client.send(GET).await.unwrap();
    until("all buffers are full", || target.counts.requests() == 1).await;
    let load = load_of(&front);
    front.group.deregister(&target.address.to_string());
    until("its connection is closed", || target.counts.open() == 0).await;
    // Whoever reads on gets what was on the way, and sees that it is not all.
    assert_eq!(status(&client.head().await), 200);
    assert!(client.rest().await.len() < LENGTH);
    until("it is counted out", || load.in_flight() == 0).await;
    assert_eq!((load.answered(), load.failed()), (0, 0), "it is not the target's fault");
}

#[tokio::test]
async fn a_target_registered_again_goes_on_with_what_it_had() {
    let held = Held::of(PARTS).await;
    let front = held.front(SHORT).await;
    let mut waiting = held.asked_by(&front).await;
    front.group.deregister(&held.id());
    front.group.register(Target::new(held.target.address));
    let target = &front.group.status().targets[0];
    assert_eq!((target.state, target.in_flight), (State::Healthy, 1));
    // Longer than the delay, which is none any more.
    tokio::time::sleep(2 * SHORT).await;
    for _ in 0..2 * PARTS.len() {
        held.go_on();
    }
    assert_eq!(waiting.answer().await.1, "helloworld");
    let mut next = held.asked_by(&front).await;
    assert_eq!(next.answer().await.1, "helloworld");
    front.at_rest().await;
    let target = &front.group.status().targets[0];
    assert_eq!((target.answered, target.failed), (2, 0));
    assert_eq!(held.target.counts.opened(), 1, "its connection was kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_sent_after_the_deregistration_never_goes_to_that_target() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let front = Arc::new(Front::of([one.address, two.address]).await);
    // Odd while one is deregistered, and gone up by then.
    let (changes, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (front, changes, answers) =
            (Arc::clone(&front), Arc::clone(&changes), Arc::clone(&answers));
        clients.spawn(async move {
            let client = client();
            loop {
                let before = changes.load(Ordering::SeqCst);
                let answer = get(&client, front.uri("/")).await;
                let after = changes.load(Ordering::SeqCst);
                assert_eq!(answer.0, 200);
                if before == after && before % 2 == 1 {
                    assert_eq!(answer.1, "two");
                }
                answers.fetch_add(1, Ordering::SeqCst);
                if before == 100 {
                    return;
                }
            }
        });
    }
    for change in 1..=100 {
        if change % 2 == 1 {
            front.group.deregister(&one.address.to_string());
        } else {
            // Not before it is counted as registered, or it might be asked too early.
            changes.store(change, Ordering::SeqCst);
            front.group.register(Target::new(one.address));
        }
        changes.store(change, Ordering::SeqCst);
        let before = answers.load(Ordering::SeqCst);
        until("answers came", || answers.load(Ordering::SeqCst) > before + 10).await;
    }
    clients.join_all().await;
    front.at_rest().await;
    assert!(one.counts.requests() > 0);
}

/// The counts of the one target, which outlive its registration.
fn load_of(front: &Front) -> Arc<pointsman::lease::Load> {
    let request = http::Request::new(());
    let head = pointsman::head::Head::of(&request, None);
    let assignment = front.group.assign(&head, None, &[]).unwrap();
    Arc::clone(assignment.member.load())
}

#[tokio::test]
async fn a_target_cut_while_many_ask_costs_only_what_was_in_flight() {
    let (held, other) = (Held::of(PARTS).await, Server::named("other").await);
    let front = held.front(Duration::ZERO).await;
    let mut waiting = held.asked_by(&front).await;
    front.group.register(Target::new(other.address));
    let asking = tokio::spawn({
        let uri = front.uri("/");
        async move {
            let client = client();
            let mut statuses = Vec::new();
            for _ in 0..50 {
                statuses.push(get(&client, uri.clone()).await.0);
            }
            statuses
        }
    });
    front.group.deregister(&held.id());
    assert_eq!(status(&waiting.head().await), 502);
    let statuses = soon("all answers", asking).await.unwrap();
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    held.is_left().await;
    front.at_rest().await;
}

/// Waits until nobody listens there.
async fn until_refused(address: SocketAddr) {
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    soon("the end of listening", refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_restarted_one_after_another_cost_no_request() {
    let echo = |request: http::Request<hyper::body::Incoming>| async {
        // Whole, so that its answer has a length.
        let bytes = request.into_body().collect().await.unwrap().to_bytes();
        http::Response::new(Body::from(bytes))
    };
    // Held for all of the test, so that nobody gets a port while its server is away.
    let ports = [Port::reserve(), Port::reserve()];
    let front = Front::of(ports.each_ref().map(|port| port.address)).await;
    let mut servers = Vec::new();
    for port in &ports {
        servers.push(Server::answering_at(port.address, echo).await);
    }
    let (answers, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let (answers, stop, address) = (Arc::clone(&answers), Arc::clone(&stop), front.address());
        clients.spawn(async move {
            let mut socket = Socket::connect(address).await;
            let body = format!("what {client} sends");
            let length = body.len();
            while !stop.load(Ordering::SeqCst) {
                let head =
                    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
                socket.send(head + &body).await.unwrap();
                let (head, back) = socket.answer().await;
                assert_eq!((status(&head), &back), (200, &body), "{head}");
                answers.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    let more = async || {
        let enough = answers.load(Ordering::SeqCst) + 100;
        until("more answers", || answers.load(Ordering::SeqCst) >= enough).await;
    };
    for _ in 0..3 {
        for _ in &ports {
            // What an orchestrator does: out of the group, away when nothing is in flight, and back.
            let old = servers.remove(0);
            let address = old.address;
            front.group.deregister(&address.to_string());
            more().await;
            let in_flight = || {
                let status = front.group.status();
                status.target(&address.to_string()).map_or(0, |target| target.in_flight)
            };
            until("it has drained", || in_flight() == 0).await;
            drop(old);
            until_refused(address).await;
            more().await;
            servers.push(Server::answering_at(address, echo).await);
            front.group.register(Target::new(address));
            more().await;
        }
    }
    for server in &servers {
        let before = server.counts.requests();
        until("it is asked again", || server.counts.requests() > before + 50).await;
    }
    stop.store(true, Ordering::SeqCst);
    clients.join_all().await;
    front.at_rest().await;
    assert!(front.group.status().targets.iter().all(|target| target.failed == 0));
}
