//! The settings of a group, once they were found to be right.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use super::health_check::CheckSettings;
use crate::{
    algorithm::Algorithm,
    clock::Clock,
    endpoint::{Address, Endpoint, Transport},
    health::Health,
    lease::Load,
    stickiness::Stickiness,
};

pub(super) struct Settings {
    pub(super) algorithm: Arc<dyn Algorithm>,
    pub(super) stickiness: Option<Arc<dyn Stickiness>>,
    pub(super) check: Option<CheckSettings>,
    pub(super) transport: Transport,
    pub(super) deregistration_delay: Duration,
    pub(super) in_flight_max: Option<NonZeroU32>,
    pub(super) clock: Clock,
}

impl Settings {
    /// What a new member is reached by.
    pub(super) fn endpoint(&self, address: Address, load: &Arc<Load>) -> Endpoint {
        Endpoint::new(address, self.transport.clone(), Arc::clone(load))
    }

    /// What is known of a new member.
    pub(super) fn health(&self) -> Arc<Health> {
        Arc::new(if self.check.is_some() { Health::initial() } else { Health::unchecked() })
    }
}
