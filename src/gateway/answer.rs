//! The answers that ALB makes itself, to the byte: short pages of HTML.
//!
//! Which status an error has is `error.rs`'s table. No Server field is written: this is not AWS.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{
    body::Body,
    error::{Error, Kind},
};

/// Makes ALB's answer to a request that no target answered.
///
/// # Examples
///
/// ```
/// use pointsman::{error::{Error, Kind}, gateway::on_error};
///
/// let response = on_error(&Error::from(Kind::NoTarget));
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["content-type"], "text/html");
/// ```
pub fn on_error(error: &Error) -> Response<Body> {
    let status = match error.kind() {
        // ALB does not tell this from a request that is malformed.
        Kind::HeadersTooLarge => StatusCode::BAD_REQUEST,
        _ => error.status(),
    };
    let mut response = Response::new(Body::from(page(status.as_u16())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// Makes the page of a status.
pub(super) fn page(status: u16) -> Bytes {
    let reason = reason(status);
    let blank = if reason.is_empty() { "" } else { " " };
    Bytes::from(format!(
        "<html>\r\n<head><title>{status}{blank}{reason}</title></head>\r\n<body>\r\n\
         <center><h1>{status}{blank}{reason}</h1></center>\r\n</body>\r\n</html>\r\n"
    ))
}

/// What ALB calls a status, which is not always what HTTP does.
fn reason(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        408 => "Request Time-out",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        417 => "Expectation Failed",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_those_of_alb() {
        assert_eq!(
            page(503),
            "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n\
             <body>\r\n<center><h1>503 Service Temporarily Unavailable</h1></center>\r\n\
             </body>\r\n</html>\r\n"
        );
        // As long as those seen on the wire, and as those of the same form.
        let lengths = [
            (503, 162),
            (502, 122),
            (301, 134),
            (302, 110),
            (400, 122),
            (403, 118),
            (500, 142),
            (504, 132),
            (414, 142),
            (413, 148),
        ];
        for (status, length) in lengths {
            assert_eq!(page(status).len(), length, "{status}");
        }
        assert!(page(561).starts_with(b"<html>\r\n<head><title>561</title>"));
    }

    #[test]
    fn fields_that_are_too_long_are_malformed() {
        assert_eq!(on_error(&Kind::HeadersTooLarge.into()).status(), 400);
        assert_eq!(on_error(&Kind::ForwardedForTooLong.into()).status(), 463);
    }

    #[test]
    fn an_error_becomes_its_page() {
        let kinds = [
            Kind::NoRule,
            Kind::NoTarget,
            Kind::Connect,
            Kind::AnswerTimeout,
            Kind::ClientBody,
            Kind::ClientIdle,
            Kind::RedirectTooLong,
            Kind::Other,
            Kind::Desync,
            Kind::MethodNotAllowed,
            Kind::BodyTooLarge,
            Kind::UriTooLong,
            Kind::Expectation,
            Kind::TransferCoding,
        ];
        for kind in kinds {
            let response = on_error(&kind.into());
            assert_eq!(response.status(), kind.status());
            assert_eq!(response.headers().len(), 1);
            assert!(!reason(kind.status().as_u16()).is_empty(), "{kind:?}");
            let page = page(kind.status().as_u16());
            let length = http_body::Body::size_hint(response.body()).exact().unwrap();
            assert_eq!(length, page.len() as u64);
        }
    }
}
