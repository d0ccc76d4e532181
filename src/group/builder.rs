//! Settings of a target group, checked as a whole.

use std::{fmt, num::NonZeroU32, sync::Arc, time::Duration};

use super::{health_check::HealthCheck, retry_policy::RetryPolicy, settings::Settings};
use crate::{
    algorithm::{Algorithm, RoundRobin},
    clock::{Clock, WAIT_MAX},
    endpoint::Transport,
    id::GroupName,
    stickiness::Stickiness,
};

/// Makes a [`TargetGroup`](super::TargetGroup).
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `algorithm` | [`RoundRobin`] | ALB's |
/// | `health_check` | none: every target counts as healthy | |
/// | `stickiness` | none | |
/// | `transport` | [`Transport::default`] | |
/// | `deregistration_delay` | 300 s | ALB's |
/// | `in_flight_max` | none | |
/// | `retry` | none: another target gets only what was not sent | nothing is done twice unless asked for |
/// | `seed` | none: the first turn is 0, the random numbers differ from process to process | |
/// | `clock` | the system's | |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pointsman::{HealthCheck, TargetGroup, algorithm::LeastOutstandingRequests};
///
/// let api = TargetGroup::builder("api")
///     .algorithm(LeastOutstandingRequests::default())
///     .health_check(HealthCheck::http("/health"))
///     .deregistration_delay(Duration::from_secs(30))
///     .in_flight_max(100)
///     .build()?;
/// # drop(api);
/// // Everything that is wrong is said at once.
/// let check = HealthCheck::http("health").interval(Duration::ZERO);
/// let errors = TargetGroup::builder("").health_check(check).build().unwrap_err();
/// assert_eq!(errors.iter().count(), 3);
/// # Ok::<_, pointsman::group::InvalidGroup>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct TargetGroupBuilder {
    name: GroupName,
    algorithm: Arc<dyn Algorithm>,
    stickiness: Option<Arc<dyn Stickiness>>,
    health_check: Option<HealthCheck>,
    transport: Transport,
    deregistration_delay: Duration,
    in_flight_max: Option<u32>,
    retry: Option<RetryPolicy>,
    seed: Option<u64>,
    clock: Clock,
}

/// Why a group cannot be built: everything that is wrong, one sentence each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidGroup {
    name: GroupName,
    errors: Vec<String>,
}

impl InvalidGroup {
    /// Returns each error.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.errors.iter().map(String::as_str)
    }
}

impl fmt::Display for InvalidGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target group {:?} cannot be built", self.name)?;
        self.errors.iter().try_for_each(|error| write!(f, "\n- {error}"))
    }
}

impl std::error::Error for InvalidGroup {}

impl TargetGroupBuilder {
    pub(super) fn new(name: GroupName) -> Self {
        Self {
            name,
            algorithm: Arc::new(RoundRobin::default()),
            stickiness: None,
            health_check: None,
            transport: Transport::default(),
            deregistration_delay: Duration::from_secs(300),
            in_flight_max: None,
            retry: None,
            seed: None,
            clock: Clock::system(),
        }
    }

    /// Sets how a target is chosen.
    pub fn algorithm(mut self, algorithm: impl Algorithm + 'static) -> Self {
        self.algorithm = Arc::new(algorithm);
        self
    }

    /// Sets how sessions are kept.
    pub fn stickiness(mut self, stickiness: impl Stickiness + 'static) -> Self {
        self.stickiness = Some(Arc::new(stickiness));
        self
    }

    /// Sets how the targets are checked.
    pub fn health_check(mut self, check: HealthCheck) -> Self {
        self.health_check = Some(check);
        self
    }

    /// Sets how the targets are reached.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Sets how long what is in flight may go on after a target is deregistered; 0 cuts it at once.
    pub fn deregistration_delay(mut self, delay: Duration) -> Self {
        self.deregistration_delay = delay.min(WAIT_MAX);
        self
    }

    /// Sets how many requests each target may have in flight, 1 or more. When all have so many, the
    /// answer is 503 at once; there is no queue.
    pub fn in_flight_max(mut self, max: u32) -> Self {
        self.in_flight_max = Some(max);
        self
    }

    /// Sets which requests another target gets although something of them was sent.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = Some(policy);
        self
    }

    /// Sets where the turns and the random numbers start, so that many balancers do not march in
    /// step, or that a test gives the same answers every time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what tells the time for sessions.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings as a whole; also that they are for the group of this name.
    pub(super) fn checked(
        self,
        name: Option<&GroupName>,
    ) -> Result<(GroupName, Settings, Option<u64>), InvalidGroup> {
        let mut errors = Vec::new();
        if let Some(name) = name.filter(|name| **name != self.name) {
            errors.push(format!("name {:?}: expected {name:?}, the group's", self.name));
        }
        if self.name.is_empty() {
            errors.push("name \"\": expected at least one character".to_owned());
        }
        if self.in_flight_max == Some(0) {
            errors.push("in_flight_max 0: expected 1 or more".to_owned());
        }
        let check = self.health_check.map(|check| check.checked()).transpose();
        let check = check.unwrap_or_else(|wrong| {
            errors.extend(wrong.into_iter().map(|error| format!("health check: {error}")));
            None
        });
        if let Err(wrong) = self.transport.check() {
            errors.extend(wrong.iter().map(|error| format!("transport: {error}")));
        }
        let wrong = self.retry.iter().flat_map(RetryPolicy::errors);
        errors.extend(wrong.map(|error| format!("retry: {error}")));
        if !errors.is_empty() {
            return Err(InvalidGroup { name: self.name, errors });
        }
        let settings = Settings {
            algorithm: self.algorithm,
            stickiness: self.stickiness,
            check: check.map(Arc::new),
            transport: self.transport,
            deregistration_delay: self.deregistration_delay,
            in_flight_max: self.in_flight_max.and_then(NonZeroU32::new),
            retry: self.retry.map(Arc::new),
            clock: self.clock,
        };
        Ok((self.name, settings, self.seed))
    }
}
