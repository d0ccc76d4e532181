//! A change of protocol for a service in this process.
//!
//! Only a server of hyper's makes the [`OnUpgrade`] that such a service waits for. So one is run over a
//! stream in memory, with a request of nobody's; the true one is called directly, as all others are.

use std::{
    io,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use http::{Response, StatusCode};
use hyper::{
    server::conn::http1,
    service::service_fn,
    upgrade::{self, OnUpgrade},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    sync::oneshot,
};

use crate::body::Body;

/// How much may lie in the stream, in each direction.
const STREAM_MAX: usize = 16 * 1024;

/// The request of nobody's.
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: any\r\n\r\n";

/// Far more than the answer to it is, of which hyper writes all.
const HEAD_MAX: usize = 1024;

/// A stream whose far end waits for the word to change its protocol. Without the word the service that
/// waits gets an error.
pub(super) struct Switch {
    server: Pin<Box<dyn Future<Output = ()> + Send>>,
    word: oneshot::Sender<()>,
    stream: DuplexStream,
}

impl Switch {
    /// Makes a stream and what the service is to wait for.
    pub(super) async fn prepare() -> io::Result<(OnUpgrade, Self)> {
        let (mut stream, far) = duplex(STREAM_MAX);
        let (give, given) = oneshot::channel();
        let (word, spoken) = oneshot::channel();
        let once = Mutex::new(Some((give, spoken)));
        let service = service_fn(move |mut request| {
            let once = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move {
                let (give, spoken) = once.ok_or(io::ErrorKind::InvalidInput)?;
                _ = give.send(upgrade::on(&mut request));
                spoken.await.map_err(|_| io::ErrorKind::ConnectionAborted)?;
                let mut answer = Response::new(Body::default());
                *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                Ok::<_, io::Error>(answer)
            }
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(far), service);
        let mut server = Box::pin(async move { _ = serving.with_upgrades().await });
        stream.write_all(REQUEST).await?;
        tokio::select! {
            biased;
            given = given => match given {
                Ok(given) => Ok((given, Self { server, word, stream })),
                Err(_) => Err(io::ErrorKind::ConnectionAborted.into()),
            },
            () = &mut server => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }

    /// Gives the word; from then on the stream is the service's and ours.
    pub(super) async fn complete(self) -> io::Result<DuplexStream> {
        let Self { server, word, mut stream } = self;
        _ = word.send(());
        server.await;
        // The service may write as soon as it knows, so not a byte too many may be read.
        let mut last = [0; 4];
        for _ in 0..HEAD_MAX {
            let [_, a, b, c] = last;
            last = [a, b, c, stream.read_u8().await?];
            if last == *b"\r\n\r\n" {
                return Ok(stream);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }
}
