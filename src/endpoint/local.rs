//! A tower service in this process as an endpoint.
//!
//! Its panics are caught where it is called, and what it has under way can be ended at the
//! deregistration delay, even a body that nobody reads.

use std::{
    any::Any,
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use bytes::Buf;
use http::{Request, Response};
use tower::{BoxError, Service, ServiceExt};

use crate::{
    body::{Body, Shared},
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

/// What of a service is under way.
pub(super) struct Local {
    service: InProcess,
    live: Mutex<Vec<Weak<Shared>>>,
    cutting: AtomicBool,
}

impl Local {
    pub(super) fn new(service: InProcess) -> Self {
        Self { service, live: Mutex::default(), cutting: AtomicBool::new(false) }
    }

    /// Has the service answer, unless the target's deadline passes first.
    pub(super) async fn send(
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

    pub(super) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let mut answer =
            catch_unwind(AssertUnwindSafe(|| (self.service.0)(request))).map_err(panicked)?;
        poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(answer)) => Poll::Ready(answer.map_err(of_service)),
            Err(panic) => Poll::Ready(Err(panicked(panic))),
        })
        .await
    }

    /// Makes the body one that can be cut.
    pub(super) fn adopt(&self, body: Body) -> Body {
        let (body, shared) = body.share();
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        // Doubling from here on keeps the clearing away at a constant cost an exchange.
        if live.len() == live.capacity() {
            live.retain(|shared| shared.strong_count() > 0);
            let len = live.len();
            live.reserve(len.max(16));
        }
        live.push(Arc::downgrade(&shared));
        body
    }

    /// Ends at the deadline what nobody polls any more; a task that lasts as long as the draining.
    pub(super) fn cut_when_drained(self: &Arc<Self>, load: &Arc<Load>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if load.in_flight() == 0 || self.cutting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (local, load) = (Arc::clone(self), Arc::clone(load));
        runtime.spawn(async move {
            let over = load.drained().await;
            local.cutting.store(false, Ordering::Release);
            if over {
                let live =
                    std::mem::take(&mut *local.live.lock().unwrap_or_else(PoisonError::into_inner));
                for shared in live.iter().filter_map(Weak::upgrade) {
                    shared.cut();
                }
            }
        });
    }
}

/// A balancer or an error of ours inside keeps its kind; all else is the service's own failure.
fn of_service(error: BoxError) -> Error {
    Error::from(error)
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
