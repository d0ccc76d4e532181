//! Which target a request would get, and why, without sending it.

use std::fmt;

use super::{
    assign::Why,
    status::{GroupStatus, TargetStatus},
};
use crate::{
    error::Error,
    health::State,
    id::{GroupName, TargetId},
};

/// Which target a request would get now, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetExplanation {
    /// The group.
    pub group: GroupName,
    /// The name of the group's algorithm.
    pub algorithm: &'static str,
    /// Whether sessions are kept, and then the target of the client's, if it has one.
    pub session: Option<Option<TargetId>>,
    /// The target and why, or why there is none.
    pub pick: Result<(TargetId, Why), Error>,
    /// The group as the decision saw it.
    pub status: GroupStatus,
}

impl TargetExplanation {
    /// Returns the target that would be picked.
    pub fn target(&self) -> Option<&TargetId> {
        self.pick.as_ref().ok().map(|(target, _)| target)
    }
}

impl fmt::Display for TargetExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, algorithm, .. } = self;
        match &self.session {
            None => writeln!(f, "group {group} keeps no sessions")?,
            Some(None) => writeln!(f, "group {group}: the client has no valid session")?,
            Some(Some(target)) => {
                let kept = matches!(&self.pick, Ok((picked, Why::Session)) if picked == target);
                let fate = if kept { "kept" } else { "not to be had, so it moves" };
                writeln!(f, "group {group}: the client's session is with {target}: {fate}")?;
            }
        }
        if self.status.fail_open {
            writeln!(f, "no target is healthy, so all that are registered are picked from")?;
        }
        match &self.pick {
            Ok((target, Why::Session)) => writeln!(f, "target {target}, by its session")?,
            Ok((target, Why::Algorithm)) => writeln!(f, "target {target}, picked by {algorithm}")?,
            Err(error) => writeln!(f, "answered {}: {error}", error.status().as_u16())?,
        }
        for target in &self.status.targets {
            let TargetStatus { target, state, weight, in_flight, .. } = target;
            let fail_open = self.status.fail_open && *state != State::Draining;
            let may =
                if *state == State::Healthy || fail_open { "may be picked" } else { "may not" };
            writeln!(f, "  {target}: {state}, weight {weight}, {in_flight} in flight: {may}")?;
        }
        Ok(())
    }
}
