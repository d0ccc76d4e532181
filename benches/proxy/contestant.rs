//! A proxy that runs, whosever it is: where it listens, and whose time and memory are its own.

use std::net::SocketAddr;

use crate::{child::Child, client::Load, cpu::Processor};

/// A proxy that runs: on a thread of ours, or as a child.
pub struct Contestant {
    pub name: &'static str,
    pub address: SocketAddr,
    /// Clients are given sessions.
    pub is_sticky: bool,
    pub processor: Processor,
    /// Stops with the contestant; a thread goes on until the program ends.
    pub child: Option<Child>,
}

impl Contestant {
    /// So many clients of it.
    pub fn load(&self, clients: usize) -> Load {
        Load::of(self.address, clients, self.is_sticky)
    }
}
