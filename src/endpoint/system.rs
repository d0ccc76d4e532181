//! What the operating system's errors say: in words, and whether it is this machine that lacks
//! something.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

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

/// Says what this machine has none left of, if that is why nothing came about; `has_source` tells
/// whether it has an address of its own from which the other side can be reached.
pub(super) fn lack(error: &io::Error, has_source: impl FnOnce() -> bool) -> Option<&'static str> {
    match error.raw_os_error() {
        // EMFILE and ENFILE, which are of no kind: all that the process may have, or that there are.
        Some(24 | 23) if cfg!(unix) => Some("local_descriptors"),
        // A machine without IPv6 says the same of each address of it, and names often have one.
        _ if error.kind() == io::ErrorKind::AddrNotAvailable && has_source() => Some("local_port"),
        _ => None,
    }
}

/// Tells whether this machine has an address of its own from which the other can be reached. UDP's ports
/// are not TCP's, and nothing is sent.
pub(super) fn has_source(address: SocketAddr) -> bool {
    let own: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let connected = UdpSocket::bind(own).and_then(|socket| socket.connect(address));
    !connected.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_lack_of_this_machine_is_told_from_what_is_wrong_with_the_other() {
        let check = |number, has_source: bool, expected: Option<&str>| {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(lack(&error, || has_source), expected, "{error}");
        };
        check(24, false, Some("local_descriptors"));
        check(23, false, Some("local_descriptors"));
        check(99, true, Some("local_port"));
        check(99, false, None);
        check(111, true, None);
        check(113, true, None);
        assert_eq!(lack(&io::Error::other("Temporary failure"), || true), None);
    }

    #[test]
    fn this_machine_can_reach_itself() {
        assert!(has_source((Ipv4Addr::LOCALHOST, 1).into()));
    }
}
