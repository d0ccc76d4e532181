//! A condition of a rule: its field, its values, and the characters they may be made of.
//!
//! How many values and wildcards all conditions of a rule may have together is decided in `rule.rs`.

use ipnet::IpNet;

use super::{
    fields,
    plan::ConditionPlan,
    reader::{Known, Node, Object},
    report::Report,
};
use crate::grammar;

/// The most values of one condition.
const VALUES_MAX: usize = 3;

/// The most blocks of addresses of one condition: as many as a rule may have values.
const BLOCKS_MAX: usize = 5;

/// The longest value of a condition, in characters.
const VALUE_MAX: usize = 128;

/// The longest name of a header field and the longest method, in characters.
const NAME_MAX: usize = 40;

/// Which field of a condition belongs to which kind of it.
const CONFIGS: [(&str, &str); 6] = [
    ("host-header", "HostHeaderConfig"),
    ("path-pattern", "PathPatternConfig"),
    ("http-header", "HttpHeaderConfig"),
    ("http-request-method", "HttpRequestMethodConfig"),
    ("query-string", "QueryStringConfig"),
    ("source-ip", "SourceIpConfig"),
];

/// A condition as far as it was understood.
pub(super) struct Read {
    /// `host-header`
    pub(super) kind: &'static str,
    /// How many values it has, wrong ones too.
    pub(super) values: usize,
    /// How many `*` and `?` are in them.
    pub(super) wildcards: usize,
    /// `None` if something is wrong with it.
    pub(super) plan: Option<ConditionPlan>,
}

pub(super) fn read(item: &Node<'_>, report: &mut Report) -> Option<Read> {
    let object = item.object(fields::CONDITION, report)?;
    let field = object.need("Field", "host-header, path-pattern or another", report)?;
    let kind = field.choice(fields::CONDITION_FIELDS, report)?;
    for (of, config) in CONFIGS {
        if of != kind && object.get(config).is_some() {
            let text = format!("expected with Field {of} only, not with {kind}");
            object.refuse_at(config, text, report);
        }
    }
    let mut values = Values::default();
    let plan = match kind {
        "host-header" => {
            let nodes = patterns(&object, "host-header", "HostHeaderConfig", report);
            values.read(nodes, |node| host(node, report)).map(ConditionPlan::HostHeader)
        }
        "path-pattern" => {
            let nodes = patterns(&object, "path-pattern", "PathPatternConfig", report);
            values.read(nodes, |node| path(node, report)).map(ConditionPlan::PathPattern)
        }
        "http-header" => config(&object, "http-header", fields::HTTP_HEADER, report)
            .and_then(|config| http_header(&config, &mut values, report)),
        "http-request-method" => config(&object, "http-request-method", fields::VALUES, report)
            .and_then(|config| {
                let nodes = list(&config, VALUES_MAX, report);
                let read = values.read(nodes, |node| method(node, report));
                values.wildcards = 0;
                read.map(ConditionPlan::HttpRequestMethod)
            }),
        "query-string" => config(&object, "query-string", fields::VALUES, report)
            .and_then(|config| query(&config, &mut values, report)),
        _ => config(&object, "source-ip", fields::SOURCE_IP, report).and_then(|config| {
            let nodes = list(&config, BLOCKS_MAX, report);
            values.read(nodes, |node| source_ip(node, report)).map(ConditionPlan::SourceIp)
        }),
    };
    Some(Read { kind, values: values.count, wildcards: values.wildcards, plan })
}

/// Counts values while they are read.
#[derive(Default)]
struct Values {
    count: usize,
    wildcards: usize,
}

impl Values {
    /// Reads each; `None` if there is none, or one is wrong.
    fn read(
        &mut self,
        nodes: Vec<Node<'_>>,
        mut read: impl FnMut(&Node<'_>) -> Option<String>,
    ) -> Option<Vec<String>> {
        self.count += nodes.len();
        let mut values = Vec::new();
        for node in &nodes {
            self.wildcards += wildcards(node.raw_text().unwrap_or_default());
            values.extend(read(node));
        }
        (!values.is_empty() && values.len() == nodes.len()).then_some(values)
    }
}

/// Counts the characters that stand for others.
fn wildcards(text: &str) -> usize {
    text.bytes().filter(|byte| matches!(byte, b'*' | b'?')).count()
}

/// Reads the object that belongs to a kind of condition.
fn config<'j>(
    object: &Object<'j>,
    kind: &str,
    known: &'static [Known],
    report: &mut Report,
) -> Option<Object<'j>> {
    let (_, name) = CONFIGS.into_iter().find(|(of, _)| *of == kind)?;
    if let Some(values) = object.get("Values") {
        let text = format!("expected in {name}.Values with Field {kind}");
        values.refuse(text, report);
    }
    object.need(name, format_args!("with Field {kind}"), report)?.object(known, report)
}

/// Reads the values of a condition that may have one of them, in the way of old, at the top.
fn patterns<'j>(
    object: &Object<'j>,
    kind: &str,
    config: &str,
    report: &mut Report,
) -> Vec<Node<'j>> {
    match (object.get("Values"), object.get(config)) {
        (Some(_), Some(_)) => {
            let text = format!("expected Values or {config} with Field {kind}, not both");
            object.refuse(text, report);
            Vec::new()
        }
        (Some(values), None) => {
            let nodes = some(&values, report);
            if nodes.len() > 1 {
                let text = format!("expected 1 value, got {}; more stand in {config}", nodes.len());
                values.refuse(text, report);
            }
            nodes
        }
        (None, Some(node)) => {
            let object = node.object(fields::PATTERNS, report);
            object.map(|object| list(&object, VALUES_MAX, report)).unwrap_or_default()
        }
        (None, None) => {
            let text = format!("missing, expected with Field {kind}");
            object.refuse_at(config, text, report);
            Vec::new()
        }
    }
}

/// Reads the values of a condition of which there may be several.
fn list<'j>(config: &Object<'j>, max: usize, report: &mut Report) -> Vec<Node<'j>> {
    let Some(values) = config.need("Values", "at least one value", report) else {
        return Vec::new();
    };
    let nodes = some(&values, report);
    if nodes.len() > max {
        let count = nodes.len();
        values.refuse(
            format_args!("{count} values in one condition, expected {max} at most"),
            report,
        );
    }
    nodes
}

/// Reads a list that is not empty.
fn some<'j>(values: &Node<'j>, report: &mut Report) -> Vec<Node<'j>> {
    let nodes = values.list(report);
    // What is no list was told of already.
    if nodes.is_empty() && values.is_list() {
        values.expected("at least one value", report);
    }
    nodes
}

fn value(
    node: &Node<'_>,
    max: usize,
    fits: impl Fn(char) -> bool,
    expected: &str,
    report: &mut Report,
) -> Option<String> {
    node.text_of(1..=max, fits, expected, report).map(str::to_owned)
}

fn host(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.*?".contains(c);
    let text = value(node, VALUE_MAX, fits, "letters, digits and - _ . * ?", report)?;
    let last = text.rsplit_once('.').map(|(_, last)| last);
    let right = last.is_some_and(|last| {
        !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_alphabetic())
    });
    if !right {
        node.expected("a . and only letters after the last one", report);
    }
    right.then_some(text)
}

fn path(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&;*?".contains(c);
    let expected = "letters, digits and _ - . $ / ~ \" ' @ : + & ; * ?";
    value(node, VALUE_MAX, fits, expected, report)
}

fn http_header(
    config: &Object<'_>,
    values: &mut Values,
    report: &mut Report,
) -> Option<ConditionPlan> {
    let expected = "the name of a header field";
    let name = config.need("HttpHeaderName", expected, report).and_then(|node| {
        let fits = |c| u8::try_from(c).is_ok_and(grammar::in_token);
        let name = value(
            &node,
            NAME_MAX,
            fits,
            "letters, digits and ! # $ % & ' * + - . ^ _ ` | ~",
            report,
        )?;
        if name.eq_ignore_ascii_case("host") {
            node.expected("another name, or Field host-header", report);
            return None;
        }
        Some(name)
    });
    let fits = |c: char| c.is_ascii_graphic() || c == ' ';
    let expected = "visible ASCII characters and spaces";
    let nodes = list(config, VALUES_MAX, report);
    let read = values.read(nodes, |node| value(node, VALUE_MAX, fits, expected, report));
    Some(ConditionPlan::HttpHeader(name?, read?))
}

fn method(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let fits = |c: char| c.is_ascii_uppercase() || "-_".contains(c);
    value(node, NAME_MAX, fits, "of A to Z, - and _", report)
}

fn query(config: &Object<'_>, values: &mut Values, report: &mut Report) -> Option<ConditionPlan> {
    let nodes = list(config, VALUES_MAX, report);
    values.count += nodes.len();
    let mut pairs = Vec::new();
    for node in &nodes {
        let Some(pair) = node.object(fields::QUERY_PAIR, report) else { continue };
        let (key, value) = (pair.get("Key"), pair.need("Value", "a value", report));
        for node in key.iter().chain(&value) {
            // Here, and only here, there is an escape.
            let text = node.raw_text().unwrap_or_default().replace(r"\*", "").replace(r"\?", "");
            values.wildcards += wildcards(&text);
        }
        let key = match key {
            Some(node) => query_text(&node, report).map(Some),
            None => Some(None),
        };
        let value = value.and_then(|node| query_text(&node, report));
        pairs.extend(key.zip(value));
    }
    let right = !pairs.is_empty() && pairs.len() == nodes.len();
    right.then_some(ConditionPlan::QueryString(pairs))
}

fn query_text(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&()!,;=*?\\%".contains(c);
    let expected =
        "letters, digits and _ - . $ / ~ \" ' @ : + & ( ) ! , ; = * ?, others encoded by %";
    value(node, VALUE_MAX, fits, expected, report)
}

fn source_ip(node: &Node<'_>, report: &mut Report) -> Option<String> {
    let is_block = |text: &&str| text.parse::<IpNet>().is_ok() && *text != "255.255.255.255/32";
    let block = node.raw_text().filter(is_block);
    if block.is_none() {
        let expected = "an address that clients can have and the length of its prefix, as in \
                        10.0.0.0/8 or 2001:db8::/32";
        node.expected(expected, report);
    }
    block.map(str::to_owned)
}
