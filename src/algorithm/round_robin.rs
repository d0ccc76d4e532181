//! Round robin: each member in turn, by weight, evenly spread.
//!
//! Whose turn it is, `schedule.rs` decides; here, who stands in for a member that may not be picked.

use super::{Algorithm, Pick, Picker, Weighted, schedule::Schedule};
use crate::rng::Rng;

/// Picks each target in turn, as often as its weight says: ALB's `round_robin`, its default.
///
/// This is nginx's smooth weighted round robin to the letter: weights 5, 1, 1 give `a a b a c a a`,
/// not `a a a a a b c`. Sets whose cycle would be too long to write down (members times sum of the
/// weights, these divided by their greatest common divisor, over 2^18: say, over 22 targets with
/// unlike weights up to 1000) follow another order with the same shares, in which a target's turns
/// are nearly as even.
///
/// The turn of a target that may not be picked, since it was tried already or is full, goes to
/// another one, drawn by weight, and from there to the next in line.
///
/// # Defaults
///
/// `seed` is 0: a lone balancer gives nginx's sequence from its beginning.
///
/// # Examples
///
/// ```
/// use pointsman::{Target, TargetGroup, algorithm::RoundRobin, head::Head};
///
/// let group = TargetGroup::builder("web").algorithm(RoundRobin::new()).build()?;
/// for (id, weight) in [("a", 5), ("b", 1), ("c", 1)] {
///     group.register(Target::host("127.0.0.1:3000")?.with_id(id).weight(weight)?);
/// }
/// let request = http::Request::new(());
/// let mut picks = String::new();
/// for _ in 0..7 {
///     picks += group.assign(&Head::of(&request, None), None, &[])?.member.id();
/// }
/// assert_eq!(picks, "aabacaa");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Many balancers that start together send their first requests all to the first target, unless
/// each has a seed of its own:
///
/// ```
/// use pointsman::{TargetGroup, algorithm::RoundRobin};
///
/// let number_of_this_balancer = 3;
/// let algorithm = RoundRobin::new().seed(number_of_this_balancer);
/// let group = TargetGroup::builder("web").algorithm(algorithm).build();
/// assert!(group.is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    seed: u64,
}

impl RoundRobin {
    /// Makes the algorithm.
    pub const fn new() -> Self {
        Self { seed: 0 }
    }

    /// Begins as if `seed` turns had been taken already; any number will do.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

impl Algorithm for RoundRobin {
    fn name(&self) -> &'static str {
        "round_robin"
    }

    fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker> {
        let schedule = Schedule::new(members);
        // Less than a period, so that the sum with a turn does not overflow into a broken cycle.
        let start = schedule.period().map_or(self.seed, |period| self.seed % period.max(1));
        Box::new(Turns { schedule, start })
    }
}

struct Turns {
    schedule: Schedule,
    start: u64,
}

impl Picker for Turns {
    fn pick(&self, pick: &mut Pick<'_>) -> Option<usize> {
        let turn = pick.turn().wrapping_add(self.start);
        let first = self.schedule.at(turn)?;
        if pick.may(first) {
            return Some(first);
        }
        // Another one each time, so that what one target cannot take does not all fall on its
        // neighbour; drawn from the turn, so that nobody else's random numbers change by it.
        let other = self.schedule.draw_other(first, &Rng::seeded(turn))?;
        (other..self.schedule.len()).chain(0..other).find(|&i| i != first && pick.may(i))
    }
}
