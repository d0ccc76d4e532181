//! The whole balancer: the stack of floors in one expression, and the handle that outlives mounting.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, Request, Response};
use tower::{BoxError, Service, ServiceBuilder};

use crate::{
    body::Body,
    error::Error,
    group::TargetGroup,
    head::Peer,
    layer::{
        Forward, Health, HealthLayer, Respond, RespondLayer, Retry, RetryLayer, Rules, RulesLayer,
        Select, SelectLayer, Sticky, StickyLayer,
    },
    outcome::Outcome,
    proxy::HttpOptions,
    rule::{Explanation, RuleTable},
};

type FindPeer = dyn Fn(&Extensions) -> Option<Peer> + Send + Sync;

type Floors = Rules<Sticky<Retry<Select<Health<Forward>>>>>;

/// An application load balancer as a tower service.
///
/// It answers whatever happens. A clone shares the rules and is the handle to them.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use pointsman::{HealthCheck, LoadBalancer, RuleTable, Target, TargetGroup};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let web = TargetGroup::builder("web").health_check(HealthCheck::http("/health")).build()?;
/// web.register(Target::new("127.0.0.1:3001".parse()?));
/// web.register(Target::new("127.0.0.1:3002".parse()?));
/// let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
/// let app: Router = Router::new()
///     .route("/about", get(|| async { "about" }))
///     .fallback_service(balancer.clone());
///
/// // The clone outlives the mounting.
/// let api = TargetGroup::builder("api").build()?;
/// balancer.set_rules(RuleTable::forward_to(&api));
/// assert_eq!(balancer.groups()[0].name(), "api");
/// # drop(app);
/// # Ok(())
/// # }
/// ```
///
/// # Mounting
///
/// In axum, `fallback_service(balancer)` and `route_service("/api/{*rest}", balancer)` keep the
/// whole path. Under `nest_service("/api", balancer)` the rules, `#{path}` and the targets see the
/// rest of the path only. A server of hyper's takes `balancer.for_peer(peer)` as it is;
/// WebSockets need hyper's `with_upgrades`, which axum has on.
#[derive(Clone)]
pub struct LoadBalancer {
    stack: Respond<Floors>,
}

/// Makes a [`LoadBalancer`].
///
/// # Defaults
///
/// Who the client is, is found as a [`Peer`] in the request's extensions; messages are treated as by
/// [`HttpOptions::default`]; errors become short text responses.
///
/// # Examples
///
/// ```
/// use std::net::SocketAddr;
/// use axum::extract::ConnectInfo;
/// use http::Response;
/// use pointsman::{Body, LoadBalancer, Peer, RuleTable, TargetGroup};
///
/// let web = TargetGroup::builder("web").build().unwrap();
/// let balancer = LoadBalancer::builder()
///     .peer(|extensions| extensions.get::<ConnectInfo<SocketAddr>>().map(|info| Peer::new(info.0)))
///     .on_error(|error| {
///         let mut response = Response::new(Body::from("sorry\n"));
///         *response.status_mut() = error.status();
///         response
///     })
///     .build(RuleTable::forward_to(&web));
/// # drop(balancer);
/// ```
#[must_use]
pub struct LoadBalancerBuilder {
    find_peer: Box<FindPeer>,
    http: Arc<HttpOptions>,
    respond: RespondLayer,
    forward: Forward,
}

impl LoadBalancerBuilder {
    /// Sets where to find who the client is.
    pub fn peer(
        mut self,
        find: impl Fn(&Extensions) -> Option<Peer> + Send + Sync + 'static,
    ) -> Self {
        self.find_peer = Box::new(find);
        self
    }

    /// Sets what is done with the messages of all clients.
    pub fn http(mut self, options: impl Into<Arc<HttpOptions>>) -> Self {
        self.http = options.into();
        self
    }

    /// Sets what makes the responses of errors. If it panics, the default one is sent.
    pub fn on_error(
        mut self,
        respond: impl Fn(&Error) -> Response<Body> + Send + Sync + 'static,
    ) -> Self {
        self.respond = self.respond.on_error(respond);
        self
    }

    /// Has a function told of each exchange with a target when it has ended: which end it took, how far
    /// it had come, how long it took. It is called by whoever ends the exchange, so it must be quick.
    /// If it panics, that is all.
    ///
    /// # Examples
    ///
    /// ```
    /// use pointsman::{LoadBalancer, RuleTable, TargetGroup};
    ///
    /// let web = TargetGroup::builder("web").build().unwrap();
    /// let balancer = LoadBalancer::builder()
    ///     .observe(|outcome| println!("{} {:?} {:?}", outcome.group, outcome.end, outcome.status))
    ///     .build(RuleTable::forward_to(&web));
    /// # drop(balancer);
    /// ```
    pub fn observe(mut self, observe: impl Fn(&Outcome) + Send + Sync + 'static) -> Self {
        self.forward = self.forward.observe(observe);
        self
    }

    /// Makes a balancer of these rules.
    pub fn build(self, rules: RuleTable) -> LoadBalancer {
        let rules = RulesLayer::with_options(rules, self.http, self.find_peer);
        let stack = ServiceBuilder::new()
            // Outermost, so that whatever fails below becomes a response.
            .layer(self.respond.named_by(rules.clone()))
            // Before all that needs a group; also where headers are made fit for any target, once.
            .layer(rules)
            // Above Retry, so that the cookie names the target that answered in the end.
            .layer(StickyLayer::new())
            // Above Select, so that another attempt is another pick.
            .layer(RetryLayer::new())
            // As late as it can be: the exchange counts from here on.
            .layer(SelectLayer::new())
            // Knows the target, and is told how each exchange is judged before it begins.
            .layer(HealthLayer::new())
            .service(self.forward);
        LoadBalancer { stack }
    }
}

impl LoadBalancer {
    /// Makes a balancer of these rules, with the defaults of [`LoadBalancerBuilder`].
    pub fn new(rules: RuleTable) -> Self {
        Self::builder().build(rules)
    }

    /// Starts a balancer.
    pub fn builder() -> LoadBalancerBuilder {
        LoadBalancerBuilder {
            find_peer: Box::new(|extensions| extensions.get().copied()),
            http: Arc::default(),
            respond: RespondLayer::new(),
            forward: Forward::new(),
        }
    }

    fn handle(&self) -> &RulesLayer {
        self.stack.inner().handle()
    }

    /// Returns the rules.
    pub fn rules(&self) -> RuleTable {
        self.handle().rules()
    }

    /// Swaps the rules; a request is decided by the old table or the new, never by both.
    pub fn set_rules(&self, rules: RuleTable) {
        self.handle().set_rules(rules);
    }

    /// Swaps the rules together with what is done with all messages.
    #[cfg(feature = "gateway")]
    pub(crate) fn install(&self, rules: RuleTable, options: Arc<HttpOptions>) {
        self.handle().install(Some(rules), Some(options));
    }

    /// Swaps what is done with the messages of all clients; a request goes by the old or the new.
    pub fn set_http(&self, options: impl Into<Arc<HttpOptions>>) {
        self.handle().set_options(options);
    }

    /// Returns the groups the rules name, each once.
    pub fn groups(&self) -> Vec<TargetGroup> {
        self.rules().groups().to_vec()
    }

    /// Returns the group of this name, if a rule names it.
    pub fn group(&self, name: &str) -> Option<TargetGroup> {
        self.rules().groups().iter().find(|group| *group.name() == *name).cloned()
    }

    /// Returns the same balancer for the connection of one client. An extension for each request
    /// would cost it three allocations, and what targets are told of the client is written once.
    #[must_use]
    pub fn for_peer(&self, peer: Peer) -> Self {
        let mut stack = self.stack.clone();
        stack.inner_mut().set_peer(peer);
        Self { stack }
    }

    /// Says what would be done with a request, and why: which rule matches and why each earlier one
    /// does not, which group, which target. Nothing is sent, and the next pick stays what it was. What is
    /// refused before any rule is asked ([`HttpOptions`]) is not looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use pointsman::{LoadBalancer, RuleTable, Target, TargetGroup};
    ///
    /// let web = TargetGroup::builder("web").build().unwrap();
    /// web.register(Target::new("127.0.0.1:3001".parse().unwrap()));
    /// let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
    /// let explanation = balancer.explain(&Request::get("/").body(()).unwrap());
    /// println!("{explanation}");
    /// assert_eq!(explanation.target().unwrap(), "127.0.0.1:3001");
    /// ```
    pub fn explain<B>(&self, request: &Request<B>) -> Explanation {
        self.stack.inner().explain(request)
    }
}

impl<B> Service<Request<B>> for LoadBalancer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.stack, cx)
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        ResponseFuture { future: self.stack.call(request) }
    }
}

/// What a connection of hyper's serves, without an adapter.
impl<B> hyper::service::Service<Request<B>> for LoadBalancer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<B>) -> ResponseFuture {
        // Its floors are always ready, so nobody need ask.
        ResponseFuture { future: self.stack.clone().call(request) }
    }
}

pin_project_lite::pin_project! {
    /// The future of [`LoadBalancer`].
    pub struct ResponseFuture {
        #[pin]
        future: <Respond<Floors> as Service<Request<Body>>>::Future,
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().future.poll(cx)
    }
}

impl fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancer").field("rules", &self.rules()).finish()
    }
}

impl fmt::Debug for LoadBalancerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancerBuilder").finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
