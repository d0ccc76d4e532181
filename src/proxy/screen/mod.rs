//! Which requests a proxy takes: what is wrong, too much or meant for the proxy itself reaches neither
//! rules nor targets.
//!
//! All fields are looked at once, and a request with nothing special costs no allocation. What becomes
//! of a refusal is `error.rs`'s table; how the heads of those that pass are changed, `headers.rs`'s.

mod authority;
mod path;

use std::fmt::Display;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header};

use super::{
    desync::{DesyncMode, Fate, Framing},
    limits::Limits,
    list,
    noted::Noted,
    options::HttpOptions,
};
use crate::{
    error::{Error, Kind},
    grammar,
    head::Peer,
};

/// What becomes of a request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screened {
    Pass(Passed),
    /// It was for the proxy, which says that it is there.
    LastHop,
}

/// What is known of a request that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Whether no connection it went over is used again.
    pub(crate) alone: bool,
    pub(crate) noted: Noted,
}

/// Refuses a request, or lets it pass without the fields that no target may get.
///
/// A request of HTTP/1.1 without a Host is refused if there is a peer, since it came from a client
/// then (RFC 9112 §3.2); one that was made in this process, by a test for example, need not have one.
///
/// # Errors
///
/// One whose kind says what is wrong, with one of a few texts and numbers.
pub(crate) fn screen<B: http_body::Body>(
    request: &mut Request<B>,
    peer: Option<&Peer>,
    options: &HttpOptions,
) -> Result<Screened, Error> {
    let (method, version) = (request.method(), request.version());
    // Who asks for a loop back or a tunnel is asking the proxy, which gives neither.
    if *method == Method::TRACE || *method == Method::CONNECT {
        return Err(Kind::MethodNotAllowed.into());
    }
    check_uri(request.uri(), method, options)?;
    let fields = Fields::of(request.headers(), options);
    fields.check_size(&options.limits)?;
    fields.check_host(request.uri(), version, peer)?;
    if fields.unknown_expectation {
        return Err(Kind::Expectation.into());
    }
    let alone = classify(&fields.framing, method, version, options)?;
    if fields.framing.has_foreign_coding() {
        return Err(Kind::TransferCoding.into());
    }
    // A balancer in this process has counted before it added the client.
    if came_from_a_client(peer) {
        let (found, max) = (fields.forwarded_for, options.limits.forwarded_for);
        too_much(Kind::ForwardedForTooLong, found, max, "addresses")?;
    }
    if let Some(max) = options.limits.body {
        too_much(Kind::BodyTooLarge, request.body().size_hint().lower(), max, "bytes")?;
    }
    let noted = fields.noted;
    if fields.unwanted {
        drop_unwanted(request.headers_mut(), options);
    }
    if *request.method() == Method::OPTIONS && is_last_hop(request.headers_mut()) {
        return Ok(Screened::LastHop);
    }
    Ok(Screened::Pass(Passed { alone, noted }))
}

/// Fails if there is more than there may be.
#[inline]
fn too_much<N: PartialOrd + Display>(
    kind: Kind,
    found: N,
    max: N,
    what: &str,
) -> Result<(), Error> {
    if found > max { Err(excess(kind, found, max, what)) } else { Ok(()) }
}

#[cold]
fn excess<N: Display>(kind: Kind, found: N, max: N, what: &str) -> Error {
    Error::new(kind, format!("{found} {what}, at most {max} are allowed"))
}

/// Says that no connection the request goes over is used again.
pub(crate) fn send_alone(headers: &mut HeaderMap) {
    headers.append(header::CONNECTION, HeaderValue::from_static("close"));
}

fn came_from_a_client(peer: Option<&Peer>) -> bool {
    peer.is_some_and(|peer| !peer.is_forwarded())
}

/// Checks the request target: RFC 9112 §3.2.
fn check_uri(uri: &Uri, method: &Method, options: &HttpOptions) -> Result<(), Error> {
    let refuse = |why| Err(Error::new(Kind::InvalidUri, why));
    let path = uri.path();
    let before = match (uri.scheme(), uri.authority()) {
        (None, None) => 0,
        (Some(scheme), Some(authority)) => {
            if !matches!(scheme.as_str(), "http" | "https") {
                return refuse("a scheme other than http and https");
            }
            if authority.as_str().contains('@') {
                return refuse("user information");
            }
            if !authority::is_valid(authority.as_str().as_bytes()) {
                return refuse("an authority that is none");
            }
            scheme.as_str().len() + "://".len() + authority.as_str().len()
        }
        _ => return refuse("an authority without a scheme and a path"),
    };
    let rest = uri.path_and_query().map_or(0, |path| path.as_str().len());
    too_much(Kind::UriTooLong, before + rest, options.limits.uri, "bytes")?;
    if path == "*" {
        return if *method == Method::OPTIONS { Ok(()) } else { refuse("* without OPTIONS") };
    }
    if let Some(why) = path::never(path) {
        return refuse(why);
    }
    if options.reject_ambiguous_paths
        && let Some(why) = path::ambiguous(path)
    {
        return refuse(why);
    }
    Ok(())
}

/// What one look at all fields tells.
#[derive(Debug, Default)]
struct Fields<'a> {
    count: usize,
    size: usize,
    size_of_longest: usize,
    hosts: usize,
    host: Option<&'a HeaderValue>,
    forwarded_for: usize,
    unknown_expectation: bool,
    /// Whether there are some that no target may get.
    unwanted: bool,
    framing: Framing,
    noted: Noted,
}

impl<'a> Fields<'a> {
    fn of(headers: &'a HeaderMap, options: &HttpOptions) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            let (key, name, bytes) = (name, name.as_str(), value.as_bytes());
            // As on the wire: name, colon, blank, value, end of line.
            let size = name.len() + bytes.len() + 4;
            fields.count += 1;
            fields.size += size;
            fields.size_of_longest = fields.size_of_longest.max(size);
            fields.unwanted |= options.drop_invalid_header_fields && !is_plain(name);
            if !Noted::may_count(name) {
                continue;
            }
            fields.noted.note(key);
            match name {
                "host" => {
                    fields.hosts += 1;
                    fields.host = Some(value);
                }
                "expect" => fields.unknown_expectation |= !expects_continue(bytes),
                "x-forwarded-for" => fields.forwarded_for += list::elements_of(bytes).count(),
                _ if Framing::may_frame(name) => {
                    fields.unwanted |= fields.framing.note(name, bytes);
                }
                _ => {}
            }
        }
        fields
    }

    fn check_size(&self, limits: &Limits) -> Result<(), Error> {
        let kind = Kind::HeadersTooLarge;
        too_much(kind, self.count, limits.header_count, "fields")?;
        too_much(kind, self.size_of_longest, limits.header, "bytes in one field")?;
        too_much(kind, self.size, limits.headers, "bytes in all fields")
    }

    fn check_host(&self, uri: &Uri, version: Version, peer: Option<&Peer>) -> Result<(), Error> {
        let refuse = |why| Err(Error::new(Kind::InvalidHost, why));
        let host = match (self.host, self.hosts) {
            (None, _) if came_from_a_client(peer) && version == Version::HTTP_11 => {
                return refuse("none");
            }
            (None, _) => return Ok(()),
            (Some(host), 1) => host.as_bytes(),
            (Some(_), _) => return refuse("more than one"),
        };
        if !authority::is_valid(host) {
            return refuse("not a host with or without a port");
        }
        match uri.authority() {
            // RFC 9113 §8.3.1; in HTTP/1.1 the one in the request target counts (RFC 9112 §3.2.2).
            // A balancer in this process may have written another Host than came.
            Some(authority)
                if version >= Version::HTTP_2
                    && !peer.is_some_and(Peer::is_forwarded)
                    && !host.eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
            {
                refuse("another than :authority")
            }
            _ => Ok(()),
        }
    }
}

/// Tells of a request that is not compliant, and whether it must be alone on its connections.
fn classify(
    framing: &Framing,
    method: &Method,
    version: Version,
    options: &HttpOptions,
) -> Result<bool, Error> {
    let mode = options.desync_mode;
    let Some(reason) = framing.judge(method, version) else {
        return Ok(mode != DesyncMode::Monitor && framing.may_stay_unread(method, version));
    };
    let class = reason.class();
    let fate = mode.fate(class);
    tracing::info!(
        classification = class.as_str(),
        classification_reason = reason.as_str(),
        ?mode,
        refused = fate == Fate::Refuse,
        "a request may be read in two ways"
    );
    match fate {
        Fate::Pass => Ok(false),
        Fate::PassAlone => Ok(true),
        Fate::Refuse => Err(Error::new(Kind::Desync, reason.as_str())),
    }
}

/// Takes out what [`Fields::unwanted`] said there is.
fn drop_unwanted(headers: &mut HeaderMap, options: &HttpOptions) {
    let unwanted = |name: &&HeaderName| {
        Framing::default().note(name.as_str(), b"0")
            || options.drop_invalid_header_fields && !is_plain(name.as_str())
    };
    for name in headers.keys().filter(unwanted).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Tells whether a name is what ALB calls valid.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Tells whether nothing else is expected (RFC 9110 §10.1.1).
fn expects_continue(value: &[u8]) -> bool {
    list::elements_of(value).all(|element| element.eq_ignore_ascii_case(b"100-continue"))
}

/// Counts down Max-Forwards, and tells whether it says that this is where a request ends
/// (RFC 9110 §7.6.2).
fn is_last_hop(headers: &mut HeaderMap) -> bool {
    let Some(value) = headers.get_mut(header::MAX_FORWARDS) else { return false };
    // What is no number is left to the target.
    match value.to_str().ok().and_then(grammar::number::<u64>) {
        Some(left) => {
            *value = HeaderValue::from(left.saturating_sub(1));
            left == 0
        }
        None => false,
    }
}

#[cfg(test)]
mod tests;
