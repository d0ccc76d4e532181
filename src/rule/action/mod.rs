//! What a rule does with a request: hand it to a group, or answer it here and now.

mod fixed;
mod forward;
mod redirect;

mod template;

use std::fmt;

pub use self::{fixed::FixedResponse, forward::Forward, redirect::Redirect};
use super::invalid::Faults;

/// What a rule does with a request that matches.
///
/// # Examples
///
/// ```
/// use pointsman::{TargetGroup, rule::{Action, FixedResponse, Forward}};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// assert_eq!(Action::from(Forward::to(&web)).to_string(), "forward to web");
/// assert_eq!(Action::from(FixedResponse::new(404)).to_string(), "fixed-response 404");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Action {
    /// A target of a group answers.
    Forward(Forward),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The answer is always the same.
    FixedResponse(FixedResponse),
}

impl Action {
    pub(super) fn check(&self, faults: &mut Faults) {
        match self {
            Self::Forward(forward) => forward.check(faults),
            Self::Redirect(redirect) => redirect.check(faults),
            Self::FixedResponse(fixed) => fixed.check(faults),
        }
    }
}

impl From<Forward> for Action {
    fn from(forward: Forward) -> Self {
        Self::Forward(forward)
    }
}

impl From<Redirect> for Action {
    fn from(redirect: Redirect) -> Self {
        Self::Redirect(redirect)
    }
}

impl From<FixedResponse> for Action {
    fn from(fixed: FixedResponse) -> Self {
        Self::FixedResponse(fixed)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(forward) => forward.fmt(f),
            Self::Redirect(redirect) => redirect.fmt(f),
            Self::FixedResponse(fixed) => fixed.fmt(f),
        }
    }
}
