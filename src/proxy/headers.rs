//! The header work of a proxy, step by step: what belongs to one connection goes, what tells about the
//! client comes.
//!
//! Each step is a file of its own beside this one. What depends on the target, of which there may be
//! several, is `layer/forward/adapt.rs`'s.

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};

use super::{
    forwarded, hop_by_hop, host,
    introduction::{self, Introduction},
    noted::Noted,
    options::HttpOptions,
    spoofed, trusted, upgrade,
    via::Via,
};
use crate::{
    body::Body,
    head::{Head, Peer},
};

/// Makes a client's request one that may go to any target. Called once a request, so that a second
/// attempt does not append twice.
///
/// The peer is whoever opened the connection; if that is a trusted proxy, what it says of its client
/// counts. Without a peer nobody vouches for X-Forwarded-*: what came under these names is dropped.
pub fn toward_targets(request: &mut Request<Body>, peer: Option<&Peer>, options: &HttpOptions) {
    let peer = peer.map(|peer| {
        effective_peer(mark_trusted(*peer, options), &Head::of(request, None), options)
    });
    let noted = Noted::of(request.headers());
    introduce(request, peer.as_ref(), None, options, noted);
}

/// Notes whether a connection is one of a trusted proxy, which is the same for all its requests.
pub(crate) fn mark_trusted(mut peer: Peer, options: &HttpOptions) -> Peer {
    // What a balancer in front of this one, in this process, has found out stands.
    if !peer.is_forwarded() {
        peer.set_trusted(trusted::is_trusted(peer.socket().ip(), &options.trusted_proxies));
    }
    peer
}

/// Returns who speaks in a request: the peer, or the client for whom it, a trusted proxy, speaks.
pub(crate) fn effective_peer(peer: Peer, head: &Head<'_>, options: &HttpOptions) -> Peer {
    trusted::believe(peer, head, &options.trusted_proxies)
}

/// Makes a client's request one that may go to any target; `peer` is the effective one, `known` what
/// was made of its connection beforehand, `noted` what fields it has.
pub(crate) fn introduce(
    request: &mut Request<Body>,
    peer: Option<&Peer>,
    known: Option<&Introduction>,
    options: &HttpOptions,
    noted: Noted,
) {
    let version = request.version();
    // First of all, since its rule counts the headers as they came.
    if let Some(ids) = &options.trace_ids {
        ids.update(request.headers_mut());
    }
    let protocol = noted.upgrade.then(|| upgrade::allowed(request, options)).flatten();
    host::of_authority(request);
    let headers = request.headers_mut();
    let trailers = noted.te && hop_by_hop::takes_trailers(headers);
    if noted.hop_by_hop {
        hop_by_hop::strip(headers);
    }
    if noted.expect {
        // The body is read at once, which makes the server send 100 Continue itself.
        headers.remove(header::EXPECT);
    }
    if let Some(protocol) = protocol {
        upgrade::name(headers, protocol);
    } else if trailers {
        hop_by_hop::take_trailers(headers);
    }
    if noted.cookie {
        join_cookies(headers);
    }
    if noted.spoofed {
        // Before ours are written, of which one may have such a name.
        let by_proxy = peer.is_some_and(|peer| peer.is_trusted_proxy() || peer.is_forwarded());
        spoofed::remove(headers, by_proxy, options.strip_amzn);
    }
    match peer {
        None => introduction::disown(headers),
        Some(peer) if peer.is_forwarded() => {}
        Some(peer) => {
            let mode = options.forwarded_for;
            match known.filter(|known| known.is_of(peer)) {
                Some(known) => known.write(headers, peer, mode, noted),
                None => Introduction::of(peer, options).write(headers, peer, mode, noted),
            }
            if options.forwarded {
                forwarded::append(headers, peer, options.forwarded_for_port);
            }
        }
    }
    if let Some(via) = &options.via {
        via.append(headers, version);
    }
    // After Forwarded, which tells the Host that the client sent.
    if options.rewrite_host {
        host::rewrite(request, peer);
    }
}

/// Makes a target's answer one that may go to the client.
pub fn toward_client(response: &mut Response<Body>, options: &HttpOptions) {
    return_to_client(response, options.via.as_ref());
}

/// Does the same, with all that it needs of the options.
pub(crate) fn return_to_client(response: &mut Response<Body>, via: Option<&Via>) {
    let version = response.version();
    hop_by_hop::strip(response.headers_mut());
    if let Some(via) = via {
        via.append(response.headers_mut(), version);
    }
    // The version of the target's answer says nothing about the client's connection.
    *response.version_mut() = Version::default();
}

/// HTTP/2 may send a cookie in pieces; HTTP/1.1 has one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    if let Ok(joined) = HeaderValue::from_bytes(&all.collect::<Vec<_>>().join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
