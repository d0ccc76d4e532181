//! X-Forwarded-For, -Proto and -Port: what targets are told of the client, as ALB tells it.

use std::{
    io::{Cursor, Write},
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    list,
    noted::Noted,
    options::{ForwardedFor, HttpOptions},
};
use crate::head::Peer;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What is written of a connection: the same for all its requests.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    socket: SocketAddr,
    /// The address of whoever opened it, with its port if that is asked for.
    address: HeaderValue,
    /// The port that was connected to, in two forms.
    port: Option<(u16, HeaderValue)>,
}

impl Introduction {
    pub(crate) fn of(peer: &Peer, options: &HttpOptions) -> Self {
        let socket = peer.socket();
        let with_port = options.forwarded_for_port.then(|| socket.port());
        let address = of_address(socket.ip().to_canonical(), with_port);
        Self { socket, address, port: peer.port().map(|port| (port, of_port(port))) }
    }

    /// Tells of the client's address as asked, and overwrites protocol and port, as ALB does.
    ///
    /// What is appended is the address of whoever opened the connection, also if a proxy speaks for
    /// somebody else, since that one is in the list already.
    pub(super) fn write(
        &self,
        headers: &mut HeaderMap,
        peer: &Peer,
        mode: ForwardedFor,
        noted: Noted,
    ) {
        match mode {
            ForwardedFor::Append if noted.forwarded_for => {
                list::append(headers, X_FORWARDED_FOR, &self.address);
            }
            ForwardedFor::Append => {
                headers.insert(X_FORWARDED_FOR, self.address.clone());
            }
            ForwardedFor::Preserve => {}
            ForwardedFor::Remove => _ = headers.remove(X_FORWARDED_FOR),
        }
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(peer.protocol()));
        let port = peer.port().map(|port| match &self.port {
            Some((known, value)) if *known == port => value.clone(),
            _ => of_port(port),
        });
        match port {
            Some(port) => _ = headers.insert(X_FORWARDED_PORT, port),
            None => _ = headers.remove(X_FORWARDED_PORT),
        }
    }

    /// Tells whether it is that of the peer's connection.
    pub(super) fn is_of(&self, peer: &Peer) -> bool {
        self.socket == peer.socket()
    }
}

/// Removes what nobody vouches for: every X-Forwarded-*, which tells of the client or of what it asked
/// for.
pub(super) fn disown(headers: &mut HeaderMap) {
    let told = headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-"));
    for name in told.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// An address is at most 45 characters, 53 with brackets and port, all of which a field may have.
fn of_address(ip: IpAddr, port: Option<u16>) -> HeaderValue {
    let mut text = Cursor::new([0; 53]);
    _ = match port {
        Some(port) => write!(text, "{}", SocketAddr::new(ip, port)),
        None => write!(text, "{ip}"),
    };
    let length = text.position() as usize;
    // One allocation, also for the copies of the request.
    let text = Bytes::from_owner(text.into_inner()).slice(..length);
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn of_port(port: u16) -> HeaderValue {
    match port {
        // What most listeners have needs no allocation.
        80 => HeaderValue::from_static("80"),
        443 => HeaderValue::from_static("443"),
        port => HeaderValue::from(port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a target gets of what came, by name.
    fn check(
        options: &HttpOptions,
        peer: Peer,
        received: &[(&'static str, &str)],
        expected: [Option<&str>; 3],
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in received {
            headers.append(*name, value.parse().unwrap());
        }
        let noted = Noted::of(&headers);
        let mode = options.forwarded_for;
        Introduction::of(&peer, options).write(&mut headers, &peer, mode, noted);
        let names = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_PORT];
        let found = names.map(|name| {
            let mut values = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
            let value = values.next();
            assert_eq!(values.next(), None, "one line of each");
            value
        });
        assert_eq!(found, expected, "{received:?} from {peer:?}");
    }

    fn at(client: &str) -> Peer {
        Peer::new(client.parse().unwrap())
    }

    const V4: &str = "192.0.2.1:50000";
    const V6: &str = "[2001:db8::1]:50000";

    #[test]
    fn vector_26_the_client_is_appended_to_x_forwarded_for() {
        let check = |client: &str, received: &[&str], expected: &str| {
            let received =
                received.iter().map(|value| ("x-forwarded-for", *value)).collect::<Vec<_>>();
            let expected = [Some(expected), Some("http"), None];
            check(&HttpOptions::new(), at(client), &received, expected);
        };
        check(V4, &[], "192.0.2.1");
        check(V4, &["a, b"], "a, b, 192.0.2.1");
        check(V4, &["a", "b, c", "d"], "a, b, c, d, 192.0.2.1");
        check(V4, &["", "a"], "a, 192.0.2.1");
        check(V6, &["a"], "a, 2001:db8::1");
        check("[::ffff:192.0.2.1]:1", &[], "192.0.2.1");
    }

    #[test]
    fn vector_27_nothing_is_made_where_nothing_came_if_it_is_to_be_preserved() {
        let options = HttpOptions::new().forwarded_for(ForwardedFor::Preserve);
        for options in [options.clone(), options.forwarded_for_port(true)] {
            check(&options, at(V4), &[], [None, Some("http"), None]);
            let received = [("x-forwarded-for", "a , b")];
            check(&options, at(V4), &received, [Some("a , b"), Some("http"), None]);
        }
    }

    #[test]
    fn x_forwarded_for_is_removed_if_asked() {
        let options = HttpOptions::new().forwarded_for(ForwardedFor::Remove);
        for options in [options.clone(), options.forwarded_for_port(true)] {
            check(&options, at(V4), &[], [None, Some("http"), None]);
            let received = [("x-forwarded-for", "a"), ("x-forwarded-for", "b")];
            check(&options, at(V4), &received, [None, Some("http"), None]);
        }
    }

    #[test]
    fn vector_28_an_ipv6_address_is_in_brackets_if_its_port_is_told() {
        let check = |client: &str, received: &[_], expected: &str| {
            let options = HttpOptions::new().forwarded_for_port(true);
            check(&options, at(client), received, [Some(expected), Some("http"), None]);
        };
        check(V4, &[], "192.0.2.1:50000");
        check(V4, &[("x-forwarded-for", "a")], "a, 192.0.2.1:50000");
        check(V6, &[], "[2001:db8::1]:50000");
        let longest = "[1111:2222:3333:4444:5555:6666:7777:8888]:65535";
        check(longest, &[], longest);
    }

    #[test]
    fn protocol_and_port_are_those_of_the_clients_connection() {
        let check_port = |received: &[_], https: bool, port: u16, proto: &str, expected: &str| {
            let peer = at(V4).https(https).local(([10, 0, 0, 1], port).into());
            let expected = [Some("192.0.2.1"), Some(proto), Some(expected)];
            check(&HttpOptions::new(), peer, received, expected);
        };
        check_port(&[], false, 80, "http", "80");
        check_port(&[], true, 443, "https", "443");
        check_port(&[], true, 8443, "https", "8443");
        check_port(&[], false, 65535, "http", "65535");
        let forged = [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-port", "2"),
        ];
        check_port(&forged, false, 8080, "http", "8080");
        // Nobody told the port.
        let expected = [Some("192.0.2.1"), Some("http"), None];
        check(&HttpOptions::new(), at(V4), &forged, expected);
    }

    #[test]
    fn every_address_is_written_out() {
        for address in ["0.0.0.0", "255.255.255.255", "1111:2222:3333:4444:5555:6666:7777:8888"] {
            let peer = Peer::new((address.parse::<IpAddr>().unwrap(), 1).into());
            check(&HttpOptions::new(), peer, &[], [Some(address), Some("http"), None]);
        }
    }

    #[test]
    fn the_target_is_told_what_a_trusted_proxy_says_and_that_it_was_the_proxy() {
        let mut peer = at("10.0.0.1:5000").local(([10, 0, 0, 9], 80).into());
        let known = Introduction::of(&peer, &HttpOptions::new());
        peer.set_told(V4.parse().unwrap(), Some(true), Some(8443));
        let mut headers = HeaderMap::new();
        headers.append(X_FORWARDED_FOR, HeaderValue::from_static("192.0.2.1"));
        assert!(known.is_of(&peer));
        let noted = Noted::of(&headers);
        known.write(&mut headers, &peer, ForwardedFor::Append, noted);
        assert_eq!(headers[X_FORWARDED_FOR], "192.0.2.1, 10.0.0.1");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
        assert_eq!(headers[X_FORWARDED_PORT], "8443");
    }
}
