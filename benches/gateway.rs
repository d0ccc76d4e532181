//! What it takes to start a document, and to run another in its place.
//!
//! `cargo bench --features gateway --bench gateway`
//!
//! The targets are never there: what is timed is reading, checking, building and swapping, and for the
//! start also binding a socket of the system's choice.

mod support;

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    process::ExitCode,
    time::Instant,
};

use pointsman::gateway::{Document, Gateway};
use support::table::{Table, Unit};

/// How often each is done; the median counts.
const TIMES: usize = 21;

/// A start, or a reload of 1,000 targets, that takes longer is seen by whoever waits for it.
const GOAL_MS: f64 = 500.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be had");
    let mut table = Table::new("gateway");
    let started = runtime.block_on(async { median(start) });
    table.hold(
        "start to listening, 100 rules and 100 targets",
        started,
        GOAL_MS,
        Unit::Milliseconds,
    );
    let (same, others) =
        runtime.block_on(async { (median(|| reload(false)), median(|| reload(true))) });
    table.hold("reload of the same 1000 targets", same, GOAL_MS, Unit::Milliseconds);
    table.hold("reload of 1000 other targets", others, GOAL_MS, Unit::Milliseconds);
    table.finish()
}

/// Returns how many milliseconds half of the runs take at most.
fn median(run: impl Fn() -> f64) -> f64 {
    let mut times = (0..TIMES).map(|_| run()).collect::<Vec<_>>();
    times.sort_by(f64::total_cmp);
    times[TIMES / 2]
}

fn start() -> f64 {
    let text = document(free_port(), 100, 100, 0);
    let started = Instant::now();
    let document = Document::parse(&text).expect("the document is valid");
    let gateway = Gateway::start(&document, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let gateway = gateway.expect("the port is free");
    let taken = started.elapsed();
    assert_eq!(gateway.local_addrs().len(), 1);
    taken.as_secs_f64() * 1e3
}

fn reload(others: bool) -> f64 {
    let port = free_port();
    let document_of = |first| document(port, 1, 1000, first);
    let before = Document::parse(&document_of(0)).expect("the document is valid");
    let gateway = Gateway::start(&before, IpAddr::V4(Ipv4Addr::LOCALHOST));
    let mut gateway = gateway.expect("the port is free");
    let text = document_of(if others { 1000 } else { 0 });
    let started = Instant::now();
    let document = Document::parse(&text).expect("the document is valid");
    gateway.reload(&document).expect("nothing stands against it");
    started.elapsed().as_secs_f64() * 1e3
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it has an address").port()
}

fn document(port: u16, rules: usize, targets: usize, first: usize) -> String {
    let target = |i: usize| {
        let i = i + first;
        format!(r#"{{"Id": "10.0.{}.{}", "Port": 80}}"#, i / 250, i % 250 + 1)
    };
    let rule = |i: usize| {
        format!(
            r#"{{"Priority": "{}", "Conditions": [{{"Field": "path-pattern", "Values": ["/{i}/*"]}}],
                "Actions": [{{"Type": "forward", "TargetGroupArn": "web"}}]}}"#,
            i + 1
        )
    };
    let targets = (0..targets).map(target).collect::<Vec<_>>().join(", ");
    let rules = (0..rules).map(rule).collect::<Vec<_>>().join(", ");
    format!(
        r#"{{"TargetGroups": [{{
            "TargetGroupName": "web", "Protocol": "HTTP", "Port": 80, "TargetType": "ip",
            "Targets": [{targets}]
        }}],
        "Listeners": [{{
            "Protocol": "HTTP", "Port": {port},
            "DefaultActions": [{{"Type": "forward", "TargetGroupArn": "web"}}], "Rules": [{rules}]
        }}]}}"#
    )
}
