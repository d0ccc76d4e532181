//! The last floor: sends the request to its target and hands the answer up.
//!
//! It holds the exchange's lease from here to the end of the answer's body, and says how it ended if
//! there is no answer. How long that is waited for is `wait.rs`'s affair, how a target is reached
//! `endpoint/`'s.

mod adapt;
mod wait;

use std::{
    fmt,
    future::ready,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Context, Poll},
};

use http::{Request, Response, StatusCode};
use tokio::{
    runtime::{self, Handle},
    time::Sleep,
};
use tower::Service;

use self::{adapt::Came, wait::Wait};
use super::{message::Assigned, served::Served};
use crate::{
    body::Body,
    endpoint::{Awaiting, InProcess, KeptFailed, Line, Rest, Tunnel, line_of},
    error::{Error, Kind},
    id::{GroupName, RuleId},
    lease::{Lease, Observer},
    outcome::{End, Outcome},
    proxy::{self, Asked, Via},
    target::Member,
};

/// The head of an answer to come. In a box, since the future of hyper's that it waits for has no name.
pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

/// Sends an assigned request to its target.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, Target, TargetGroup, head::Head, id::RuleId};
/// use pointsman::layer::{Assigned, Forward, Served};
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let web = TargetGroup::builder("web").build().unwrap();
/// web.register(Target::service("hello", service_fn(|_: Request<Body>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
/// })));
/// let request = Request::new(Body::default());
/// let picked = web.assign(&Head::of(&request, None), None, &[]).unwrap();
/// let assigned = Assigned::new(
///     request, RuleId::Default, web.name().clone(), picked.member, picked.lease);
/// let response = Forward::new().oneshot(assigned).await.unwrap();
/// assert_eq!(response.extensions().get::<Served>().unwrap().target.as_deref(), Some("hello"));
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Forward {
    observer: Option<Observer>,
}

impl Forward {
    /// Makes the service; the settings are each group's `Transport`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has a function told of each exchange when it has ended, by whoever ends it; so it must be quick.
    /// If it panics, that is all.
    #[must_use]
    pub fn observe(mut self, observe: impl Fn(&Outcome) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observe));
        self
    }

    /// Sends a request, and waits for the head of the answer.
    pub(super) fn send(&self, assigned: Assigned) -> Answer {
        forward(assigned, self.observer.clone())
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").finish_non_exhaustive()
    }
}

impl Service<Assigned> for Forward {
    type Response = Response<Body>;
    type Error = Error;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, assigned: Assigned) -> Self::Future {
        self.send(assigned)
    }
}

/// Makes the request fit for its target and sends it, at once if a connection to it was kept. Whoever
/// calls outside of a runtime may poll within one.
fn forward(assigned: Assigned, observer: Option<Observer>) -> Answer {
    match Handle::try_current() {
        Ok(runtime) => send(assigned, observer, Some(runtime.id())),
        Err(_) => Box::pin(async move {
            let runtime = Handle::try_current().ok().map(|runtime| runtime.id());
            send(assigned, observer, runtime).await
        }),
    }
}

fn send(
    mut assigned: Assigned,
    observer: Option<Observer>,
    runtime: Option<runtime::Id>,
) -> Answer {
    let request = &mut assigned.request;
    let asked = Asked::take(request);
    let endpoint = assigned.member.endpoint();
    let came = Came::adapt(request, endpoint, assigned.peer);
    let wait = Wait::begin(request, endpoint.transport(), assigned.deadline, assigned.began);
    let Assigned { request, rule, group, member, mut lease, fail_open, attempt, via, .. } =
        assigned;
    lease.account_mut().begin(wait.upload.clone());
    lease.account_mut().identify(observer, wait.began, rule, &group, member.id(), attempt);
    let mut exchange = Exchange { rule, group, member, lease, wait, came, fail_open, via };

    let Some(runtime) = runtime else {
        // There are neither connections nor timers.
        return Box::pin(ready(exchange.end(Err(Kind::NoRuntime.into()))));
    };
    if let Some(asked) = asked {
        return Box::pin(upgrade(exchange, request, runtime, asked));
    }
    if let Some(service) = exchange.member.endpoint().service() {
        let service = service.clone();
        return Box::pin(call(exchange, service, request));
    }
    let Exchange { member, lease, wait, .. } = &mut exchange;
    match member.endpoint().send_kept(request, runtime, lease.account_mut(), wait.due()) {
        Ok(answer) => {
            let late = (!answer.is_watched()).then(|| wait.timer());
            Box::pin(Sent::Kept { answer, late, exchange: Some(exchange) })
        }
        Err(rest) => Box::pin(send_rest(exchange, rest)),
    }
}

pin_project_lite::pin_project! {
    /// A request that was sent. Written by hand since it is made for every request: a future the
    /// compiler makes would keep room for all that the rare ways need. `F` has no name.
    #[project = SentProjection]
    enum Sent<F> {
        Kept {
            #[pin]
            answer: F,
            // None if the answer fails by itself when it is due.
            #[pin]
            late: Option<Sleep>,
            exchange: Option<Exchange>,
        },
        // There was no answer over that connection.
        Again { answer: Answer },
    }
}

impl<F: Awaiting> Future for Sent<F> {
    type Output = Result<Response<Body>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (exchange, failed) = match self.as_mut().project() {
            SentProjection::Again { answer } => return answer.as_mut().poll(cx),
            SentProjection::Kept { answer, late, exchange } => match answer.poll(cx) {
                Poll::Ready(Ok(response)) => return conclude(exchange, Ok(response)),
                Poll::Ready(Err(failed)) => (exchange.take(), failed),
                Poll::Pending => {
                    let Some(late) = late.as_pin_mut() else { return Poll::Pending };
                    let Some(Exchange { wait, .. }) = exchange else { return Poll::Pending };
                    let error = task::ready!(wait.poll_late(late, cx));
                    return conclude(exchange, Err(error));
                }
            },
        };
        let Some(exchange) = exchange else { return Poll::Pending };
        if failed.is_late() {
            let error = exchange.wait.late();
            return Poll::Ready(exchange.end(Err(error)));
        }
        self.set(Self::Again { answer: Box::pin(send_again(exchange, failed)) });
        self.poll(cx)
    }
}

/// Ends an exchange, unless that was done.
fn conclude(
    exchange: &mut Option<Exchange>,
    answer: Result<Response<Body>, Error>,
) -> Poll<Result<Response<Body>, Error>> {
    match exchange.take() {
        Some(exchange) => Poll::Ready(exchange.end(answer)),
        None => Poll::Pending,
    }
}

/// Sends a request once more that got no answer over a connection that was kept, if it may be.
async fn send_again(exchange: Exchange, failed: Box<KeptFailed>) -> Result<Response<Body>, Error> {
    match exchange.member.endpoint().after_kept(*failed) {
        Ok(rest) => send_rest(exchange, rest).await,
        Err(error) => exchange.end(Err(error)),
    }
}

/// Has a service in this process answer.
async fn call(
    mut exchange: Exchange,
    service: InProcess,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let Exchange { member, lease, wait, .. } = &mut exchange;
    lease.account_mut().sending(false);
    let answer = wait.head_of(service.send(request, member.load())).await;
    exchange.end(answer.unwrap_or_else(Err))
}

/// Sends a request over a connection that is opened for it.
async fn send_rest(mut exchange: Exchange, rest: Rest) -> Result<Response<Body>, Error> {
    let answer = exchange.open_and_send(rest).await;
    exchange.end(answer)
}

/// Sends a request that asks for another protocol; if the target agrees, the exchange goes on as a
/// tunnel.
async fn upgrade(
    mut exchange: Exchange,
    request: Request<Body>,
    runtime: runtime::Id,
    asked: Asked,
) -> Result<Response<Body>, Error> {
    match exchange.send_upgrade(request, runtime).await {
        Ok((response, None)) => exchange.end(Ok(response)),
        Ok((response, Some(line))) if asked.is_granted_by(&response) => {
            Ok(exchange.go_on(response, asked, line))
        }
        Ok((_, Some(_))) => {
            let text = "the target answered 101 for another protocol than was asked for";
            exchange.end(Err(Error::new(Kind::Exchange, text)))
        }
        Err(error) => {
            if let Some(mut request) = error.take_unsent() {
                asked.put_back(&mut request);
                error.keep_unsent(request);
            }
            exchange.end(Err(error))
        }
    }
}

/// An exchange whose request is on its way.
struct Exchange {
    rule: RuleId,
    group: GroupName,
    member: Arc<Member>,
    lease: Lease,
    wait: Wait,
    came: Came,
    fail_open: bool,
    via: Option<Via>,
}

impl Exchange {
    /// Sends a request over what is opened for it. The target is not late before it can have it; what
    /// it had before takes no longer for being sent again.
    async fn open_and_send(&mut self, rest: Rest) -> Result<Response<Body>, Error> {
        let Self { member, lease, wait, .. } = self;
        let endpoint = member.endpoint();
        let open = pin!(endpoint.open(lease.account_mut()));
        let opened = match wait.within_deadline(open).await? {
            Ok(opened) => opened,
            Err(error) => return Err(rest.give_back(error)),
        };
        if !rest.was_sent() {
            wait.restart(opened.since());
        }
        // Pinned here: it is too large to be moved from one to the other.
        wait.head_of(pin!(endpoint.send_over(opened, rest))).await?
    }

    /// Sends a request that asks for another protocol. An answer of 101 comes with the target's side of
    /// the tunnel to come.
    async fn send_upgrade(
        &mut self,
        request: Request<Body>,
        runtime: runtime::Id,
    ) -> Result<(Response<Body>, Option<Line>), Error> {
        let Self { member, lease, wait, .. } = self;
        let endpoint = member.endpoint();
        let account = lease.account_mut();
        if let Some(service) = endpoint.service() {
            account.sending(false);
            return wait.head_of(service.send_upgrade(request, member.load())).await?;
        }
        let rest = match endpoint.send_kept(request, runtime, account, None) {
            Ok(answer) => match wait.head_of(answer).await? {
                Ok(mut response) => {
                    let line = line_of(&mut response);
                    return Ok((response, line));
                }
                Err(failed) => endpoint.after_kept(*failed)?,
            },
            Err(rest) => rest,
        };
        let mut response = self.open_and_send(rest).await?;
        let line = line_of(&mut response);
        Ok((response, line))
    }

    /// Ends with an error, or lets the exchange end with the body of the answer.
    fn end(mut self, answer: Result<Response<Body>, Error>) -> Result<Response<Body>, Error> {
        let mut response = match answer {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let text = "the target answered 101 unasked";
                return Err(self.fail(Error::new(Kind::Exchange, text)));
            }
            Ok(response) => response,
            Err(error) => return Err(self.fail(error)),
        };
        self.dress(&mut response);
        let Self { member, mut lease, wait, came, .. } = self;
        let endpoint = member.endpoint();
        lease.answered(response.status());
        let body = response.body_mut();
        body.limit_target(endpoint.transport().idle_timeout, wait.deadline);
        body.hold(lease);
        if !endpoint.is_local() {
            return Ok(response);
        }
        // Adopted first, since a body that panics when it is asked counts against its target then.
        let mut response = response.map(|body| endpoint.adopt(body));
        came.frame_answer(&mut response);
        Ok(response)
    }

    /// Lets the exchange go on as a tunnel, which it ends with.
    fn go_on(mut self, mut response: Response<Body>, asked: Asked, target: Line) -> Response<Body> {
        self.dress(&mut response);
        let client = asked.grant(&mut response);
        let Self { member, mut lease, .. } = self;
        let idle_timeout = member.endpoint().transport().idle_timeout;
        lease.switched(response.status());
        Tunnel { client, target, idle_timeout, lease }.open();
        response.map(|_| Body::default())
    }

    /// Makes the head of an answer one for the client, and says whose it is.
    fn dress(&mut self, response: &mut Response<Body>) {
        proxy::return_to_client(response, self.via.as_ref());
        self.came.adapt_answer(response, self.wait.is_overtaken());
        let mut served = Served::by_target(self.rule, self.group.clone(), self.member.id().clone());
        served.fail_open = self.fail_open;
        // An error of a balancer behind this one is not ours.
        response.extensions_mut().remove::<Error>();
        response.extensions_mut().insert(served);
    }

    /// Says of an error whose it is, and of the exchange how it ended.
    #[cold]
    fn fail(mut self, error: Error) -> Error {
        self.lease.settle(end_of(error.kind()));
        let error = error.with_rule(self.rule).with_group(self.group);
        let error = error.with_target(self.member.id().clone());
        self.came.undo(&error);
        error.with_fail_open(self.fail_open)
    }
}

fn end_of(kind: Kind) -> End {
    match kind {
        Kind::ConnectTimeout | Kind::AnswerTimeout | Kind::RequestTimeout => End::TargetLate,
        Kind::Cut => End::Cut,
        Kind::ClientIdle => End::ClientLate,
        Kind::Saturated => End::Saturated,
        Kind::Exhausted => End::Exhausted,
        // Where the call was made is no fault of the target's.
        Kind::ClientBody | Kind::BodyTooLarge | Kind::NoRuntime => End::ClientLeft,
        _ => End::Broken,
    }
}
