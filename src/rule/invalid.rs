//! What is wrong with a table, all of it at once.
//!
//! What is allowed is decided beside each condition and action; here it is only gathered and told.

use std::{borrow::Cow, fmt};

/// Why a table was not built: every fault in it, in the order the rules were given.
///
/// `Display` writes one fault a line.
///
/// # Examples
///
/// ```
/// use pointsman::rule::{Condition, FixedResponse, Rule, RuleTable};
///
/// let faulty = Rule::new(0)
///     .when(Condition::http_request_method(["get"]))
///     .then(FixedResponse::new(302));
/// let invalid = RuleTable::builder().rule(faulty).build().unwrap_err();
/// assert_eq!(
///     invalid.to_string(),
///     "rule 0: priority \"0\": expected 1 to 4294967295\n\
///      rule 0: http-request-method \"get\": expected only A to Z, - and _\n\
///      rule 0: fixed-response status \"302\": expected 200 to 299 or 400 to 599",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRules(Vec<InvalidRule>);

impl InvalidRules {
    /// Returns the faults; there is at least one.
    pub fn faults(&self) -> &[InvalidRule] {
        &self.0
    }
}

impl fmt::Display for InvalidRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            fault.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidRules {}

/// One fault of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRule {
    rule: Option<u32>,
    place: &'static str,
    value: Option<String>,
    expected: Cow<'static, str>,
}

impl InvalidRule {
    /// Returns the priority of the rule; `None` for the default rule.
    pub fn rule(&self) -> Option<u32> {
        self.rule
    }

    /// Returns which part of the rule it is, `path-pattern` or `redirect port`.
    pub fn place(&self) -> &'static str {
        self.place
    }

    /// Returns what stands there; `None` if nothing does.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }

    /// Returns what may stand there.
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(priority) => write!(f, "rule {priority}: {}", self.place)?,
            None => write!(f, "default rule: {}", self.place)?,
        }
        if let Some(value) = &self.value {
            write!(f, " {value:?}")?;
        }
        write!(f, ": expected {}", self.expected)
    }
}

impl std::error::Error for InvalidRule {}

/// The faults found so far, and the rule that is being looked at.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rule: Option<u32>,
    found: Vec<InvalidRule>,
}

impl Faults {
    /// Says which rule the faults from here on belong to; `None` is the default rule.
    pub(super) fn look_at(&mut self, rule: Option<u32>) {
        self.rule = rule;
    }

    /// Notes a value that cannot stand where it does.
    pub(super) fn add(
        &mut self,
        place: &'static str,
        value: impl Into<String>,
        expected: impl Into<Cow<'static, str>>,
    ) {
        self.push(place, Some(value.into()), expected.into());
    }

    /// Notes that something is missing.
    pub(super) fn missing(&mut self, place: &'static str, expected: &'static str) {
        self.push(place, None, expected.into());
    }

    fn push(&mut self, place: &'static str, value: Option<String>, expected: Cow<'static, str>) {
        self.found.push(InvalidRule { rule: self.rule, place, value, expected });
    }

    /// Returns the faults as an error, if there are any.
    pub(super) fn into_result(self) -> Result<(), InvalidRules> {
        if self.found.is_empty() { Ok(()) } else { Err(InvalidRules(self.found)) }
    }
}
