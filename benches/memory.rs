//! What a connection takes of a proxy's memory, with the system's own allocator: each proxy is alone in
//! a process, whose resident pages are read when it rests, when so many clients are connected and idle
//! after a request, and when each of them has a request at a target.
//!
//! `cargo bench --features server --bench memory` takes some seconds. nginx and HAProxy are beside where
//! they are installed. Linux only.

#![allow(unreachable_pub, reason = "a program exports nothing")]
#![allow(dead_code, reason = "the bench `proxy` uses more of what it shares with this one")]

#[path = "support/mod.rs"]
mod support;

#[path = "proxy/backend.rs"]
mod backend;
#[path = "proxy/child.rs"]
mod child;
#[path = "proxy/client.rs"]
mod client;
#[path = "proxy/contestant.rs"]
mod contestant;
#[path = "proxy/cpu.rs"]
mod cpu;
#[path = "proxy/descriptors.rs"]
mod descriptors;
#[path = "proxy/ours.rs"]
mod ours;
#[path = "proxy/rivals.rs"]
mod rivals;

use std::{env, fs, process::ExitCode};

use backend::{Backends, HELD};
use child::Scratch;
use client::{Ask, Until};
use contestant::Contestant;
use cpu::Processor;
use ours::Ours;
use rivals::Rival;
use support::{
    settings::memory as settings,
    table::{Table, Unit},
    timing::is_rehearsal,
};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(ours::SERVE) {
        Ours::serve_as_a_child(arguments);
        return ExitCode::SUCCESS;
    }
    let mut table = Table::new("memory");
    if !Processor::is_counted() {
        println!("skipped: this kernel does not say what a process takes");
        return table.finish();
    }
    descriptors::raise();
    let wanted = if is_rehearsal() { settings::REHEARSED } else { settings::CONNECTIONS };
    let connections = descriptors::connections(wanted);
    if connections == 0 {
        println!("skipped: this program may open too few descriptors");
        return table.finish();
    }
    println!("that of {connections} connections, divided by them");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scratch = Scratch::make();
    let backends = Backends::start(&runtime);
    let start = |rival: &Rival| rival.start(scratch.path(), backends.addresses, 2 * connections);
    let ours = Ours::WEIGHED.iter().map(|ours| Ok(ours.in_a_child(backends.addresses)));
    for contestant in ours.chain(Rival::ALL.iter().map(start)) {
        match contestant {
            Ok(one) => run(&mut table, &runtime, &backends, &one, connections),
            Err(reason) => println!("left out: {reason}"),
        }
    }
    table.finish()
}

/// Measures a proxy that has just been started.
fn run(
    table: &mut Table,
    runtime: &Runtime,
    backends: &Backends,
    contestant: &Contestant,
    connections: usize,
) {
    let id = contestant.child.as_ref().unwrap().0.id();
    let (warm, held) = (Ask::get("/"), Ask::get(HELD));
    runtime.block_on(async {
        contestant.load(1).run(&warm, Until::Each(settings::REQUESTS_BEFORE)).await;
        let resting = resident(id);
        let mut load = contestant.load(connections);
        load.one_by_one(&warm).await;
        let idle = resident(id);
        let measured = async {
            backends.until_held(connections).await;
            let active = resident(id);
            backends.release(connections);
            active
        };
        let (_, active) = tokio::join!(load.run(&held, Until::Each(1)), measured);
        let each = |kibibytes: f64| (kibibytes - resting) / connections as f64;
        table.say(format!("{}, at rest", contestant.name), resting, Unit::Kibibytes);
        table.say("  an idle connection", each(idle), Unit::Kibibytes);
        table.say("  an active connection", each(active), Unit::Kibibytes);
    });
}

/// The resident pages of a process in KiB, counted exactly.
fn resident(id: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
