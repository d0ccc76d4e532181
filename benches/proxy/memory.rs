//! What a connection takes of a proxy's memory: each proxy is alone in a process, whose resident
//! pages are read when it rests, when so many clients are connected and idle after a request, and
//! when each of them has a request at a target.

use std::fs;

use tokio::runtime::Runtime;

use crate::{
    backend::{Backends, HELD},
    client::{Ask, Until},
    contestant::Contestant,
    support::{
        settings::proxy as settings,
        table::{Table, Unit},
    },
};

/// Measures a proxy that has just been started.
pub fn run(
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
        table.say(format!("memory: {}, at rest", contestant.name), resting, Unit::Kibibytes);
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
