//! How an exchange with a target ended.
//!
//! Who records it is `lease.rs`, and nobody else.

use http::StatusCode;

/// How an exchange with a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The target answered with this status, and its whole answer went out.
    Answered(StatusCode),
    /// No connection to the target came about, so nothing was sent.
    NotConnected,
    /// The exchange broke before the answer's head was in.
    Broken,
    /// The target did not answer in time.
    TimedOut,
    /// The answer's head went out with this status, and then its body broke off or stalled.
    Truncated(StatusCode),
    /// The client went away, or its own body broke off, before the answer was complete.
    ClientLeft,
    /// The target was deregistered and the exchange outlived the deregistration delay.
    Cut,
}

/// Which outcomes count against the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blame {
    /// None does; the counts say only how many were answered.
    #[default]
    Nothing,
    /// What ALB's anomaly detection counts: an answer of 5xx, or no proper answer at all.
    Failures,
}

impl Blame {
    /// Tells whether this outcome counts against the target.
    pub fn counts(self, outcome: Outcome) -> bool {
        match (self, outcome) {
            (Self::Nothing, _) | (_, Outcome::ClientLeft | Outcome::Cut) => false,
            (Self::Failures, Outcome::Answered(status)) => status.is_server_error(),
            (
                Self::Failures,
                Outcome::NotConnected | Outcome::Broken | Outcome::TimedOut | Outcome::Truncated(_),
            ) => true,
        }
    }
}
