//! Least outstanding requests: the member with the fewest exchanges in flight for its weight.
//!
//! Ties are settled by the order of turns in `schedule.rs`.

use std::{cmp::Ordering, iter, sync::Arc};

use super::{Algorithm, Pick, Picker, Weighted, schedule::Schedule};
use crate::{lease::Load, rng::Rng};

/// Picks the target with the fewest exchanges in flight: ALB's `least_outstanding_requests`.
///
/// An exchange is in flight from the pick to the end of the answer's body. Counts are divided by
/// weights: of weights 2 and 1, the first target has fewer while it has less than twice as many. All
/// targets are looked at, so the pick is exact, and takes time in proportion to their number.
///
/// Ties are settled by weight, never in favour of the first: if the target whose turn it is in
/// [`RoundRobin`](super::RoundRobin)'s order is among the tied, it is picked, else one of them is
/// drawn by weight. So an idle group is served in round robin's order, as by nginx's `least_conn`.
///
/// # Examples
///
/// ```
/// use pointsman::{Target, TargetGroup, algorithm::LeastOutstandingRequests, head::Head};
///
/// let group = TargetGroup::builder("web").algorithm(LeastOutstandingRequests::new()).build()?;
/// for id in ["a", "b"] {
///     group.register(Target::host("127.0.0.1:3000")?.with_id(id));
/// }
/// let request = http::Request::new(());
/// let assign = || group.assign(&Head::of(&request, None), None, &[]);
///
/// // While one exchange is in flight, the other target gets all that are short.
/// let long = assign()?;
/// assert_eq!(long.member.id(), "a");
/// for _ in 0..3 {
///     let short = assign()?;
///     assert_eq!(short.member.id(), "b");
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastOutstandingRequests(());

impl LeastOutstandingRequests {
    /// Makes the algorithm.
    pub const fn new() -> Self {
        Self(())
    }
}

impl Algorithm for LeastOutstandingRequests {
    fn name(&self) -> &'static str {
        "least_outstanding_requests"
    }

    fn prepare(&self, members: &[Weighted]) -> Box<dyn Picker> {
        let candidate = |member: &Weighted| Candidate {
            load: Arc::clone(member.member.load()),
            weight: u64::from(member.weight.get()),
        };
        Box::new(Scan {
            candidates: members.iter().map(candidate).collect(),
            schedule: Schedule::new(members),
        })
    }
}

struct Scan {
    candidates: Box<[Candidate]>,
    schedule: Schedule,
}

struct Candidate {
    load: Arc<Load>,
    weight: u64,
}

/// The best candidate so far.
struct Best {
    place: usize,
    in_flight: u64,
    weight: u64,
    /// The weights of all that are tied with it, its own included.
    tied: u64,
}

impl Best {
    /// Compares a candidate with this one; less is better.
    fn compare(&self, in_flight: u64, weight: u64) -> Ordering {
        // a/v < b/w as a·w < b·v. Without adding one for the request at hand: that would send all of
        // a light load to the heaviest target.
        (in_flight * self.weight).cmp(&(self.in_flight * weight))
    }
}

impl Picker for Scan {
    fn pick(&self, pick: &mut Pick<'_>) -> Option<usize> {
        let turn = pick.turn();
        let draws = Rng::seeded(turn);
        let preferred = self.schedule.at(turn)?;
        let mut best: Option<Best> = None;
        let others = (0..self.candidates.len()).filter(|&place| place != preferred);
        for place in iter::once(preferred).chain(others) {
            let Some(Candidate { load, weight }) = self.candidates.get(place) else { continue };
            // Counts move meanwhile, so each is read once.
            let (in_flight, weight) = (u64::from(load.in_flight()), *weight);
            let tied = match &best {
                None => weight,
                Some(best) => match best.compare(in_flight, weight) {
                    Ordering::Less => weight,
                    // Who has the turn keeps its place against all that are only as good.
                    Ordering::Equal if best.place != preferred => best.tied + weight,
                    _ => continue,
                },
            };
            if !pick.may(place) {
                continue;
            }
            // Of tied candidates each replaces the one before with the chance of its weight among
            // those seen; so in the end each has the chance of its weight among all.
            match &mut best {
                Some(best) if draws.below(tied) >= weight => best.tied = tied,
                best => *best = Some(Best { place, in_flight, weight, tied }),
            }
        }
        best.map(|best| best.place)
    }
}
