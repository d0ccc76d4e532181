//! How many instructions a request takes in user space, on the proxy's thread alone, beside the barest
//! proxy: as valgrind counts them, the same from run to run, to the percent.
//!
//! `cargo measure --bench instructions` takes a minute; with `-- --short` half of that. The program runs
//! under valgrind twice with different numbers of requests, and what counts is the difference. It has an
//! allocator of its own, since glibc's merges what was freed on some later request's time, and on
//! whose depends on luck. Linux only, where valgrind is installed.
//!
//! Only small messages are counted. How often a large body is read depends on how fast it comes, and
//! each reading costs more than the balancer may.
//!
//! To see where instructions go, let the program send requests and measure nothing:
//!
//! ```text
//! valgrind --tool=callgrind --separate-threads=yes \
//!     target/release/deps/instructions-HASH --requests 1000 balancer get
//! ```

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
#[path = "proxy/ours.rs"]
mod ours;

use std::{
    env, fs,
    net::SocketAddr,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use backend::{Backends, CLOSED, path_of};
use child::{Child, Scratch, program};
use client::{Ask, Until};
use mimalloc::MiMalloc;
use ours::Ours;
use support::{
    settings::instructions as settings,
    table::{Table, Unit},
    timing::{is_rehearsal, tell_of_the_clock},
};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Tells this program to send so many requests and to measure nothing: `--requests N PROXY CASE`.
const REQUESTS: &str = "--requests";

/// Threads are numbered as they are made, and the proxy's is the first after the main one.
const PROXY_THREAD: usize = 2;

/// What is asked, over and over, by one client.
#[derive(Clone, Copy, PartialEq)]
enum Case {
    Post,
    Get,
    /// The target closes each connection after its answer.
    NewToTarget,
    /// The client comes with a new connection each time.
    NewFromClient,
}

impl Case {
    const ALL: [Self; 4] = [Self::Post, Self::Get, Self::NewToTarget, Self::NewFromClient];

    fn name(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Get => "get",
            Self::NewToTarget => "new-to-target",
            Self::NewFromClient => "new-from-client",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Get => "GET",
            Self::NewToTarget => "GET over a new connection to the target",
            Self::NewFromClient => "GET over a new connection of the client",
        }
    }

    fn ask(self) -> Ask {
        let ask = Ask::get(path_of(support::settings::proxy::SMALL));
        match self {
            Self::Post => Ask { method: "POST", ..ask },
            Self::Get => ask,
            Self::NewToTarget => Ask::get(CLOSED),
            Self::NewFromClient => Ask { is_fresh: true, ..ask },
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(REQUESTS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let backends = Backends::start(&runtime);
        send(arguments, &runtime, backends.addresses);
        return ExitCode::SUCCESS;
    }
    tell_of_the_clock();
    let mut table = Table::new("instructions, for a request");
    let is_short = env::args().any(|argument| argument == "--short");
    match program("valgrind") {
        None => println!("skipped: valgrind is not installed"),
        Some(_) if is_rehearsal() => {}
        Some(valgrind) => {
            let counted = if is_short { settings::SHORT } else { settings::WHOLE };
            run(&mut table, &valgrind, Scratch::make().path(), counted);
        }
    }
    table.finish()
}

/// Counts all cases, of the barest proxy first.
fn run(table: &mut Table, valgrind: &Path, scratch: &Path, counted: [usize; 2]) {
    let count = |ours, case| match instructions(valgrind, scratch, ours, case, counted) {
        Ok(instructions) => Some(instructions),
        Err(error) => {
            println!("left out: instructions of {} ({}): {error}", ours.name(), case.name());
            None
        }
    };
    let bare = Case::ALL.map(|case| (case, count(Ours::Bare, case)));
    for &ours in Ours::COMPARED {
        for (case, of_bare) in bare {
            let mine = if ours == Ours::Bare { of_bare } else { count(ours, case) };
            let Some(mine) = mine else { continue };
            let what = format!("{}: {}", case.title(), ours.name());
            table.say(what, mine, Unit::Instructions);
            let Some(of_bare) = of_bare else { continue };
            let goal = match ours {
                Ours::Bare => continue,
                _ if ours.is_sticky() => settings::STICKY_MAX,
                _ => settings::MAX,
            };
            table.hold("  beyond bare", mine - of_bare, goal, Unit::Instructions);
        }
    }
}

/// Sends requests and measures nothing; a tool outside does.
fn send(mut arguments: impl Iterator<Item = String>, runtime: &Runtime, backends: [SocketAddr; 2]) {
    let requests = arguments.next().and_then(|number| number.parse().ok());
    let ours = Ours::named(&arguments.next().unwrap_or_default());
    let name = arguments.next().unwrap_or_else(|| Case::Get.name().to_owned());
    let Some(case) = Case::ALL.into_iter().find(|case| case.name() == name) else {
        panic!("no case {name:?}: expected one of {:?}", Case::ALL.map(Case::name));
    };
    let mut load = ours.on_a_thread(backends).load(1);
    let requests = requests.expect("a number of requests");
    runtime.block_on(load.run(&case.ask(), Until::Each(requests)));
}

/// What one request takes.
fn instructions(
    valgrind: &Path,
    scratch: &Path,
    ours: Ours,
    case: Case,
    counted: [usize; 2],
) -> Result<f64, String> {
    let start = |requests: usize| {
        let file = scratch.join(format!("{}-{}-{requests}", ours.name(), case.name()));
        let mut command = Command::new(valgrind);
        command.args(["--tool=callgrind", "--separate-threads=yes", "--read-inline-info=no", "-q"]);
        command.arg(format!("--callgrind-out-file={}", file.display()));
        command.arg(env::current_exe().unwrap());
        command.args([REQUESTS, &requests.to_string(), ours.name(), case.name()]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| error.to_string())?;
        Ok::<_, String>((Child(child), file))
    };
    // Both at once: the time they take does not count.
    let mut totals = Vec::new();
    for run in counted.map(start) {
        let (mut child, file) = run?;
        let status = child.0.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(format!("valgrind ended with {status}"));
        }
        totals.push(total_of(&file)?);
    }
    let [few, many] = counted;
    Ok((totals[1] - totals[0]) / (many - few) as f64)
}

/// Reads what the proxy's thread took out of what valgrind wrote.
fn total_of(file: &Path) -> Result<f64, String> {
    let file = format!("{}-{PROXY_THREAD:02}", file.display());
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    total.ok_or_else(|| format!("{file}: no total"))
}
