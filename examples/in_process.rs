//! A service in this process as a target beside a remote one: moving a site over, piece by piece.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use http::{Request, Response};
use http_body_util::BodyExt;
use pointsman::{Body, HealthCheck, LoadBalancer, RuleTable, Target, TargetGroup};
use tokio::net::TcpListener;
use tower::{BoxError, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let check = HealthCheck::http("/health").interval(Duration::from_secs(1));
    let site = TargetGroup::builder("site").health_check(check).build()?;
    // The old program, elsewhere, gets three requests of four, the new code one.
    site.register(Target::new(old().await?).with_id("old").weight(3)?);
    let new = Router::new()
        .route("/health", get(|| async { "well" }))
        .fallback(get(|| async { "the new code\n" }));
    site.register(Target::service("new", new));

    let balancer = LoadBalancer::new(RuleTable::forward_to(&site));
    site.until_healthy(2).await;
    for _ in 0..4 {
        print!("{}", ask(&balancer).await?);
    }

    println!("the new code takes over");
    site.deregister("old");
    // Any tower service can be a target.
    site.register(Target::service("new", service_fn(newer)));
    site.until_healthy(1).await;
    for _ in 0..2 {
        print!("{}", ask(&balancer).await?);
    }
    print!("{}", site.status());
    Ok(())
}

async fn ask(balancer: &LoadBalancer) -> Result<String, BoxError> {
    let response = balancer.clone().oneshot(Request::new(Body::default())).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&body).into_owned())
}

async fn newer(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::from("the newer code\n")))
}

async fn old() -> Result<SocketAddr, BoxError> {
    let app = Router::new()
        .route("/health", get(|| async { "well" }))
        .fallback(get(|| async { "the old program\n" }));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
