//! What is asked of a target to see whether it is well, and what is made of the answer.
//!
//! Nothing is sent here: when to ask, and the asking, is `check/`'s affair; what a row of results
//! means is `health.rs`'s.

use std::{fmt, future::Future, pin::Pin, str::FromStr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use tower::BoxError;

use crate::{
    body::Body,
    endpoint::Address,
    error::{Error, Kind},
    health::{Failure, Reason},
    target::Member,
};

/// A check of the user's own.
///
/// # Examples
///
/// ```
/// use std::{future::Future, pin::Pin};
/// use pointsman::{HealthCheck, probe::Probe, target::Member};
///
/// #[derive(Debug)]
/// struct AlwaysWell;
///
/// impl Probe for AlwaysWell {
///     fn check<'a>(
///         &'a self,
///         _member: &'a Member,
///     ) -> Pin<Box<dyn Future<Output = Result<(), tower::BoxError>> + Send + 'a>> {
///         Box::pin(async { Ok(()) })
///     }
/// }
///
/// let check = HealthCheck::probe(AlwaysWell);
/// # drop(check);
/// ```
pub trait Probe: fmt::Debug + Send + Sync {
    /// Asks a member whether it is well; within the check's timeout, or it is none.
    ///
    /// # Errors
    ///
    /// Any error is a failed check, and its text the description. A [`Failure`] also gives its
    /// reason; another error is [`Reason::FailedHealthChecks`]. An [`Error`] of [`Kind::Exhausted`] is no
    /// check at all: it says nothing of the target, whose state stays.
    fn check<'a>(
        &'a self,
        member: &'a Member,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>>;
}

/// Which statuses are a good answer: codes and ranges, `200-299,302`.
///
/// # Examples
///
/// ```
/// use pointsman::probe::Matcher;
///
/// let matcher: Matcher = "200-299,302".parse().unwrap();
/// assert!(matcher.matches(204) && matcher.matches(302) && !matcher.matches(404));
/// assert!("20x".parse::<Matcher>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    ranges: Vec<(u16, u16)>,
    text: String,
}

/// A matcher is a list of codes and ranges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matcher {0:?}: expected codes and ranges of 100 to 599, such as 200-299,302")]
pub struct InvalidMatcher(String);

impl Matcher {
    /// Tells whether a status is a good answer.
    pub fn matches(&self, status: u16) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&status))
    }
}

impl Default for Matcher {
    fn default() -> Self {
        Self { ranges: vec![(200, 299)], text: "200-299".to_owned() }
    }
}

impl FromStr for Matcher {
    type Err = InvalidMatcher;

    fn from_str(text: &str) -> Result<Self, InvalidMatcher> {
        let code = |text: &str| text.trim().parse().ok().filter(|code| (100..=599).contains(code));
        let range = |part: &str| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (code(low)?, code(high)?);
            (low <= high).then_some((low, high))
        };
        let ranges = text.split(',').map(range).collect::<Option<_>>();
        match ranges {
            Some(ranges) => Ok(Self { ranges, text: text.to_owned() }),
            None => Err(InvalidMatcher(text.to_owned())),
        }
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A GET over HTTP/1.1 and the statuses expected.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    pub(crate) path: String,
    pub(crate) port: Option<u16>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) matcher: String,
}

/// The same, checked.
#[derive(Clone, Debug)]
pub(crate) struct CheckedHttpProbe {
    uri: Uri,
    pub(crate) port: Option<u16>,
    headers: HeaderMap,
    matcher: Matcher,
}

impl HttpProbe {
    /// Checks the settings; each error is one sentence.
    pub(crate) fn checked(&self) -> Result<CheckedHttpProbe, Vec<String>> {
        let mut errors = Vec::new();
        let uri = self.path.parse::<Uri>().ok().filter(|_| self.path.starts_with('/'));
        if uri.is_none() {
            errors.push(format!("path {:?}: expected a path that begins with /", self.path));
        }
        if self.port == Some(0) {
            errors.push("port 0: expected 1 to 65535".to_owned());
        }
        let agent = concat!("pointsman/", env!("CARGO_PKG_VERSION"), " (health check)");
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        for (name, value) in &self.headers {
            match (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) {
                (Ok(name), Ok(value)) => _ = headers.insert(name, value),
                (Err(_), _) => errors.push(format!("header {name:?}: not a valid name")),
                (_, Err(_)) => {
                    errors.push(format!("header {name}: {value:?} is not a valid value"))
                }
            }
        }
        let matcher = self.matcher.parse();
        match (uri, matcher) {
            (Some(uri), Ok(matcher)) if errors.is_empty() => {
                Ok(CheckedHttpProbe { uri, port: self.port, headers, matcher })
            }
            (_, matcher) => {
                errors.extend(matcher.err().map(|error| error.to_string()));
                Err(errors)
            }
        }
    }
}

impl CheckedHttpProbe {
    /// Makes the request. The Host is the address's, without a port that is the default one (ALB).
    pub(crate) fn request(&self, address: &Address) -> Request<Body> {
        let mut request = Request::new(Body::default());
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let host = match self.at(address) {
            Address::InProcess(_) => "localhost".to_owned(),
            address => {
                let text = address.to_string();
                text.strip_suffix(":80").map(str::to_owned).unwrap_or(text)
            }
        };
        if let Ok(host) = HeaderValue::try_from(host) {
            request.headers_mut().entry(header::HOST).or_insert(host);
        }
        request
    }

    /// Says what is asked: `GET http://127.0.0.1:80/health`.
    pub(crate) fn asked(&self, address: &Address) -> String {
        match self.at(address) {
            Address::InProcess(_) => format!("GET {} in this process", self.uri),
            address => format!("GET http://{address}{}", self.uri),
        }
    }

    fn at(&self, address: &Address) -> Address {
        self.port.map_or_else(|| address.clone(), |port| address.at_port(port))
    }

    /// Judges what came back; of a good answer, says what was asked and what it was.
    pub(crate) fn judge(
        &self,
        address: &Address,
        answer: Result<StatusCode, &Error>,
    ) -> Result<String, Failure> {
        let asked = self.asked(address);
        match answer {
            Ok(status) => {
                let status = status.as_u16();
                let text = format!("{asked} answered {status}, expected {}", self.matcher);
                match self.matcher.matches(status) {
                    true => Ok(text),
                    false => Err(Failure::new(Reason::ResponseCodeMismatch, text)),
                }
            }
            Err(error) => {
                let reason = match error.kind() {
                    Kind::ConnectTimeout | Kind::AnswerTimeout => Reason::Timeout,
                    Kind::NoRuntime => Reason::InternalError,
                    _ => Reason::FailedHealthChecks,
                };
                let cause = std::error::Error::source(error).map(ToString::to_string);
                let cause = cause.unwrap_or_else(|| error.to_string());
                // The address is named in what was asked.
                let target = format!("connect to {}: ", self.at(address));
                let cause = cause.strip_prefix(&target).unwrap_or(&cause);
                Err(Failure::new(reason, format!("{asked}: {cause}")))
            }
        }
    }

    /// The failure of a check that took too long.
    pub(crate) fn timed_out(&self, address: &Address, after: Duration) -> Failure {
        let text = format!("{}: no answer within {after:?}", self.asked(address));
        Failure::new(Reason::Timeout, text)
    }
}

/// What a check asks, ready to be asked.
#[derive(Clone, Debug)]
pub(crate) enum Asks {
    Http(Arc<CheckedHttpProbe>),
    Custom(Arc<dyn Probe>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matcher_is_codes_and_ranges() {
        let check = |text: &str, valid: bool| {
            assert_eq!(text.parse::<Matcher>().is_ok(), valid, "{text}");
        };
        check("200", true);
        check("200,202", true);
        check("200-299, 302", true);
        check("", false);
        check("299-200", false);
        check("200-", false);
        check("99", false);
        check("600", false);
    }

    fn probe() -> HttpProbe {
        HttpProbe {
            path: "/health".into(),
            port: None,
            headers: Vec::new(),
            matcher: "200-299".into(),
        }
    }

    #[test]
    fn what_was_asked_and_what_came_back_are_named() {
        let probe = probe().checked().unwrap();
        let address = "127.0.0.1:80".parse().unwrap();
        let check = |answer: Result<u16, Error>, reason, expected: &str| {
            let status = answer.as_ref().map(|status| StatusCode::from_u16(*status).unwrap());
            let judged = match probe.judge(&address, status) {
                Ok(text) => (None, text),
                Err(failure) => (Some(failure.reason), failure.description.to_string()),
            };
            assert_eq!(judged, (reason, expected.to_owned()));
        };
        check(Ok(204), None, "GET http://127.0.0.1:80/health answered 204, expected 200-299");
        check(
            Ok(404),
            Some(Reason::ResponseCodeMismatch),
            "GET http://127.0.0.1:80/health answered 404, expected 200-299",
        );
        check(
            Err(Error::new(Kind::Connect, "connect to 127.0.0.1:80: connection refused")),
            Some(Reason::FailedHealthChecks),
            "GET http://127.0.0.1:80/health: connection refused",
        );
    }

    #[test]
    fn the_host_is_the_address_unless_given() {
        let host = |probe: &HttpProbe, address: &str| {
            let request = probe.checked().unwrap().request(&address.parse().unwrap());
            request.headers()["host"].to_str().unwrap().to_owned()
        };
        assert_eq!(host(&probe(), "127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(host(&probe(), "app:80"), "app");
        let django = HttpProbe { headers: vec![("host".into(), "example.com".into())], ..probe() };
        assert_eq!(host(&django, "127.0.0.1:8080"), "example.com");
        let elsewhere = HttpProbe { port: Some(81), ..probe() };
        assert_eq!(host(&elsewhere, "127.0.0.1:80"), "127.0.0.1:81");
    }

    #[test]
    fn every_wrong_setting_is_named_at_once() {
        let probe = HttpProbe {
            path: "health".into(),
            port: Some(0),
            headers: vec![("a b".into(), "x".into()), ("a".into(), "\n".into())],
            matcher: "ok".into(),
        };
        assert_eq!(probe.checked().unwrap_err().len(), 5);
    }
}
