//! The one body of requests and responses; hyper's own passes through it without a box.
//!
//! A body that belongs to an exchange owns its [`Lease`], so the exchange ends with the body. How
//! long a body may stall is written on it here; what its failure means is decided above.

mod fate;
mod foreign;
mod limited;
mod replay;
mod shared;
mod trailers;
mod watch;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;
use tower::BoxError;

pub use self::fate::BodyError;
pub(crate) use self::fate::Fate;
use self::{
    foreign::Foreign,
    limited::Limited,
    shared::{Finish, Polled},
    watch::{Side, Watch},
};
use crate::{
    lease::{Lease, Progress},
    outcome::End,
};

/// The body of a request or a response.
///
/// # Examples
///
/// ```
/// use http_body::Body as _;
/// use pointsman::Body;
///
/// assert!(Body::default().is_end_stream());
/// assert_eq!(Body::from("hello").size_hint().exact(), Some(5));
/// ```
#[derive(Default)]
pub struct Body {
    kind: Kind,
    watch: Watch,
    lease: Option<Lease>,
}

/// A request's body under way, and the copy of what was read of it.
pub(crate) type Replay = replay::Replay<Body>;

/// A body of a service in this process.
pub(crate) type Shared = shared::Shared<Body>;

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Wire(Incoming, Option<Arc<Fate>>),
    Boxed(Pin<Box<dyn HttpBody<Data = Bytes, Error = BoxError> + Send>>),
    Shared(Arc<Shared>),
}

impl Body {
    /// Makes a body of any other; hyper's own, and this one, pass without a box.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let mut body = Some(body);
        let any = &mut body as &mut dyn std::any::Any;
        if let Some(incoming) = any.downcast_mut::<Option<Incoming>>() {
            let wire = incoming.take().map(|incoming| Kind::Wire(incoming, None));
            return wire.map_or_else(Self::default, Self::of);
        }
        if let Some(body) = any.downcast_mut::<Option<Self>>() {
            return body.take().unwrap_or_default();
        }
        match body {
            Some(body) if !body.is_end_stream() => {
                Self::of(Kind::Boxed(Box::pin(Foreign::new(body))))
            }
            _ => Self::default(),
        }
    }

    /// Makes a body of what comes over a connection whose end is told by `fate`.
    pub(crate) fn from_wire(body: Incoming, fate: Arc<Fate>) -> Self {
        Self::of(Kind::Wire(body, Some(fate)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, watch: Watch::default(), lease: None }
    }

    /// Makes the exchange that the lease counts end with this body.
    #[must_use]
    pub fn with_lease(mut self, lease: Lease) -> Self {
        self.hold(lease);
        self
    }

    /// Lets the exchange end with this body.
    pub(crate) fn hold(&mut self, lease: Lease) {
        self.lease = Some(lease);
    }

    /// Ends the body with [`BodyError::TooLarge`] when more than `max` bytes of it come. To whom its
    /// length is known has looked at that before, and it keeps to it.
    pub(crate) fn limit_size(self, max: u64) -> Self {
        match self.size_hint().exact() {
            Some(_) => self,
            None => Self::of(Kind::Boxed(Box::pin(Limited::new(self, max)))),
        }
    }

    /// Ends the body with [`BodyError::TargetIdle`] when it stalls for `limit`, and with
    /// [`BodyError::RequestTimeout`] when it is read after the deadline, if there is one.
    pub(crate) fn limit_target(&mut self, limit: Duration, deadline: Option<Instant>) {
        self.watch.limit_idle(Side::Target, limit);
        self.watch.deadline = deadline;
    }

    /// Ends the body with [`BodyError::ClientIdle`] when it stalls for `limit`, and notes in
    /// `progress` whenever a part of it came.
    pub(crate) fn limit_client_idle(&mut self, limit: Duration, progress: Arc<Progress>) {
        self.watch.limit_idle(Side::Client, limit);
        self.watch.progress = Some(progress);
    }

    /// Returns how far the body of a request has come, if there is one.
    pub(crate) fn progress(&mut self) -> Option<Arc<Progress>> {
        if self.is_end_stream() {
            return None;
        }
        let new = || Arc::new(Progress::new(Duration::ZERO));
        Some(Arc::clone(self.watch.progress.get_or_insert_with(new)))
    }

    /// Puts the body where it can be ended while nobody reads it.
    pub(crate) fn share(self) -> (Self, Arc<Shared>) {
        let shared = Arc::new(Shared::new(self));
        (Self::of(Kind::Shared(Arc::clone(&shared))), shared)
    }

    /// Counts what was handed on of it, for the exchange that it belongs to.
    fn count(&mut self, bytes: usize) {
        if let Some(lease) = &mut self.lease {
            lease.received(bytes);
        }
        if let Some(progress) = &self.watch.progress {
            progress.add(bytes);
        }
    }

    /// Makes a copy of up to `max` bytes while the body is read, so that it can be read once more.
    pub(crate) fn replayable(self, max: usize) -> (Self, Replay) {
        let replay = Replay::new(self, max);
        (Self::once_more(&replay).unwrap_or_default(), replay)
    }

    /// Returns a body from its beginning, if all that was read of it was kept; whoever reads it still
    /// gets [`BodyError::Retried`].
    pub(crate) fn once_more(replay: &Replay) -> Option<Self> {
        let body = replay.read()?;
        Some(if body.is_end_stream() {
            Self::default()
        } else {
            Self::of(Kind::Boxed(Box::pin(body)))
        })
    }

    /// Ends the exchange as answered, though nobody wants to read the answer.
    pub(crate) fn disregard(mut self) {
        if let Kind::Shared(body) = &self.kind {
            // One that was cut meanwhile has said so.
            _ = body.with(|body| body.finish(End::Done));
        }
        self.finish(End::Done);
    }

    /// Says how the exchange ended, of which this body broke off.
    fn fail(&mut self, end: End) {
        if let Some(progress) = &self.watch.progress {
            progress.fail(end);
        }
        let upload = self.lease.as_ref().and_then(Lease::upload_failed);
        self.finish(match upload {
            // A connection whose request broke off is given up, and its answer breaks off with it.
            Some(upload) if end == End::Truncated => upload,
            _ => end,
        });
    }
}

impl Finish for Body {
    fn finish(&mut self, end: End) {
        self.watch.stop();
        if let Some(mut lease) = self.lease.take()
            && lease.end() == End::Done
        {
            lease.settle(end);
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        let mut frame = match this.kind.poll(cx) {
            // It was there, and the client was too slow to take it. What is the end is let through.
            Poll::Ready(Some(Ok(frame)))
                if this.watch.is_overdue() && !frame.is_trailers() && !this.is_end_stream() =>
            {
                this.finish(End::ClientLate);
                this.kind = Kind::Empty;
                Some(Err(BodyError::RequestTimeout.into()))
            }
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let error = ready!(this.watch.poll_late(cx));
                this.kind = Kind::Empty;
                Some(Err(error.into()))
            }
        };
        match &mut frame {
            Some(Ok(frame)) => {
                this.watch.moved();
                if let Some(data) = frame.data_ref() {
                    this.count(data.len());
                }
                // Nothing follows them, and whoever has them may not ask again.
                if let Some(trailers) = frame.trailers_mut() {
                    trailers::screen(trailers);
                    this.finish(End::Done);
                }
            }
            Some(Err(error)) => {
                let end = match error.downcast_ref() {
                    Some(BodyError::Cut) => End::Cut,
                    // That our own runtime ended is not the target's fault.
                    Some(BodyError::Lost) => End::ClientLeft,
                    Some(BodyError::TargetIdle(_) | BodyError::RequestTimeout) => End::TargetLate,
                    Some(BodyError::ClientIdle(_)) => End::ClientLate,
                    _ if this.watch.is_client() => End::ClientLeft,
                    _ => End::Truncated,
                };
                this.fail(end);
            }
            None => {
                this.watch.moved();
                this.finish(End::Done);
            }
        }
        Poll::Ready(match frame {
            // What the client's side says of itself is told apart from a fault of the target's.
            Some(Err(error)) if this.watch.is_client() && !error.is::<BodyError>() => {
                tracing::debug!(error = %error, "the client's request body broke off");
                Some(Err(BodyError::ClientBroken.into()))
            }
            frame => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Wire(body, _) => body.is_end_stream(),
            Kind::Boxed(body) => body.is_end_stream(),
            // One that was cut is not at its end; the reader is to see the error.
            Kind::Shared(body) => body.with(|body| body.is_end_stream()).unwrap_or(false),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Wire(body, _) => body.size_hint(),
            Kind::Boxed(body) => body.size_hint(),
            Kind::Shared(body) => body.with(|body| body.size_hint()).unwrap_or_default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Whoever has read a body of known length to its end drops it without asking for more.
        let ended = || catch_unwind(AssertUnwindSafe(|| self.is_end_stream())).unwrap_or(false);
        let complete = self.lease.is_some() && ended();
        self.finish(if complete { End::Done } else { End::ClientLeft });
        if let Some(progress) = &self.watch.progress {
            progress.end();
        }
    }
}

impl Kind {
    fn poll(&mut self, cx: &mut Context<'_>) -> Polled {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(_) => {
                let Self::Full(bytes) = std::mem::take(self) else { return Poll::Ready(None) };
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Wire(body, fate) => {
                let whole = body.is_end_stream();
                let frame = ready!(Pin::new(body).poll_frame(cx)).map(|f| f.map_err(Into::into));
                // Of a connection that was dropped hyper says at best that it ended early.
                match (&frame, fate.as_ref().and_then(|fate| fate.error())) {
                    (None | Some(Err(_)), Some(error)) if !whole => {
                        Poll::Ready(Some(Err(error.into())))
                    }
                    _ => Poll::Ready(frame),
                }
            }
            Self::Boxed(body) => body.as_mut().poll_frame(cx),
            Self::Shared(body) => match body.poll(cx) {
                Ok(frame) => frame,
                Err(error) => {
                    *self = Self::Empty;
                    Poll::Ready(Some(Err(error.into())))
                }
            },
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::of(Kind::Full(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Wire(..) => "wire",
            Kind::Boxed(_) => "boxed",
            Kind::Shared(_) => "shared",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;
    use crate::lease::Load;

    fn leased(body: Body) -> (Body, Arc<Load>) {
        let load = Arc::new(Load::default());
        let mut lease = load.begin(None).unwrap();
        lease.answered(http::StatusCode::OK);
        (body.with_lease(lease), load)
    }

    fn stalling() -> Body {
        Body::new(
            StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>()),
        )
    }

    #[tokio::test]
    async fn any_body_keeps_its_bytes() {
        let body = Body::new(Full::new(&b"hello"[..]));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        assert_eq!(
            Body::new(Body::from("as it is")).collect().await.unwrap().to_bytes(),
            "as it is"
        );
    }

    #[tokio::test]
    async fn an_exchange_ends_with_its_body() {
        let (body, load) = leased(Body::from("x"));
        assert_eq!(load.in_flight(), 1);
        body.collect().await.unwrap();
        assert_eq!((load.in_flight(), load.answered()), (0, 1));
    }

    #[test]
    fn a_body_dropped_half_way_was_not_answered() {
        let (body, load) = leased(stalling());
        drop(body);
        assert_eq!((load.in_flight(), load.answered()), (0, 0));
    }

    #[test]
    fn an_empty_body_dropped_unread_was_answered() {
        let (body, load) = leased(Body::default());
        drop(body);
        assert_eq!((load.in_flight(), load.answered()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_ended_and_says_whose_fault_it_is() {
        let (mut body, load) = leased(stalling());
        body.limit_target(Duration::from_secs(60), None);
        let started = Instant::now();
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&BodyError::TargetIdle(Duration::from_secs(60))));
        assert_eq!(started.elapsed(), Duration::from_secs(60));
        assert_eq!(load.in_flight(), 0);
        assert!(body.frame().await.is_none());
    }
}
