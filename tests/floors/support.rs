//! What the tests of the floors share: targets in this process, a probe that says what a test wants,
//! requests and what came of them, and the events that were told.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    fmt,
    future::{Future, pending},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    error::{Error, Kind},
    group::{GroupStatus, TargetGroupBuilder},
    health::{Failure, State},
    layer::Served,
    probe::Probe,
    target::Member,
};
use tokio::{net::TcpSocket, time::Instant};
use tower::{BoxError, Service, ServiceExt, service_fn};
use tracing::{Level, field::Visit};
use tracing_subscriber::layer::{Context, SubscriberExt};

/// How long a test waits for something that must happen; far above what it takes.
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A group whose deeds are the same every time.
pub(crate) fn group(name: &str) -> TargetGroupBuilder {
    TargetGroup::builder(name).seed(0)
}

/// A group of in-process targets that answer with their own names.
pub(crate) fn group_of(name: &str, targets: &[&'static str]) -> TargetGroup {
    let group = group(name).build().unwrap();
    targets.iter().for_each(|target| group.register(named(target)));
    group
}

pub(crate) fn balancer(group: &TargetGroup) -> LoadBalancer {
    LoadBalancer::new(RuleTable::forward_to(group))
}

/// A target that answers everything with its name.
pub(crate) fn named(name: &'static str) -> Target {
    answering(name, move |_| async move { Response::new(Body::from(name)) })
}

/// A target that answers by a function.
pub(crate) fn answering<F, Fut>(name: &str, answer: F) -> Target
where
    F: Fn(Request<Body>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    Target::service(
        name,
        service_fn(move |request| {
            let answer = answer(request);
            async move { Ok::<_, Infallible>(answer.await) }
        }),
    )
}

/// What comes of a request while this machine has no descriptor left.
pub(crate) fn exhausted() -> Error {
    Error::new(Kind::Exhausted, "too many open files")
}

/// A target that never answers.
pub(crate) fn silent(name: &str) -> Target {
    answering(name, |_| pending())
}

/// A target whose answer has a first chunk and then no end.
pub(crate) fn endless(name: &str) -> Target {
    answering(name, |_| async {
        let first = futures_util::stream::iter([chunk("first")]);
        let chunks = futures_util::StreamExt::chain(first, futures_util::stream::pending());
        Response::new(Body::new(StreamBody::new(chunks)))
    })
}

/// An address that refuses every connection and that nobody else gets: bound, and never listened at.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _socket: TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self { address: socket.local_addr().unwrap(), _socket: socket }
    }
}

pub(crate) fn chunk(text: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

pub(crate) fn with_status(code: u16, body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "a.test").body(Body::default()).unwrap()
}

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) served: Option<Served>,
    pub(crate) error: Option<Error>,
    /// The whole body, if it did not break off.
    pub(crate) body: Option<String>,
}

impl Answer {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.ok();
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            served: parts.extensions.get().cloned(),
            error: parts.extensions.get().cloned(),
            body: body.map(|body| String::from_utf8(body.to_bytes().into()).unwrap()),
        }
    }

    pub(crate) fn text(&self) -> &str {
        self.body.as_deref().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.served.as_ref().unwrap().target.as_deref().unwrap()
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send<S>(service: &S, request: Request<Body>) -> Answer
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    Answer::of(service.clone().oneshot(request).await.unwrap()).await
}

/// Sends a GET and returns status and body.
pub(crate) async fn fetch<S>(service: &S) -> (u16, String)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let answer = send(service, get("/")).await;
    (answer.status, answer.body.unwrap_or_else(|| "(broken off)".to_owned()))
}

/// Waits until something holds; with a clock that stands still, what is due runs first.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < SOON, "never: {what}");
        tokio::task::yield_now().await;
    }
}

/// Lets every task do what it can without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn state(group: &TargetGroup, target: &str) -> State {
    group.status().target(target).unwrap().state
}

/// The counts of a target: in flight, answered, failed.
pub(crate) fn counts(status: &GroupStatus, target: &str) -> (u32, u64, u64) {
    let target = status.target(target).unwrap();
    (target.in_flight, target.answered, target.failed)
}

/// A probe that finds what a test wants it to, and notes when it was asked.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    findings: HashMap<String, Finding>,
    asked: Vec<(String, Instant)>,
}

#[derive(Clone)]
pub(crate) enum Finding {
    Well,
    Fails(&'static str),
    FailsWith(Failure),
    /// Cannot ask, since this machine has no descriptor left.
    CannotAsk,
    Hangs,
    /// Panics when it is polled.
    Panics(&'static str),
    /// Panics before there is a future.
    PanicsAtOnce(&'static str),
}

impl Script {
    /// All are well.
    pub(crate) fn well() -> Self {
        Self::default()
    }

    /// These fail, all others are well.
    pub(crate) fn failing(targets: &[&str]) -> Self {
        let script = Self::default();
        targets.iter().for_each(|target| script.finds(target, Finding::Fails("not well")));
        script
    }

    pub(crate) fn finds(&self, target: &str, finding: Finding) {
        self.0.lock().unwrap().findings.insert(target.to_owned(), finding);
    }

    /// When a target was asked.
    pub(crate) fn asked(&self, target: &str) -> Vec<Instant> {
        let inner = self.0.lock().unwrap();
        let asked = inner.asked.iter().filter(|(asked, _)| asked == target);
        asked.map(|(_, at)| *at).collect()
    }

    /// How often any target was asked.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().asked.len()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Probe for Script {
    fn check<'a>(
        &'a self,
        member: &'a Member,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>> {
        let finding = {
            let mut inner = self.0.lock().unwrap();
            inner.asked.push((member.id().to_string(), Instant::now()));
            inner.findings.get(&**member.id()).cloned().unwrap_or(Finding::Well)
        };
        if let Finding::PanicsAtOnce(text) = finding {
            panic!("{text}");
        }
        Box::pin(async move {
            match finding {
                Finding::Well | Finding::PanicsAtOnce(_) => Ok(()),
                Finding::Fails(text) => Err(text.into()),
                Finding::FailsWith(failure) => Err(failure.into()),
                Finding::CannotAsk => Err(exhausted().into()),
                Finding::Hangs => pending().await,
                Finding::Panics(text) => panic!("{text}"),
            }
        })
    }
}

/// One `tracing` event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Event {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

thread_local! {
    static EVENTS: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// The events of this thread, which is the test's own, from the call of `capture` on. One subscriber
/// for all, since those set for a thread come and go under the feet of the other tests.
pub(crate) struct Events(());

impl Events {
    pub(crate) fn capture() -> Self {
        static SET: Once = Once::new();
        SET.call_once(|| {
            let subscriber = tracing_subscriber::registry().with(Capture);
            tracing::subscriber::set_global_default(subscriber).unwrap();
        });
        EVENTS.take();
        Self(())
    }

    /// Takes what was told of the balancer since the last time, without what is told to debug.
    pub(crate) fn take(&self) -> Vec<Event> {
        EVENTS.take().into_iter().filter(|event| event.level <= Level::INFO).collect()
    }

    /// Takes the events with this message.
    pub(crate) fn take_of(&self, message: &str) -> Vec<Event> {
        let (of, others) = EVENTS.take().into_iter().partition(|event| event.message == message);
        EVENTS.set(others);
        of
    }
}

struct Capture;

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() > Level::DEBUG || !metadata.target().starts_with("pointsman") {
            return;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.0.remove("message").unwrap_or_default();
        let event = Event { level: *metadata.level(), message, fields: fields.0 };
        _ = EVENTS.try_with(|events| events.borrow_mut().push(event));
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}
