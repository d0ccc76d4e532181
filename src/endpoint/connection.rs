//! One connection over HTTP/1.1 as the request on it sees it: sent on, and what came back.
//!
//! Who drives it is `driver.rs`, who keeps it while it is idle `pool.rs`.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use http::{Request, Response, StatusCode};
use hyper::client::conn::http1::SendRequest;

use super::{early, framing, seat::Seat};
use crate::{
    body::{Body, Fate},
    error::{Error, Kind},
};

/// A connection that waits for its next request.
pub(super) struct Idle {
    pub(super) seat: Arc<Seat>,
    pub(super) sender: SendRequest<Body>,
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
    /// What came back is no answer.
    Wrong(Error),
}

impl Idle {
    /// Sends a request; the connection goes back to the pool by itself.
    pub(super) fn send(
        self,
        mut request: Request<Body>,
    ) -> impl Future<Output = Result<Response<Body>, Lost>> {
        let Self { seat, mut sender } = self;
        let upload = request.body_mut().progress();
        let before = seat.traffic.seen();
        let exchange = seat.traffic.await_head();
        // At once, so that the future need not keep the request.
        let answer = sender.try_send_request(request);
        seat.give_back(sender);
        async move {
            let mut answer = pin!(answer);
            let answer = poll_fn(|cx| {
                let seen = answer.as_mut().poll(cx).map(Some);
                if seen.is_ready() || !seat.traffic.is_in_doubt(exchange, cx.waker()) {
                    return seen;
                }
                // The head may have come before the doubt; if not, it did not come at all.
                let seen = answer.as_mut().poll(cx).map(Some);
                if seen.is_ready() { seen } else { Poll::Ready(None) }
            });
            let answer = answer.await;
            seat.traffic.end_awaiting(exchange);
            let Some(answer) = answer else {
                let text = "the target sent too much before the head of its answer";
                return Err(Lost::Wrong(Error::new(Kind::Exchange, text)));
            };
            let mut failed = match answer {
                Ok(response) => {
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        seat.traffic.switch();
                    }
                    let mut response =
                        response.map(|body| Body::from_wire(body, Arc::clone(&seat.fate)));
                    if let Some(upload) = upload {
                        response = early::bound(response, &upload, &seat);
                    }
                    return framing::vet(response, &seat).map_err(Lost::Wrong);
                }
                Err(failed) => failed,
            };
            match failed.take_message() {
                Some(request) => Err(Lost::Unsent(Box::new(request))),
                None => {
                    let now = seat.traffic.seen();
                    let (received, written) = (now.0 != before.0, now.1 != before.1);
                    Err(Lost::Sent { error: failed.into_error(), written, received })
                }
            }
        }
    }

    pub(super) fn fate(&self) -> Arc<Fate> {
        Arc::clone(&self.seat.fate)
    }
}
