//! What is done with the messages of all clients: settings with their defaults.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    desync::DesyncMode, limits::Limits, status::ProxyStatus, trace_id::TraceIds, via::Via,
};
use crate::{body::Body, cidr::Cidr, clock::WAIT_MAX};

/// What is done with the messages of all clients; the counterparts of ALB's `routing.http.*`
/// attributes, and more.
///
/// # Defaults
///
/// | setting | default | why |
/// |---|---|---|
/// | `forwarded_for` | [`ForwardedFor::Append`] | ALB's |
/// | `forwarded_for_port` | no | ALB's |
/// | `trusted_proxies` | none | what a stranger says of itself must be nobody's word |
/// | `trace_ids` | none | not everybody traces by ALB's ids; ALB does |
/// | `forwarded` | no | ALB writes none |
/// | `via` | none | ALB writes none |
/// | `preserve_host_header` | yes | what targets expect that were behind nothing before; ALB's is no |
/// | `strip_amzn_headers` | no | without an ALB around they are names like others |
/// | `desync_mode` | [`DesyncMode::Defensive`] | ALB's |
/// | `drop_invalid_header_fields` | no | ALB's |
/// | `reject_ambiguous_paths` | no | ALB passes them |
/// | `uri_size_max` | 16 KiB | ALB's |
/// | `header_size_max` | 16 KiB | ALB's |
/// | `headers_size_max` | 64 KiB | ALB's |
/// | `headers_max` | 256 | some clients send more than 100; far below what costs memory |
/// | `forwarded_for_max` | 30 | ALB's; a request that went through so many proxies is in a loop |
/// | `body_size_max` | none | ALB's; bodies are streamed |
/// | `upgrade` | WebSocket | ALB's; more can be added |
/// | `proxy_status` | none | it is one more field for whoever looks for it |
/// | `request_timeout` | none | ALB has none; streams may last |
///
/// Whatever is set, no target gets `Proxy`, nor a field whose name is `X-Forwarded-*`, `X-Amzn-*`,
/// `X-Real-IP`, `Content-Length` or `Transfer-Encoding` but for `_` or `.` instead of `-`: many
/// programs could not tell it from the true one. `Forwarded` and `X-Real-IP` pass from trusted
/// proxies only, X-Forwarded-Proto and -Port likewise; others' are overwritten.
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
    pub(crate) trusted_proxies: Box<[Cidr]>,
    pub(crate) trace_ids: Option<TraceIds>,
    pub(crate) forwarded: bool,
    pub(crate) via: Option<Via>,
    pub(crate) rewrite_host: bool,
    pub(crate) strip_amzn: bool,
    pub(crate) desync_mode: DesyncMode,
    pub(crate) drop_invalid_header_fields: bool,
    pub(crate) reject_ambiguous_paths: bool,
    pub(crate) limits: Limits,
    upgrades: Vec<Box<str>>,
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

    /// Sets which proxies are trusted, by the addresses they connect from.
    ///
    /// Behind one the client is the last address in X-Forwarded-For that is not trusted itself, for
    /// rules, sessions and [`explain`](crate::LoadBalancer::explain) alike. What is no address ends the
    /// search at the one before, and so does the 31st. `Forwarded` and `X-Real-IP` are passed on, but not
    /// looked at. The proxy's X-Forwarded-Proto and -Port stand if
    /// they are valid, for redirects and for targets, so that an application behind a CDN that ends TLS
    /// is not sent to https for ever. A proxy that tells the protocol without a port means that of the
    /// Host, else the protocol's own. To X-Forwarded-For its own address is appended.
    ///
    /// # Examples
    ///
    /// ```
    /// use pointsman::{cidr::Cidr, proxy::HttpOptions};
    ///
    /// let proxies = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"];
    /// let proxies = proxies.into_iter().map(str::parse).collect::<Result<Vec<Cidr>, _>>()?;
    /// let options = HttpOptions::new().trusted_proxies(proxies);
    /// # drop(options);
    /// # Ok::<_, pointsman::cidr::InvalidCidr>(())
    /// ```
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: impl IntoIterator<Item = Cidr>) -> Self {
        self.trusted_proxies = proxies.into_iter().collect();
        self
    }

    /// Sets that targets get an X-Amzn-Trace-Id, made or updated by ALB's rules. Without, what clients
    /// send under this name passes as it is.
    #[must_use]
    pub fn trace_ids(mut self, ids: TraceIds) -> Self {
        self.trace_ids = Some(ids);
        self
    }

    /// Sets whether an element is appended to Forwarded (RFC 7239):
    /// `for=192.0.2.1;proto=https;host="example.com"`. Like X-Forwarded-For it names who opened the
    /// connection, with the port if [`forwarded_for_port`](Self::forwarded_for_port) is set; the
    /// protocol is that of X-Forwarded-Proto, the host what the client sent. It is independent of what
    /// becomes of X-Forwarded-For.
    #[must_use]
    pub fn forwarded(mut self, forwarded: bool) -> Self {
        self.forwarded = forwarded;
        self
    }

    /// Sets the name that is appended to Via, in requests and in answers (RFC 9110 §7.6.3).
    #[must_use]
    pub fn via(mut self, via: Via) -> Self {
        self.via = Some(via);
        self
    }

    /// Sets whether targets get the Host as the client sent it; ALB's
    /// `routing.http.preserve_host_header.enabled`.
    ///
    /// Else it is put into lower case, and its port is taken off if the client connected to port 80 or
    /// 443; if it connected to another, that one is appended to a Host without. Rules and redirects see
    /// what the client sent.
    #[must_use]
    pub fn preserve_host_header(mut self, preserve: bool) -> Self {
        self.rewrite_host = !preserve;
        self
    }

    /// Sets whether X-Amzn-Mtls-\*, X-Amzn-Tls-\* and X-Amzn-Oidc-\* are taken out of requests, unless
    /// a trusted proxy sent them: with them ALB tells targets whom it has authenticated.
    #[must_use]
    pub fn strip_amzn_headers(mut self, strip: bool) -> Self {
        self.strip_amzn = strip;
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

    /// Sets how long a body may be, in bytes; the greatest number is none. One whose length is told is refused
    /// at once, another when it gets longer: what was sent of it is taken back by closing the target's
    /// connection.
    #[must_use]
    pub fn body_size_max(mut self, bytes: u64) -> Self {
        self.limits.body = Some(bytes).filter(|bytes| *bytes < u64::MAX);
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

    /// Returns until when a request that is routed now may last.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.request_timeout.map(|limit| Instant::now() + limit)
    }

    /// Limits a body whose length is not known beforehand.
    pub(crate) fn limit_body(&self, body: Body) -> Body {
        match self.limits.body {
            Some(max) => body.limit_size(max),
            None => body,
        }
    }

    /// Lets clients change to another protocol, as named in `Upgrade`, beside WebSocket: once the target
    /// has agreed by a 101, bytes are carried both ways as they are.
    ///
    /// HTTP/2 cannot be named (`h2c`): its requests would pass by all rules. From requests that ask for
    /// anything else `Upgrade` is stripped, and they are answered as if they had not.
    ///
    /// # Examples
    ///
    /// ```
    /// use pointsman::proxy::HttpOptions;
    ///
    /// let options = HttpOptions::new().upgrade("tcp"); // as container engines attach
    /// # drop(options);
    /// ```
    #[must_use]
    pub fn upgrade(mut self, name: impl Into<Box<str>>) -> Self {
        self.upgrades.push(name.into());
        self
    }

    /// Tells whether clients may change to this protocol.
    pub(super) fn may_upgrade(&self, name: &[u8]) -> bool {
        let is = |may: &str| may.as_bytes().eq_ignore_ascii_case(name);
        is("websocket") || self.upgrades.iter().any(|may| is(may))
    }
}
