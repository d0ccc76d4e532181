//! A rule as a user writes it.

use super::{action::Action, condition::Condition, invalid::Faults};

/// One rule of a table: what it asks, and what it does with a request that matches.
///
/// It matches when all its conditions hold. They are asked in the order given here, until one does
/// not hold; so put one that a [`Peer`](crate::Peer) or a function of yours decides last.
///
/// # Examples
///
/// ```
/// use pointsman::{TargetGroup, rule::{Condition, Forward, Rule}};
///
/// let api = TargetGroup::builder("api").build().unwrap();
/// let rule = Rule::new(10)
///     .when(Condition::host_header(["example.com"]))
///     .when(Condition::path_pattern(["/api", "/api/*"]))
///     .then(Forward::to(&api));
/// # drop(rule);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Rule {
    pub(super) priority: u32,
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Option<Action>,
}

impl Rule {
    /// Makes a rule with a priority, 1 or more; the lowest in the table is asked first.
    pub fn new(priority: u32) -> Self {
        Self { priority, conditions: Vec::new(), action: None }
    }

    /// Adds a condition; a rule has at least one.
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Sets what is done with a request that matches.
    pub fn then(mut self, action: impl Into<Action>) -> Self {
        self.action = Some(action.into());
        self
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.priority == 0 {
            faults.add("priority", "0", format!("1 to {}", u32::MAX));
        }
        if self.conditions.is_empty() {
            faults.missing("conditions", "at least one");
        }
        for condition in &self.conditions {
            condition.check(faults);
        }
        match &self.action {
            Some(action) => action.check(faults),
            None => faults.missing("action", "one"),
        }
    }
}
