//! What time it is for those who write times down: the expiry of a session.
//!
//! Deadlines and intervals are `tokio::time`'s affair; this is the calendar beside it.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The longest time there is to wait: about 30 years, as long as tokio's own timers. A setting that is
/// longer counts as this, so that `Duration::MAX` is for ever and no deadline overflows.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// Tells the time of day.
///
/// # Examples
///
/// ```
/// use pointsman::clock::Clock;
///
/// // In a test with tokio's clock paused, this one stands still too and moves with it.
/// let clock = Clock::tokio();
/// assert!(clock.now() >= std::time::SystemTime::UNIX_EPOCH);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<(SystemTime, Instant)>);

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that starts at the system's time and then moves as `tokio::time` does.
    pub fn tokio() -> Self {
        Self(Some((SystemTime::now(), Instant::now())))
    }

    /// Returns the time.
    pub fn now(&self) -> SystemTime {
        match self.0 {
            None => SystemTime::now(),
            Some((epoch, started)) => epoch + started.elapsed(),
        }
    }
}
