//! A listener of the document: its port, its rules, its default actions.

use std::collections::HashSet;

use super::{
    action::Around,
    attributes::{self, Attributes},
    fields,
    group::KnownGroup,
    plan::ListenerPlan,
    reader::Node,
    report::Report,
    rule,
};

/// Reads a listener: its port, if that is right, and the plan for it if all is.
pub(super) fn read(
    item: &Node<'_>,
    groups: &[KnownGroup],
    report: &mut Report,
) -> (Option<u16>, Option<ListenerPlan>) {
    let Some(object) = item.object(fields::LISTENER, report) else { return (None, None) };
    let protocol = object.need("Protocol", "HTTP", report);
    let protocol = protocol.and_then(|node| node.choice(fields::PROTOCOLS, report));
    let port = object.need("Port", "1 to 65535", report);
    let port = port.and_then(|port| port.number(1..=u16::MAX, report));
    let attributes = object.get("ListenerAttributes");
    Attributes::read(attributes, attributes::LISTENER, report);
    let around = Around { groups, protocol, port };
    let default = rule::read_actions(&object, "DefaultActions", around, report);
    let mut priorities = HashSet::new();
    let mut rules = Vec::new();
    let mut right = true;
    for item in object.get("Rules").map(|list| list.list(report)).unwrap_or_default() {
        let (priority, plan) = rule::read(&item, around, report);
        if priority.is_some_and(|priority| !priorities.insert(priority)) {
            let text = format!(
                "priority {} is in use, expected no two rules of a listener with one",
                priority.unwrap_or_default()
            );
            item.refuse(text, report);
        }
        right &= plan.is_some();
        rules.extend(plan);
    }
    let path = object.path().to_owned();
    let plan = port.zip(default).filter(|_| right);
    (port, plan.map(|(port, default)| ListenerPlan { path, port, rules, default }))
}
