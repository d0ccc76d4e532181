//! How many of a group's requests may be sent once more: a share of the last ten seconds' requests,
//! and a few in each second whatever came.
//!
//! It counts and answers; what share it is, is the policy's, which may change while the counts stay.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

use super::retry_policy::RetryPolicy;

/// What happened longer ago than so many seconds earns no retries any more; long enough to even out a
/// small group's traffic, short enough that a quiet hour saves up nothing for a bad minute.
const WINDOW: u64 = 10;

/// The requests and the retries of the last seconds.
#[derive(Debug)]
pub(super) struct Budget {
    started: Instant,
    requests: Counts,
    retries: Counts,
}

impl Default for Budget {
    fn default() -> Self {
        let started = Instant::now();
        Self { started, requests: Counts::default(), retries: Counts::default() }
    }
}

impl Budget {
    /// Notes that a request came, which earns its share.
    pub(super) fn note_request(&self) {
        self.requests.add(self.now());
    }

    /// Spends one retry, if the policy leaves one.
    pub(super) fn spend(&self, policy: &RetryPolicy) -> bool {
        let (percent, floor) = policy.budget();
        let now = self.now();
        // Counted before it is asked for, so that many at once do not get one too many.
        let in_second = self.retries.add(now);
        let share = self.requests.sum(now) * u64::from(percent) / 100;
        let allowed = in_second <= u64::from(floor) || self.retries.sum(now) <= share;
        if !allowed {
            self.retries.take_back(now);
        }
        allowed
    }

    /// Returns the second, counted from when this was made.
    fn now(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

/// A count for each of the last seconds. Each place holds the second it is for above the count, so
/// that both change as one.
#[derive(Debug, Default)]
struct Counts([AtomicU64; WINDOW as usize]);

/// Enough for 2^32 a second, and for 2^32 seconds.
const COUNT_BITS: u32 = 32;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

impl Counts {
    fn place(&self, second: u64) -> Option<&AtomicU64> {
        self.0.get((second % WINDOW) as usize)
    }

    /// Counts one more; returns the count of this second.
    fn add(&self, second: u64) -> u64 {
        let Some(place) = self.place(second) else { return 0 };
        let add = |old| match old >> COUNT_BITS {
            at if at == second => Some(old + 1),
            at if at < second => Some((second << COUNT_BITS) + 1),
            // Whoever looked at the clock so long ago is not counted any more.
            _ => None,
        };
        place
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map_or(u64::MAX, |old| add(old).unwrap_or(0) & COUNT)
    }

    /// Counts one less, where it was counted and that second is still kept.
    fn take_back(&self, second: u64) {
        let take = |old| (old >> COUNT_BITS == second && old & COUNT > 0).then(|| old - 1);
        if let Some(place) = self.place(second) {
            _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        }
    }

    /// Returns how many came in the last seconds, this one included.
    fn sum(&self, now: u64) -> u64 {
        let kept = self.0.iter().map(|place| place.load(Ordering::Relaxed));
        kept.filter(|kept| (kept >> COUNT_BITS) + WINDOW > now).map(|kept| kept & COUNT).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    fn policy(percent: u32, floor: u32) -> RetryPolicy {
        RetryPolicy::new().budget_percent(percent).budget_floor(floor)
    }

    /// Spends all there is; returns how much that was.
    fn spent(budget: &Budget, policy: &RetryPolicy) -> usize {
        (0..100_000).take_while(|_| budget.spend(policy)).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_of_the_requests_is_there_to_spend() {
        let (budget, policy) = (Budget::default(), policy(20, 0));
        assert_eq!(spent(&budget, &policy), 0);
        (0..104).for_each(|_| budget.note_request());
        assert_eq!(spent(&budget, &policy), 20);
        budget.note_request();
        assert_eq!(spent(&budget, &policy), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_floor_is_there_in_each_second_and_is_not_saved_up() {
        let (budget, policy) = (Budget::default(), policy(20, 10));
        assert_eq!(spent(&budget, &policy), 10);
        advance(Duration::from_secs(1)).await;
        assert_eq!(spent(&budget, &policy), 10);
        advance(Duration::from_secs(3600)).await;
        assert_eq!(spent(&budget, &policy), 10);
        // What the floor gave counts for the share: it is the greater of the two, not the sum.
        (0..100).for_each(|_| budget.note_request());
        assert_eq!(spent(&budget, &policy), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ten_seconds_old_earns_nothing_and_costs_nothing() {
        let (budget, policy) = (Budget::default(), policy(10, 0));
        (0..100).for_each(|_| budget.note_request());
        advance(Duration::from_secs(9)).await;
        assert_eq!(spent(&budget, &policy), 10);
        advance(Duration::from_secs(1)).await;
        assert_eq!(spent(&budget, &policy), 0);
        // The ten that were spent still count, for these hundred.
        (0..100).for_each(|_| budget.note_request());
        assert_eq!(spent(&budget, &policy), 0);
        advance(Duration::from_secs(9)).await;
        assert_eq!(spent(&budget, &policy), 10);
    }

    #[test]
    fn many_at_once_get_no_more_than_there_is() {
        let (budget, policy) = (Budget::default(), policy(20, 0));
        (0..1000).for_each(|_| budget.note_request());
        let spent = std::thread::scope(|scope| {
            let threads = [(); 4]
                .map(|()| scope.spawn(|| (0..1000).filter(|_| budget.spend(&policy)).count()));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        // Those who ask at the same time may be in each other's way, but in the end all is spent.
        assert_eq!(spent, 200);
    }

    #[test]
    fn who_looked_at_the_clock_too_long_ago_changes_nothing() {
        let counts = Counts::default();
        assert_eq!((counts.add(15), counts.add(15)), (1, 2));
        assert_eq!(counts.add(5), u64::MAX);
        counts.take_back(5);
        assert_eq!((counts.sum(15), counts.sum(24), counts.sum(25)), (2, 2, 0));
    }
}
