//! What was found in a document: what is wrong with it, and what is to be known of it.
//!
//! What is looked for is decided where the parts of the document are read; here it is gathered and
//! told, one line each.

use std::{borrow::Cow, fmt};

/// One thing found in a document.
///
/// `Display` writes it on one line: `TargetGroups[0].HealthCheckIntervalSeconds: 4: expected 5 to
/// 300`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    path: String,
    value: Option<String>,
    text: Cow<'static, str>,
    more: usize,
}

impl Finding {
    pub(super) fn new(
        path: impl Into<String>,
        value: Option<String>,
        text: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { path: path.into(), value, text: text.into(), more: 0 }
    }

    /// Returns where in the document it is: `Listeners[0].Rules[2].Conditions[0].Field`; of a text
    /// that is no JSON, line and column.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns what stands there, as it is shown; `None` if nothing does or it does not matter.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Returns what is to be said of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns at how many other places the same is to be said.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Tells whether the other is the same, of another part of the document.
    fn is_alike(&self, other: &Self) -> bool {
        let kind = |path: &str| {
            path.split(['[', ']'])
                .filter(|part| !part.bytes().all(|byte| byte.is_ascii_digit()))
                .collect::<String>()
        };
        self.text == other.text && kind(&self.path) == kind(&other.path)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(value) = &self.value {
            write!(f, ": {value}")?;
        }
        write!(f, ": {}", self.text)?;
        if self.more > 0 {
            let places = if self.more == 1 { "place" } else { "places" };
            write!(f, " (and at {} other {places})", self.more)?;
        }
        Ok(())
    }
}

/// Why a document cannot be used: everything that is wrong with it.
///
/// `Display` writes one error a line.
///
/// # Examples
///
/// ```
/// use pointsman::gateway::Document;
///
/// let invalid = Document::parse(r#"{"Listeners": [{"Protocol": "HTTP", "Prot": 80}]}"#).unwrap_err();
/// assert_eq!(
///     invalid.to_string(),
///     "Listeners[0].Prot: unknown field, did you mean Port?\n\
///      Listeners[0].Port: missing, expected 1 to 65535\n\
///      Listeners[0].DefaultActions: missing, expected one forward, redirect or fixed-response",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDocument {
    errors: Vec<Finding>,
}

impl InvalidDocument {
    pub(super) fn of(error: Finding) -> Self {
        Self { errors: vec![error] }
    }

    /// Returns the errors; there is at least one.
    pub fn errors(&self) -> &[Finding] {
        &self.errors
    }
}

impl fmt::Display for InvalidDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidDocument {}

/// What has been found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn error(&mut self, error: Finding) {
        self.errors.push(error);
    }

    /// Notes what will have no effect; the same of many places is said once.
    pub(super) fn warning(&mut self, warning: Finding) {
        match self.warnings.iter_mut().find(|known| known.is_alike(&warning)) {
            Some(known) => known.more += 1,
            None => self.warnings.push(warning),
        }
    }

    /// Returns the warnings, unless there are errors.
    pub(super) fn into_result(self) -> Result<Vec<Finding>, InvalidDocument> {
        let Self { errors, warnings } = self;
        if errors.is_empty() { Ok(warnings) } else { Err(InvalidDocument { errors }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_of_many_places_is_said_once() {
        let mut report = Report::default();
        for path in ["A[0].B", "A[1].B", "A[12].C[3].B", "A[2].C[4].B", "A[2].B", "A[3].B9"] {
            report.warning(Finding::new(path, Some("1".to_owned()), "ignored"));
        }
        let warnings: Vec<_> =
            report.into_result().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "A[0].B: 1: ignored (and at 2 other places)",
                "A[12].C[3].B: 1: ignored (and at 1 other place)",
                "A[3].B9: 1: ignored",
            ]
        );
    }
}
