//! Which fields a request has that a proxy does something about, told by one look at all names.
//!
//! A look-up costs more than a look, and most requests have none of them. What is done about each is
//! the affair of the files that it is noted for.

use http::{HeaderMap, HeaderName, header};

use super::{hop_by_hop, spoofed};

/// Which fields a request may have; what is not noted is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// What belongs to the connection.
    pub(super) hop_by_hop: bool,
    pub(super) te: bool,
    pub(super) upgrade: bool,
    pub(super) expect: bool,
    pub(super) cookie: bool,
    pub(super) forwarded_for: bool,
    /// What a client may have no right to say.
    pub(super) spoofed: bool,
}

impl Noted {
    /// Looks at the names of a head.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut noted = Self::default();
        let names = headers.keys().filter(|name| Self::may_count(name.as_str()));
        names.for_each(|name| noted.note(name));
        noted
    }

    /// Tells whether a name may be one that counts, here or for where a body ends: most are told by
    /// their first letter.
    #[inline]
    pub(super) fn may_count(name: &str) -> bool {
        match name.as_bytes().first() {
            Some(b'c' | b'e' | b'f' | b'h' | b'k' | b'p' | b't' | b'u' | b'x') => true,
            Some(b'a'..=b'z') => false,
            _ => true,
        }
    }

    /// Looks at a name.
    pub(super) fn note(&mut self, name: &HeaderName) {
        match *name {
            header::HOST | header::USER_AGENT => {}
            header::COOKIE => self.cookie = true,
            header::EXPECT => self.expect = true,
            header::CONNECTION => self.hop_by_hop = true,
            _ => {
                self.hop_by_hop |= hop_by_hop::is(name);
                self.te |= *name == header::TE;
                self.upgrade |= *name == header::UPGRADE;
                self.forwarded_for |= name.as_str() == "x-forwarded-for";
                self.spoofed |= spoofed::may_be(name.as_str());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a look at one name notes, without any short cut.
    fn naive(name: &HeaderName) -> Noted {
        let is = |other: HeaderName| *name == other;
        Noted {
            hop_by_hop: hop_by_hop::is(name),
            te: is(header::TE),
            upgrade: is(header::UPGRADE),
            expect: is(header::EXPECT),
            cookie: is(header::COOKIE),
            forwarded_for: name == "x-forwarded-for",
            spoofed: spoofed::may_be(name.as_str()),
        }
    }

    fn check(name: &str) {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let mut noted = Noted::default();
        if Noted::may_count(name.as_str()) {
            noted.note(&name);
        }
        assert_eq!(noted, naive(&name), "{name}");
    }

    #[test]
    fn every_name_that_counts_is_noted() {
        for name in [
            "connection",
            "transfer-encoding",
            "keep-alive",
            "proxy-connection",
            "te",
            "upgrade",
            "http2-settings",
            "proxy-authenticate",
            "proxy-authorization",
            "expect",
            "cookie",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-real-ip",
            "x-amzn-mtls-clientcert",
            "forwarded",
            "proxy",
            "content_length",
            "host",
            "accept",
        ] {
            check(name);
        }
        let mut headers = HeaderMap::new();
        assert_eq!(Noted::of(&headers), Noted::default());
        headers.insert("te", header::HeaderValue::from_static("trailers"));
        headers.insert("proxy", header::HeaderValue::from_static("a"));
        let expected = Noted { hop_by_hop: true, te: true, spoofed: true, ..Noted::default() };
        assert_eq!(Noted::of(&headers), expected);
    }

    proptest! {
        #[test]
        fn no_short_cut_misses_a_name(name in "[a-z_.~0-9-]{1,3}[a-z_.-]{0,12}") {
            check(&name);
        }
    }
}
