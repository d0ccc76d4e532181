//! How the targets of a group are reached: settings with their defaults and reasons.

use std::time::Duration;

use crate::clock::WAIT_MAX;

/// How the targets of a group are reached.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `connect_timeout` | 10 s | ALB's |
/// | `answer_timeout` | 60 s | ALB's idle timeout |
/// | `idle_timeout` | 60 s | ALB's idle timeout |
/// | `connections_idle_max` | 64 | enough for a busy target, few enough for many targets |
/// | `connection_idle_timeout` | 55 s | below the 60 s after which common servers close |
///
/// A timeout of `Duration::MAX` is for ever.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pointsman::endpoint::Transport;
///
/// let transport = Transport::new()
///     .connect_timeout(Duration::from_secs(1))
///     .connection_idle_timeout(Duration::from_secs(4)); // node closes after 5 s
/// assert_ne!(transport, Transport::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    pub(crate) connect_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) connections_idle_max: usize,
    pub(crate) connection_idle_timeout: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            connections_idle_max: 64,
            connection_idle_timeout: Duration::from_secs(55),
        }
    }
}

impl Transport {
    /// Makes settings of the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long looking up and connecting may take in all.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(WAIT_MAX);
        self
    }

    /// Sets how long the head of an answer may take, from when the last part of the request was
    /// handed on.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout.min(WAIT_MAX);
        self
    }

    /// Sets how long a body may stall, in either direction, and how long neither side of a tunnel may send
    /// anything.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout.min(WAIT_MAX);
        self
    }

    /// Sets how many idle connections are kept to each target; 0 keeps none.
    #[must_use]
    pub fn connections_idle_max(mut self, max: usize) -> Self {
        self.connections_idle_max = max;
        self
    }

    /// Sets how long a connection may be idle before it is closed.
    #[must_use]
    pub fn connection_idle_timeout(mut self, timeout: Duration) -> Self {
        self.connection_idle_timeout = timeout.min(WAIT_MAX);
        self
    }

    /// Names the timeouts, none of which may be zero.
    pub(crate) fn timeouts(&self) -> [(&'static str, Duration); 4] {
        [
            ("connect_timeout", self.connect_timeout),
            ("answer_timeout", self.answer_timeout),
            ("idle_timeout", self.idle_timeout),
            ("connection_idle_timeout", self.connection_idle_timeout),
        ]
    }
}
