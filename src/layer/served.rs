//! Who answered: an extension of every response, for logs and metrics, and for the floors above.

use crate::id::{GroupName, RuleId, TargetId};

/// Who answered a request.
///
/// # Examples
///
/// ```
/// use pointsman::{id::RuleId, layer::Served};
///
/// fn log<B>(response: &http::Response<B>) -> String {
///     match response.extensions().get::<Served>() {
///         Some(served) => format!("{} {:?}", served.rule, served.target),
///         None => "no rule matched".to_owned(),
///     }
/// }
/// # let mut response = http::Response::new(());
/// # response.extensions_mut().insert(Served::by_rule(RuleId::Default));
/// # assert_eq!(log(&response), "default rule None");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// The rule that matched.
    pub rule: RuleId,
    /// The group that was chosen; none if the rule itself answered.
    pub group: Option<GroupName>,
    /// The target that answered; none if there was an error before.
    pub target: Option<TargetId>,
    /// Whether the target was picked without regard to health, since none was healthy.
    pub fail_open: bool,
}

impl Served {
    /// Says that a rule answered by itself.
    pub fn by_rule(rule: RuleId) -> Self {
        Self { rule, group: None, target: None, fail_open: false }
    }

    /// Says that a target answered.
    pub fn by_target(rule: RuleId, group: GroupName, target: TargetId) -> Self {
        Self { rule, group: Some(group), target: Some(target), fail_open: false }
    }
}
