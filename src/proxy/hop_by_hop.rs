//! What belongs to one connection, and goes no further (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::list;
use crate::field;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that belong to one connection. Transfer-Encoding is among them since each side frames its
/// own messages.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TE,
    header::UPGRADE,
    HTTP2_SETTINGS,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
];

/// Fields that naming them in Connection does not remove: without them a message would mean
/// something else to the target than to us, or would not say who the client is.
fn survives_connection(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 7] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::COOKIE,
        header::AUTHORIZATION,
        header::SET_COOKIE,
        header::FORWARDED,
        header::VIA,
    ];
    NAMES.contains(name) || field::tells_of_client(name.as_str())
}

/// Tells whether a field belongs to one connection.
pub(super) fn is(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

/// Removes what belongs to the connection a message came over.
pub(super) fn strip(headers: &mut HeaderMap) {
    if !headers.keys().any(is) {
        return;
    }
    // A length beside another framing is wrong (RFC 9112 §6.3), and would be believed once that is
    // gone.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let named = list::elements(headers, &header::CONNECTION);
    let named = named.filter_map(|name| HeaderName::from_bytes(name).ok());
    let named = named.filter(|name| !survives_connection(name)).collect::<Vec<_>>();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Tells whether who sent this takes trailers.
pub(super) fn takes_trailers(headers: &HeaderMap) -> bool {
    list::has(headers, &header::TE, "trailers")
}

/// Says that we take trailers, since we pass them on (RFC 9110 §10.1.4).
pub(super) fn take_trailers(headers: &mut HeaderMap) {
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
}
