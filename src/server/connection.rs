//! One connection, from accepting to closing: HTTP/1.1 by hyper, its limits, and how it ends.
//!
//! It takes any stream, and knows nothing of where it came from.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{BoxError, Service, ServiceExt, util::Oneshot};

use super::{
    drain::Drain,
    watch::{Deadline, Heads, Late, Limits, Watch, Watched},
};
use crate::body::Body;

/// All headers together with the request line, and each trailer section: ALB's number.
pub(super) const HEAD_SIZE_MAX: usize = 64 * 1024;

/// Above the 100 of hyper, which are too few for some clients; far below what costs memory.
pub(super) const HEADERS_MAX: usize = 256;

/// What is read ahead of the service, and what is written ahead of the client: enough for a head.
const BUFFER_MAX: usize = HEAD_SIZE_MAX;

/// Serves the requests of one connection until it ends, or for as long as `drain` leaves it. `reset`
/// makes the stream break when it is dropped, instead of coming to its end.
///
/// # Errors
///
/// Returns why it did not end well, as one of a few words.
pub(super) async fn serve<I, S, B>(
    stream: I,
    reset: fn(&I),
    service: S,
    limits: Limits,
    drain: &Drain,
) -> Result<(), &'static str>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
{
    let watch = Arc::new(Watch::new(limits));
    let mut http = http1::Builder::new();
    http.half_close(false)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEAD_SIZE_MAX)
        .max_buf_size(BUFFER_MAX)
        .timer(Heads(Arc::clone(&watch)))
        // How long is not heeded; that there is one makes hyper ask its timer.
        .header_read_timeout(Duration::ZERO);
    let stream = TokioIo::new(Watched { stream, reset, watch: Arc::clone(&watch) });
    let _cut = CutWhenDropped(Arc::clone(&watch));
    let service = PerRequest { service, watch: Arc::clone(&watch) };
    let mut connection = http.serve_connection(stream, service);
    let mut deadline = Deadline::default();
    let mut drained = drain.listen();
    let served = poll_fn(|cx| {
        if drained.hears(cx) {
            watch.drains();
            Pin::new(&mut connection).graceful_shutdown();
        }
        let ended = poll_end(&mut connection, &watch, &mut deadline, cx);
        if ended.is_pending() && watch.hold.is_wanted() {
            return Poll::Ready(None);
        }
        ended.map(Some)
    })
    .await;
    // With hyper's connection goes the stream, unless it is taken over.
    let ended = match served {
        Some(ended) => {
            drop(connection);
            ended
        }
        None => {
            watch.hold.offer();
            let mut connection = connection.with_upgrades();
            poll_fn(|cx| poll_end(&mut connection, &watch, &mut deadline, cx)).await
        }
    };
    watch.hold.released().await;
    ended
}

/// Polls hyper until the connection has ended, or its client is late.
fn poll_end(
    connection: &mut (impl Future<Output = hyper::Result<()>> + Unpin),
    watch: &Watch,
    deadline: &mut Deadline,
    cx: &mut Context<'_>,
) -> Poll<Result<(), &'static str>> {
    let mut connection = Pin::new(connection);
    let mut polled = connection.as_mut().poll(cx);
    // Once a request has asked for another protocol, hyper takes the end of its connection for the
    // change, whatever was answered, and is done although something may be left to be written. Polled on
    // it knows of no change, writes that, and shuts the stream down. One that is given away stays done.
    if matches!(polled, Poll::Ready(Ok(()))) && !watch.is_shut() {
        polled = connection.as_mut().poll(cx);
    }
    if let Poll::Ready(ended) = polled {
        return Poll::Ready(ended.map_err(|error| reason(&error)));
    }
    deadline.poll_late(watch, cx).map(|late| match late {
        Late::Idle => Ok(()),
        Late::Head => {
            watch.refuse();
            // What that read makes of the connection is no news.
            _ = connection.poll(cx);
            Err("head_timeout")
        }
        Late::Write => Err("write_timeout"),
    })
}

/// Breaks a stream that was taken over when the task that served it is aborted.
struct CutWhenDropped(Arc<Watch>);

impl Drop for CutWhenDropped {
    fn drop(&mut self) {
        self.0.hold.cut();
    }
}

fn reason(error: &hyper::Error) -> &'static str {
    if error.is_parse_too_large() {
        "head_too_large"
    } else if error.is_parse() {
        "malformed"
    } else if error.is_incomplete_message() {
        "client_left"
    } else if error.is_user() {
        "service_failed"
    } else {
        "io"
    }
}

/// A clone of a tower service for each request: hyper's services are called by shared reference.
struct PerRequest<S> {
    service: S,
    watch: Arc<Watch>,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for PerRequest<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    B: http_body::Body,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answer<Oneshot<S, Request<Body>>, B>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.watch.asked(!http_body::Body::is_end_stream(request.body()));
        let asked = Asked {
            connect: *request.method() == Method::CONNECT,
            old: request.version() == Version::HTTP_10,
        };
        let future = self.service.clone().oneshot(request.map(Body::new));
        Answer { future, watch: Arc::clone(&self.watch), asked, switching: None }
    }
}

/// What of a request matters to how its connection goes on.
#[derive(Clone, Copy)]
struct Asked {
    connect: bool,
    /// Whether its client knows no chunks.
    old: bool,
}

impl Asked {
    /// Tells whether an answer gives the stream to whoever answered. Where nobody asked for another
    /// protocol, hyper gives it to nobody and closes it.
    fn is_granted_by<B>(self, answer: &Response<B>) -> bool {
        answer.status() == StatusCode::SWITCHING_PROTOCOLS
            || (self.connect && answer.status().is_success())
    }

    /// Tells whether only the end of the connection is that of an answer.
    fn is_open_ended<B: http_body::Body>(self, answer: &Response<B>) -> bool {
        self.old
            && answer.body().size_hint().exact().is_none()
            && !answer.headers().contains_key(header::CONTENT_LENGTH)
    }
}

pin_project_lite::pin_project! {
    /// The answer to a request, which says so if it is the last of its connection.
    struct Answer<F, B> {
        #[pin]
        future: F,
        watch: Arc<Watch>,
        asked: Asked,
        // It waits until the stream is offered.
        switching: Option<Box<Response<B>>>,
    }
}

impl<F, B, E> Future for Answer<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut response = match this.switching.take() {
            Some(response) => *response,
            None => ready!(this.future.poll(cx))?,
        };
        if this.asked.is_granted_by(&response) && !this.watch.hold.is_offered() {
            this.watch.hold.want();
            *this.switching = Some(Box::new(response));
            return Poll::Pending;
        }
        if this.asked.is_open_ended(&response) {
            this.watch.begins_open_ended();
        }
        // Of a connection that changes its protocol the field says to which.
        if this.watch.is_last() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // hyper closes the connection after such an answer.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response))
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
