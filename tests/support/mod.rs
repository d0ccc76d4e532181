//! Servers and clients for the tests over real sockets, all on 127.0.0.1 and ports of the system's
//! choice.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod examples;
pub mod programs;
pub mod socket;

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use pointsman::{
    Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    layer::{ForwardTo, RespondLayer},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tower::{Layer, Service};

use self::socket::{Socket, keep_little};

/// How long a test waits for something that must happen; far above what it takes.
pub const SOON: Duration = Duration::from_secs(60);

/// Held by a test that opens hundreds of sockets, since a process may often have no more than 1024.
pub static MANY_SOCKETS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A server that a test stops by dropping it: its socket and all its connections are closed.
pub struct Server {
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// What a server saw.
#[derive(Default)]
pub struct Counts {
    pub requests: AtomicUsize,
    pub opened: AtomicUsize,
    pub open: AtomicUsize,
}

impl Counts {
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves every connection by `serve`; dropping the server ends them all.
    pub async fn accept<F, Fut>(address: SocketAddr, serve: F) -> Self
    where
        F: Fn(TcpStream, SocketAddr, Arc<Counts>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        // With fewer places, hundreds of connections at once would wait for a second.
        let listener = socket.listen(1024).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let task = tokio::spawn({
            let counts = Arc::clone(&counts);
            async move {
                let mut connections = tokio::task::JoinSet::new();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let Ok((stream, peer)) = accepted else { continue };
                            stream.set_nodelay(true).unwrap();
                            counts.opened.fetch_add(1, Ordering::SeqCst);
                            counts.open.fetch_add(1, Ordering::SeqCst);
                            let open = Open(Arc::clone(&counts));
                            let serving = serve(stream, peer, Arc::clone(&counts));
                            connections.spawn(async move {
                                let _open = open;
                                serving.await;
                            });
                        }
                        Some(_) = connections.join_next() => {}
                    }
                }
            }
        });
        Self { address, counts, task }
    }

    /// A hyper server that answers by a function.
    pub async fn answering<F, Fut>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::answering_at(([127, 0, 0, 1], 0).into(), answer).await
    }

    /// The same at a given address, to come back where one was stopped.
    pub async fn answering_at<F, Fut>(address: SocketAddr, answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<Body>> + Send + 'static,
    {
        Self::accept(address, move |stream, _, counts| {
            let answer = answer.clone();
            async move {
                let service = service_fn(move |request| {
                    counts.requests.fetch_add(1, Ordering::SeqCst);
                    let answering = answer(request);
                    async move { Ok::<_, Infallible>(answering.await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                _ = http.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// A hyper server that answers everything with its name.
    pub async fn named(name: &'static str) -> Self {
        Self::answering(move |_| async move { Response::new(Body::from(name)) }).await
    }

    /// A target that a function plays by hand, a connection at a time.
    pub async fn by_hand<F, Fut>(serve: F) -> Self
    where
        F: Fn(Socket, Arc<Counts>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::accept(([127, 0, 0, 1], 0).into(), move |stream, _, counts| {
            serve(Socket::new(stream), counts)
        })
        .await
    }

    /// A hyper server around a balancer, which is told who the client is.
    pub async fn balancing(balancer: &LoadBalancer) -> Self {
        let balancer = balancer.clone();
        Self::serving(move |peer| balancer.for_peer(peer)).await
    }

    /// The same around a service that forwards to one target.
    pub async fn forwarding(forward: &ForwardTo) -> Self {
        let forward = forward.clone();
        Self::serving(move |peer| RespondLayer::new().layer(forward.for_peer(peer))).await
    }

    /// The same, of whose connections the system keeps little.
    pub async fn balancing_closely(balancer: &LoadBalancer) -> Self {
        let balancer = balancer.clone();
        Self::serving_over(keep_little, move |peer| balancer.for_peer(peer)).await
    }

    /// A hyper server around a service for each client.
    pub async fn serving<S>(service_for: impl Fn(Peer) -> S + Send + 'static) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        Self::serving_over(|_| {}, service_for).await
    }

    async fn serving_over<S>(
        prepare: fn(&TcpStream),
        service_for: impl Fn(Peer) -> S + Send + 'static,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
    {
        Self::accept(([127, 0, 0, 1], 0).into(), move |stream, peer, _| {
            prepare(&stream);
            let peer = Peer::new(peer).local(stream.local_addr().unwrap());
            let service = TowerToHyperService::new(service_for(peer));
            async move {
                let http = hyper::server::conn::http1::Builder::new();
                _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
            }
        })
        .await
    }

    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A group of these targets, a balancer that forwards all to it, and a server around that.
pub struct Front {
    pub group: TargetGroup,
    pub balancer: LoadBalancer,
    pub server: Server,
}

impl Front {
    /// A front of a group with nothing special.
    pub async fn of(targets: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self::with(TargetGroup::builder("web").build().unwrap(), targets).await
    }

    /// A front of this group, to which the targets are added.
    pub async fn with(group: TargetGroup, targets: impl IntoIterator<Item = SocketAddr>) -> Self {
        for target in targets {
            group.register(Target::new(target));
        }
        let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
        let server = Server::balancing(&balancer).await;
        Self { group, balancer, server }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    pub fn uri(&self, path: &str) -> String {
        self.server.uri(path)
    }

    /// Waits until no exchange is in flight any more.
    pub async fn at_rest(&self) {
        at_rest(&self.group).await;
    }
}

/// Waits until a group has no exchange in flight any more.
pub async fn at_rest(group: &TargetGroup) {
    until("no exchange is in flight", || group.status().in_flight() == 0).await;
}

/// A client that keeps its connections.
pub fn client() -> Client<HttpConnector, Body> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// Sends a request and reads the whole answer; the body as text.
pub async fn fetch(
    client: &Client<HttpConnector, Body>,
    request: Request<Body>,
) -> (http::response::Parts, String) {
    let response = soon("an answer", client.request(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = soon("the end of the answer", body.collect()).await.unwrap().to_bytes();
    (parts, String::from_utf8_lossy(&bytes).into_owned())
}

/// Sends a GET and reads the whole answer; the status and the body as text.
pub async fn get(client: &Client<HttpConnector, Body>, uri: String) -> (u16, String) {
    let (parts, text) = fetch(client, Request::get(uri).body(Body::default()).unwrap()).await;
    (parts.status.as_u16(), text)
}

/// Waits for something that must come.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("never came: {what}"),
    }
}

/// Limits within which something must happen that is quick, in the order in which they are tried.
pub const LIMITS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(2), Duration::from_secs(20)];

/// Checks what comes of a limit, each time in full, within which something else must happen. On a
/// busy machine the limit may be over before, so a longer one is tried then; the longest decides.
pub async fn within_limits<T: PartialEq + fmt::Debug>(
    expected: T,
    attempt: impl AsyncFn(Duration) -> T,
) {
    let mut found = None;
    for limit in LIMITS {
        let this = attempt(limit).await;
        if this == expected {
            return;
        }
        found = Some(this);
    }
    assert_eq!(found, Some(expected), "whatever the limit");
}

/// Waits until something holds. It looks again and again, with pauses that leave the processor to
/// what is waited for.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    soon(what, waiting).await;
}
