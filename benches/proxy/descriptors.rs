//! How many connections there may be: a program may open only so many descriptors, and by default too
//! few for a thousand clients and as many targets.

use std::{fs, process::Command};

use crate::support::settings::memory as settings;

/// Lets this program and its children open as many descriptors as are needed, if that is allowed.
pub fn raise() {
    let (soft, hard) = limits();
    let wanted = settings::DESCRIPTORS.min(hard);
    if soft < wanted {
        let id = std::process::id().to_string();
        // Where this is not installed, fewer have to do.
        let _ =
            Command::new("prlimit").args(["--pid", &id, &format!("--nofile={wanted}:")]).status();
    }
}

/// Returns how many connections can be had, up to so many.
pub fn connections(wanted: usize) -> usize {
    // Here as in a proxy each takes two: that of the client, and that of the target.
    wanted.min(limits().0.saturating_sub(settings::DESCRIPTORS_SPARE) / 2)
}

/// How many this program may open, and may let itself open.
fn limits() -> (usize, usize) {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    // What is no number is "unlimited".
    let mut limits = line.split_whitespace().map(|limit| limit.parse().unwrap_or(usize::MAX));
    (limits.next().unwrap(), limits.next().unwrap())
}
