//! What is done with the messages of all clients: settings with their defaults.

use std::time::Duration;

use super::status::ProxyStatus;
use crate::clock::WAIT_MAX;

/// What is done with the messages of all clients; the counterparts of ALB's `routing.http.*`
/// attributes, and more.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `forwarded_for` | [`ForwardedFor::Append`] | ALB's |
/// | `forwarded_for_port` | no | ALB's |
/// | `proxy_status` | none | it is one more field for whoever looks for it |
/// | `request_timeout` | none | ALB has none; streams may last |
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
    pub(crate) proxy_status: Option<ProxyStatus>,
    pub(crate) request_timeout: Option<Duration>,
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

    /// Has Proxy-Status (RFC 9209) on every answer say whose it is, under the name of this proxy: `edge`
    /// alone on what a rule answers, `edge; received-status=503` on what came from a target, and
    /// `edge; error=connection_refused` on an error of the proxy's own, with the
    /// [reason](crate::error::Error::reason) of the error. What a target wrote stays in front. Addresses
    /// are never told.
    #[must_use]
    pub fn proxy_status(mut self, name: ProxyStatus) -> Self {
        self.proxy_status = Some(name);
        self
    }

    /// Sets how long a request may last, from when it is routed to the end of its answer, with all its
    /// attempts. What a target does within it is bounded by its group's
    /// [`Transport`](crate::endpoint::Transport).
    ///
    /// Before the answer's head is there, what comes too late is answered 504; or 408, if the rest of
    /// the request's body was waited for. Afterwards the answer breaks off, so that the client sees that
    /// it is not whole: an answer that is a stream without end, such as of server-sent events, ends so.
    /// A client that does not take its answer notices nothing before it goes on: how long it may wait
    /// is the server's affair.
    #[must_use]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout.min(WAIT_MAX));
        self
    }
}
