//! The body of a request as hyper gets it.
//!
//! hyper moves a request about often on its way to the wire, and keeps room for it where there is
//! none; most have no body, so that one is kept beside.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use crate::body::Body;

/// The body of a request, in the room of a pointer.
pub(super) struct Upload(Option<Box<Body>>);

impl Upload {
    pub(super) fn new(body: Body) -> Self {
        Self((!body.is_end_stream()).then(|| Box::new(body)))
    }

    pub(super) fn into_body(self) -> Body {
        self.0.map(|body| *body).unwrap_or_default()
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.get_mut().0 {
            Some(body) => Pin::new(&mut **body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_deref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_deref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
