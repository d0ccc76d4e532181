//! How an exchange with a target ended, and what it took.
//!
//! Who records it is `lease/`, and nobody else.

use std::time::Duration;

use http::StatusCode;

use crate::id::{GroupName, RuleId, TargetId};

/// How an exchange with a target ended, and what it took.
///
/// Every attempt of a request that reached the last floor is an exchange of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The rule that matched.
    pub rule: RuleId,
    /// The group that was chosen.
    pub group: GroupName,
    /// The target that was picked.
    pub target: TargetId,
    /// Which attempt of its request it was, from 1.
    pub attempt: u32,
    /// How it ended.
    pub end: End,
    /// How far it had come.
    pub stage: Stage,
    /// The status of the target's answer, if its head came.
    pub status: Option<StatusCode>,
    /// Whether it went over a connection that was kept from before.
    pub reused: bool,
    /// How long opening a connection took, if one was opened.
    pub connect: Option<Duration>,
    /// How long it took until the head of the answer was there, if it came.
    pub head: Option<Duration>,
    /// How long all of it took.
    pub total: Duration,
    /// How many bytes of the request's body went to the target, without their framing.
    pub sent: u64,
    /// How many bytes of the answer's body came from it, without their framing.
    pub received: u64,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// The whole answer went out.
    Done,
    /// The tunnel that the answer opened was closed by both sides.
    TunnelClosed,
    /// Nobody sent anything through the tunnel for longer than it may be idle.
    TunnelIdle,
    /// The client went away, or its own body broke off, before the answer was complete. If it left
    /// while the answer's head was waited for, in [`Stage::Connect`] or [`Stage::Head`], this is what
    /// ALB logs as 460: there is nobody left to read a status.
    ClientLeft,
    /// The client stalled for longer than it may, or was the one that was waited for when the deadline
    /// of its request passed.
    ClientLate,
    /// The target stalled for longer than it may: until it was connected to, until it answered, or in
    /// the middle of its answer; or the deadline of the request passed while it was waited for.
    TargetLate,
    /// The target has as many connections as it may; nothing was sent.
    Saturated,
    /// This machine had no port, or no descriptor, left to reach the target; nothing was sent.
    Exhausted,
    /// No connection to the target came about, or it broke before the head of the answer was in.
    Broken,
    /// The head of the answer went out, and then its body broke off.
    Truncated,
    /// The target was deregistered and the exchange outlived the deregistration delay.
    Cut,
}

/// How far an exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// A connection was being opened; nothing was sent.
    Connect,
    /// The request was under way, or its answer waited for.
    Head,
    /// The answer's head had come.
    Body,
    /// Bytes went both ways.
    Tunnel,
}

/// Who ended an exchange before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client.
    Client,
    /// The balancer, since it was told to.
    Balancer,
    /// The target.
    Target,
}

impl End {
    /// Returns whose doing it is that an exchange ended early; none if it did not.
    pub fn side(self) -> Option<Side> {
        match self {
            Self::Done | Self::TunnelClosed | Self::TunnelIdle => None,
            Self::ClientLeft | Self::ClientLate => Some(Side::Client),
            Self::Cut | Self::Saturated | Self::Exhausted => Some(Side::Balancer),
            Self::TargetLate | Self::Broken | Self::Truncated => Some(Side::Target),
        }
    }
}

/// Which outcomes count against the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blame {
    /// None does; the counts say only how many were answered.
    #[default]
    Nothing,
    /// What ALB's anomaly detection counts: an answer of 5xx, or no proper answer at all.
    Failures,
}

impl Blame {
    /// Tells whether an exchange that ended so, after an answer of this status, counts against the
    /// target.
    pub fn counts(self, end: End, status: Option<StatusCode>) -> bool {
        match (self, end.side()) {
            (Self::Nothing, _) => false,
            (Self::Failures, None) => status.is_some_and(|status| status.is_server_error()),
            (Self::Failures, Some(side)) => side == Side::Target,
        }
    }
}
