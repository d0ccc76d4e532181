//! Proxy-Status (RFC 9209): who made an answer, and what went wrong if it was this proxy.
//!
//! What lies behind the proxy is not told: neither the next hop nor the words of an error.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    error::{Error, Kind},
    grammar,
};

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The name of a proxy in Proxy-Status; shared by its clones.
///
/// # Examples
///
/// ```
/// use pointsman::proxy::{HttpOptions, ProxyStatus};
///
/// let options = HttpOptions::new().proxy_status(ProxyStatus::new("edge-1")?);
/// assert!(ProxyStatus::new("naïve").is_err());
/// # drop(options);
/// # Ok::<_, pointsman::proxy::InvalidProxyStatus>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProxyStatus(Arc<str>);

/// A text that cannot be a name in Proxy-Status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a name for Proxy-Status: {0:?}, expected printable characters of ASCII")]
pub struct InvalidProxyStatus(String);

/// Whose answer it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AnswerOf<'a> {
    /// A target's, of this status.
    Target(StatusCode),
    /// The proxy's own, as its rules say.
    Rule,
    /// The proxy's own, since something went wrong.
    Error(&'a Error),
}

impl ProxyStatus {
    /// Takes a name: a token, such as `edge-1`, or a text, which is put into quotes.
    ///
    /// # Errors
    ///
    /// If it is empty, or has characters that are not printable or not ASCII's.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidProxyStatus> {
        let name = name.into();
        if is_token(&name) {
            return Ok(Self(name.into()));
        }
        match !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            true => Ok(Self(quoted(&name).into())),
            false => Err(InvalidProxyStatus(name)),
        }
    }

    /// Adds to what those nearer to the origin have said (RFC 9209 §2).
    pub(crate) fn append(&self, headers: &mut HeaderMap, answer: AnswerOf<'_>) {
        let name = &self.0;
        let text = match answer {
            AnswerOf::Target(status) => format!("{name}; received-status={}", status.as_u16()),
            AnswerOf::Rule => name.to_string(),
            // What is lacking is no error type of RFC 9209, but §2.1.5 has room for it.
            AnswerOf::Error(error) if error.kind() == Kind::Exhausted => {
                let (kind, lack) = (error.kind().reason(), error.reason());
                format!("{name}; error={kind}; details={}", quoted(lack))
            }
            AnswerOf::Error(error) => format!("{name}; error={}", error.reason()),
        };
        // The name is of characters that a field may have.
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(PROXY_STATUS, value);
        }
    }
}

/// RFC 9651 §3.3.4.
fn is_token(name: &str) -> bool {
    let first = name.bytes().next();
    let other = |b| grammar::in_token(b) || matches!(b, b':' | b'/');
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'*') && name.bytes().all(other)
}

/// RFC 9651 §3.3.3.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('\\', r"\\").replace('"', r#"\""#))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, answer: AnswerOf<'_>, expected: &str) {
        let mut headers = HeaderMap::new();
        ProxyStatus::new(name).unwrap().append(&mut headers, answer);
        assert_eq!(headers[PROXY_STATUS], expected);
    }

    #[test]
    fn it_tells_whose_answer_it_is() {
        check("edge", AnswerOf::Target(StatusCode::NOT_FOUND), "edge; received-status=404");
        check("edge", AnswerOf::Rule, "edge");
        let error = Error::new(Kind::AnswerTimeout, "10.0.0.7 is slow");
        check("edge", AnswerOf::Error(&error), "edge; error=http_response_timeout");
        let error = Error::new(Kind::Exhausted, "too many open files");
        let error = error.with_reason("local_descriptors");
        let expected = "edge; error=proxy_internal_error; details=\"local_descriptors\"";
        check("edge", AnswerOf::Error(&error), expected);
    }

    #[test]
    fn a_name_is_a_token_or_a_string() {
        check("*a:/1.test", AnswerOf::Rule, "*a:/1.test");
        check("1a", AnswerOf::Rule, "\"1a\"");
        check("my \"edge\" \\", AnswerOf::Rule, "\"my \\\"edge\\\" \\\\\"");
        for name in ["", "naïve", "a\r\nb", "a\tb", "\u{7f}"] {
            let error = ProxyStatus::new(name).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("not a name for Proxy-Status: {name:?}")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_others_said_comes_first() {
        let mut headers = HeaderMap::new();
        headers.insert(PROXY_STATUS, HeaderValue::from_static("cache; fwd=miss"));
        ProxyStatus::new("edge").unwrap().append(&mut headers, AnswerOf::Rule);
        let values = headers.get_all(PROXY_STATUS).iter().collect::<Vec<_>>();
        assert_eq!(values, ["cache; fwd=miss", "edge"]);
    }
}
