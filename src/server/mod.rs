//! A minimal server for those who have none: it accepts connections and serves any tower service.
//!
//! It decides which connections there are, how long their clients may take, and how they end. What is
//! answered is the service's affair. It speaks HTTP/1.1; a service may
//! take a connection over, as for a WebSocket.
//!
//! ```
//! use pointsman::{LoadBalancer, RuleTable, Target, TargetGroup, server::Server};
//!
//! # use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
//! let web = TargetGroup::builder("web").build()?;
//! web.register(Target::service("app", app));
//! let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
//!
//! let server = Server::builder().bind(([127, 0, 0, 1], 0)).build()?;
//! println!("http://{}", server.local_addrs()[0]);
//! # let address = server.local_addrs()[0];
//! let stop = async {
//!     // tokio::signal::ctrl_c().await
//! #   let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
//! #   stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
//! #   let mut answer = String::new();
//! #   stream.read_to_string(&mut answer).await.unwrap();
//! #   assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
//! };
//! let drained = server.serve_until(balancer, stop).await;
//! assert_eq!(drained.cut, 0);
//! # Ok(())
//! # }
//! ```
//!
//! # What changes while it runs
//!
//! What a [`LoadBalancer`](crate::LoadBalancer) does is changed by its own
//! [`set_rules`](crate::LoadBalancer::set_rules); connections go on. Another service can be swapped by
//! a closure ([`ForPeer`]) that returns the newest: connections that are open keep theirs.
//!
//! The listeners of a server begin and end together. To add and remove them one by one, run a server
//! for each: to remove one, end its server, and the others do not notice. A socket outlives its server
//! if a clone of it was kept ([`ServerBuilder::listener`]).
//!
//! # What a client can do to it
//!
//! | what | what happens |
//! |---|---|
//! | a head of more than 64 KiB or 256 fields | 431 and close |
//! | a head that is none | 400 and close |
//! | a head that takes longer than [`head_timeout`](ServerBuilder::head_timeout) | 408 and close; without an answer, if none of it came |
//! | no request for [`idle_timeout`](ServerBuilder::idle_timeout) | close |
//! | taking no more of an answer for `idle_timeout` | close |
//! | staying for longer than [`client_keep_alive`](ServerBuilder::client_keep_alive) | the next answer says `Connection: close` |
//! | a request body that stalls | the service's affair; a `LoadBalancer` answers 408 |
//! | going on with a request that was answered before its end | what comes is dropped, so that the answer is read: for 30 s, with pauses of 5 s at most; for 1 s once the server ends; then close |
//! | silence on a connection that was taken over | the service's affair; a `LoadBalancer` closes it |
//! | leaving | the request's future or the response's body is dropped |
//! | speaking HTTP/1.0, when an answer without a length breaks off or is cut | a reset: a close would make it a whole one |
//!
//! A server of hyper's without this one around it, such as axum's, closes in the last case. One that
//! is told `with_upgrades` may lose the end of an answer that comes before the end of its request, if
//! any request on the connection had an `Upgrade`; here no answer is lost by that.
//!
//! What ends badly is one `tracing` event at level debug, with a `reason`: `head_too_large`,
//! `malformed`, `head_timeout`, `write_timeout`, `client_left`, `service_failed`, `io`.

mod connection;
mod drain;
mod ending;
mod hold;
mod listener;
mod served;
mod watch;

use std::{
    fmt,
    future::pending,
    io,
    net::{self, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::runtime::Handle;

pub use self::served::{ForPeer, ToldPeer, WithPeer};
use self::{drain::Drain, listener::Listener};
pub(crate) use self::{ending::Ending, watch::Limits};

/// Listens, and serves whoever connects.
///
/// Dropping it, or the future that serves, closes its sockets and all its connections; no task is
/// left, but of those that took a connection over, which sees it break.
///
/// # Examples
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use pointsman::{Peer, server::{Server, WithPeer}};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new().route("/", get(|Extension(peer): Extension<Peer>| async move {
///     format!("hello {}\n", peer.ip())
/// }));
/// let server = Server::builder().bind(([127, 0, 0, 1], 0)).build()?;
/// let serving = tokio::spawn(server.serve(WithPeer(app)));
/// // ...
/// serving.abort();
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listeners: Vec<Listener>,
    addresses: Vec<SocketAddr>,
    /// Of connections that are opened from now on.
    limits: Arc<ArcSwap<Limits>>,
    drain_timeout: Duration,
    admit: Admit,
}

/// Makes a [`Server`].
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `head_timeout` | 30 s | enough for the slowest honest client |
/// | `idle_timeout` | 60 s | ALB's |
/// | `client_keep_alive` | 1 h | ALB's: clients of new addresses, or of other servers, are found again |
/// | `requests_per_connection_max` | none | ALB has none for HTTP/1.1 |
/// | `drain_timeout` | 30 s | what supervisors commonly grant before they kill |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pointsman::server::Server;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A socket that was handed over, beside an address of our own.
/// let inherited = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let server = Server::builder()
///     .listener(inherited)
///     .bind(([127, 0, 0, 1], 0))
///     .head_timeout(Duration::from_secs(10))
///     .build()?;
/// assert_eq!(server.local_addrs().len(), 2);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ServerBuilder {
    sockets: Vec<Socket>,
    limits: Limits,
    drain_timeout: Duration,
    admit: Admit,
}

/// Decides who may connect.
type Admit = Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>;

#[derive(Debug)]
enum Socket {
    Bind(SocketAddr),
    Given(net::TcpListener),
}

/// Why a server cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It cannot listen on this address.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, #[source] io::Error),
    /// A listener that was given cannot be used.
    #[error("cannot use a listener: {0}")]
    Listener(#[source] io::Error),
    /// It was told of no address and no listener.
    #[error("no address to listen on: expected one at least")]
    NoAddress,
    /// A timeout is zero; its name.
    #[error("{0} 0s: expected more")]
    ZeroTimeout(&'static str),
    /// A number is zero; its name.
    #[error("{0} 0: expected 1 or more")]
    ZeroCount(&'static str),
    /// There is no tokio runtime here to listen on.
    #[error("not within a tokio runtime")]
    NoRuntime,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many connections had not ended at the deadline, and were cut.
    pub cut: usize,
}

impl ServerBuilder {
    /// Adds an address to listen on; port 0 is one of the system's choice.
    pub fn bind(mut self, address: impl Into<SocketAddr>) -> Self {
        self.sockets.push(Socket::Bind(address.into()));
        self
    }

    /// Adds a socket that listens already; one of tokio's is given by its `into_std`.
    ///
    /// A clone of it, by `try_clone`, that is kept aside keeps the socket open when the server ends:
    /// clients wait in its queue until another server gets it.
    pub fn listener(mut self, listener: net::TcpListener) -> Self {
        self.sockets.push(Socket::Given(listener));
        self
    }

    /// Sets how long the head of a request may take: from its first byte, or for the first request
    /// of a connection from accepting it.
    pub fn head_timeout(mut self, timeout: Duration) -> Self {
        self.limits.head = timeout;
        self
    }

    /// Sets how long a connection may wait for its next request, and for the client to take more of
    /// an answer.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle = timeout;
        self
    }

    /// Sets how old a connection may get: the next answer after that says `Connection: close`, and
    /// ends it. One that is idle then gets one more answer, so that no request is lost.
    pub fn client_keep_alive(mut self, age: Duration) -> Self {
        self.limits.keep_alive = age;
        self
    }

    /// Sets how many requests a connection may bring: the answer to the last says `Connection: close`,
    /// and ends it.
    pub fn requests_per_connection_max(mut self, max: u64) -> Self {
        self.limits.requests = max;
        self
    }

    /// Sets how long exchanges may go on when the server is to end.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Sets who may connect: of a client that may not, the connection is closed before a byte is read.
    /// Default: everybody.
    pub fn admit(mut self, admit: impl Fn(SocketAddr) -> bool + Send + Sync + 'static) -> Self {
        self.admit = Arc::new(admit);
        self
    }

    /// Binds the addresses.
    ///
    /// # Errors
    ///
    /// If there is none or one cannot be bound; if `head_timeout`, `idle_timeout`,
    /// `client_keep_alive` or `requests_per_connection_max` is zero; outside a tokio runtime.
    ///
    /// # Panics
    ///
    /// As tokio does, if the runtime was made without I/O.
    pub fn build(mut self) -> Result<Server, BuildError> {
        let Limits { head, idle, keep_alive, requests } = self.limits;
        if requests == 0 {
            return Err(BuildError::ZeroCount("requests_per_connection_max"));
        }
        for (name, timeout) in
            [("head_timeout", head), ("idle_timeout", idle), ("client_keep_alive", keep_alive)]
        {
            if timeout.is_zero() {
                return Err(BuildError::ZeroTimeout(name));
            }
        }
        if self.sockets.is_empty() {
            return Err(BuildError::NoAddress);
        }
        if Handle::try_current().is_err() {
            return Err(BuildError::NoRuntime);
        }
        let listen = |socket| match socket {
            Socket::Bind(address) => {
                Listener::bind(address).map_err(|error| BuildError::Bind(address, error))
            }
            Socket::Given(listener) => Listener::new(listener).map_err(BuildError::Listener),
        };
        let sockets = std::mem::take(&mut self.sockets);
        let listeners: Vec<_> = sockets.into_iter().map(listen).collect::<Result<_, _>>()?;
        let addresses = listeners.iter().map(Listener::address).collect();
        let Self { limits, drain_timeout, admit, .. } = self;
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        Ok(Server { listeners, addresses, limits, drain_timeout, admit })
    }
}

impl Server {
    /// Starts a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder {
            sockets: Vec::new(),
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(30),
            admit: Arc::new(|_| true),
        }
    }

    /// Returns the addresses it listens on, in the order in which they were given.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until its future is dropped.
    pub async fn serve(self, served: impl ForPeer) {
        self.serve_until(served, pending()).await;
    }

    /// Serves until `stop` ends; then accepts no more, closes what is idle, lets exchanges end with
    /// `Connection: close`, and cuts what is left at the deadline. Connections that were taken over are
    /// waited for, and cut, too.
    ///
    /// Dropping the future cuts at once, which is what a second signal could do.
    ///
    /// # Examples
    ///
    /// ```
    /// use pointsman::{LoadBalancer, RuleTable, TargetGroup, server::Server};
    /// use tokio::sync::oneshot;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let web = TargetGroup::builder("web").build()?;
    /// # let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    /// let server = Server::builder().bind(([127, 0, 0, 1], 0)).build()?;
    /// let (stop, stopped) = oneshot::channel::<()>();
    /// let serving = tokio::spawn(server.serve_until(balancer, async { _ = stopped.await }));
    /// // ...
    /// drop(stop);
    /// println!("{} connections were cut", serving.await?.cut);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn serve_until(
        self,
        served: impl ForPeer,
        stop: impl Future<Output = ()>,
    ) -> Drained {
        let (ending, serving) = self.serving(served);
        let stopping = async {
            stop.await;
            ending.begin();
        };
        let (drained, ()) = tokio::join!(serving, stopping);
        drained
    }

    /// Returns the limits of connections that are opened from now on, to be changed.
    pub(crate) fn limits(&self) -> Arc<ArcSwap<Limits>> {
        Arc::clone(&self.limits)
    }

    /// Returns what ends it, and what serves until then.
    pub(crate) fn serving(
        self,
        served: impl ForPeer,
    ) -> (Ending, impl Future<Output = Drained> + Send) {
        let served = Arc::new(served);
        let drain = Arc::new(Drain::new(self.drain_timeout));
        let sockets = self.listeners.iter().map(|listener| Arc::downgrade(listener.socket()));
        let ending = Ending { sockets: sockets.collect(), drain: Arc::clone(&drain) };
        let (limits, listeners) = (self.limits(), self.listeners.into_iter());
        let serving = join_all(listeners.map(move |listener| {
            let (served, admit) = (Arc::clone(&served), Arc::clone(&self.admit));
            listener.serve(served, admit, Arc::clone(&limits), Arc::clone(&drain))
        }));
        (ending, async { Drained { cut: serving.await.iter().sum() } })
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("sockets", &self.sockets)
            .field("limits", &self.limits)
            .field("drain_timeout", &self.drain_timeout)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
