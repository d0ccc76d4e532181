//! What is legal in a document and probably wrong.

use std::collections::HashSet;

use super::{
    plan::{ConditionPlan, GroupPlan, ListenerPlan, RulePlan},
    report::Finding,
    security_group::SecurityGroups,
};

/// Looks for what was probably not meant.
pub(super) fn lint(
    groups: &[GroupPlan],
    listeners: &[ListenerPlan],
    security_groups: &SecurityGroups,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |path: &str, value: Option<String>, text: String| {
        findings.push(Finding::new(path, value, text));
    };
    let named: HashSet<_> = listeners
        .iter()
        .flat_map(ListenerPlan::actions)
        .flat_map(|action| action.groups().iter().map(|(name, _)| name))
        .collect();
    for group in groups {
        if !named.contains(&group.name) {
            find(&group.path, None, format!("no rule uses target group {}", group.name));
        } else if group.targets.is_empty() {
            let text =
                format!("target group {} has no targets, so that it answers 503", group.name);
            find(&group.path, None, text);
        }
    }
    for listener in listeners {
        if !security_groups.opens(listener.port) {
            let text = format!("no security group opens it ({security_groups})");
            let path = format!("{}.Port", listener.path);
            find(&path, Some(listener.port.to_string()), text);
        }
        let mut rules: Vec<_> = listener.rules.iter().collect();
        rules.sort_by_key(|rule| rule.priority);
        let mut before: Vec<&RulePlan> = Vec::new();
        for rule in rules {
            if let Some(other) = before.iter().find(|other| covers(other, rule)) {
                let text = format!(
                    "rule {} is never reached, since rule {} matches whatever it does",
                    rule.priority, other.priority
                );
                find(&rule.path, None, text);
            }
            before.push(rule);
            if rule.action.is_without_weight() {
                find(&rule.path, None, "no target group has a weight above 0".to_owned());
            }
        }
        if listener.default.is_without_weight() {
            let path = format!("{}.DefaultActions", listener.path);
            find(&path, None, "no target group has a weight above 0".to_owned());
        }
    }
    findings
}

/// Tells whether every request that matches `rule` matches `other`, as far as that can be seen.
fn covers(other: &RulePlan, rule: &RulePlan) -> bool {
    other.conditions.iter().all(|wide| {
        always_holds(wide) || rule.conditions.iter().any(|narrow| follows(narrow, wide))
    })
}

/// Tells whether a condition holds for every request that a browser can make.
fn always_holds(condition: &ConditionPlan) -> bool {
    match condition {
        ConditionPlan::PathPattern(values) => values
            .iter()
            .any(|value| matches!(value.trim_end_matches('*'), "" | "/") && value.ends_with('*')),
        ConditionPlan::SourceIp(values) => {
            let has =
                |all: &str| values.iter().any(|value| value.ends_with("/0") && value.contains(all));
            has(".") && has(":")
        }
        _ => false,
    }
}

/// Tells whether `wide` holds whenever `narrow` does: each value of the one is one of the other.
fn follows(narrow: &ConditionPlan, wide: &ConditionPlan) -> bool {
    use ConditionPlan::{
        HostHeader, HttpHeader, HttpRequestMethod, PathPattern, QueryString, SourceIp,
    };
    fn all_among<T>(values: &[T], others: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
        values.iter().all(|value| others.iter().any(|other| same(value, other)))
    }
    let folded = |one: &String, two: &String| one.eq_ignore_ascii_case(two);
    match (narrow, wide) {
        (HostHeader(one), HostHeader(two)) => all_among(one, two, folded),
        (PathPattern(one), PathPattern(two))
        | (HttpRequestMethod(one), HttpRequestMethod(two))
        | (SourceIp(one), SourceIp(two)) => all_among(one, two, |one, two| one == two),
        (HttpHeader(name, one), HttpHeader(other, two)) => {
            folded(name, other) && all_among(one, two, folded)
        }
        (QueryString(one), QueryString(two)) => {
            all_among(one, two, |(key, value), (wide_key, wide_value)| {
                let keys = match (key, wide_key) {
                    (_, None) => true,
                    (Some(one), Some(two)) => folded(one, two),
                    (None, Some(_)) => false,
                };
                keys && folded(value, wide_value)
            })
        }
        _ => false,
    }
}
