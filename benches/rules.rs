//! What it costs to find the rule that a request matches. No network.
//!
//! `cargo bench --bench rules`
//!
//! All rules of a table are of one kind and differ in one value; a request matches the first, the
//! tenth or the last of them.

mod support;

use std::process::ExitCode;

use http::Request;
use pointsman::{
    TargetGroup,
    head::Head,
    rule::{Condition, Forward, Rule, RuleTable, RuleTableBuilder},
};

use support::{
    settings::rules as settings,
    table::{Table, Unit},
    timing::{Times, case},
};

fn main() -> ExitCode {
    let mut table = Table::new("rules");
    for kind in KINDS {
        matches(&mut table, &kind);
    }
    table.finish()
}

/// A kind of rule, told apart by a number.
struct Kind {
    name: &'static str,
    conditions: fn(usize) -> Vec<Condition>,
}

const KINDS: [Kind; 5] = [
    Kind { name: "host", conditions: |number| vec![host(number)] },
    Kind { name: "path", conditions: |number| vec![path(number)] },
    Kind {
        name: "path with two wildcards",
        conditions: |number| vec![Condition::path_pattern([format!("*/section-{number}/*")])],
    },
    Kind { name: "header", conditions: |number| vec![header(number)] },
    Kind {
        // As hosts with paths are written: all of them have the host.
        name: "host, method, path and header",
        conditions: |number| {
            let host = Condition::host_header(["*.example.com"]);
            vec![host, Condition::http_request_method(["GET"]), header(number), path(number)]
        },
    },
];

fn host(number: usize) -> Condition {
    Condition::host_header([format!("tenant-{number}.example.com")])
}

fn path(number: usize) -> Condition {
    Condition::path_pattern([format!("/section-{number}/*")])
}

fn header(number: usize) -> Condition {
    Condition::http_header("x-tenant", [format!("tenant-{number}")])
}

fn matches(table: &mut Table, kind: &Kind) {
    let group = TargetGroup::builder("web").build().unwrap();
    let count = settings::PLACES.into_iter().max().unwrap();
    let rule = |number: usize| {
        let rule = Rule::new(u32::try_from(number).unwrap());
        let conditions = (kind.conditions)(number).into_iter();
        conditions.fold(rule, Rule::when).then(Forward::to(&group))
    };
    let rules = (1..=count).map(rule).fold(RuleTable::builder(), RuleTableBuilder::rule);
    let rules = rules.build().unwrap();
    let requests = settings::PLACES.map(request);
    let find = |request| {
        let head = Head::of(request, None);
        let rules = &rules;
        case(move || rules.first_match(&head).unwrap().rule())
    };
    for (place, request) in settings::PLACES.into_iter().zip(&requests) {
        let found = rules.first_match(&Head::of(request, None)).unwrap().rule();
        assert_eq!(found.to_string(), format!("rule {place}"), "{}", kind.name);
    }
    let times = Times::of(requests.iter().map(find).collect());
    for (case, place) in settings::PLACES.into_iter().enumerate() {
        let what = format!("{}, rule {place} of {count}", kind.name);
        table.say(what, times.least(case), Unit::Nanoseconds);
    }
    let (first, last) = (0, settings::PLACES.len() - 1);
    let passed = (settings::PLACES[last] - settings::PLACES[first]) as f64;
    let each = (times.least(last) - times.least(first)) / passed;
    table.hold(
        "  for each that does not match",
        each,
        settings::PER_RULE_MAX_NS,
        Unit::Nanoseconds,
    );
}

/// A request that matches the rule of a number, of whatever kind.
fn request(number: usize) -> Request<()> {
    Request::get(format!("/section-{number}/page.html?q=1"))
        .header("host", format!("tenant-{number}.example.com"))
        .header("user-agent", "bench/1.0")
        .header("accept", "text/html")
        .header("accept-encoding", "gzip")
        .header("x-tenant", format!("tenant-{number}"))
        .body(())
        .unwrap()
}
