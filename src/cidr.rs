//! A block of addresses as people write it: which rules ask for, and which proxies may lie in.
//!
//! What follows from an address lying in one is decided by whoever holds the block.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net};

/// A block of IP addresses, or one address.
///
/// It is read from `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.1` or `2001:db8::1`; what stands behind
/// the prefix is of no account. IPv4 addresses mapped into IPv6 count as IPv4.
///
/// # Examples
///
/// ```
/// use pointsman::cidr::Cidr;
///
/// let block: Cidr = "10.0.0.0/8".parse().unwrap();
/// assert!(block.contains("10.1.2.3".parse().unwrap()));
/// assert!(block.contains("::ffff:10.1.2.3".parse().unwrap()));
/// assert!("10.0.0.0/33".parse::<Cidr>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    /// Tells whether an address lies in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let block = text.parse().map_err(|_| InvalidCidr(text.to_owned()))?;
        Ok(Self(canonical(block)))
    }
}

/// A block of mapped IPv4 addresses is one of IPv4, since clients' addresses are told so.
fn canonical(block: IpNet) -> IpNet {
    let IpNet::V6(mapped) = block else { return block };
    let (IpAddr::V4(address), Some(length)) =
        (block.addr().to_canonical(), mapped.prefix_len().checked_sub(96))
    else {
        return block;
    };
    Ipv4Net::new(address, length).map_or(block, IpNet::V4)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no block of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a block of addresses: {0:?}, expected as in 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")]
pub struct InvalidCidr(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_the_addresses_it_says() {
        let check = |block: &str, address: &str, expected: bool| {
            let holds = block.parse::<Cidr>().unwrap().contains(address.parse().unwrap());
            assert_eq!(holds, expected, "{block} of {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.1.2.3/8", "10.9.9.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8::1", true);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("2001:db8::1", "2001:db8::1", true);
        check("2001:db8::1", "2001:db8::2", false);
        // One address, whether it is told as IPv4 or as IPv4 mapped into IPv6.
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("::ffff:10.0.0.0/104", "10.0.0.1", true);
        check("::ffff:10.0.0.0/104", "11.0.0.1", false);
        check("::ffff:10.0.0.1", "10.0.0.1", true);
    }

    #[test]
    fn what_is_no_block_is_refused_with_what_is_one() {
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "::/129", "a.com", " 10.0.0.1", "*"]
        {
            assert_eq!(
                text.parse::<Cidr>().unwrap_err().to_string(),
                format!(
                    "not a block of addresses: {text:?}, expected as in 10.0.0.0/8, \
                     2001:db8::/32 or 192.0.2.1"
                )
            );
        }
    }
}
