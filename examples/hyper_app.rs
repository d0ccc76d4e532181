//! A balancer in a plain hyper server, told once a connection who the client is.

use std::{convert::Infallible, net::SocketAddr};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pointsman::{Body, LoadBalancer, Peer, RuleTable, Target, TargetGroup};
use tokio::net::TcpListener;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let web = TargetGroup::builder("web").build()?;
    web.register(Target::new(backend("one").await?));
    web.register(Target::new(backend("two").await?));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let local = listener.local_addr()?;
    println!("http://{local}");
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let service = balancer.for_peer(Peer::new(client).local(local));
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            // Without a timer hyper waits for the head of a request for ever.
            http.timer(TokioTimer::new());
            let serving = http.serve_connection(TokioIo::new(stream), service);
            // For WebSockets.
            if let Err(error) = serving.with_upgrades().await {
                eprintln!("{client}: {error}");
            }
        });
    }
}

/// Starts a backend that answers with its name, the path, and the port the client came to.
async fn backend(name: &'static str) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let answer = move |request: Request<Incoming>| async move {
        let port = request.headers().get("x-forwarded-port").and_then(|port| port.to_str().ok());
        let text = format!("{name} {} {}\n", request.uri(), port.unwrap_or("-"));
        Ok::<_, Infallible>(Response::new(Body::from(text)))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(stream, service_fn(answer)));
        }
    });
    Ok(address)
}
