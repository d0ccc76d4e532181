//! What a target carries: exchanges in flight, how they ended, and until when they may go on.
//!
//! A [`Lease`] is one exchange in flight; dropping it ends the exchange and alone records how. Who
//! holds the wire waits for [`Load::cut`]; who may be picked is the roster's affair.

mod account;
mod progress;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use crossbeam_utils::CachePadded;
use http::StatusCode;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

pub(crate) use self::{
    account::{Account, Observer},
    progress::Progress,
};
use crate::outcome::{Blame, End, Stage};

/// The counts of one target in one group, and its deadline while it is draining.
#[derive(Debug)]
pub struct Load {
    counts: CachePadded<Counts>,
    deadline: watch::Sender<Option<Instant>>,
    /// What `deadline` says, to be asked without a lock.
    draining: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    in_flight: AtomicU32,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Default for Load {
    fn default() -> Self {
        Self {
            counts: CachePadded::default(),
            deadline: watch::Sender::new(None),
            draining: AtomicBool::new(false),
        }
    }
}

impl Load {
    /// Returns how many exchanges are in flight, from the pick to the end of the body or tunnel.
    pub fn in_flight(&self) -> u32 {
        self.counts.in_flight.load(Ordering::Relaxed)
    }

    /// Returns how many exchanges were answered to the end.
    pub fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Returns how many exchanges ended in a way that counts against the target.
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }

    /// Begins an exchange, unless `max` are in flight already.
    pub fn begin(self: &Arc<Self>, max: Option<NonZeroU32>) -> Option<Lease> {
        let in_flight = &self.counts.in_flight;
        match max {
            None => {
                in_flight.fetch_add(1, Ordering::Relaxed);
            }
            Some(max) => {
                in_flight
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                        (now < max.get()).then(|| now + 1)
                    })
                    .ok()?;
            }
        }
        Some(Lease { load: Arc::clone(self), blame: Blame::default(), account: Account::default() })
    }

    /// Lets what is in flight go on until `deadline` and no longer.
    pub fn drain_until(&self, deadline: Instant) {
        // Before those who wait are woken, so that they see it. Same in `revive`, the other way round:
        // whoever sees it late asks once more.
        self.draining.store(true, Ordering::Release);
        self.deadline.send_replace(Some(deadline));
    }

    /// Takes the deadline back.
    pub fn revive(&self) {
        self.deadline.send_if_modified(|deadline| deadline.take().is_some());
        self.draining.store(false, Ordering::Release);
    }

    /// Tells whether there is a deadline.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Returns the deadline of what is in flight, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        *self.deadline.borrow()
    }

    /// Waits until a deadline has passed; a deadline taken back or moved is heeded.
    pub async fn cut(&self) {
        let mut deadline = self.deadline.subscribe();
        loop {
            let until = *deadline.borrow_and_update();
            match until {
                // The sender lives as long as `self`, so `changed` fails in neither arm.
                None => drop(deadline.changed().await),
                Some(until) => {
                    if timeout_at(until, deadline.changed()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Waits until the deadline has passed; returns false once there is none any more.
    pub(crate) async fn drained(&self) -> bool {
        let mut deadline = self.deadline.subscribe();
        loop {
            let until = *deadline.borrow_and_update();
            let Some(until) = until else { return false };
            tokio::select! {
                biased;
                _ = deadline.changed() => {}
                () = sleep_until(until) => return true,
            }
        }
    }
}

/// One exchange in flight. Dropping it ends the exchange, whatever ended it.
///
/// It counts as [`End::ClientLeft`] until somebody says how it ended: a future or a body that is
/// dropped half way is what a client that left looks like.
#[derive(Debug)]
#[must_use = "dropping the lease ends the exchange"]
pub struct Lease {
    load: Arc<Load>,
    blame: Blame,
    account: Account,
}

impl Lease {
    /// Says that the head of the target's answer came; with it the exchange ends well, unless something
    /// else is said later.
    pub fn answered(&mut self, status: StatusCode) {
        self.account.answered(status);
    }

    /// Says that the target agreed to change the protocol, so that bytes go both ways from now on.
    pub(crate) fn switched(&mut self, status: StatusCode) {
        self.account.answered(status);
        self.account.stage = Stage::Tunnel;
    }

    /// Says how the exchange ended, or would end now; the last word counts.
    pub fn settle(&mut self, end: End) {
        self.account.end = end;
    }

    /// Returns how it would have ended now.
    pub fn end(&self) -> End {
        self.account.end
    }

    /// Returns how far it has come.
    pub fn stage(&self) -> Stage {
        self.account.stage
    }

    /// Returns the status of the target's answer, once its head came.
    pub fn status(&self) -> Option<StatusCode> {
        self.account.status
    }

    /// Returns how it ends, if it was the request that broke off.
    pub(crate) fn upload_failed(&self) -> Option<End> {
        self.account.upload_failed()
    }

    /// Counts bytes of the answer's body.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.account.received(bytes);
    }

    /// Says how many bytes went to the target through a tunnel, and how many came back.
    pub(crate) fn carried(&mut self, sent: u64, received: u64) {
        self.account.carried(sent, received);
    }

    /// Returns what it has taken so far.
    pub(crate) fn account_mut(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Says which outcomes count against the target.
    pub fn blame(&mut self, blame: Blame) {
        self.blame = blame;
    }

    /// Returns the load this is a part of.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let counts = &self.load.counts;
        let Account { end, status, .. } = self.account;
        if matches!(end, End::Done | End::TunnelClosed | End::TunnelIdle) {
            counts.answered.fetch_add(1, Ordering::Relaxed);
        }
        if self.blame.counts(end, status) {
            counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.account.close();
        // Last, so that whoever sees the count at zero sees the record too.
        counts.in_flight.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_lease_counts_until_it_is_dropped_and_records_once() {
        let load = Arc::new(Load::default());
        let mut lease = load.begin(None).unwrap();
        lease.blame(Blame::Failures);
        assert_eq!(load.in_flight(), 1);
        lease.answered(StatusCode::BAD_GATEWAY);
        assert_eq!((load.answered(), load.failed()), (0, 0));
        drop(lease);
        assert_eq!((load.in_flight(), load.answered(), load.failed()), (0, 1, 1));
    }

    #[test]
    fn a_cap_is_never_passed() {
        let load = Arc::new(Load::default());
        let max = NonZeroU32::new(2);
        let held = [load.begin(max), load.begin(max), load.begin(max)];
        assert_eq!(held.iter().flatten().count(), 2);
        drop(held);
        assert!(load.begin(max).is_some());
    }

    #[test]
    fn who_leaves_counts_against_nobody() {
        let load = Arc::new(Load::default());
        let mut lease = load.begin(None).unwrap();
        lease.blame(Blame::Failures);
        drop(lease);
        assert_eq!((load.answered(), load.failed()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_taken_back_cuts_nothing() {
        let load = Arc::new(Load::default());
        let started = Instant::now();
        load.drain_until(started + Duration::from_secs(5));
        let waiting = tokio::spawn({
            let load = Arc::clone(&load);
            async move { load.cut().await }
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        load.revive();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(!waiting.is_finished());
        load.drain_until(Instant::now() + Duration::from_secs(7));
        waiting.await.unwrap();
        assert_eq!(started.elapsed(), Duration::from_secs(20));
    }
}
