//! A rule of a listener: what may stand together in it, and how much of it.

use super::{
    action::{self, Around},
    condition, fields,
    plan::{ActionPlan, ConditionPlan, RulePlan},
    reader::{Node, Object},
    report::Report,
};

/// The most values of all conditions of a rule together.
const VALUES_MAX: usize = 5;

/// The most `*` and `?` in all conditions of a rule together.
const WILDCARDS_MAX: usize = 6;

/// The kinds of conditions of which a rule may have any number.
const REPEATABLE: [&str; 2] = ["http-header", "query-string"];

/// Reads a rule: its priority, if that is right, and the plan for it if all is.
pub(super) fn read(
    item: &Node<'_>,
    around: Around<'_>,
    report: &mut Report,
) -> (Option<u32>, Option<RulePlan>) {
    let Some(object) = item.object(fields::RULE, report) else { return (None, None) };
    let priority = object.need("Priority", "1 to 50000", report);
    let priority = priority.and_then(|priority| priority.number(1..=50_000, report));
    if let Some(node) = object.get("IsDefault")
        && node.boolean(report) == Some(true)
    {
        node.expected("false; what the default rule does stands in DefaultActions", report);
    }
    let conditions = object.need("Conditions", "at least one condition", report);
    let conditions = conditions.and_then(|list| read_conditions(&list, report));
    let action = read_actions(&object, "Actions", around, report);
    let plan = (|| {
        Some(RulePlan {
            path: object.path().to_owned(),
            priority: priority?,
            conditions: conditions?,
            action: action?,
        })
    })();
    (priority, plan)
}

fn read_conditions(list: &Node<'_>, report: &mut Report) -> Option<Vec<ConditionPlan>> {
    let items = list.list(report);
    if items.is_empty() && list.is_list() {
        list.expected("at least one condition", report);
    }
    let mut plans = Vec::new();
    let mut kinds = Vec::new();
    let (mut values, mut wildcards) = (0, 0);
    for item in &items {
        let Some(read) = condition::read(item, report) else { continue };
        values += read.values;
        wildcards += read.wildcards;
        if kinds.contains(&read.kind) && !REPEATABLE.contains(&read.kind) {
            let text = format!("a second {} condition, expected one at most", read.kind);
            item.refuse(text, report);
        }
        kinds.push(read.kind);
        plans.extend(read.plan);
    }
    let mut limit = |what: &str, count: usize, max: usize| {
        if count > max {
            list.refuse(format_args!("{count} {what} in one rule, expected {max} at most"), report);
        }
    };
    limit("values", values, VALUES_MAX);
    limit("wildcards", wildcards, WILDCARDS_MAX);
    (!plans.is_empty() && plans.len() == items.len()).then_some(plans)
}

/// Reads the actions of a rule or of a listener, of which the last answers.
pub(super) fn read_actions(
    object: &Object<'_>,
    field: &str,
    around: Around<'_>,
    report: &mut Report,
) -> Option<ActionPlan> {
    const EXPECTED: &str = "one forward, redirect or fixed-response";
    let list = object.need(field, EXPECTED, report)?;
    let items = list.list(report);
    if items.is_empty() {
        if list.is_list() {
            list.expected(EXPECTED, report);
        }
        return None;
    }
    let count = items.len();
    let actions: Vec<_> =
        items.into_iter().filter_map(|item| action::read(item, around, report)).collect();
    if actions.len() < count {
        return None;
    }
    let answering = actions.iter().filter(|action| action.is_last()).count();
    if answering != 1 {
        list.refuse(format_args!("{answering} actions that answer, expected {EXPECTED}"), report);
    }
    if count - answering > 1 {
        let text = "expected one action at most before the one that answers";
        list.refuse(text, report);
    }
    for action in actions.iter().filter(|action| !action.is_last()) {
        if around.protocol.is_some_and(|protocol| protocol != "HTTPS") {
            let text = format!("expected {} on HTTPS listeners only", action.kind);
            action.node.refuse(text, report);
        }
    }
    if count > 1 {
        order(&list, &actions, report);
    }
    let last = actions.into_iter().find(action::Read::is_last)?;
    last.plan
}

/// Checks the order of several actions: each has one, and the one that answers is the last.
fn order(list: &Node<'_>, actions: &[action::Read<'_>], report: &mut Report) {
    let mut orders = Vec::new();
    for action in actions {
        if !action.has_order {
            let text = "without an Order, expected 1 to 50000 with several actions";
            action.node.refuse(text, report);
        }
        if let Some(order) = action.order {
            if orders.contains(&order) {
                let text = format!("Order {order} is given twice, expected another");
                action.node.refuse(text, report);
            }
            orders.push(order);
        }
    }
    let last = actions.iter().max_by_key(|action| action.order);
    if orders.len() == actions.len() && last.is_some_and(|action| !action.is_last()) {
        list.refuse("expected the action that answers to have the highest Order", report);
    }
}
