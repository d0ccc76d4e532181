//! A request body that may not get longer than was said.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use super::fate::BodyError;

/// A body that ends with [`BodyError::TooLarge`] when more than `max` bytes of it came.
pub(super) struct Limited<B> {
    /// Nothing after it got too long.
    body: Option<B>,
    max: u64,
    left: u64,
}

impl<B> Limited<B> {
    pub(super) fn new(body: B, max: u64) -> Self {
        Self { body: Some(body), max, left: max }
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for Limited<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        match self.left.checked_sub(length.map_or(0, |data| data.len() as u64)) {
            Some(left) => self.left = left,
            None => {
                self.body = None;
                return Poll::Ready(Some(Err(BodyError::TooLarge(self.max).into())));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::body::Body;

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
