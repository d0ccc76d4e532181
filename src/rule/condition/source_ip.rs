//! source-ip: the address of the client's connection, never what a header says.

use std::{fmt, net::IpAddr};

use ipnet::{IpNet, Ipv4Net};

use super::{
    glob::one_of,
    subject::{Subject, Undecided},
};
use crate::rule::invalid::Faults;

/// Made by [`Condition::source_ip`](super::Condition::source_ip).
#[derive(Clone, Debug)]
pub struct SourceIp(Box<[Block]>);

#[derive(Clone, Debug)]
struct Block {
    /// As the user wrote it.
    text: String,
    net: Option<IpNet>,
}

impl SourceIp {
    pub(super) fn new<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        let block = |value: V| {
            let text = value.into();
            let net = text.parse().ok().map(canonical);
            Block { text, net }
        };
        Self(values.into_iter().map(block).collect())
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> Result<bool, Undecided> {
        let client = subject.client().ok_or(Undecided::NoPeer)?;
        Ok(self.0.iter().filter_map(|block| block.net.as_ref()).any(|net| net.contains(&client)))
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        subject.client().map(|client| client.to_string())
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.0.is_empty() {
            faults.missing("source-ip", "at least one value");
        }
        for block in self.0.iter().filter(|block| block.net.is_none()) {
            let expected =
                "an address and the length of its prefix, as in 10.0.0.0/8 or 2001:db8::/32";
            faults.add("source-ip", &*block.text, expected);
        }
    }
}

/// A block of mapped IPv4 addresses is one of IPv4, since clients' addresses are told so.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(mapped) = net else { return net };
    let (IpAddr::V4(address), Some(length)) =
        (net.addr().to_canonical(), mapped.prefix_len().checked_sub(96))
    else {
        return net;
    };
    Ipv4Net::new(address, length).map_or(net, IpNet::V4)
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
    fn a_block_holds_the_addresses_it_says() {
        let check = |block: &str, client: &str, expected: bool| {
            let request = Request::new(());
            let peer = Peer::new(client.parse().unwrap());
            let subject = Subject::new(&Head::of(&request, Some(&peer)));
            let verdict = SourceIp::new([block]).test(&subject).unwrap();
            assert_eq!(verdict, expected, "{block} of {client}");
        };
        check("10.0.0.0/8", "10.255.0.1:1", true);
        check("10.0.0.0/8", "11.0.0.1:1", false);
        check("10.1.2.3/8", "10.9.9.9:1", true);
        check("0.0.0.0/0", "[2001:db8::1]:1", false);
        check("2001:db8::/32", "[2001:db8::1]:1", true);
        // One address, whether it is told as IPv4 or as IPv4 mapped into IPv6.
        check("10.0.0.0/8", "[::ffff:10.0.0.1]:1", true);
        check("::ffff:10.0.0.0/104", "10.0.0.1:1", true);
        check("::ffff:10.0.0.0/104", "11.0.0.1:1", false);
    }
}
