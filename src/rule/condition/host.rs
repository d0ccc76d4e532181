//! host-header: the host of the request, without port, in either case.

use std::fmt;

use super::{
    glob::{Case, Glob, Globs},
    subject::Subject,
};
use crate::rule::invalid::Faults;

/// Made by [`Condition::host_header`](super::Condition::host_header).
#[derive(Clone, Debug)]
pub struct HostHeader(Globs);

impl HostHeader {
    pub(super) fn new<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self(Globs::new(values, |value| Glob::new(value, Case::Insensitive)))
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> bool {
        subject.host().is_some_and(|host| self.0.any(host.as_bytes()))
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        subject.host().map(|host| format!("{host:?}"))
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        self.0.check("host-header", false, faults);
    }
}

impl fmt::Display for HostHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host-header {}", self.0)
    }
}
