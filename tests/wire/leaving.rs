//! Clients that go away: the exchange at the target ends with them, at whatever stage it is.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::support::{
    Front, Server,
    socket::{Socket, status},
    soon, until,
};

/// How soon a target must see the end. It takes a millisecond or two; the rest is for a machine that
/// has much else to do.
const AT_ONCE: Duration = Duration::from_secs(1);

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// What a target played by hand tells the test.
#[derive(Debug, PartialEq)]
enum Told {
    /// It came to where the client shall leave.
    There,
    /// Its connection was closed, after this.
    Closed(Vec<u8>),
}

struct Scene {
    front: Front,
    target: Server,
    told: UnboundedReceiver<Told>,
}

impl Scene {
    /// A target whose connections are played by a function, which returns the socket when all is
    /// played; then it waits for the end of the connection.
    async fn of<Fut>(
        play: impl Fn(Socket, UnboundedSender<Told>) -> Fut + Clone + Send + 'static,
    ) -> Self
    where
        Fut: Future<Output = Socket> + Send,
    {
        let (tell, told) = unbounded_channel();
        let target = Server::by_hand(move |socket, _| {
            let (tell, play) = (tell.clone(), play.clone());
            async move {
                let mut socket = play(socket, tell.clone()).await;
                _ = tell.send(Told::Closed(socket.rest().await));
            }
        })
        .await;
        Self { front: Front::of([target.address]).await, target, told }
    }

    async fn client(&self, sends: impl AsRef<[u8]>) -> Socket {
        let mut client = Socket::connect(self.front.address()).await;
        client.send(sends).await.unwrap();
        client
    }

    async fn there(&mut self) {
        assert_eq!(soon("the stage", self.told.recv()).await, Some(Told::There));
    }

    /// The client leaves, and that is soon seen at the target and in the counts.
    async fn leave(mut self, stage: &str, client: Socket) {
        assert_eq!(self.front.group.status().in_flight(), 1);
        let left = Instant::now();
        drop(client);
        let end = soon("the end at the target", self.told.recv()).await;
        let took = left.elapsed();
        // Nothing is sent in the client's place, least of all the end of its body.
        assert_eq!(end, Some(Told::Closed(Vec::new())));
        println!("{stage}: the target saw the end after {took:?}");
        assert!(took < AT_ONCE, "{stage}: {took:?}");
        self.front.at_rest().await;
        until("the target's connection is gone", || self.target.counts.open() == 0).await;
        let status = &self.front.group.status().targets[0];
        // Who leaves counts against nobody.
        assert_eq!((status.answered, status.failed, status.connections_idle), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_its_head_is_complete_reaches_no_target() {
    let scene = Scene::of(|socket, _| async { socket }).await;
    let client = scene.client("GET / HTTP/1.1\r\nhos").await;
    until("it is there", || scene.front.server.counts.open() == 1).await;
    drop(client);
    until("it is gone", || scene.front.server.counts.open() == 0).await;
    assert_eq!(scene.target.counts.opened(), 0);
    scene.front.at_rest().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_its_exchange() {
    let mut scene = Scene::of(|mut socket, tell| async move {
        socket.head().await;
        _ = tell.send(Told::There);
        socket
    })
    .await;
    let client = scene.client(GET).await;
    scene.there().await;
    scene.leave("before the answer", client).await;
}

#[tokio::test]
async fn a_client_that_resets_its_connection_before_the_answer_ends_its_exchange() {
    let mut scene = Scene::of(|mut socket, tell| async move {
        socket.head().await;
        _ = tell.send(Told::There);
        socket
    })
    .await;
    let client = scene.client(GET).await.into_inner();
    scene.there().await;
    client.set_zero_linger().unwrap();
    scene.leave("reset before the answer", Socket::new(client)).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_body_ends_its_exchange() {
    let check = async |framing: &str, part: &'static str| {
        let mut scene = Scene::of(move |mut socket, tell| async move {
            socket.head().await;
            assert_eq!(socket.exactly(part.len()).await, part.as_bytes());
            _ = tell.send(Told::There);
            socket
        })
        .await;
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n");
        let client = scene.client(head + part).await;
        scene.there().await;
        scene.leave(&format!("in a body with {framing}"), client).await;
    };
    check("content-length: 1000000", "hello").await;
    check("transfer-encoding: chunked", "5\r\nhello\r\n").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_answer_streams_ends_its_exchange() {
    let mut scene = Scene::of(|mut socket, tell| async move {
        socket.head().await;
        let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        socket.send(answer).await.unwrap();
        _ = tell.send(Told::There);
        socket
    })
    .await;
    let mut client = scene.client(GET).await;
    scene.there().await;
    assert_eq!(status(&client.head().await), 200);
    assert_eq!(client.exactly(10).await, b"5\r\nhello\r\n");
    scene.leave("while the answer streams", client).await;
}

#[tokio::test]
async fn a_client_that_leaves_a_download_it_does_not_read_ends_its_exchange() {
    let mut scene = Scene::of(|mut socket, tell| async move {
        socket.head().await;
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
        socket.send(answer).await.unwrap();
        // When nothing more can be written for a while, all buffers on the way are full.
        let part = vec![b'x'; 65_536];
        let pause = Duration::from_millis(50);
        while tokio::time::timeout(pause, socket.send(&part)).await.is_ok_and(|sent| sent.is_ok()) {
        }
        _ = tell.send(Told::There);
        socket
    })
    .await;
    let mut client = scene.client(GET).await;
    assert_eq!(status(&client.head().await), 200);
    scene.there().await;
    scene.leave("in a download it does not read", client).await;
}

#[tokio::test]
async fn a_client_that_leaves_after_its_answer_leaves_the_targets_connection_to_the_next() {
    let target = Server::named("one").await;
    let front = Front::of([target.address]).await;
    for _ in 0..2 {
        let mut client = Socket::connect(front.address()).await;
        client.send(GET).await.unwrap();
        assert_eq!(client.answer().await.1, "one");
        front.at_rest().await;
        drop(client);
        until("it is gone", || front.server.counts.open() == 0).await;
    }
    let status = &front.group.status().targets[0];
    assert_eq!((status.answered, status.failed, status.connections_idle), (2, 0, 1));
    assert_eq!((target.counts.opened(), target.counts.open()), (1, 1));
}
