//! Forwarded (RFC 7239): the standard's way to say what X-Forwarded-* say.

use http::{HeaderMap, HeaderValue, header};

use super::list;
use crate::head::Peer;

/// Appends who opened the connection, the client's protocol, and the Host as the client sent it.
pub(super) fn append(headers: &mut HeaderMap, peer: &Peer, with_port: bool) {
    let (socket, ip) = (peer.socket(), peer.socket().ip().to_canonical());
    // What has a colon is quoted, and IPv6 is in brackets (RFC 7239 §6).
    let node = match (ip.is_ipv6(), with_port) {
        (false, false) => format!("{ip}"),
        (false, true) => format!("\"{ip}:{}\"", socket.port()),
        (true, false) => format!("\"[{ip}]\""),
        (true, true) => format!("\"[{ip}]:{}\"", socket.port()),
    };
    let mut element = format!("for={node};proto={}", peer.protocol());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if let Some(host) = host.filter(|host| is_plain(host)) {
        element.push_str(";host=\"");
        element.push_str(host);
        element.push('"');
    }
    if let Ok(element) = HeaderValue::try_from(element) {
        list::append(headers, header::FORWARDED, &element);
    }
}

/// Tells whether a host can stand in quotes as it is.
fn is_plain(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    !host.is_empty() && host.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_appended_in_the_standards_form() {
        let check = |client: &str, port: bool, received: &[&str], host: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            for line in received {
                headers.append(header::FORWARDED, line.parse().unwrap());
            }
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            append(&mut headers, &Peer::new(client.parse().unwrap()).https(true), port);
            let lines = headers.get_all(header::FORWARDED).iter().collect::<Vec<_>>();
            assert_eq!(lines, [expected]);
        };
        let (v4, v6) = ("192.0.2.1:5000", "[2001:db8::1]:5000");
        check(v4, false, &[], "A.com", "for=192.0.2.1;proto=https;host=\"A.com\"");
        check(v4, true, &[], "a:81", "for=\"192.0.2.1:5000\";proto=https;host=\"a:81\"");
        check(v6, false, &[], "a", "for=\"[2001:db8::1]\";proto=https;host=\"a\"");
        check(v6, true, &[], "a", "for=\"[2001:db8::1]:5000\";proto=https;host=\"a\"");
        check("[::ffff:192.0.2.1]:1", false, &[], "", "for=192.0.2.1;proto=https");
        check(
            v4,
            false,
            &["for=a", "for=b, for=c"],
            "",
            "for=a, for=b, for=c, for=192.0.2.1;proto=https",
        );
        // Nothing of a host gets out of its quotes.
        for host in ["a\";for=evil", "a\\", "a b", "caf\u{e9}"] {
            check(v4, false, &[], host, "for=192.0.2.1;proto=https");
        }
    }

    #[test]
    fn behind_a_trusted_proxy_it_says_what_x_forwarded_say() {
        let mut peer = Peer::new(([10, 0, 0, 1], 5000).into());
        peer.set_told(([192, 0, 2, 1], 0).into(), Some(true), None);
        let mut headers = HeaderMap::new();
        append(&mut headers, &peer, false);
        assert_eq!(headers[header::FORWARDED], "for=10.0.0.1;proto=https");
    }
}
