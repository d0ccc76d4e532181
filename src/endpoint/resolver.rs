//! The addresses of a name: when the system is asked for them, and which answer is used.
//!
//! One look-up is under way at a time, and whoever needs the addresses waits for it; while none
//! succeeds, the last good answer stands. A look-up belongs to nobody: it goes on when those who wait
//! for it leave. How long connecting may take, and what an error says, is `connect.rs`'s affair.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::system;

/// For how long what a look-up says is used without another one, be it good or not, from when it was
/// begun. The system does not tell how long an answer holds; a second is the least that DNS can say,
/// and keeps a burst of connections from asking for each.
const TTL_MIN: Duration = Duration::from_secs(1);

/// How long a look-up is waited for by those who have an older answer, and never longer than half of the
/// time they have. It is well below the timeout of a health check, which would fail otherwise, and most
/// look-ups take milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a look-up that does not end may keep another from beginning. A system commonly asks each of
/// at most three servers twice, and waits 5 s for each answer.
const LOOK_UP_MAX: Duration = Duration::from_secs(30);

/// The addresses of one name, whatever the port.
pub(super) struct Resolver {
    shared: Arc<Shared>,
    look_up: Box<dyn Fn(LookUp) + Send + Sync>,
}

/// What is known of a name, and who waits to know it.
struct Shared {
    name: Arc<str>,
    known: Mutex<Known>,
    ended: Notify,
}

#[derive(Default)]
struct Known {
    /// The last good answer.
    good: Option<Good>,
    /// What was said last, good or not.
    last: Option<Said>,
    /// When the look-up under way was begun.
    under_way: Option<Instant>,
    /// Whether a wait was in vain since the last good answer; until the next, nobody who has that one
    /// waits again.
    is_late: bool,
    /// Whether it was told that the last good answer is used although it is an older one.
    is_told: bool,
}

/// At least one address, each with port 0.
#[derive(Clone)]
struct Good {
    addresses: Arc<[SocketAddr]>,
    asked: Instant,
}

struct Said {
    asked: Instant,
    error: Option<Arc<io::Error>>,
}

/// Why there is no address, not even an older one.
#[derive(Debug)]
pub(super) enum Unknown {
    Failed(Arc<io::Error>),
    Late,
}

impl Resolver {
    /// Makes a resolver that asks the system, as tokio's `lookup_host` does: on a thread of the runtime's
    /// for what blocks. That cannot be stopped, so its answer is taken in even if nobody waits any more.
    pub(super) fn new(name: Arc<str>) -> Self {
        Self::by(name, |look_up| {
            tokio::task::spawn_blocking(|| {
                let found = (&*look_up.shared.name, 0).to_socket_addrs();
                look_up.end(found.map(Iterator::collect));
            });
        })
    }

    fn by(name: Arc<str>, look_up: impl Fn(LookUp) + Send + Sync + 'static) -> Self {
        let (known, ended) = (Mutex::default(), Notify::new());
        let shared = Arc::new(Shared { name, known, ended });
        Self { shared, look_up: Box::new(look_up) }
    }

    /// Returns the addresses, with port 0, for a connection that begins now and may take `timeout` in
    /// all. If there is an older answer to use, at least half of that is left for connecting.
    pub(super) async fn addresses(
        &self,
        now: Instant,
        timeout: Duration,
    ) -> Result<Arc<[SocketAddr]>, Unknown> {
        let (asked, until) = self.ask(now, timeout);
        // Whether that was in vain is seen from what is known then.
        _ = timeout_at(until, self.shared.until_said(asked)).await;
        self.choose(now, asked, until)
    }

    /// Begins a look-up, unless one is under way or what was said last still holds. Returns when the one
    /// that counts was begun, and until when it is waited for.
    fn ask(&self, now: Instant, timeout: Duration) -> (Instant, Instant) {
        let (begun, until) = self.shared.with(|known| {
            let begun = known.counts(now);
            if begun.is_none() {
                known.under_way = Some(now);
            }
            let until = match (&known.good, known.is_late) {
                (None, _) => now + timeout,
                (Some(_), true) => now,
                // From its beginning: others have waited already.
                (Some(_), false) => {
                    let until = begun.unwrap_or(now) + PATIENCE.min(timeout / 2);
                    until.max(now)
                }
            };
            (begun, until)
        });
        if begun.is_none() {
            let shared = Arc::clone(&self.shared);
            (self.look_up)(LookUp { shared, asked: now, is_ended: false });
        }
        (begun.unwrap_or(now), until)
    }

    /// Chooses what is used: what was said, or else the last good answer.
    fn choose(
        &self,
        now: Instant,
        asked: Instant,
        until: Instant,
    ) -> Result<Arc<[SocketAddr]>, Unknown> {
        let (good, unknown, is_to_tell) = self.shared.with(|known| {
            let unknown = match &known.last {
                Some(said) if said.asked >= asked => said.error.clone().map(Unknown::Failed),
                _ => Some(Unknown::Late),
            };
            known.is_late |= matches!(unknown, Some(Unknown::Late));
            let is_to_tell = unknown.is_some() && known.good.is_some() && !known.is_told;
            known.is_told |= is_to_tell;
            (known.good.clone(), unknown, is_to_tell)
        });
        let Some(good) = good else { return Err(unknown.unwrap_or(Unknown::Late)) };
        if is_to_tell {
            let cause = match unknown {
                Some(Unknown::Failed(error)) => system::plain(&error),
                _ => format!("no answer within {:?}", until.saturating_duration_since(asked)),
            };
            let (name, age) = (&*self.shared.name, now.saturating_duration_since(good.asked));
            tracing::warn!(
                name,
                cause,
                ?age,
                "a name cannot be looked up: its last addresses are used"
            );
        }
        Ok(good.addresses)
    }
}

impl Shared {
    fn with<T>(&self, f: impl FnOnce(&mut Known) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until a look-up has ended that was begun then or later.
    async fn until_said(&self, asked: Instant) {
        loop {
            // It hears of every end from here on.
            let ended = self.ended.notified();
            let said =
                |known: &mut Known| known.last.as_ref().is_some_and(|said| said.asked >= asked);
            if self.with(said) {
                return;
            }
            ended.await;
        }
    }
}

impl Known {
    /// Returns when the look-up was begun whose answer is used now; none if another one is needed.
    fn counts(&self, now: Instant) -> Option<Instant> {
        let within = |asked: Option<Instant>, time| {
            asked.filter(|asked| now.saturating_duration_since(*asked) < time)
        };
        within(self.last.as_ref().map(|said| said.asked), TTL_MIN)
            .or_else(|| within(self.under_way, LOOK_UP_MAX))
    }
}

/// One look-up. Dropped without an answer, it has failed.
struct LookUp {
    shared: Arc<Shared>,
    asked: Instant,
    is_ended: bool,
}

impl LookUp {
    /// Takes in what the system says, and tells those who wait.
    fn end(mut self, found: io::Result<Vec<SocketAddr>>) {
        self.take_in(found);
    }

    fn take_in(&mut self, found: io::Result<Vec<SocketAddr>>) {
        self.is_ended = true;
        let found = found.and_then(|addresses| match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "no address")),
            false => Ok(addresses),
        });
        let asked = self.asked;
        let is_told_well = self.shared.with(|known| {
            known.under_way = known.under_way.filter(|begun| *begun != asked);
            // This one took so long that another one was begun, which was faster.
            if known.last.as_ref().is_some_and(|said| said.asked > asked) {
                return false;
            }
            let error = match found {
                Ok(addresses) => {
                    known.good = Some(Good { addresses: addresses.into(), asked });
                    known.is_late = false;
                    None
                }
                Err(error) => Some(Arc::new(error)),
            };
            let is_told_well = error.is_none() && std::mem::take(&mut known.is_told);
            known.last = Some(Said { asked, error });
            is_told_well
        });
        self.shared.ended.notify_waiters();
        if is_told_well {
            tracing::info!(name = &*self.shared.name, "a name can be looked up again");
        }
    }
}

impl Drop for LookUp {
    fn drop(&mut self) {
        // Its runtime ended before its turn came.
        if !self.is_ended {
            self.take_in(Err(io::Error::other("the look-up was given up")));
        }
    }
}

#[cfg(test)]
#[path = "resolver_tests.rs"]
mod tests;
