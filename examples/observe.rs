//! What became of each exchange, counted by group and status: what a metrics library would be told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, routing::get};
use http::{Request, StatusCode};
use pointsman::{Body, LoadBalancer, RuleTable, Target, TargetGroup};
use tower::{BoxError, ServiceExt};

/// How many exchanges ended in which way, and how long they took together.
type Counts = BTreeMap<(String, String), u32>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let shop = TargetGroup::builder("shop").build()?;
    let app = Router::new()
        .route("/", get(|| async { "welcome" }))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }));
    shop.register(Target::service("one", app));

    let counts = Arc::new(Mutex::new(Counts::default()));
    let counting = Arc::clone(&counts);
    let balancer = LoadBalancer::builder()
        .observe(move |outcome| {
            // Called where the exchange ends, so it only counts.
            let how = match outcome.status {
                Some(status) => format!("{:?} {status}", outcome.end),
                None => format!("{:?}", outcome.end),
            };
            let mut counts = counting.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry((outcome.group.to_string(), how)).or_default() += 1;
        })
        .build(RuleTable::forward_to(&shop));

    for path in ["/", "/", "/broken", "/nowhere"] {
        let response = balancer.clone().oneshot(Request::get(path).body(Body::default())?).await?;
        // The exchange ends with the answer's body; who drops it half way is a client that left.
        http_body_util::BodyExt::collect(response.into_body()).await?;
    }
    drop(balancer.clone().oneshot(Request::get("/").body(Body::default())?).await?);

    for ((group, how), count) in &*counts.lock().unwrap_or_else(PoisonError::into_inner) {
        println!("{group}: {count} x {how}");
    }
    Ok(())
}
