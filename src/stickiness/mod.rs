//! Which target a client had before: the contract, and the load-balancer cookie.
//!
//! Whether that target may still be picked is decided in `group/`; when to ask and when to answer is
//! the `Sticky` floor's affair.

#[cfg(feature = "sticky")]
mod builder;
#[cfg(feature = "sticky")]
mod cache;
#[cfg(feature = "sticky")]
mod cookie;
#[cfg(feature = "sticky")]
mod seal;
#[cfg(feature = "sticky")]
mod set_cookie;
#[cfg(feature = "sticky")]
#[cfg(test)]
mod tests;

use std::{fmt, time::SystemTime};

use http::HeaderMap;

#[cfg(feature = "sticky")]
pub use self::{
    builder::{CookieBuilder, InvalidCookie, SameSite},
    cookie::LoadBalancerCookie,
    seal::{CookieKey, NoEntropy},
};
use crate::{
    head::Head,
    id::{GroupName, TargetId},
};

/// Remembers which target a client had.
pub trait Stickiness: fmt::Debug + Send + Sync {
    /// Reads from a request which target of `group` the client had.
    ///
    /// Whatever the client sent, this costs a bounded effort, and what is not ours is ignored.
    fn recall(&self, group: &GroupName, head: &Head<'_>, now: SystemTime) -> Session;

    /// Writes into the headers of a response that the client has `target` from now on.
    fn remember(
        &self,
        group: &GroupName,
        session: &Session,
        target: &TargetId,
        headers: &mut HeaderMap,
        now: SystemTime,
    );
}

/// What was recalled of a client.
#[derive(Clone, Debug, Default)]
pub struct Session {
    target: Option<TargetId>,
    until: Option<SystemTime>,
    memo: String,
    /// Whether the client came over TLS.
    #[cfg(feature = "sticky")]
    https: bool,
}

impl Session {
    /// A session with a target, valid until a time.
    pub fn new(target: TargetId, until: SystemTime) -> Self {
        Self { target: Some(target), until: Some(until), ..Self::default() }
    }

    /// Keeps a text from `recall` for `remember`.
    #[must_use]
    pub fn with_memo(mut self, memo: String) -> Self {
        self.memo = memo;
        self
    }

    /// Returns the target the client had.
    pub fn target(&self) -> Option<&TargetId> {
        self.target.as_ref()
    }

    /// Returns until when the session was valid.
    pub fn until(&self) -> Option<SystemTime> {
        self.until
    }

    /// Returns what `recall` kept.
    pub fn memo(&self) -> &str {
        &self.memo
    }
}
