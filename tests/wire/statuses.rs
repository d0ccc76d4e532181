//! Whose an answer is, as the client reads it: Proxy-Status on every answer, its reason on each error;
//! and what a request gets that lasts longer than it may.

use std::time::Duration;

use http::StatusCode;
use pointsman::{
    LoadBalancer, RuleTable, Target, TargetGroup,
    endpoint::Transport,
    proxy::{HttpOptions, ProxyStatus},
    rule::{Condition, FixedResponse, Rule},
};

use crate::support::{
    Server, at_rest,
    programs::Port,
    socket::{Socket, field, status},
    until, within_limits,
};

const SHORT: Duration = Duration::from_millis(100);
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

fn group(transport: Transport, targets: &[&Server]) -> TargetGroup {
    let group = TargetGroup::builder("web").transport(transport).build().unwrap();
    targets.iter().for_each(|target| group.register(Target::new(target.address)));
    group
}

async fn serve(options: HttpOptions, group: &TargetGroup) -> Server {
    let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(group));
    Server::balancing(&balancer).await
}

/// The head of the answer to a GET.
async fn get(server: &Server) -> String {
    let mut client = Socket::connect(server.address).await;
    client.send(GET).await.unwrap();
    client.head().await
}

/// A target that reads a request, sends these bytes, and then closes or waits.
async fn playing(answer: &'static str, closes: bool) -> Server {
    Server::by_hand(move |mut socket, _| async move {
        _ = socket.request().await;
        _ = socket.send(answer).await;
        if !closes {
            _ = socket.rest().await;
        }
    })
    .await
}

fn named() -> HttpOptions {
    HttpOptions::new().proxy_status(ProxyStatus::new("edge").unwrap())
}

#[tokio::test]
async fn every_error_on_the_wire_says_that_it_is_ours_and_why() {
    let check = async |answer: &'static str, closes, expected, reason: &str| {
        let target = playing(answer, closes).await;
        let group = group(Transport::new().answer_timeout(SHORT), &[&target]);
        let server = serve(named(), &group).await;
        let head = get(&server).await;
        let found = (status(&head), field(&head, "proxy-status"));
        assert_eq!(found, (expected, Some(&*format!("edge; error={reason}"))), "{answer:?}");
        assert!(!head.contains("127.0.0.1"), "{head}");
        at_rest(&group).await;
    };
    check("", true, 502, "connection_terminated").await;
    check("HTTP/1.1 200 OK\r\nx: ", true, 502, "http_response_incomplete").await;
    check("220 mail.test ESMTP\r\n\r\n", false, 502, "http_protocol_error").await;
    check("", false, 504, "http_response_timeout").await;
}

#[tokio::test]
async fn errors_without_an_exchange_say_why_too() {
    let port = Port::reserve();
    let group = group(Transport::new(), &[]);
    let server = serve(named(), &group).await;
    let check = async |expected: u16, reason: &str| {
        let head = get(&server).await;
        let found = (status(&head), field(&head, "proxy-status"));
        assert_eq!(found, (expected, Some(&*format!("edge; error={reason}"))));
    };
    check(503, "destination_unavailable").await;
    group.register(Target::new(port.address));
    check(502, "connection_refused").await;
}

#[tokio::test]
async fn an_answer_of_a_targets_says_so_behind_what_the_target_says() {
    let answer = "HTTP/1.1 503 Busy\r\nproxy-status: cache; fwd=miss\r\ncontent-length: 0\r\n\r\n";
    let check = async |options: HttpOptions, expected: &[&str]| {
        let target = playing(answer, false).await;
        let group = group(Transport::new(), &[&target]);
        let head = get(&serve(options, &group).await).await;
        let values = head.lines().filter_map(|line| line.strip_prefix("proxy-status: "));
        assert_eq!(values.collect::<Vec<_>>(), expected, "{head}");
    };
    check(named(), &["cache; fwd=miss", "edge; received-status=503"]).await;
    // Unless somebody asks for it, nothing is added.
    check(HttpOptions::new(), &["cache; fwd=miss"]).await;
}

#[tokio::test]
async fn an_answer_of_a_rule_is_nobody_elses() {
    let teapot = FixedResponse::new(StatusCode::IM_A_TEAPOT.as_u16());
    let rule = Rule::new(1).when(Condition::path_pattern(["*"])).then(teapot);
    let rules = RuleTable::builder().rule(rule).build().unwrap();
    let server = Server::balancing(&LoadBalancer::builder().http(named()).build(rules)).await;
    let head = get(&server).await;
    assert_eq!((status(&head), field(&head, "proxy-status")), (418, Some("edge")));
}

// The deadline of a request.

#[tokio::test]
async fn a_request_that_lasts_too_long_is_504_and_its_target_is_left() {
    let target = playing("", false).await;
    let group = group(Transport::new(), &[&target]);
    let server = serve(named().request_timeout(SHORT), &group).await;
    let head = get(&server).await;
    let found = (status(&head), field(&head, "proxy-status"));
    assert_eq!(found, (504, Some("edge; error=http_response_timeout")));
    until("its connection is closed", || target.counts.open() == 0).await;
    at_rest(&group).await;
    assert_eq!(group.status().targets[0].failed, 1);
}

#[tokio::test]
async fn an_answer_that_lasts_too_long_looks_cut_off_to_the_client() {
    // More than comes in any of the limits.
    const LENGTH: usize = 1_000_000;
    for (head, sent) in [
        ("content-length: 1000000", "."),
        ("transfer-encoding: chunked", "1\r\n.\r\n"),
        ("connection: close", "."),
    ] {
        let target = Server::by_hand(move |mut socket, _| async move {
            _ = socket.request().await;
            _ = socket.send(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n")).await;
            // It never pauses for long, and never ends.
            while socket.send(sent).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        within_limits((200, true), async |limit| {
            let group = group(Transport::new(), &[&target]);
            let server = serve(HttpOptions::new().request_timeout(limit), &group).await;
            let mut client = Socket::connect(server.address).await;
            client.send(GET).await.unwrap();
            let status = status(&client.head().await);
            let rest = String::from_utf8(client.rest().await).unwrap();
            until("the target's connection is closed", || target.counts.open() == 0).await;
            at_rest(&group).await;
            assert_eq!(group.status().targets[0].answered, 0, "{head:?}");
            assert!(!rest.ends_with("0\r\n\r\n"), "{head:?}: {rest:?}");
            assert!(rest.len() < LENGTH, "{head:?}: {rest:?}");
            (status, rest.contains('.'))
        })
        .await;
    }
}

#[tokio::test]
async fn an_upload_that_lasts_too_long_is_408() {
    let target = Server::by_hand(|mut socket, _| async move { _ = socket.rest().await }).await;
    let group = group(Transport::new(), &[&target]);
    let server = serve(named().request_timeout(SHORT), &group).await;
    let mut client = Socket::connect(server.address).await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").await.unwrap();
    let head = client.head().await;
    let found = (status(&head), field(&head, "proxy-status"));
    assert_eq!(found, (408, Some("edge; error=http_request_error")));
    until("its connection is closed", || target.counts.open() == 0).await;
    at_rest(&group).await;
    assert_eq!(group.status().targets[0].failed, 0, "it is not the target's fault");
}
