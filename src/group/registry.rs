//! Who is registered: what the one writer at a time changes, before a snapshot is built of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::{roster::Entry, settings::Settings};
use crate::{
    id::TargetId,
    target::{Member, Target},
};

#[derive(Default)]
pub(super) struct Desired {
    pub(super) generation: u64,
    pub(super) entries: Vec<Entry>,
}

impl Desired {
    /// Takes over who is registered with another group, for one of these settings.
    ///
    /// Counts stay, since exchanges go on; health, unless only one of the two is checked; connections,
    /// if they are made in the same way.
    pub(super) fn of(other: &Self, old: &Settings, settings: &Settings) -> Self {
        let same_health = old.check.is_some() == settings.check.is_some();
        let same_transport = old.transport == settings.transport;
        let take = |entry: &Entry| {
            let member = &entry.member;
            // What is draining ends as it began; should it be revived, `register` sees to it.
            let same_endpoint = same_transport || entry.draining.is_some();
            if same_health && same_endpoint {
                return entry.clone();
            }
            let health = if same_health { Arc::clone(member.health()) } else { settings.health() };
            let endpoint = if same_endpoint {
                Arc::clone(member.endpoint())
            } else {
                let address = member.endpoint().address().clone();
                Arc::new(settings.endpoint(address, member.load()))
            };
            let (id, load) = (member.id().clone(), Arc::clone(member.load()));
            Entry { member: Arc::new(Member::new(id, load, health, endpoint)), ..entry.clone() }
        };
        Self { generation: 1, entries: other.entries.iter().map(take).collect() }
    }

    /// Forgets those whose deregistration delay is over.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.entries.retain(|entry| !entry.is_over(now));
    }

    pub(super) fn register(&mut self, target: &Target, settings: &Settings) {
        let member = |load| {
            let endpoint = settings.endpoint(target.address().clone(), &load);
            let (id, health) = (target.id().clone(), settings.health());
            Arc::new(Member::new(id, load, health, Arc::new(endpoint)))
        };
        let weight = target.weight_of();
        match self.entries.iter_mut().find(|entry| entry.member.id() == target.id()) {
            Some(entry) => {
                entry.weight = weight;
                if entry.draining.take().is_some() {
                    entry.member.load().revive();
                }
                let old = &entry.member;
                if old.endpoint().address() != target.address() {
                    entry.member = member(Arc::clone(old.load()));
                } else if *old.endpoint().transport() != settings.transport {
                    // It was draining when the settings changed.
                    let (id, load) = (old.id().clone(), Arc::clone(old.load()));
                    let endpoint = Arc::new(settings.endpoint(target.address().clone(), &load));
                    let health = Arc::clone(old.health());
                    entry.member = Arc::new(Member::new(id, load, health, endpoint));
                }
            }
            None => {
                self.entries.push(Entry { member: member(Arc::default()), weight, draining: None })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        endpoint::Transport,
        group::{HealthCheck, TargetGroup, TargetGroupBuilder},
        health::State,
    };

    fn checked() -> TargetGroupBuilder {
        TargetGroup::builder("web").health_check(HealthCheck::http("/"))
    }

    /// A group with one registered target of weight 3 and one that is draining.
    fn group(builder: TargetGroupBuilder) -> TargetGroup {
        let group = builder.build().unwrap();
        group.register(Target::host("a:1").unwrap().weight(3).unwrap());
        group.register(Target::host("b:1").unwrap());
        assert!(group.deregister("b:1"));
        group
    }

    /// Tells for each member which of load, health and endpoint stayed.
    fn kept(old: &TargetGroup, new: &TargetGroup) -> Vec<[bool; 3]> {
        let (old, new) = (old.0.roster.load(), new.0.roster.load());
        assert_eq!(old.entries.len(), new.entries.len());
        let pairs = old.entries.iter().zip(&new.entries);
        pairs
            .map(|(old, new)| {
                assert_eq!((old.weight, old.draining), (new.weight, new.draining));
                let (old, new) = (&old.member, &new.member);
                assert_eq!(old.id(), new.id());
                assert_eq!(old.endpoint().address(), new.endpoint().address());
                [
                    Arc::ptr_eq(old.load(), new.load()),
                    Arc::ptr_eq(old.health(), new.health()),
                    Arc::ptr_eq(old.endpoint(), new.endpoint()),
                ]
            })
            .collect()
    }

    #[test]
    fn what_new_settings_do_not_concern_is_taken_over() {
        let slow = || Transport::new().answer_timeout(Duration::from_secs(99));
        let plain = || TargetGroup::builder("web");
        let check = |old, new: TargetGroupBuilder, expected| {
            let old = group(old);
            let new = new.build_in_place_of(&old).unwrap();
            // What is draining is reached as before.
            let [load, health, _] = expected;
            assert_eq!(kept(&old, &new), [expected, [load, health, true]]);
        };
        check(checked(), checked().in_flight_max(5), [true, true, true]);
        check(checked(), checked().transport(slow()), [true, true, false]);
        check(plain(), plain().transport(slow()), [true, true, false]);
        check(plain(), checked(), [true, false, true]);
        check(checked(), plain(), [true, false, true]);
        check(checked(), plain().transport(slow()), [true, false, false]);
    }

    #[test]
    fn a_target_is_as_healthy_as_it_was_unless_it_was_not_checked() {
        let state = |old, new: TargetGroupBuilder| {
            let new = new.build_in_place_of(&group(old)).unwrap();
            new.0.roster.load().entries.first().unwrap().member.health().state()
        };
        assert_eq!(state(checked(), TargetGroup::builder("web")), State::Healthy);
        assert_eq!(state(TargetGroup::builder("web"), checked()), State::Initial);
        assert_eq!(state(checked(), checked()), State::Initial);
    }

    #[test]
    fn what_drained_before_and_is_revived_is_reached_by_the_new_settings() {
        let old = group(checked());
        let slow = Transport::new().answer_timeout(Duration::from_secs(99));
        let new = checked().transport(slow.clone()).build_in_place_of(&old).unwrap();
        new.register(Target::host("b:1").unwrap());
        let roster = new.0.roster.load();
        let revived = roster.entries.last().unwrap();
        assert!(revived.draining.is_none());
        assert_eq!(*revived.member.endpoint().transport(), slow);
    }

    #[test]
    fn the_other_group_stays_as_it_is() {
        let old = group(checked());
        let new = checked().build_in_place_of(&old).unwrap();
        new.register(Target::host("c:1").unwrap());
        assert_eq!(old.status().targets.len(), 2);
        assert_eq!(new.status().targets.len(), 3);
    }
}
