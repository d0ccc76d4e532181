//! From an address to an open stream: looking up, trying each address, within one deadline.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    address::Address,
    resolver::{Resolver, Unknown},
    system,
};
use crate::error::{Error, Kind};

/// Opens a stream; `names` knows the addresses of the host, if it has a name. Nothing was sent when
/// this fails.
pub(super) async fn connect(
    address: &Address,
    names: Option<&Resolver>,
    timeout: Duration,
) -> Result<TcpStream, Error> {
    let now = Instant::now();
    let deadline = now + timeout;
    let stream = match (address, names) {
        (Address::Socket(socket), _) => open(*socket, deadline).await,
        (Address::Host(name, port), Some(names)) => {
            let found = names.addresses(now, timeout).await;
            let found = found.map_err(|unknown| not_found(name, unknown, timeout))?;
            any(&found, *port, deadline).await
        }
        _ => return Err(Error::new(Kind::Connect, "a service in this process has no address")),
    };
    let failed = |unopened| not_opened(address, unopened, timeout);
    let stream = stream.map_err(failed)?;
    // A request is one small write; waiting for more would only delay it.
    stream.set_nodelay(true).map_err(|error| failed(Unopened::Failed(error)))?;
    Ok(stream)
}

/// Why a stream was not opened.
enum Unopened {
    Late,
    Failed(io::Error),
    /// This machine has nothing left to open it with.
    Lacking(&'static str, io::Error),
}

/// Opens a stream to one address.
async fn open(address: SocketAddr, deadline: Instant) -> Result<TcpStream, Unopened> {
    match timeout_at(deadline, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => match system::lack(&error, || system::has_source(address)) {
            Some(lack) => Err(Unopened::Lacking(lack, error)),
            None => Err(Unopened::Failed(error)),
        },
        Err(_) => Err(Unopened::Late),
    }
}

/// Tries each address, each with its share of the time that is left.
async fn any(
    addresses: &[SocketAddr],
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, Unopened> {
    let no_address = io::Error::new(io::ErrorKind::NotFound, "no address");
    let mut unopened = Unopened::Failed(no_address);
    for (tried, address) in addresses.iter().enumerate() {
        let mut address = *address;
        address.set_port(port);
        let now = Instant::now();
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / left;
        match open(address, now + share).await {
            Ok(stream) => return Ok(stream),
            Err(failed) => unopened = failed,
        }
    }
    Err(unopened)
}

fn not_found(name: &str, unknown: Unknown, timeout: Duration) -> Error {
    let error = match unknown {
        Unknown::Failed(error) => error,
        Unknown::Late => {
            let text = format!("look up {name} timed out after {timeout:?}");
            return Error::new(Kind::ConnectTimeout, text).with_reason("dns_timeout");
        }
    };
    let text = format!("look up {name}: {}", system::plain(&error));
    match system::lack(&error, || false) {
        Some(lack) => Error::new(Kind::Exhausted, text).with_reason(lack),
        None => Error::new(Kind::Connect, text).with_reason("dns_error"),
    }
}

fn not_opened(address: &Address, unopened: Unopened, timeout: Duration) -> Error {
    let text = |error| format!("connect to {address}: {}", system::plain(error));
    match unopened {
        Unopened::Late => {
            let text = format!("connect to {address} timed out after {timeout:?}");
            Error::new(Kind::ConnectTimeout, text)
        }
        Unopened::Lacking(lack, error) => {
            Error::new(Kind::Exhausted, text(&error)).with_reason(lack)
        }
        Unopened::Failed(error) => {
            let failed = Error::new(Kind::Connect, text(&error));
            match error.kind() {
                io::ErrorKind::ConnectionRefused => failed.with_reason("connection_refused"),
                _ => failed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_said_and_whose_fault_it_is() {
        let check = |error: Error, kind: Kind, status: u16, reason: &str, text: &str| {
            let is = (error.kind(), error.status().as_u16(), error.reason());
            assert_eq!(is, (kind, status, reason));
            assert!(error.to_string().ends_with(text), "{error}");
        };
        let address = "10.0.0.7:80".parse().unwrap();
        let opened = |unopened| not_opened(&address, unopened, Duration::from_secs(3));
        let found = |unknown| not_found("app", unknown, Duration::from_secs(3));
        let error = |kind| io::Error::from(kind);

        let refused = Unopened::Failed(error(io::ErrorKind::ConnectionRefused));
        let text = "connect to 10.0.0.7:80: connection refused";
        check(opened(refused), Kind::Connect, 502, "connection_refused", text);
        let text = "connect to 10.0.0.7:80 timed out after 3s";
        check(opened(Unopened::Late), Kind::ConnectTimeout, 504, "connection_timeout", text);
        let lacking = Unopened::Lacking("local_port", error(io::ErrorKind::AddrNotAvailable));
        let text = "connect to 10.0.0.7:80: address not available";
        check(opened(lacking), Kind::Exhausted, 503, "local_port", text);

        let failed = Unknown::Failed(io::Error::other("Temporary failure").into());
        let text = "look up app: Temporary failure";
        check(found(failed), Kind::Connect, 502, "dns_error", text);
        let text = "look up app timed out after 3s";
        check(found(Unknown::Late), Kind::ConnectTimeout, 504, "dns_timeout", text);
        #[cfg(target_os = "linux")]
        {
            let failed = Unknown::Failed(io::Error::from_raw_os_error(24).into());
            let text = "look up app: too many open files";
            check(found(failed), Kind::Exhausted, 503, "local_descriptors", text);
        }
    }
}
