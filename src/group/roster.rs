//! The immutable snapshot of a group: its members, which may be picked, and the prepared picker.
//!
//! A request loads it once. Who changes it, and when, is `mod.rs`'s affair.

use std::{
    collections::HashMap,
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use tokio::time::Instant;

use super::settings::Settings;
use crate::{
    algorithm::{Algorithm, Picker, RoundRobin, Weighted},
    endpoint::panic_text,
    health::State,
    id::TargetId,
    target::Member,
};

/// A registered member and what lies beside it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) member: Arc<Member>,
    pub(super) weight: NonZeroU16,
    /// When the deregistration delay is over.
    pub(super) draining: Option<Instant>,
}

/// What a picker was prepared for.
#[derive(Clone)]
struct Prepared {
    members: Arc<[Weighted]>,
    picker: Arc<dyn Picker>,
    /// Whether it is a plain round robin in place of what the algorithm could not prepare.
    stands_in: bool,
}

impl Entry {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.draining.is_some_and(|deadline| deadline <= now)
    }

    /// Tells whether it is draining, and nothing is in flight any more.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.is_some() && self.member.load().in_flight() == 0
    }
}

pub(super) struct Roster {
    /// Counts the changes of the group; a later one is never replaced by an earlier.
    pub(super) generation: u64,
    pub(super) settings: Arc<Settings>,
    /// In the order of registration, those that are draining among them.
    pub(super) entries: Vec<Entry>,
    /// Whether the members are picked from without regard to health, since none is healthy.
    pub(super) fail_open: bool,
    /// Whether that is a failure: a group that waits for its first checks is none.
    pub(super) failing: bool,
    prepared: Prepared,
    /// Places in `prepared` by id, of those that may be picked.
    places: HashMap<TargetId, usize>,
    /// Whether `prepared` is an older one, some of whose members may not be picked any more.
    outdated: bool,
}

impl Roster {
    /// Builds a snapshot. If the algorithm panics, the old picker serves what is left of its
    /// members, and if nothing is left, a plain round robin.
    pub(super) fn build(
        generation: u64,
        entries: Vec<Entry>,
        settings: Arc<Settings>,
        old: Option<&Self>,
    ) -> Self {
        let registered = || entries.iter().filter(|entry| entry.draining.is_none());
        let healthy = |entry: &&Entry| entry.member.health().state() == State::Healthy;
        let weighted = |entry: &Entry| Weighted::new(Arc::clone(&entry.member), entry.weight);
        let mut members: Arc<[Weighted]> = registered().filter(healthy).map(weighted).collect();
        let fail_open = members.is_empty() && registered().next().is_some();
        if fail_open {
            members = registered().map(weighted).collect();
        }
        let checked = |entry: &Entry| entry.member.health().state() != State::Initial;
        let failing = fail_open && registered().any(checked);
        let (prepared, places, outdated) = prepare(members, &*settings.algorithm, old);
        Self { generation, settings, entries, fail_open, failing, prepared, places, outdated }
    }

    /// Returns those the picker was prepared for.
    pub(super) fn members(&self) -> &[Weighted] {
        &self.prepared.members
    }

    pub(super) fn picker(&self) -> &dyn Picker {
        &*self.prepared.picker
    }

    /// Returns the place of a member that may be picked.
    pub(super) fn place(&self, id: &TargetId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Tells whether the member at a place may still be picked.
    pub(super) fn is_pickable(&self, place: usize) -> bool {
        let members = self.members();
        !self.outdated
            || members.get(place).is_some_and(|m| self.places.contains_key(m.member.id()))
    }

    /// Tells whether any member may be picked.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Has the algorithm prepare a picker; if it panics, falls back to what it prepared before. Tells
/// which members may be picked, and whether these are not all for whom the picker was prepared.
fn prepare(
    members: Arc<[Weighted]>,
    algorithm: &dyn Algorithm,
    old: Option<&Roster>,
) -> (Prepared, HashMap<TargetId, usize>, bool) {
    let places = places(&members);
    let panic = match catch_unwind(AssertUnwindSafe(|| algorithm.prepare(&members))) {
        Ok(picker) => {
            let picker = picker.into();
            return (Prepared { members, picker, stands_in: false }, places, false);
        }
        Err(panic) => panic,
    };
    tracing::error!(
        algorithm = algorithm.name(),
        panic = panic_text(&*panic),
        "the algorithm panicked while it prepared; what it prepared before serves on"
    );
    if let Some(old) = old.map(|old| &old.prepared).filter(|old| !old.stands_in) {
        let mut left = self::places(&old.members);
        left.retain(|id, place| {
            // Another address under the same id is another member, which that picker cannot pick.
            let now = places.get(id).and_then(|now| members.get(*now));
            let old = old.members.get(*place);
            now.zip(old).is_some_and(|(now, old)| Arc::ptr_eq(&now.member, &old.member))
        });
        if !left.is_empty() {
            return (old.clone(), left, true);
        }
    }
    let picker = RoundRobin::new().prepare(&members).into();
    (Prepared { members, picker, stands_in: true }, places, false)
}

fn places(members: &[Weighted]) -> HashMap<TargetId, usize> {
    members.iter().enumerate().map(|(place, m)| (m.member.id().clone(), place)).collect()
}
