//! The last floor: sends the request to its target and hands the answer up.
//!
//! The deadlines of the answer and of both bodies are kept here, so that a target that is late is
//! told from a client that left. How a target is reached is `endpoint/`'s affair.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use http_body::Body as _;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};
use tower::Service;

use super::{headers, message::Assigned, served::Served};
use crate::{
    body::{Body, Progress},
    endpoint::{Address, Endpoint},
    error::{Error, Kind},
    head::Peer,
    lease::Lease,
    outcome::Outcome,
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
#[derive(Clone, Copy, Debug, Default)]
pub struct Forward(());

impl Forward {
    /// Makes the service; the settings are each group's `Transport`.
    pub fn new() -> Self {
        Self::default()
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
        Box::pin(forward(assigned))
    }
}

async fn forward(assigned: Assigned) -> Result<Response<Body>, Error> {
    let Assigned { mut request, rule, group, member, mut lease, peer, fail_open } = assigned;
    let endpoint = member.endpoint();
    let transport = endpoint.transport();
    if endpoint.is_local() {
        toward_balancer(&mut request, peer);
    } else {
        toward_target(&mut request, endpoint.address());
    }
    let progress = watch_upload(&mut request, transport.idle_timeout);
    let answer = match Handle::try_current() {
        Ok(_) => {
            let answer = pin!(endpoint.send(request));
            within(transport.answer_timeout, progress, answer).await
        }
        // There are no timers either.
        Err(_) => Err(Kind::NoRuntime.into()),
    };
    let answer = answer.and_then(no_switching);
    let mut response = match answer {
        Ok(response) => response,
        Err(error) => {
            lease.settle(outcome_of(error.kind()));
            let error = error.with_rule(rule).with_group(group).with_target(member.id().clone());
            return Err(error.with_fail_open(fail_open));
        }
    };
    headers::toward_client(&mut response);
    let mut served = Served::by_target(rule, group, member.id().clone());
    served.fail_open = fail_open;
    // An error of a balancer behind this one is not ours.
    response.extensions_mut().remove::<Error>();
    response.extensions_mut().insert(served);
    Ok(watch_download(response, endpoint, transport.idle_timeout, lease))
}

/// Does what depends on the target: HTTP/1.1, the origin form, and a Host if there is none.
fn toward_target(request: &mut Request<Body>, address: &Address) {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::try_from(address.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Tells a balancer in this process who the client is, and that the forwarding headers say so
/// already. Whom this one did not believe, that one cannot either.
fn toward_balancer(request: &mut Request<Body>, peer: Option<Peer>) {
    match peer {
        Some(mut peer) => {
            peer.mark_forwarded();
            // Where the peer came as an extension, there is a place for it.
            match request.extensions_mut().get_mut::<Peer>() {
                Some(place) => *place = peer,
                None => _ = request.extensions_mut().insert(peer),
            }
        }
        None => _ = request.extensions_mut().remove::<Peer>(),
    }
}

/// Limits how long the client may pause in its request.
fn watch_upload(request: &mut Request<Body>, limit: Duration) -> Option<Arc<Progress>> {
    if request.body().is_end_stream() {
        return None;
    }
    let progress = Arc::new(Progress::new());
    request.body_mut().limit_client_idle(limit, Arc::clone(&progress));
    Some(progress)
}

/// Waits for the head of the answer, from the last progress of the request on.
async fn within(
    limit: Duration,
    progress: Option<Arc<Progress>>,
    mut answer: Pin<&mut impl Future<Output = Result<Response<Body>, Error>>>,
) -> Result<Response<Body>, Error> {
    let mut late = pin!(sleep_until(Instant::now() + limit));
    loop {
        tokio::select! {
            biased;
            answer = answer.as_mut() => return answer,
            () = &mut late => {}
        }
        let due = progress.as_ref().map(|progress| progress.last() + limit);
        match due.filter(|due| *due > Instant::now()) {
            Some(due) => late.as_mut().reset(due),
            None => {
                let text = format!("no answer within {limit:?}");
                return Err(Error::new(Kind::AnswerTimeout, text));
            }
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

fn outcome_of(kind: Kind) -> Outcome {
    match kind {
        Kind::Connect | Kind::ConnectTimeout => Outcome::NotConnected,
        Kind::AnswerTimeout => Outcome::TimedOut,
        Kind::Cut => Outcome::Cut,
        // Where the call was made is no fault of the target's.
        Kind::ClientBody | Kind::ClientIdle | Kind::NoRuntime => Outcome::ClientLeft,
        _ => Outcome::Broken,
    }
}

/// Lets the exchange end with the answer's body, which may not pause for longer than `limit`.
fn watch_download(
    response: Response<Body>,
    endpoint: &Endpoint,
    limit: Duration,
    mut lease: Lease,
) -> Response<Body> {
    lease.settle(Outcome::Answered(response.status()));
    response.map(|mut body| {
        body.limit_target_idle(limit);
        endpoint.adopt(body.with_lease(lease))
    })
}
