//! Who the client behind a trusted proxy is: the one place that rules, sessions, targets and logs
//! share.
//!
//! Which proxies are trusted is the user's word, in `options.rs`.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use super::{
    introduction::{X_FORWARDED_FOR, X_FORWARDED_PORT, X_FORWARDED_PROTO},
    list,
};
use crate::{
    cidr::Cidr,
    grammar,
    head::{Head, Peer},
};

/// How many addresses of X-Forwarded-For are looked at; as many as ALB takes.
const LOOK_BACK_MAX: usize = 30;

/// Returns the peer that speaks for the request: the one given or, if that is a trusted proxy, the
/// client it speaks for.
///
/// X-Forwarded-For is read from its end, since only what trusted proxies appended is known to be true:
/// the first address that is not one of theirs is the client's. What is no address, and the 31st
/// address, stop the walk at the one before it. X-Forwarded-Proto and X-Forwarded-Port count if they
/// are valid; of a list the last member does, the one that the proxy itself wrote. A proxy that tells
/// the protocol without a port means the port in Host, else the protocol's own.
pub(super) fn believe(mut peer: Peer, head: &Head<'_>, trusted: &[Cidr]) -> Peer {
    if !peer.is_trusted_proxy() || peer.is_forwarded() {
        return peer;
    }
    let https = from_the_last(head.headers, &X_FORWARDED_PROTO).next().and_then(is_https);
    let port = from_the_last(head.headers, &X_FORWARDED_PORT).next().and_then(as_port);
    let port = port.or_else(|| {
        let own = if https? { 443 } else { 80 };
        Some(head.port().unwrap_or(own))
    });
    peer.set_told(client(peer.socket(), head.headers, trusted), https, port);
    peer
}

/// Tells whether an address is one of a trusted proxy.
pub(super) fn is_trusted(address: IpAddr, trusted: &[Cidr]) -> bool {
    trusted.iter().any(|block| block.contains(address))
}

fn client(socket: SocketAddr, headers: &HeaderMap, trusted: &[Cidr]) -> SocketAddr {
    let mut client = socket;
    for member in from_the_last(headers, &X_FORWARDED_FOR).take(LOOK_BACK_MAX) {
        let Some(before) = as_address(member) else { break };
        client = before;
        if !is_trusted(client.ip(), trusted) {
            break;
        }
    }
    client
}

/// Returns the members of a list from the last to the first.
fn from_the_last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // What is no text is no member that anybody here could read; the others are still what they are.
    list::elements(headers, name).rev().map(|member| str::from_utf8(member).unwrap_or("?"))
}

/// Reads an address with or without a port and, of IPv6, with or without brackets.
fn as_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    Some(SocketAddr::new(bare.parse().ok()?, 0))
}

fn is_https(protocol: &str) -> Option<bool> {
    let https = protocol.eq_ignore_ascii_case("https");
    (https || protocol.eq_ignore_ascii_case("http")).then_some(https)
}

fn as_port(text: &str) -> Option<u16> {
    grammar::number(text).filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// What a proxy at 10.0.0.1 makes us believe: client, protocol and port.
    fn told(trusted: &[&str], fields: &[(&'static str, &str)]) -> (String, &'static str, u16) {
        let trusted = trusted.iter().map(|block| block.parse().unwrap()).collect::<Vec<Cidr>>();
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let mut peer = Peer::new(([10, 0, 0, 1], 5000).into()).local(([10, 0, 0, 9], 8080).into());
        peer.set_trusted(is_trusted(peer.socket().ip(), &trusted));
        let believed = believe(peer, &Head::of(&request, None), &trusted);
        assert_eq!(believed.socket(), peer.socket());
        // To ask twice is to ask once.
        assert_eq!(believe(believed, &Head::of(&request, None), &trusted), believed);
        (believed.client().to_string(), believed.protocol(), believed.port().unwrap())
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxys() {
        let check = |chain: &[&str], expected: &str| {
            let fields = chain.iter().map(|line| ("x-forwarded-for", *line)).collect::<Vec<_>>();
            let trusted = ["10.0.0.0/8", "2001:db8:a::/48", "192.0.2.9"];
            assert_eq!(told(&trusted, &fields), (expected.into(), "http", 8080), "{chain:?}");
        };
        check(&[], "10.0.0.1:5000");
        check(&[""], "10.0.0.1:5000");
        check(&["192.0.2.1"], "192.0.2.1:0");
        check(&["192.0.2.1:1234"], "192.0.2.1:1234");
        check(&["2001:db8::1"], "[2001:db8::1]:0");
        check(&["[2001:db8::1]"], "[2001:db8::1]:0");
        check(&["[2001:db8::1]:1234"], "[2001:db8::1]:1234");
        // What stands before it is the client's own word.
        check(&["127.0.0.1, 10.0.0.5, 192.0.2.1"], "192.0.2.1:0");
        check(&["192.0.2.1, 10.0.0.2,10.0.0.3 ,  2001:db8:a::1, 192.0.2.9:1"], "192.0.2.1:0");
        check(&["192.0.2.1, ::ffff:10.0.0.2"], "192.0.2.1:0");
        check(&["203.0.113.1", "192.0.2.1", "10.0.0.2", "10.0.0.3"], "192.0.2.1:0");
        check(&["192.0.2.1, , 10.0.0.2,"], "192.0.2.1:0");
        // All are trusted: the farthest.
        check(&["10.0.0.3, 10.0.0.2"], "10.0.0.3:0");
        // What is no address says nothing, nor does what stands before it.
        for garbage in
            ["unknown", "1.2.3", "_hidden", "[::1", "::1]", "1.2.3.4:", "a.com", "caf\u{e9}"]
        {
            check(&[&format!("192.0.2.1, {garbage}")], "10.0.0.1:5000");
            check(&[&format!("192.0.2.1, {garbage}, 10.0.0.2")], "10.0.0.2:0");
            check(&[&format!("{garbage}, 192.0.2.1")], "192.0.2.1:0");
        }
    }

    #[test]
    fn who_hides_behind_more_addresses_than_are_looked_at_is_not_found() {
        let chain = |proxies: usize| {
            let chain = ["192.0.2.1"].into_iter().chain(vec!["10.0.0.2"; proxies]);
            told(&["10.0.0.0/8"], &[("x-forwarded-for", &chain.collect::<Vec<_>>().join(","))]).0
        };
        assert_eq!(chain(LOOK_BACK_MAX - 1), "192.0.2.1:0");
        assert_eq!(chain(LOOK_BACK_MAX), "10.0.0.2:0");
    }

    #[test]
    fn what_a_balancer_in_front_has_found_out_stands() {
        let mut request = Request::new(());
        request.headers_mut().insert("x-forwarded-for", "192.0.2.1, 10.0.0.1".parse().unwrap());
        let mut peer = Peer::new(([10, 0, 0, 1], 5000).into());
        peer.set_trusted(true);
        peer.set_told(([192, 0, 2, 1], 0).into(), Some(true), Some(8443));
        peer.mark_forwarded();
        assert_eq!(believe(peer, &Head::of(&request, None), &[]), peer);
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
        ];
        let nothing = ("10.0.0.1:5000".to_owned(), "http", 8080);
        assert_eq!(told(&[], &fields), nothing);
        assert_eq!(told(&["10.0.0.2", "192.0.2.0/24"], &fields), nothing);
        assert_eq!(told(&["10.0.0.1"], &fields), ("192.0.2.1:0".to_owned(), "https", 443));
    }

    #[test]
    fn protocol_and_port_of_a_trusted_proxy_stand_if_they_are_valid() {
        let check = |proto: &[&str], port: &[&str], host: &str, protocol: &str, number: u16| {
            let protos = proto.iter().map(|proto| ("x-forwarded-proto", *proto));
            let ports = port.iter().map(|port| ("x-forwarded-port", *port));
            let fields = protos.chain(ports).chain([("host", host)]).collect::<Vec<_>>();
            let (_, told_protocol, told_port) = told(&["10.0.0.1"], &fields);
            assert_eq!((told_protocol, told_port), (protocol, number), "{fields:?}");
        };
        check(&["https"], &["8443"], "a", "https", 8443);
        check(&["HTTPS"], &["443"], "a", "https", 443);
        check(&["http"], &["80"], "a", "http", 80);
        check(&[], &["81"], "a", "http", 81);
        // Without a port it is that of the Host, else the protocol's own.
        check(&["https"], &[], "a", "https", 443);
        check(&["http"], &[], "a", "http", 80);
        check(&["https"], &[], "a:8443", "https", 8443);
        check(&["https"], &["x"], "a", "https", 443);
        // The last is what the proxy wrote itself.
        check(&["http, https"], &["1, 443"], "a", "https", 443);
        check(&["https", "http"], &["443", "80"], "a", "http", 80);
        for garbage in ["", "ftp", "https:", "h2", "on", "https;http"] {
            check(&[garbage], &[], "a:1", "http", 8080);
        }
        for garbage in ["", "0", "65536", "+80", "-1", "8o", "80 80"] {
            check(&[], &[garbage], "a:1", "http", 8080);
        }
    }
}
