//! The messages between the floors: what a request is once its group, and then its target, is known.

use std::sync::Arc;

use http::Request;
use tokio::time::Instant;

use crate::{
    body::Body,
    group::{Assignment, TargetGroup},
    head::{Head, Peer},
    id::{GroupName, RuleId, TargetId},
    lease::Lease,
    proxy::Via,
    target::Member,
};

/// A request whose group is known.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use pointsman::{Body, TargetGroup, id::RuleId, layer::Routed};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// let routed = Routed::new(Request::new(Body::default()), RuleId::Default, web);
/// assert_eq!(routed.group().name(), "web");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Routed {
    request: Request<Body>,
    route: Route,
}

/// All of a [`Routed`] but its request, which another attempt needs again.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) peer: Option<Peer>,
    pub(super) rule: RuleId,
    pub(super) group: TargetGroup,
    pub(super) prefer: Option<TargetId>,
    pub(super) tried: Vec<TargetId>,
    pub(super) deadline: Option<Instant>,
    pub(super) via: Option<Via>,
    /// When this attempt began.
    pub(super) began: Instant,
}

impl Route {
    /// Notes that a target was tried; whom the client had before means nothing from then on.
    pub(super) fn next(&mut self, tried: &TargetId) {
        self.tried.push(tried.clone());
        self.prefer = None;
        self.began = Instant::now();
    }
}

impl Routed {
    /// Routes a request to a group by a rule.
    pub fn new(request: Request<Body>, rule: RuleId, group: TargetGroup) -> Self {
        let (peer, prefer, tried, deadline, via) = (None, None, Vec::new(), None, None);
        let began = Instant::now();
        let route = Route { peer, rule, group, prefer, tried, deadline, via, began };
        Self { request, route }
    }

    /// Says who the client is.
    #[must_use]
    pub fn with_peer(mut self, peer: Option<Peer>) -> Self {
        self.route.peer = peer;
        self
    }

    /// Says which target the client had.
    #[must_use]
    pub fn with_prefer(mut self, target: Option<TargetId>) -> Self {
        self.route.prefer = target;
        self
    }

    /// Says which targets were tried.
    #[must_use]
    pub fn with_tried(mut self, tried: Vec<TargetId>) -> Self {
        self.route.tried = tried;
        self
    }

    /// Says until when the exchange may last, in all its attempts.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.route.deadline = deadline;
        self
    }

    /// Says under which name this proxy goes into the Via of the answer.
    #[must_use]
    pub fn with_via(mut self, via: Option<Via>) -> Self {
        self.route.via = via;
        self
    }

    /// Returns the request.
    pub fn request(&self) -> &Request<Body> {
        &self.request
    }

    /// Returns the request, to be changed.
    pub fn request_mut(&mut self) -> &mut Request<Body> {
        &mut self.request
    }

    /// Returns the head of the request.
    pub fn head(&self) -> Head<'_> {
        Head::of(&self.request, self.route.peer.as_ref())
    }

    /// Returns who the client is.
    pub fn peer(&self) -> Option<&Peer> {
        self.route.peer.as_ref()
    }

    /// Returns the rule that matched.
    pub fn rule(&self) -> RuleId {
        self.route.rule
    }

    /// Returns the group that was chosen.
    pub fn group(&self) -> &TargetGroup {
        &self.route.group
    }

    /// Returns the target the client had.
    pub fn prefer(&self) -> Option<&TargetId> {
        self.route.prefer.as_ref()
    }

    /// Returns the targets that were tried.
    pub fn tried(&self) -> &[TargetId] {
        &self.route.tried
    }

    /// Returns until when the exchange may last.
    pub fn deadline(&self) -> Option<Instant> {
        self.route.deadline
    }

    pub(super) fn set_prefer(&mut self, target: Option<TargetId>) {
        self.route.prefer = target;
    }

    pub(super) fn of(request: Request<Body>, route: Route) -> Self {
        Self { request, route }
    }

    pub(super) fn route(&self) -> &Route {
        &self.route
    }
}

/// A request whose target is known; it counts as in flight until its lease is dropped.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use http::Request;
/// use pointsman::{Body, Target, TargetGroup, head::Head, id::RuleId, layer::Assigned};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// web.register(Target::new("127.0.0.1:3001".parse().unwrap()));
/// let request = Request::new(Body::default());
/// let assignment = web.assign(&Head::of(&request, None), None, &[]).unwrap();
/// let member = Arc::clone(&assignment.member);
/// let assigned =
///     Assigned::new(request, RuleId::Default, web.name().clone(), member, assignment.lease);
/// assert_eq!(assigned.member().id(), "127.0.0.1:3001");
/// assert_eq!(web.status().in_flight(), 1);
/// drop(assigned);
/// assert_eq!(web.status().in_flight(), 0);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Assigned {
    pub(super) request: Request<Body>,
    pub(super) rule: RuleId,
    pub(super) group: GroupName,
    pub(super) member: Arc<Member>,
    pub(super) lease: Lease,
    pub(super) peer: Option<Peer>,
    pub(super) fail_open: bool,
    pub(super) attempt: u32,
    pub(super) deadline: Option<Instant>,
    pub(super) via: Option<Via>,
    pub(super) began: Instant,
}

impl Assigned {
    /// Assigns a request to a member of a group.
    pub fn new(
        request: Request<Body>,
        rule: RuleId,
        group: GroupName,
        member: Arc<Member>,
        lease: Lease,
    ) -> Self {
        Self {
            request,
            rule,
            group,
            member,
            lease,
            peer: None,
            fail_open: false,
            attempt: 1,
            deadline: None,
            via: None,
            began: Instant::now(),
        }
    }

    /// Assigns a request to what its group picked.
    pub(super) fn of(routed: Routed, picked: Assignment) -> Self {
        let attempt = u32::try_from(routed.route.tried.len() + 1).unwrap_or(u32::MAX);
        Self {
            rule: routed.route.rule,
            group: routed.route.group.name().clone(),
            member: picked.member,
            lease: picked.lease,
            peer: routed.route.peer,
            fail_open: picked.fail_open,
            attempt,
            deadline: routed.route.deadline,
            via: routed.route.via,
            began: routed.route.began,
            request: routed.request,
        }
    }

    /// Says who the client is, for a balancer that is the target.
    #[must_use]
    pub fn with_peer(mut self, peer: Option<Peer>) -> Self {
        self.peer = peer;
        self
    }

    /// Says whether the member was picked without regard to health, since none was healthy.
    #[must_use]
    pub fn with_fail_open(mut self, fail_open: bool) -> Self {
        self.fail_open = fail_open;
        self
    }

    /// Says which attempt of its request it is, from 1.
    #[must_use]
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// Says until when the exchange may last.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says under which name this proxy goes into the Via of the answer.
    #[must_use]
    pub fn with_via(mut self, via: Option<Via>) -> Self {
        self.via = via;
        self
    }

    /// Returns the request.
    pub fn request(&self) -> &Request<Body> {
        &self.request
    }

    /// Returns the request, to be changed.
    pub fn request_mut(&mut self) -> &mut Request<Body> {
        &mut self.request
    }

    /// Returns the rule that matched.
    pub fn rule(&self) -> RuleId {
        self.rule
    }

    /// Returns the group's name.
    pub fn group(&self) -> &GroupName {
        &self.group
    }

    /// Returns the member that was picked.
    pub fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// Returns who the client is.
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// Returns the exchange.
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Returns the exchange, to say what counts against the target.
    pub fn lease_mut(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// Returns which attempt of its request it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns until when the exchange may last.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Tells whether the member was picked without regard to health.
    pub fn is_fail_open(&self) -> bool {
        self.fail_open
    }
}
