//! A condition of the user's own; what it does wrong stays with its request.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::subject::{Subject, Undecided};
use crate::{endpoint::panic_text, head::Head, rule::invalid::Faults};

/// Decides whether a request is one that a rule is for.
///
/// It is asked in the middle of a request and must not block. If it panics, that request is
/// answered 500, and no other notices.
///
/// # Examples
///
/// ```
/// use pointsman::{head::Head, rule::{Condition, Predicate}};
///
/// struct LongPath(usize);
///
/// impl Predicate for LongPath {
///     fn matches(&self, head: &Head<'_>) -> bool {
///         head.path().len() > self.0
///     }
/// }
///
/// let condition = Condition::custom("long path", LongPath(100));
/// assert_eq!(condition.to_string(), "custom long path");
/// ```
pub trait Predicate: Send + Sync {
    /// Tells whether the request matches.
    fn matches(&self, head: &Head<'_>) -> bool;
}

/// Makes a [`Predicate`] of a function.
///
/// # Examples
///
/// ```
/// use pointsman::rule::{Condition, from_fn};
///
/// let condition = Condition::custom("no query", from_fn(|head| head.query().is_none()));
/// assert_eq!(condition.to_string(), "custom no query");
/// ```
pub fn from_fn<F>(function: F) -> FromFn<F>
where
    F: Fn(&Head<'_>) -> bool + Send + Sync,
{
    FromFn(function)
}

/// Made by [`from_fn`].
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> Predicate for FromFn<F>
where
    F: Fn(&Head<'_>) -> bool + Send + Sync,
{
    fn matches(&self, head: &Head<'_>) -> bool {
        (self.0)(head)
    }
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFn").finish_non_exhaustive()
    }
}

/// Made by [`Condition::custom`](super::Condition::custom).
#[derive(Clone)]
pub struct Custom {
    name: String,
    predicate: Arc<dyn Predicate>,
}

impl Custom {
    pub(super) fn new(name: String, predicate: Arc<dyn Predicate>) -> Self {
        Self { name, predicate }
    }

    pub(super) fn test(&self, subject: &Subject<'_>) -> Result<bool, Undecided> {
        // Nothing of ours can be seen half changed: a predicate gets only shared references.
        let matches = AssertUnwindSafe(|| self.predicate.matches(subject.head()));
        catch_unwind(matches).map_err(|panic| Undecided::Panicked {
            predicate: self.name.clone(),
            words: panic_text(&*panic),
        })
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if self.name.is_empty() {
            faults.add("custom name", "", "one or more characters");
        }
    }
}

impl fmt::Display for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "custom {}", self.name)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").field("name", &self.name).finish_non_exhaustive()
    }
}
