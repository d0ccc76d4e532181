//! Whether an authority is one: `uri-host [ ":" port ]` of RFC 3986 §3.2, without user information.
//!
//! Stricter than the RFC in three points, as servers are: there must be a host, an address in brackets
//! is IPv6 without a zone, and a port is one that TCP has.

use std::{net::Ipv6Addr, str};

/// Tells whether these bytes are a host, and maybe a port.
pub(super) fn is_valid(authority: &[u8]) -> bool {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let mut parts = rest.splitn(2, |&byte| byte == b']');
        let (address, rest) = (parts.next(), parts.next());
        let address = address.and_then(|address| str::from_utf8(address).ok());
        return address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
            && rest.is_some_and(|rest| rest.is_empty() || is_colon_and_port(rest));
    }
    // Nearly all names are plain to their end.
    let plain = authority.iter().position(|byte| !is_plain(byte)).unwrap_or(authority.len());
    if plain == authority.len() {
        return !authority.is_empty();
    }
    let colon = authority.iter().position(|&byte| byte == b':').unwrap_or(authority.len());
    let Some((host, port)) = authority.split_at_checked(colon) else { return false };
    (plain == colon && colon > 0 || is_name(host)) && (port.is_empty() || is_colon_and_port(port))
}

/// A registered name or an IPv4 address: RFC 3986 §3.2.2.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name.iter();
    while let Some(&byte) = rest.next() {
        let valid = match byte {
            b'%' => {
                let mut is_digit = || rest.next().is_some_and(u8::is_ascii_hexdigit);
                is_digit() && is_digit()
            }
            b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !valid {
            return false;
        }
    }
    !name.is_empty()
}

/// Tells whether a byte is one of those that nearly all names are of alone, by a table.
fn is_plain(byte: &u8) -> bool {
    #[expect(
        clippy::indexing_slicing,
        reason = "a table made by the compiler, which has nothing else"
    )]
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = 0;
        while byte < plain.len() {
            let is_alphanumeric = (byte as u8).is_ascii_alphanumeric();
            plain[byte] = is_alphanumeric || matches!(byte as u8, b'-' | b'.');
            byte += 1;
        }
        plain
    };
    PLAIN.get(usize::from(*byte)) == Some(&true)
}

/// A colon, and up to 65535 in digits or nothing.
fn is_colon_and_port(text: &[u8]) -> bool {
    let Some(port) = text.strip_prefix(b":") else { return false };
    let number = port.iter().try_fold(0_u32, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        Some(number * 10 + digit).filter(|number| *number <= u32::from(u16::MAX))
    });
    number.is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_authority_is_a_host_and_maybe_a_port() {
        let check = |authority: &str, valid| {
            assert_eq!(is_valid(authority.as_bytes()), valid, "{authority:?}");
        };
        for authority in [
            "a",
            "a.com",
            "A.COM.",
            "a.com:80",
            "a.com:",
            "a.com:65535",
            "a.com:00080",
            "a_b-c~d",
            "1.2.3.4",
            "1.2.3.4:80",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "a%2fb",
            "a,b",
            "*",
            "!$&'()*+,;=",
        ] {
            check(authority, true);
        }
        for authority in [
            "",
            ":",
            ":80",
            "a.com:65536",
            "a.com:99999999999999999999",
            "a.com:+1",
            "a.com: 80",
            "a.com:80:80",
            "user@a.com",
            "a b",
            " a",
            "a ",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\tb",
            "a\"",
            "<a>",
            "a|b",
            "a^b",
            "a`b",
            "{a}",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]a",
            "[::1]80",
            "[::1%25eth0]",
            "[v1.a]",
            "[1.2.3.4]",
            "[[::1]]",
            "a[::1]",
            "%",
            "%2",
            "%zz",
            "%a%00",
            "a%2",
            "caf\u{e9}",
            "a\0",
            "a\r\nb",
        ] {
            check(authority, false);
        }
    }

    /// The grammar as it is written, by splitting and comparing texts.
    fn naive(authority: &[u8]) -> bool {
        let Ok(text) = str::from_utf8(authority) else { return false };
        let (host, port) = match text.rfind(':') {
            Some(at) if !text[at..].contains(']') => (&text[..at], &text[at + 1..]),
            _ => (text, ""),
        };
        let port = port.is_empty()
            || port.chars().all(|c| "0123456789".contains(c))
                && port.trim_start_matches('0').len() <= 5
                && format!("0{port}").parse::<u128>().is_ok_and(|port| port < 65536);
        let host = if host.starts_with('[') && host.ends_with(']') && host.len() > 1 {
            host[1..host.len() - 1].parse::<Ipv6Addr>().is_ok()
        } else {
            let plain = "-._~!$&'()*+,;=";
            let mut left = host.to_owned();
            for high in "0123456789abcdefABCDEF".chars() {
                for low in "0123456789abcdefABCDEF".chars() {
                    // By what is no digit, so that it makes no escape of what stood before it.
                    left = left.replace(&format!("%{high}{low}"), "-");
                }
            }
            !left.is_empty() && left.chars().all(|c| c.is_ascii_alphanumeric() || plain.contains(c))
        };
        host && port
    }

    proptest! {
        #[test]
        fn what_is_valid_is_what_the_grammar_says(
            authority in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..12),
                "[a-z0-9:.%@/?# _\\[\\]-]{0,12}".prop_map(String::into_bytes),
                "(\\[[0-9a-f:.]{0,12}\\]|[a-z.%0-9]{0,8})(:[0-9]{0,7})?".prop_map(String::into_bytes),
            ]
        ) {
            prop_assert_eq!(is_valid(&authority), naive(&authority));
        }
    }
}
