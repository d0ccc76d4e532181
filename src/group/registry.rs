//! Who is registered: what the one writer at a time changes, before a snapshot is built of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{roster::Entry, settings::Settings};
use crate::{
    endpoint::Endpoint,
    health::Health,
    id::TargetId,
    target::{Member, Target},
};

#[derive(Default)]
pub(super) struct Desired {
    pub(super) generation: u64,
    pub(super) entries: Vec<Entry>,
}

impl Desired {
    /// Forgets those whose deregistration delay is over.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.entries.retain(|entry| !entry.is_over(now));
    }

    pub(super) fn register(&mut self, target: &Target, settings: &Settings) {
        let health = || {
            Arc::new(if settings.check.is_some() { Health::initial() } else { Health::unchecked() })
        };
        let member = |load, endpoint| {
            Arc::new(Member::new(target.id().clone(), load, health(), Arc::new(endpoint)))
        };
        let (address, transport) = (target.address(), &settings.transport);
        let weight = target.weight_of();
        match self.entries.iter_mut().find(|entry| entry.member.id() == target.id()) {
            Some(entry) => {
                entry.weight = weight;
                if entry.draining.take().is_some() {
                    entry.member.load().revive();
                }
                let (load, endpoint) = (entry.member.load(), entry.member.endpoint());
                if endpoint.address() != address {
                    let endpoint = endpoint.moved(address.clone(), transport.clone());
                    entry.member = member(Arc::clone(load), endpoint);
                }
            }
            None => {
                let load = Arc::default();
                let endpoint = Endpoint::new(address.clone(), transport.clone(), Arc::clone(&load));
                let member = member(load, endpoint);
                self.entries.push(Entry { member, weight, draining: None });
            }
        }
    }

    /// Deregisters those that are chosen; returns how many were.
    pub(super) fn deregister(
        &mut self,
        chosen: impl Fn(&TargetId) -> bool,
        settings: &Settings,
    ) -> usize {
        let deadline = Instant::now() + settings.deregistration_delay;
        let registered = self.entries.iter_mut().filter(|entry| entry.draining.is_none());
        let mut count = 0;
        for entry in registered.filter(|entry| chosen(entry.member.id())) {
            count += 1;
            entry.draining = Some(deadline);
            entry.member.load().drain_until(deadline);
            entry.member.endpoint().drain();
        }
        count
    }
}
