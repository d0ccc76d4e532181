//! The one task that checks the targets of a group.
//!
//! First checks go out at once, later ones at the interval with a jitter. All that is due is asked
//! side by side; what comes back together changes the roster once.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until, timeout};
use tower::BoxError;

use crate::{
    endpoint::panic_text,
    error::{Error, Kind},
    group::{CheckSettings, HealthChange, TargetGroup, WeakGroup},
    health::{Failure, Reason},
    probe::Asks,
    rng::Rng,
    target::Member,
};

/// How many checks of a group are under way at most: a thousand dead targets, each waited for until
/// its timeout, must not hold a thousand sockets.
const UNDER_WAY_MAX: usize = 256;

/// What was asked and what came back.
type Asked = Result<String, Ill>;
type Checked = (Arc<Member>, Asked);
type Checking = Pin<Box<dyn Future<Output = Checked> + Send>>;

/// Why a check did not go well.
enum Ill {
    Failed(Failure),
    /// It says nothing of the target: this machine had nothing left to ask it with.
    Unasked(Error),
}

/// Runs until the last use of the group ends, or another task takes over. It does not keep the group.
pub(super) fn run(group: TargetGroup, id: u64) -> impl Future<Output = ()> + Send {
    let running = Running { group: group.downgrade(), id };
    let bell = Arc::clone(group.bell());
    async move {
        let mut schedule = Schedule::new();
        let mut under_way = FuturesUnordered::<Checking>::new();
        drop(group);
        loop {
            let Some(group) = running.group.upgrade() else { return };
            let now = Instant::now();
            if !group.uses().beat(running.id, now) {
                return;
            }
            // They may have been changed meanwhile.
            let Some(settings) = group.check_settings() else { return };
            let interval = settings.interval;
            let room = UNDER_WAY_MAX - under_way.len();
            let (due, mut next) = schedule.due(group.checked_members(), interval, now, room);
            under_way.extend(due.into_iter().map(|member| check(&settings, member)));
            drop(group);
            // However long the interval, the heart beats in time.
            next = next.min(now + settings.patience() / 2);
            tokio::select! {
                Some(checked) = under_way.next() => {
                    let more = std::iter::from_fn(|| under_way.next().now_or_never().flatten());
                    let all = std::iter::once(checked).chain(more).collect();
                    let Some(group) = running.group.upgrade() else { return };
                    record(&group, &settings, &mut schedule, all);
                }
                () = sleep_until(next) => {}
                () = bell.notified() => {}
            }
        }
    }
}

/// Clears the task's place, whatever ends it: its return, or the end of its runtime.
struct Running {
    group: WeakGroup,
    id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group.upgrade() {
            group.uses().ended(self.id);
        }
    }
}

/// When each member is checked next. A member is known by its place in memory, since another target
/// may get its id.
struct Schedule {
    due: HashMap<usize, Due>,
    jitter: Rng,
}

struct Due {
    /// Also keeps its place in memory from being another's.
    member: Arc<Member>,
    at: Instant,
    under_way: bool,
}

impl Schedule {
    fn new() -> Self {
        Self { due: HashMap::new(), jitter: Rng::from_entropy() }
    }

    /// Returns who is to be checked now, at most `room`, and when to look again.
    fn due(
        &mut self,
        members: Vec<Arc<Member>>,
        interval: Duration,
        now: Instant,
        room: usize,
    ) -> (Vec<Arc<Member>>, Instant) {
        let mut next = now + interval;
        let mut waiting = Vec::new();
        for member in &members {
            let due = self.due.entry(key(member)).or_insert_with(|| Due {
                member: Arc::clone(member),
                at: now,
                under_way: false,
            });
            // A shorter interval than before holds at once.
            due.at = due.at.min(now + interval + interval / 10);
            if !due.under_way && due.at <= now {
                waiting.push((due.at, Arc::clone(member)));
            } else if !due.under_way {
                next = next.min(due.at);
            }
        }
        if self.due.len() > members.len() {
            self.due.retain(|_, due| is_among(&due.member, &members));
        }
        // Who has waited longest goes first, so that many dead targets, each waited for until its
        // timeout, do not keep the others from ever being checked. Those for whom there is no room
        // are looked at when a check ends.
        waiting.sort_by_key(|(at, _)| *at);
        waiting.truncate(room);
        let chosen = waiting.into_iter().map(|(_, member)| member).collect::<Vec<_>>();
        chosen.iter().for_each(|member| self.begin(member, interval, now));
        (chosen, next)
    }

    fn begin(&mut self, member: &Arc<Member>, interval: Duration, now: Instant) {
        // A tenth either way, so that the checks of many targets spread.
        let tenth = interval.as_micros() as u64 / 10;
        let early = self.jitter.below(2 * tenth + 1);
        let interval = interval - Duration::from_micros(tenth) + Duration::from_micros(early);
        if let Some(due) = self.due.get_mut(&key(member)) {
            due.under_way = true;
            due.at = now + interval;
        }
    }

    fn ended(&mut self, member: &Arc<Member>) {
        if let Some(due) = self.due.get_mut(&key(member)) {
            due.under_way = false;
        }
    }
}

fn key(member: &Arc<Member>) -> usize {
    Arc::as_ptr(member).addr()
}

fn is_among(member: &Arc<Member>, members: &[Arc<Member>]) -> bool {
    members.iter().any(|other| Arc::ptr_eq(member, other))
}

/// Takes in what came back, and publishes once.
fn record(
    group: &TargetGroup,
    settings: &CheckSettings,
    schedule: &mut Schedule,
    all: Vec<Checked>,
) {
    let (mut changes, mut unasked) = (Vec::new(), Vec::new());
    let members = group.checked_members();
    for (member, result) in all {
        schedule.ended(&member);
        // It left while it was asked; another one may have its name by now.
        if !is_among(&member, &members) {
            continue;
        }
        let (result, description) = match result {
            Ok(text) => (Ok(()), Arc::from(text)),
            Err(Ill::Failed(failure)) => {
                let description = Arc::clone(&failure.description);
                (Err(failure), description)
            }
            Err(Ill::Unasked(error)) => {
                unasked.push(error);
                continue;
            }
        };
        if let Some((old, new)) = member.health().record(result, settings.thresholds) {
            changes.push(HealthChange {
                group: group.name().clone(),
                target: member.id().clone(),
                old: old.state,
                new: new.state,
                reason: new.reason,
                description,
            });
        }
    }
    if let Some(cause) = unasked.first() {
        let (group, targets, reason) = (group.name(), unasked.len(), cause.reason());
        tracing::warn!(%group, targets, reason, %cause, "targets could not be checked");
    }
    if changes.is_empty() {
        return;
    }
    group.rebuild();
    for change in changes {
        tracing::info!(
            group = %change.group,
            target = %change.target,
            old = %change.old,
            new = %change.new,
            reason = change.reason.map(tracing::field::display),
            description = &*change.description,
            "health changed"
        );
        group.tell(&change);
    }
}

/// Checks one member; whatever happens, it ends within the timeout.
fn check(settings: &CheckSettings, member: Arc<Member>) -> Checking {
    let (asks, limit) = (settings.asks.clone(), settings.timeout);
    Box::pin(async move {
        let asked = {
            let ask = catching(ask(&asks, &member));
            timeout(limit, ask).await
        };
        let result = match asked {
            Ok(result) => result,
            Err(_) => Err(Ill::Failed(match &asks {
                Asks::Http(probe) => probe.timed_out(member.endpoint().address(), limit),
                Asks::Custom(_) => {
                    Failure::new(Reason::Timeout, format!("the probe took longer than {limit:?}"))
                }
            })),
        };
        (member, result)
    })
}

async fn ask(asks: &Asks, member: &Member) -> Asked {
    match asks {
        Asks::Http(probe) => {
            let endpoint = member.endpoint();
            let request = probe.request(endpoint.address());
            // The answer's body is dropped unread, and with it the connection.
            let status = match endpoint.probe(request, probe.port).await {
                Err(error) if error.kind() == Kind::Exhausted => return Err(Ill::Unasked(error)),
                Err(error) => Err(error),
                Ok(answer) => Ok(answer.status()),
            };
            probe.judge(endpoint.address(), status.as_ref().copied()).map_err(Ill::Failed)
        }
        Asks::Custom(probe) => match probe.check(member).await {
            Ok(()) => Ok("the probe succeeded".to_owned()),
            Err(error) => Err(ill(error)),
        },
    }
}

fn ill(error: BoxError) -> Ill {
    let error = match error.downcast::<Failure>() {
        Ok(failure) => return Ill::Failed(*failure),
        Err(error) => error,
    };
    match error.downcast_ref::<Error>() {
        Some(error) if error.kind() == Kind::Exhausted => Ill::Unasked(error.clone()),
        _ => Ill::Failed(Failure::new(Reason::FailedHealthChecks, error.to_string())),
    }
}

/// A panic of a probe is a failed check.
async fn catching(asking: impl Future<Output = Asked>) -> Asked {
    let mut asking = std::pin::pin!(asking);
    poll_fn(|cx| {
        catch_unwind(AssertUnwindSafe(|| asking.as_mut().poll(cx))).unwrap_or_else(|panic| {
            let text = format!("the probe panicked: {}", panic_text(&*panic));
            Poll::Ready(Err(Ill::Failed(Failure::new(Reason::InternalError, text))))
        })
    })
    .await
}
