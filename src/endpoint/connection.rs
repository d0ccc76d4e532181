//! One connection over HTTP/1.1 as the request on it sees it: sent on, and what came back.
//!
//! Who drives it is `driver.rs`, who keeps it while it is idle `pool.rs`.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1::SendRequest},
};
use tokio::time::Instant;

use super::{
    early, framing,
    head_copy::HeadCopy,
    outstanding::{Begun, Doubt},
    seat::Seat,
    traffic::Traffic,
    upload::Upload,
};
use crate::{
    body::Body,
    error::{Error, Kind},
    lease::Progress,
};

/// A connection that waits for its next request.
pub(super) struct Idle {
    pub(super) seat: Arc<Seat>,
    pub(super) sender: SendRequest<Upload>,
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
        /// The request, made once more, if it had no body.
        copy: Option<Box<Request<Body>>>,
    },
    /// What came back is no answer.
    Wrong(Error),
    /// Nothing came back in time.
    Late,
}

/// What hyper says of a request.
pub(super) type Said = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

impl Idle {
    /// Sends a request, at once, whose answer is due then, if ever; the connection goes back to the pool
    /// by itself.
    pub(super) fn send(
        self,
        mut request: Request<Body>,
        due: Option<Instant>,
    ) -> Awaited<impl Future<Output = Said> + use<>> {
        let Self { seat, mut sender } = self;
        let upload = request.body_mut().progress();
        let before = seat.traffic.seen();
        let Begun { exchange, is_watched } = seat.traffic.outstanding.begin(before.0, due);
        let copy = request.body().is_end_stream().then(|| HeadCopy::of(&mut request));
        if copy.is_some() {
            seat.traffic.kept_head.keep(exchange);
        }
        let answer = sender.try_send_request(request.map(Upload::new));
        seat.give_back(sender);
        Awaited { answer, seat, upload, copy, before, exchange, is_watched }
    }
}

pin_project_lite::pin_project! {
    /// The answer to a request that was sent; `F` is hyper's future, whose type has no name.
    pub(super) struct Awaited<F> {
        #[pin]
        answer: F,
        seat: Arc<Seat>,
        // How far the request's body has come, if it has one.
        upload: Option<Arc<Progress>>,
        // What can be sent once more, if it has none.
        copy: Option<HeadCopy>,
        // What had gone over the connection before.
        before: (u64, u64),
        // Its number on the connection.
        exchange: u64,
        is_watched: bool,
    }
}

impl<F> Awaited<F> {
    /// Tells whether it will be seen that the answer is late. If not, somebody else is to.
    pub(super) fn is_watched(&self) -> bool {
        self.is_watched
    }

    pub(super) fn seat(&self) -> &Seat {
        &self.seat
    }
}

impl<F: Future<Output = Said>> Future for Awaited<F> {
    type Output = Result<Response<Body>, Lost>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let traffic = &this.seat.traffic;
        let mut said = this.answer.as_mut().poll(cx);
        let mut doubt = None;
        if said.is_pending() {
            doubt = traffic.outstanding.doubt(*this.exchange, cx.waker());
            if doubt.is_none() {
                return Poll::Pending;
            }
            // The head may have come before the doubt; if not, it did not come at all.
            said = this.answer.poll(cx);
        }
        let ended = match said {
            Poll::Pending if doubt == Some(Doubt::Late) => Err(Lost::Late),
            Poll::Pending => {
                let text = "the target sent too much before the head of its answer";
                Err(Lost::Wrong(Error::new(Kind::Exchange, text)))
            }
            Poll::Ready(Ok(response)) => received(response, this.upload.as_deref(), this.seat),
            Poll::Ready(Err(failed)) => {
                let copy = this.copy.take();
                Err(lost(failed, copy, traffic, *this.before, *this.exchange))
            }
        };
        // Not before it is known whether the connection is used again.
        traffic.outstanding.end(*this.exchange);
        traffic.kept_head.forget_long();
        Poll::Ready(ended)
    }
}

/// Takes what came back.
fn received(
    response: Response<Incoming>,
    upload: Option<&Progress>,
    seat: &Arc<Seat>,
) -> Result<Response<Body>, Lost> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        seat.traffic.switch();
    }
    // hyper would write every later request on the connection in the version of this answer, and one of
    // HTTP/1.0 without a body whose length is not known.
    if response.version() < Version::HTTP_11 {
        seat.retire();
    }
    let mut response = response.map(|body| Body::from_wire(body, Arc::clone(&seat.fate)));
    if let Some(upload) = upload {
        response = early::bound(response, upload, seat);
    }
    framing::vet(response.headers_mut(), seat).map_err(Lost::Wrong)?;
    Ok(response)
}

/// Says how far a request came, of which there is no answer, by what had gone over its connection
/// `before`. One that is whole gets its extensions back.
#[cold]
fn lost(
    mut failed: TrySendError<Request<Upload>>,
    copy: Option<HeadCopy>,
    traffic: &Traffic,
    before: (u64, u64),
    exchange: u64,
) -> Lost {
    if let Some(request) = failed.take_message() {
        let request = HeadCopy::give_back(copy, request.map(Upload::into_body));
        return Lost::Unsent(Box::new(request));
    }
    let now = traffic.seen();
    let (received, written) = (now.0 != before.0, now.1 != before.1);
    let copy = copy.and_then(|copy| copy.into_request(&traffic.kept_head, exchange));
    Lost::Sent { error: failed.into_error(), written, received, copy: copy.map(Box::new) }
}
