//! What a group looks like now, for a person and for a test.

use std::{fmt, sync::Arc};

use crate::{
    health::{Reason, State},
    id::{GroupName, TargetId},
};

/// A snapshot of a group. `{}` makes a table of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupStatus {
    /// The group.
    pub group: GroupName,
    /// Whether no target is healthy, so that all that are registered get traffic.
    pub fail_open: bool,
    /// Its targets in the order of registration.
    pub targets: Vec<TargetStatus>,
}

/// A snapshot of a target.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TargetStatus {
    /// The target.
    pub target: TargetId,
    /// Its address; `in-process` for a service.
    pub address: String,
    /// Its state.
    pub state: State,
    /// Why it is not healthy.
    pub reason: Option<Reason>,
    /// What was asked and what came back, if a check failed.
    pub description: Option<Arc<str>>,
    /// Its weight.
    pub weight: u16,
    /// How many exchanges are in flight.
    pub in_flight: u32,
    /// How many exchanges were answered to the end.
    pub answered: u64,
    /// How many exchanges ended in a way that counts against it.
    pub failed: u64,
    /// How many connections to it are idle.
    pub connections_idle: usize,
}

impl GroupStatus {
    /// Returns the snapshot of a target.
    pub fn target(&self, id: &str) -> Option<&TargetStatus> {
        self.targets.iter().find(|target| target.target == *id)
    }

    /// Returns how many targets are healthy.
    pub fn healthy(&self) -> usize {
        self.targets.iter().filter(|target| target.state == State::Healthy).count()
    }

    /// Returns how many exchanges are in flight.
    pub fn in_flight(&self) -> u32 {
        self.targets.iter().map(|target| target.in_flight).sum()
    }
}

impl fmt::Display for GroupStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (healthy, all) = (self.healthy(), self.targets.len());
        write!(f, "{}: {healthy} of {all} targets healthy", self.group)?;
        f.write_str(if self.fail_open { ", fail open: all get traffic\n" } else { "\n" })?;
        let width = self.targets.iter().map(|t| t.target.chars().count()).max().unwrap_or(0).max(6);
        writeln!(
            f,
            "  {:width$}  {:9}  {:>6}  {:>9}  {:>8}  {:>6}",
            "target", "state", "weight", "in flight", "answered", "failed"
        )?;
        for target in &self.targets {
            write!(
                f,
                "  {:width$}  {:9}  {:>6}  {:>9}  {:>8}  {:>6}",
                &*target.target,
                target.state,
                target.weight,
                target.in_flight,
                target.answered,
                target.failed
            )?;
            if let Some(reason) = target.reason {
                write!(f, "  {reason}")?;
            }
            if let Some(description) = &target.description {
                write!(f, ": {description}")?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}
