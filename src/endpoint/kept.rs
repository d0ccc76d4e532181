//! A request that went over a connection that was kept, which may have been stale.
//!
//! What follows if it was, is decided beside, in `sending.rs`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;

use super::connection::{Awaited, Lost, Said};
use crate::body::{Body, BodyError};

pin_project_lite::pin_project! {
    /// The answer to such a request.
    pub(super) struct Kept<F> {
        #[pin]
        pub(super) answer: Awaited<F>,
        // Whether it may be sent again though it may have been received.
        pub(super) replayable: bool,
    }
}

/// The answer to such a request, as the one who waits for it sees it.
pub(crate) trait Awaiting: Future<Output = Answered> {
    /// Tells whether it fails by itself when it is due. If not, it is for the caller to see that.
    fn is_watched(&self) -> bool;
}

/// What becomes of such a request.
pub(crate) type Answered = Result<Response<Body>, Box<KeptFailed>>;

/// How such a request failed.
pub(crate) struct KeptFailed {
    pub(super) lost: Lost,
    /// Whether it may be sent again though it may have been received.
    pub(super) replayable: bool,
    /// What ended the connection if that was not hyper.
    pub(super) fate: Option<BodyError>,
}

impl KeptFailed {
    /// Tells whether the answer was due.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self.lost, Lost::Late)
    }
}

impl<F: Future<Output = Said>> Awaiting for Kept<F> {
    fn is_watched(&self) -> bool {
        self.answer.is_watched()
    }
}

impl<F: Future<Output = Said>> Future for Kept<F> {
    type Output = Answered;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let answer = ready!(this.answer.as_mut().poll(cx));
        Poll::Ready(answer.map_err(|lost| {
            let (replayable, fate) = (*this.replayable, this.answer.seat().fate.error());
            Box::new(KeptFailed { lost, replayable, fate })
        }))
    }
}
