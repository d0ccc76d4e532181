//! What the system keeps of connections on this machine, as it says itself: bytes that were given to
//! it at one end and not yet taken from it at the other.
//!
//! How much that may be is its own affair; it grows with the memory and the load of the machine.

use std::net::SocketAddr;

/// One end of a connection: its own address, and that of the other end.
pub(crate) type End = (SocketAddr, SocketAddr);

/// What is kept of one end, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Queues {
    /// Was given, and the other end has not said that it is there.
    pub(crate) unsent: usize,
    /// Is there, and was not taken.
    pub(crate) unread: usize,
}

impl Queues {
    /// Returns what is kept of these ends while nothing moves. Whoever calls it must be the one thread
    /// that gives and takes; then the system comes to rest by itself.
    pub(crate) fn at_rest<const N: usize>(ends: [End; N]) -> [Self; N] {
        let mut before = Self::read(ends);
        loop {
            let now = Self::read(ends);
            if now == before {
                return now;
            }
            before = now;
        }
    }

    /// A line of the table is not as old as the next.
    fn read<const N: usize>(ends: [End; N]) -> [Self; N] {
        let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
        ends.map(|end| {
            let found = table.lines().skip(1).find_map(|line| Self::of(end, line));
            found.unwrap_or_else(|| panic!("{end:?} is not in {table}"))
        })
    }

    /// Reads the line of an end: its number, both addresses, its state, and its queues.
    fn of((own, other): End, line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace().skip(1);
        if fields.next()? != written(own) || fields.next()? != written(other) {
            return None;
        }
        let (unsent, unread) = fields.nth(1)?.split_once(':')?;
        let bytes = |hex| usize::from_str_radix(hex, 16).unwrap();
        Some(Self { unsent: bytes(unsent), unread: bytes(unread) })
    }
}

/// An address as the table has it: the four bytes as one number of this machine's.
fn written(address: SocketAddr) -> String {
    let SocketAddr::V4(address) = address else { panic!("{address} is in another table") };
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}
