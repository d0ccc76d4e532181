//! Two backends on loopback and a balancer before them. The first line printed is the balancer's
//! address; one to listen on may be given as the first argument.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use pointsman::{HealthCheck, LoadBalancer, Peer, RuleTable, Target, TargetGroup};
use tokio::{net::TcpListener, sync::watch};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let check = HealthCheck::http("/health").interval(Duration::from_secs(1)).healthy_threshold(2);
    let web = TargetGroup::builder("web").health_check(check).build()?;
    let mut app = Router::new();
    for name in ["one", "two"] {
        let (address, running) = backend(name).await?;
        web.register(Target::new(address).with_id(name));
        let (stop, start) = (running.clone(), running);
        app = app
            .route(
                &format!("/stop/{name}"),
                get(async move || stop.send(false).map_or("gone\n", |()| "stopped\n")),
            )
            .route(
                &format!("/start/{name}"),
                get(async move || start.send(true).map_or("gone\n", |()| "started\n")),
            );
    }
    let balancer = LoadBalancer::builder()
        .peer(|extensions| {
            extensions.get::<ConnectInfo<SocketAddr>>().map(|info| Peer::new(info.0))
        })
        .build(RuleTable::forward_to(&web));
    web.until_healthy(2).await;
    app = app
        .route("/status", get(async move || web.status().to_string()))
        .fallback_service(balancer);

    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    println!("http://{address}");
    println!("curl http://{address}/            the answers alternate");
    println!("curl http://{address}/stop/two    then all come from one, and none fails");
    println!("curl http://{address}/start/two   then they alternate again");
    println!("curl http://{address}/status      who is healthy, and why not");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// A backend that answers with its name; what is sent stops it, sockets and all, and starts it again.
async fn backend(name: &'static str) -> Result<(SocketAddr, watch::Sender<bool>), BoxError> {
    let app = Router::new()
        .route("/health", get(async || "well"))
        .fallback(get(async move || format!("hello from {name}\n")));
    let mut listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (sender, mut running) = watch::channel(true);
    tokio::spawn(async move {
        loop {
            let mut stopping = running.clone();
            let stopped = async move { drop(stopping.wait_for(|running| !running).await) };
            axum::serve(listener, app.clone()).with_graceful_shutdown(stopped).await?;
            running.wait_for(|running| *running).await?;
            listener = TcpListener::bind(address).await?;
        }
        #[allow(unreachable_code, reason = "it gives the block its error type")]
        Ok::<_, BoxError>(())
    });
    Ok((address, sender))
}
