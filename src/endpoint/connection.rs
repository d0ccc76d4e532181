//! One connection over HTTP/1.1 as the request on it sees it: sent on, and what came back.
//!
//! Who drives it is `driver.rs`, who keeps it while it is idle `pool.rs`.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::client::conn::http1::SendRequest;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::body::{Body, Fate};

/// A connection that waits for its next request.
pub(super) struct Idle {
    pub(super) seat: Arc<Seat>,
    pub(super) sender: SendRequest<Body>,
}

/// What a driver and the request on its connection share.
pub(super) struct Seat {
    pub(super) traffic: Arc<Traffic>,
    pub(super) fate: Arc<Fate>,
    returned: Mutex<Returned>,
}

/// How many bytes went over a connection, whatever they mean; hyper does not say.
#[derive(Default)]
pub(super) struct Traffic {
    received: AtomicU64,
    written: AtomicU64,
}

#[derive(Default)]
struct Returned {
    sender: Option<SendRequest<Body>>,
    driver: Option<Waker>,
    /// Whether the driver is gone, so that nobody takes a sender back.
    left: bool,
}

/// How sending failed.
pub(super) enum Lost {
    /// Nothing was written; the request is whole.
    Unsent(Box<Request<Body>>),
    /// hyper has taken the request apart.
    Sent {
        error: hyper::Error,
        /// Whether anything of it was written.
        written: bool,
        /// Whether anything came back.
        received: bool,
    },
}

impl Idle {
    /// Sends a request; the connection goes back to the pool by itself.
    pub(super) async fn send(mut self, request: Request<Body>) -> Result<Response<Body>, Lost> {
        let before = self.seat.traffic.seen();
        let answer = self.sender.try_send_request(request);
        self.seat.give_back(self.sender);
        match answer.await {
            Ok(response) => {
                Ok(response.map(|body| Body::from_wire(body, Arc::clone(&self.seat.fate))))
            }
            Err(mut failed) => match failed.take_message() {
                Some(request) => Err(Lost::Unsent(Box::new(request))),
                None => {
                    let now = self.seat.traffic.seen();
                    let (received, written) = (now.0 != before.0, now.1 != before.1);
                    Err(Lost::Sent { error: failed.into_error(), written, received })
                }
            },
        }
    }

    pub(super) fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.seat.fate)
    }
}

impl Seat {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        Self { traffic, fate: Arc::default(), returned: Mutex::default() }
    }

    /// Takes the sender back from the request; without one, remembers whom to wake.
    pub(super) fn take_back(&self, driver: &Waker) -> Option<SendRequest<Body>> {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = returned.sender.take();
        if sender.is_none() && !returned.driver.as_ref().is_some_and(|old| old.will_wake(driver)) {
            returned.driver = Some(driver.clone());
        }
        sender
    }

    /// Says that the driver is gone. A request that was handed over while its connection ended may
    /// be seen by nobody; it comes back when the last sender is dropped, so none may be kept here.
    pub(super) fn leave(&self) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.left = true;
        let sender = returned.sender.take();
        drop(returned);
        drop(sender);
    }

    fn give_back(&self, sender: SendRequest<Body>) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        if returned.left {
            drop(returned);
            drop(sender);
            return;
        }
        returned.sender = Some(sender);
        // The request just sent wakes the driver too; this is for the case that it did so already.
        if let Some(driver) = returned.driver.take() {
            driver.wake();
        }
    }
}

impl Traffic {
    fn seen(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.written.fetch_add(*count as u64, Ordering::Relaxed);
        }
    }
}

/// Counts what goes over the stream below hyper.
pub(super) struct Counted {
    pub(super) stream: TcpStream,
    pub(super) traffic: Arc<Traffic>,
}

impl AsyncRead for Counted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buf);
        let read = buf.filled().len() - before;
        if read > 0 {
            this.traffic.received.fetch_add(read as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.traffic.wrote(&written);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.traffic.wrote(&written);
        written
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, runtime::Builder};

    use super::{super::driver, *};

    /// A request that hyper takes while it ends its connection comes back only when no sender is
    /// left; kept in the seat, its own would make it wait for ever.
    #[test]
    fn no_sender_is_kept_once_the_driver_is_gone() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let settings =
            driver::Settings { idle_max: 1, idle_timeout: std::time::Duration::from_secs(60) };
        let idle = first.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            driver::start(stream, &Arc::default(), &Arc::default(), settings).await.ok().unwrap()
        });
        drop(first);
        let seat = Arc::clone(&idle.seat);
        let lost = runtime().block_on(idle.send(Request::new(Body::default())));
        assert!(matches!(lost, Err(Lost::Unsent(_))));
        assert!(seat.returned.lock().unwrap().sender.is_none());
    }
}
