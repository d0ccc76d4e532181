//! A program of its own, without a web framework: it listens, balances, and ends in good order.

use std::convert::Infallible;

use http::{Request, Response};
use pointsman::{Body, LoadBalancer, RuleTable, Target, TargetGroup, server::Server};
use tower::{BoxError, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let web = TargetGroup::builder("web").build()?;
    for name in ["one", "two"] {
        // Stands for a program elsewhere: `Target::host("app:3000")?`.
        let app = service_fn(move |request: Request<Body>| async move {
            let client = request.headers().get("x-forwarded-for");
            let text = format!("{name} for {client:?}\n");
            Ok::<_, Infallible>(Response::new(Body::from(text)))
        });
        web.register(Target::service(name, app));
    }
    let balancer = LoadBalancer::new(RuleTable::forward_to(&web));

    let server = Server::builder().bind(([127, 0, 0, 1], 0)).build()?;
    println!("http://{}", server.local_addrs()[0]);
    let stop = async { _ = tokio::signal::ctrl_c().await };
    let drained = server.serve_until(balancer, stop).await;
    println!("{} connections were cut", drained.cut);
    Ok(())
}
