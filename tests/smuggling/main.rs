//! What the balancer makes of messages, judged by a reader of HTTP/1.1 that is not its own: a corpus of
//! attacks on the border between two requests, and requests and answers made at random.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test says what is wrong by panicking, and what it looked at by printing"
)]

#[path = "../support/mod.rs"]
mod support;

mod corpus;
mod strict;
mod target;

mod answers;
mod attacks;
mod early;
mod properties;
