//! How a request gets over a connection: at once over one that was kept, or over one that is opened for
//! it; and whether it is sent once more when that breaks.
//!
//! To try another target is the `Retry` floor's affair, which gets back what may go there.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use http_body::Body as _;
use tokio::{
    net::TcpStream,
    runtime::{self, Handle},
    time::Instant,
};

use super::{
    address::Address,
    broken::broken,
    connect,
    connection::Lost,
    driver,
    kept::{Awaiting, Kept, KeptFailed},
    pool::Pool,
    traffic::Place,
    tunnel::Line,
    way::Endpoint,
};
use crate::{
    body::Body,
    error::{Error, Kind},
    lease::Account,
};

/// A request that is to be sent over a connection that is to be opened.
pub(crate) struct Rest {
    /// In a box, since it waits beside all that opening takes.
    request: Box<Request<Body>>,
    /// Whether it was sent once, over a connection that was stale.
    lost: bool,
}

/// A connection that was opened for one request.
pub(crate) struct Opened {
    stream: TcpStream,
    place: Place,
    pool: Arc<Pool>,
    address: Address,
    since: Instant,
}

impl Opened {
    /// Returns since when it is open.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }
}

/// On a request that a target may have seen and that another may have: if it is lost there too, that
/// is all. It may be the request that ends those who get it.
#[derive(Clone, Copy)]
struct Replayed;

impl Rest {
    fn new(request: Request<Body>) -> Self {
        Self { request: Box::new(request), lost: false }
    }

    /// Tells whether it was sent before, over a connection that was stale.
    pub(crate) fn was_sent(&self) -> bool {
        self.lost
    }

    /// Lets the request come back with an error, as one that may go to another target.
    pub(crate) fn give_back(self, error: Error) -> Error {
        error.with_unsent(if self.lost { once_more(*self.request) } else { *self.request })
    }
}

impl Endpoint {
    /// Sends a request and waits for the head of the answer, without a deadline of its own but that
    /// of connecting.
    ///
    /// # Errors
    ///
    /// What another target may have comes back in the error ([`Error::take_unsent`]): what was not sent
    /// at all, and what was lost with a target that is ending.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        if let Some(service) = self.service() {
            return service.send(request, &self.load).await;
        }
        let Ok(runtime) = Handle::try_current() else {
            return Err(Rest::new(request).give_back(Kind::NoRuntime.into()));
        };
        let account = &mut Account::default();
        let rest = match self.send_kept(request, runtime.id(), account, None) {
            Ok(answer) => match answer.await {
                Ok(response) => return Ok(response),
                Err(failed) => self.after_kept(*failed)?,
            },
            Err(rest) => rest,
        };
        // In a box of its own: opening a connection takes twice the room of all else, and seldom is.
        Box::pin(self.send_rest(rest, account)).await
    }

    async fn send_rest(&self, rest: Rest, account: &mut Account) -> Result<Response<Body>, Error> {
        match self.open(account).await {
            Ok(opened) => self.send_over(opened, rest).await,
            Err(error) => Err(rest.give_back(error)),
        }
    }

    /// Sends a request over a connection of its own, which is closed after that; if need be to another
    /// port.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::send`].
    pub async fn probe(
        &self,
        request: Request<Body>,
        port: Option<u16>,
    ) -> Result<Response<Body>, Error> {
        if let Some(service) = self.service() {
            return service.call(request).await;
        }
        let rest = Rest::new(request);
        let address = port.map(|port| self.address.at_port(port));
        let address = address.as_ref().unwrap_or(&self.address);
        // It never reaches the pool of the others.
        match self.open_to(address, Arc::default(), &mut Account::default()).await {
            Ok(opened) => self.send_over(opened, rest).await,
            Err(error) => Err(rest.give_back(error)),
        }
    }

    /// Sends a request at once, over a connection that was kept; it comes back if there is none. That
    /// the answer is not there when it is due is seen by the connection's driver, if it looks by then.
    pub(crate) fn send_kept(
        &self,
        request: Request<Body>,
        runtime: runtime::Id,
        account: &mut Account,
        due: Option<Instant>,
    ) -> Result<impl Awaiting + Send + use<>, Rest> {
        let pool = self.pool();
        let Some(idle) = pool.and_then(|pool| pool.take(runtime)) else {
            return Err(Rest::new(request));
        };
        // hyper writes in the version of the answer before, which nobody has seen yet.
        if !idle.seat.traffic.outstanding.is_none() && needs_http_1_1(&request) {
            if let Some(pool) = pool {
                pool.put(runtime, idle, self.transport.connections_idle_max);
            }
            return Err(Rest::new(request));
        }
        let replayable = is_replayable(&request);
        account.sending(true);
        Ok(Kept { answer: idle.send(request, due), replayable })
    }

    /// Decides what becomes of a request that got no answer over a connection that was kept.
    pub(crate) fn after_kept(&self, failed: KeptFailed) -> Result<Rest, Error> {
        let KeptFailed { lost, replayable, fate } = failed;
        match (lost, fate) {
            (Lost::Unsent(request), _) => Ok(Rest { request, lost: false }),
            // It was stale, and the target has seen nothing.
            (Lost::Sent { written: false, copy: Some(request), .. }, None) => {
                Ok(Rest { request, lost: false })
            }
            // RFC 9110 §9.2.2 allows it for what is idempotent; that nothing came back makes a stale
            // connection by far the likeliest cause.
            (Lost::Sent { received: false, copy: Some(request), .. }, None) if replayable => {
                tracing::debug!(target = %self.address, "a stale connection is replaced");
                if let Some(pool) = self.pool() {
                    pool.note_dropped();
                }
                Ok(Rest { request, lost: true })
            }
            (Lost::Sent { error, received, .. }, fate) => Err(broken(error, received, fate)),
            (Lost::Wrong(error), _) => Err(error),
            (Lost::Late, _) => Err(Kind::AnswerTimeout.into()),
        }
    }

    /// Opens a connection for one request. Nothing was sent when this fails.
    pub(crate) async fn open(&self, account: &mut Account) -> Result<Opened, Error> {
        let pool = self.pool().map(Arc::clone).unwrap_or_default();
        self.open_to(&self.address, pool, account).await
    }

    /// Opens a connection to an address of this host, of which the pool learns.
    async fn open_to(
        &self,
        address: &Address,
        pool: Arc<Pool>,
        account: &mut Account,
    ) -> Result<Opened, Error> {
        if Handle::try_current().is_err() {
            return Err(Kind::NoRuntime.into());
        }
        let max = self.transport.connections_max;
        let Some(place) = pool.place(max) else {
            return Err(Error::new(Kind::Saturated, format!("{address} has {max} connections")));
        };
        account.connecting();
        let started = Instant::now();
        let stream =
            connect::connect(address, self.names(), self.transport.connect_timeout).await?;
        let since = Instant::now();
        account.connected(since - started);
        Ok(Opened { stream, place, pool, address: address.clone(), since })
    }

    /// Sends a request over what was opened for it.
    pub(crate) async fn send_over(
        &self,
        opened: Opened,
        rest: Rest,
    ) -> Result<Response<Body>, Error> {
        let Opened { stream, place, pool, address, since } = opened;
        let idle =
            match driver::start(stream, since, place, &pool, &self.load, &self.transport).await {
                Ok(idle) => idle,
                Err(error) => return Err(rest.give_back(Error::new(Kind::Connect, error))),
            };
        let Rest { request, lost: is_second } = rest;
        let (seat, replayable) = (Arc::clone(&idle.seat), is_replayable(&request));
        let lost = match idle.send(*request, None).await {
            Ok(response) => {
                pool.note_alive();
                return Ok(response);
            }
            Err(lost) => lost,
        };
        let unsent = match (lost, seat.fate.error()) {
            (Lost::Unsent(request), _) => request,
            // A target that is about to end may let a connection in that nobody will serve.
            (Lost::Sent { written: false, copy: Some(request), .. }, None) => request,
            (Lost::Sent { error, received: false, copy: Some(request), .. }, None)
                if replayable && pool.is_ending() =>
            {
                return Err(broken(error, false, None).with_unsent(once_more(*request)));
            }
            (Lost::Sent { error, received, .. }, fate) => {
                return Err(broken(error, received, fate));
            }
            (Lost::Wrong(error), _) => return Err(error),
            (Lost::Late, _) => return Err(Kind::AnswerTimeout.into()),
        };
        let text = format!("{address} closed the connection before the request");
        let error = Error::new(Kind::Connect, text).with_reason("connection_terminated");
        Err(Rest { request: unsent, lost: is_second }.give_back(error))
    }
}

/// Returns the target's side of the tunnel to come, if it answered over a connection that the protocol
/// changes.
pub(crate) fn line_of(response: &mut Response<Body>) -> Option<Line> {
    (response.status() == StatusCode::SWITCHING_PROTOCOLS)
        .then(|| Line::Wire(hyper::upgrade::on(response)))
}

/// Tells whether a request cannot be sent as one of HTTP/1.0.
fn needs_http_1_1(request: &Request<Body>) -> bool {
    let body = request.body();
    let is_sized = body.is_end_stream() || body.size_hint().exact().is_some();
    !is_sized || request.headers().contains_key(header::UPGRADE)
}

/// Marks a request that was lost.
fn once_more(mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(Replayed);
    request
}

/// Tells whether a request may be sent again when it is not known what became of it.
fn is_replayable(request: &Request<Body>) -> bool {
    is_idempotent(request.method())
        && request.body().is_end_stream()
        && request.extensions().get::<Replayed>().is_none()
}

/// Tells whether a request may be done twice (RFC 9110 §9.2.2); TRACE is for no target.
pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

#[cfg(test)]
#[path = "sending_tests.rs"]
mod tests;
