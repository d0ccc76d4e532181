//! An answer that is always the same.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{body::Body, rule::invalid::Faults};

/// Answers each request in the same way.
///
/// # Defaults
///
/// The content type is `text/plain; charset=utf-8`, the body is empty.
///
/// # Examples
///
/// ```
/// use pointsman::rule::FixedResponse;
///
/// let maintenance = FixedResponse::new(503)
///     .content_type("application/json")
///     .body(r#"{"error":"back at noon"}"#);
/// let response = maintenance.response();
/// assert_eq!(response.status(), 503);
/// assert_eq!(response.headers()["content-type"], "application/json");
/// ```
#[derive(Clone, Debug)]
pub struct FixedResponse {
    status: u16,
    /// As the user wrote it, if no field can hold it.
    content_type: Result<HeaderValue, String>,
    body: Bytes,
}

impl FixedResponse {
    /// Answers with this status, 200 to 299 or 400 to 599.
    pub fn new(status: u16) -> Self {
        let content_type = Ok(HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { status, content_type, body: Bytes::new() }
    }

    /// Sets the content type; it is sent as it is written here.
    #[must_use]
    pub fn content_type(mut self, content_type: impl AsRef<str>) -> Self {
        let text = content_type.as_ref();
        let visible = !text.is_empty() && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        self.content_type =
            HeaderValue::from_str(text).ok().filter(|_| visible).ok_or_else(|| text.to_owned());
        self
    }

    /// Sets the body, of any length; it is shared by all answers.
    ///
    /// A status that has none, 204 or 205, is sent without it.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Returns the answer.
    pub fn response(&self) -> Response<Body> {
        // A table admits no status that is not one.
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // RFC 9110 §15.3.5, §15.3.6
        let empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        let body = if empty { Body::default() } else { Body::from(self.body.clone()) };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if let (false, Ok(content_type)) = (empty, &self.content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
        }
        response
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if !matches!(self.status, 200..=299 | 400..=599) {
            let expected = "200 to 299 or 400 to 599";
            faults.add("fixed-response status", self.status.to_string(), expected);
        }
        if let Err(text) = &self.content_type {
            let expected = "one or more visible ASCII characters and spaces";
            faults.add("fixed-response content type", text, expected);
        }
    }
}

impl fmt::Display for FixedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fixed-response {}", self.status)
    }
}
