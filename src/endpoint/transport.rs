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
/// | `connections_max` | none | the target's own limit is not known; a group's `in_flight_max` bounds requests |
/// | `requests_per_connection_max` | none | a connection that works is the cheapest there is |
/// | `connection_age_max` | none | the same; set it where a name's addresses change |
///
/// A timeout of `Duration::MAX` is for ever, and the greatest number is none.
///
/// # What is not to be set
///
/// | bound | value | why |
/// |---|---|---|
/// | head of an answer | 32 KiB | ALB's |
/// | fields of a head | 256 | some targets send more than the usual 100 |
/// | all before the head of an answer and with it, interim answers (1xx) too | 32 KiB, and what one read brings | the same, for a target that never comes to its answer |
///
/// A target that goes beyond one of them is answered for with 502, and its connection is closed.
///
/// # What targets say and clients do not hear
///
/// | from the target | to the client |
/// |---|---|
/// | interim answers, such as 100 and 103 | nothing: hyper's server sends none but the 100 that it makes itself |
/// | Content-Length of a 204 or 304 | no length, since hyper writes none where there is no body; one to HEAD is passed on |
/// | one Content-Length several times | one |
/// | Content-Length beside `Transfer-Encoding: chunked` | the chunks count; the connection is closed |
/// | transfer codings other than chunked, lengths that differ | 502 |
/// | an answer of HTTP/1.0 | as any other; its connection carries no second request |
/// | a body of no length from a target of HTTP/1.0 | chunks; that it is complete only the end of the connection says, and that it is not, a reset |
/// | an answer before the end of the request | the answer, and `Connection: close` in HTTP/1: when it is complete, the rest of the request is not sent |
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
    pub(crate) connections_max: usize,
    pub(crate) requests_per_connection_max: u64,
    pub(crate) connection_age_max: Duration,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            connections_idle_max: 64,
            connection_idle_timeout: Duration::from_secs(55),
            connections_max: usize::MAX,
            requests_per_connection_max: u64::MAX,
            connection_age_max: WAIT_MAX,
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

    /// Sets how long the head of an answer may take, from when the target could have the request, or the
    /// last part of it. Opening a connection for it has a time of its own, `connect_timeout`.
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

    /// Sets how many connections to each target may be open. A request that would need one more goes to
    /// another target, or is answered with 503 ([`Kind::Saturated`](crate::error::Kind::Saturated)).
    ///
    /// Nobody waits for one to become idle, and one that has just been used takes a moment to: let the
    /// group's `in_flight_max` be a little lower, and this the line that is never crossed. The
    /// connections of health checks are not among them.
    #[must_use]
    pub fn connections_max(mut self, max: usize) -> Self {
        self.connections_max = max;
        self
    }

    /// Sets how many requests a connection may carry; then it is closed.
    #[must_use]
    pub fn requests_per_connection_max(mut self, max: u64) -> Self {
        self.requests_per_connection_max = max;
        self
    }

    /// Sets how long a connection is used; it is closed when nothing is in flight on it any more. Each
    /// is given up to a tenth less, so that those opened together do not end together.
    #[must_use]
    pub fn connection_age_max(mut self, age: Duration) -> Self {
        self.connection_age_max = age.min(WAIT_MAX);
        self
    }

    /// Fails if a timeout or number is 0.
    pub(crate) fn check(&self) -> Result<(), InvalidTransport> {
        let zero = Duration::ZERO;
        let timeouts = [
            ("connect_timeout", self.connect_timeout),
            ("answer_timeout", self.answer_timeout),
            ("idle_timeout", self.idle_timeout),
            ("connection_idle_timeout", self.connection_idle_timeout),
            ("connection_age_max", self.connection_age_max),
        ];
        let timeouts = timeouts.into_iter().filter(|(_, timeout)| *timeout == zero);
        let counts = [
            ("connections_max", self.connections_max == 0),
            ("requests_per_connection_max", self.requests_per_connection_max == 0),
        ];
        let counts = counts.into_iter().filter(|(_, is_zero)| *is_zero);
        let errors = timeouts
            .map(|(name, _)| format!("{name} 0s: expected more"))
            .chain(counts.map(|(name, _)| format!("{name} 0: expected 1 or more")))
            .collect::<Vec<_>>();
        if errors.is_empty() { Ok(()) } else { Err(InvalidTransport(errors)) }
    }
}

/// Why settings cannot be: everything that is wrong, one sentence each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transport: {}", self.0.join(", "))]
pub struct InvalidTransport(Vec<String>);

impl InvalidTransport {
    /// Returns each error.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}
