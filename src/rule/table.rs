//! The rules of a balancer in their order, and the one walk through them.
//!
//! A table is a value: it never changes once built, and whoever wants other rules builds another.
//! Its random numbers are all that moves in it.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::Arc,
};

use super::{
    action::{Action, Forward},
    condition::{Condition, Subject, Undecided},
    invalid::{Faults, InvalidRules},
    spec::Rule,
};
use crate::{
    error::{Error, Kind},
    group::TargetGroup,
    head::Head,
    id::{GroupName, RuleId},
    rng::Rng,
};

/// Rules in the order of their priority; a clone shares all.
///
/// # Examples
///
/// ```
/// use pointsman::{TargetGroup, head::Head, rule::{Condition, FixedResponse, Forward, Rule, RuleTable}};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// let admin = Rule::new(1)
///     .when(Condition::path_pattern(["/admin", "/admin/*"]))
///     .then(FixedResponse::new(403).body("not here"));
/// let table = RuleTable::builder()
///     .rule(admin)
///     .default_action(Forward::to(&web))
///     .build()
///     .unwrap();
///
/// // The path is compared in its normal form.
/// let request = http::Request::get("/x/..//%61dmin").body(()).unwrap();
/// let found = table.first_match(&Head::of(&request, None)).unwrap();
/// assert_eq!(found.rule().to_string(), "default rule");
/// let request = http::Request::get("/x/../%61dmin/").body(()).unwrap();
/// let found = table.first_match(&Head::of(&request, None)).unwrap();
/// assert_eq!(found.rule().to_string(), "rule 1");
/// ```
#[derive(Clone, Debug)]
pub struct RuleTable(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: Vec<Entry>,
    default: Option<Action>,
    groups: Vec<TargetGroup>,
    rng: Rng,
}

/// A rule that was checked.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: RuleId,
    pub(super) conditions: Vec<Condition>,
    action: Action,
}

/// The rule that a request matched.
#[derive(Clone, Copy, Debug)]
pub struct Match<'t> {
    rule: RuleId,
    action: &'t Action,
}

impl<'t> Match<'t> {
    /// Returns which rule it is.
    pub fn rule(&self) -> RuleId {
        self.rule
    }

    /// Returns what it does with the request.
    pub fn action(&self) -> &'t Action {
        self.action
    }
}

impl RuleTable {
    /// Begins a table without rules.
    pub fn builder() -> RuleTableBuilder {
        RuleTableBuilder::default()
    }

    /// Makes a table that forwards every request to one group.
    pub fn forward_to(group: &TargetGroup) -> Self {
        let default = Some(Forward::to(group).into());
        let groups = vec![group.clone()];
        Self(Arc::new(Inner { rules: Vec::new(), default, groups, rng: Rng::from_entropy() }))
    }

    /// Finds the first rule, by priority, whose conditions all hold; else the default rule.
    ///
    /// # Errors
    ///
    /// [`Kind::NoRule`] if no rule matches and there is no default rule; [`Kind::NoPeer`] if a
    /// source-ip condition was asked and the head names no peer; [`Kind::Panicked`] if a predicate
    /// of a custom condition panicked. The last two name the rule.
    pub fn first_match(&self, head: &Head<'_>) -> Result<Match<'_>, Error> {
        self.walk(&Subject::new(head), |_, _| ())
    }

    /// Chooses a group for a request that is to be forwarded; see [`Forward::choose`].
    pub fn choose_group<'f>(&self, forward: &'f Forward) -> Option<&'f TargetGroup> {
        forward.choose(&self.0.rng)
    }

    /// Returns each group that a rule may forward to, once, also those of weight 0.
    pub fn groups(&self) -> &[TargetGroup] {
        &self.0.groups
    }

    /// Walks through the rules and tells `watch` each condition's verdict, with its rule's place.
    pub(super) fn walk(
        &self,
        subject: &Subject<'_>,
        mut watch: impl FnMut(usize, &Result<bool, Undecided>),
    ) -> Result<Match<'_>, Error> {
        'rules: for (place, entry) in self.0.rules.iter().enumerate() {
            for condition in &entry.conditions {
                let verdict = condition.test(subject);
                watch(place, &verdict);
                if !verdict.map_err(|undecided| undecided.into_error(entry.id))? {
                    continue 'rules;
                }
            }
            return Ok(Match { rule: entry.id, action: &entry.action });
        }
        match &self.0.default {
            Some(action) => Ok(Match { rule: RuleId::Default, action }),
            None => Err(Kind::NoRule.into()),
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.0.rules
    }

    pub(super) fn rng(&self) -> &Rng {
        &self.0.rng
    }
}

/// Builds a [`RuleTable`].
///
/// # Defaults
///
/// There are no rules and no default rule, so that every request fails with [`Kind::NoRule`]; the
/// seed differs from table to table.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RuleTableBuilder {
    rules: Vec<Rule>,
    default: Option<Action>,
    seed: Option<u64>,
}

impl RuleTableBuilder {
    /// Adds a rule; its place among the others is that of its priority.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Sets what is done with a request that no rule matches.
    pub fn default_action(mut self, action: impl Into<Action>) -> Self {
        self.default = Some(action.into());
        self
    }

    /// Makes the choices among weighted groups the same for each table built with this seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks the rules and makes a table of them.
    ///
    /// # Errors
    ///
    /// [`InvalidRules`] holds every fault there is. What each value may be is said where it is set;
    /// beyond that, no two rules may have one priority, and no two groups one name.
    pub fn build(self) -> Result<RuleTable, InvalidRules> {
        let mut faults = Faults::default();
        let mut priorities = HashSet::new();
        let mut groups = Groups::default();
        for rule in &self.rules {
            faults.look_at(Some(rule.priority));
            if !priorities.insert(rule.priority) {
                faults.add("priority", rule.priority.to_string(), "no two rules with one priority");
            }
            rule.check(&mut faults);
            groups.gather(rule.action.as_ref(), &mut faults);
        }
        faults.look_at(None);
        if let Some(action) = &self.default {
            action.check(&mut faults);
        }
        groups.gather(self.default.as_ref(), &mut faults);
        faults.into_result()?;

        // What is not complete was refused above.
        let mut rules: Vec<_> = self.rules.into_iter().filter_map(Entry::of).collect();
        rules.sort_by_key(|entry| entry.id);
        let rng = self.seed.map_or_else(Rng::from_entropy, Rng::seeded);
        let groups = groups.in_order;
        Ok(RuleTable(Arc::new(Inner { rules, default: self.default, groups, rng })))
    }
}

impl Entry {
    fn of(rule: Rule) -> Option<Self> {
        let id = RuleId::Priority(NonZeroU32::new(rule.priority)?);
        Some(Self { id, conditions: rule.conditions, action: rule.action? })
    }
}

/// The groups of a table. Cookies, logs and metrics know a group by its name, so within a table a
/// name stands for one group.
#[derive(Default)]
struct Groups {
    in_order: Vec<TargetGroup>,
    by_name: HashMap<GroupName, TargetGroup>,
}

impl Groups {
    fn gather(&mut self, action: Option<&Action>, faults: &mut Faults) {
        let Some(Action::Forward(forward)) = action else { return };
        for (group, _) in forward.groups() {
            match self.by_name.get(group.name()) {
                None => {
                    self.by_name.insert(group.name().clone(), group.clone());
                    self.in_order.push(group.clone());
                }
                Some(known) if known == group => {}
                Some(_) => {
                    faults.add("forward", group.name().as_str(), "no two groups with one name");
                }
            }
        }
    }
}
