//! Forwarding on its own, for those who choose the target themselves: one service for one target.
//!
//! It is the first floor and the last without those between: what a request is before it may go to a
//! target is `arrival.rs`'s, and sending it `forward.rs`'s.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
};

use http::{Extensions, Request, Response};
use tokio::time::Instant;
use tower::{BoxError, Service};

use super::{
    arrival::{self, ArrivalFuture, Introduced, Known},
    forward::{Answer, Forward},
    message::Assigned,
};
use crate::{
    body::Body,
    endpoint::{Endpoint, InvalidTransport, Transport},
    error::{Error, Kind},
    head::Peer,
    id::{GroupName, RuleId},
    outcome::{Blame, Outcome},
    proxy::{HttpOptions, Screened},
    target::{Member, Target},
};

/// Forwards requests to one target, for those who balance themselves.
///
/// What it does with each is what a [`LoadBalancer`](crate::LoadBalancer) does once it has picked: a
/// request that no proxy takes is refused, headers are written, a protocol may be changed, all waits are
/// bounded, connections are kept. The same errors come back, as errors; under
/// [`RespondLayer`](super::RespondLayer) they become responses.
///
/// # Who the client is
///
/// It is found as a [`Peer`] in the request's extensions, or told once a connection by
/// [`for_peer`](Self::for_peer). Without one, X-Forwarded-\* are dropped and not written.
///
/// # Another target
///
/// Nothing is sent twice here, but for the repair of a stale connection. A request of which nothing was
/// sent comes back in its error ([`Error::take_unsent`]): a `ForwardTo` of another target can have it.
/// That one passes it on as it is, since it is introduced already, and its deadline remains.
///
/// # Defaults
///
/// [`Transport::default`], [`HttpOptions::default`]; nobody observes.
///
/// In [`Served`](super::Served), in errors and outcomes the group has the target's name, and the rule is
/// the default rule.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, Target, layer::{ForwardTo, RespondLayer, Served}};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let hello = service_fn(|_: Request<Body>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
/// });
/// let forward = ForwardTo::new(Target::service("hello", hello));
/// let response = forward.clone().oneshot(Request::new(Body::default())).await.unwrap();
/// assert_eq!(response.extensions().get::<Served>().unwrap().target.as_deref(), Some("hello"));
///
/// // With responses in place of errors, as servers need it:
/// let service = RespondLayer::new().layer(forward);
/// let trace = Request::builder().method("TRACE").body(Body::default()).unwrap();
/// assert_eq!(service.oneshot(trace).await.unwrap().status(), 405);
/// # }
/// ```
///
/// An address and port, with settings:
///
/// ```
/// use std::time::Duration;
/// use pointsman::{endpoint::Transport, layer::ForwardTo, proxy::HttpOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let address: std::net::SocketAddr = "127.0.0.1:3001".parse()?;
/// let forward = ForwardTo::new(address)
///     .transport(Transport::new().connect_timeout(Duration::from_secs(1)))?
///     .http(HttpOptions::new().forwarded(true));
/// assert_eq!(forward.in_flight(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ForwardTo {
    member: Arc<Member>,
    group: GroupName,
    options: Arc<HttpOptions>,
    /// Whose connection all requests come over.
    known: Option<Arc<Known>>,
    warned: Arc<AtomicBool>,
    forward: Forward,
}

impl ForwardTo {
    /// Makes a service of a target, whose weight means nothing here. Clones share its connections.
    pub fn new(target: impl Into<Target>) -> Self {
        let target = target.into();
        let group = GroupName::from(&**target.id());
        Self {
            member: Arc::new(Member::alone(target, Transport::default())),
            group,
            options: Arc::default(),
            known: None,
            warned: Arc::default(),
            forward: Forward::new(),
        }
    }

    /// Sets how the target is reached.
    ///
    /// # Errors
    ///
    /// If a timeout or a number is 0, of which there must be more.
    pub fn transport(mut self, transport: Transport) -> Result<Self, InvalidTransport> {
        transport.check()?;
        self.member = Arc::new(self.member.by(transport));
        Ok(self)
    }

    /// Sets what is done with the messages of all clients.
    #[must_use]
    pub fn http(mut self, options: impl Into<Arc<HttpOptions>>) -> Self {
        self.options = options.into();
        self
    }

    /// Has a function told of each exchange when it has ended, by whoever ends it; so it must be quick.
    /// If it panics, that is all.
    #[must_use]
    pub fn observe(mut self, observe: impl Fn(&Outcome) + Send + Sync + 'static) -> Self {
        self.forward = self.forward.observe(observe);
        self
    }

    /// Returns the same service for the connection of one client. What the target is told of the client
    /// is written once.
    #[must_use]
    pub fn for_peer(&self, peer: Peer) -> Self {
        Self { known: Some(Arc::new(Known::new(peer, &self.options))), ..self.clone() }
    }

    /// Returns how many exchanges are in flight, of all clones: from the call to the end of the
    /// answer's body, or of the tunnel.
    pub fn in_flight(&self) -> u32 {
        self.member.load().in_flight()
    }

    /// Returns where requests go.
    pub fn endpoint(&self) -> &Endpoint {
        self.member.endpoint()
    }

    fn decide<B>(&self, mut request: Request<B>, alone: &mut bool) -> Result<Decision, Error>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        if let Some(introduced) = Introduced::take(&mut request) {
            *alone = introduced.alone;
            let again = Introduced { attempt: introduced.attempt.saturating_add(1), ..introduced };
            return self.assign(request.map(Body::new), again);
        }
        let (known, options) = (self.known.as_deref(), &self.options);
        let find = |extensions: &Extensions| Ok(extensions.get().copied());
        let (peer, screened) = arrival::receive(&mut request, known, options, &self.warned, find)?;
        let Screened::Pass(passed) = screened else {
            return Ok(Decision::Answer(Response::new(Body::default())));
        };
        *alone = passed.alone;
        let request = arrival::introduce(request, peer.as_ref(), known, options, passed);
        let deadline = options.deadline();
        self.assign(request, Introduced { peer, deadline, alone: *alone, attempt: 1 })
    }

    /// Makes an exchange of a request.
    fn assign(&self, request: Request<Body>, introduced: Introduced) -> Result<Decision, Error> {
        let Introduced { peer, deadline, attempt, .. } = introduced;
        let (rule, target) = (RuleId::Default, self.member.id());
        let failed = |kind| {
            Error::from(kind)
                .with_rule(rule)
                .with_group(self.group.clone())
                .with_target(target.clone())
        };
        // The attempt before has used its time up.
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(failed(Kind::RequestTimeout));
        }
        let lease = self.member.load().begin(None).ok_or_else(|| failed(Kind::Saturated))?;
        let (group, member) = (self.group.clone(), Arc::clone(&self.member));
        let mut assigned = Assigned::new(request, rule, group, member, lease)
            .with_peer(peer)
            .with_attempt(attempt)
            .with_deadline(deadline)
            .with_via(self.options.via.clone());
        assigned.lease_mut().blame(Blame::Failures);
        Ok(Decision::Forward(assigned, introduced))
    }
}

#[expect(clippy::large_enum_variant, reason = "it lives for one match")]
enum Decision {
    Forward(Assigned, Introduced),
    Answer(Response<Body>),
}

impl<B> Service<Request<B>> for ForwardTo
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ArrivalFuture<MarkedFuture>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut alone = false;
        match self.decide(request, &mut alone) {
            Ok(Decision::Forward(assigned, introduced)) => {
                let answer = self.forward.send(assigned);
                ArrivalFuture::called(MarkedFuture { answer, introduced }, alone)
            }
            Ok(Decision::Answer(response)) => ArrivalFuture::answered(Ok(response), alone),
            Err(error) => ArrivalFuture::answered(Err(error), alone),
        }
    }
}

/// The answer to come, of whose request it is known that it was introduced, should it come back.
pub struct MarkedFuture {
    answer: Answer,
    introduced: Introduced,
}

impl Future for MarkedFuture {
    type Output = Result<Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let introduced = self.introduced;
        self.answer.as_mut().poll(cx).map_err(|error| introduced.mark(error))
    }
}

impl fmt::Debug for MarkedFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarkedFuture").finish_non_exhaustive()
    }
}

impl fmt::Debug for ForwardTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardTo").field("target", self.member.id()).finish_non_exhaustive()
    }
}
