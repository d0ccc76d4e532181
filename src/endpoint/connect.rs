//! From an address to an open stream: looking up, trying each address, within one deadline.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};

use super::address::Address;
use crate::error::{Error, Kind};

/// Opens a stream. Nothing was sent when this fails.
pub(super) async fn connect(address: &Address, timeout: Duration) -> Result<TcpStream, Error> {
    let deadline = Instant::now() + timeout;
    let late = || {
        Error::new(
            Kind::ConnectTimeout,
            format!("connect to {address} timed out after {timeout:?}"),
        )
    };
    let failed = |error: &io::Error| {
        let text = format!("connect to {address}: {}", plain(error));
        let failed = Error::new(Kind::Connect, text);
        match error.kind() {
            io::ErrorKind::ConnectionRefused => failed.with_reason("connection_refused"),
            _ => failed,
        }
    };
    let stream = match address {
        Address::Socket(socket) => open(*socket, deadline).await.map_err(|error| (error, late())),
        Address::Host(name, port) => {
            let found = match timeout_at(deadline, lookup_host((&**name, *port))).await {
                Ok(Ok(found)) => found.collect::<Vec<_>>(),
                Ok(Err(error)) => {
                    let text = format!("look up {name}: {}", plain(&error));
                    return Err(Error::new(Kind::Connect, text).with_reason("dns_error"));
                }
                Err(_) => {
                    let text = format!("look up {name} timed out after {timeout:?}");
                    return Err(Error::new(Kind::ConnectTimeout, text).with_reason("dns_timeout"));
                }
            };
            any(&found, deadline).await.map_err(|error| (error, late()))
        }
        Address::InProcess(_) => {
            return Err(Error::new(Kind::Connect, "a service in this process has no address"));
        }
    };
    let stream = stream.map_err(|(error, late)| match error {
        Some(error) => failed(&error),
        None => late,
    })?;
    // A request is one small write; waiting for more would only delay it.
    stream.set_nodelay(true).map_err(|error| failed(&error))?;
    Ok(stream)
}

/// Opens a stream to one address; the error is `None` when time ran out.
async fn open(address: SocketAddr, deadline: Instant) -> Result<TcpStream, Option<io::Error>> {
    match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(Some),
        Err(_) => Err(None),
    }
}

/// Tries each address, each with its share of the time that is left.
async fn any(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, Option<io::Error>> {
    let mut error = Some(io::Error::new(io::ErrorKind::NotFound, "no address"));
    for (tried, address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / left;
        match open(*address, now + share).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

/// Says what happened without the operating system's number: in the words of its kind, which are the
/// same everywhere, or else in the system's own.
pub(super) fn plain(error: &io::Error) -> String {
    // Some of the system's errors are of no kind either, such as a lack of descriptors. They share
    // one that cannot be named, but a number that no system uses has it, too.
    let kindless = io::Error::from_raw_os_error(i32::MAX).kind();
    match error.raw_os_error() {
        // The resolver's own words; its errors are of no kind.
        None => error.to_string(),
        Some(number) if error.kind() == kindless => {
            let text = error.to_string();
            let words = text.strip_suffix(&format!(" (os error {number})")).unwrap_or(&text);
            let mut characters = words.chars();
            let first = characters.next().map(|first| first.to_ascii_lowercase());
            first.into_iter().chain(characters).collect()
        }
        Some(_) => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn every_failure_is_told_in_words() {
        let check = |number, expected: &str| {
            assert_eq!(plain(&io::Error::from_raw_os_error(number)), expected);
        };
        check(111, "connection refused");
        check(113, "host unreachable");
        check(99, "address not available");
        // These have no kind.
        check(24, "too many open files");
        check(23, "too many open files in system");
        check(105, "no buffer space available");
        assert_eq!(plain(&io::Error::other("Temporary failure")), "Temporary failure");
    }
}
