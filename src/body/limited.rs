//! A request body that may not get longer than was said.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use super::{Body, BodyError};

/// A body that ends with [`BodyError::TooLarge`] when more than `max` bytes of it came.
pub(super) struct Limited {
    body: Body,
    max: u64,
    left: u64,
}

impl Limited {
    pub(super) fn new(body: Body, max: u64) -> Self {
        Self { body, max, left: max }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        match self.left.checked_sub(length.map_or(0, |data| data.len() as u64)) {
            Some(left) => self.left = left,
            None => {
                // What else comes is not read.
                self.body = Body::default();
                return Poll::Ready(Some(Err(BodyError::TooLarge(self.max).into())));
            }
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

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn parts(parts: &[&'static str]) -> Body {
        let frames = parts.iter().map(|part| Ok::<_, BoxError>(Frame::data(Bytes::from(*part))));
        Body::new(StreamBody::new(stream::iter(frames.collect::<Vec<_>>())))
    }

    #[tokio::test]
    async fn a_body_ends_where_it_gets_too_long() {
        let body = parts(&["ab", "cd"]).limit_size(4);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcd");
        let mut body = parts(&["ab", "cde", "f"]).limit_size(4);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&BodyError::TooLarge(4)));
        assert!(body.frame().await.is_none());
    }

    #[test]
    fn a_body_of_known_length_is_limited_without_a_box() {
        assert!(format!("{:?}", Body::from("abc").limit_size(4)).contains("full"));
        assert!(format!("{:?}", parts(&["a"]).limit_size(4)).contains("boxed"));
    }
}
