//! What a request through the whole balancer costs the processor, beside the barest
//! proxy that hyper makes (the same server, pool and header work without rules, groups, checks, counts
//! or deadlines), and beside nginx and HAProxy where they are installed.
//!
//! `cargo measure --features server --bench proxy` takes two to three minutes; with `-- --short` half a
//! minute, for a rough idea. Words after `--` choose what is measured, by a part of its name:
//! `-- --short "10 MiB"`.
//!
//! Each proxy has a thread of its own, whose time the kernel keeps for us; clients and targets share
//! another. Time is compared within a round, and what counts is the median over the rounds: the
//! machine's moods then fall on all. The proxies of this crate have an allocator that servers built for
//! speed have; glibc's costs some four percent more. Linux only. Instructions of the same proxies are
//! counted by the bench `instructions`, their memory by `memory`.

#![allow(unreachable_pub, reason = "a program exports nothing")]
#![allow(dead_code, reason = "the bench `memory` uses more of what it shares with this one")]

#[path = "../support/mod.rs"]
mod support;

mod ours;
mod rivals;
mod contestant;
mod client;
mod backend;
mod contest;
mod cpu;
mod descriptors;
mod child;

use std::{env, process::ExitCode};

use backend::Backends;
use child::Scratch;
use cpu::Processor;
use mimalloc::MiMalloc;
use ours::Ours;
use rivals::Rival;
use support::{
    settings::proxy::{self as settings, Effort},
    table::Table,
    timing::{is_rehearsal, tell_of_the_clock},
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let effort = effort();
    tell_of_the_clock();
    let mut table = Table::new("proxy, for a request");
    if !Processor::is_counted() {
        println!("skipped: this kernel does not say how long a thread ran");
        return table.finish();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scratch = Scratch::make();
    let backends = Backends::start(&runtime);
    descriptors::raise();
    let start = |rival: Rival| rival.start(scratch.path(), backends.addresses, settings::ADMITTED);

    let mut contestants = Vec::new();
    for ours in Ours::COMPARED {
        contestants.push(ours.on_a_thread(backends.addresses));
    }
    for rival in Rival::ALL {
        match start(rival) {
            Ok(contestant) => {
                println!("beside {}", rival.version().unwrap_or_default());
                contestants.push(contestant);
            }
            Err(reason) => println!("left out: {reason}"),
        }
    }
    for scenario in settings::SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
        contest::run(&mut table, &runtime, &effort, &contestants, scenario);
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
