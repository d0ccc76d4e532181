//! Clients that others wrote, each before our server with the balancer behind it, and the same asked
//! by all: what they send arrives, what they get is whole, their connections are kept, and no count
//! is left over.
#![allow(unreachable_pub, reason = "what is shared here is seen by this test alone")]

#[path = "../support/mod.rs"]
mod support;

mod site;

mod curl;
mod node;
mod python;
mod rust;
