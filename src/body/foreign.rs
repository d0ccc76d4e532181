//! A body of somebody else's, with our data and errors.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

pin_project_lite::pin_project! {
    /// Somebody else's body, with our data and errors.
    pub(super) struct Foreign<B> {
        #[pin]
        body: B,
    }
}

impl<B> Foreign<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body }
    }
}

impl<B: HttpBody> HttpBody for Foreign<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.project().body.poll_frame(cx));
        // For `Bytes` itself this copies nothing.
        let bytes =
            |frame: Frame<B::Data>| frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
        Poll::Ready(frame.map(|frame| frame.map(bytes).map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
