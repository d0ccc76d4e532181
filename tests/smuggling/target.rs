//! A target that notes every byte it gets and answers what its strict reader takes.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    strict::{self, Message},
    support::Server,
};

/// What an answer says of the request that it answers: method and target.
pub(crate) const OF: &str = "x-of";

pub(crate) struct Target {
    pub(crate) server: Server,
    connections: Arc<Mutex<Vec<Arc<Mutex<Connection>>>>>,
}

/// What came over one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    pub(crate) requests: Vec<Message>,
    /// What is no whole request.
    pub(crate) rest: Vec<u8>,
    /// Why the rest can be none.
    pub(crate) wrong: Option<String>,
    pub(crate) ended: bool,
}

impl Target {
    /// A target that answers each request by a function.
    pub(crate) async fn answering(
        answer: impl Fn(&Message) -> Vec<u8> + Clone + Send + Sync + 'static,
    ) -> Self {
        let connections = Arc::<Mutex<Vec<Arc<Mutex<Connection>>>>>::default();
        let server = Server::accept(([127, 0, 0, 1], 0).into(), {
            let connections = Arc::clone(&connections);
            move |mut stream, _, _| {
                let connection = Arc::<Mutex<Connection>>::default();
                connections.lock().unwrap().push(Arc::clone(&connection));
                let answer = answer.clone();
                async move {
                    let mut part = vec![0; 65_536];
                    while let Ok(count @ 1..) = stream.read(&mut part).await {
                        let answers = connection.lock().unwrap().take(&part[..count], &answer);
                        let wrong = connection.lock().unwrap().wrong.is_some();
                        if stream.write_all(&answers).await.is_err() || wrong {
                            break;
                        }
                    }
                    connection.lock().unwrap().ended = true;
                }
            }
        })
        .await;
        Self { server, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        let connections = self.connections.lock().unwrap();
        connections.iter().map(|connection| connection.lock().unwrap().clone()).collect()
    }
}

impl Connection {
    fn take(&mut self, part: &[u8], answer: impl Fn(&Message) -> Vec<u8>) -> Vec<u8> {
        self.rest.extend(part);
        let mut answers = Vec::new();
        while self.wrong.is_none() && !self.rest.is_empty() {
            match strict::request(&self.rest) {
                Ok(Some((request, length))) => {
                    self.rest.drain(..length);
                    answers.extend(answer(&request));
                    self.requests.push(request);
                }
                Ok(None) => break,
                Err(wrong) => self.wrong = Some(wrong),
            }
        }
        answers
    }
}

/// Answers with method and target.
pub(crate) fn echo(request: &Message) -> Vec<u8> {
    let (method, target) = request.request();
    let body = if method == "HEAD" { "" } else { "ok" };
    format!("HTTP/1.1 200 OK\r\n{OF}: {method} {target}\r\ncontent-length: 2\r\n\r\n{body}").into()
}
