//! Either side is killed at every stage of an exchange, by an end and by a reset: the other side sees
//! that it was, nothing is left over, no doubtful connection is used again, and the next request works.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pointsman::{LoadBalancer, RuleTable, Target, TargetGroup, endpoint::Transport, outcome::End};
use tokio::sync::Notify;

use crate::support::{
    Front, Server, at_rest,
    socket::{Socket, status},
    soon, until, within_limits,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// How a side is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    /// It says that nothing more comes; what it gets from then on it reads and forgets.
    End,
    Reset,
}

impl By {
    const ALL: [Self; 2] = [Self::End, Self::Reset];

    /// Kills this side, and returns what the other side still sends to one that ended.
    async fn kill(self, mut socket: Socket) -> Vec<u8> {
        match self {
            Self::End => {
                socket.finish().await;
                socket.rest().await
            }
            Self::Reset => {
                socket.into_inner().set_zero_linger().unwrap();
                Vec::new()
            }
        }
    }
}

/// How far a request comes.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Until {
    Nothing,
    HalfAHead,
    Head,
    HalfABody,
    All,
}

impl Until {
    const STAGES: [Self; 5] =
        [Self::Nothing, Self::HalfAHead, Self::Head, Self::HalfABody, Self::All];
}

/// A request in its parts, as a client sends it.
#[derive(Clone, Copy, Debug)]
struct Post {
    framing: &'static str,
    body: [&'static str; 2],
}

const POSTS: [Post; 2] = [
    Post { framing: "content-length: 10", body: ["hello", "world"] },
    Post {
        framing: "transfer-encoding: chunked",
        body: ["5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n"],
    },
];

impl Post {
    /// As much of it as is sent until then.
    fn sent(self, until: Until) -> String {
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{}\r\n\r\n", self.framing);
        match until {
            Until::Nothing => String::new(),
            Until::HalfAHead => head[..20].to_owned(),
            Until::Head => head,
            Until::HalfABody => head + self.body[0],
            Until::All => head + &self.body.concat(),
        }
    }

    /// Reads it on the target's side until then.
    async fn read(self, socket: &mut Socket, until: Until) {
        match until {
            Until::Nothing => {}
            Until::HalfAHead => _ = socket.exactly(10).await,
            _ => _ = socket.head().await,
        }
        let parts = match until {
            Until::HalfABody => self.body[0].len(),
            Until::All => self.body.concat().len(),
            _ => 0,
        };
        socket.exactly(parts).await;
    }
}

/// What the client sees of the answer of a target that was killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// An answer in its place.
    BadGateway,
    /// Its head and this much of its body, and that more is missing.
    Broken(&'static str),
    /// All of it.
    Whole(&'static str),
}

/// A front and its target, whose first connection is played by a function and all others answer.
async fn front<Fut>(play: impl Fn(Socket) -> Fut + Clone + Send + 'static) -> (Front, Server)
where
    Fut: Future<Output = ()> + Send,
{
    let connections = Arc::<AtomicUsize>::default();
    let target = Server::by_hand(move |mut socket, _| {
        let first = connections.fetch_add(1, Ordering::SeqCst) == 0;
        let play = play.clone();
        async move {
            if first {
                return play(socket).await;
            }
            while socket.request().await.is_some() {
                _ = socket.send(OK).await;
            }
        }
    })
    .await;
    (Front::of([target.address]).await, target)
}

async fn next_works(front: &Front) {
    let mut client = Socket::connect(front.address()).await;
    client.send(GET).await.unwrap();
    assert_eq!(client.answer().await.1, "ok");
    front.at_rest().await;
}

// The target.

/// The target reads so much of the request, writes this, and is killed once the client has it.
async fn kill_target(post: Post, reads: Until, writes: &'static str, by: By, seen: Seen) {
    let row = format!("{by:?} at {reads:?} after {writes:?} of {}", post.framing);
    let kill = Arc::new(Notify::new());
    let (front, target) = front({
        let kill = Arc::clone(&kill);
        move |mut socket| {
            let kill = Arc::clone(&kill);
            async move {
                post.read(&mut socket, reads).await;
                if !writes.is_empty() {
                    socket.send(writes).await.unwrap();
                }
                if seen != Seen::BadGateway {
                    kill.notified().await;
                }
                by.kill(socket).await;
            }
        }
    })
    .await;

    let mut client = Socket::connect(front.address()).await;
    // The client sends more than the target reads, unless that reads all.
    let sends = if reads == Until::All { Until::All } else { Until::HalfABody };
    client.send(post.sent(sends)).await.unwrap();
    let head = client.head().await;
    match seen {
        Seen::BadGateway => assert_eq!(status(&head), 502, "{row}"),
        Seen::Broken(body) | Seen::Whole(body) => {
            assert_eq!(status(&head), 200, "{row}");
            let got = client.exactly(body.len()).await;
            assert_eq!(String::from_utf8_lossy(&got), body, "{row}");
            kill.notify_one();
        }
    }
    match seen {
        Seen::BadGateway => drop(client),
        Seen::Broken(_) => assert_eq!(client.rest().await, b"", "{row}"),
        Seen::Whole(_) => {
            // Of one whose end is that of the connection the client is told by a last chunk.
            let end: &[u8] = if head.contains("chunked") { b"0\r\n\r\n" } else { b"" };
            assert_eq!(client.exactly(end.len()).await, end, "{row}");
        }
    }

    front.at_rest().await;
    until("the killed connection is gone", || target.counts.open() == 0).await;
    until("it is not kept", || front.group.status().targets[0].connections_idle == 0).await;
    let whole = matches!(seen, Seen::Whole(_));
    assert_eq!(front.group.status().targets[0].failed, u64::from(!whole), "{row}");
    let opened = target.counts.opened();
    next_works(&front).await;
    assert_eq!((opened, target.counts.opened()), (1, 2), "{row}");
}

#[tokio::test]
async fn a_target_killed_before_its_answer_is_502() {
    for post in POSTS {
        for by in By::ALL {
            for reads in Until::STAGES {
                kill_target(post, reads, "", by, Seen::BadGateway).await;
            }
            for writes in ["H", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n"] {
                kill_target(post, Until::All, writes, by, Seen::BadGateway).await;
            }
        }
    }
}

#[tokio::test]
async fn what_a_target_killed_in_its_answer_left_out_is_missed_by_the_client() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let a_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    let a_size = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n2";
    let a_last_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n";
    for post in POSTS {
        for by in By::ALL {
            for (writes, body) in [
                (length, ""),
                (half, "ok"),
                (chunked, ""),
                (a_chunk, "2\r\nok\r\n"),
                (a_size, "2\r\nok\r\n"),
                (a_last_chunk, "2\r\nok\r\n"),
            ] {
                kill_target(post, Until::All, writes, by, Seen::Broken(body)).await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_no_end_of_its_own_ends_with_its_connection_unless_that_is_reset() {
    let until_the_end = "HTTP/1.1 200 OK\r\n\r\nok";
    for post in POSTS {
        let (whole, broken) = (Seen::Whole("2\r\nok\r\n"), Seen::Broken("2\r\nok\r\n"));
        kill_target(post, Until::All, until_the_end, By::End, whole).await;
        kill_target(post, Until::All, until_the_end, By::Reset, broken).await;
    }
}

#[tokio::test]
async fn a_target_killed_while_it_is_idle_costs_nothing() {
    for post in POSTS {
        for by in By::ALL {
            kill_target(post, Until::All, OK, by, Seen::Whole("ok")).await;
        }
    }
}

/// The same on a connection that has answered before: a POST is not sent again once it was sent.
#[tokio::test]
async fn a_post_that_kills_a_kept_connection_arrives_once() {
    for (post, by) in POSTS.into_iter().flat_map(|post| By::ALL.map(|by| (post, by))) {
        for reads in [Until::Head, Until::HalfABody, Until::All] {
            let (front, target) = front(move |mut socket| async move {
                socket.request().await.unwrap();
                socket.send(OK).await.unwrap();
                post.read(&mut socket, reads).await;
                by.kill(socket).await;
            })
            .await;
            next_works(&front).await;
            until("it is kept", || front.group.status().targets[0].connections_idle == 1).await;
            let mut client = Socket::connect(front.address()).await;
            client.send(post.sent(reads)).await.unwrap();
            assert_eq!(status(&client.head().await), 502, "{by:?} at {reads:?}");
            drop(client);
            front.at_rest().await;
            assert_eq!(target.counts.opened(), 1, "{by:?} at {reads:?}");
            next_works(&front).await;
            assert_eq!(target.counts.opened(), 2, "{by:?} at {reads:?}");
        }
    }
}

// The client.

/// The client sends so much of the request, reads as much of the answer as the target has written,
/// and is killed.
async fn kill_client(post: Post, sends: Until, writes: &'static str, by: By) {
    let row = format!("{by:?} at {sends:?} after {writes:?} of {}", post.framing);
    let (there, got) = (Arc::new(Notify::new()), Arc::<std::sync::Mutex<Vec<u8>>>::default());
    let (front, target) = front({
        let (there, got) = (Arc::clone(&there), Arc::clone(&got));
        move |mut socket| {
            let (there, got) = (Arc::clone(&there), Arc::clone(&got));
            async move {
                post.read(&mut socket, sends).await;
                _ = socket.send(writes).await;
                there.notify_one();
                *got.lock().unwrap() = socket.rest().await;
            }
        }
    })
    .await;

    let mut client = Socket::connect(front.address()).await;
    client.send(post.sent(sends)).await.unwrap();
    // So much of a request reaches no target.
    let reaches = sends >= Until::Head;
    if reaches {
        soon("the target has it", there.notified()).await;
        assert_eq!(front.group.status().in_flight(), 1, "{row}");
    } else {
        until("it is there", || front.server.counts.open() == 1).await;
    }
    if let Some((_, body)) = writes.split_once("\r\n\r\n") {
        assert_eq!(status(&client.head().await), 200, "{row}");
        client.exactly(body.len()).await;
    }
    let more = by.kill(client).await;

    // Who ended is told no more than that the answer, too, ends.
    assert!(!more.ends_with(b"0\r\n\r\n"), "{row}: {}", more.escape_ascii());
    until("the client's connection is gone", || front.server.counts.open() == 0).await;
    front.at_rest().await;
    until("the target's connection is gone", || target.counts.open() == 0).await;
    // Nobody made up the rest of its request.
    assert_eq!(*got.lock().unwrap(), b"", "{row}");
    until("it is not kept", || front.group.status().targets[0].connections_idle == 0).await;
    let state = &front.group.status().targets[0];
    assert_eq!((state.answered, state.failed), (0, 0), "{row}");
    let opened = target.counts.opened();
    assert_eq!(opened, usize::from(reaches), "{row}");
    if reaches {
        next_works(&front).await;
        assert_eq!(target.counts.opened(), opened + 1, "{row}");
    }
}

#[tokio::test]
async fn a_client_killed_before_its_answer_ends_its_exchange() {
    for post in POSTS {
        for by in By::ALL {
            for sends in Until::STAGES {
                kill_client(post, sends, "", by).await;
            }
        }
    }
}

#[tokio::test]
async fn a_client_killed_in_its_answer_ends_its_exchange() {
    let length = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let all_but_the_end = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n";
    for post in POSTS {
        for by in By::ALL {
            for writes in [length, half, chunked, all_but_the_end] {
                kill_client(post, Until::All, writes, by).await;
            }
        }
    }
}

/// An answer that begins while the request goes on.
#[tokio::test]
async fn a_client_killed_in_its_request_and_its_answer_ends_its_exchange() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok";
    for post in POSTS {
        for by in By::ALL {
            kill_client(post, Until::HalfABody, half, by).await;
        }
    }
}

#[tokio::test]
async fn a_client_killed_while_it_is_idle_leaves_the_targets_connection_to_the_next() {
    for by in By::ALL {
        let target = Server::named("ok").await;
        let front = Front::of([target.address]).await;
        let mut client = Socket::connect(front.address()).await;
        client.send(GET).await.unwrap();
        assert_eq!(client.answer().await.1, "ok");
        front.at_rest().await;
        assert_eq!(by.kill(client).await, b"");
        until("it is gone", || front.server.counts.open() == 0).await;
        next_works(&front).await;
        assert_eq!((target.counts.opened(), target.counts.open()), (1, 1));
    }
}

/// It is not gone, but what it still owes does not come; the target sends all the while.
#[tokio::test]
async fn a_client_that_stalls_in_its_request_while_it_is_answered_blames_no_target() {
    let target = Server::by_hand(|mut socket, _| async move {
        socket.head().await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        _ = socket.send(head).await;
        while socket.send("2\r\nok\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    within_limits(200, async |limit| {
        let transport = Transport::new().idle_timeout(limit);
        let group = TargetGroup::builder("web").transport(transport).build().unwrap();
        let ends = Arc::<std::sync::Mutex<Vec<End>>>::default();
        let seen = Arc::clone(&ends);
        group.register(Target::new(target.address));
        let balancer = LoadBalancer::builder()
            .observe(move |outcome| seen.lock().unwrap().push(outcome.end))
            .build(RuleTable::forward_to(&group));
        let server = Server::balancing(&balancer).await;
        let mut client = Socket::connect(server.address).await;
        client.send(POSTS[0].sent(Until::HalfABody)).await.unwrap();
        let status = status(&client.head().await);
        let got = client.rest().await;
        assert!(!got.ends_with(b"0\r\n\r\n"), "{}", got.escape_ascii());
        at_rest(&group).await;
        assert_eq!(*ends.lock().unwrap(), [End::ClientLate]);
        assert_eq!(group.status().targets[0].failed, 0);
        status
    })
    .await;
}
