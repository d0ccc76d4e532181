//! The floor that asks the rules: which group gets the request, or an answer at once.
//!
//! It also finds out who the client is, has `proxy/` refuse what no target may get, and keeps the
//! groups of its table in use, so that they are checked. What a rule matches is `rule/`'s affair.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Extensions, Request, Response};
use tokio::{runtime::Handle, time::Instant};
use tower::{BoxError, Layer, Service};

use super::{
    arrival::{self, ArrivalFuture, Known},
    message::{Route, Routed},
    served::Served,
    stage::Stage,
};
use crate::{
    body::Body,
    check::Use,
    endpoint::panic_text,
    error::{Error, Kind},
    group::TargetGroup,
    head::{Head, Peer},
    proxy::{HttpOptions, Passed, ProxyStatus, Screened},
    rule::{Action, Explanation, RuleTable},
};

/// How often a request looks whether the checking tasks live, at least: checks that are switched on
/// while the table stays start within this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type FindPeer = dyn Fn(&Extensions) -> Option<Peer> + Send + Sync;

/// Makes [`Rules`]. A clone shares the table, and is the handle to it.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, TargetGroup, error::Error, layer::{Routed, RulesLayer}, rule::RuleTable};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let web = TargetGroup::builder("web").build().unwrap();
/// let below = service_fn(|routed: Routed| async move {
///     Ok::<_, Error>(Response::new(Body::from(routed.group().name().to_string())))
/// });
/// let rules = RulesLayer::new(RuleTable::forward_to(&web));
/// let response = rules.layer(below).oneshot(Request::new(Body::default())).await.unwrap();
/// assert_eq!(response.status(), 200);
/// # }
/// ```
#[derive(Clone)]
pub struct RulesLayer(Arc<Shared>);

struct Shared {
    installed: ArcSwap<Installed>,
    /// Whether its options have a name for Proxy-Status, to be asked without loading it.
    is_named: AtomicBool,
    find_peer: Box<FindPeer>,
    started: Instant,
    warned: AtomicBool,
    /// Held by whoever installs, so that of two neither is lost.
    installing: Mutex<()>,
}

/// A table, the use it makes of its groups, and what is done with all messages.
struct Installed {
    table: RuleTable,
    options: Arc<HttpOptions>,
    uses: Vec<Use>,
    /// How often to look whether the checking tasks live.
    look_every: Duration,
    /// When they were looked after last, in ms since the layer was made, plus one.
    looked_ms: AtomicU64,
}

impl RulesLayer {
    /// Makes a layer of a table. Who the client is, is found as a [`Peer`] in the extensions.
    pub fn new(table: RuleTable) -> Self {
        let find = |extensions: &Extensions| extensions.get().copied();
        Self::with_options(table, HttpOptions::default(), find)
    }

    /// Makes a layer of a table, of what is done with all messages, and of a function that finds in a
    /// request's extensions who the client is.
    pub fn with_options(
        table: RuleTable,
        options: impl Into<Arc<HttpOptions>>,
        find_peer: impl Fn(&Extensions) -> Option<Peer> + Send + Sync + 'static,
    ) -> Self {
        let (started, options) = (Instant::now(), options.into());
        Self(Arc::new(Shared {
            is_named: AtomicBool::new(options.proxy_status.is_some()),
            installed: ArcSwap::from_pointee(Installed::new(table, options, started)),
            find_peer: Box::new(find_peer),
            started,
            warned: AtomicBool::new(false),
            installing: Mutex::new(()),
        }))
    }

    /// Returns the table.
    pub fn rules(&self) -> RuleTable {
        self.0.installed.load().table.clone()
    }

    /// Swaps the table; requests that are under way go on by the old one.
    pub fn set_rules(&self, table: RuleTable) {
        self.install(Some(table), None);
    }

    /// Swaps what is done with all messages; requests that are under way go on by the old.
    pub fn set_options(&self, options: impl Into<Arc<HttpOptions>>) {
        self.install(None, Some(options.into()));
    }

    /// Swaps what is given.
    pub(crate) fn install(&self, table: Option<RuleTable>, options: Option<Arc<HttpOptions>>) {
        let shared = &self.0;
        let _installing = shared.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shared.installed.load();
        let table = table.unwrap_or_else(|| before.table.clone());
        let options = options.unwrap_or_else(|| Arc::clone(&before.options));
        let is_named = options.proxy_status.is_some();
        shared.installed.store(Arc::new(Installed::new(table, options, shared.started)));
        shared.is_named.store(is_named, Ordering::Relaxed);
    }

    /// Finds who the client is.
    fn find_peer(&self, extensions: &Extensions) -> Result<Option<Peer>, Error> {
        catch_unwind(AssertUnwindSafe(|| (self.0.find_peer)(extensions))).map_err(|panic| {
            let text = format!("the peer finder panicked: {}", panic_text(&*panic));
            Error::new(Kind::Panicked, text)
        })
    }

    /// Returns the name in Proxy-Status.
    pub(super) fn proxy_status(&self) -> Option<ProxyStatus> {
        if !self.0.is_named.load(Ordering::Relaxed) {
            return None;
        }
        self.0.installed.load().options.proxy_status.clone()
    }

    /// Returns the options as they are now.
    pub(super) fn options(&self) -> Arc<HttpOptions> {
        Arc::clone(&self.0.installed.load().options)
    }
}

impl Installed {
    fn new(table: RuleTable, options: Arc<HttpOptions>, started: Instant) -> Self {
        let uses = table.groups().iter().cloned().map(Use::of).collect::<Vec<_>>();
        let settings = table.groups().iter().filter_map(TargetGroup::check_settings);
        let intervals = settings.map(|settings| settings.interval);
        let look_every = intervals.chain([LOOK_EVERY]).min().unwrap_or(LOOK_EVERY);
        let looked_ms = AtomicU64::new(0);
        let installed = Self { table, options, uses, look_every, looked_ms };
        installed.look_after(started, Instant::now());
        installed
    }

    /// Sees to it that all groups of the table are checked; at most once an interval, and not
    /// outside a runtime, where no task can be started.
    fn look_after(&self, started: Instant, now: Instant) {
        let ms = now.duration_since(started).as_millis() as u64 + 1;
        let looked = self.looked_ms.load(Ordering::Relaxed);
        let in_time = looked != 0 && ms < looked + self.look_every.as_millis() as u64;
        if in_time || Handle::try_current().is_err() {
            return;
        }
        let mine =
            self.looked_ms.compare_exchange(looked, ms, Ordering::Relaxed, Ordering::Relaxed);
        if mine.is_ok() {
            self.uses.iter().for_each(|group| group.ensure(now));
        }
    }
}

impl<S> Layer<S> for RulesLayer {
    type Service = Rules<S>;

    fn layer(&self, inner: S) -> Rules<S> {
        Rules { layer: self.clone(), known: None, inner }
    }
}

/// Routes a request to a group, or answers it by a redirect or a fixed response.
#[derive(Clone)]
pub struct Rules<S> {
    layer: RulesLayer,
    /// Whose connection all requests come over.
    known: Option<Arc<Known>>,
    inner: S,
}

impl<S> Rules<S> {
    pub(crate) fn handle(&self) -> &RulesLayer {
        &self.layer
    }

    /// Says whose connection all requests come over.
    pub(crate) fn set_peer(&mut self, peer: Peer) {
        self.known = Some(Arc::new(Known::new(peer, &self.layer.options())));
    }

    /// Says what would be done with a request.
    pub(crate) fn explain<B>(&self, request: &Request<B>) -> Explanation {
        let installed = self.layer.0.installed.load();
        let peer = self.peer(&Head::of(request, None), &installed.options).ok().flatten();
        installed.table.explain(&Head::of(request, peer.as_ref()))
    }

    /// Returns who the client of a request is, if that is known.
    fn peer(&self, head: &Head<'_>, options: &Arc<HttpOptions>) -> Result<Option<Peer>, Error> {
        let find = |extensions: &Extensions| self.layer.find_peer(extensions);
        arrival::peer(head, self.known.as_deref(), options, find)
    }

    /// Decides what becomes of a request, and whether its client's connection is to end with that.
    fn decide<B: http_body::Body>(
        &self,
        installed: &Installed,
        request: &mut Request<B>,
        began: Instant,
        alone: &mut bool,
    ) -> Result<Decision, Error> {
        let Installed { table, options, .. } = installed;
        let (known, warned) = (self.known.as_deref(), &self.layer.0.warned);
        let find = |extensions: &Extensions| self.layer.find_peer(extensions);
        let (peer, screened) = arrival::receive(request, known, options, warned, find)?;
        let Screened::Pass(passed) = screened else {
            return Ok(Decision::Answer(Response::new(Body::default())));
        };
        *alone = passed.alone;
        let head = Head::of(request, peer.as_ref());
        let found = table.first_match(&head)?;
        let rule = found.rule();
        let mut response = match found.action() {
            Action::Forward(forward) => {
                let group = table.choose_group(forward).cloned();
                let group = group.ok_or_else(|| Error::from(Kind::NoTarget).with_rule(rule))?;
                let (prefer, tried) = (None, Vec::new());
                let (deadline, via) = (options.deadline(), options.via.clone());
                let route = Route { peer, rule, group, prefer, tried, deadline, via, began };
                return Ok(Decision::Forward(route, passed));
            }
            Action::Redirect(redirect) => {
                redirect.response(&head).map_err(|error| error.with_rule(rule))?
            }
            Action::FixedResponse(fixed) => fixed.response(),
        };
        response.extensions_mut().insert(Served::by_rule(rule));
        Ok(Decision::Answer(response))
    }
}

enum Decision {
    Forward(Route, Passed),
    Answer(Response<Body>),
}

impl<S, B> Service<Request<B>> for Rules<S>
where
    S: Stage<Routed>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = ArrivalFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let installed = self.layer.0.installed.load();
        let began = Instant::now();
        installed.look_after(self.layer.0.started, began);
        let mut alone = false;
        match self.decide(&installed, &mut request, began, &mut alone) {
            Ok(Decision::Forward(route, passed)) => {
                let (known, options) = (self.known.as_deref(), &installed.options);
                let peer = route.peer.as_ref();
                let request = arrival::introduce(request, peer, known, options, passed);
                drop(installed);
                ArrivalFuture::called(self.inner.call(Routed::of(request, route)), alone)
            }
            Ok(Decision::Answer(response)) => ArrivalFuture::answered(Ok(response), alone),
            Err(error) => ArrivalFuture::answered(Err(error), alone),
        }
    }
}

impl fmt::Debug for RulesLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RulesLayer").field("rules", &self.0.installed.load().table).finish()
    }
}

impl<S: fmt::Debug> fmt::Debug for Rules<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("layer", &self.layer).field("inner", &self.inner).finish()
    }
}
