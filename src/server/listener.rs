//! One listener: it accepts, starts a task for each connection, and ends them all in the end.
//!
//! Accepting goes on whatever happens. What makes it fail is mostly a lack of descriptors, which would
//! fail again at once and for as long as it lasts.

use std::{
    future::poll_fn,
    io,
    net::{self, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{connection, drain::Drain, ending::Socket, served::ForPeer, watch::Limits};
use crate::{endpoint::panic_text, head::Peer};

/// The first pause after a failure; each that follows is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest: a client waits no longer than this for a descriptor that is free.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// How often a failure is spoken of.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

/// What tokio takes as well; the system has its own, mostly lower, bound.
const BACKLOG: u32 = 1024;

/// A socket that listens, on the runtime on which it was made.
pub(super) struct Listener {
    socket: Arc<Socket>,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // So that a restart need not wait for the connections of the process before. On Windows it
        // would let anybody take the port.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Self::of(socket.listen(BACKLOG)?)
    }

    pub(super) fn new(listener: net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Self::of(TcpListener::from_std(listener)?)
    }

    fn of(socket: TcpListener) -> io::Result<Self> {
        let address = socket.local_addr()?;
        Ok(Self { socket: Arc::new(Socket::new(socket)), address })
    }

    pub(super) fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts until the word to drain, then waits for the connections. Returns how many were cut.
    pub(super) async fn serve<P: ForPeer>(
        self,
        served: Arc<P>,
        admit: Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>,
        limits: Arc<ArcSwap<Limits>>,
        drain: Arc<Drain>,
    ) -> usize {
        tracing::debug!(address = %self.address, "listening");
        let mut connections = JoinSet::new();
        let mut failures = Failures::default();
        let mut ends = pin!(drain.begun());
        loop {
            tokio::select! {
                biased;
                () = &mut ends => break,
                Some(ended) = connections.join_next() => note(ended),
                (stream, client) = self.accept(&mut failures) => {
                    if !admits(&*admit, client) {
                        continue;
                    }
                    let (served, drain) = (Arc::clone(&served), Arc::clone(&drain));
                    let limits = **limits.load();
                    connections.spawn(connect(stream, client, served, limits, drain));
                }
            }
        }
        finish(connections, drain.limit).await
    }

    /// Accepts the next connection, however often that fails. It may be dropped and called again.
    async fn accept(&self, failures: &mut Failures) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(until) = failures.until {
                sleep_until(until).await;
            }
            match poll_fn(|cx| self.socket.poll_accept(cx)).await {
                Ok(accepted) => {
                    failures.ended();
                    return accepted;
                }
                Err(error) => {
                    if let Some(times) = failures.add(&error, Instant::now()) {
                        tracing::warn!(address = %self.address, %error, times, "cannot accept");
                    }
                }
            }
        }
    }
}

/// Asks whether a client may connect; a panic is a no, since what decides that must not fail open.
fn admits(admit: &(dyn Fn(SocketAddr) -> bool + Send + Sync), client: SocketAddr) -> bool {
    catch_unwind(AssertUnwindSafe(|| admit(client))).unwrap_or_else(|panic| {
        tracing::error!(%client, panic = panic_text(&*panic), "who may connect cannot be decided");
        false
    })
}

/// Serves one connection.
async fn connect<P: ForPeer>(
    stream: TcpStream,
    client: SocketAddr,
    served: Arc<P>,
    limits: Limits,
    drain: Arc<Drain>,
) {
    // These fail for a connection that is gone.
    let (Ok(()), Ok(local)) = (stream.set_nodelay(true), stream.local_addr()) else { return };
    let service = served.for_peer(Peer::new(client).local(local));
    if let Err(reason) = connection::serve(stream, reset, service, limits, &drain).await {
        tracing::debug!(%client, %local, reason, "a connection ended badly");
    }
}

/// Makes a connection end by a reset when it is closed.
fn reset(stream: &TcpStream) {
    // It fails for one that is gone.
    _ = stream.set_zero_linger();
}

/// Waits for the connections until the deadline, and cuts the rest.
async fn finish(mut connections: JoinSet<()>, limit: Duration) -> usize {
    let all = async {
        while let Some(ended) = connections.join_next().await {
            note(ended);
        }
    };
    // Within the limit there is nothing left to abort.
    _ = timeout(limit, all).await;
    connections.abort_all();
    let mut cut = 0;
    while let Some(ended) = connections.join_next().await {
        match ended {
            Err(error) if error.is_cancelled() => cut += 1,
            ended => note(ended),
        }
    }
    cut
}

/// Says that a service panicked; it took its connection along, and nothing else.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        tracing::error!(
            panic = panic_text(&*panic),
            "the service panicked, a connection is closed"
        );
    }
}

/// How accepting failed of late.
#[derive(Default)]
struct Failures {
    /// Not to be tried again before.
    until: Option<Instant>,
    pause: Duration,
    spoken: Option<Instant>,
    unspoken: u64,
}

impl Failures {
    /// Notes a failure and says when to try again. Returns how many failures there were since they
    /// were last spoken of, if it is time to do so.
    fn add(&mut self, error: &io::Error, now: Instant) -> Option<u64> {
        if !took_one(error) {
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.until = Some(now + self.pause);
        }
        self.unspoken += 1;
        if self.spoken.is_some_and(|spoken| now < spoken + EVENT_INTERVAL) {
            return None;
        }
        self.spoken = Some(now);
        Some(std::mem::take(&mut self.unspoken))
    }

    fn ended(&mut self) {
        self.until = None;
        self.pause = Duration::ZERO;
    }
}

/// Tells whether a failure took a connection off the queue, so that the next try is another one's.
fn took_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errno(number: i32) -> io::Error {
        io::Error::from_raw_os_error(number)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_a_bound_and_begin_anew_after_a_success() {
        let mut failures = Failures::default();
        let mut pauses = || {
            let mut pause = || {
                failures.add(&errno(24), Instant::now());
                failures.until.unwrap().duration_since(Instant::now()).as_millis()
            };
            let pauses = [pause(), pause(), pause(), pause(), pause(), pause()];
            failures.ended();
            assert_eq!(failures.until, None);
            pauses
        };
        assert_eq!(pauses(), [10, 20, 40, 80, 100, 100]);
        assert_eq!(pauses(), [10, 20, 40, 80, 100, 100]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_spoken_of_once_a_second() {
        let mut failures = Failures::default();
        let now = Instant::now();
        let mut at = |millis| failures.add(&errno(24), now + Duration::from_millis(millis));
        assert_eq!(
            [at(0), at(10), at(999), at(1000), at(1001)],
            [Some(1), None, None, Some(3), None]
        );
        assert_eq!(at(60_000), Some(2));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_aborted_delays_nobody() {
        let check = |number, pauses| {
            let mut failures = Failures::default();
            failures.add(&errno(number), Instant::now());
            assert_eq!(failures.until.is_some(), pauses, "{:?}", errno(number));
        };
        check(103, false); // ECONNABORTED
        check(104, false); // ECONNRESET
        check(4, false); // EINTR
        check(23, true); // ENFILE
        check(24, true); // EMFILE
        check(105, true); // ENOBUFS
        check(12, true); // ENOMEM
    }
}
