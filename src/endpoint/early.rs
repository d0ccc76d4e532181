//! An answer whose head comes before its request is sent to the end.
//!
//! Sending goes on while the answer does, so that both sides can talk at once. When the answer is
//! complete, nobody wants the rest: the connection is closed, whatever of the request is left.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use super::seat::Seat;
use crate::{body::Body, lease::Progress};

/// Lets the connection end with the answer, if that came before the end of the request.
pub(super) fn bound(
    response: Response<Body>,
    upload: &Progress,
    seat: &Arc<Seat>,
) -> Response<Body> {
    if upload.is_over() {
        return response;
    }
    // The driver ends the upload first and then asks whether the connection is retired; here it is the
    // other way round, so that at least one of both sees what the other did. If the upload has ended by
    // now, the connection may be in the pool already, and is only closed the next time it comes back.
    seat.retire();
    if upload.is_over() {
        return response;
    }
    upload.overtake();
    response.map(|body| Body::new(Early { body, end: Some(End(Arc::clone(seat))) }))
}

/// The body of such an answer.
struct Early {
    body: Body,
    end: Option<End>,
}

/// Closes the connection when it is dropped.
struct End(Arc<Seat>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl HttpBody for Early {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if !matches!(&frame, Some(Ok(frame)) if frame.is_data()) {
            this.end = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
