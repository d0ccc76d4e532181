//! http-header: each field line of a name in turn, whole, in either case.

use std::fmt;

use http::{HeaderName, header};

use super::{
    glob::{Case, Glob, Globs},
    subject::Subject,
};
use crate::rule::invalid::Faults;

/// Made by [`Condition::http_header`](super::Condition::http_header).
#[derive(Clone, Debug)]
pub struct HttpHeader {
    /// As the user wrote it.
    text: String,
    /// `None` if no field can have that name.
    name: Option<HeaderName>,
    values: Globs,
}

impl HttpHeader {
    pub(super) fn new<V: Into<String>>(text: String, values: impl IntoIterator<Item = V>) -> Self {
        let name = HeaderName::from_bytes(text.as_bytes()).ok();
        let values = Globs::new(values, |value| Glob::new(value, Case::Insensitive));
        Self { text, name, values }
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> bool {
        self.lines(subject).any(|line| self.values.any(line))
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        let lines: Vec<_> = self
            .lines(subject)
            .map(|line| format!("{:?}", String::from_utf8_lossy(line)))
            .collect();
        (!lines.is_empty()).then(|| lines.join(", "))
    }

    fn lines<'s>(&self, subject: &'s Subject<'_>) -> impl Iterator<Item = &'s [u8]> {
        let headers = subject.head().headers;
        let lines = self.name.iter().flat_map(|name| headers.get_all(name));
        lines.map(http::HeaderValue::as_bytes)
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        match &self.name {
            None => {
                let expected = "the name of a header field: letters, digits and !#$%&'*+-.^_`|~";
                faults.add("http-header name", &*self.text, expected);
            }
            Some(name) if name == header::HOST => {
                faults.add("http-header name", &*self.text, "a host-header condition instead");
            }
            Some(_) => {}
        }
        self.values.check("http-header", true, faults);
    }
}

impl fmt::Display for HttpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http-header {} {}", self.text, self.values)
    }
}
