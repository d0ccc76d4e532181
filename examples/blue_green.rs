//! From blue to green by weight while requests go on; then blue is drained.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use pointsman::{
    Body, LoadBalancer, RuleTable, Target, TargetGroup,
    layer::Served,
    rule::{Forward, InvalidRules},
};
use tower::{BoxError, ServiceExt, service_fn};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (blue, green) = (group("blue")?, group("green")?);
    let balancer = LoadBalancer::new(split(&blue, 100, &green, 0)?);

    for (to_blue, to_green) in [(100, 0), (90, 10), (50, 50), (0, 100)] {
        // Requests under way go on by the old table.
        balancer.set_rules(split(&blue, to_blue, &green, to_green)?);
        let mut served = [0, 0];
        for _ in 0..1_000 {
            let response = balancer.clone().oneshot(Request::new(Body::default())).await?;
            assert!(response.status().is_success());
            let by = response.extensions().get::<Served>().and_then(|by| by.group.clone());
            served[usize::from(by.as_deref() == Some("green"))] += 1;
        }
        println!("weights {to_blue}/{to_green}: blue {} green {}", served[0], served[1]);
    }

    let slow = Request::builder().uri("/slow").body(Body::default())?;
    let under_way = tokio::spawn({
        // One last request that blue still has to finish.
        let balancer = LoadBalancer::new(RuleTable::forward_to(&blue));
        async move { balancer.oneshot(slow).await }
    });
    while blue.status().in_flight() == 0 {
        tokio::task::yield_now().await;
    }
    blue.deregister("blue-1");
    print!("{}", blue.status());
    println!("the last request on blue: {}", under_way.await??.status());
    Ok(())
}

fn split(
    blue: &TargetGroup,
    b: u16,
    green: &TargetGroup,
    g: u16,
) -> Result<RuleTable, InvalidRules> {
    RuleTable::builder().default_action(Forward::split([(blue, b), (green, g)])).seed(1).build()
}

fn group(name: &'static str) -> Result<TargetGroup, BoxError> {
    let group = TargetGroup::builder(name).deregistration_delay(Duration::from_secs(30)).build()?;
    group.register(Target::service(format!("{name}-1"), service_fn(answer)));
    Ok(group)
}

async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(Response::new(Body::default()))
}
