//! What can go wrong with a request, and the one table that says which status that is.
//!
//! Who turns an error into a response is `layer/respond.rs`. An error made before anything was sent
//! keeps the request, so that another target can have it.

mod reason;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::{Request, StatusCode};
use tower::BoxError;

use crate::{
    body::Body,
    id::{GroupName, RuleId, TargetId},
};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// No rule matched, and there is no default rule.
    NoRule,
    /// The group has no target that could be picked.
    NoTarget,
    /// Every target that could be picked has as many requests in flight, or connections, as it may.
    Saturated,
    /// This machine has no port, or no descriptor, left for a connection to the target; nothing was sent.
    Exhausted,
    /// No connection to the target came about; nothing was sent.
    Connect,
    /// No connection to the target came about in time; nothing was sent.
    ConnectTimeout,
    /// The exchange with the target broke before the head of its answer was in.
    Exchange,
    /// The target did not send the head of its answer in time.
    AnswerTimeout,
    /// The request's own deadline passed before the head of an answer was in.
    RequestTimeout,
    /// The target was deregistered, and the exchange outlived the deregistration delay.
    Cut,
    /// The client's request body broke off.
    ClientBody,
    /// The client sent nothing for too long in the middle of its request.
    ClientIdle,
    /// A source-ip condition could not be decided, since nobody told who the client is.
    NoPeer,
    /// The method is one for the proxy itself that it does not do: TRACE, CONNECT.
    MethodNotAllowed,
    /// The request target is none that a proxy takes.
    InvalidUri,
    /// There is no Host, more than one, or one that is none.
    InvalidHost,
    /// Two servers in a row might take the request for different ones.
    Desync,
    /// The request body is longer than it may be.
    BodyTooLarge,
    /// The request target is longer than it may be.
    UriTooLong,
    /// The client expects what nobody can do.
    Expectation,
    /// The fields are longer, or more, than they may be.
    HeadersTooLarge,
    /// X-Forwarded-For has more addresses than it may.
    ForwardedForTooLong,
    /// The body has a transfer coding that cannot be passed on.
    TransferCoding,
    /// A redirect's Location became longer than 8 KiB (ALB's limit).
    RedirectTooLong,
    /// A policy of the user's, or a service in this process, panicked.
    Panicked,
    /// The request came outside a tokio runtime.
    NoRuntime,
    /// A layer between the floors, or a service in this process, failed in its own way.
    Other,
}

impl Kind {
    /// Returns the status a client gets for it.
    ///
    /// | kind | status |
    /// |---|---|
    /// | `ClientBody`, `InvalidUri`, `InvalidHost`, `Desync` | 400 |
    /// | `NoRule` | 404 |
    /// | `MethodNotAllowed` | 405 |
    /// | `ClientIdle` | 408 |
    /// | `BodyTooLarge` | 413 |
    /// | `UriTooLong` | 414 |
    /// | `Expectation` | 417 |
    /// | `HeadersTooLarge` | 431 |
    /// | `ForwardedForTooLong` | 463, ALB's own |
    /// | `NoPeer`, `Panicked`, `NoRuntime`, `Other` | 500 |
    /// | `TransferCoding` | 501 |
    /// | `Connect`, `Exchange`, `Cut` | 502 |
    /// | `NoTarget`, `Saturated`, `Exhausted` | 503 |
    /// | `ConnectTimeout`, `AnswerTimeout`, `RequestTimeout` | 504 |
    /// | `RedirectTooLong` | 507 |
    pub fn status(self) -> StatusCode {
        match self {
            Self::ClientBody | Self::InvalidUri | Self::InvalidHost | Self::Desync => {
                StatusCode::BAD_REQUEST
            }
            Self::NoRule => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ClientIdle => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ForwardedForTooLong => {
                StatusCode::from_u16(463).unwrap_or(StatusCode::BAD_REQUEST)
            }
            Self::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Self::NoPeer | Self::Panicked | Self::NoRuntime | Self::Other => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Connect | Self::Exchange | Self::Cut => StatusCode::BAD_GATEWAY,
            Self::NoTarget | Self::Saturated | Self::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimeout | Self::AnswerTimeout | Self::RequestTimeout => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::RedirectTooLong => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// Tells whether it is the client's request that is at fault, in a way that makes what else comes
    /// over its connection doubtful or unwanted, so that the connection is closed.
    pub(crate) fn closes_client(self) -> bool {
        matches!(
            self,
            Self::ClientBody
                | Self::ClientIdle
                | Self::MethodNotAllowed
                | Self::InvalidUri
                | Self::InvalidHost
                | Self::Desync
                | Self::BodyTooLarge
                | Self::UriTooLong
                | Self::Expectation
                | Self::HeadersTooLarge
                | Self::ForwardedForTooLong
                | Self::TransferCoding
        )
    }

    fn describe(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "TRACE and CONNECT are not for this proxy",
            Self::InvalidUri => "the request target is none that a proxy takes",
            Self::InvalidHost => "the Host is not one valid host",
            Self::Desync => "the request may be read in two ways",
            Self::BodyTooLarge => "the request body is too long",
            Self::UriTooLong => "the request target is too long",
            Self::Expectation => "an expectation other than 100-continue",
            Self::HeadersTooLarge => "the header fields are too long",
            Self::ForwardedForTooLong => "X-Forwarded-For has too many addresses",
            Self::TransferCoding => "a transfer coding other than chunked",
            Self::NoRule => "no rule matched",
            Self::NoTarget => "no target to pick",
            Self::Saturated => "every target is at its cap",
            Self::Exhausted => "no port or descriptor left to reach the target",
            Self::Connect => "no connection to the target",
            Self::ConnectTimeout => "no connection to the target in time",
            Self::Exchange => "the exchange with the target broke",
            Self::AnswerTimeout => "no answer from the target in time",
            Self::RequestTimeout => "no answer before the request's deadline",
            Self::Cut => "the exchange outlived the deregistration delay",
            Self::ClientBody => "the client's request body broke off",
            Self::ClientIdle => "the client stopped sending its request",
            Self::NoPeer => "nobody told who the client is",
            Self::RedirectTooLong => "the redirect is longer than 8 KiB",
            Self::Panicked => "a policy or service of the user's panicked",
            Self::NoRuntime => "called outside a tokio runtime",
            Self::Other => "a service failed",
        }
    }
}

/// Why a request was not answered by a target.
///
/// A clone shares all. It rides in the extensions of the response that was made of it.
///
/// # Examples
///
/// ```
/// use pointsman::error::{Error, Kind};
///
/// let error = Error::new(Kind::Connect, "connection refused");
/// assert_eq!(error.status(), 502);
/// assert_eq!(error.to_string(), "no connection to the target: connection refused");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    status: Option<StatusCode>,
    reason: Option<&'static str>,
    rule: Option<RuleId>,
    group: Option<GroupName>,
    target: Option<TargetId>,
    fail_open: bool,
    unanswered: bool,
    alone: bool,
    source: Option<BoxError>,
    unsent: Mutex<Option<Request<Body>>>,
}

impl Error {
    /// Makes an error with its cause.
    pub fn new(kind: Kind, source: impl Into<BoxError>) -> Self {
        Self::make(kind, Some(source.into()))
    }

    fn make(kind: Kind, source: Option<BoxError>) -> Self {
        let unsent = Mutex::new(None);
        let (status, reason, rule, group, target) = (None, None, None, None, None);
        let (fail_open, unanswered, alone) = (false, false, false);
        Self(Arc::new(Inner {
            kind,
            status,
            reason,
            rule,
            group,
            target,
            fail_open,
            unanswered,
            alone,
            source,
            unsent,
        }))
    }

    /// Returns what went wrong.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the status a client gets for it.
    pub fn status(&self) -> StatusCode {
        self.0.status.unwrap_or_else(|| self.0.kind.status())
    }

    /// Returns what went wrong as an error type of RFC 9209: that of its [`Kind`], or one that is more
    /// exact. What this machine lacks ([`Kind::Exhausted`]) has none there: `local_port`,
    /// `local_descriptors`.
    pub fn reason(&self) -> &'static str {
        self.0.reason.unwrap_or_else(|| self.0.kind.reason())
    }

    /// Returns the rule that matched, if it came that far.
    pub fn rule(&self) -> Option<RuleId> {
        self.0.rule
    }

    /// Returns the group the rule chose.
    pub fn group(&self) -> Option<&GroupName> {
        self.0.group.as_ref()
    }

    /// Returns the target that was picked.
    pub fn target(&self) -> Option<&TargetId> {
        self.0.target.as_ref()
    }

    /// Takes the request out, if it may go to another target: nothing of it was sent, or it was lost with
    /// a target that is ending, is idempotent and has no body. Only the first caller gets it.
    pub fn take_unsent(&self) -> Option<Request<Body>> {
        self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Says which rule matched.
    #[must_use]
    pub fn with_rule(self, rule: RuleId) -> Self {
        self.amend(|inner| inner.rule = Some(rule))
    }

    /// Says which group was chosen.
    #[must_use]
    pub fn with_group(self, group: GroupName) -> Self {
        self.amend(|inner| inner.group = Some(group))
    }

    /// Says which target was picked.
    #[must_use]
    pub fn with_target(self, target: TargetId) -> Self {
        self.amend(|inner| inner.target = Some(target))
    }

    /// Says what went wrong as an error type of RFC 9209, where more is known than the kind says.
    pub(crate) fn with_reason(self, reason: &'static str) -> Self {
        self.amend(|inner| inner.reason = Some(reason))
    }

    /// Says whether the target was picked without regard to health.
    pub(crate) fn with_fail_open(self, fail_open: bool) -> Self {
        self.amend(|inner| inner.fail_open = fail_open)
    }

    /// Tells whether the target was picked without regard to health.
    pub(crate) fn is_fail_open(&self) -> bool {
        self.0.fail_open
    }

    /// Says that the exchange broke before any byte of an answer came.
    pub(crate) fn with_unanswered(self) -> Self {
        self.amend(|inner| inner.unanswered = true)
    }

    /// Tells whether the request was sent, in part at least, and the exchange broke before any byte of an
    /// answer came.
    pub fn is_unanswered(&self) -> bool {
        self.0.unanswered
    }

    /// Says that the client's connection may not be used again.
    pub(crate) fn with_alone(self) -> Self {
        self.amend(|inner| inner.alone = true)
    }

    /// Tells whether the client's connection may not be used again.
    pub(crate) fn closes_client(&self) -> bool {
        self.0.alone || self.0.kind.closes_client()
    }

    /// Keeps the request, which may go to another target.
    #[must_use]
    pub fn with_unsent(self, request: Request<Body>) -> Self {
        self.keep_unsent(request);
        self
    }

    /// Puts the request back that was taken out.
    pub(crate) fn keep_unsent(&self, request: Request<Body>) {
        *self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
    }

    /// An error that was shared already stays as it is.
    fn amend(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            change(inner);
        }
        self
    }
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self::make(kind, None)
    }
}

/// Recovers an error of ours from a layer of somebody else's, so that such layers can stand between
/// the floors with `.map_err(Error::from)`.
///
/// The errors of tower's `Timeout` and `LoadShed` get the status that fits them, 504 and 503; any
/// other is [`Kind::Other`].
impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => {
                let (status, reason) = if error.is::<tower::timeout::error::Elapsed>() {
                    (Some(StatusCode::GATEWAY_TIMEOUT), Some("http_response_timeout"))
                } else if error.is::<tower::load_shed::error::Overloaded>() {
                    (Some(StatusCode::SERVICE_UNAVAILABLE), None)
                } else {
                    (None, None)
                };
                Self::new(Kind::Other, error).amend(|inner| {
                    inner.status = status;
                    inner.reason = reason;
                })
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.describe())?;
        match &self.0.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("rule", &self.0.rule)
            .field("group", &self.0.group)
            .field("target", &self.0.target)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsent_request_comes_back_once_even_through_a_box() {
        let error = Error::from(Kind::Connect).with_unsent(Request::new(Body::from("x")));
        let boxed: BoxError = error.into();
        let error = Error::from(boxed);
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.clone().take_unsent().is_some());
        assert!(error.take_unsent().is_none());
    }

    #[test]
    fn errors_of_others_have_a_status_that_fits() {
        let check = |error: BoxError, status: u16| assert_eq!(Error::from(error).status(), status);
        check(tower::timeout::error::Elapsed::new().into(), 504);
        check(tower::load_shed::error::Overloaded::new().into(), 503);
        check("whatever".into(), 500);
    }
}
