//! A program that balances by itself: each tenant has a server of its own, and a request says whose it
//! is. Everything else about forwarding is the crate's.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body as AxumBody,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use pointsman::{
    Peer,
    layer::{ForwardTo, RespondLayer},
};
use tokio::net::TcpListener;
use tower::{BoxError, Layer, ServiceExt};

type Tenants = Arc<HashMap<String, ForwardTo>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let tenants = HashMap::from([
        ("red".to_owned(), ForwardTo::new(server_of("red").await?)),
        ("blue".to_owned(), ForwardTo::new(server_of("blue").await?)),
    ]);
    let app = Router::new()
        .route("/load", get(load))
        .fallback(forward)
        .with_state(Arc::new(tenants))
        .into_make_service_with_connect_info::<SocketAddr>();

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Forwards a request to its tenant's server; WebSockets, too.
async fn forward(
    State(tenants): State<Tenants>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let tenant = request.headers().get("x-tenant").and_then(|tenant| tenant.to_str().ok());
    let Some(forward) = tenant.and_then(|tenant| tenants.get(tenant)) else {
        return (StatusCode::NOT_FOUND, "no such tenant\n").into_response();
    };
    // Errors become responses: 502 if the server is not there, 400 if no proxy takes the request.
    let forward = RespondLayer::new().layer(forward.for_peer(Peer::new(client)));
    match forward.oneshot(request).await {
        Ok(response) => response.map(AxumBody::new),
    }
}

/// Tells how many requests of each tenant are in flight.
async fn load(State(tenants): State<Tenants>) -> String {
    let mut lines = tenants
        .iter()
        .map(|(tenant, forward)| format!("{tenant} {}\n", forward.in_flight()))
        .collect::<Vec<_>>();
    lines.sort();
    lines.concat()
}

/// Starts a server that answers with its tenant, the path, and who the client is.
async fn server_of(tenant: &'static str) -> Result<SocketAddr, BoxError> {
    let answer = move |request: Request| async move {
        let client =
            request.headers().get("x-forwarded-for").and_then(|client| client.to_str().ok());
        format!("{tenant} {} for {}\n", request.uri().path(), client.unwrap_or("nobody"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(axum::serve(listener, Router::new().fallback(answer)).into_future());
    Ok(address)
}
