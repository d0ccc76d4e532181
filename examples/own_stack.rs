//! The floors composed by hand, with layers of tower's between two of them: a timeout for each
//! attempt, and a request that is changed once its target is known.

use std::{convert::Infallible, time::Duration};

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use pointsman::{
    Body, RuleTable, Target, TargetGroup,
    error::Error,
    layer::{
        Assigned, Forward, HealthLayer, RespondLayer, RetryLayer, RulesLayer, SelectLayer,
        StickyLayer,
    },
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn, timeout::TimeoutLayer};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let web = TargetGroup::builder("web").build()?;
    web.register(Target::service("echo", service_fn(echo)));
    web.register(Target::service("slow", service_fn(slow)));

    let balancer = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(RulesLayer::new(RuleTable::forward_to(&web)))
        .layer(StickyLayer::new())
        .layer(RetryLayer::new())
        .layer(SelectLayer::new())
        .layer(HealthLayer::new())
        // Whatever tower's layers answer becomes an error of ours again; a timeout is 504.
        .map_err(Error::from)
        .layer(TimeoutLayer::new(Duration::from_millis(200)))
        .map_request(name_the_target)
        .service(Forward::new());

    for _ in 0..2 {
        let request = Request::new(Body::default());
        let response = balancer.clone().oneshot(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        print!("{status} {}", String::from_utf8_lossy(&body));
    }
    assert_eq!(web.status().in_flight(), 0);
    Ok(())
}

/// Tells the target by which name it is registered.
fn name_the_target(mut assigned: Assigned) -> Assigned {
    let name = HeaderValue::from_str(assigned.member().id());
    if let Ok(name) = name {
        assigned.request_mut().headers_mut().insert("x-target", name);
    }
    assigned
}

async fn echo(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    let target = request.headers().get("x-target").and_then(|name| name.to_str().ok());
    Ok(Response::new(Body::from(format!("i am {}\n", target.unwrap_or("nobody")))))
}

async fn slow(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    std::future::pending().await
}
