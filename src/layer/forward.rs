//! The last floor: sends the request to its target and hands the answer up.
//!
//! The deadlines of the answer and of both bodies are kept here, so that a target that is late is
//! told from a client that left. How a target is reached is `endpoint/`'s affair.

use std::{
    fmt,
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

use super::{message::Assigned, served::Served};
use crate::{
    body::Body,
    endpoint::{Address, Endpoint, Line, Tunnel},
    error::{Error, Kind},
    head::Peer,
    lease::{Account, Lease, Observer, Progress},
    outcome::{End, Outcome},
    proxy::{self, Asked, HttpOptions, Via},
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
    via: Option<Via>,
}

impl Forward {
    /// Makes the service; the settings are each group's `Transport`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what is done with all messages: answers get the Via of these options.
    #[must_use]
    pub fn options(mut self, options: &HttpOptions) -> Self {
        self.via.clone_from(&options.via);
        self
    }

    /// Has a function told of each exchange when it has ended, by whoever ends it; so it must be quick.
    /// If it panics, that is all.
    #[must_use]
    pub fn observe(mut self, observe: impl Fn(&Outcome) + Send + Sync + 'static) -> Self {
        self.observer = Some(Arc::new(observe));
        self
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("via", &self.via).finish_non_exhaustive()
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
        Box::pin(forward(assigned, self.clone()))
    }
}

/// Makes the request fit for its target, and returns what sends it. Much is done before the future is
/// made, since that would keep room for all it is given and for what becomes of it.
fn forward(
    assigned: Assigned,
    settings: Forward,
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
    } = assigned;
    let version = request.version();
    // Both are said in this field; most requests have none.
    let has_connection = request.headers().contains_key(header::CONNECTION);
    let alone = has_connection && proxy::goes_alone(request.headers());
    let asked = if has_connection { Asked::take(&mut request) } else { None };
    let host_is_ours = if member.endpoint().is_local() {
        toward_balancer(&mut request, peer);
        false
    } else {
        toward_target(&mut request, member.endpoint().address())
    };
    let progress = watch_upload(&mut request, member.endpoint().transport().idle_timeout);
    async move {
        let endpoint = member.endpoint();
        let transport = endpoint.transport();
        let now = Instant::now();
        lease.account_mut().begin(progress.clone());
        lease.account_mut().identify(settings.observer, now, rule, &group, member.id(), attempt);
        let until = Until { answer: now + transport.answer_timeout, deadline };
        let mut switched = None;
        let answer = match asked {
            // There are no timers either.
            _ if Handle::try_current().is_err() => Err(Kind::NoRuntime.into()),
            None => {
                let answer = pin!(endpoint.send_for(request, lease.account_mut()));
                let limit = transport.answer_timeout;
                within(until, limit, progress.as_deref(), answer).await.and_then(no_switching)
            }
            // In a box of its own, since few requests do.
            Some(asked) => {
                let account = lease.account_mut();
                let sent = Box::pin(send_upgrade(endpoint, request, asked, until, account)).await;
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
                if host_is_ours {
                    forget_host(&error);
                }
                return Err(error.with_fail_open(fail_open).with_alone(alone));
            }
        };
        proxy::return_to_client(&mut response, settings.via.as_ref());
        if alone {
            proxy::send_alone(response.headers_mut());
        }
        let is_overtaken = progress.as_deref().is_some_and(Progress::is_overtaken);
        end_with_answer(&mut response, version, is_overtaken);
        let mut served = Served::by_target(rule, group, member.id().clone());
        served.fail_open = fail_open;
        // An error of a balancer behind this one is not ours.
        response.extensions_mut().remove::<Error>();
        response.extensions_mut().insert(served);
        if let Some((asked, target)) = switched {
            let client = asked.grant(&mut response);
            let idle_timeout = transport.idle_timeout;
            lease.switched(response.status());
            Tunnel { client, target, idle_timeout, lease }.open();
            return Ok(response.map(|_| Body::default()));
        }
        Ok(watch_download(response, endpoint, transport.idle_timeout, deadline, lease))
    }
}

/// Does what depends on the target: HTTP/1.1 and its framing, the origin form, and a Host if there is
/// none, which it tells.
fn toward_target(request: &mut Request<Body>, address: &Address) -> bool {
    *request.version_mut() = Version::HTTP_11;
    if request.uri().scheme().is_some() || request.uri().authority().is_some() {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    // What belongs to the client's connection is gone from the head, its framing with it; hyper gives
    // a body of unknown length one again, but drops that of a GET or HEAD.
    let body = request.body();
    let sized = body.is_end_stream() || body.size_hint().exact().is_some();
    if !sized && !request.headers().contains_key(header::CONTENT_LENGTH) {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
    if !request.headers().contains_key(header::HOST)
        && let Ok(host) = HeaderValue::try_from(address.to_string())
    {
        request.headers_mut().insert(header::HOST, host);
        return true;
    }
    false
}

/// Another target, to which an unsent request may go, is another host.
fn forget_host(error: &Error) {
    if let Some(mut request) = error.take_unsent() {
        request.headers_mut().remove(header::HOST);
        error.keep_unsent(request);
    }
}

/// Tells a balancer in this process who the client is, and that the forwarding headers say so
/// already. Whom this one did not believe, that one cannot either.
fn toward_balancer(request: &mut Request<Body>, peer: Option<Peer>) {
    let extensions = request.extensions_mut();
    let Some(mut peer) = peer else {
        extensions.remove::<Peer>();
        return;
    };
    peer.mark_forwarded();
    match extensions.get_mut::<Peer>() {
        Some(known) => *known = peer,
        None => _ = extensions.insert(peer),
    }
}

/// Limits how long the client may pause in its request.
fn watch_upload(request: &mut Request<Body>, limit: Duration) -> Option<Arc<Progress>> {
    if request.body().is_end_stream() {
        return None;
    }
    let progress = Arc::new(Progress::new(limit));
    request.body_mut().limit_client_idle(limit, Arc::clone(&progress));
    Some(progress)
}

/// Until when the head of an answer is waited for.
struct Until {
    /// At first; later it is the target's time that counts.
    answer: Instant,
    deadline: Option<Instant>,
}

impl Until {
    /// Returns which is earlier, the deadline or another time.
    fn min(&self, other: Instant) -> Instant {
        self.deadline.map_or(other, |deadline| deadline.min(other))
    }

    /// Fails if the deadline has passed, and says who was waited for.
    fn check(&self, progress: Option<&Progress>) -> Result<(), Error> {
        if self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return Ok(());
        }
        if progress.is_some_and(Progress::is_stalled) {
            return Err(Error::new(Kind::ClientIdle, "its deadline passed"));
        }
        Err(Kind::RequestTimeout.into())
    }
}

/// Waits for the head of the answer, from when on it is the target that is waited for.
async fn within<T>(
    until: Until,
    limit: Duration,
    progress: Option<&Progress>,
    mut answer: Pin<&mut impl Future<Output = Result<T, Error>>>,
) -> Result<T, Error> {
    let mut late = pin!(sleep_until(until.min(until.answer)));
    loop {
        tokio::select! {
            biased;
            answer = answer.as_mut() => return answer,
            () = &mut late => {}
        }
        until.check(progress)?;
        let now = Instant::now();
        let due = progress.map(|progress| progress.target_since() + limit);
        match due.filter(|due| *due > now) {
            // While the client is waited for, its next part may come at any time, and be the last.
            Some(due) => late.as_mut().reset(until.min(due.min(now + limit))),
            None => {
                let text = format!("no answer within {limit:?}");
                return Err(Error::new(Kind::AnswerTimeout, text));
            }
        }
    }
}

/// Says so if nothing can follow an answer on its client's connection: the rest of the request will not
/// be read, or only the end of the connection is the answer's.
fn end_with_answer(response: &mut Response<Body>, version: Version, is_overtaken: bool) {
    // Of HTTP/2 only a stream ends.
    if is_overtaken && version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    // A client of HTTP/1.0 knows no chunks. To an answer of HTTP/1.1 hyper would add that the connection
    // is kept, if the client asks for it.
    if version == Version::HTTP_10
        && (is_overtaken || response.body().size_hint().exact().is_none())
    {
        *response.version_mut() = version;
    }
}

/// Sends a request that asks for another protocol. If the target agrees, what was asked comes back
/// with the target's side of the tunnel to come.
async fn send_upgrade(
    endpoint: &Endpoint,
    request: Request<Body>,
    asked: Asked,
    until: Until,
    account: &mut Account,
) -> Result<(Response<Body>, Option<(Asked, Line)>), Error> {
    let limit = endpoint.transport().answer_timeout;
    let answer = pin!(endpoint.send_upgrade(request, account));
    let (response, line) = match within(until, limit, None, answer).await {
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
        // Where the call was made is no fault of the target's.
        Kind::ClientBody | Kind::BodyTooLarge | Kind::NoRuntime => End::ClientLeft,
        _ => End::Broken,
    }
}

/// Lets the exchange end with the answer's body, which may not pause for longer than `limit`, nor last
/// beyond the deadline.
fn watch_download(
    mut response: Response<Body>,
    endpoint: &Endpoint,
    limit: Duration,
    deadline: Option<Instant>,
    mut lease: Lease,
) -> Response<Body> {
    lease.answered(response.status());
    let body = response.body_mut();
    body.limit_target(limit, deadline);
    body.hold(lease);
    if endpoint.is_local() { response.map(|body| endpoint.adopt(body)) } else { response }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tower::{BoxError, ServiceExt, service_fn};

    use super::*;
    use crate::{endpoint::Transport, group::TargetGroup, head::Head, id::RuleId, target::Target};

    /// Sends a body, whose parts come after these pauses, to a service in this process; returns how
    /// that ended and after how many seconds. Whoever stops is waited for 10 s, client or target.
    async fn after<F>(pauses: &[u64], answer: fn(Request<Body>) -> F) -> (Option<Kind>, u64)
    where
        F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    {
        let limit = Duration::from_secs(10);
        let transport = Transport::new().answer_timeout(limit).idle_timeout(limit);
        let group = TargetGroup::builder("web").transport(transport).build().unwrap();
        group.register(Target::service("one", service_fn(answer)));
        let body = futures_util::stream::iter(pauses.to_vec()).then(|pause| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            Ok::<_, BoxError>(Frame::data(bytes::Bytes::from("part")))
        });
        let request = Request::new(Body::new(StreamBody::new(body)));
        let picked = group.assign(&Head::of(&request, None), None, &[]).unwrap();
        let name = group.name().clone();
        let assigned = Assigned::new(request, RuleId::Default, name, picked.member, picked.lease);
        let started = Instant::now();
        let answer = Forward::new().oneshot(assigned).await;
        assert!(started.elapsed().subsec_millis() < 10);
        (answer.err().map(|error| error.kind()), started.elapsed().as_secs())
    }

    async fn read(request: Request<Body>) -> Result<Response<Body>, BoxError> {
        request.into_body().collect().await?;
        Ok(Response::new(Body::default()))
    }

    /// Reads all, and then never answers.
    async fn fall_silent(request: Request<Body>) -> Result<Response<Body>, BoxError> {
        request.into_body().collect().await?;
        std::future::pending().await
    }

    /// Asks for a part, and then neither reads nor answers.
    async fn stop_reading(mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        _ = tokio::time::timeout(Duration::from_secs(1), request.body_mut().frame()).await;
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_late_from_the_end_of_the_request_on() {
        assert_eq!(after(&[9, 9, 9, 9], read).await, (None, 36));
        assert_eq!(after(&[], fall_silent).await, (Some(Kind::AnswerTimeout), 10));
        assert_eq!(after(&[9, 9, 9], fall_silent).await, (Some(Kind::AnswerTimeout), 37));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_is_told_from_a_target_that_does() {
        assert_eq!(after(&[9, 11], read).await, (Some(Kind::ClientIdle), 19));
        // The client had its time, and then the target.
        assert_eq!(after(&[30], stop_reading).await, (Some(Kind::AnswerTimeout), 20));
        assert_eq!(after(&[0, 30], stop_reading).await, (Some(Kind::AnswerTimeout), 10));
    }
}
