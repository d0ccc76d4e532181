//! The answer that a connection is to bring next, while its head has not come: how much may come before
//! it, and how long it may take.
//!
//! Of hyper only the one who waits knows whether the head has come. So whoever reads or drives the
//! connection raises a doubt here, and the one who waits answers it.

use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
};

use tokio::time::Instant;

/// The head of an answer, and so much as well of what comes before it: ALB's number.
pub(super) const HEAD_SIZE_MAX: usize = 32 * 1024;

/// What is known of the answer that is to come.
pub(super) struct Outstanding {
    /// How many bytes may have come over the connection while the head is awaited.
    received_max: AtomicU64,
    awaited: Mutex<Awaited>,
}

#[derive(Default)]
struct Awaited {
    /// Of which exchange: the next may begin before the one who waited for the last has his turn.
    exchange: u64,
    /// Until when the head may take, if the driver watches for that.
    due: Option<Instant>,
    /// When the driver looks next whether something is due.
    looks_at: Option<Instant>,
    doubt: Option<Doubt>,
    asker: Option<Waker>,
    reader: Option<Waker>,
}

/// Why the head of an answer, if it has not come by now, is waited for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// So much has come that the head must have.
    TooMuch,
    /// It is late.
    Late,
}

/// An exchange that has begun on a connection.
pub(super) struct Begun {
    /// Its number on the connection.
    pub(super) exchange: u64,
    /// Whether the driver will see that the head is late.
    pub(super) is_watched: bool,
}

impl Awaited {
    /// Becomes that of an exchange; lets the reader go on who waited for the last.
    fn replace(&mut self, exchange: u64, due: Option<Instant>) -> Option<Waker> {
        let looks_at = self.looks_at;
        mem::replace(self, Self { exchange, due, looks_at, ..Self::default() }).reader
    }

    /// Raises a doubt; returns whom to wake for that.
    fn doubt(&mut self, doubt: Doubt) -> Option<Waker> {
        self.doubt = Some(doubt);
        self.asker.take()
    }
}

impl Default for Outstanding {
    fn default() -> Self {
        Self { received_max: AtomicU64::new(u64::MAX), awaited: Mutex::default() }
    }
}

impl Outstanding {
    fn with<T>(&self, f: impl FnOnce(&mut Awaited) -> T) -> T {
        f(&mut self.awaited.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says that a request is sent now, after so many bytes were received, and until when its answer may
    /// take. The driver watches for that if it looks again by then anyway.
    pub(super) fn begin(&self, received: u64, due: Option<Instant>) -> Begun {
        let (begun, reader) = self.with(|awaited| {
            self.received_max.store(received + HEAD_SIZE_MAX as u64, Ordering::Relaxed);
            let due = due.filter(|due| awaited.looks_at.is_some_and(|at| at <= *due));
            let begun = Begun { exchange: awaited.exchange + 1, is_watched: due.is_some() };
            let reader = awaited.replace(begun.exchange, due);
            (begun, reader)
        });
        reader.inspect(Waker::wake_by_ref);
        begun
    }

    /// Tells whether it is in doubt that the head will come, and if not, remembers whom to wake when it
    /// is. Nothing more is read in doubt before `end`.
    pub(super) fn doubt(&self, exchange: u64, asker: &Waker) -> Option<Doubt> {
        self.with(|awaited| {
            if awaited.exchange != exchange {
                return None;
            }
            let is_known = || awaited.asker.as_ref().is_some_and(|old| old.will_wake(asker));
            if awaited.doubt.is_none() && !is_known() {
                awaited.asker = Some(asker.clone());
            }
            awaited.doubt
        })
    }

    /// Says that the head came, or is waited for no longer.
    pub(super) fn end(&self, exchange: u64) {
        let reader = self.with(|awaited| {
            if awaited.exchange != exchange {
                return None;
            }
            // Whoever sees that sees what was said of the connection for it, too.
            self.received_max.store(u64::MAX, Ordering::Release);
            awaited.replace(exchange, None)
        });
        reader.inspect(Waker::wake_by_ref);
    }

    /// Tells whether no head is awaited: a connection may be idle before whoever asked has seen it.
    pub(super) fn is_none(&self) -> bool {
        self.received_max.load(Ordering::Acquire) == u64::MAX
    }

    /// Tells, before more is read, whether so much was received that the head must have come. The
    /// reader is woken when that is known.
    pub(super) fn stops(&self, received: u64, reader: &Waker) -> bool {
        let is_too_much = || received > self.received_max.load(Ordering::Relaxed);
        if !is_too_much() {
            return false;
        }
        let asker = self.with(|awaited| {
            is_too_much().then(|| {
                awaited.reader = Some(reader.clone());
                awaited.doubt(Doubt::TooMuch)
            })
        });
        if let Some(Some(asker)) = &asker {
            asker.wake_by_ref();
        }
        asker.is_some()
    }

    /// Looks whether the head is late; returns when to look again, if it is awaited.
    pub(super) fn look(&self, now: Instant) -> Option<Instant> {
        let asker = self.with(|awaited| {
            awaited.looks_at = awaited.due.filter(|due| *due > now);
            match awaited.looks_at {
                None if awaited.due.take().is_some() => Err(awaited.doubt(Doubt::Late)),
                again => Ok(again),
            }
        });
        asker.unwrap_or_else(|asker| {
            asker.inspect(Waker::wake_by_ref);
            None
        })
    }

    /// Says when the driver looks next, whether a head is awaited then or not.
    pub(super) fn look_at(&self, at: Instant) {
        self.with(|awaited| awaited.looks_at = Some(at));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Wake,
        time::Duration,
    };

    use super::*;

    const MUCH: u64 = HEAD_SIZE_MAX as u64 + 1;

    /// An answer that comes in one piece is over before the one who waits for its head has his turn,
    /// and its connection has carried the next request by then.
    #[test]
    fn a_doubt_about_one_answer_is_none_about_the_next() {
        let (outstanding, waker) = (Outstanding::default(), Waker::noop());
        let first = outstanding.begin(0, None).exchange;
        assert_eq!(outstanding.doubt(first, waker), None);
        assert!(outstanding.stops(MUCH, waker));
        let second = outstanding.begin(MUCH, None).exchange;
        assert_eq!(outstanding.doubt(second, waker), None);
        assert_eq!(outstanding.doubt(first, waker), None);
        outstanding.end(first);
        // What is awaited is bounded still.
        assert!(!outstanding.stops(MUCH, waker));
        assert!(outstanding.stops(2 * MUCH, waker));
        assert_eq!(outstanding.doubt(first, waker), None);
        assert_eq!(outstanding.doubt(second, waker), Some(Doubt::TooMuch));
        outstanding.end(second);
        assert!(!outstanding.stops(2 * MUCH, waker));
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_waits_is_woken_when_there_is_something_to_know() {
        let outstanding = Outstanding::default();
        let (asks, reads) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let (asker, reader) = (Waker::from(Arc::clone(&asks)), Waker::from(Arc::clone(&reads)));
        let woken = || [&asks, &reads].map(|woken| woken.0.load(Ordering::Relaxed));
        let first = outstanding.begin(0, None).exchange;
        outstanding.doubt(first, Waker::noop());
        // Who asks may have moved to another task.
        outstanding.doubt(first, &asker);
        assert!(outstanding.stops(MUCH, &reader));
        assert_eq!(woken(), [1, 0]);
        outstanding.end(first);
        assert_eq!(woken(), [1, 1]);
        outstanding.begin(MUCH, None);
        assert!(outstanding.stops(3 * MUCH, &reader));
        // Who waited for the last has not had his turn, and has to know no more.
        outstanding.begin(3 * MUCH, None);
        assert_eq!(woken(), [1, 2]);
    }

    #[test]
    fn a_head_that_does_not_come_is_late_when_it_is_due() {
        let (outstanding, woken) = (Outstanding::default(), Arc::new(Woken::default()));
        let (start, waker) = (Instant::now(), Waker::from(Arc::clone(&woken)));
        let at = |seconds| start + Duration::from_secs(seconds);
        outstanding.look_at(at(55));
        let begun = outstanding.begin(0, Some(at(60)));
        assert!(begun.is_watched);
        assert_eq!(outstanding.doubt(begun.exchange, &waker), None);
        assert_eq!(outstanding.look(at(55)), Some(at(60)));
        assert_eq!(outstanding.doubt(begun.exchange, &waker), None);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert_eq!(outstanding.look(at(60)), None);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(outstanding.doubt(begun.exchange, &waker), Some(Doubt::Late));
    }

    #[test]
    fn a_head_is_watched_for_only_by_a_driver_that_looks_in_time() {
        let outstanding = Outstanding::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let watched = |due: u64| outstanding.begin(0, Some(at(due))).is_watched;
        // It has no timer yet.
        assert!(!watched(60));
        outstanding.look_at(at(55));
        assert!(!watched(54));
        assert!(watched(55));
        assert!(!outstanding.begin(0, None).is_watched);
        // It looked, and found nothing to look for again.
        assert_eq!(outstanding.look(at(55)), None);
        assert!(!watched(60));
    }

    #[test]
    fn a_head_that_has_come_is_not_late() {
        let (outstanding, waker) = (Outstanding::default(), Waker::noop());
        let now = Instant::now();
        outstanding.look_at(now);
        let exchange = outstanding.begin(0, Some(now)).exchange;
        outstanding.end(exchange);
        assert_eq!(outstanding.look(now + Duration::from_secs(1)), None);
        assert_eq!(outstanding.doubt(exchange, waker), None);
    }
}
