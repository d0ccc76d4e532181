//! A tower service in this process as an endpoint.
//!
//! Its panics are caught where it is called. A request without an answer is ended here at the
//! deregistration delay; the body of an answer is `live.rs`'s affair.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use bytes::Buf;
use http::{Request, Response, StatusCode};
use tower::{BoxError, Service, ServiceExt};

use super::{switch::Switch, tunnel::Line};
use crate::{
    body::{Body, BodyError},
    error::{Error, Kind},
    lease::Load,
};

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

/// A service in this process, shared.
#[derive(Clone)]
pub struct InProcess(Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>);

impl InProcess {
    /// Takes a service; each request is answered by a clone of it.
    pub fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(move |request| {
            let service = service.clone();
            Box::pin(async move {
                let answer = service.oneshot(request).await;
                answer.map(|response| response.map(Body::new)).map_err(Into::into)
            })
        }))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess(..)")
    }
}

impl InProcess {
    /// Has the service answer, unless the target's deadline passes first.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        load: &Load,
    ) -> Result<Response<Body>, Error> {
        tokio::select! {
            biased;
            answer = self.call(request) => answer,
            () = load.cut() => Err(Kind::Cut.into()),
        }
    }

    /// Has the service answer a request that asks for another protocol. An answer of 101 comes with its
    /// side of the tunnel to come; whether it is what was asked for is for the caller to see.
    pub(crate) async fn send_upgrade(
        &self,
        mut request: Request<Body>,
        load: &Load,
    ) -> Result<(Response<Body>, Option<Line>), Error> {
        let failed = |error| Error::new(Kind::Exchange, error);
        let (far, switch) = Switch::prepare().await.map_err(failed)?;
        request.extensions_mut().insert(far);
        let response = self.send(request, load).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok((response, None));
        }
        let stream = switch.complete().await.map_err(failed)?;
        Ok((response, Some(Line::Local(stream))))
    }

    /// Has the service answer.
    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let mut answer = catch_unwind(AssertUnwindSafe(|| (self.0)(request))).map_err(panicked)?;
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(answer.map_err(of_service)),
            Err(panic) => Poll::Ready(Err(panicked(panic))),
        })
        .await
    }
}

/// A balancer or an error of ours inside keeps its kind, and so does what the client's body failed with
/// if the service passes that on; all else is the service's own failure.
fn of_service(error: BoxError) -> Error {
    match of_client(&*error) {
        Some(error) => error,
        None => Error::from(error),
    }
}

/// Finds among the causes of an error that it was the client who failed.
pub(super) fn of_client(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref() {
            Some(BodyError::ClientIdle(_)) => {
                return Some(Error::new(Kind::ClientIdle, error.to_string()));
            }
            Some(BodyError::TooLarge(_)) => {
                return Some(Error::new(Kind::BodyTooLarge, error.to_string()));
            }
            Some(BodyError::ClientBroken) => return Some(Kind::ClientBody.into()),
            _ => cause = error.source(),
        }
    }
    None
}

fn panicked(panic: Box<dyn Any + Send>) -> Error {
    Error::new(Kind::Panicked, panic_text(&*panic))
}

/// Returns what a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("panicked without a word").to_owned()
}
