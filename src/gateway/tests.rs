//! The table of what becomes of ALB's fields and attributes is what the code does.

use std::{fmt::Write, time::Duration};

use super::{
    attributes::{self, Attribute, Becomes},
    document::Document,
    fields,
    reader::{Known, Use, any_of},
};
use crate::endpoint::Transport;

/// Objects of a document and their fields.
const OBJECTS: &[(&str, &[Known])] = &[
    ("the document", fields::DOCUMENT),
    ("`SecurityGroups`", fields::SECURITY_GROUP),
    ("`IpPermissions`", fields::IP_PERMISSION),
    ("`IpRanges`", fields::IP_RANGE),
    ("`Ipv6Ranges`", fields::IPV6_RANGE),
    ("`TargetGroups`", fields::TARGET_GROUP),
    ("`Matcher`", fields::MATCHER),
    ("`Targets`", fields::TARGET),
    ("`Listeners`", fields::LISTENER),
    ("`Rules`", fields::RULE),
    ("`Conditions`", fields::CONDITION),
    ("`HostHeaderConfig`, `PathPatternConfig`", fields::PATTERNS),
    ("`HttpHeaderConfig`", fields::HTTP_HEADER),
    ("`HttpRequestMethodConfig`, `QueryStringConfig`", fields::VALUES),
    ("`QueryStringConfig.Values`", fields::QUERY_PAIR),
    ("`SourceIpConfig`", fields::SOURCE_IP),
    ("`Actions`, `DefaultActions`", fields::ACTION),
    ("`ForwardConfig`", fields::FORWARD),
    ("`ForwardConfig.TargetGroups`", fields::WEIGHTED_GROUP),
    ("`TargetGroupStickinessConfig`", fields::GROUP_STICKINESS),
    ("`RedirectConfig`", fields::REDIRECT),
    ("`FixedResponseConfig`", fields::FIXED_RESPONSE),
];

/// Fields of which some values cannot be had.
const CHOICES: &[(&str, &[Known])] = &[
    ("`Type` of the document", fields::BALANCER_TYPES),
    ("`Protocol` of a target group", fields::PROTOCOLS),
    ("`ProtocolVersion`", fields::PROTOCOL_VERSIONS),
    ("`TargetType`", fields::TARGET_TYPES),
    ("`HealthCheckProtocol`", fields::CHECK_PROTOCOLS),
    ("`Protocol` of a listener", fields::PROTOCOLS),
    ("`Type` of an action", fields::ACTION_TYPES),
];

const ATTRIBUTES: &[(&str, &[Attribute])] = &[
    ("a target group", attributes::TARGET_GROUP),
    ("a load balancer", attributes::LOAD_BALANCER),
    ("a listener", attributes::LISTENER),
];

const INTRODUCTION: &str = "\
## From ALB

What a document may say, and what becomes of it. *Honoured* is done as ALB does it. *Ignored* has no
effect, which a warning says once. *Refused* is an error, since without it somebody might connect who
should not, something would not be encrypted, or another answer be given. A field or attribute that
is not listed is an error, as is a value that ALB does not admit.

Of the rest: `TargetGroupStickinessConfig` is honoured only with `Enabled` false. A target's `Id` is an
address or a host name, for `TargetType` `instance` too. Targets get an `X-Amzn-Trace-Id` as at ALB, and
never what a client sends as `X-Amzn-Mtls-*`, `X-Amzn-Tls-*` or `X-Amzn-Oidc-*`. Of requests with more
than 256 fields, or a head of more than 64 KiB, which ALB answers 400, the status is 431. Where
`idle_timeout.timeout_seconds` is not given, an idle connection to a target is closed after 55 s, not 60:
common servers close it then, and a request that is on its way to it might be lost.
";

fn names(known: &[Known], becomes: impl Fn(Use) -> bool) -> String {
    let names = known.iter().filter(|known| becomes(known.becomes));
    names.map(|known| format!("`{}`", known.name)).collect::<Vec<_>>().join(", ")
}

fn what_becomes_of(attribute: &Attribute) -> String {
    let quoted = |values: &[&str]| {
        let values: Vec<_> = values
            .iter()
            .map(|value| if value.is_empty() { "empty".to_owned() } else { format!("`{value}`") })
            .collect();
        any_of(&values.iter().map(String::as_str).collect::<Vec<_>>())
    };
    match &attribute.becomes {
        Becomes::Honoured => format!("honoured: {}", attribute.values.expected()),
        Becomes::HonouredIf(done, why) => {
            format!("honoured if {}; else refused, {why}", quoted(done))
        }
        Becomes::Ignored(why) => format!("ignored, {why}"),
        Becomes::IgnoredUnless(done, why) => {
            format!("honoured if {}; else ignored, {why}", quoted(done))
        }
        Becomes::Refused(why) => format!("refused, {why}"),
    }
}

fn table() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str("\n| fields of | honoured | ignored | refused |\n|---|---|---|---|\n");
    for (object, known) in OBJECTS {
        let honoured = names(known, |becomes| becomes == Use::Honoured);
        let ignored = names(known, |becomes| matches!(becomes, Use::Ignored(_)));
        let refused = names(known, |becomes| matches!(becomes, Use::Refused(_)));
        writeln!(text, "| {object} | {honoured} | {ignored} | {refused} |").unwrap();
    }
    text.push_str("\n| values of | honoured | refused |\n|---|---|---|\n");
    for (field, known) in CHOICES {
        let honoured = names(known, |becomes| becomes == Use::Honoured);
        let refused = names(known, |becomes| matches!(becomes, Use::Refused(_)));
        writeln!(text, "| {field} | {honoured} | {refused} |").unwrap();
    }
    for (of, known) in ATTRIBUTES {
        write!(text, "\n| attribute of {of} | default | here |\n|---|---|---|\n").unwrap();
        for attribute in *known {
            let default = match attribute.default {
                "" => String::new(),
                default => format!("`{default}`"),
            };
            let becomes = what_becomes_of(attribute);
            writeln!(text, "| `{}` | {default} | {becomes} |", attribute.key).unwrap();
        }
    }
    text
}

#[test]
fn the_table_in_the_documentation_is_what_the_code_does() {
    let table = table();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/gateway/from_alb.md");
    if std::env::var_os("WRITE_GOLDEN_FILES").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert_eq!(written, table, "WRITE_GOLDEN_FILES=1 cargo test writes it anew");
    let readme = include_str!("../../README.md");
    assert!(readme.contains(table.trim_end()), "the README has the same section");
}

#[test]
fn no_name_is_known_twice_and_every_default_is_admitted() {
    let tables = OBJECTS.iter().chain(CHOICES);
    for (table, known) in tables {
        let mut names: Vec<_> = known.iter().map(|known| known.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{table}");
    }
    for (of, known) in ATTRIBUTES {
        for (i, attribute) in known.iter().enumerate() {
            let key = attribute.key;
            assert!(known.iter().skip(i + 1).all(|other| other.key != key), "{of}: {key}");
            if !attribute.default.is_empty() {
                assert!(attribute.values.admits(attribute.default), "{key}");
            }
            let done = match &attribute.becomes {
                Becomes::HonouredIf(done, _) | Becomes::IgnoredUnless(done, _) => *done,
                _ => &[],
            };
            assert!(done.iter().all(|value| attribute.values.admits(value)), "{key}");
            // What is refused unless it is done must be done without being asked for.
            if let Becomes::HonouredIf(done, _) = &attribute.becomes {
                assert!(done.contains(&attribute.default), "{key}");
            }
        }
    }
}

#[test]
fn how_long_clients_may_take_and_stay_is_what_the_attributes_say() {
    fn check(attributes: &[(&str, &str)], idle: u64, head: u64, keep_alive: u64) {
        let attributes =
            attributes.iter().map(|(key, value)| serde_json::json!({"Key": key, "Value": value}));
        let document = serde_json::json!({
            "LoadBalancerAttributes": attributes.collect::<Vec<_>>(),
            "Listeners": [{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{
                "Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}
            }]}]
        });
        let limits = Document::parse(&document.to_string()).unwrap().limits;
        let expected = [idle, head, keep_alive].map(Duration::from_secs);
        assert_eq!([limits.idle, limits.head, limits.keep_alive], expected);
        assert_eq!(limits.requests, u64::MAX);
    }
    check(&[], 60, 30, 3600);
    check(&[("client_keep_alive.seconds", "60")], 60, 30, 60);
    check(&[("idle_timeout.timeout_seconds", "4000")], 4000, 30, 3600);
    check(&[("idle_timeout.timeout_seconds", "7")], 7, 7, 3600);
}

#[test]
fn connections_to_targets_are_kept_for_the_idle_timeout_that_is_given() {
    fn check(given: Option<&str>, silent: u64, kept: u64) {
        let given = given.map(
            |seconds| serde_json::json!({"Key": "idle_timeout.timeout_seconds", "Value": seconds}),
        );
        let document = serde_json::json!({
            "LoadBalancerAttributes": Vec::from_iter(given),
            "TargetGroups": [{"TargetGroupName": "web", "Protocol": "HTTP", "Port": 80}],
            "Listeners": [{"Protocol": "HTTP", "Port": 80, "DefaultActions": [{
                "Type": "forward", "TargetGroupArn": "web"
            }]}]
        });
        let document = Document::parse(&document.to_string()).unwrap();
        let [silent, kept] = [silent, kept].map(Duration::from_secs);
        let expected = Transport::new()
            .answer_timeout(silent)
            .idle_timeout(silent)
            .connection_idle_timeout(kept);
        assert_eq!(document.groups[0].settings.transport, expected);
    }
    check(None, 60, 55);
    check(Some("60"), 60, 60);
    check(Some("4000"), 4000, 4000);
    check(Some("7"), 7, 7);
}
