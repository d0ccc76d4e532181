//! The settings of a group's health check, ALB's with ALB's defaults.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use crate::{
    clock::WAIT_MAX,
    health::Thresholds,
    probe::{Asks, HttpProbe, Probe},
};

/// How the targets of a group are checked.
///
/// # Defaults
///
/// | setting | default | allowed |
/// |---|---|---|
/// | `interval` | 30 s, start to start | above 0 |
/// | `timeout` | 5 s, or the interval if that is shorter | above 0, at most the interval |
/// | `healthy_threshold` | 5 in a row; a new target needs one | at least 1 |
/// | `unhealthy_threshold` | 2 in a row | at least 1 |
/// | `port` | the target's own | 1 to 65535 |
/// | `matcher` | `200-299` | codes and ranges of 100 to 599 |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pointsman::{HealthCheck, TargetGroup};
///
/// let check = HealthCheck::http("/health")
///     .interval(Duration::from_secs(5))
///     .healthy_threshold(2)
///     .host("example.com") // Django answers 400 to a Host it does not know
///     .matcher("200-299,302");
/// let web = TargetGroup::builder("web").health_check(check).build().unwrap();
/// # drop(web);
/// ```
#[derive(Clone, Debug)]
pub struct HealthCheck {
    asks: Asked,
    interval: Duration,
    timeout: Option<Duration>,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
}

#[derive(Clone, Debug)]
enum Asked {
    Http(HttpProbe),
    Custom(Arc<dyn Probe>),
}

/// The same, checked when the group was built.
#[derive(Clone, Debug)]
pub(crate) struct CheckSettings {
    pub(crate) asks: Asks,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) thresholds: Thresholds,
}

impl CheckSettings {
    /// Returns how long a checking task may be silent before it counts as lost: two intervals, but
    /// never so short that a busy runtime looks dead.
    pub(crate) fn patience(&self) -> Duration {
        (self.interval * 2).max(Duration::from_secs(1))
    }
}

impl HealthCheck {
    /// Checks with a GET of this path, which may have a query.
    pub fn http(path: impl Into<String>) -> Self {
        let (port, headers, matcher) = (None, Vec::new(), "200-299".to_owned());
        Self::of(Asked::Http(HttpProbe { path: path.into(), port, headers, matcher }))
    }

    /// Checks with a probe of the user's own.
    pub fn probe(probe: impl Probe + 'static) -> Self {
        Self::of(Asked::Custom(Arc::new(probe)))
    }

    fn of(asks: Asked) -> Self {
        Self {
            asks,
            interval: Duration::from_secs(30),
            timeout: None,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
        }
    }

    /// Sets the time from the start of a check to the start of the next.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.min(WAIT_MAX);
        self
    }

    /// Sets how long a check may take in all.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.min(WAIT_MAX));
        self
    }

    /// Sets how many successes in a row make an unhealthy target healthy.
    #[must_use]
    pub fn healthy_threshold(mut self, threshold: u32) -> Self {
        self.healthy_threshold = threshold;
        self
    }

    /// Sets how many failures in a row make a target unhealthy.
    #[must_use]
    pub fn unhealthy_threshold(mut self, threshold: u32) -> Self {
        self.unhealthy_threshold = threshold;
        self
    }

    /// Sets the port that is asked. Nothing for a probe of one's own or a service in this process.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.http_probe(|probe| probe.port = Some(port))
    }

    /// Sets the Host that is asked for. Nothing for a probe of one's own.
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Self {
        self.header("host", host)
    }

    /// Sets a header field of the request. Nothing for a probe of one's own.
    #[must_use]
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.http_probe(|probe| probe.headers.push((name.into(), value.into())))
    }

    /// Sets which statuses are a good answer: `200-299,302`. Nothing for a probe of one's own.
    #[must_use]
    pub fn matcher(self, matcher: impl Into<String>) -> Self {
        self.http_probe(|probe| probe.matcher = matcher.into())
    }

    fn http_probe(mut self, change: impl FnOnce(&mut HttpProbe)) -> Self {
        if let Asked::Http(probe) = &mut self.asks {
            change(probe);
        }
        self
    }

    /// Checks the settings; each error is one sentence.
    pub(crate) fn checked(&self) -> Result<CheckSettings, Vec<String>> {
        let mut errors = Vec::new();
        let timeout = self.timeout.unwrap_or(self.interval.min(Duration::from_secs(5)));
        if self.interval.is_zero() {
            errors.push("interval 0s: expected more".to_owned());
        } else if timeout.is_zero() || timeout > self.interval {
            let interval = self.interval;
            errors
                .push(format!("timeout {timeout:?}: expected more than 0s, at most {interval:?}"));
        }
        let mut threshold = |name: &str, value: u32| {
            NonZeroU32::new(value).unwrap_or_else(|| {
                errors.push(format!("{name} 0: expected 1 or more"));
                NonZeroU32::MIN
            })
        };
        let thresholds = Thresholds {
            healthy: threshold("healthy_threshold", self.healthy_threshold),
            unhealthy: threshold("unhealthy_threshold", self.unhealthy_threshold),
        };
        let asks = match &self.asks {
            Asked::Custom(probe) => Ok(Asks::Custom(Arc::clone(probe))),
            Asked::Http(probe) => probe.checked().map(|probe| Asks::Http(Arc::new(probe))),
        };
        match asks {
            Ok(asks) if errors.is_empty() => {
                Ok(CheckSettings { asks, interval: self.interval, timeout, thresholds })
            }
            asks => {
                errors.extend(asks.err().into_iter().flatten());
                Err(errors)
            }
        }
    }
}
