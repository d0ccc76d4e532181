//! A target group of the document: its settings, its attributes, its targets.

use std::{collections::HashSet, net::IpAddr, time::Duration};

use super::{
    attributes::{self, Attributes},
    fields,
    plan::{Check, GroupPlan, GroupSettings},
    reader::{Node, Object},
    report::Report,
};
use crate::{endpoint::Transport, grammar, id::GroupName, target::Target};

/// The longest name of a group, in characters.
const NAME_MAX: usize = 32;

/// What others have to know of a group, even of one that is wrong.
#[derive(Clone, Debug)]
pub(super) struct KnownGroup {
    pub(super) name: GroupName,
    pub(super) arn: Option<String>,
    pub(super) sticky: bool,
}

/// Reads a group: what others have to know of it, and the plan for it if it is right.
pub(super) fn read(
    item: &Node<'_>,
    transport: &Transport,
    report: &mut Report,
) -> Option<(KnownGroup, Option<GroupPlan>)> {
    let object = item.object(fields::TARGET_GROUP, report)?;
    let name = name(&object, report);
    let arn = object.get("TargetGroupArn");
    let arn = arn.and_then(|arn| arn.text_of(1..=1024, |c| !c.is_control(), "characters", report));
    let one_of = |field: &str, known, report: &mut Report| {
        object.get(field).and_then(|node| node.choice(known, report))
    };
    if let Some(protocol) = object.need("Protocol", "HTTP", report) {
        protocol.choice(fields::PROTOCOLS, report);
    }
    one_of("ProtocolVersion", fields::PROTOCOL_VERSIONS, report);
    one_of("TargetType", fields::TARGET_TYPES, report);
    let port = object.need("Port", "1 to 65535", report);
    let port = port.and_then(|port| port.number(1..=u16::MAX, report));
    let check = check(&object, report);
    let attributes = object.get("TargetGroupAttributes");
    let attributes = Attributes::read(attributes, attributes::TARGET_GROUP, report);
    let targets = targets(&object, port, report);
    let sticky = attributes.is(attributes::STICKINESS, "true");
    let settings = |check| GroupSettings {
        least_outstanding_requests: attributes
            .is(attributes::ALGORITHM, attributes::LEAST_OUTSTANDING_REQUESTS),
        sticky: sticky.then(|| attributes.seconds(attributes::STICKINESS_DURATION)),
        deregistration_delay: attributes.seconds(attributes::DEREGISTRATION_DELAY),
        transport: transport.clone(),
        check,
    };
    let name = GroupName::from(name?);
    let known = KnownGroup { name: name.clone(), arn: arn.map(str::to_owned), sticky };
    let plan = check.zip(targets).map(|(check, targets)| GroupPlan {
        path: object.path().to_owned(),
        name,
        settings: settings(check),
        targets,
    });
    Some((known, plan))
}

/// Reads the name, which may stand under either of two names, as it does at AWS.
fn name<'j>(object: &Object<'j>, report: &mut Report) -> Option<&'j str> {
    let [described, created] = ["TargetGroupName", "Name"]
        .map(|field| object.get(field).map(|node| name_of(&node, report)));
    match (described, created) {
        (None, None) => {
            let text = "missing, expected a name for the target group";
            object.refuse_at("TargetGroupName", text, report);
            None
        }
        (Some(one), Some(other)) if one != other => {
            object.refuse_at("Name", "expected the same as TargetGroupName, or only one", report);
            one
        }
        (described, created) => described.or(created).flatten(),
    }
}

/// Returns a wrong name too, so that those who refer to it are not blamed.
fn name_of<'j>(node: &Node<'j>, report: &mut Report) -> Option<&'j str> {
    let right = |name: &str| {
        (1..=NAME_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--")
    };
    let name = node.raw_text();
    if !name.is_some_and(right) {
        let expected = "1 to 32 letters, digits and hyphens, none of which is the first, the last \
                        or beside another";
        node.expected(expected, report);
    }
    name
}

fn check(object: &Object<'_>, report: &mut Report) -> Option<Check> {
    if let Some(node) = object.get("HealthCheckEnabled")
        && node.boolean(report) == Some(false)
    {
        node.expected("true, since targets are always checked", report);
    }
    if let Some(node) = object.get("HealthCheckProtocol") {
        node.choice(fields::CHECK_PROTOCOLS, report);
    }
    let path = or(object.get("HealthCheckPath"), "/".to_owned(), |node| path(node, report));
    let port = or(object.get("HealthCheckPort"), None, |node| check_port(node, report));
    let mut number = |field: &str, default: u32, range| {
        or(object.get(field), default, |node| node.number(range, report))
    };
    let interval = number("HealthCheckIntervalSeconds", 30, 5..=300);
    let timeout = number("HealthCheckTimeoutSeconds", 5, 2..=120);
    let healthy_threshold = number("HealthyThresholdCount", 5, 2..=10);
    let unhealthy_threshold = number("UnhealthyThresholdCount", 2, 2..=10);
    if let (Some(interval), Some(timeout)) = (interval, timeout)
        && timeout >= interval
    {
        let text = format!("{timeout}: expected less than HealthCheckIntervalSeconds, {interval}");
        object.refuse_at("HealthCheckTimeoutSeconds", text, report);
    }
    let matcher = or(object.get("Matcher"), "200".to_owned(), |node| matcher(node, report));
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Some(Check {
        path: path?,
        port: port?,
        interval: seconds(interval?),
        timeout: seconds(timeout?),
        healthy_threshold: healthy_threshold?,
        unhealthy_threshold: unhealthy_threshold?,
        matcher: matcher?,
    })
}

/// Reads what was given; `None` is something wrong.
fn or<T>(
    node: Option<Node<'_>>,
    default: T,
    read: impl FnOnce(&Node<'_>) -> Option<T>,
) -> Option<T> {
    node.map_or(Some(default), |node| read(&node))
}

fn path(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let right = |path: &&str| {
        (1..=1024).contains(&path.len())
            && path.starts_with('/')
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
            && path.parse::<http::Uri>().is_ok()
    };
    let path = node.raw_text().filter(right);
    if path.is_none() {
        node.expected("/ and up to 1023 visible ASCII characters that a path can hold", report);
    }
    path.map(str::to_owned)
}

fn check_port(node: &Node<'_>, report: &mut Report) -> Option<Option<u16>> {
    if node.raw_text() == Some("traffic-port") {
        return Some(None);
    }
    let port = node.raw_number().and_then(|port| u16::try_from(port).ok());
    let port = port.filter(|port| *port > 0);
    if port.is_none() {
        node.expected("traffic-port or 1 to 65535", report);
    }
    port.map(Some)
}

fn matcher(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let object = node.object(fields::MATCHER, report)?;
    let expected = "codes and ranges of 200 to 499, such as 200-299,302";
    let node = object.need("HttpCode", expected, report)?;
    let code = |text: &str| grammar::number(text).filter(|code: &u64| (200..=499).contains(code));
    let range = |part: &str| match part.split_once('-') {
        Some((low, high)) => code(low).zip(code(high)).is_some_and(|(low, high)| low <= high),
        None => code(part).is_some(),
    };
    let matcher = node.raw_text().filter(|text| text.split(',').all(range));
    if matcher.is_none() {
        node.expected(expected, report);
    }
    matcher.map(str::to_owned)
}

/// Reads the targets; `None` if one is wrong.
fn targets(object: &Object<'_>, port: Option<u16>, report: &mut Report) -> Option<Vec<Target>> {
    let mut targets = Vec::new();
    let mut known = HashSet::new();
    let mut right = true;
    for item in object.get("Targets").map(|list| list.list(report)).unwrap_or_default() {
        match target(&item, port, report) {
            Some(target) if !known.insert(target.id().to_lowercase()) => {
                let id = target.id();
                item.refuse(format_args!("{id} is given twice, expected once"), report);
            }
            Some(target) => targets.push(target),
            None => right = false,
        }
    }
    right.then_some(targets)
}

fn target(item: &Node<'_>, port: Option<u16>, report: &mut Report) -> Option<Target> {
    let object = item.object(fields::TARGET, report)?;
    let id = object.need("Id", "an address or a host name", report);
    let port = match object.get("Port") {
        Some(node) => node.number(1..=u16::MAX, report),
        None => port,
    };
    let id = id?;
    let text = id.text(report)?;
    if is_instance(text) {
        let expected = "an address or a host name, such as the instance's private address; its id \
                        leads nowhere outside EC2";
        id.expected(expected, report);
        return None;
    }
    // A port that is wrong or missing was told of already.
    let target = at(text, port.unwrap_or(1));
    if target.is_none() {
        id.expected("an address or a host name; its port stands in Port", report);
    }
    target.filter(|_| port.is_some())
}

/// Tells whether this is what EC2 calls an instance.
fn is_instance(id: &str) -> bool {
    let rest = id.strip_prefix("i-").unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn at(host: &str, port: u16) -> Option<Target> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Target::new((address, port).into()));
    }
    // An address that is none is no name either.
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if host.contains(':') || grammar::number::<u64>(last).is_some() {
        return None;
    }
    Target::host(format!("{host}:{port}")).ok()
}
