//! The settings of a group, once they were found to be right.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::{health_check::CheckSettings, retry_policy::RetryPolicy};
use crate::{
    algorithm::Algorithm, clock::Clock, endpoint::Transport, health::Health, stickiness::Stickiness,
};

pub(super) struct Settings {
    pub(super) algorithm: Arc<dyn Algorithm>,
    pub(super) stickiness: Option<Arc<dyn Stickiness>>,
    pub(super) check: Option<Arc<CheckSettings>>,
    pub(super) transport: Transport,
    pub(super) deregistration_delay: Duration,
    pub(super) in_flight_max: Option<NonZeroU32>,
    pub(super) retry: Option<Arc<RetryPolicy>>,
    pub(super) clock: Clock,
}

impl Settings {
    /// Returns the health of a new target.
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::new(if self.check.is_some() { Health::initial() } else { Health::unchecked() })
    }
}
