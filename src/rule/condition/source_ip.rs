//! source-ip: the client's address, and never what a stranger says in a header.
//!
//! Who the client is behind a trusted proxy is `proxy/`'s to find out.

use std::fmt;

use super::{
    glob::one_of,
    subject::{Subject, Undecided},
};
use crate::{cidr::Cidr, rule::invalid::Faults};

/// Made by [`Condition::source_ip`](super::Condition::source_ip).
#[derive(Clone, Debug)]
pub struct SourceIp(Box<[Block]>);

#[derive(Clone, Debug)]
struct Block {
    /// As the user wrote it.
    text: String,
    cidr: Option<Cidr>,
}

impl SourceIp {
    pub(super) fn new<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        let block = |value: V| {
            let text = value.into();
            // ALB takes no address without the length of its prefix.
            let cidr = text.contains('/').then(|| text.parse().ok()).flatten();
            Block { text, cidr }
        };
        Self(values.into_iter().map(block).collect())
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> Result<bool, Undecided> {
        let client = subject.client().ok_or(Undecided::NoPeer)?;
        Ok(self.0.iter().filter_map(|block| block.cidr).any(|cidr| cidr.contains(client)))
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        subject.client().map(|client| client.to_string())
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.0.is_empty() {
            faults.missing("source-ip", "at least one value");
        }
        for block in self.0.iter().filter(|block| block.cidr.is_none()) {
            let expected =
                "an address and the length of its prefix, as in 10.0.0.0/8 or 2001:db8::/32";
            faults.add("source-ip", &*block.text, expected);
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for SourceIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("source-ip ")?;
        one_of(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::head::{Head, Peer};

    #[test]
    fn the_client_lies_in_one_of_the_blocks() {
        let check = |blocks: &[&str], client: &str, expected: bool| {
            let request = Request::new(());
            let peer = Peer::new(client.parse().unwrap());
            let subject = Subject::new(&Head::of(&request, Some(&peer)));
            let verdict = SourceIp::new(blocks.iter().copied()).test(&subject).unwrap();
            assert_eq!(verdict, expected, "{blocks:?} of {client}");
        };
        check(&["10.0.0.0/8"], "10.255.0.1:1", true);
        check(&["10.0.0.0/8"], "11.0.0.1:1", false);
        check(&["10.0.0.0/8", "11.0.0.0/8"], "11.0.0.1:1", true);
        check(&["10.0.0.0/8"], "[::ffff:10.0.0.1]:1", true);
        // A table with it is refused; it matches nobody.
        check(&["10.0.0.1"], "10.0.0.1:1", false);
    }
}
