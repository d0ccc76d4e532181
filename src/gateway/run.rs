//! A document that runs: its listeners, and what another document changes about them.
//!
//! A listener that stays is never closed: its rules are swapped, its connections go on. When to start,
//! reload and end is the program's affair, and so are files and signals.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{
    assembly::Assembly, document::Document, report::InvalidDocument, security_group::SecurityGroups,
};
use crate::{
    balancer::LoadBalancer,
    server::{BuildError, Drained, Ending, Limits, Server},
    stickiness::{CookieKey, NoEntropy},
};

/// How long exchanges may go on when a listener ends.
const DRAIN: Duration = Duration::from_secs(30);

/// Refused connections are told of once in this time, so that a flood of them fills no disk.
const REFUSED_EVERY: Duration = Duration::from_secs(1);

/// Runs a [`Document`].
///
/// Dropping it closes all its sockets and connections.
///
/// # Examples
///
/// ```
/// use pointsman::gateway::{Document, Gateway};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
/// let text = format!(r#"{{"Listeners": [{{
///     "Protocol": "HTTP", "Port": {port},
///     "DefaultActions": [{{
///         "Type": "fixed-response", "FixedResponseConfig": {{"StatusCode": "404"}}
///     }}]
/// }}]}}"#);
/// let mut gateway = Gateway::start(&Document::parse(&text)?, [127, 0, 0, 1].into())?;
/// assert_eq!(gateway.local_addrs()[0].port(), port);
/// // Another document, later: what stays the same is not touched.
/// gateway.reload(&Document::parse(&text)?)?;
/// assert_eq!(gateway.shutdown().await, 0);
/// # Ok(())
/// # }
/// ```
pub struct Gateway {
    bind: IpAddr,
    key: CookieKey,
    assembly: Assembly,
    security_groups: Arc<ArcSwap<SecurityGroups>>,
    listeners: HashMap<u16, Running>,
    /// Listeners that were removed and finish what they have.
    ending: JoinSet<usize>,
}

/// A listener that runs.
struct Running {
    address: SocketAddr,
    balancer: LoadBalancer,
    /// Of connections that are opened from now on.
    limits: Arc<ArcSwap<Limits>>,
    ending: Ending,
    serving: JoinHandle<Drained>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for running in self.listeners.values() {
            running.ending.begin();
            running.serving.abort();
        }
    }
}

/// Why a document does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot be had; its address is in the error.
    #[error(transparent)]
    Listen(#[from] BuildError),
    /// The library refuses what the document says.
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    /// There is no key for the session cookies.
    #[error(transparent)]
    Key(#[from] NoEntropy),
}

impl Gateway {
    /// Starts the listeners of a document on an address, within a tokio runtime; all or none.
    ///
    /// # Errors
    ///
    /// If a port cannot be had, or the operating system gives no random key.
    pub fn start(document: &Document, bind: IpAddr) -> Result<Self, StartError> {
        let key = CookieKey::generate()?;
        let assembly = document.assemble(&key, None)?;
        let security_groups = Arc::new(ArcSwap::from_pointee(SecurityGroups::default()));
        let (listeners, ending) = (HashMap::new(), JoinSet::new());
        let mut gateway = Self { bind, key, assembly, security_groups, listeners, ending };
        let bound = gateway.bind_new(&gateway.assembly)?;
        gateway.assembly.apply();
        gateway.run(document, bound);
        Ok(gateway)
    }

    /// Runs another document in place of this one, without dropping a request.
    ///
    /// Listeners that stay are never closed; groups that stay keep their health, counts, connections
    /// and sessions. How long clients may take and stay changes for connections that are opened later. A
    /// listener that is not in it accepts no more, and its port is free; what it has begun may end within
    /// 30 s.
    ///
    /// # Errors
    ///
    /// As [`Gateway::start`]; then everything stays as it was.
    pub fn reload(&mut self, document: &Document) -> Result<(), StartError> {
        let assembly = document.assemble(&self.key, Some(&self.assembly))?;
        let bound = self.bind_new(&assembly)?;
        // From here on nothing fails.
        assembly.apply();
        self.assembly = assembly;
        self.run(document, bound);
        Ok(())
    }

    /// Returns where it listens, by port.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        let mut addresses =
            self.listeners.values().map(|running| running.address).collect::<Vec<_>>();
        addresses.sort();
        addresses
    }

    /// Returns the groups and listeners that run.
    pub fn assembly(&self) -> &Assembly {
        &self.assembly
    }

    /// Stops accepting, lets exchanges end within 30 s, and returns how many connections were cut.
    pub async fn shutdown(mut self) -> usize {
        for (_, running) in std::mem::take(&mut self.listeners) {
            self.ending.spawn(running.end());
        }
        let mut cut = 0;
        while let Some(ended) = self.ending.join_next().await {
            cut += ended.unwrap_or(0);
        }
        cut
    }

    /// Binds the ports that are not listened on yet.
    fn bind_new(&self, assembly: &Assembly) -> Result<Vec<(u16, Server)>, StartError> {
        let ports = assembly.listeners().iter().map(super::assembly::Listener::port);
        let new = ports.filter(|port| !self.listeners.contains_key(port));
        new.map(|port| {
            let security_groups = Arc::clone(&self.security_groups);
            let told = Mutex::new(None);
            let server = Server::builder()
                .bind((self.bind, port))
                .drain_timeout(DRAIN)
                .admit(move |client| admits(&security_groups.load(), port, client, &told))
                .build()?;
            Ok((port, server))
        })
        .collect()
    }

    /// Starts, swaps and ends listeners as the assembly says.
    fn run(&mut self, document: &Document, bound: Vec<(u16, Server)>) {
        self.security_groups.store(Arc::new(document.security_groups().clone()));
        let mut bound = bound.into_iter().collect::<HashMap<_, _>>();
        for listener in self.assembly.listeners() {
            let port = listener.port();
            if let Some(running) = self.listeners.get(&port) {
                listener.apply_to(&running.balancer);
            } else if let Some(server) = bound.remove(&port) {
                self.listeners.insert(port, Running::start(server, listener.balancer()));
            }
            if let Some(running) = self.listeners.get(&port) {
                running.limits.store(Arc::new(document.limits));
            }
        }
        let stay = self.assembly.listeners().iter().map(super::assembly::Listener::port);
        let stay = stay.collect::<Vec<_>>();
        let gone = self.listeners.keys().filter(|port| !stay.contains(port));
        for port in gone.copied().collect::<Vec<_>>() {
            if let Some(running) = self.listeners.remove(&port) {
                self.ending.spawn(running.end());
            }
        }
        // Those that have ended are forgotten.
        while self.ending.try_join_next().is_some() {}
    }
}

impl Running {
    fn start(server: Server, balancer: LoadBalancer) -> Self {
        let address = server.local_addrs().first().copied();
        let address = address.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
        let limits = server.limits();
        let (ending, serving) = server.serving(balancer.clone());
        Self { address, balancer, limits, ending, serving: tokio::spawn(serving) }
    }

    /// Ends the listener, whose port is free at once; returns how many connections were cut.
    fn end(self) -> impl Future<Output = usize> + Send {
        self.ending.begin();
        // Aborted with the gateway, like a listener that runs.
        let serving = AbortOnDrop(self.serving);
        async move {
            let mut serving = serving;
            (&mut serving.0).await.map_or(0, |drained| drained.cut)
        }
    }
}

struct AbortOnDrop(JoinHandle<Drained>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Decides who may connect, and says now and then who may not.
fn admits(
    security_groups: &SecurityGroups,
    port: u16,
    client: SocketAddr,
    told: &Mutex<Option<Instant>>,
) -> bool {
    if security_groups.admits(port, client.ip()).is_admitted() {
        return true;
    }
    let now = Instant::now();
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|told| now >= told + REFUSED_EVERY) {
        *told = Some(now);
        tracing::warn!(
            %client,
            port,
            groups = %security_groups,
            "connection refused: no security group admits it"
        );
    }
    false
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("listening", &self.local_addrs()).finish_non_exhaustive()
    }
}
