//! How a group chooses among the targets it may pick: the contract, and the algorithms that come
//! with the crate.
//!
//! Which members may be picked at all (health, draining, fail-open) is decided in `group/`; an
//! algorithm sees only those, and asks [`Pick::may`] about what changes from request to request.

mod least_outstanding;
mod round_robin;
mod schedule;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

pub use self::{least_outstanding::LeastOutstandingRequests, round_robin::RoundRobin};
use crate::{head::Head, rng::Rng, target::Member};

/// A member that may be picked, and its weight.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Weighted {
    /// The member.
    pub member: Arc<Member>,
    /// Its weight, 1 to 1000.
    pub weight: NonZeroU16,
}

impl Weighted {
    /// Puts a member and its weight together.
    pub fn new(member: Arc<Member>, weight: NonZeroU16) -> Self {
        Self { member, weight }
    }
}

/// A routing algorithm: prepares a picker for a set of members.
///
/// # Examples
///
/// An algorithm of one's own that always takes the first target that has room:
///
/// ```
/// use pointsman::{TargetGroup, algorithm::{Algorithm, Pick, Picker, Weighted}};
///
/// #[derive(Debug)]
/// struct First;
/// struct FirstOf(usize);
///
/// impl Algorithm for First {
///     fn name(&self) -> &'static str {
///         "first"
///     }
///
///     fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker> {
///         Box::new(FirstOf(members.len()))
///     }
/// }
///
/// impl Picker for FirstOf {
///     fn pick(&self, pick: &mut Pick<'_>) -> Option<usize> {
///         (0..self.0).find(|&i| pick.may(i))
///     }
/// }
///
/// let group = TargetGroup::builder("web").algorithm(First).build().unwrap();
/// assert_eq!(group.name(), "web");
/// ```
pub trait Algorithm: fmt::Debug + Send + Sync {
    /// Names the algorithm in explanations.
    fn name(&self) -> &'static str;

    /// Makes a picker for these members; once for each change of the set, off the request path.
    fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker>;
}

/// Picks one of the members it was prepared for.
pub trait Picker: Send + Sync {
    /// Returns the place of the picked member in the slice given to [`Algorithm::prepare`], or
    /// `None` if [`Pick::may`] refuses them all.
    fn pick(&self, pick: &mut Pick<'_>) -> Option<usize>;
}

/// What a picker may ask while it picks.
pub struct Pick<'a> {
    head: &'a Head<'a>,
    may: &'a dyn Fn(usize) -> bool,
    turn: &'a AtomicU64,
    rng: &'a Rng,
}

impl<'a> Pick<'a> {
    /// Makes one; for tests of an algorithm and for what picks outside a group.
    pub fn new(
        head: &'a Head<'a>,
        may: &'a dyn Fn(usize) -> bool,
        turn: &'a AtomicU64,
        rng: &'a Rng,
    ) -> Self {
        Self { head, may, turn, rng }
    }

    /// Returns the head of the request.
    pub fn head(&self) -> &Head<'a> {
        self.head
    }

    /// Tells whether member `i` may have this request: it was not tried yet, and is below its cap.
    pub fn may(&self, i: usize) -> bool {
        (self.may)(i)
    }

    /// Returns how many turns the group took before, and takes one; it survives changes of the set.
    pub fn turn(&mut self) -> u64 {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the group's random numbers.
    pub fn rng(&mut self) -> &Rng {
        self.rng
    }
}

impl fmt::Debug for Pick<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pick").field("head", &self.head).finish_non_exhaustive()
    }
}
