//! Forwarding to one group, or to several by weight.
//!
//! Which target of the group answers is decided in `group/`. A group that cannot answer is not
//! replaced by another.

use std::{borrow::Borrow, fmt};

use crate::{group::TargetGroup, rng::Rng, rule::invalid::Faults};

/// The greatest weight of a group, ALB's.
const WEIGHT_MAX: u16 = 999;

/// Hands requests to a target group.
///
/// # Examples
///
/// ```
/// use pointsman::{TargetGroup, rng::Rng, rule::Forward};
///
/// let blue = TargetGroup::builder("blue").build().unwrap();
/// let green = TargetGroup::builder("green").build().unwrap();
/// let forward = Forward::split([(&blue, 1), (&green, 0)]);
/// assert_eq!(forward.choose(&Rng::seeded(7)).unwrap().name(), "blue");
/// assert_eq!(forward.to_string(), "forward to blue with weight 1, green with weight 0");
/// ```
#[derive(Clone, Debug)]
pub struct Forward {
    groups: Box<[(TargetGroup, u16)]>,
    total: u64,
}

impl Forward {
    /// All requests go to this group.
    pub fn to(group: &TargetGroup) -> Self {
        Self::split([(group, 1)])
    }

    /// Requests are split over these groups by weight, 0 to 999: each gets its weight's share of
    /// the sum, one of weight 0 nothing.
    ///
    /// There has to be a group with a weight above 0.
    pub fn split<G>(groups: impl IntoIterator<Item = (G, u16)>) -> Self
    where
        G: Borrow<TargetGroup>,
    {
        let groups: Box<[_]> =
            groups.into_iter().map(|(group, weight)| (group.borrow().clone(), weight)).collect();
        let total = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
        Self { groups, total }
    }

    /// Returns the groups and their weights.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&TargetGroup, u16)> {
        self.groups.iter().map(|(group, weight)| (group, *weight))
    }

    /// Chooses a group, by one draw if there are several.
    ///
    /// `None` only if no group has a weight above 0, which no table admits.
    pub fn choose(&self, rng: &Rng) -> Option<&TargetGroup> {
        if let [(group, 1..)] = &*self.groups {
            return Some(group);
        }
        let mut left = rng.below(self.total);
        self.groups
            .iter()
            .find(|(_, weight)| match left.checked_sub(u64::from(*weight)) {
                Some(after) => {
                    left = after;
                    false
                }
                None => true,
            })
            .map(|(group, _)| group)
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.groups.is_empty() {
            faults.missing("forward", "at least one target group");
        } else if self.total == 0 {
            faults.add("forward", self.to_string(), "a weight above 0 in at least one group");
        }
        for (group, weight) in self.groups.iter().filter(|(_, weight)| *weight > WEIGHT_MAX) {
            let expected = format!("0 to {WEIGHT_MAX} for group {:?}", group.name());
            faults.add("forward weight", weight.to_string(), expected);
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("forward to")?;
        if let [(group, 1)] = &*self.groups {
            return write!(f, " {}", group.name());
        }
        for (i, (group, weight)) in self.groups().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma} {} with weight {weight}", group.name())?;
        }
        Ok(())
    }
}
