//! Which fields a body may end with.
//!
//! What frames or routes a message, says who its sender is or which connection it came over stands in
//! its head, where it was looked at; a recipient that puts trailers among the headers must not take it
//! from there (RFC 9110 §6.5.1).

use http::{HeaderMap, HeaderName};

use crate::field;

/// Names that no trailer has, besides those under which a balancer tells what it knows of a client.
const NEVER: [&str; 25] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
];

/// Removes the fields that no trailer has, also under a name that servers may take for theirs.
pub(super) fn screen(trailers: &mut HeaderMap) {
    for name in trailers.keys().filter(is_forbidden).cloned().collect::<Vec<_>>() {
        trailers.remove(name);
    }
}

fn is_forbidden(name: &&HeaderName) -> bool {
    let name = name.as_str();
    NEVER.into_iter().any(|never| field::reads_as(name, never)) || field::tells_of_client(name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_belongs_into_a_head_is_no_trailer() {
        let check = |name: &'static str, kept: bool| {
            let mut trailers = HeaderMap::new();
            trailers.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
            trailers.append("x-sum", HeaderValue::from_static("2"));
            screen(&mut trailers);
            assert_eq!(trailers.contains_key(name), kept, "{name}");
            assert!(trailers.contains_key("x-sum"));
        };
        for name in NEVER {
            check(name, false);
        }
        check("x-forwarded-for", false);
        check("x_forwarded_for", false);
        check("x-amzn-oidc-identity", false);
        check("x-real-ip", false);
        check("content_length", false);
        check("transfer.encoding", false);
        for name in ["grpc-status", "grpc-message", "digest", "server-timing", "x-forwarded"] {
            check(name, true);
        }
    }
}
