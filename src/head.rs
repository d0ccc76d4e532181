//! The head of a request as those who decide may see it, and who the client is.
//!
//! A [`Head`] is borrowed and never shows the body. What a pattern makes of it is `rule/`'s affair.

use std::net::{IpAddr, SocketAddr};

use http::{Extensions, HeaderMap, Method, Request, Uri, header, request};

/// Who the client is, as told by whoever accepted its connection.
///
/// If that connection is one of a proxy that is trusted
/// ([`HttpOptions::trusted_proxies`](crate::proxy::HttpOptions::trusted_proxies)), the rules, the
/// sessions and the targets get the peer that the proxy speaks for.
///
/// # Examples
///
/// ```
/// use pointsman::Peer;
///
/// let peer = Peer::new("192.0.2.1:50000".parse().unwrap())
///     .local("10.0.0.1:443".parse().unwrap())
///     .https(true);
/// assert_eq!(peer.protocol(), "https");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    client: SocketAddr,
    /// Who opened the connection: the client, or a proxy it came through.
    socket: SocketAddr,
    local: Option<SocketAddr>,
    /// The port that the client connected to, if a trusted proxy said so.
    port: Option<u16>,
    https: bool,
    trusted: bool,
    forwarded: bool,
}

impl Peer {
    /// Makes a peer of the client's address, over plain HTTP.
    pub fn new(client: SocketAddr) -> Self {
        Self {
            client,
            socket: client,
            local: None,
            port: None,
            https: false,
            trusted: false,
            forwarded: false,
        }
    }

    /// Sets the address the client connected to; its port becomes X-Forwarded-Port.
    #[must_use]
    pub fn local(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }

    /// Sets whether the client's connection was encrypted.
    #[must_use]
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// Returns the client's address; with port 0 if a trusted proxy told it without one.
    pub fn client(&self) -> SocketAddr {
        self.client
    }

    /// Returns the client's IP address, an IPv4 one mapped into IPv6 as IPv4.
    pub fn ip(&self) -> IpAddr {
        self.client.ip().to_canonical()
    }

    /// Returns the address of whoever opened the connection: the client's, or that of a trusted proxy
    /// it came through.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// Returns the address that was connected to, if that was told.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Returns the port the client connected to, as a trusted proxy says, else as the connection does.
    pub fn port(&self) -> Option<u16> {
        self.port.or(self.local.map(|local| local.port()))
    }

    /// Returns `https` or `http`.
    pub fn protocol(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Tells whether the connection is one of a trusted proxy.
    pub fn is_trusted_proxy(&self) -> bool {
        self.trusted
    }

    /// Says whether the connection is one of a trusted proxy.
    pub(crate) fn set_trusted(&mut self, trusted: bool) {
        self.trusted = trusted;
    }

    /// Says what a trusted proxy tells of the client it speaks for.
    pub(crate) fn set_told(&mut self, client: SocketAddr, https: Option<bool>, port: Option<u16>) {
        self.client = client;
        self.https = https.unwrap_or(self.https);
        self.port = port;
    }

    /// Tells whether a balancer in this process has written the forwarding headers already.
    pub(crate) fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// Says that the forwarding headers are written, for a balancer behind this one.
    pub(crate) fn mark_forwarded(&mut self) {
        self.forwarded = true;
    }
}

/// The head of a request, borrowed.
///
/// # Examples
///
/// ```
/// use pointsman::head::Head;
///
/// let request = http::Request::get("/a?b=1").header("host", "Example.com:8080").body(()).unwrap();
/// let head = Head::of(&request, None);
/// assert_eq!((head.path(), head.query()), ("/a", Some("b=1")));
/// assert_eq!((head.host(), head.port()), (Some("Example.com"), Some(8080)));
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request target; with an authority if the client sent one there.
    pub uri: &'a Uri,
    /// The header fields as they came.
    pub headers: &'a HeaderMap,
    /// What earlier layers left with the request.
    pub extensions: &'a Extensions,
    /// Who the client is, if anybody vouches for that.
    pub peer: Option<&'a Peer>,
}

impl<'a> Head<'a> {
    /// Borrows the head of a request.
    pub fn of<B>(request: &'a Request<B>, peer: Option<&'a Peer>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            extensions: request.extensions(),
            peer,
        }
    }

    /// Borrows the head of a request taken apart.
    pub fn of_parts(parts: &'a request::Parts, peer: Option<&'a Peer>) -> Self {
        Self {
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
            extensions: &parts.extensions,
            peer,
        }
    }

    /// Returns the path as it came; `*` for the asterisk form.
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }

    /// Returns what follows the first `?`, as it came.
    pub fn query(&self) -> Option<&'a str> {
        self.uri.query()
    }

    /// Returns the authority: that of the request target, else the first Host field
    /// (RFC 9112 §3.2.2).
    pub fn authority(&self) -> Option<&'a str> {
        match self.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => self.headers.get(header::HOST)?.to_str().ok(),
        }
    }

    /// Returns the host as it came, without user information, port and a trailing dot.
    pub fn host(&self) -> Option<&'a str> {
        let host = split_authority(self.authority()?).0;
        Some(host.strip_suffix('.').unwrap_or(host))
    }

    /// Returns the port that the authority names.
    pub fn port(&self) -> Option<u16> {
        split_authority(self.authority()?).1
    }
}

/// Copies all of a request but its body.
pub(crate) fn copy<B>(request: &Request<B>) -> Request<()> {
    let mut copy = Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

/// Splits an authority into host and port: `[::1]:80` into `[::1]` and 80.
fn split_authority(authority: &str) -> (&str, Option<u16>) {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.rsplit_once(':') {
        // A colon within brackets belongs to an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_split_into_host_and_port() {
        let check = |authority, host, port| {
            assert_eq!(split_authority(authority), (host, port), "{authority}");
        };
        check("a.com", "a.com", None);
        check("a.com:8080", "a.com", Some(8080));
        check("[::1]", "[::1]", None);
        check("[::1]:80", "[::1]", Some(80));
        check("user@a.com:1", "a.com", Some(1));
        check("a.com:", "a.com", None);
        check("a.com:99999", "a.com", None);
    }

    #[test]
    fn the_authority_of_the_target_replaces_the_host_field() {
        let request =
            Request::get("http://real.example/x").header("host", "other").body(()).unwrap();
        assert_eq!(Head::of(&request, None).host(), Some("real.example"));
        let request = Request::get("/x").header("host", "a.com.").body(()).unwrap();
        assert_eq!(Head::of(&request, None).host(), Some("a.com"));
    }
}
