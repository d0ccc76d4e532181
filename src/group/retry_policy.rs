//! Which requests of a group may be sent once more although something of them was sent, and how often.
//!
//! It stands with the group, whose setting it is and above which alone it is read. It only says what
//! is allowed: who asks is `layer/retry.rs`, what is left to spend `retry_budget.rs`'s affair.

use http::{Method, StatusCode};

use crate::{
    endpoint::is_idempotent,
    error::{Error, Kind},
};

/// More attempts than this would only carry what ends one target to all the others.
const ATTEMPTS_MOST: usize = 10;

/// What each request that is under way may hold of its body. It is held once for each, so that a
/// thousand uploads at the default hold 64 MiB.
const REPLAY_MOST: usize = 1024 * 1024;

/// A floor above this would be no budget.
const FLOOR_MOST: u32 = 1000;

/// Sends a request to another target although the first may have seen it.
///
/// Without a policy a request goes to another target if nothing of it was sent, which costs no budget
/// and needs none. With one, it also does so under the conditions named here, if
///
/// * its method is idempotent: GET, HEAD, OPTIONS, PUT or DELETE (RFC 9110 §9.2.2; TRACE is answered by no
///   proxy). A POST or PATCH of which anything was sent never is sent again;
/// * its body, if it has one, is not longer than `replay_max`. It is copied while it goes out, and kept
///   from nobody meanwhile; once it is longer, the request can only stand or fall with its target;
/// * there is a target in the group that was not tried yet;
/// * the budget of the group allows it, so that a group that fails as a whole is not asked for much more
///   than its clients ask for.
///
/// An answer that comes before the whole body has gone out stands, whatever its status.
///
/// If another attempt brings no answer, the client gets what came of the first: the answer with the
/// status that was named here, else the error.
///
/// A group that is reconfigured keeps its budget.
///
/// # Defaults
///
/// | setting | default | range | why |
/// |---|---|---|---|
/// | `on_reset` | no | | |
/// | `on_answer_timeout` | no | | |
/// | `on_statuses` | none | 429, 500–599 | others say something of the request, not of the target |
/// | `attempts_max` | 2 | 2–10 | what one target could not do, a third seldom can |
/// | `replay_max` | 64 KiB | 0–1 MiB | most bodies of calls are shorter, few uploads are |
/// | `budget_percent` | 20 % | 0–100 % | what a group that struggles can bear on top |
/// | `budget_floor` | 10 a second | 0–1000 | a small group has no 5 requests for each retry |
///
/// # Examples
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use pointsman::{Body, LoadBalancer, RuleTable, Target, TargetGroup, group::RetryPolicy};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let answering = |status: StatusCode| {
///     service_fn(move |_: Request<Body>| async move {
///         let mut response = Response::new(Body::default());
///         *response.status_mut() = status;
///         Ok::<_, std::convert::Infallible>(response)
///     })
/// };
/// let web = TargetGroup::builder("web")
///     .retry(RetryPolicy::new().on_reset(true).on_statuses([502, 503, 504]))
///     .build()
///     .unwrap();
/// web.register(Target::service("busy", answering(StatusCode::SERVICE_UNAVAILABLE)));
/// web.register(Target::service("idle", answering(StatusCode::OK)));
/// let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
/// for _ in 0..4 {
///     let request = Request::get("/").body(Body::default()).unwrap();
///     assert_eq!(balancer.clone().oneshot(request).await.unwrap().status(), 200);
/// }
/// // It may have been done already.
/// let request = Request::post("/").body(Body::default()).unwrap();
/// assert_eq!(balancer.oneshot(request).await.unwrap().status(), 503);
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RetryPolicy {
    on_reset: bool,
    on_answer_timeout: bool,
    statuses: Vec<u16>,
    attempts_max: usize,
    replay_max: usize,
    budget_percent: u32,
    budget_floor: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            on_reset: false,
            on_answer_timeout: false,
            statuses: Vec::new(),
            attempts_max: 2,
            replay_max: 64 * 1024,
            budget_percent: 20,
            budget_floor: 10,
        }
    }
}

impl RetryPolicy {
    /// Makes a policy of the defaults, under which nothing is sent twice yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether a request is sent to another target when its exchange broke before any byte of an
    /// answer came, be it over a new connection or one that was kept.
    pub fn on_reset(mut self, on: bool) -> Self {
        self.on_reset = on;
        self
    }

    /// Sets whether a request is sent to another target when the head of the answer did not come in
    /// time. The client waits for each attempt as long as
    /// [`Transport::answer_timeout`](crate::endpoint::Transport::answer_timeout) says.
    pub fn on_answer_timeout(mut self, on: bool) -> Self {
        self.on_answer_timeout = on;
        self
    }

    /// Sets after which statuses of an answer another target is asked: 429, or 500 to 599. The first
    /// answer is dropped when there is another one.
    pub fn on_statuses(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.statuses = statuses.into_iter().collect();
        self
    }

    /// Sets to how many targets a request is sent in all, 2 to 10. One of which nothing was sent is
    /// offered to as many, and to three at least.
    pub fn attempts_max(mut self, max: usize) -> Self {
        self.attempts_max = max;
        self
    }

    /// Sets how many bytes of a request's body are kept to be sent again, at most 1 MiB; with 0 only
    /// requests without a body are.
    pub fn replay_max(mut self, bytes: usize) -> Self {
        self.replay_max = bytes;
        self
    }

    /// Sets how many of a hundred requests of the last ten seconds may be sent once more, at most 100.
    pub fn budget_percent(mut self, percent: u32) -> Self {
        self.budget_percent = percent;
        self
    }

    /// Sets how many retries are allowed in each second whatever the percentage says, at most 1000.
    pub fn budget_floor(mut self, per_second: u32) -> Self {
        self.budget_floor = per_second;
        self
    }

    /// Returns everything that is wrong.
    pub(super) fn errors(&self) -> Vec<String> {
        let mut errors = Vec::new();
        for status in self.statuses.iter().filter(|status| !matches!(status, 429 | 500..=599)) {
            errors.push(format!("status {status}: expected 429, or 500 to 599"));
        }
        let mut check = |name: &str, value: usize, least: usize, most: usize| {
            if !(least..=most).contains(&value) {
                errors.push(format!("{name} {value}: expected {least} to {most}"));
            }
        };
        check("attempts_max", self.attempts_max, 2, ATTEMPTS_MOST);
        check("replay_max", self.replay_max, 0, REPLAY_MOST);
        check("budget_percent", self.budget_percent as usize, 0, 100);
        check("budget_floor", self.budget_floor as usize, 0, FLOOR_MOST as usize);
        errors
    }

    /// Tells whether requests of this method are ever sent once more, so that a copy is worth its
    /// price.
    pub(crate) fn may_repeat(&self, method: &Method) -> bool {
        let any = self.on_reset || self.on_answer_timeout || !self.statuses.is_empty();
        any && is_idempotent(method)
    }

    /// Tells whether what became of a request may be mended by another target.
    pub(crate) fn is_after_error(&self, error: &Error) -> bool {
        match error.kind() {
            Kind::AnswerTimeout => self.on_answer_timeout,
            _ => self.on_reset && error.is_unanswered(),
        }
    }

    /// Tells whether another target is asked after an answer of this status.
    pub(crate) fn is_after_status(&self, status: StatusCode) -> bool {
        self.statuses.contains(&status.as_u16())
    }

    /// Returns to how many targets a request is sent in all.
    pub(crate) fn attempts(&self) -> usize {
        self.attempts_max
    }

    /// Returns how many bytes of a request's body are kept.
    pub(crate) fn replay(&self) -> usize {
        self.replay_max
    }

    /// Returns the percentage and the floor of the budget.
    pub(super) fn budget(&self) -> (u32, u32) {
        (self.budget_percent, self.budget_floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let check = |policy: RetryPolicy, expected: &[&str]| assert_eq!(policy.errors(), expected);
        check(RetryPolicy::new(), &[]);
        let least = RetryPolicy::new().on_statuses([429, 500, 599]).replay_max(0);
        check(least.budget_percent(0).budget_floor(0), &[]);
        let most = RetryPolicy::new().attempts_max(10).replay_max(1024 * 1024);
        check(most.budget_percent(100).budget_floor(1000), &[]);
        let wrong = RetryPolicy::new().on_statuses([200, 503, 499, 600]).attempts_max(1);
        check(
            wrong.replay_max(1024 * 1024 + 1).budget_percent(101).budget_floor(1001),
            &[
                "status 200: expected 429, or 500 to 599",
                "status 499: expected 429, or 500 to 599",
                "status 600: expected 429, or 500 to 599",
                "attempts_max 1: expected 2 to 10",
                "replay_max 1048577: expected 0 to 1048576",
                "budget_percent 101: expected 0 to 100",
                "budget_floor 1001: expected 0 to 1000",
            ],
        );
        check(RetryPolicy::new().attempts_max(11), &["attempts_max 11: expected 2 to 10"]);
    }

    #[test]
    fn only_what_is_idempotent_is_ever_repeated_and_only_if_a_condition_is_named() {
        let check = |policy: RetryPolicy, expected: &[&str]| {
            let all = [
                "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "POST", "PATCH", "TRACE", "CONNECT", "X",
            ];
            let may = |method: &&str| policy.may_repeat(&method.parse::<Method>().unwrap());
            assert_eq!(all.into_iter().filter(may).collect::<Vec<_>>(), expected);
        };
        let idempotent = &["GET", "HEAD", "OPTIONS", "PUT", "DELETE"];
        check(RetryPolicy::new().on_reset(true), idempotent);
        check(RetryPolicy::new().on_answer_timeout(true), idempotent);
        check(RetryPolicy::new().on_statuses([503]), idempotent);
        check(RetryPolicy::new(), &[]);
        check(RetryPolicy::new().on_reset(false).on_statuses([]), &[]);
    }

    #[test]
    fn each_condition_is_its_own() {
        let reset = || Error::new(Kind::Exchange, "reset").with_unanswered();
        let broken = || Error::new(Kind::Exchange, "in the middle of the head");
        let late = || Error::from(Kind::AnswerTimeout);
        let check = |policy: RetryPolicy, expected: [bool; 3]| {
            assert_eq!([reset(), broken(), late()].map(|e| policy.is_after_error(&e)), expected);
        };
        check(RetryPolicy::new().on_statuses([502, 504]), [false, false, false]);
        check(RetryPolicy::new().on_reset(true), [true, false, false]);
        check(RetryPolicy::new().on_answer_timeout(true), [false, false, true]);
        let policy = RetryPolicy::new().on_statuses([503]);
        assert!(policy.is_after_status(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!policy.is_after_status(StatusCode::BAD_GATEWAY));
    }
}
