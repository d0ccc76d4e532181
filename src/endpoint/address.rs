//! Where a target is: an address, a name to be looked up, or a service in this process.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc};

use super::local::InProcess;

/// Where a target is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Socket(SocketAddr),
    /// A host name and a port. It is looked up for each new connection, at most once a second; while that
    /// fails, the addresses it had last are used.
    Host(Arc<str>, u16),
    /// A service in this process.
    InProcess(InProcess),
}

/// An address is `host:port` or `ip:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid address {0:?}: expected HOST:PORT or IP:PORT, port 1 to 65535")]
pub struct InvalidAddress(String);

impl Address {
    /// Returns the port, which a service in this process has none of.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Socket(address) => Some(address.port()),
            Self::Host(_, port) => Some(*port),
            Self::InProcess(_) => None,
        }
    }

    /// Returns the same place at another port.
    #[must_use]
    pub fn at_port(&self, port: u16) -> Self {
        match self {
            Self::Socket(address) => Self::Socket(SocketAddr::new(address.ip(), port)),
            Self::Host(name, _) => Self::Host(Arc::clone(name), port),
            Self::InProcess(service) => Self::InProcess(service.clone()),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress(text.to_owned());
        let address = match text.parse::<SocketAddr>() {
            Ok(address) => Self::Socket(address),
            Err(_) => {
                let (name, port) = text.rsplit_once(':').ok_or_else(invalid)?;
                let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                // A name has at most 253 octets (RFC 1035 §2.3.4, less the root and its length).
                if name.is_empty() || name.len() > 253 || !name.chars().all(allowed) {
                    return Err(invalid());
                }
                Self::Host(name.into(), port.parse().map_err(|_| invalid())?)
            }
        };
        if address.port() == Some(0) { Err(invalid()) } else { Ok(address) }
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Socket(one), Self::Socket(two)) => one == two,
            (Self::Host(one, one_port), Self::Host(two, two_port)) => {
                one_port == two_port && one.eq_ignore_ascii_case(two)
            }
            (Self::InProcess(one), Self::InProcess(two)) => one.is(two),
            _ => false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Host(name, port) => write!(f, "{name}:{port}"),
            Self::InProcess(_) => f.write_str("in-process"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_or_a_name_with_a_port() {
        let check = |text: &str, valid: bool| {
            let address = text.parse::<Address>();
            assert_eq!(address.is_ok(), valid, "{text}: {address:?}");
            if let Ok(address) = address {
                assert_eq!(address.to_string(), text);
            }
        };
        check("127.0.0.1:80", true);
        check("[::1]:80", true);
        check("app:3000", true);
        check("a-b.example.com:1", true);
        check("app", false);
        check(":80", false);
        check("app:0", false);
        check("127.0.0.1:0", false);
        check("app:65536", false);
        check("http://app:80", false);
        check("a b:80", false);
    }
}
