//! What conditions are compared with, and what keeps one from being decided.
//!
//! A subject lives for one walk through a table: what has to be worked out is worked out at most
//! once, and only if a condition asks.

use std::{borrow::Cow, cell::OnceCell, net::IpAddr};

use super::normal::normal_path;
use crate::{
    error::{Error, Kind},
    head::{Head, Peer},
    id::RuleId,
};

#[derive(Debug)]
pub(in crate::rule) struct Subject<'a> {
    head: Head<'a>,
    host: OnceCell<Option<&'a str>>,
    path: OnceCell<Cow<'a, str>>,
}

impl<'a> Subject<'a> {
    pub(in crate::rule) fn new(head: &Head<'a>) -> Self {
        Self { head: *head, host: OnceCell::new(), path: OnceCell::new() }
    }

    pub(super) fn head(&self) -> &Head<'a> {
        &self.head
    }

    /// Returns the host without port and trailing dot.
    pub(super) fn host(&self) -> Option<&'a str> {
        *self.host.get_or_init(|| self.head.host())
    }

    /// Returns the normal form of the path.
    pub(super) fn path(&self) -> &str {
        self.path.get_or_init(|| normal_path(self.head.path()))
    }

    /// Returns the pairs of the query, still encoded; a pair without `=` has an empty value.
    pub(super) fn query(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let pairs = self.head.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    }

    /// Returns the client's address, if anybody vouches for it.
    pub(super) fn client(&self) -> Option<IpAddr> {
        self.head.peer.map(Peer::ip)
    }
}

/// Why a condition is neither true nor false.
#[derive(Clone, Debug)]
pub(in crate::rule) enum Undecided {
    /// It asks for the client's address, which nobody told.
    NoPeer,
    /// The predicate of this name panicked, with these words.
    Panicked { predicate: String, words: String },
}

impl Undecided {
    pub(in crate::rule) fn into_error(self, rule: RuleId) -> Error {
        let error = match self {
            Self::NoPeer => Error::new(
                Kind::NoPeer,
                format!("{rule} has a source-ip condition, so the balancer must be given a Peer"),
            ),
            Self::Panicked { predicate, words } => Error::new(
                Kind::Panicked,
                format!("predicate {predicate:?} of {rule} panicked: {words}"),
            ),
        };
        error.with_rule(rule)
    }
}
