//! Rules: what becomes of a request, decided from its head alone.
//!
//! Rules are data. A [`RuleTable`] is built of them once and checked as a whole; then it is walked
//! for each request, in the order of the rules' priorities, and the first rule whose conditions all
//! hold decides. Their meaning is that of AWS ALB's listener rules. Which target of a group answers
//! is not decided here, and nothing here waits for anything.
//!
//! # Examples
//!
//! ```
//! use pointsman::{TargetGroup, head::Head, rule::{Condition, Forward, Redirect, Rule, RuleTable}};
//!
//! let web = TargetGroup::builder("web").build().unwrap();
//! let beta = TargetGroup::builder("beta").build().unwrap();
//! let table = RuleTable::builder()
//!     .rule(
//!         Rule::new(10)
//!             .when(Condition::host_header(["www.example.com"]))
//!             .then(Redirect::moved_permanently().host("example.com")),
//!     )
//!     .rule(
//!         Rule::new(20)
//!             .when(Condition::path_pattern(["/beta/*"]))
//!             .when(Condition::http_header("x-tester", ["*"]))
//!             .then(Forward::split([(&beta, 90), (&web, 10)])),
//!     )
//!     .default_action(Forward::to(&web))
//!     .build()
//!     .unwrap();
//!
//! let request = http::Request::get("/").header("host", "WWW.example.com:80").body(()).unwrap();
//! let explanation = table.explain(&Head::of(&request, None));
//! assert_eq!(explanation.location(), Some("http://example.com:80/"));
//! ```

mod explain;
mod table;

mod spec;

mod action;
mod condition;

mod invalid;

#[cfg(test)]
mod tests;

pub use self::{
    action::{Action, FixedResponse, Forward, Redirect},
    condition::{
        Condition, Custom, FromFn, HostHeader, HttpHeader, HttpRequestMethod, PathPattern,
        Predicate, QueryPair, QueryString, SourceIp, from_fn,
    },
    explain::{ConditionExplanation, Explanation, RuleExplanation, Verdict},
    invalid::{InvalidRule, InvalidRules},
    spec::Rule,
    table::{Match, RuleTable, RuleTableBuilder},
};
