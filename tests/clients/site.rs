//! What the clients ask: two targets that serve the same app, and our server in front of them, which
//! counts the connections of clients.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, ws},
    response::{IntoResponse, Redirect as Moved, Response, Sse, sse::Event},
    routing::{get, post, put},
};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use pointsman::{
    LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    rule::{Condition, Forward, Redirect, Rule},
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tower_http::compression::CompressionLayer;

use crate::support::{Server, at_rest, programs::Port};

/// How long /large is.
pub const LARGE: usize = 5 * 1024 * 1024;

/// What a script prints of all that it asked; the long numbers are SHA-256 of /large.
pub const ANSWERS: &str = "\
get 200 {version} hello
head 200 5 0
post 200 13 with a length
post 200 chunked in several chunks
large 200 5242880 16b632f11cf950dda67dc4c184a3f9e0aa1ffa4c18927bb8977e7da97ca25bca
upload 200 chunked 16b632f11cf950dda67dc4c184a3f9e0aa1ffa4c18927bb8977e7da97ca25bca
range 206 abcdefghijklmnopqrstuvwxyz
/missing 404 nothing here
/dead 502 502 Bad Gateway
/moved 200 hello
/old 200 hello
event data: 0
event data: 1
event data: 2
get 200 {version} hello
";

/// The site; it is gone when it is dropped.
pub struct Site {
    pub address: SocketAddr,
    /// A target itself.
    pub target: SocketAddr,
    group: TargetGroup,
    opened: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
    _behind: ([Server; 2], Port),
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Site {
    /// Rules of its own answer `/old`, by a redirect to `/hello`, and `/dead`, where nobody is.
    pub async fn new() -> Self {
        let app = app();
        let targets = [target(&app).await, target(&app).await];
        let group = TargetGroup::builder("web").build().unwrap();
        targets.iter().for_each(|target| group.register(Target::new(target.address)));
        let nobody = Port::reserve();
        let dead = TargetGroup::builder("dead").build().unwrap();
        dead.register(Target::new(nobody.address));
        let on = |priority, path| Rule::new(priority).when(Condition::path_pattern([path]));
        let rules = RuleTable::builder()
            .rule(on(1, "/old").then(Redirect::found().path("/hello")))
            .rule(on(2, "/dead").then(Forward::to(&dead)))
            .default_action(Forward::to(&group))
            .build()
            .unwrap();
        let balancer = LoadBalancer::new(rules);

        let server = pointsman::server::Server::builder().bind(([127, 0, 0, 1], 0));
        let server = server.build().unwrap();
        let address = server.local_addrs()[0];
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let serving = tokio::spawn(server.serve(move |peer: Peer| {
            counted.fetch_add(1, Ordering::SeqCst);
            balancer.for_peer(peer)
        }));
        let target = targets[0].address;
        Self { address, target, group, opened, serving, _behind: (targets, nobody) }
    }

    pub fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How many connections clients have opened.
    pub fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// Checks that nothing is left over, and that no target was blamed.
    pub async fn at_rest(&self) {
        at_rest(&self.group).await;
        for target in &self.group.status().targets {
            assert_eq!(target.failed, 0, "{target:?}");
        }
    }
}

/// What /large sends. No power of two divides its period, so that no block looks like another.
pub fn large() -> Vec<u8> {
    (0..LARGE).map(|n| (n % 251) as u8).collect()
}

/// A target.
async fn target(app: &Router) -> Server {
    let app = app.clone();
    Server::accept(([127, 0, 0, 1], 0).into(), move |stream, _, _| {
        let service = TowerToHyperService::new(app.clone());
        async move {
            let http = hyper::server::conn::http1::Builder::new();
            _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        }
    })
    .await
}

fn app() -> Router {
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/seen", get(seen))
        .route("/echo", post(echo).put(echo))
        .route("/refuse", put(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
        .route("/large", get(ranged))
        .route(
            "/text",
            get(|| async { "so much of it ".repeat(1000) }).layer(CompressionLayer::new()),
        )
        .route("/moved", get(|| async { Moved::temporary("/hello") }))
        .route("/events", get(events))
        .route("/acknowledge", post(async |State(heard): State<Heard>| heard.add_permits(1)))
        .route("/chat", get(chat))
        .fallback(other)
        .layer(DefaultBodyLimit::disable())
        .with_state(Heard::new(Semaphore::new(0)))
}

/// What clients of /events say to have heard.
type Heard = Arc<Semaphore>;

/// What the target sees of a request.
async fn seen(request: Request<axum::body::Body>) -> String {
    let field = |name| request.headers().get(name).map_or("-", |value| value.to_str().unwrap());
    let (version, uri) = (request.version(), request.uri());
    format!("{version:?} {uri} {} {}", field("x-forwarded-for"), field("user-agent"))
}

/// What was posted, and how the target was told its length.
async fn echo(headers: HeaderMap, body: Bytes) -> Response {
    let told = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    let told = told.iter().find_map(|name| headers.get(name)).cloned();
    ([("x-framing", told.unwrap_or(HeaderValue::from_static("none")))], body).into_response()
}

/// All of it, or from one byte to another.
async fn ranged(headers: HeaderMap) -> Response {
    let mut large = large();
    let Some(range) = headers.get(header::RANGE) else { return large.into_response() };
    let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let first = first.parse().unwrap();
    let last = if last.is_empty() { LARGE - 1 } else { last.parse().unwrap() };
    let said = format!("bytes {first}-{last}/{LARGE}");
    let part = large.drain(first..=last).collect::<Vec<_>>();
    (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, said)], part).into_response()
}

/// Three events, each of which is sent only when the client has heard the one before.
async fn events(State(heard): State<Heard>) -> impl IntoResponse {
    Sse::new(stream::unfold(0, move |number| {
        let heard = Arc::clone(&heard);
        async move {
            if number > 0 {
                heard.acquire().await.unwrap().forget();
            }
            let event = Ok::<_, Infallible>(Event::default().data(number.to_string()));
            (number < 3).then_some((event, number + 1))
        }
    }))
}

/// Sends back what comes.
async fn chat(upgrade: ws::WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.recv().await {
            if matches!(message, ws::Message::Text(_) | ws::Message::Binary(_)) {
                _ = socket.send(message).await;
            }
        }
    })
}

async fn other(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS && uri == "*" {
        return (StatusCode::NO_CONTENT, [(header::ALLOW, "GET, POST")]).into_response();
    }
    (StatusCode::NOT_FOUND, "nothing here").into_response()
}
