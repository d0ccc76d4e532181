//! path-pattern: the normal form of the path, never the query, upper and lower case apart.

use std::fmt;

use super::{
    glob::{Glob, Globs},
    subject::Subject,
};
use crate::rule::invalid::Faults;

/// Made by [`Condition::path_pattern`](super::Condition::path_pattern).
#[derive(Clone, Debug)]
pub struct PathPattern(Globs);

impl PathPattern {
    pub(super) fn new<V: Into<String>>(values: impl IntoIterator<Item = V>) -> Self {
        Self(Globs::new(values, Glob::path))
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> bool {
        self.0.any(subject.path().as_bytes())
    }

    pub(super) fn compared(&self, subject: &Subject<'_>) -> Option<String> {
        Some(format!("{:?}", subject.path()))
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        self.0.check("path-pattern", false, faults);
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path-pattern {}", self.0)
    }
}
