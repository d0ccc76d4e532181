//! http-request-method: the method, exactly.

use std::fmt;

use super::{glob::one_of, subject::Subject};
use crate::rule::invalid::Faults;

/// Made by [`Condition::http_request_method`](super::Condition::http_request_method).
#[derive(Clone, Debug)]
pub struct HttpRequestMethod(Box<[String]>);

impl HttpRequestMethod {
    pub(super) fn new<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self(values.into_iter().map(Into::into).collect())
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> bool {
        let method = subject.head().method.as_str();
        self.0.iter().any(|value| value == method)
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        Some(format!("{:?}", subject.head().method.as_str()))
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.0.is_empty() {
            faults.missing("http-request-method", "at least one value");
        }
        for value in &self.0 {
            let allowed = |byte: u8| matches!(byte, b'A'..=b'Z' | b'-' | b'_');
            if value.is_empty() || !value.bytes().all(allowed) {
                faults.add("http-request-method", value, "only A to Z, - and _");
            }
        }
    }
}

impl fmt::Display for HttpRequestMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("http-request-method ")?;
        one_of(f, &self.0)
    }
}
