//! An axum app that answers some paths itself and balances the rest, with tower-http around it.

use std::net::SocketAddr;

use axum::{Router, extract::ConnectInfo, routing::get};
use pointsman::{
    HealthCheck, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    rule::{Condition, FixedResponse, Forward, Rule},
};
use tokio::net::TcpListener;
use tower_http::trace::TraceLayer;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let group =
        |name: &str| TargetGroup::builder(name).health_check(HealthCheck::http("/health")).build();
    let (web, api) = (group("web")?, group("api")?);
    for name in ["web one", "web two"] {
        web.register(Target::new(backend(name).await?));
    }
    api.register(Target::new(backend("api").await?));

    let rules = RuleTable::builder()
        .rule(Rule::new(10).when(Condition::path_pattern(["/api/*"])).then(Forward::to(&api)))
        .rule(
            Rule::new(20)
                .when(Condition::path_pattern(["/admin*"]))
                .then(FixedResponse::new(403).body("not for you\n")),
        )
        .default_action(Forward::to(&web))
        .build()?;
    let balancer = LoadBalancer::builder()
        .peer(|extensions| {
            extensions.get::<ConnectInfo<SocketAddr>>().map(|info| Peer::new(info.0))
        })
        .build(rules);
    tokio::join!(web.until_healthy(2), api.until_healthy(1));

    let app = Router::new()
        .route("/about", get(|| async { "answered by axum itself\n" }))
        .fallback_service(balancer)
        .layer(TraceLayer::new_for_http());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Starts a backend that answers with its name and what it was told of the client.
async fn backend(name: &'static str) -> Result<SocketAddr, BoxError> {
    let answer = move |headers: http::HeaderMap| async move {
        let client = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        format!("{name} for {}\n", client.unwrap_or("nobody"))
    };
    let app = Router::new().route("/health", get(|| async { "well" })).fallback(get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
