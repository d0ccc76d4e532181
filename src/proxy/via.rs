//! Via (RFC 9110 §7.6.3): the proxies a message came through, under names of their own choice.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Version, header};

use super::list;
use crate::grammar;

/// A name in Via; shared by its clones.
///
/// # Examples
///
/// ```
/// use pointsman::proxy::{HttpOptions, Via};
///
/// let options = HttpOptions::new().via(Via::new("edge-1")?);
/// assert!(Via::new("edge 1").is_err());
/// # drop(options);
/// # Ok::<_, pointsman::proxy::InvalidVia>(())
/// ```
#[derive(Clone, Debug)]
pub struct Via(Arc<Names>);

#[derive(Debug)]
struct Names {
    /// Those of a message of HTTP/1.1, 1.0 and 2.
    members: [HeaderValue; 3],
}

/// A text that cannot be a name in Via.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a name for Via: {0:?}, expected letters, digits and !#$%&'*+-.^_`|~, with a port behind a \
     colon if need be"
)]
pub struct InvalidVia(String);

impl Via {
    /// Takes a name: a token, with or without a port, such as `edge-1` or `lb.example.com:8080`.
    ///
    /// # Errors
    ///
    /// If the text is something else.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidVia> {
        let name = name.into();
        let (token, port) = match name.split_once(':') {
            Some((token, port)) => (token, Some(port)),
            None => (&*name, None),
        };
        let is_port = |port| grammar::number::<u16>(port).is_some();
        let member = |version| HeaderValue::try_from(format!("{version} {name}")).ok();
        let members = (member("1.1"), member("1.0"), member("2"));
        match members {
            (Some(one), Some(old), Some(two))
                if !token.is_empty()
                    && token.bytes().all(grammar::in_token)
                    && port.is_none_or(is_port) =>
            {
                Ok(Self(Arc::new(Names { members: [one, old, two] })))
            }
            _ => Err(InvalidVia(name)),
        }
    }

    /// Appends the name to a message that came in this version.
    pub(super) fn append(&self, headers: &mut HeaderMap, version: Version) {
        let [one, old, two] = &self.0.members;
        let member = match version {
            Version::HTTP_10 => old,
            Version::HTTP_2 => two,
            _ => one,
        };
        list::append(headers, header::VIA, member);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_appended_with_the_version_the_message_came_in() {
        let check = |version, received: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for line in received {
                headers.append(header::VIA, line.parse().unwrap());
            }
            Via::new("edge-1").unwrap().append(&mut headers, version);
            assert_eq!(headers.get_all(header::VIA).iter().collect::<Vec<_>>(), [expected]);
        };
        check(Version::HTTP_11, &[], "1.1 edge-1");
        check(Version::HTTP_10, &[], "1.0 edge-1");
        check(Version::HTTP_2, &["1.1 a (b)", "1.0 c"], "1.1 a (b), 1.0 c, 2 edge-1");
    }

    #[test]
    fn only_a_token_is_a_name() {
        for name in ["a", "lb.example.com:8080", "edge_1", "a:0"] {
            assert!(Via::new(name).is_ok(), "{name}");
        }
        for name in
            ["", " ", "a b", "a,b", "a(b)", ":80", "a:", "a:x", "a:65536", "[::1]", "a\n", "\u{e9}"]
        {
            assert_eq!(Via::new(name).unwrap_err(), InvalidVia(name.into()), "{name}");
        }
    }
}
