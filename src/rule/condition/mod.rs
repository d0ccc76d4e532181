//! What a rule asks of a request: ALB's conditions, and one of the user's own.
//!
//! A condition is made of text and never fails to be made; what is wrong with it is told when the
//! table is built. It is compiled when it is made. In which order conditions are asked is the
//! table's affair.

mod custom;
mod header;
mod host;
mod method;
mod path;
mod query;
mod source_ip;

mod glob;
mod subject;

mod normal;

use std::{fmt, sync::Arc};

pub(super) use self::subject::{Subject, Undecided};
pub use self::{
    custom::{Custom, FromFn, Predicate, from_fn},
    header::HttpHeader,
    host::HostHeader,
    method::HttpRequestMethod,
    path::PathPattern,
    query::{QueryPair, QueryString},
    source_ip::SourceIp,
};
use super::invalid::Faults;

/// One thing a rule asks of a request.
///
/// Each holds any number of values, of which one has to match. In patterns `*` is any number of
/// characters, `/` and `.` among them, and `?` exactly one (one byte, outside ASCII); a pattern
/// matches the whole or not at all. Patterns are of visible ASCII characters, those for a header's value of spaces too.
///
/// | condition | compared with | upper and lower case | patterns |
/// |---|---|---|---|
/// | [`host_header`](Self::host_header) | the host, without port and trailing dot | equal | yes |
/// | [`path_pattern`](Self::path_pattern) | the path in normal form, without query | different | yes |
/// | [`http_header`](Self::http_header) | each field line of that name, whole | equal | yes |
/// | [`http_request_method`](Self::http_request_method) | the method | different | no |
/// | [`query_string`](Self::query_string) | each pair of the query, decoded | equal | yes |
/// | [`source_ip`](Self::source_ip) | the client's address, as its connection tells it or a trusted proxy | – | no |
/// | [`custom`](Self::custom) | whatever your function looks at | – | – |
///
/// # Examples
///
/// ```
/// use pointsman::rule::{Condition, QueryPair};
///
/// let host = Condition::host_header(["example.com", "*.example.com"]);
/// assert_eq!(host.to_string(), "host-header is one of example.com, *.example.com");
///
/// let query = Condition::query_string([QueryPair::new("v", "2"), QueryPair::any_key("*x*")]);
/// assert_eq!(query.to_string(), "query-string is one of v=2, *x* under any key");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Condition {
    /// The host is one of these.
    HostHeader(HostHeader),
    /// The path is one of these.
    PathPattern(PathPattern),
    /// A header field has one of these values.
    HttpHeader(HttpHeader),
    /// The method is one of these.
    HttpRequestMethod(HttpRequestMethod),
    /// The query holds one of these.
    QueryString(QueryString),
    /// The client connected from one of these blocks of addresses.
    SourceIp(SourceIp),
    /// A function of the user's says so.
    Custom(Custom),
}

impl Condition {
    /// The host of the request matches one of these patterns: that of the request target if it
    /// names one, else that of the Host field.
    ///
    /// `*.example.com` matches `a.b.example.com`, not `example.com`. A request without a host
    /// matches no pattern.
    pub fn host_header<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::HostHeader(HostHeader::new(values))
    }

    /// The path matches one of these patterns, in its normal form (RFC 3986 §6.2.2): encodings of
    /// letters, digits and `-._~` decoded, other encodings in upper case, dot segments removed.
    ///
    /// `//` and `%2F` stay as they are. `/img/*` does not match `/img`. The target gets the path as
    /// the client sent it. In a pattern encodings are brought into the same form; a percent sign
    /// itself is `%25`, while a `%` that begins no encoding matches the beginning of any.
    pub fn path_pattern<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::PathPattern(PathPattern::new(values))
    }

    /// A field line of this name matches one of these patterns; each line is tried, as a whole.
    ///
    /// The name holds no wildcards and is not `Host`, for which there is
    /// [`host_header`](Self::host_header).
    pub fn http_header<V: Into<String>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::HttpHeader(HttpHeader::new(name.into(), values))
    }

    /// The method is one of these, of `A` to `Z`, `-` and `_`.
    ///
    /// Treat `GET` and `HEAD` alike: an answer to the one may be kept for the other.
    pub fn http_request_method<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::HttpRequestMethod(HttpRequestMethod::new(values))
    }

    /// One of these pairs is found in the query, at whatever place.
    pub fn query_string(pairs: impl IntoIterator<Item = QueryPair>) -> Self {
        Self::QueryString(QueryString::new(pairs))
    }

    /// The client connected from one of these blocks, `10.0.0.0/8` or `2001:db8::/32`.
    ///
    /// It is the address of the connection or, if that is one of a trusted proxy, the one that the
    /// proxy tells, so no header of a client can forge it. If nobody told it, this cannot be decided,
    /// and a request that comes this far fails with [`Kind::NoPeer`](crate::error::Kind::NoPeer), since
    /// a rule that denies must not be passed by.
    pub fn source_ip<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self::SourceIp(SourceIp::new(values))
    }

    /// A function of yours says so; `name` stands for it in explanations and errors.
    pub fn custom(name: impl Into<String>, predicate: impl Predicate + 'static) -> Self {
        Self::Custom(Custom::new(name.into(), Arc::new(predicate)))
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> Result<bool, Undecided> {
        match self {
            Self::HostHeader(condition) => Ok(condition.test(subject)),
            Self::PathPattern(condition) => Ok(condition.test(subject)),
            Self::HttpHeader(condition) => Ok(condition.test(subject)),
            Self::HttpRequestMethod(condition) => Ok(condition.test(subject)),
            Self::QueryString(condition) => Ok(condition.test(subject)),
            Self::SourceIp(condition) => condition.test(subject),
            Self::Custom(condition) => condition.test(subject),
        }
    }

    /// Returns, for a reader, what the condition is compared with; `None` if the request lacks it.
    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        match self {
            Self::HostHeader(condition) => condition.compared(subject),
            Self::PathPattern(condition) => condition.compared(subject),
            Self::HttpHeader(condition) => condition.compared(subject),
            Self::HttpRequestMethod(condition) => condition.compared(subject),
            Self::QueryString(condition) => condition.compared(subject),
            Self::SourceIp(condition) => condition.compared(subject),
            Self::Custom(_) => Some("the request".to_owned()),
        }
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        match self {
            Self::HostHeader(condition) => condition.check(faults),
            Self::PathPattern(condition) => condition.check(faults),
            Self::HttpHeader(condition) => condition.check(faults),
            Self::HttpRequestMethod(condition) => condition.check(faults),
            Self::QueryString(condition) => condition.check(faults),
            Self::SourceIp(condition) => condition.check(faults),
            Self::Custom(condition) => condition.check(faults),
        }
    }
}

/// Writes what is asked: `host-header is one of *.example.com`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostHeader(condition) => condition.fmt(f),
            Self::PathPattern(condition) => condition.fmt(f),
            Self::HttpHeader(condition) => condition.fmt(f),
            Self::HttpRequestMethod(condition) => condition.fmt(f),
            Self::QueryString(condition) => condition.fmt(f),
            Self::SourceIp(condition) => condition.fmt(f),
            Self::Custom(condition) => condition.fmt(f),
        }
    }
}
