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

/// What an exchange has taken so far. It is moved about with its request, and then with its answer, so
/// what only the observer and the log want to know is kept beside, and only for them.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) end: End,
    pub(super) stage: Stage,
    pub(super) status: Option<StatusCode>,
    upload: Option<Arc<Progress>>,
    witness: Option<Box<Witness>>,
}

/// Which exchange it is, what is measured of it, and who is told besides the log.
struct Witness {
    observer: Option<Observer>,
    rule: RuleId,
    group: GroupName,
    target: TargetId,
    attempt: u32,
    begun: Instant,
    reused: bool,
    connect: Option<Duration>,
    head: Option<Duration>,
    sent: u64,
    received: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            end: End::ClientLeft,
            stage: Stage::Connect,
            status: None,
            upload: None,
            witness: None,
        }
    }
}

impl Account {
    /// Counts the request's body among what was sent.
    pub(crate) fn begin(&mut self, upload: Option<Arc<Progress>>) {
        self.upload = upload;
    }

    /// Says which exchange it is, if anybody wants to know how it ended, and begins the times.
    pub(crate) fn identify(
        &mut self,
        observer: Option<Observer>,
        begun: Instant,
        rule: RuleId,
        group: &GroupName,
        target: &TargetId,
        attempt: u32,
    ) {
        if observer.is_none() && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        self.witness = Some(Box::new(Witness {
            observer,
            rule,
            group: group.clone(),
            target: target.clone(),
            attempt,
            begun,
            reused: false,
            connect: None,
            head: None,
            sent: 0,
            received: 0,
        }));
    }

    /// Measures something, if anybody wants to know it.
    fn measure(&mut self, measure: impl FnOnce(&mut Witness)) {
        if let Some(witness) = &mut self.witness {
            measure(witness);
        }
    }

    /// The request goes over a connection that was kept, or to a service in this process.
    pub(crate) fn sending(&mut self, reused: bool) {
        self.stage = Stage::Head;
        self.measure(|witness| witness.reused = reused);
    }

    /// A connection is being opened, if need be after one that was kept has failed.
    pub(crate) fn connecting(&mut self) {
        self.stage = Stage::Connect;
        self.measure(|witness| witness.reused = false);
    }

    /// The connection is there, after so long.
    pub(crate) fn connected(&mut self, after: Duration) {
        self.stage = Stage::Head;
        self.measure(|witness| witness.connect = Some(after));
    }

    /// Returns how the exchange ends, if it was the request that broke off.
    pub(super) fn upload_failed(&self) -> Option<End> {
        self.upload.as_ref()?.failed()
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        self.measure(|witness| witness.head = Some(witness.begun.elapsed()));
        self.stage = Stage::Body;
        self.status = Some(status);
        self.end = End::Done;
    }

    /// Counts bytes of the answer's body.
    pub(super) fn received(&mut self, bytes: usize) {
        self.measure(|witness| witness.received += bytes as u64);
    }

    /// Says what went through the tunnel.
    pub(super) fn carried(&mut self, sent: u64, received: u64) {
        self.measure(|witness| (witness.sent, witness.received) = (sent, received));
    }

    /// Tells whoever wants to know.
    pub(super) fn close(&mut self) {
        let Some(witness) = self.witness.take() else { return };
        let Witness { observer, rule, group, target, attempt, .. } = *witness;
        let outcome = Outcome {
            rule,
            group,
            target,
            attempt,
            end: self.end,
            stage: self.stage,
            status: self.status,
            reused: witness.reused,
            connect: witness.connect,
            head: witness.head,
            total: witness.begun.elapsed(),
            sent: witness.sent + self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            received: witness.received,
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
