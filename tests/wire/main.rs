//! The balancer over real sockets: what clients and targets see of it, and that no count is left
//! over, whatever happens on the wire.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test says what is wrong by panicking, and what it measured by printing"
)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod bodies;
mod bytes;
mod connections;
mod deadlines;
mod desync;
mod draining;
mod early;
mod forward_to;
mod heads;
mod headers;
mod killed;
mod killing;
mod leaving;
mod old_clients;
mod outcomes;
#[cfg(target_os = "linux")]
mod queues;
mod retries;
mod reuse;
mod runtimes;
mod targets;
mod tunnels;
mod statuses;
