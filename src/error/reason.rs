//! What went wrong in the words of RFC 9209, which are few: for logs, counters and Proxy-Status.
//!
//! Each kind has one; who knows more than the kind says so when it makes the error.

use super::Kind;

impl Kind {
    /// Returns the error type of RFC 9209 §2.3 that fits best.
    ///
    /// | kind | error type |
    /// |---|---|
    /// | `NoRule` | `destination_not_found` |
    /// | `NoTarget` | `destination_unavailable` |
    /// | `Saturated` | `connection_limit_reached` |
    /// | `Exhausted` | `proxy_internal_error`, or in words of our own what is lacking: `local_port`, `local_descriptors` |
    /// | `Connect` | `destination_unavailable`, or what is known better: `connection_refused`, `dns_error` |
    /// | `ConnectTimeout` | `connection_timeout`, or `dns_timeout` |
    /// | `Exchange` | `http_protocol_error`, or what is known better: `connection_terminated` when nothing was received, `http_response_incomplete` |
    /// | `AnswerTimeout`, `RequestTimeout` | `http_response_timeout` |
    /// | `Cut` | `connection_terminated` |
    /// | `NoPeer`, `RedirectTooLong` | `proxy_configuration_error` |
    /// | any other that is the client's fault: a status of 4xx, or 501 | `http_request_error` |
    /// | any other | `proxy_internal_error` |
    ///
    /// [`Error::reason`](super::Error::reason) is the one of an error.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoRule => "destination_not_found",
            Self::NoTarget | Self::Connect => "destination_unavailable",
            Self::Saturated => "connection_limit_reached",
            Self::ConnectTimeout => "connection_timeout",
            Self::Exchange => "http_protocol_error",
            Self::AnswerTimeout | Self::RequestTimeout => "http_response_timeout",
            Self::Cut => "connection_terminated",
            Self::NoPeer | Self::RedirectTooLong => "proxy_configuration_error",
            // 501 is for requests that a proxy cannot pass on.
            kind if kind.status().is_client_error() || kind.status() == 501 => "http_request_error",
            _ => "proxy_internal_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;

    /// RFC 9209 §2.3, in its order.
    const REGISTERED: [&str; 31] = [
        "dns_timeout",
        "dns_error",
        "destination_not_found",
        "destination_unavailable",
        "destination_ip_prohibited",
        "destination_ip_unroutable",
        "connection_refused",
        "connection_terminated",
        "connection_timeout",
        "connection_read_timeout",
        "connection_write_timeout",
        "connection_limit_reached",
        "tls_protocol_error",
        "tls_certificate_error",
        "tls_alert_received",
        "http_request_error",
        "http_request_denied",
        "http_response_incomplete",
        "http_response_header_section_size",
        "http_response_header_size",
        "http_response_body_size",
        "http_response_trailer_section_size",
        "http_response_trailer_size",
        "http_response_transfer_coding",
        "http_response_content_coding",
        "http_response_timeout",
        "http_upgrade_failed",
        "http_protocol_error",
        "proxy_internal_response",
        "proxy_internal_error",
        "proxy_configuration_error",
    ];

    #[test]
    fn every_kind_has_a_reason_that_is_registered() {
        let check = |kind: Kind, expected: &str| {
            assert!(REGISTERED.contains(&expected), "{expected}");
            assert_eq!(kind.reason(), expected, "{kind:?}");
            assert_eq!(Error::from(kind).reason(), expected);
        };
        check(Kind::NoRule, "destination_not_found");
        check(Kind::NoTarget, "destination_unavailable");
        check(Kind::Saturated, "connection_limit_reached");
        check(Kind::Exhausted, "proxy_internal_error");
        check(Kind::Connect, "destination_unavailable");
        check(Kind::ConnectTimeout, "connection_timeout");
        check(Kind::Exchange, "http_protocol_error");
        check(Kind::AnswerTimeout, "http_response_timeout");
        check(Kind::RequestTimeout, "http_response_timeout");
        check(Kind::Cut, "connection_terminated");
        check(Kind::ClientBody, "http_request_error");
        check(Kind::ClientIdle, "http_request_error");
        check(Kind::MethodNotAllowed, "http_request_error");
        check(Kind::InvalidUri, "http_request_error");
        check(Kind::InvalidHost, "http_request_error");
        check(Kind::Desync, "http_request_error");
        check(Kind::BodyTooLarge, "http_request_error");
        check(Kind::UriTooLong, "http_request_error");
        check(Kind::Expectation, "http_request_error");
        check(Kind::HeadersTooLarge, "http_request_error");
        check(Kind::ForwardedForTooLong, "http_request_error");
        check(Kind::TransferCoding, "http_request_error");
        check(Kind::NoPeer, "proxy_configuration_error");
        check(Kind::RedirectTooLong, "proxy_configuration_error");
        check(Kind::Panicked, "proxy_internal_error");
        check(Kind::NoRuntime, "proxy_internal_error");
        check(Kind::Other, "proxy_internal_error");
    }

    #[test]
    fn what_is_known_better_is_said() {
        let error = Error::new(Kind::Connect, "refused").with_reason("connection_refused");
        assert_eq!(error.reason(), "connection_refused");
        let elapsed: tower::BoxError = tower::timeout::error::Elapsed::new().into();
        assert_eq!(Error::from(elapsed).reason(), "http_response_timeout");
    }
}
