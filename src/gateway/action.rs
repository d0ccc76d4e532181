//! An action of a rule: what it does, and whether it can.
//!
//! Which actions may stand together is decided in `rule.rs`.

use super::{
    answer::page,
    fields,
    group::KnownGroup,
    nearest::{did_you_mean, nearest},
    plan::ActionPlan,
    reader::{Node, Object, any_of},
    report::Report,
};
use crate::{
    id::GroupName,
    rule::{FixedResponse, Redirect, RuleTable},
};

/// The most groups of one action.
const GROUPS_MAX: usize = 5;

/// The greatest weight of a group.
const WEIGHT_MAX: u16 = 999;

/// The longest session with a group, in seconds.
const DURATION_MAX: u32 = 604_800;

/// The longest part of a redirect, in characters.
const PART_MAX: usize = 128;

/// The longest body of a fixed response, in characters.
const BODY_MAX: usize = 1024;

/// Which field of an action belongs to which type.
const CONFIGS: [(&str, &str); 4] = [
    ("forward", "TargetGroupArn"),
    ("forward", "ForwardConfig"),
    ("redirect", "RedirectConfig"),
    ("fixed-response", "FixedResponseConfig"),
];

/// What an action has to know of the rest of the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) groups: &'a [KnownGroup],
    /// Of the listener.
    pub(super) protocol: Option<&'a str>,
    pub(super) port: Option<u16>,
}

/// An action as far as it was understood.
pub(super) struct Read<'j> {
    pub(super) node: Node<'j>,
    pub(super) kind: &'static str,
    /// The order, unless it was not given or is wrong.
    pub(super) order: Option<u32>,
    pub(super) has_order: bool,
    /// `None` if something is wrong with it, or if it answers nothing.
    pub(super) plan: Option<ActionPlan>,
}

impl Read<'_> {
    /// Tells whether it is one that answers, not one that comes before.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.kind, "forward" | "redirect" | "fixed-response")
    }
}

pub(super) fn read<'j>(
    item: Node<'j>,
    around: Around<'_>,
    report: &mut Report,
) -> Option<Read<'j>> {
    let object = item.object(fields::ACTION, report)?;
    let order = object.get("Order");
    let has_order = order.is_some();
    let order = order.and_then(|order| order.number(1..=50_000, report));
    let kind = object.need("Type", "forward, redirect or fixed-response", report)?;
    let kind = kind.choice(fields::ACTION_TYPES, report)?;
    for (of, config) in CONFIGS {
        if of != kind && object.get(config).is_some() {
            object.refuse_at(
                config,
                format!("expected with Type {of} only, not with {kind}"),
                report,
            );
        }
    }
    let plan = match kind {
        "forward" => forward(&object, around, report),
        "redirect" => redirect(&object, around, report),
        "fixed-response" => fixed_response(&object, report),
        _ => None,
    };
    Some(Read { node: item, kind, order, has_order, plan })
}

fn forward(object: &Object<'_>, around: Around<'_>, report: &mut Report) -> Option<ActionPlan> {
    let arn = object.get("TargetGroupArn");
    let config = object.get("ForwardConfig");
    let single = arn.as_ref().map(|node| find(node, around, report));
    let several = config.map(|node| forward_config(&node, around, report));
    match (single, several) {
        (None, None) => {
            let text = "missing, expected it or ForwardConfig with Type forward";
            object.refuse_at("TargetGroupArn", text, report);
            None
        }
        (Some(group), None) => Some(ActionPlan::Forward(vec![(group?.name.clone(), 1)])),
        (None, Some(groups)) => Some(ActionPlan::Forward(groups?)),
        (Some(group), Some(groups)) => {
            let (group, groups) = (group?, groups?);
            if !matches!(groups.as_slice(), [(only, _)] if *only == group.name) {
                let text = "expected the one group of ForwardConfig, or only one of the two";
                object.refuse_at("TargetGroupArn", text, report);
            }
            Some(ActionPlan::Forward(groups))
        }
    }
}

/// Finds the group that is referred to by its ARN or its name.
fn find<'a>(node: &Node<'_>, around: Around<'a>, report: &mut Report) -> Option<&'a KnownGroup> {
    let text = node.text(report)?;
    let is_it = |group: &&KnownGroup| *group.name == *text || group.arn.as_deref() == Some(text);
    let found = around.groups.iter().find(is_it);
    if found.is_none() {
        let names = || around.groups.iter().map(|group| group.name.as_str());
        let arns = around.groups.iter().filter_map(|group| group.arn.as_deref());
        let mut near = did_you_mean(nearest(text, names().chain(arns)));
        if near.is_empty() {
            near = format!(", expected {}", any_of(&names().collect::<Vec<_>>()));
        }
        node.refuse(format_args!("unknown target group{near}"), report);
    }
    found
}

fn forward_config(
    node: &Node<'_>,
    around: Around<'_>,
    report: &mut Report,
) -> Option<Vec<(GroupName, u16)>> {
    let config = node.object(fields::FORWARD, report)?;
    let list = config.need("TargetGroups", "1 to 5 target groups", report);
    let kept = config.get("TargetGroupStickinessConfig");
    let kept = kept.is_some_and(|node| stickiness(&node, report));
    let list = list?;
    let items = list.list(report);
    if !(1..=GROUPS_MAX).contains(&items.len()) && list.is_list() {
        let text = format!("{} target groups: expected 1 to {GROUPS_MAX}", items.len());
        config.refuse_at("TargetGroups", text, report);
    }
    let mut groups: Vec<(GroupName, u16)> = Vec::new();
    let mut right = true;
    for item in &items {
        let Some((group, weight)) = weighted(item, around, items.len() > 1, report) else {
            right = false;
            continue;
        };
        if groups.iter().any(|(name, _)| *name == group.name) {
            item.refuse(format_args!("{} is given twice, expected once", group.name), report);
        }
        if group.sticky && items.len() > 1 && !kept {
            let text = format!(
                "expected TargetGroupStickinessConfig with Enabled true, since target group {} keeps \
                 sessions",
                group.name
            );
            config.refuse(text, report);
        }
        groups.push((group.name.clone(), weight));
    }
    right.then_some(groups)
}

/// Reads a group and its weight.
fn weighted<'a>(
    item: &Node<'_>,
    around: Around<'a>,
    is_one_of_several: bool,
    report: &mut Report,
) -> Option<(&'a KnownGroup, u16)> {
    let object = item.object(fields::WEIGHTED_GROUP, report)?;
    let group = object.need("TargetGroupArn", "a target group", report);
    let group = group.and_then(|node| find(&node, around, report));
    let weight = match object.get("Weight") {
        Some(node) => node.number(0..=WEIGHT_MAX, report),
        None if is_one_of_several => {
            let text = format!("missing, expected 0 to {WEIGHT_MAX} with several target groups");
            object.refuse_at("Weight", text, report);
            None
        }
        None => Some(1),
    };
    group.zip(weight)
}

/// Reads whether clients are to keep their group; that they do cannot be had yet.
fn stickiness(node: &Node<'_>, report: &mut Report) -> bool {
    let Some(object) = node.object(fields::GROUP_STICKINESS, report) else { return false };
    let duration = object.get("DurationSeconds");
    if let Some(node) = &duration {
        node.number(1..=DURATION_MAX, report);
    }
    let Some(enabled) = object.get("Enabled") else { return false };
    let is_on = enabled.boolean(report) == Some(true);
    if is_on {
        if duration.is_none() {
            let text = format!("missing, expected 1 to {DURATION_MAX} with Enabled true");
            object.refuse_at("DurationSeconds", text, report);
        }
        enabled.refuse(
            "cannot be had here, clients do not keep their group yet; expected false",
            report,
        );
    }
    is_on
}

fn redirect(object: &Object<'_>, around: Around<'_>, report: &mut Report) -> Option<ActionPlan> {
    let node = object.need("RedirectConfig", "with Type redirect", report)?;
    let config = node.object(fields::REDIRECT, report)?;
    let status = config.need("StatusCode", "HTTP_301 or HTTP_302", report);
    let status = status.and_then(|node| node.choice(fields::REDIRECT_STATUSES, report));
    let mut redirect = match status {
        Some("HTTP_302") => Redirect::found().page(page(302)),
        _ => Redirect::moved_permanently().page(page(301)),
    };
    let mut right = status.is_some();
    let mut parts = Parts::default();
    if let Some(node) = config.get("Protocol") {
        match node.choice(fields::REDIRECT_PROTOCOLS, report) {
            Some(protocol) => {
                if protocol == "HTTP" && around.protocol == Some("HTTPS") {
                    node.expected("HTTPS or #{protocol} on an HTTPS listener", report);
                    right = false;
                }
                parts.protocol = Some(protocol);
                redirect = redirect.protocol(protocol);
            }
            None => right = false,
        }
    }
    if let Some(node) = config.get("Port") {
        match node.raw_number().and_then(|port| u16::try_from(port).ok()) {
            Some(port @ 1..) => {
                parts.port = Some(port);
                redirect = redirect.port(port);
            }
            _ if node.raw_text() == Some("#{port}") => {}
            _ => {
                node.expected("1 to 65535 or #{port}", report);
                right = false;
            }
        }
    }
    let mut text = |name: &str, least: usize| {
        let node = config.get(name)?;
        let fits = |c: char| !c.is_control();
        let read = node.text_of(least..=PART_MAX, fits, "characters", report);
        right &= read.is_some();
        read
    };
    if let Some(host) = text("Host", 1) {
        parts.host = Some(host);
        redirect = redirect.host(host);
    }
    if let Some(path) = text("Path", 1) {
        parts.path = Some(path);
        redirect = redirect.path(path);
    }
    if let Some(query) = text("Query", 0) {
        redirect = redirect.query(query);
    }
    right = right && parts_are_right(&redirect, &config, report);
    if right && parts.lead_back(around) {
        let expected = "another protocol, host, port or path than those of the request, since this \
                        one is a loop";
        config.refuse(format_args!("expected {expected}"), report);
        right = false;
    }
    right.then_some(ActionPlan::Redirect(redirect))
}

/// The parts of a redirect that decide whether it leads anywhere.
#[derive(Default)]
struct Parts<'j> {
    protocol: Option<&'static str>,
    host: Option<&'j str>,
    port: Option<u16>,
    path: Option<&'j str>,
}

impl Parts<'_> {
    /// Tells whether a request to this listener is sent to where it came from.
    fn lead_back(&self, around: Around<'_>) -> bool {
        let protocol = self.protocol.filter(|protocol| *protocol != "#{protocol}");
        protocol.is_none_or(|protocol| Some(protocol) == around.protocol)
            && self.port.is_none_or(|port| Some(port) == around.port)
            && self.host.is_none_or(|host| host == "#{host}")
            && self.path.is_none_or(|path| path == "/#{path}")
    }
}

/// Lets the library check what characters and keywords the parts are made of.
fn parts_are_right(redirect: &Redirect, config: &Object<'_>, report: &mut Report) -> bool {
    let Err(invalid) = RuleTable::builder().default_action(redirect.clone()).build() else {
        return true;
    };
    let mut right = true;
    for fault in invalid.faults() {
        let field = match fault.place() {
            "redirect protocol" => "Protocol",
            "redirect host" => "Host",
            "redirect port" => "Port",
            "redirect path" => "Path",
            "redirect query" => "Query",
            // That it is a loop is told by what knows the listener.
            _ => continue,
        };
        right = false;
        match config.get(field) {
            Some(node) => node.expected(fault.expected(), report),
            None => config.refuse_at(field, format!("expected {}", fault.expected()), report),
        }
    }
    right
}

fn fixed_response(object: &Object<'_>, report: &mut Report) -> Option<ActionPlan> {
    let node = object.need("FixedResponseConfig", "with Type fixed-response", report)?;
    let config = node.object(fields::FIXED_RESPONSE, report)?;
    let expected = "200 to 299 or 400 to 599";
    let status = config.need("StatusCode", expected, report).and_then(|node| {
        let status = node.raw_number().and_then(|status| u16::try_from(status).ok());
        let status = status.filter(|status| matches!(status, 200..=299 | 400..=599));
        if status.is_none() {
            node.expected(expected, report);
        }
        status
    });
    let mut content_type = Some("text/plain");
    if let Some(node) = config.get("ContentType") {
        content_type = node.choice(fields::CONTENT_TYPES, report);
    }
    let mut body = Some("");
    if let Some(node) = config.get("MessageBody") {
        body = node.text_of(0..=BODY_MAX, |_| true, "characters", report);
    }
    let fixed = FixedResponse::new(status?)
        .content_type(format!("{}; charset=utf-8", content_type?))
        .body(body?.to_owned());
    Some(ActionPlan::FixedResponse(fixed))
}
