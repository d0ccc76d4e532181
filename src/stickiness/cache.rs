//! What was written to clients lately, so that each target's entry is sealed once in a while and not
//! for each response; and what was read of them, so that it is opened once in a while and not for each
//! request.
//!
//! When an entry is too old to be used again is decided in `cookie.rs`, by asking for another time.

use std::{array, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;

use super::{seal::fnv, set_cookie::Fields};
use crate::id::{GroupName, TargetId};

/// Places for entries of different hashes. With as many targets as places in all (a thousand), most
/// are still found; what is not found is sealed again, which costs a microsecond.
const SETS: usize = 256;

/// Entries of one hash that do not push each other out.
const WAYS: usize = 4;

/// An entry of a target, and a response's whole fields with nothing but it.
pub(super) struct Issued {
    pub(super) group: GroupName,
    pub(super) target: TargetId,
    pub(super) until: Duration,
    pub(super) entry: String,
    pub(super) fields: Fields,
}

/// The text of an entry that opened, and what it says.
///
/// All clients of a target are given the same entry and may have one of each, so it gives nothing away
/// how long the comparison of two takes.
pub(super) struct Opened {
    pub(super) group: GroupName,
    pub(super) text: Box<[u8]>,
    pub(super) target: TargetId,
    pub(super) until: Duration,
}

/// What a cache keeps: each in one of the places of its hash.
pub(super) trait Kept {
    fn hash(&self) -> u64;
    fn until(&self) -> Duration;
}

/// A bounded table without locks: who writes to the same place last, wins.
pub(super) struct Cache<T>(Box<[[ArcSwapOption<T>; WAYS]]>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self((0..SETS).map(|_| array::from_fn(|_| ArcSwapOption::empty())).collect())
    }
}

impl Cache<Issued> {
    pub(super) fn find(
        &self,
        group: &GroupName,
        target: &TargetId,
        until: Duration,
    ) -> Option<Arc<Issued>> {
        self.find_by(hash_of_target(group, target), |issued| {
            issued.until == until && issued.target == *target && issued.group == *group
        })
    }
}

impl Cache<Opened> {
    pub(super) fn find(&self, group: &GroupName, text: &[u8]) -> Option<Arc<Opened>> {
        self.find_by(hash_of_text(text), |opened| *opened.text == *text && opened.group == *group)
    }
}

impl<T: Kept> Cache<T> {
    /// Keeps an entry, in place of one of an earlier time if there is any.
    pub(super) fn keep(&self, kept: Arc<T>) {
        let Some(set) = self.set(kept.hash()) else { return };
        let is_old = |place: &&ArcSwapOption<T>| {
            place.load().as_ref().is_none_or(|other| other.until() < kept.until())
        };
        let by_chance = || set.get((kept.hash() >> 48) as usize % WAYS);
        if let Some(place) = set.iter().find(is_old).or_else(by_chance) {
            place.store(Some(kept));
        }
    }
}

impl<T> Cache<T> {
    fn find_by(&self, hash: u64, is_it: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let set = self.set(hash)?;
        set.iter().find_map(|place| place.load().as_ref().filter(|kept| is_it(kept)).cloned())
    }

    fn set(&self, hash: u64) -> Option<&[ArcSwapOption<T>; WAYS]> {
        // The upper half: the lower bits of FNV know nothing of the upper bits of what is hashed.
        self.0.get((hash >> 32) as usize % SETS)
    }
}

impl Kept for Issued {
    fn hash(&self) -> u64 {
        hash_of_target(&self.group, &self.target)
    }

    fn until(&self) -> Duration {
        self.until
    }
}

impl Kept for Opened {
    fn hash(&self) -> u64 {
        hash_of_text(&self.text)
    }

    fn until(&self) -> Duration {
        self.until
    }
}

fn hash_of_target(group: &GroupName, target: &TargetId) -> u64 {
    fnv(group.bytes().chain([0]).chain(target.bytes()))
}

/// The end of an entry is its proof, which looks like chance; an entry that has none is too short.
fn hash_of_text(text: &[u8]) -> u64 {
    fnv(text.last_chunk::<8>().into_iter().flatten().copied())
}
