//! The floors, the groups and the checking of their targets, without sockets wherever that is
//! possible: targets are services in this process, and time stands still until everybody waits.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking"
)]

mod support;

mod by_hand;
mod checks;
mod composition;
mod draining;
mod errors;
mod groups;
mod outcomes;
mod panics;
mod proxies;
mod retries;
mod refused;
mod sockets;
mod swaps;
mod tasks;
mod tunnels;
