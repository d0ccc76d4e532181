//! What a request through the whole balancer costs the processor and the memory, beside the barest
//! proxy that hyper makes (the same server, pool and header work without rules, groups, checks, counts
//! or deadlines), and beside nginx and HAProxy where they are installed.
//!
//! `cargo bench --features server --bench proxy` takes two to three minutes; with `-- --short` half a
//! minute, for a rough idea. Words after `--` choose what is measured, by a part of its name:
//! `-- --short "10 MiB" memory`.
//!
//! Each proxy has a thread of its own, whose time the kernel keeps for us; clients and targets share
//! another. Time is compared within a round, and what counts is the median over the rounds: the
//! machine's moods then fall on all. Linux only. Instructions of the same proxies are counted by the
//! bench `instructions`.

#![allow(unreachable_pub, reason = "a program exports nothing")]

#[path = "../support/mod.rs"]
mod support;

mod ours;
mod rivals;
mod contestant;
mod client;
mod backend;
mod contest;
mod cpu;
mod memory;
mod descriptors;
mod child;

use std::{env, process::ExitCode};

use backend::Backends;
use child::Scratch;
use cpu::Processor;
use ours::Ours;
use rivals::Rival;
use support::{
    settings::proxy::{self as settings, Effort},
    table::Table,
    timing::is_rehearsal,
};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match arguments.next().as_deref() {
        Some(ours::SERVE) => Ours::serve_as_a_child(arguments),
        _ => return measure(&runtime),
    }
    ExitCode::SUCCESS
}

fn measure(runtime: &tokio::runtime::Runtime) -> ExitCode {
    let effort = effort();
    let mut table = Table::new("proxy, for a request");
    if !Processor::is_counted() {
        println!("skipped: this kernel does not say how long a thread ran");
        return table.finish();
    }
    let scratch = Scratch::make();
    let backends = Backends::start(runtime);
    descriptors::raise();
    let connections = descriptors::connections(effort.connections);
    let busy = settings::SCENARIOS.iter().map(|scenario| scenario.connections).max().unwrap_or(0);
    // More than ever come, so that none has to wait for another.
    let admitted = 2 * connections.max(busy);
    let start = |rival: Rival| rival.start(scratch.path(), backends.addresses, admitted);

    let mut contestants = Vec::new();
    for ours in Ours::COMPARED {
        contestants.push(ours.on_a_thread(backends.addresses));
    }
    let mut rivals = Vec::new();
    for rival in Rival::ALL {
        match start(rival) {
            Ok(contestant) => {
                println!("beside {}", rival.version().unwrap_or_default());
                contestants.push(contestant);
                rivals.push(rival);
            }
            Err(reason) => println!("left out: {reason}"),
        }
    }
    for scenario in settings::SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        contest::run(&mut table, runtime, &effort, &contestants, scenario);
    }
    drop(contestants);

    if connections == 0 {
        println!("left out: memory, since this program may open too few descriptors");
    } else if is_wanted("memory") {
        println!("memory is that of {connections} connections, divided by them");
        let ours = Ours::WEIGHED.iter().map(|ours| Ok(ours.in_a_child(backends.addresses)));
        for contestant in ours.chain(rivals.into_iter().map(start)) {
            match contestant {
                Ok(one) => memory::run(&mut table, runtime, &backends, &one, connections),
                Err(reason) => println!("left out: {reason}"),
            }
        }
    }

    table.finish()
}

fn effort() -> Effort {
    if is_rehearsal() {
        settings::REHEARSAL
    } else if env::args().any(|argument| argument == "--short") {
        println!("short: the figures are rough");
        settings::SHORT
    } else {
        settings::WHOLE
    }
}

/// Tells whether something was chosen, or nothing at all was.
fn is_wanted(name: &str) -> bool {
    let mut words = env::args().skip(1).filter(|word| !word.starts_with("--")).peekable();
    words.peek().is_none() || words.any(|word| name.contains(&word))
}
