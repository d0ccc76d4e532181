//! Why a request goes where it goes, without sending it there.
//!
//! The verdicts are those of the one walk that also serves requests; only the reasons are worked out
//! beside it. Which target of the group it would be is told by `group/`.

use std::fmt;

use super::{
    action::Action,
    condition::{Condition, Subject, Undecided},
    table::{Match, RuleTable},
};
use crate::{
    error::Error,
    group::TargetExplanation,
    head::Head,
    id::{GroupName, RuleId, TargetId},
};

impl RuleTable {
    /// Tells what would become of a request, and why; changes nothing, not even the next draw.
    ///
    /// Predicates of custom conditions are asked as for a real request.
    ///
    /// # Examples
    ///
    /// ```
    /// use pointsman::{TargetGroup, head::Head, rule::{Condition, Forward, Rule, RuleTable}};
    ///
    /// let web = TargetGroup::builder("web").build().unwrap();
    /// let rule = Rule::new(1)
    ///     .when(Condition::host_header(["*.example.com"]))
    ///     .then(Forward::to(&web));
    /// let table = RuleTable::builder().rule(rule).build().unwrap();
    ///
    /// let request = http::Request::get("/").header("host", "a.org").body(()).unwrap();
    /// let explanation = table.explain(&Head::of(&request, None));
    /// assert_eq!(explanation.matched_rule(), None);
    /// assert_eq!(
    ///     explanation.to_string(),
    ///     "rule 1 does not match\n  \
    ///        no: host-header is one of *.example.com: got \"a.org\"\n\
    ///      error: no rule matched",
    /// );
    /// ```
    pub fn explain(&self, head: &Head<'_>) -> Explanation {
        let subject = Subject::new(head);
        let mut verdicts: Vec<Vec<Verdict>> = Vec::new();
        let found = self.walk(&subject, |place, verdict| {
            // Every rule has a condition, so none is left out here.
            if place == verdicts.len() {
                verdicts.push(Vec::new());
            }
            if let Some(of_rule) = verdicts.last_mut() {
                of_rule.push(Verdict::of(verdict));
            }
        });
        let matched = found.as_ref().ok().map(Match::rule);
        let mut rules: Vec<_> = self
            .entries()
            .iter()
            .zip(&verdicts)
            .map(|(entry, verdicts)| RuleExplanation {
                rule: entry.id,
                matched: matched == Some(entry.id),
                conditions: ConditionExplanation::all(&entry.conditions, verdicts, &subject),
            })
            .collect();
        if matched == Some(RuleId::Default) {
            let rule = RuleId::Default;
            rules.push(RuleExplanation { rule, matched: true, conditions: Vec::new() });
        }
        let mut explanation = Explanation {
            rules,
            matched,
            action: None,
            location: None,
            group: None,
            target: None,
            error: None,
        };
        match found {
            Ok(found) => {
                explanation.action = Some(found.action().clone());
                explanation.follow(found, self, head);
            }
            Err(error) => explanation.error = Some(error),
        }
        explanation
    }
}

/// Why a request goes where it goes.
///
/// `Display` writes it for a person, the rest is for assertions.
#[derive(Clone, Debug)]
pub struct Explanation {
    rules: Vec<RuleExplanation>,
    matched: Option<RuleId>,
    action: Option<Action>,
    location: Option<String>,
    group: Option<GroupName>,
    target: Option<TargetExplanation>,
    error: Option<Error>,
}

impl Explanation {
    /// Returns the rules that were asked, in their order; the last is the one that matched, if one
    /// did.
    pub fn rules(&self) -> &[RuleExplanation] {
        &self.rules
    }

    /// Returns the rule that matched.
    pub fn matched_rule(&self) -> Option<RuleId> {
        self.matched
    }

    /// Returns what that rule does.
    pub fn action(&self) -> Option<&Action> {
        self.action.as_ref()
    }

    /// Returns where the client is sent, if the action is a redirect.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// Returns the group, if the request is forwarded; of several, the one the next draw gives.
    pub fn group(&self) -> Option<&GroupName> {
        self.group.as_ref()
    }

    /// Returns the target it would be, if one can be had.
    pub fn target(&self) -> Option<&TargetId> {
        self.target.as_ref()?.target()
    }

    /// Returns which target of the group it would be and why, or why none.
    pub fn choice(&self) -> Option<&TargetExplanation> {
        self.target.as_ref()
    }

    /// Returns what the rules would make the request fail with.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn follow(&mut self, found: Match<'_>, table: &RuleTable, head: &Head<'_>) {
        match found.action() {
            Action::Forward(forward) => {
                if let Some(group) = forward.choose(&table.rng().copy()) {
                    self.group = Some(group.name().clone());
                    self.target = Some(group.explain(head));
                }
            }
            Action::Redirect(redirect) => match redirect.location(head) {
                Ok(location) => {
                    self.location = Some(String::from_utf8_lossy(location.as_bytes()).into_owned());
                }
                Err(error) => self.error = Some(error.with_rule(found.rule())),
            },
            Action::FixedResponse(_) => {}
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
        lines.extend(self.action.as_ref().map(ToString::to_string));
        lines.extend(self.location.as_ref().map(|location| format!("location: {location}")));
        lines.extend(self.target.as_ref().map(|target| target.to_string().trim_end().to_owned()));
        lines.extend(self.error.as_ref().map(|error| format!("error: {error}")));
        f.write_str(&lines.join("\n"))
    }
}

/// What became of one rule.
#[derive(Clone, Debug)]
pub struct RuleExplanation {
    rule: RuleId,
    matched: bool,
    conditions: Vec<ConditionExplanation>,
}

impl RuleExplanation {
    /// Returns which rule it is.
    pub fn rule(&self) -> RuleId {
        self.rule
    }

    /// Tells whether it matched.
    pub fn matched(&self) -> bool {
        self.matched
    }

    /// Returns its conditions, in the order they are asked.
    pub fn conditions(&self) -> &[ConditionExplanation] {
        &self.conditions
    }
}

impl fmt::Display for RuleExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let undecided = self.conditions.iter().any(|asked| asked.verdict == Verdict::Undecided);
        let verdict = match self.matched {
            true => "matches",
            false if undecided => "cannot be decided",
            false => "does not match",
        };
        write!(f, "{} {verdict}", self.rule)?;
        self.conditions.iter().try_for_each(|condition| write!(f, "\n  {condition}"))
    }
}

/// What became of one condition.
#[derive(Clone, Debug)]
pub struct ConditionExplanation {
    asked: String,
    compared: Option<String>,
    verdict: Verdict,
}

impl ConditionExplanation {
    fn all(conditions: &[Condition], verdicts: &[Verdict], subject: &Subject<'_>) -> Vec<Self> {
        let verdicts = verdicts.iter().copied().chain(std::iter::repeat(Verdict::NotAsked));
        let explain = |(condition, verdict): (&Condition, Verdict)| Self {
            asked: condition.to_string(),
            compared: condition.compared(subject),
            verdict,
        };
        conditions.iter().zip(verdicts).map(explain).collect()
    }

    /// Returns what was asked: `host-header is one of *.example.com`.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// Returns what it was compared with; `None` if the request lacks it.
    pub fn compared(&self) -> Option<&str> {
        self.compared.as_deref()
    }

    /// Returns the answer.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl fmt::Display for ConditionExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compared = self.compared().unwrap_or("nothing");
        write!(f, "{}: {}: got {compared}", self.verdict, self.asked)
    }
}

/// The answer of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It holds.
    Yes,
    /// It does not hold, so the rule does not match.
    No,
    /// It could not be decided, so the request fails.
    Undecided,
    /// The rule was decided before its turn came.
    NotAsked,
}

impl Verdict {
    fn of(verdict: &Result<bool, Undecided>) -> Self {
        match verdict {
            Ok(true) => Self::Yes,
            Ok(false) => Self::No,
            Err(_) => Self::Undecided,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undecided => "undecided",
            Self::NotAsked => "not asked",
        })
    }
}
