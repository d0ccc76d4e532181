//! The outermost floor: errors become responses here and nowhere else.
//!
//! Which status an error has is `error.rs`'s table.

use std::{
    convert::Infallible,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use tower::{Layer, Service};

use super::{rules::RulesLayer, served::Served, stage::Stage};
use crate::{
    body::Body,
    endpoint::panic_text,
    error::{Error, Kind},
    proxy::{AnswerOf, ProxyStatus},
};

/// Makes a response of an error, in place of the default one.
pub(crate) type OnError = Arc<dyn Fn(&Error) -> Response<Body> + Send + Sync>;

/// Makes [`Respond`].
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, error::{Error, Kind}, layer::RespondLayer};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let failing = service_fn(|_: Request<Body>| async {
///     Err::<Response<Body>, _>(Error::from(Kind::NoTarget))
/// });
/// let response =
///     RespondLayer::new().layer(failing).oneshot(Request::new(Body::default())).await.unwrap();
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.extensions().get::<Error>().unwrap().kind(), Kind::NoTarget);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct RespondLayer {
    on_error: Option<OnError>,
    name: Name,
}

/// Under which name this proxy goes into Proxy-Status.
#[derive(Clone, Default)]
enum Name {
    #[default]
    None,
    Always(ProxyStatus),
    /// The one that the options of the rules say.
    By(RulesLayer),
}

impl Name {
    fn get(&self) -> Option<ProxyStatus> {
        match self {
            Self::None => None,
            Self::Always(name) => Some(name.clone()),
            Self::By(rules) => rules.proxy_status(),
        }
    }
}

impl RespondLayer {
    /// Makes short text responses of errors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a function of the user's make the responses. If it panics, the default one is sent.
    #[must_use]
    pub fn on_error(
        mut self,
        respond: impl Fn(&Error) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        self.on_error = Some(Arc::new(respond));
        self
    }

    /// Has every answer say whose it is, as
    /// [`HttpOptions::proxy_status`](crate::proxy::HttpOptions::proxy_status) does.
    #[must_use]
    pub fn proxy_status(mut self, name: ProxyStatus) -> Self {
        self.name = Name::Always(name);
        self
    }

    /// Has the options of the rules say that, also when they change.
    pub(crate) fn named_by(mut self, rules: RulesLayer) -> Self {
        self.name = Name::By(rules);
        self
    }
}

impl<S> Layer<S> for RespondLayer {
    type Service = Respond<S>;

    fn layer(&self, inner: S) -> Respond<S> {
        let Self { on_error, name } = self.clone();
        Respond { inner, on_error, name, failed: None }
    }
}

/// Answers whatever happens: an error of the floors below becomes a response, with the error and
/// [`Served`] in its extensions, and one `tracing` event.
pub struct Respond<S> {
    inner: S,
    on_error: Option<OnError>,
    name: Name,
    /// What `poll_ready` failed with; the next call is answered with it.
    failed: Option<Error>,
}

/// What this one failed with stays with this one: a clone was not found ready yet.
impl<S: Clone> Clone for Respond<S> {
    fn clone(&self) -> Self {
        let Self { inner, on_error, name, .. } = self;
        let (on_error, name) = (on_error.clone(), name.clone());
        Self { inner: inner.clone(), on_error, name, failed: None }
    }
}

impl<S> Respond<S> {
    pub(crate) fn inner(&self) -> &S {
        &self.inner
    }

    pub(crate) fn inner_mut(&mut self) -> &mut S {
        &mut self.inner
    }
}

impl<S, B> Service<Request<B>> for Respond<S>
where
    S: Stage<Request<B>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = RespondFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.failed.is_none()
            && let Err(error) = ready!(self.inner.poll_ready(cx))
        {
            self.failed = Some(error);
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> RespondFuture<S::Future> {
        let version = request.version();
        let (on_error, proxy_status) = (self.on_error.clone(), self.name.get());
        let state = match self.failed.take() {
            Some(error) => State::Failed { error: Some(error) },
            None => State::Called { future: self.inner.call(request) },
        };
        RespondFuture { state, on_error, proxy_status, version }
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Respond`].
    pub struct RespondFuture<F> {
        #[pin]
        state: State<F>,
        on_error: Option<OnError>,
        proxy_status: Option<ProxyStatus>,
        // Of the request.
        version: Version,
    }
}

pin_project_lite::pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Called { #[pin] future: F },
        Failed { error: Option<Error> },
    }
}

impl<F> Future for RespondFuture<F>
where
    F: Future<Output = Result<Response<Body>, Error>>,
{
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.state.project() {
            StateProjection::Called { future } => ready!(future.poll(cx)),
            StateProjection::Failed { error } => Err(error.take().unwrap_or(Kind::Other.into())),
        };
        let mut response = match answer {
            // The way of nearly all, past what moves the answer about.
            Ok(response) if this.proxy_status.is_none() => return Poll::Ready(Ok(response)),
            Ok(response) => response,
            Err(error) => respond(error, this.on_error.as_ref(), *this.version),
        };
        if let Some(status) = this.proxy_status {
            say_whose(&mut response, status);
        }
        Poll::Ready(Ok(response))
    }
}

fn respond(error: Error, on_error: Option<&OnError>, version: Version) -> Response<Body> {
    // It must not ride along in the response's extensions, body and all.
    drop(error.take_unsent());
    tell(&error);
    let made = on_error.and_then(|make| {
        catch_unwind(AssertUnwindSafe(|| make(&error)))
            .inspect_err(|panic| {
                tracing::error!(panic = panic_text(&**panic), "on_error panicked");
            })
            .ok()
    });
    let mut response = made.unwrap_or_else(|| plain(error.status()));
    // Connections of HTTP/2 carry other requests, too.
    if error.closes_client() && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(rule) = error.rule() {
        let mut served = Served::by_rule(rule);
        served.group = error.group().cloned();
        served.target = error.target().cloned();
        served.fail_open = error.is_fail_open();
        response.extensions_mut().insert(served);
    }
    response.extensions_mut().insert(error);
    response
}

/// Says whose answer it is.
fn say_whose(response: &mut Response<Body>, name: &ProxyStatus) {
    let (status, extensions) = (response.status(), response.extensions());
    let error = extensions.get::<Error>().cloned();
    let by_target = extensions.get::<Served>().is_some_and(|served| served.target.is_some());
    let answer = match &error {
        Some(error) => AnswerOf::Error(error),
        None if by_target => AnswerOf::Target(status),
        None => AnswerOf::Rule,
    };
    name.append(response.headers_mut(), answer);
}

/// Says what happened once, where it is decided that the client gets an error.
fn tell(error: &Error) {
    let (kind, reason, status) = (error.kind(), error.reason(), error.status().as_u16());
    let rule = error.rule().map(tracing::field::display);
    let group = error.group().map(tracing::field::display);
    let target = error.target().map(tracing::field::display);
    if error.status().is_server_error() {
        tracing::warn!(?kind, reason, status, rule, group, target, cause = %error, "request failed");
    } else {
        tracing::info!(?kind, reason, status, rule, group, target, cause = %error, "request refused");
    }
}

/// A short text that says nothing of what is inside.
fn plain(status: StatusCode) -> Response<Body> {
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

impl fmt::Debug for RespondLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondLayer").finish_non_exhaustive()
    }
}

impl<S: fmt::Debug> fmt::Debug for Respond<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Respond").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for RespondFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RespondFuture").finish_non_exhaustive()
    }
}
