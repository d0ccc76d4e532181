//! Target groups: who is registered, how they are treated, and which of them gets a request.
//!
//! A group publishes whole snapshots (`roster.rs`); a request loads one and decides on it
//! (`assign.rs`). Checking is `check/`'s affair, which reports through `TargetGroup::rebuild`.

mod assign;
mod builder;
mod events;
mod explain;
mod health_check;
mod registry;
mod retry_budget;
mod retry_policy;
mod roster;
mod settings;
mod status;
mod uses;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

pub use self::{
    assign::{Assignment, Why},
    builder::{InvalidGroup, TargetGroupBuilder},
    events::{HealthChange, HealthChanges},
    explain::TargetExplanation,
    health_check::HealthCheck,
    retry_policy::RetryPolicy,
    status::{GroupStatus, TargetStatus},
};
use self::{
    assign::{Counters, Wanted},
    events::Listeners,
    registry::Desired,
    retry_budget::Budget,
    roster::{Entry, Roster},
    settings::Settings,
};
pub(crate) use self::{health_check::CheckSettings, uses::Uses};
use crate::{
    endpoint::panic_text,
    error::{Error, Kind},
    head::Head,
    health::{Reason, State, Verdict},
    id::{GroupName, TargetId},
    rng::Rng,
    stickiness::Session,
    target::{Member, Target},
};

/// A named set of targets and how they are treated. A clone is a handle to the same group.
///
/// # Examples
///
/// ```
/// use pointsman::{Target, TargetGroup};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// web.register(Target::new("127.0.0.1:3001".parse().unwrap()));
/// web.register(Target::host("app:3000").unwrap().weight(2).unwrap());
/// assert_eq!(web.status().healthy(), 2);
/// assert!(web.deregister("app:3000"));
/// ```
#[derive(Clone)]
pub struct TargetGroup(Arc<Group>);

/// A handle that does not keep the group.
#[derive(Clone, Debug)]
pub(crate) struct WeakGroup(Weak<Group>);

impl WeakGroup {
    pub(crate) fn upgrade(&self) -> Option<TargetGroup> {
        self.0.upgrade().map(TargetGroup)
    }
}

struct Group {
    name: GroupName,
    /// What readers see.
    roster: ArcSwap<Roster>,
    /// Whether its settings have stickiness and a retry policy, to be asked without loading it.
    is_sticky: AtomicBool,
    retries_opted: AtomicBool,
    /// What the one writer at a time changes; a roster is built of it outside the lock.
    desired: Mutex<Desired>,
    turn: AtomicU64,
    rng: Rng,
    uses: Uses,
    listeners: Listeners,
    /// Stays when the settings change.
    retries: Budget,
    /// The generation published last, for those who wait for a change.
    published: watch::Sender<u64>,
    /// Rings when the checking task should look.
    bell: Arc<Notify>,
}

impl TargetGroup {
    /// Starts a group of this name.
    pub fn builder(name: impl Into<GroupName>) -> TargetGroupBuilder {
        TargetGroupBuilder::new(name.into())
    }

    /// Returns the name.
    pub fn name(&self) -> &GroupName {
        &self.0.name
    }

    /// Registers a target; it may be picked at once, or after its first successful check.
    ///
    /// A target of the same id is changed: its weight in place; another address is another target
    /// that takes its counts over. One that is draining is revived with its counts.
    pub fn register(&self, target: Target) {
        self.change(|desired| desired.register(&target));
    }

    /// Deregisters a target: no new request, and what is in flight ends by the deregistration
    /// delay. Returns false if none of this id is registered.
    pub fn deregister(&self, id: &str) -> bool {
        self.change(|desired| desired.deregister(|target| *target == *id) > 0)
    }

    /// Registers these targets and deregisters all others, in one step.
    pub fn set_targets(&self, targets: impl IntoIterator<Item = Target>) {
        let targets = targets.into_iter().collect::<Vec<_>>();
        let ids = targets.iter().map(Target::id).collect::<std::collections::HashSet<_>>();
        self.change(|desired| {
            desired.deregister(|target| !ids.contains(target));
            for target in &targets {
                desired.register(target);
            }
        });
    }

    /// Changes the settings to those of a builder of the same name; its seed means nothing here.
    ///
    /// Targets keep their counts and, if they are checked before and after, their health; with another
    /// transport they get new connections, and what is under way ends on the old ones.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the builder, or that it is for a group of another name; then
    /// nothing is changed.
    pub fn reconfigure(&self, builder: TargetGroupBuilder) -> Result<(), InvalidGroup> {
        let (_, settings, _) = builder.checked(Some(self.name()))?;
        self.change(|desired| desired.reconfigure(settings));
        Ok(())
    }

    /// Picks a target for a request and begins the exchange.
    ///
    /// `prefer` gets it if it may be picked; those in `tried` do not.
    ///
    /// # Errors
    ///
    /// [`Kind::NoTarget`], [`Kind::Saturated`], or [`Kind::Panicked`] if the algorithm did; each with
    /// the group's name.
    pub fn assign(
        &self,
        head: &Head<'_>,
        prefer: Option<&TargetId>,
        tried: &[TargetId],
    ) -> Result<Assignment, Error> {
        let Group { roster, turn, rng, .. } = &*self.0;
        let roster = roster.load();
        let wanted = Wanted { head, prefer, tried, in_flight_max: roster.settings.in_flight_max };
        assign::assign(&roster, wanted, &Counters { turn, rng })
            .map_err(|error| error.with_group(self.name().clone()))
    }

    /// Says which target a request would get now, and why; nothing is sent and nothing changes.
    pub fn explain(&self, head: &Head<'_>) -> TargetExplanation {
        let Group { turn, rng, roster, .. } = &*self.0;
        let roster = roster.load();
        let settings = &roster.settings;
        let session = self.recall_by(settings, head);
        let prefer = session.as_ref().ok().and_then(|s| s.as_ref()?.target().cloned());
        let kept = settings.stickiness.is_some().then(|| prefer.clone());
        let turn = AtomicU64::new(turn.load(Ordering::Relaxed));
        let counters = Counters { turn: &turn, rng: &rng.copy() };
        let (prefer, in_flight_max) = (prefer.as_ref(), settings.in_flight_max);
        let wanted = Wanted { head, prefer, tried: &[], in_flight_max };
        let pick = session.and_then(|_| assign::decide(&roster, wanted, &counters));
        let target = |place: usize| roster.members().get(place).map(|m| m.member.id().clone());
        let pick = pick
            .and_then(|(place, why)| Ok((target(place).ok_or(Kind::NoTarget)?, why)))
            .map_err(|error| error.with_group(self.name().clone()));
        TargetExplanation {
            group: self.name().clone(),
            algorithm: settings.algorithm.name(),
            session: kept,
            pick,
            status: self.status_of(&roster),
        }
    }

    /// Returns what the group looks like now.
    pub fn status(&self) -> GroupStatus {
        self.status_of(&self.0.roster.load())
    }

    fn status_of(&self, roster: &Roster) -> GroupStatus {
        let unused = roster.settings.check.is_some() && !self.0.uses.any();
        let now = Instant::now();
        let status = |entry: &Entry| {
            let member = &entry.member;
            let verdict = match entry.draining {
                Some(_) => Verdict::of(State::Draining, Reason::DeregistrationInProgress),
                None if unused => Verdict::of(State::Unused, Reason::NotInUse),
                None => member.health().verdict(),
            };
            TargetStatus {
                target: member.id().clone(),
                address: member.endpoint().address().to_string(),
                state: verdict.state,
                reason: verdict.reason,
                description: verdict.description,
                weight: entry.weight.get(),
                in_flight: member.load().in_flight(),
                answered: member.load().answered(),
                failed: member.load().failed(),
                connections_idle: member.endpoint().connections_idle(),
            }
        };
        let targets =
            roster.entries.iter().filter(|entry| !entry.is_over(now)).map(status).collect();
        GroupStatus { group: self.name().clone(), fail_open: roster.fail_open, targets }
    }

    /// Returns the changes of health from now on.
    pub fn changes(&self) -> HealthChanges {
        self.0.listeners.subscribe()
    }

    /// Reads which target the client had; `None` if the group keeps no sessions.
    pub(crate) fn recall(&self, head: &Head<'_>) -> Result<Option<Session>, Error> {
        if !self.0.is_sticky.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.recall_by(&self.0.roster.load().settings, head)
    }

    fn recall_by(&self, settings: &Settings, head: &Head<'_>) -> Result<Option<Session>, Error> {
        let Some(stickiness) = &settings.stickiness else { return Ok(None) };
        let now = settings.clock.now();
        catch_unwind(AssertUnwindSafe(|| stickiness.recall(self.name(), head, now)))
            .map(Some)
            .map_err(|panic| self.stickiness_panicked(&*panic))
    }

    /// Writes into a response which target the client has.
    pub(crate) fn remember(
        &self,
        session: &Session,
        target: &TargetId,
        headers: &mut http::HeaderMap,
    ) -> Result<(), Error> {
        let roster = self.0.roster.load();
        let Some(stickiness) = &roster.settings.stickiness else { return Ok(()) };
        let now = roster.settings.clock.now();
        let write = || stickiness.remember(self.name(), session, target, headers, now);
        catch_unwind(AssertUnwindSafe(write)).map_err(|panic| self.stickiness_panicked(&*panic))
    }

    fn stickiness_panicked(&self, panic: &(dyn std::any::Any + Send)) -> Error {
        let text = format!("the stickiness panicked: {}", panic_text(panic));
        Error::new(Kind::Panicked, text).with_group(self.name().clone())
    }

    /// Returns what may be sent once more, and notes that a request came.
    pub(crate) fn retry_policy(&self) -> Option<Arc<RetryPolicy>> {
        if !self.0.retries_opted.load(Ordering::Acquire) {
            return None;
        }
        let policy = self.0.roster.load().settings.retry.clone()?;
        self.0.retries.note_request();
        Some(policy)
    }

    /// Spends one retry of the budget, if there is one left.
    pub(crate) fn spend_retry(&self, policy: &RetryPolicy) -> bool {
        self.0.retries.spend(policy)
    }

    /// Tells whether there is a target left that may be picked.
    pub(crate) fn has_untried(&self, tried: &[TargetId]) -> bool {
        let roster = self.0.roster.load();
        let mut members = roster.members().iter().enumerate();
        members.any(|(at, one)| roster.is_pickable(at) && !tried.contains(one.member.id()))
    }

    pub(crate) fn check_settings(&self) -> Option<Arc<CheckSettings>> {
        self.0.roster.load().settings.check.clone()
    }

    pub(crate) fn uses(&self) -> &Uses {
        &self.0.uses
    }

    pub(crate) fn bell(&self) -> &Arc<Notify> {
        &self.0.bell
    }

    pub(crate) fn downgrade(&self) -> WeakGroup {
        WeakGroup(Arc::downgrade(&self.0))
    }

    /// Returns who is to be checked: all but those that are draining.
    pub(crate) fn checked_members(&self) -> Vec<Arc<Member>> {
        let roster = self.0.roster.load();
        let registered = roster.entries.iter().filter(|entry| entry.draining.is_none());
        registered.map(|entry| Arc::clone(&entry.member)).collect()
    }

    /// Wakes those who wait for a change.
    pub(crate) fn look_again(&self) {
        self.0.published.send_modify(|_| ());
    }

    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.0.published.subscribe()
    }

    pub(crate) fn tell(&self, change: &HealthChange) {
        self.0.listeners.send(change);
    }

    /// Publishes a snapshot that heeds changes of health.
    pub(crate) fn rebuild(&self) {
        self.change(|_| ());
    }

    /// Changes who is registered, and publishes the change before it returns.
    fn change<T>(&self, change: impl FnOnce(&mut Desired) -> T) -> T {
        let (result, generation) = {
            let mut desired = self.0.desired.lock().unwrap_or_else(PoisonError::into_inner);
            desired.expire();
            let result = change(&mut desired);
            desired.generation += 1;
            (result, desired.generation)
        };
        self.publish(generation);
        self.0.bell.notify_one();
        result
    }

    /// Builds outside the lock, since an algorithm of the user's may take its time, and publishes
    /// by generation; returns once `generation` or a later one is out.
    fn publish(&self, generation: u64) {
        let lock = || self.0.desired.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let old = self.0.roster.load_full();
            if old.generation >= generation {
                return;
            }
            let (latest, entries, settings) = {
                let desired = lock();
                (desired.generation, desired.entries.clone(), Arc::clone(&desired.settings))
            };
            let new = Arc::new(Roster::build(latest, entries, settings, Some(&old)));
            let one_at_a_time = lock();
            let old = self.0.roster.load_full();
            if old.generation < latest {
                // Before, so that whoever finds the roster finds them; they only say where to look.
                self.0.is_sticky.store(new.settings.stickiness.is_some(), Ordering::Release);
                self.0.retries_opted.store(new.settings.retry.is_some(), Ordering::Release);
                self.0.roster.store(Arc::clone(&new));
                self.0.published.send_replace(latest);
                drop(one_at_a_time);
                self.warn_of_fail_open(&old, &new);
            }
        }
    }

    fn warn_of_fail_open(&self, old: &Roster, new: &Roster) {
        let group = self.name();
        match (old.failing, new.failing) {
            (false, true) => {
                tracing::warn!(%group, "no target is healthy: all that are registered get traffic");
            }
            (true, false) => {
                tracing::warn!(%group, "only healthy targets get traffic again, if any is registered");
            }
            _ => {}
        }
    }
}

impl TargetGroupBuilder {
    /// Makes the group, with no target in it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong at once: an empty name, settings out of their range.
    pub fn build(self) -> Result<TargetGroup, InvalidGroup> {
        let (name, settings, seed) = self.checked(None)?;
        let settings = Arc::new(settings);
        Ok(TargetGroup(Arc::new(Group {
            name,
            is_sticky: AtomicBool::new(settings.stickiness.is_some()),
            retries_opted: AtomicBool::new(settings.retry.is_some()),
            roster: ArcSwap::from_pointee(Roster::build(
                0,
                Vec::new(),
                Arc::clone(&settings),
                None,
            )),
            desired: Mutex::new(Desired::new(settings)),
            turn: AtomicU64::new(seed.unwrap_or(0)),
            rng: seed.map_or_else(Rng::from_entropy, Rng::seeded),
            uses: Uses::default(),
            listeners: Listeners::default(),
            retries: Budget::default(),
            published: watch::Sender::new(0),
            bell: Arc::new(Notify::new()),
        })))
    }
}

/// Two handles are equal if they are to the same group.
impl PartialEq for TargetGroup {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TargetGroup {}

impl fmt::Debug for TargetGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TargetGroup").field(self.name()).finish()
    }
}
