//! The health of one target: results of checks in, a verdict and its reason out.
//!
//! It has no clock and asks nobody; when to check is `check/`'s affair, what an unhealthy target is
//! spared is `group/`'s.

use std::{
    fmt,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

/// The state of a target, in ALB's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not checked yet; gets no traffic while another target is healthy.
    Initial,
    /// Gets traffic.
    Healthy,
    /// Gets none while another target is healthy.
    Unhealthy,
    /// Not checked, since no rule uses its group.
    Unused,
    /// Deregistered: gets no new request and finishes those in flight.
    Draining,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Initial => "initial",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Unused => "unused",
            Self::Draining => "draining",
        })
    }
}

/// Why a target is not healthy; `Display` gives ALB's reason code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Registered, and no check was made yet.
    RegistrationInProgress,
    /// The first checks have not decided yet.
    InitialHealthChecking,
    /// The answer's status was not an expected one.
    ResponseCodeMismatch,
    /// No answer came in time.
    Timeout,
    /// No connection came about, or the answer was not proper HTTP.
    FailedHealthChecks,
    /// The check itself failed.
    InternalError,
    /// No rule uses the group.
    NotInUse,
    /// Deregistered, and the deregistration delay is not over.
    DeregistrationInProgress,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RegistrationInProgress => "Elb.RegistrationInProgress",
            Self::InitialHealthChecking => "Elb.InitialHealthChecking",
            Self::ResponseCodeMismatch => "Target.ResponseCodeMismatch",
            Self::Timeout => "Target.Timeout",
            Self::FailedHealthChecks => "Target.FailedHealthChecks",
            Self::InternalError => "Elb.InternalError",
            Self::NotInUse => "Target.NotInUse",
            Self::DeregistrationInProgress => "Target.DeregistrationInProgress",
        })
    }
}

/// Why a check failed: the reason, and what was asked and what came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{description}")]
pub struct Failure {
    /// The kind of failure.
    pub reason: Reason,
    /// What was asked and what came back.
    pub description: Arc<str>,
}

impl Failure {
    /// Makes a failure.
    pub fn new(reason: Reason, description: impl Into<Arc<str>>) -> Self {
        Self { reason, description: description.into() }
    }
}

/// How many checks in a row turn a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes that make an unhealthy target healthy; a new target needs one.
    pub healthy: NonZeroU32,
    /// Failures that make a target unhealthy.
    pub unhealthy: NonZeroU32,
}

/// What is known of a target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// Why it is not healthy.
    pub reason: Option<Reason>,
    /// What was asked and what came back, if a check failed.
    pub description: Option<Arc<str>>,
}

impl Verdict {
    pub(crate) fn of(state: State, reason: Reason) -> Self {
        Self { state, reason: Some(reason), description: None }
    }
}

/// The health of one target in one group.
#[derive(Debug)]
pub struct Health(Mutex<Record>);

#[derive(Debug)]
struct Record {
    verdict: Verdict,
    in_a_row: u32,
    last_failed: bool,
}

impl Health {
    /// A target that is to be checked.
    pub fn initial() -> Self {
        Self::with(State::Initial, Some(Reason::RegistrationInProgress))
    }

    /// A target that is healthy since nobody checks it.
    pub fn unchecked() -> Self {
        Self::with(State::Healthy, None)
    }

    fn with(state: State, reason: Option<Reason>) -> Self {
        let verdict = Verdict { state, reason, description: None };
        Self(Mutex::new(Record { verdict, in_a_row: 0, last_failed: false }))
    }

    /// Returns what is known.
    pub fn verdict(&self) -> Verdict {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).verdict.clone()
    }

    /// Returns the state alone.
    pub fn state(&self) -> State {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).verdict.state
    }

    /// Takes in the result of a check, and returns the old and the new verdict if the state changed.
    ///
    /// A first success makes a new target healthy; the thresholds count results in a row (ALB).
    pub fn record(
        &self,
        result: Result<(), Failure>,
        thresholds: Thresholds,
    ) -> Option<(Verdict, Verdict)> {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = result.is_err();
        record.in_a_row =
            if record.last_failed == failed { record.in_a_row.saturating_add(1) } else { 1 };
        record.last_failed = failed;
        let in_a_row = record.in_a_row;
        let old = record.verdict.clone();
        let (state, reason, description) = match (old.state, result) {
            (State::Initial, Ok(())) => (State::Healthy, None, None),
            (State::Unhealthy, Ok(())) if in_a_row >= thresholds.healthy.get() => {
                (State::Healthy, None, None)
            }
            // The last failure's words stay while the state does.
            (_, Ok(())) => return None,
            (_, Err(failure)) if in_a_row >= thresholds.unhealthy.get() => {
                (State::Unhealthy, Some(failure.reason), Some(failure.description))
            }
            (State::Initial, Err(failure)) => {
                (State::Initial, Some(Reason::InitialHealthChecking), Some(failure.description))
            }
            (_, Err(_)) => return None,
        };
        record.verdict = Verdict { state, reason, description };
        (old.state != state).then(|| (old, record.verdict.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds =
        Thresholds { healthy: NonZeroU32::new(3).unwrap(), unhealthy: NonZeroU32::new(2).unwrap() };

    fn after(results: &str) -> State {
        let health = Health::initial();
        for result in results.chars() {
            let failure = Failure::new(Reason::Timeout, "GET /: no answer");
            health.record(if result == '+' { Ok(()) } else { Err(failure) }, THRESHOLDS);
        }
        health.state()
    }

    #[test]
    fn results_in_a_row_turn_a_target() {
        let check = |results: &str, state| assert_eq!(after(results), state, "{results}");
        check("", State::Initial);
        check("+", State::Healthy);
        check("-", State::Initial);
        check("-+", State::Healthy);
        check("--", State::Unhealthy);
        check("+-", State::Healthy);
        check("+-+-+-", State::Healthy);
        check("+--", State::Unhealthy);
        check("+--++", State::Unhealthy);
        check("+--++-+++", State::Healthy);
    }

    #[test]
    fn a_failing_target_says_what_was_asked_and_what_came_back() {
        let health = Health::initial();
        let failure = Failure::new(Reason::Timeout, "GET /: no answer");
        assert_eq!(health.record(Err(failure.clone()), THRESHOLDS), None);
        assert_eq!(health.verdict().reason, Some(Reason::InitialHealthChecking));
        let (old, new) = health.record(Err(failure), THRESHOLDS).unwrap();
        assert_eq!((old.state, new.state), (State::Initial, State::Unhealthy));
        assert_eq!(new.reason, Some(Reason::Timeout));
        assert_eq!(new.description.as_deref(), Some("GET /: no answer"));
    }
}
