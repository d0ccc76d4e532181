//! What time it is for those who write times down: the expiry of a session.
//!
//! Deadlines and intervals are `tokio::time`'s affair; this is the calendar beside it.

use std::time::SystemTime;

use tokio::time::Instant;

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
