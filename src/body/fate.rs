//! Why a body ended before its end.

use std::{
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

/// Why a body ended before its end, when it was we who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The client sent nothing for this long in the middle of its request.
    #[error("the client sent nothing for {0:?} in the middle of its request")]
    ClientIdle(Duration),
    /// The client's request body broke off; the connection was lost, or its framing is wrong.
    #[error("the client's request body broke off")]
    ClientBroken,
    /// The client's request body is longer than this many bytes.
    #[error("the client's request body is longer than {0} bytes")]
    TooLarge(u64),
    /// The target sent nothing for this long in the middle of its answer.
    #[error("the target sent nothing for {0:?} in the middle of its answer")]
    TargetIdle(Duration),
    /// The target was deregistered, and its deregistration delay is over.
    #[error("the target was deregistered and its deregistration delay is over")]
    Cut,
    /// The connection to the target was dropped, since its runtime ended.
    #[error("the connection to the target was dropped, since its runtime ended")]
    Lost,
    /// The request goes to another target, which gets its body from the beginning.
    #[error("the request goes to another target")]
    Retried,
    /// The body of a service in this process panicked.
    #[error("the body of a service in this process panicked")]
    Panicked,
}

/// How a connection ended whose body is still being read.
#[derive(Debug, Default)]
pub(crate) struct Fate(AtomicU8);

impl Fate {
    const CUT: u8 = 1;
    const LOST: u8 = 2;

    /// The target's deadline passed.
    pub(crate) fn cut(&self) {
        self.0.store(Self::CUT, Ordering::Release);
    }

    /// The connection was dropped before its exchange was over.
    pub(crate) fn lose(&self) {
        _ = self.0.compare_exchange(0, Self::LOST, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Returns what ended the connection, if it was not the exchange's own end.
    pub(crate) fn error(&self) -> Option<BodyError> {
        match self.0.load(Ordering::Acquire) {
            Self::CUT => Some(BodyError::Cut),
            Self::LOST => Some(BodyError::Lost),
            _ => None,
        }
    }
}
