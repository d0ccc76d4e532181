//! Who is registered: what the one writer at a time changes, before a snapshot is built of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{roster::Entry, settings::Settings};
use crate::{
    endpoint::Endpoint,
    id::TargetId,
    target::{Member, Target},
};

/// How many that have drained a group remembers until their delay is over, to show them and to go on
/// with them should they come back. As many as the largest group has targets that are replaced at once;
/// without a bound, ever new targets would make every change slower than the one before.
const DRAINED_MAX: usize = 1000;

pub(super) struct Desired {
    pub(super) generation: u64,
    pub(super) entries: Vec<Entry>,
    pub(super) settings: Arc<Settings>,
}

impl Desired {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { generation: 0, entries: Vec::new(), settings }
    }

    /// Forgets those whose deregistration delay is over, and of those that have drained the first
    /// registered, if there are too many.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.entries.retain(|entry| !entry.is_over(now));
        let drained = self.entries.iter().filter(|entry| entry.is_drained()).count();
        let mut surplus = drained.saturating_sub(DRAINED_MAX);
        if surplus > 0 {
            self.entries.retain(|entry| {
                let forgotten = surplus > 0 && entry.is_drained();
                surplus -= usize::from(forgotten);
                !forgotten
            });
        }
    }

    pub(super) fn register(&mut self, target: &Target) {
        let settings = &self.settings;
        let member = |load, endpoint| {
            let id = target.id().clone();
            Arc::new(Member::new(id, load, settings.health(), Arc::new(endpoint)))
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
    pub(super) fn deregister(&mut self, chosen: impl Fn(&TargetId) -> bool) -> usize {
        let deadline = Instant::now() + self.settings.deregistration_delay;
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

    /// Changes the settings; what of a member they do not touch stays.
    pub(super) fn reconfigure(&mut self, settings: Settings) {
        let other_transport = settings.transport != self.settings.transport;
        let other_checks = settings.check.is_some() != self.settings.check.is_some();
        if other_transport || other_checks {
            // Also of those that are draining, since they may be registered again.
            for entry in &mut self.entries {
                let member = &entry.member;
                let endpoint = if other_transport {
                    let address = member.endpoint().address().clone();
                    Arc::new(member.endpoint().moved(address, settings.transport.clone()))
                } else {
                    Arc::clone(member.endpoint())
                };
                let health =
                    if other_checks { settings.health() } else { Arc::clone(member.health()) };
                let (id, load) = (member.id().clone(), Arc::clone(member.load()));
                entry.member = Arc::new(Member::new(id, load, health, endpoint));
            }
        }
        self.settings = Arc::new(settings);
    }
}
