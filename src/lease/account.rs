//! What an exchange has taken so far; it becomes its [`Outcome`] when it ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::progress::Progress;
use crate::{
    id::{GroupName, RuleId, TargetId},
    outcome::{End, Outcome, Stage},
};

/// Is told of each exchange when it has ended.
pub(crate) type Observer = Arc<dyn Fn(&Outcome) + Send + Sync>;

/// What an exchange has taken so far.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) end: End,
    pub(super) stage: Stage,
    pub(super) status: Option<StatusCode>,
    pub(super) sent: u64,
    pub(super) received: u64,
    reused: bool,
    connect: Option<Duration>,
    head: Option<Duration>,
    begun: Option<Instant>,
    upload: Option<Arc<Progress>>,
    witness: Option<Box<Witness>>,
}

/// Which exchange it is, and who is told of it besides the log.
struct Witness {
    observer: Option<Observer>,
    rule: RuleId,
    group: GroupName,
    target: TargetId,
    attempt: u32,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            end: End::ClientLeft,
            stage: Stage::Connect,
            status: None,
            sent: 0,
            received: 0,
            reused: false,
            connect: None,
            head: None,
            begun: None,
            upload: None,
            witness: None,
        }
    }
}

impl Account {
    /// Begins the times.
    pub(crate) fn begin(&mut self, now: Instant, upload: Option<Arc<Progress>>) {
        self.begun = Some(now);
        self.upload = upload;
    }

    /// Says which exchange it is, if anybody wants to know how it ended.
    pub(crate) fn identify(
        &mut self,
        observer: Option<Observer>,
        rule: RuleId,
        group: &GroupName,
        target: &TargetId,
        attempt: u32,
    ) {
        if observer.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (group, target) = (group.clone(), target.clone());
        self.witness = Some(Box::new(Witness { observer, rule, group, target, attempt }));
    }

    /// The request goes over a connection that was kept, or to a service in this process.
    pub(crate) fn sending(&mut self, reused: bool) {
        self.stage = Stage::Head;
        self.reused = reused;
    }

    /// A connection is being opened, if need be after one that was kept has failed.
    pub(crate) fn connecting(&mut self) {
        self.stage = Stage::Connect;
        self.reused = false;
    }

    /// The connection is there, after so long.
    pub(crate) fn connected(&mut self, after: Duration) {
        self.stage = Stage::Head;
        self.connect = Some(after);
    }

    /// Returns how the exchange ends, if it was the request that broke off.
    pub(super) fn upload_failed(&self) -> Option<End> {
        self.upload.as_ref()?.failed()
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.head = self.begun.map(|begun| begun.elapsed());
        self.stage = Stage::Body;
        self.status = Some(status);
        self.end = End::Done;
    }

    /// Tells whoever wants to know.
    pub(super) fn close(&mut self) {
        let Some(witness) = self.witness.take() else { return };
        let Witness { observer, rule, group, target, attempt } = *witness;
        let outcome = Outcome {
            rule,
            group,
            target,
            attempt,
            end: self.end,
            stage: self.stage,
            status: self.status,
            reused: self.reused,
            connect: self.connect,
            head: self.head,
            total: self.begun.map_or(Duration::ZERO, |begun| begun.elapsed()),
            sent: self.sent + self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            received: self.received,
        };
        log(&outcome);
        let told = observer.map(|observer| catch_unwind(AssertUnwindSafe(|| observer(&outcome))));
        if let Some(Err(_)) = told {
            tracing::error!(group = %outcome.group, target = %outcome.target, "the observer panicked");
        }
    }
}

fn log(outcome: &Outcome) {
    let Outcome { end, stage, attempt, reused, sent, received, total, .. } = outcome;
    tracing::debug!(
        rule = %outcome.rule,
        group = %outcome.group,
        target = %outcome.target,
        attempt,
        ?end,
        ?stage,
        status = outcome.status.map(|status| status.as_u16()),
        reused,
        connect = outcome.connect.map(tracing::field::debug),
        head = outcome.head.map(tracing::field::debug),
        ?total,
        sent,
        received,
        "exchange ended"
    );
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("group", &self.group).finish_non_exhaustive()
    }
}
