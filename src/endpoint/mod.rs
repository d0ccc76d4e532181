//! Anything that answers a request: connections to one address, or a service in this process.
//!
//! An endpoint knows nothing of balancing. It repairs a stale connection by itself, since only it
//! knows that the connection was stale; to try another target is the `Retry` floor's affair.

mod address;
mod connect;
mod connection;
mod driver;
mod early;
mod framing;
mod head_copy;
mod kept;
mod live;
mod local;
mod pool;
mod resolver;
mod seat;
mod switch;
mod system;
mod traffic;
mod transport;
mod tunnel;
mod upload;

use std::{fmt, sync::Arc};

use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::{net::TcpStream, runtime::Handle, time::Instant};

pub use self::{
    address::{Address, InvalidAddress},
    local::InProcess,
    transport::{InvalidTransport, Transport},
};
use self::{
    connection::Lost, head_copy::HeadCopy, kept::Kept, live::Live, pool::Pool, resolver::Resolver,
    traffic::Place,
};
pub(crate) use self::{
    kept::{KeptFailed, Rest},
    local::panic_text,
    tunnel::{Line, Tunnel},
};
use crate::{
    body::{Body, BodyError},
    error::{Error, Kind},
    lease::{Account, Load},
};

/// What answers the requests of one target.
pub struct Endpoint {
    address: Address,
    transport: Transport,
    load: Arc<Load>,
    live: Arc<Live>,
    way: Way,
}

enum Way {
    /// The addresses are those of a name, if it is one.
    Remote(Arc<Pool>, Option<Arc<Resolver>>),
    Local(InProcess),
}

impl Way {
    fn to(address: &Address) -> Self {
        match address {
            Address::InProcess(service) => Self::Local(service.clone()),
            Address::Host(name, _) => {
                Self::Remote(Arc::default(), Some(Arc::new(Resolver::new(Arc::clone(name)))))
            }
            Address::Socket(_) => Self::Remote(Arc::default(), None),
        }
    }
}

impl Endpoint {
    /// Makes an endpoint; nothing is opened before the first request. What is in flight is cut at
    /// the deadline of `load`.
    pub fn new(address: Address, transport: Transport, load: Arc<Load>) -> Self {
        let way = Way::to(&address);
        Self { address, transport, load, live: Arc::default(), way }
    }

    /// Makes the endpoint of the same target at another address, or reached in another way: counts and
    /// deadline are the same, connections are its own.
    pub(crate) fn moved(&self, address: Address, transport: Transport) -> Self {
        let way = match &self.way {
            // What is known of a name holds, however its host is reached.
            Way::Remote(_, names) if address == self.address => {
                Way::Remote(Arc::default(), names.clone())
            }
            _ => Way::to(&address),
        };
        let (load, live) = (Arc::clone(&self.load), Arc::clone(&self.live));
        Self { address, transport, load, live, way }
    }

    /// Returns where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns how it is reached.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Tells whether it is a service in this process.
    pub fn is_local(&self) -> bool {
        matches!(self.way, Way::Local(_))
    }

    /// Returns how many connections are idle.
    pub fn connections_idle(&self) -> usize {
        match &self.way {
            Way::Remote(pool, _) => pool.idle(),
            Way::Local(_) => 0,
        }
    }

    /// Sends a request and waits for the head of the answer, without a deadline of its own but that
    /// of connecting.
    ///
    /// # Errors
    ///
    /// What another target may have comes back in the error ([`Error::take_unsent`]): what was not sent
    /// at all, and what was lost with a target that is ending.
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        self.send_for(request, &mut Account::default()).await
    }

    /// Does the same for an exchange that is accounted for.
    pub(crate) async fn send_for(
        &self,
        request: Request<Body>,
        account: &mut Account,
    ) -> Result<Response<Body>, Error> {
        let rest = match self.send_kept(request, account) {
            Ok(kept) => match kept.await {
                Ok(response) => return Ok(response),
                Err(failed) => self.after_kept(failed)?,
            },
            Err(rest) => rest,
        };
        self.send_rest(rest, account).await
    }

    /// Sends a request at once, over a connection that was kept. It comes back if there is none.
    #[expect(clippy::result_large_err, reason = "both go on, and neither far")]
    pub(crate) fn send_kept(
        &self,
        mut request: Request<Body>,
        account: &mut Account,
    ) -> Result<impl Future<Output = Result<Response<Body>, Box<KeptFailed>>> + Send + use<>, Rest>
    {
        let idle = match &self.way {
            Way::Remote(pool, _) => Handle::try_current().ok().and_then(|r| pool.take(r.id())),
            Way::Local(_) => None,
        };
        let Some(idle) = idle else { return Err(Rest { request, lost: false }) };
        let (is_whole, replayable) = (request.body().is_end_stream(), is_replayable(&request));
        let copy = is_whole.then(|| HeadCopy::of(&mut request, &idle.seat.traffic));
        account.sending(true);
        Ok(Kept { answer: idle.send(request), copy, replayable })
    }

    /// Decides what becomes of a request that got no answer over a connection that was kept.
    pub(crate) fn after_kept(&self, failed: Box<KeptFailed>) -> Result<Rest, Error> {
        match *failed {
            KeptFailed { lost: Lost::Unsent(request), .. } => {
                Ok(Rest { request: *request, lost: false })
            }
            // It was stale, and the target has seen nothing.
            KeptFailed {
                lost: Lost::Sent { written: false, .. },
                copy: Some(copy),
                fate: None,
                ..
            } => Ok(Rest { request: copy, lost: false }),
            // RFC 9110 §9.2.2 allows it for what is idempotent; that nothing came back makes a stale
            // connection by far the likeliest cause.
            KeptFailed {
                lost: Lost::Sent { received: false, .. },
                copy: Some(copy),
                replayable: true,
                fate: None,
            } => {
                tracing::debug!(target = %self.address, "a stale connection is replaced");
                if let Way::Remote(pool, _) = &self.way {
                    pool.note_dropped();
                }
                Ok(Rest { request: copy, lost: true })
            }
            KeptFailed { lost: Lost::Sent { error, received, .. }, fate, .. } => {
                Err(broken(error, received, fate))
            }
            KeptFailed { lost: Lost::Wrong(error), .. } => Err(error),
        }
    }

    /// Sends a request for which no connection was kept, or whose connection was stale.
    pub(crate) async fn send_rest(
        &self,
        rest: Rest,
        account: &mut Account,
    ) -> Result<Response<Body>, Error> {
        let Rest { request, lost } = rest;
        if let Way::Local(local) = &self.way {
            account.sending(false);
            return local.send(request, &self.load).await;
        }
        if Handle::try_current().is_err() {
            return Err(no_runtime(request));
        }
        // In a box of its own: opening a connection takes twice the room of all else, and seldom is.
        let sent = Box::pin(self.send_fresh(request, None, account)).await;
        sent.map_err(|error| if lost { once_more(error) } else { error })
    }

    /// Sends a request that asks for another protocol. An answer of 101 comes with the target's side of
    /// the tunnel to come; whether it is what was asked for is for the caller to see.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::send`].
    pub(crate) async fn send_upgrade(
        &self,
        request: Request<Body>,
        account: &mut Account,
    ) -> Result<(Response<Body>, Option<Line>), Error> {
        if let Way::Local(local) = &self.way {
            account.sending(false);
            return local.send_upgrade(request, &self.load).await;
        }
        let mut response = self.send_for(request, account).await?;
        let line = (response.status() == StatusCode::SWITCHING_PROTOCOLS)
            .then(|| Line::Wire(hyper::upgrade::on(&mut response)));
        Ok((response, line))
    }

    /// Sends a request over a connection of its own, if need be to another port.
    ///
    /// # Errors
    ///
    /// As [`Endpoint::send`].
    pub async fn probe(
        &self,
        request: Request<Body>,
        port: Option<u16>,
    ) -> Result<Response<Body>, Error> {
        if let Way::Local(local) = &self.way {
            return local.call(request).await;
        }
        if Handle::try_current().is_err() {
            return Err(no_runtime(request));
        }
        let address = port.map(|port| self.address.at_port(port));
        let address = address.as_ref().unwrap_or(&self.address);
        self.send_fresh(request, Some(address), &mut Account::default()).await
    }

    /// Opens a connection and sends over it; one opened for a `probe` never reaches the pool.
    async fn send_fresh(
        &self,
        request: Request<Body>,
        probe: Option<&Address>,
        account: &mut Account,
    ) -> Result<Response<Body>, Error> {
        let address = probe.unwrap_or(&self.address);
        let (pool, names) = match &self.way {
            Way::Remote(pool, names) => {
                (probe.is_none().then(|| Arc::clone(pool)), names.as_deref())
            }
            Way::Local(_) => (None, None),
        };
        let pool = pool.unwrap_or_default();
        let max = self.transport.connections_max;
        let Some(place) = pool.place(max) else {
            let error = Error::new(Kind::Saturated, format!("{address} has {max} connections"));
            return Err(error.with_unsent(request));
        };
        account.connecting();
        let started = Instant::now();
        let timeout = self.transport.connect_timeout;
        let stream = match connect::connect(address, names, timeout).await {
            Ok(stream) => stream,
            Err(error) => return Err(error.with_unsent(request)),
        };
        account.connected(started.elapsed());
        self.send_over(stream, place, address, &pool, request).await
    }

    /// Sends over a stream that was just opened.
    async fn send_over(
        &self,
        stream: TcpStream,
        place: Place,
        address: &Address,
        pool: &Arc<Pool>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Error> {
        let idle = match driver::start(stream, place, pool, &self.load, &self.transport).await {
            Ok(idle) => idle,
            Err(error) => return Err(Error::new(Kind::Connect, error).with_unsent(request)),
        };
        let (seat, replayable) = (Arc::clone(&idle.seat), is_replayable(&request));
        let is_whole = request.body().is_end_stream();
        let copy = is_whole.then(|| HeadCopy::of(&mut request, &seat.traffic));
        let lost = match idle.send(request).await {
            Ok(response) => {
                pool.note_alive();
                return Ok(response);
            }
            Err(lost) => lost,
        };
        let unsent = match (lost.with_copy(copy, &seat.traffic), seat.fate.error()) {
            ((Lost::Unsent(request), _), _) => *request,
            // A target that is about to end may let a connection in that nobody will serve.
            ((Lost::Sent { written: false, .. }, Some(copy)), None) => copy,
            ((Lost::Sent { error, received: false, .. }, Some(copy)), None)
                if replayable && pool.is_ending() =>
            {
                return Err(once_more(broken(error, false, None).with_unsent(copy)));
            }
            ((Lost::Sent { error, received, .. }, _), fate) => {
                return Err(broken(error, received, fate));
            }
            ((Lost::Wrong(error), _), _) => return Err(error),
        };
        let text = format!("{address} closed the connection before the request");
        let error = Error::new(Kind::Connect, text).with_reason("connection_terminated");
        Err(error.with_unsent(unsent))
    }

    /// Takes charge of an answer's body, so that it too ends at the deadline.
    pub(crate) fn adopt(&self, body: Body) -> Body {
        match &self.way {
            Way::Remote(..) => body,
            Way::Local(_) => self.live.adopt(body, &self.load),
        }
    }

    /// Begins to heed the deadline of its load, where no connection's driver does.
    pub(crate) fn drain(&self) {
        self.live.cut_when_drained(&self.load);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

/// On a request that a target may have seen and that another may have: if it is lost there too, that
/// is all. It may be the request that ends those who get it.
#[derive(Clone, Copy)]
struct Replayed;

/// Marks the request that comes back with an error as one that was lost.
fn once_more(error: Error) -> Error {
    match error.take_unsent() {
        Some(mut request) => {
            request.extensions_mut().insert(Replayed);
            error.with_unsent(request)
        }
        None => error,
    }
}

fn no_runtime(request: Request<Body>) -> Error {
    Error::from(Kind::NoRuntime).with_unsent(request)
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

/// Says what broke an exchange of which something may have been sent.
fn broken(error: hyper::Error, received: bool, fate: Option<BodyError>) -> Error {
    if let Some(error) = local::of_client(&error) {
        return error;
    }
    let broken = match fate {
        Some(BodyError::Cut) => return Kind::Cut.into(),
        Some(error) => {
            return Error::new(Kind::Exchange, error).with_reason("connection_terminated");
        }
        None if error.is_incomplete_message() && received => Error::new(
            Kind::Exchange,
            "the target closed the connection in the middle of its answer's head",
        )
        .with_reason("http_response_incomplete"),
        None if error.is_incomplete_message() => {
            Error::new(Kind::Exchange, "the target closed the connection without an answer")
                .with_reason("connection_terminated")
        }
        None if error.is_parse() => Error::new(Kind::Exchange, with_causes(&error)),
        None => {
            Error::new(Kind::Exchange, with_causes(&error)).with_reason("connection_terminated")
        }
    };
    if received { broken } else { broken.with_unanswered() }
}

/// Says an error and all its causes, which hyper's own words leave out.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        match error.downcast_ref() {
            Some(error) => text.push_str(&system::plain(error)),
            None => text.push_str(&error.to_string()),
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Sends over a connection that its other side has reset, which is not known here yet.
    async fn over_a_reset_connection(request: Request<Body>) -> Error {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        listener.accept().await.unwrap().0.set_zero_linger().unwrap();
        let address = Address::Socket(address);
        let endpoint = Endpoint::new(address.clone(), Transport::default(), Arc::default());
        let pool = Arc::<Pool>::default();
        let place = pool.place(1).unwrap();
        let sent = endpoint.send_over(stream, place, &address, &pool, request).await;
        sent.unwrap_err()
    }

    #[test]
    fn what_is_known_of_a_name_outlives_a_change_of_how_its_host_is_reached() {
        let names = |endpoint: &Endpoint| match &endpoint.way {
            Way::Remote(_, names) => names.clone(),
            Way::Local(_) => None,
        };
        let address = |text: &str| text.parse::<Address>().unwrap();
        let old = Endpoint::new(address("app:80"), Transport::default(), Arc::default());
        let same = old.moved(address("app:80"), Transport::new().connections_max(1));
        assert!(Arc::ptr_eq(&names(&old).unwrap(), &names(&same).unwrap()));
        let other = old.moved(address("other:80"), Transport::default());
        assert!(!Arc::ptr_eq(&names(&old).unwrap(), &names(&other).unwrap()));
        assert!(names(&old.moved(address("10.0.0.7:80"), Transport::default())).is_none());
    }

    #[tokio::test]
    async fn a_request_of_which_nothing_was_written_comes_back() {
        let mut request = Request::post("/a").body(Body::default()).unwrap();
        request.extensions_mut().insert("kept");
        let error = over_a_reset_connection(request).await;
        assert_eq!(error.kind(), Kind::Connect, "{error}");
        let request = error.take_unsent().unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/a"));
        assert_eq!(request.extensions().get(), Some(&"kept"));
    }
}
