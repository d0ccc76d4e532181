//! The decision: which member gets a request, and why.
//!
//! One function decides over the counters it is lent; a request lends the group's own, an
//! explanation copies of them.

use std::{
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicU64},
};

use super::roster::Roster;
use crate::{
    algorithm::{Pick, Weighted},
    endpoint::panic_text,
    error::{Error, Kind},
    head::Head,
    id::TargetId,
    lease::Lease,
    rng::Rng,
    target::Member,
};

/// Why a target was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The client had it before.
    Session,
    /// The algorithm picked it.
    Algorithm,
}

/// A member that was picked, with the exchange begun.
#[derive(Debug)]
#[non_exhaustive]
pub struct Assignment {
    /// The member.
    pub member: Arc<Member>,
    /// The exchange, which counts from now on.
    pub lease: Lease,
    /// Why it was picked.
    pub why: Why,
    /// Whether no member was healthy, so that health was not heeded.
    pub fail_open: bool,
}

/// What a decision draws on.
pub(super) struct Counters<'a> {
    pub(super) turn: &'a AtomicU64,
    pub(super) rng: &'a Rng,
}

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) head: &'a Head<'a>,
    pub(super) prefer: Option<&'a TargetId>,
    pub(super) tried: &'a [TargetId],
    pub(super) in_flight_max: Option<NonZeroU32>,
}

/// Decides which member gets a request; returns its place in [`Roster::members`].
pub(super) fn decide(
    roster: &Roster,
    wanted: Wanted<'_>,
    counters: &Counters<'_>,
) -> Result<(usize, Why), Error> {
    if roster.is_empty() {
        return Err(Error::new(Kind::NoTarget, "the group has no registered target"));
    }
    let members = roster.members();
    let may = |place: usize| {
        wanted.may_try(roster, place)
            && members.get(place).is_some_and(|member| wanted.has_room(member))
    };
    let preferred = wanted.prefer.and_then(|id| roster.place(id));
    if let Some(place) = preferred.filter(|&place| may(place)) {
        return Ok((place, Why::Session));
    }
    let mut pick = Pick::new(wanted.head, &may, counters.turn, counters.rng);
    let picked = catch_unwind(AssertUnwindSafe(|| roster.picker().pick(&mut pick)));
    match picked {
        // Its cap is heeded once more when the exchange begins.
        Ok(Some(place)) if wanted.may_try(roster, place) => Ok((place, Why::Algorithm)),
        Ok(None) => Err(wanted.refused(roster)),
        Ok(Some(place)) => {
            let len = members.len();
            let text = format!("the algorithm picked place {place} of {len}, which it may not");
            Err(Error::new(Kind::Other, text))
        }
        Err(panic) => {
            let text = format!("the algorithm panicked: {}", panic_text(&*panic));
            Err(Error::new(Kind::Panicked, text))
        }
    }
}

impl Wanted<'_> {
    fn has_room(&self, member: &Weighted) -> bool {
        self.in_flight_max.is_none_or(|max| member.member.load().in_flight() < max.get())
    }

    fn was_tried(&self, member: &Weighted) -> bool {
        self.tried.contains(member.member.id())
    }

    fn refused(&self, roster: &Roster) -> Error {
        let left = (0..roster.members().len()).any(|place| self.may_try(roster, place));
        match self.in_flight_max {
            Some(max) if left => {
                let text = format!("each has {max} requests in flight, the most allowed");
                Error::new(Kind::Saturated, text)
            }
            None if left => Error::new(Kind::NoTarget, "the algorithm picked none"),
            _ => Error::new(Kind::NoTarget, "every target was tried"),
        }
    }

    /// Tells whether the member at a place may be picked and was not tried yet.
    fn may_try(&self, roster: &Roster, place: usize) -> bool {
        roster.is_pickable(place)
            && roster.members().get(place).is_some_and(|member| !self.was_tried(member))
    }
}

/// Decides and begins the exchange.
pub(super) fn assign(
    roster: &Roster,
    wanted: Wanted<'_>,
    counters: &Counters<'_>,
) -> Result<Assignment, Error> {
    let begin = |place: usize, why| {
        let member = Arc::clone(&roster.members().get(place)?.member);
        let lease = member.load().begin(wanted.in_flight_max)?;
        Some(Assignment { member, lease, why, fail_open: roster.fail_open })
    };
    let (place, why) = decide(roster, wanted, counters)?;
    if let Some(assignment) = begin(place, why) {
        return Ok(assignment);
    }
    // Between the look and the begin another request took the last room: take any that is left.
    (0..roster.members().len())
        .filter(|&place| wanted.may_try(roster, place))
        .find_map(|place| begin(place, Why::Algorithm))
        .ok_or_else(|| wanted.refused(roster))
}
