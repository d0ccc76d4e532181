//! Sending the client elsewhere: 301 or 302 with a Location put together from the request's.
//!
//! Which redirects a listener may not make (from HTTPS to HTTP) is left to whoever knows listeners.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, uri::Scheme};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use super::template::{
    Keyword::{self, Host, Path, Port, Protocol, Query},
    Piece, Template,
};
use crate::{
    body::Body,
    error::{Error, Kind},
    grammar,
    head::{Head, Peer},
    rule::invalid::Faults,
};

/// The longest Location sent, in bytes; ALB's limit.
const LOCATION_MAX: usize = 8192;

const DEFAULT_PROTOCOL: &str = "#{protocol}";
const DEFAULT_HOST: &str = "#{host}";
const DEFAULT_PORT: &str = "#{port}";
const DEFAULT_PATH: &str = "/#{path}";
const DEFAULT_QUERY: &str = "#{query}";

/// Sends the client elsewhere.
///
/// The Location is always absolute and always has a port. Each part is text that may hold keywords,
/// which stand for that part of the request:
///
/// | part | default | may hold | `#{…}` stands for |
/// |---|---|---|---|
/// | protocol | `#{protocol}` | nothing else than `HTTP`, `HTTPS` or the keyword | that of the peer, else the URI's scheme, else `http` |
/// | host | `#{host}` | `#{host}` | the host in lower case, without port |
/// | port | `#{port}` | nothing else than 1 to 65535 or the keyword | the port the peer connected to, else that of the host, else the protocol's own |
/// | path | `/#{path}` | `#{host}`, `#{port}`, `#{path}` | the path as it came, without its first `/` |
/// | query | `#{query}` | every keyword | what follows the first `?`, as it came |
///
/// Without a query no `?` is written. One part besides the query has to differ from its default,
/// else the client would come back for ever.
///
/// # Examples
///
/// ```
/// use pointsman::{Peer, head::Head, rule::Redirect};
///
/// let to_https = Redirect::moved_permanently().protocol("HTTPS").port(443);
/// let request = http::Request::get("/a?b=1").header("host", "Example.com").body(()).unwrap();
/// let response = to_https.response(&Head::of(&request, None)).unwrap();
/// assert_eq!(response.status(), 301);
/// assert_eq!(response.headers()["location"], "https://example.com:443/a?b=1");
/// ```
#[derive(Clone, Debug)]
pub struct Redirect {
    status: StatusCode,
    protocol: Template,
    host: Template,
    port: Template,
    path: Template,
    query: Template,
    page: Bytes,
}

impl Redirect {
    /// Redirects with status 301; clients keep it.
    pub fn moved_permanently() -> Self {
        Self::with_status(StatusCode::MOVED_PERMANENTLY)
    }

    /// Redirects with status 302; clients ask again each time.
    pub fn found() -> Self {
        Self::with_status(StatusCode::FOUND)
    }

    fn with_status(status: StatusCode) -> Self {
        Self {
            status,
            protocol: Template::new(DEFAULT_PROTOCOL),
            host: Template::new(DEFAULT_HOST),
            port: Template::new(DEFAULT_PORT),
            path: Template::new(DEFAULT_PATH),
            query: Template::new(DEFAULT_QUERY),
            page: Bytes::new(),
        }
    }

    /// Sets the protocol: `HTTP`, `HTTPS` or `#{protocol}`.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = Template::new(protocol);
        self
    }

    /// Sets the host.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Template::new(host);
        self
    }

    /// Sets the port: 1 to 65535 or `#{port}`.
    #[must_use]
    pub fn port(mut self, port: impl fmt::Display) -> Self {
        self.port = Template::new(port.to_string());
        self
    }

    /// Sets the path; it begins with `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Template::new(path);
        self
    }

    /// Sets the query, without a leading `?`; it may be empty.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = Template::new(query);
        self
    }

    /// Sends an HTML page along, for people whose client does not follow; none by default.
    #[must_use]
    pub fn page(mut self, html: impl Into<Bytes>) -> Self {
        self.page = html.into();
        self
    }

    /// Returns the answer to a request.
    ///
    /// # Errors
    ///
    /// As [`location`](Self::location).
    pub fn response(&self, head: &Head<'_>) -> Result<Response<Body>, Error> {
        let location = self.location(head)?;
        let mut response = Response::new(Body::from(self.page.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::LOCATION, location);
        if !self.page.is_empty() {
            let html = HeaderValue::from_static("text/html");
            response.headers_mut().insert(header::CONTENT_TYPE, html);
        }
        Ok(response)
    }

    /// Returns where a request is sent.
    ///
    /// # Errors
    ///
    /// [`Kind::RedirectTooLong`] if that is longer than 8192 bytes; [`Kind::Other`] if it needs the
    /// host and the request names none, nor did the peer tell which address it connected to.
    pub fn location(&self, head: &Head<'_>) -> Result<HeaderValue, Error> {
        let asked = Asked::of(head);
        let mut location = String::new();
        // Of the protocol only `HTTP`, `HTTPS` and the request's own come here.
        asked.expand(&self.protocol, &mut location)?;
        location.make_ascii_lowercase();
        location.push_str("://");
        asked.expand(&self.host, &mut location)?;
        location.push(':');
        asked.expand(&self.port, &mut location)?;
        asked.expand(&self.path, &mut location)?;
        location.push('?');
        let without_query = location.len();
        asked.expand(&self.query, &mut location)?;
        if location.len() == without_query {
            location.pop();
        }
        if location.len() > LOCATION_MAX {
            let length = location.len();
            let cause = format!("the location has {length} bytes, {LOCATION_MAX} are allowed");
            return Err(Error::new(Kind::RedirectTooLong, cause));
        }
        // A table admits only text that a field can hold.
        HeaderValue::from_maybe_shared(Bytes::from(location))
            .map_err(|error| Error::new(Kind::Other, error))
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        let visible = |c: char| c.is_ascii_graphic();
        if !is_protocol(self.protocol.as_str()) {
            let expected = format!("HTTP, HTTPS or {DEFAULT_PROTOCOL}");
            faults.add("redirect protocol", self.protocol.as_str(), expected);
        }
        if !is_host(&self.host) {
            let expected = "letters, digits, - . _ and #{host}, or an IPv6 address in brackets";
            faults.add("redirect host", self.host.as_str(), expected);
        }
        if !is_port(self.port.as_str()) {
            let expected = format!("1 to 65535 or {DEFAULT_PORT}");
            faults.add("redirect port", self.port.as_str(), expected);
        }
        // A `?` or `#` here would make a query or fragment of what follows.
        let in_path = |c| visible(c) && c != '?' && c != '#';
        if !self.path.as_str().starts_with('/')
            || !self.path.consists_of(&[Host, Port, Path], in_path)
        {
            let expected =
                "/ and visible ASCII characters without ? and #, and #{host}, #{port}, #{path}";
            faults.add("redirect path", self.path.as_str(), expected);
        }
        let all = [Protocol, Host, Port, Path, Query];
        if self.query.as_str().starts_with('?') || !self.query.consists_of(&all, visible) {
            let expected = "visible ASCII characters without a leading ?, and #{protocol}, \
                            #{host}, #{port}, #{path}, #{query}";
            faults.add("redirect query", self.query.as_str(), expected);
        }
        if self.is_loop() {
            let expected = "another protocol, host, port or path, since this one is a loop";
            faults.add("redirect", self.to_string(), expected);
        }
    }

    fn is_loop(&self) -> bool {
        self.protocol.as_str() == DEFAULT_PROTOCOL
            && self.host.as_str() == DEFAULT_HOST
            && self.port.as_str() == DEFAULT_PORT
            && self.path.as_str() == DEFAULT_PATH
    }
}

fn is_protocol(text: &str) -> bool {
    text == DEFAULT_PROTOCOL
        || text.eq_ignore_ascii_case("HTTP")
        || text.eq_ignore_ascii_case("HTTPS")
}

fn is_host(host: &Template) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let named = !host.as_str().is_empty() && host.consists_of(&[Host], fits);
    named || is_ipv6_in_brackets(host.as_str())
}

fn is_ipv6_in_brackets(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

/// Tells whether a host can stand in a URI (RFC 3986 §3.2.2).
fn is_uri_host(host: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte);
    (!host.is_empty() && host.bytes().all(fits)) || is_ipv6_in_brackets(host)
}

fn is_port(text: &str) -> bool {
    text == DEFAULT_PORT || grammar::number(text).is_some_and(|port: u16| port > 0)
}

/// The parts of the request, as the keywords stand for them.
struct Asked<'a> {
    head: &'a Head<'a>,
    protocol: &'static str,
    port: u16,
}

impl<'a> Asked<'a> {
    fn of(head: &'a Head<'a>) -> Self {
        let protocol = match head.peer {
            Some(peer) => peer.protocol(),
            None if head.uri.scheme() == Some(&Scheme::HTTPS) => "https",
            None => "http",
        };
        let own = if protocol == "https" { 443 } else { 80 };
        let port = head.peer.and_then(Peer::port).or_else(|| head.port()).unwrap_or(own);
        Self { head, protocol, port }
    }

    fn expand(&self, template: &Template, into: &mut String) -> Result<(), Error> {
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) | Piece::Unknown(text) => into.push_str(text),
                Piece::Keyword(keyword) => self.write(*keyword, into)?,
            }
        }
        Ok(())
    }

    fn write(&self, keyword: Keyword, into: &mut String) -> Result<(), Error> {
        match keyword {
            Protocol => into.push_str(self.protocol),
            Host => into.push_str(&self.host()?),
            Port => into.push_str(&self.port.to_string()),
            Path => {
                let path = self.head.path();
                // Clients differ in how they read bytes outside ASCII in a field.
                into.extend(utf8_percent_encode(path.strip_prefix('/').unwrap_or(path), CONTROLS));
            }
            Query => {
                into.extend(utf8_percent_encode(self.head.query().unwrap_or(""), CONTROLS));
            }
        }
        Ok(())
    }

    /// A host that cannot stand in a URI counts as none: another part would begin in its midst.
    fn host(&self) -> Result<String, Error> {
        if let Some(host) = self.head.host().filter(|host| is_uri_host(host)) {
            return Ok(host.to_ascii_lowercase());
        }
        match self.head.peer.and_then(Peer::local_addr).map(|local| local.ip().to_canonical()) {
            Some(IpAddr::V4(address)) => Ok(address.to_string()),
            Some(IpAddr::V6(address)) => Ok(format!("[{address}]")),
            None => Err(Error::new(Kind::Other, "a redirect, and the request names no host")),
        }
    }
}

/// Writes the status and the Location with its keywords.
impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, protocol, host, port, path, query, page: _ } = self;
        write!(f, "redirect {} to {protocol}://{host}:{port}{path}", status.as_u16())?;
        if query.as_str().is_empty() { Ok(()) } else { write!(f, "?{query}") }
    }
}

#[cfg(test)]
mod tests;
