//! What is done with the messages of all clients: settings with their defaults.

use super::{desync::DesyncMode, limits::Limits};
use crate::body::Body;

/// What is done with the messages of all clients; the counterparts of ALB's `routing.http.*`
/// attributes, and more.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `forwarded_for` | [`ForwardedFor::Append`] | ALB's |
/// | `forwarded_for_port` | no | ALB's |
/// | `desync_mode` | [`DesyncMode::Defensive`] | ALB's |
/// | `drop_invalid_header_fields` | no | ALB's |
/// | `reject_ambiguous_paths` | no | ALB passes them |
/// | `uri_size_max` | 16 KiB | ALB's |
/// | `header_size_max` | 16 KiB | ALB's |
/// | `headers_size_max` | 64 KiB | ALB's |
/// | `headers_max` | 256 | some clients send more than 100; far below what costs memory |
/// | `forwarded_for_max` | 30 | ALB's; a request that went through so many proxies is in a loop |
/// | `body_size_max` | none | ALB's; bodies are streamed |
///
/// # What is refused
///
/// Before any rule is asked, and with the client's connection closed where it speaks HTTP/1:
///
/// | what | status |
/// |---|---|
/// | more than one Host, one that is not a host with or without a port, one that differs from `:authority` | 400 |
/// | HTTP/1.1 without a Host, if there is a [`Peer`](crate::Peer): it came from a client then. A request that was made in this process, by a test for example, has neither, and passes | 400 |
/// | a request target with user information, with a scheme other than http and https, that is an authority alone, that is `*` without OPTIONS, with a backslash in its path | 400 |
/// | a body that two servers in a row might take for another, by [`DesyncMode`] | 400 |
/// | TRACE, CONNECT | 405 |
/// | a body, a request target or fields above the limits | 413, 414, 431 |
/// | an expectation other than `100-continue` | 417 |
/// | a longer X-Forwarded-For | 463 |
/// | a transfer coding other than chunked | 501 |
///
/// OPTIONS whose Max-Forwards is 0 is answered 200.
///
/// # Examples
///
/// ```
/// use pointsman::{LoadBalancer, RuleTable, TargetGroup, proxy::{ForwardedFor, HttpOptions}};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// let options = HttpOptions::new().forwarded_for(ForwardedFor::Remove);
/// let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&web));
/// # drop(balancer);
/// ```
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    pub(crate) forwarded_for: ForwardedFor,
    pub(crate) forwarded_for_port: bool,
    pub(crate) desync_mode: DesyncMode,
    pub(crate) drop_invalid_header_fields: bool,
    pub(crate) reject_ambiguous_paths: bool,
    pub(crate) limits: Limits,
}

/// What becomes of X-Forwarded-For; ALB's `routing.http.xff_header_processing.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardedFor {
    /// The client's address is appended to what came.
    #[default]
    Append,
    /// What came is passed on as it is, and nothing is written where nothing came.
    Preserve,
    /// Targets get none.
    Remove,
}

impl HttpOptions {
    /// Makes options of the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what becomes of X-Forwarded-For. Without a [`Peer`](crate::Peer) targets get none.
    #[must_use]
    pub fn forwarded_for(mut self, mode: ForwardedFor) -> Self {
        self.forwarded_for = mode;
        self
    }

    /// Sets whether the client's port is appended with its address: `192.0.2.1:50000`,
    /// `[2001:db8::1]:50000`.
    #[must_use]
    pub fn forwarded_for_port(mut self, port: bool) -> Self {
        self.forwarded_for_port = port;
        self
    }
    /// Sets what becomes of requests that two servers in a row might read in two ways.
    #[must_use]
    pub fn desync_mode(mut self, mode: DesyncMode) -> Self {
        self.desync_mode = mode;
        self
    }

    /// Sets whether fields are dropped whose names are not of letters, digits and hyphens alone; ALB's
    /// `routing.http.drop_invalid_header_fields.enabled`.
    #[must_use]
    pub fn drop_invalid_header_fields(mut self, drop: bool) -> Self {
        self.drop_invalid_header_fields = drop;
        self
    }

    /// Sets whether a request is refused whose path some servers read as another than rules do: one
    /// with an empty segment (`//`), an escaped slash, backslash or control character (`%2f`, `%5c`,
    /// `%00`), a dot segment with a parameter (`..;`), or a broken escape (`%zz`).
    ///
    /// Without it, rules match the normal form of RFC 3986, and targets get the path as it came.
    #[must_use]
    pub fn reject_ambiguous_paths(mut self, reject: bool) -> Self {
        self.reject_ambiguous_paths = reject;
        self
    }

    /// Sets how long a request target may be, in bytes. A server in front has a limit of its own.
    #[must_use]
    pub fn uri_size_max(mut self, bytes: usize) -> Self {
        self.limits.uri = bytes;
        self
    }

    /// Sets how long one field may be, in bytes: name, value, and four for what is around them. A
    /// server in front has a limit of its own.
    #[must_use]
    pub fn header_size_max(mut self, bytes: usize) -> Self {
        self.limits.header = bytes;
        self
    }

    /// Sets how long all fields may be together, in bytes. A server in front has a limit of its own.
    #[must_use]
    pub fn headers_size_max(mut self, bytes: usize) -> Self {
        self.limits.headers = bytes;
        self
    }

    /// Sets how many fields there may be. A server in front has a limit of its own.
    #[must_use]
    pub fn headers_max(mut self, count: usize) -> Self {
        self.limits.header_count = count;
        self
    }

    /// Sets how many addresses X-Forwarded-For may have when it comes.
    #[must_use]
    pub fn forwarded_for_max(mut self, count: usize) -> Self {
        self.limits.forwarded_for = count;
        self
    }

    /// Sets how long a body may be, in bytes; `None` is without end. One whose length is told is refused
    /// at once, another when it gets longer: what was sent of it is taken back by closing the target's
    /// connection.
    #[must_use]
    pub fn body_size_max(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.limits.body = bytes.into();
        self
    }

    /// Limits a body whose length is not known beforehand.
    pub(crate) fn limit_body(&self, body: Body) -> Body {
        match self.limits.body {
            Some(max) => body.limit_size(max),
            None => body,
        }
    }
}
