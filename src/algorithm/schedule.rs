//! Whose turn it is: the weighted order that round robin follows and that settles ties elsewhere.
//!
//! Made once for each change of the set; afterwards whose turn it is follows from the number of the
//! turn alone. Whether that member may be picked is the algorithms' affair.

use crate::rng::Rng;

use super::Weighted;

/// The most steps that making a table may take, members times length: a quarter of a millisecond, and
/// at most 256 KiB kept. A group is rebuilt whenever a target changes its health, so this stays small;
/// sixteen members, whatever their weights, always have a table.
const TABLE_STEPS_MAX: u64 = 1 << 18;

/// 2^64 divided by the golden ratio, odd. Its multiples modulo 2^64 spread as evenly as those of any
/// number do, however many one takes.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The order of turns among weighted members.
#[derive(Debug)]
pub(super) struct Schedule {
    /// For each member the sum of the weights up to and with its own.
    ends: Box<[u64]>,
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// One after the other, which is what smooth weighted round robin does with equal weights.
    Equal,
    /// The cycle of the smooth weighted round robin.
    Table(Box<[u16]>),
    /// What is too large for a table; see [`Schedule::stride`], and [`guide`] for what helps it.
    Stride(Box<[u32]>),
}

impl Schedule {
    pub(super) fn new(members: &[Weighted]) -> Self {
        let weights = || members.iter().map(|member| u64::from(member.weight.get()));
        let ends: Box<[u64]> = weights()
            .scan(0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            })
            .collect();
        let divisor = weights().fold(0, greatest_common_divisor).max(1);
        let length = ends.last().map_or(0, |sum| sum / divisor);
        let count = members.len() as u64;
        let order = if length == count {
            Order::Equal
        } else if count.saturating_mul(length) <= TABLE_STEPS_MAX {
            Order::Table(smooth(weights().map(|weight| (weight / divisor) as i64).collect()))
        } else {
            Order::Stride(guide(&ends))
        };
        Self { ends, order }
    }

    /// Returns the number of members.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns after how many turns the order begins again, if that is soon.
    pub(super) fn period(&self) -> Option<u64> {
        match &self.order {
            Order::Equal => Some(self.ends.len() as u64),
            Order::Table(order) => Some(order.len() as u64),
            Order::Stride(_) => None,
        }
    }

    /// Returns whose turn it is; `None` if there are no members.
    pub(super) fn at(&self, turn: u64) -> Option<usize> {
        match &self.order {
            Order::Equal => turn.checked_rem(self.ends.len() as u64).map(|i| i as usize),
            Order::Table(order) => {
                let place = turn.checked_rem(order.len() as u64)?;
                order.get(place as usize).map(|&i| usize::from(i))
            }
            Order::Stride(guide) => self.stride(guide, turn),
        }
    }

    /// Draws a member other than `but` by weight; `None` if there is no other.
    pub(super) fn draw_other(&self, but: usize, rng: &Rng) -> Option<usize> {
        let end = *self.ends.get(but)?;
        let start = but.checked_sub(1).and_then(|i| self.ends.get(i)).copied().unwrap_or(0);
        let others = self.sum().checked_sub(end - start).filter(|&others| others > 0)?;
        // A point on the line of all weights, from which the refused member's part is cut out.
        let point = rng.below(others);
        Some(self.owner(if point < start { point } else { point + (end - start) }))
    }

    /// Walks along the line of all weights, closed to a circle, in steps of the golden section of
    /// its length, and returns whose part it comes to.
    ///
    /// Like a static stride scheduler it needs nothing but the number of the turn. But it neither
    /// skips turns nor has to bend weights in order to bound the skipping: a target that weighs a
    /// thousandth of the others gets a thousandth of their share. The turns of a member come at
    /// no more than three different distances (Slater, "Gaps and steps for the sequence nθ mod 1",
    /// 1967), and its share after any number of turns is off by a few turns at most.
    fn stride(&self, guide: &[u32], turn: u64) -> Option<usize> {
        let part = turn.wrapping_mul(GOLDEN);
        let point = share(self.sum(), part);
        // The guide's place is at or before the point, and few parts end between the two.
        let start = *guide.get(share(guide.len() as u64, part) as usize)? as usize;
        Some(start + self.ends.get(start..)?.iter().take_while(|&&end| end <= point).count())
    }

    /// Returns the member whose part of the line of all weights has this point.
    fn owner(&self, point: u64) -> usize {
        self.ends.partition_point(|&end| end <= point)
    }

    fn sum(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }
}

/// Returns the cycle of nginx's smooth weighted round robin: each turn everybody's standing rises by
/// his weight, and who then stands highest, the first of equals, is taken and falls by the sum.
///
/// nginx's effective weight, which sinks with failures, is left out: health decides here who is a
/// member at all.
fn smooth(weights: Box<[i64]>) -> Box<[u16]> {
    let sum: i64 = weights.iter().sum();
    let mut standings: Box<[i64]> = weights.iter().map(|_| 0).collect();
    let turn = |_| {
        let mut first = (0, i64::MIN);
        for (i, (standing, weight)) in standings.iter_mut().zip(&weights).enumerate() {
            *standing += weight;
            if *standing > first.1 {
                first = (i, *standing);
            }
        }
        if let Some(standing) = standings.get_mut(first.0) {
            *standing -= sum;
        }
        // A cycle is no shorter than there are members, so a table has at most 2^9 of them.
        first.0 as u16
    };
    (0..sum).map(turn).collect()
}

/// Divides the line of all weights evenly by as many points as there are members, and returns whose
/// part each point is in. Begun there, a search takes two steps on average, however many there are.
fn guide(ends: &[u64]) -> Box<[u32]> {
    let count = ends.len() as u64;
    let sum = ends.last().copied().unwrap_or(0);
    let mut owner = 0;
    let owner_of = |i| {
        owner += ends.iter().skip(owner).take_while(|&&end| end <= i * sum / count).count();
        owner as u32
    };
    (0..count).map(owner_of).collect()
}

/// Returns what a fraction in 2^64ths of a number is.
fn share(of: u64, part: u64) -> u64 {
    ((u128::from(of) * u128::from(part)) >> 64) as u64
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
