//! What the benches share: settings, timing, the table, and servers that cost next to nothing.
#![allow(dead_code, unreachable_pub, reason = "each bench takes what it needs")]

pub mod settings;
pub mod table;
pub mod timing;
pub mod wire;
