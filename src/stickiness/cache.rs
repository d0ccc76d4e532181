//! What was written to a client lately, so that each target's entry is sealed once in a while and
//! not for each response.
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

/// A bounded table without locks: who writes to the same place last, wins.
pub(super) struct Cache(Box<[[ArcSwapOption<Issued>; WAYS]]>);

impl Default for Cache {
    fn default() -> Self {
        Self((0..SETS).map(|_| array::from_fn(|_| ArcSwapOption::empty())).collect())
    }
}

impl Cache {
    pub(super) fn find(
        &self,
        group: &GroupName,
        target: &TargetId,
        until: Duration,
    ) -> Option<Arc<Issued>> {
        let is_it = |issued: &Issued| {
            issued.until == until && issued.target == *target && issued.group == *group
        };
        let (_, set) = self.set(group, target)?;
        set.iter().find_map(|place| place.load().as_ref().filter(|issued| is_it(issued)).cloned())
    }

    /// Keeps an entry, in place of one of an earlier time if there is any.
    pub(super) fn keep(&self, issued: &Arc<Issued>) {
        let Some((hash, set)) = self.set(&issued.group, &issued.target) else { return };
        let is_old = |place: &&ArcSwapOption<Issued>| {
            place.load().as_ref().is_none_or(|other| other.until < issued.until)
        };
        let place = set.iter().find(is_old).or_else(|| set.get((hash >> 48) as usize % WAYS));
        if let Some(place) = place {
            place.store(Some(Arc::clone(issued)));
        }
    }

    fn set(
        &self,
        group: &GroupName,
        target: &TargetId,
    ) -> Option<(u64, &[ArcSwapOption<Issued>; WAYS])> {
        let hash = fnv(group.bytes().chain([0]).chain(target.bytes()));
        // The upper half: the lower bits of FNV know nothing of the upper bits of what is hashed.
        self.0.get((hash >> 32) as usize % SETS).map(|set| (hash, set))
    }
}
