//! A target that notes every byte it gets and answers what its strict reader takes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    strict::{self, Message, Wrong},
    support::Server,
};

/// What an answer says of the request that it answers: method and target.
pub(crate) const OF: &str = "x-of";

pub(crate) struct Target {
    pub(crate) server: Server,
    seen: Arc<Mutex<Seen>>,
}

/// What came over all connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// In the order in which they were whole.
    pub(crate) requests: Vec<Message>,
    /// What was no whole request when its connection ended, and why it can be none.
    pub(crate) rests: Vec<(Vec<u8>, Option<String>)>,
}

impl Target {
    /// A target that answers each request by a function, whose parts are written one by one.
    pub(crate) async fn answering(
        answer: impl Fn(&Message) -> Answer + Clone + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let server = Server::accept(([127, 0, 0, 1], 0).into(), {
            let seen = Arc::clone(&seen);
            move |mut stream, _, _| {
                let (seen, answer) = (Arc::clone(&seen), answer.clone());
                async move {
                    let mut rest = Vec::new();
                    let wrong = serve(&mut stream, &mut rest, &seen, answer).await.err();
                    if !rest.is_empty() {
                        seen.lock().unwrap().rests.push((rest, wrong));
                    }
                }
            }
        })
        .await;
        Self { server, seen }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

async fn serve(
    stream: &mut TcpStream,
    rest: &mut Vec<u8>,
    seen: &Mutex<Seen>,
    answer: impl Fn(&Message) -> Answer,
) -> Result<(), Wrong> {
    while let Ok(1..) = stream.read_buf(rest).await {
        while let Some((request, length)) = strict::request(rest)? {
            rest.drain(..length);
            let Answer { parts, end } = answer(&request);
            seen.lock().unwrap().requests.push(request);
            for part in parts {
                if stream.write_all(&part).await.is_err() {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
            if end {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What a target writes, and whether it ends its connection then.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) parts: Vec<Vec<u8>>,
    pub(crate) end: bool,
}

/// Answers with method and target.
pub(crate) fn echo(request: &Message) -> Answer {
    let (method, target) = request.request();
    let body = if method == "HEAD" { "" } else { "ok" };
    let head = format!("HTTP/1.1 200 OK\r\n{OF}: {method} {target}\r\ncontent-length: 2\r\n\r\n");
    Answer { parts: vec![(head + body).into()], end: false }
}
