//! What a group's policy needs of a request: the copy that is sent, the attempts that are left, and the
//! answer that stands if there is no better one.
//!
//! What is allowed is the policy's word and the group's budget; whether an attempt failed so that it
//! may be made again is asked by `retry.rs`.

use std::{fmt::Display, mem, sync::Arc};

use http::{Request, Response, StatusCode};
use http_body::Body as _;

use crate::{
    body::{Body, Replay},
    error::Error,
    group::RetryPolicy,
    head,
    id::TargetId,
    layer::message::{Route, Routed},
};

/// What the policy needs of one request.
pub(super) struct Opted {
    policy: Arc<RetryPolicy>,
    /// None if the request may not be sent once more.
    copy: Option<Copy>,
    /// An answer with a status after which another target is asked.
    kept: Option<Response<Body>>,
}

struct Copy {
    head: Request<()>,
    /// None if there is no body.
    body: Option<Replay>,
}

impl Opted {
    /// Takes what the group's policy needs, if it has one.
    pub(super) fn of(routed: &mut Routed) -> Option<Box<Self>> {
        let policy = routed.group().retry_policy()?;
        let copy = Copy::of(routed.request_mut(), &policy);
        Some(Box::new(Self { policy, copy, kept: None }))
    }

    /// Returns to how many targets a request is sent in all.
    pub(super) fn attempts(&self) -> usize {
        self.policy.attempts()
    }

    /// Keeps an answer in place of the one before.
    pub(super) fn keep(&mut self, answer: Option<Response<Body>>) {
        if let Some(dropped) = mem::replace(&mut self.kept, answer) {
            dropped.into_body().disregard();
        }
    }

    /// Takes the answer that stands if there is no better one.
    pub(super) fn take_kept(&mut self) -> Option<Response<Body>> {
        self.kept.take()
    }

    /// Returns the next attempt after an answer, if there is one.
    pub(super) fn after_status(
        &self,
        route: &mut Route,
        target: &TargetId,
        status: StatusCode,
    ) -> Option<Routed> {
        if !self.policy.is_after_status(status) {
            return None;
        }
        // Its target would lose the rest of the body, and might then not finish an answer that may yet
        // have to stand.
        if self.copy.as_ref().is_some_and(Copy::is_under_way) {
            return None;
        }
        self.again(route, target, &status)
    }

    /// Returns the next attempt after an error, if there is one.
    pub(super) fn after_error(
        &self,
        route: &mut Route,
        target: &TargetId,
        error: &Error,
    ) -> Option<Routed> {
        self.policy.is_after_error(error).then(|| self.again(route, target, error)).flatten()
    }

    /// Returns the next attempt, if there is a copy, a target and a budget left. The budget is asked last,
    /// so that it is spent for attempts only.
    fn again(&self, route: &mut Route, target: &TargetId, cause: &dyn Display) -> Option<Routed> {
        let copy = self.copy.as_ref().filter(|copy| copy.is_whole())?;
        if route.tried.len() + 1 >= self.attempts() {
            return None;
        }
        route.next(target);
        let group = route.group.name();
        if !route.group.has_untried(&route.tried) {
            return None;
        }
        if !route.group.spend_retry(&self.policy) {
            tracing::debug!(%group, %target, %cause, "no other target is tried: the budget is spent");
            return None;
        }
        let request = copy.request()?;
        tracing::debug!(%group, %target, %cause, "another target is tried");
        Some(Routed::of(request, route.clone()))
    }
}

impl Copy {
    /// Copies a head, and makes the body keep what is read of it, if the request may be sent once more.
    fn of(request: &mut Request<Body>, policy: &RetryPolicy) -> Option<Self> {
        if !policy.may_repeat(request.method()) {
            return None;
        }
        let body = request.body_mut();
        let body = if body.is_end_stream() {
            None
        } else if body.size_hint().lower() > policy.replay() as u64 {
            return None;
        } else {
            let (read, replay) = mem::take(body).replayable(policy.replay());
            *body = read;
            Some(replay)
        };
        Some(Self { head: head::copy(request), body })
    }

    fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(Replay::is_whole)
    }

    /// Tells whether the body is still being sent.
    fn is_under_way(&self) -> bool {
        self.body.as_ref().is_some_and(|body| !body.is_at_rest())
    }

    /// Returns the request once more, as it came; none if its body became too long meanwhile.
    fn request(&self) -> Option<Request<Body>> {
        let body = match &self.body {
            Some(body) => Body::once_more(body)?,
            None => Body::default(),
        };
        Some(self.head.clone().map(|()| body))
    }
}
