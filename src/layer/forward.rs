//! The last floor: sends the request to its target and hands the answer up.
//!
//! It holds the exchange's lease from here to the end of the answer's body, and says how it ended if
//! there is no answer. How long that is waited for is `wait.rs`'s affair, how a target is reached
//! `endpoint/`'s.

mod adapt;
mod wait;

use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode};
use tokio::{runtime::Handle, time::Instant};
use tower::Service;

use self::{adapt::Came, wait::Wait};
use super::{message::Assigned, served::Served};
use crate::{
    body::Body,
    endpoint::{Endpoint, Line, Tunnel},
    error::{Error, Kind},
    lease::{Account, Lease, Observer},
    outcome::{End, Outcome},
    proxy::{self, Asked},
};

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

    /// Sends a request. It returns when the head of the answer is there.
    pub(super) fn send(
        &self,
        assigned: Assigned,
    ) -> impl Future<Output = Result<Response<Body>, Error>> + Send + use<> {
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
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, assigned: Assigned) -> Self::Future {
        Box::pin(self.send(assigned))
    }
}

/// Makes the request fit for its target, and returns what sends it. Much is done before the future is
/// made, since that would keep room for all it is given and for what becomes of it.
fn forward(
    assigned: Assigned,
    observer: Option<Observer>,
) -> impl Future<Output = Result<Response<Body>, Error>> + Send {
    let Assigned {
        mut request,
        rule,
        group,
        member,
        mut lease,
        peer,
        fail_open,
        attempt,
        deadline,
        via,
    } = assigned;
    let asked = Asked::take(&mut request);
    let came = Came::adapt(&mut request, member.endpoint(), peer);
    let wait = Wait::begin(&mut request, member.endpoint().transport(), deadline);
    lease.account_mut().begin(wait.upload.clone());
    lease.account_mut().identify(observer, wait.began, rule, &group, member.id(), attempt);

    async move {
        let endpoint = member.endpoint();
        let mut switched = None;
        let answer = match asked {
            // There are no timers either.
            _ if Handle::try_current().is_err() => Err(Kind::NoRuntime.into()),
            None => {
                let answer = pin!(endpoint.send_for(request, lease.account_mut()));
                wait.head_of(answer).await.and_then(no_switching)
            }
            // In a box of its own, since few requests do.
            Some(asked) => {
                let account = lease.account_mut();
                let sent = Box::pin(send_upgrade(endpoint, request, asked, &wait, account)).await;
                sent.map(|(response, to)| {
                    switched = to;
                    response
                })
            }
        };
        let mut response = match answer {
            Ok(response) => response,
            Err(error) => {
                lease.settle(end_of(error.kind()));
                let error = error.with_rule(rule).with_group(group);
                let error = error.with_target(member.id().clone());
                came.undo(&error);
                return Err(error.with_fail_open(fail_open));
            }
        };

        proxy::return_to_client(&mut response, via.as_ref());
        came.adapt_answer(&mut response, wait.is_overtaken());
        let mut served = Served::by_target(rule, group, member.id().clone());
        served.fail_open = fail_open;
        // An error of a balancer behind this one is not ours.
        response.extensions_mut().remove::<Error>();
        response.extensions_mut().insert(served);

        Ok(match switched {
            Some((asked, line)) => open_tunnel(response, asked, line, endpoint, lease),
            None => end_with_body(response, endpoint, deadline, lease),
        })
    }
}

/// Sends a request that asks for another protocol. If the target agrees, what was asked comes back
/// with the target's side of the tunnel to come.
async fn send_upgrade(
    endpoint: &Endpoint,
    request: Request<Body>,
    asked: Asked,
    wait: &Wait,
    account: &mut Account,
) -> Result<(Response<Body>, Option<(Asked, Line)>), Error> {
    let answer = pin!(endpoint.send_upgrade(request, account));
    let (response, line) = match wait.head_of(answer).await {
        Ok(answer) => answer,
        Err(error) => {
            return Err(match error.take_unsent() {
                Some(mut request) => {
                    asked.put_back(&mut request);
                    error.with_unsent(request)
                }
                None => error,
            });
        }
    };
    match line {
        None => Ok((response, None)),
        Some(line) if asked.is_granted_by(&response) => Ok((response, Some((asked, line)))),
        Some(_) => {
            let text = "the target answered 101 for another protocol than was asked for";
            Err(Error::new(Kind::Exchange, text))
        }
    }
}

/// Nobody asked for another protocol, so a switch to one is no answer.
fn no_switching(response: Response<Body>) -> Result<Response<Body>, Error> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Error::new(Kind::Exchange, "the target answered 101 unasked"));
    }
    Ok(response)
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

/// Lets the exchange go on as a tunnel, which it ends with.
fn open_tunnel(
    mut response: Response<Body>,
    asked: Asked,
    target: Line,
    endpoint: &Endpoint,
    mut lease: Lease,
) -> Response<Body> {
    let client = asked.grant(&mut response);
    let idle_timeout = endpoint.transport().idle_timeout;
    lease.switched(response.status());
    Tunnel { client, target, idle_timeout, lease }.open();
    response.map(|_| Body::default())
}

/// Lets the exchange end with the answer's body, which may stall only for so long, nor last beyond the
/// deadline.
fn end_with_body(
    mut response: Response<Body>,
    endpoint: &Endpoint,
    deadline: Option<Instant>,
    mut lease: Lease,
) -> Response<Body> {
    lease.answered(response.status());
    let body = response.body_mut();
    body.limit_target(endpoint.transport().idle_timeout, deadline);
    body.hold(lease);
    if endpoint.is_local() { response.map(|body| endpoint.adopt(body)) } else { response }
}
