//! ALB's behaviour in numbered cases, each a document given to the example and asked over TCP.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Response, StatusCode};
use pointsman::Body;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    ask, checked,
    child::{Gateway, refused},
    document, fixed, forward, group, listener, start, sticky,
    support::{
        Server,
        programs::{Directory, Port},
        socket::{Socket, field, status},
        soon, until,
    },
    when,
};

/// A listener with one rule; it answers with whether a request matches.
async fn start_rule(condition: &Value) -> (Gateway, Port) {
    let port = Port::reserve();
    let rules = [when(1, condition, &fixed("match"))];
    let lb = document(&[], &[listener(port.address.port(), &fixed("no match"), &rules)]);
    (Gateway::start(&lb, &[&port]).await, port)
}

/// Sends the head of a request, without its last line; the answer.
async fn send(socket: &mut Socket, head: &str) -> (String, String) {
    socket.send(format!("{head}\r\n\r\n")).await.unwrap();
    soon("an answer", socket.answer()).await
}

async fn check(condition: Value, requests: &[(&str, &str)]) {
    let (_gateway, port) = start_rule(&condition).await;
    let mut socket = Socket::connect(port.address).await;
    for (request, expected) in requests {
        let (head, body) = send(&mut socket, request).await;
        assert_eq!((status(&head), &*body), (200, *expected), "{condition}: {request}");
    }
}

/// Runs a document that cannot be; why.
async fn refusal(listener: Value) -> String {
    let directory = Directory::new();
    let file = directory.write("lb.json", document(&[], &[listener]).to_string());
    refused(&[file.to_str().unwrap()]).await
}

/// Asks so many times; the bodies, sorted.
async fn bodies(address: SocketAddr, count: usize) -> Vec<String> {
    let mut socket = Socket::connect(address).await;
    let mut bodies = Vec::new();
    for _ in 0..count {
        let (head, body) = ask(&mut socket, "/").await;
        assert_eq!(status(&head), 200, "{head}");
        bodies.push(body);
    }
    bodies.sort();
    bodies
}

/// A target that answers with its name, and with this status when it is asked for its health.
async fn with_health(name: &'static str, status: StatusCode) -> Server {
    Server::answering(move |request| async move {
        let mut response = Response::new(Body::from(name));
        if request.uri().path() == "/health" {
            *response.status_mut() = status;
        }
        response
    })
    .await
}

#[tokio::test]
async fn vector_01_a_wildcard_subdomain_is_not_the_domain() {
    let condition = json!({"Field": "host-header", "Values": ["*.example.com"]});
    check(condition, &[("GET / HTTP/1.1\r\nHost: example.com", "no match")]).await;
}

#[tokio::test]
async fn vector_02_a_host_matches_in_either_case() {
    let condition = json!({"Field": "host-header", "Values": ["*.example.com"]});
    check(condition, &[("GET / HTTP/1.1\r\nHost: TEST.example.COM", "match")]).await;
}

#[tokio::test]
async fn vector_03_a_path_matches_in_its_own_case_only() {
    let condition = json!({"Field": "path-pattern", "Values": ["/Img/*"]});
    let requests = [
        ("GET /img/a HTTP/1.1\r\nHost: a.test", "no match"),
        ("GET /Img/a HTTP/1.1\r\nHost: a.test", "match"),
    ];
    check(condition, &requests).await;
}

#[tokio::test]
async fn vector_04_a_method_in_lower_case_is_refused() {
    let condition = json!({
        "Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["get"]}
    });
    let rules = [when(1, &condition, &fixed("match"))];
    let said = refusal(listener(Port::reserve().address.port(), &fixed("x"), &rules)).await;
    let expected = "HttpRequestMethodConfig.Values[0]: \"get\": expected";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn vector_05_each_line_of_a_header_is_tried() {
    let condition = json!({
        "Field": "http-header",
        "HttpHeaderConfig": {"HttpHeaderName": "User-Agent", "Values": ["*chrome*"]}
    });
    let first = "GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: curl/8";
    let both = format!("{first}\r\nUser-Agent: Mozilla Chrome/1");
    check(condition, &[(first, "no match"), (&both, "match")]).await;
}

#[tokio::test]
async fn vector_06_a_query_matches_in_either_case() {
    let condition = json!({
        "Field": "query-string",
        "QueryStringConfig": {"Values": [{"Key": "version", "Value": "v1"}]}
    });
    let requests = [
        ("GET /?VERSION=V1 HTTP/1.1\r\nHost: a.test", "match"),
        ("GET /?VERSION=V2 HTTP/1.1\r\nHost: a.test", "no match"),
    ];
    check(condition, &requests).await;
}

#[tokio::test]
async fn vector_07_the_source_is_the_connection_and_no_header() {
    let block = |block| json!({"Field": "source-ip", "SourceIpConfig": {"Values": [block]}});
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 10.1.1.1";
    check(block("10.0.0.0/8"), &[(request, "no match")]).await;
    check(block("127.0.0.1/32"), &[(request, "match")]).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn vector_07_who_connects_from_the_source_matches_whatever_it_says() {
    let values = json!({"Values": ["127.1.0.0/16"]});
    let condition = json!({"Field": "source-ip", "SourceIpConfig": values});
    let (_gateway, port) = start_rule(&condition).await;
    for (from, said, expected) in
        [([127, 1, 2, 3], "192.0.2.1", "match"), ([127, 2, 2, 3], "127.1.2.3", "no match")]
    {
        let mut socket = Socket::connect_from(from, port.address).await;
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: {said}");
        assert_eq!(send(&mut socket, &request).await.1, expected, "{from:?}");
    }
}

#[tokio::test]
async fn vector_11_a_redirect_of_the_query_alone_is_refused() {
    let action = json!({
        "Type": "redirect", "RedirectConfig": {"Query": "a=b", "StatusCode": "HTTP_302"}
    });
    let said = refusal(listener(Port::reserve().address.port(), &action, &[])).await;
    assert!(said.contains("RedirectConfig") && said.contains("is a loop"), "{said}");
}

#[tokio::test]
async fn vector_12_http_is_redirected_to_https() {
    let action = json!({
        "Type": "redirect",
        "RedirectConfig": {
            "Protocol": "HTTPS", "Port": "443", "Path": "/#{path}", "Query": "#{query}",
            "StatusCode": "HTTP_301"
        }
    });
    let (_gateway, port) = start(&[], &action).await;
    let mut socket = Socket::connect(port.address).await;
    // Port 80 cannot be had here; a browser says the port in Host when it is another.
    for host in ["h".to_owned(), format!("h:{}", port.address.port())] {
        let request = format!("GET /a?b=1 HTTP/1.1\r\nHost: {host}");
        let (head, _) = send(&mut socket, &request).await;
        assert_eq!((status(&head), field(&head, "location")), (301, Some("https://h:443/a?b=1")));
    }
}

#[tokio::test]
async fn vector_14_weights_share_the_requests() {
    const CLIENTS: usize = 10;
    const ROUNDS: usize = 60;
    const AT_ONCE: usize = 50;
    let (blue, green) = (Server::named("blue").await, Server::named("green").await);
    let groups = [group("blue", &[blue.address]), group("green", &[green.address])];
    let split = json!([
        {"TargetGroupArn": "blue", "Weight": 10}, {"TargetGroupArn": "green", "Weight": 20}
    ]);
    let action = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": split}});
    let (_gateway, port) = start(&groups, &action).await;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let mut socket = Socket::connect(port.address).await;
        clients.spawn(async move {
            let mut of_blue = 0;
            for _ in 0..ROUNDS {
                let requests = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(AT_ONCE);
                socket.send(requests).await.unwrap();
                for _ in 0..AT_ONCE {
                    let (head, body) = socket.answer().await;
                    assert_eq!(status(&head), 200, "{head}");
                    assert!(body == "blue" || body == "green", "{body}");
                    of_blue += usize::from(body == "blue");
                }
            }
            of_blue
        });
    }
    let of_blue: usize = clients.join_all().await.into_iter().sum();
    assert_eq!(CLIENTS * ROUNDS * AT_ONCE, 30_000);
    // Six times the standard deviation on either side.
    assert!((9_510..=10_490).contains(&of_blue), "{of_blue}");
}

#[tokio::test]
async fn vector_15_a_group_without_targets_is_503_whatever_the_others_have() {
    let green = Server::named("green").await;
    let groups = [group("blue", &[]), group("green", &[green.address])];
    let split = json!([
        {"TargetGroupArn": "blue", "Weight": 1}, {"TargetGroupArn": "green", "Weight": 0}
    ]);
    let action = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": split}});
    let (_gateway, port) = start(&groups, &action).await;
    let mut socket = Socket::connect(port.address).await;
    for _ in 0..20 {
        let (head, body) = ask(&mut socket, "/").await;
        assert_eq!(status(&head), 503);
        assert!(body.contains("<h1>503 Service Temporarily Unavailable</h1>"), "{body}");
    }
}

#[tokio::test]
async fn vector_17_three_targets_that_all_fail_their_checks_all_serve() {
    let ill = |name| with_health(name, StatusCode::INTERNAL_SERVER_ERROR);
    let targets = [ill("one").await, ill("two").await, ill("three").await];
    let addresses = targets.each_ref().map(|target| target.address);
    let (mut gateway, port) = start(&[checked("web", &addresses)], &forward("web")).await;
    let said = gateway.turned(&addresses, "unhealthy").await;
    assert!(said.contains("no target is healthy: all that are registered get traffic"), "{said}");
    assert_eq!(bodies(port.address, 6).await, ["one", "one", "three", "three", "two", "two"]);
}

#[tokio::test]
async fn vector_19_a_first_good_check_makes_a_new_target_healthy_at_once() {
    let well = with_health("well", StatusCode::OK).await;
    let ill = with_health("ill", StatusCode::INTERNAL_SERVER_ERROR).await;
    let mut web = checked("web", &[well.address, ill.address]);
    web["HealthyThresholdCount"] = json!(10);
    let (mut gateway, port) = start(&[web], &forward("web")).await;
    gateway.turned(&[well.address], "healthy").await;
    // One check was enough, and what it found counts: the other gets nothing.
    assert_eq!(well.counts.requests(), 1);
    assert_eq!(bodies(port.address, 4).await, ["well"; 4]);
}

#[tokio::test]
async fn vector_20_one_failure_of_two_leaves_a_target_healthy() {
    let checks = Arc::new(AtomicUsize::new(0));
    let third = Arc::new(Semaphore::new(0));
    let failing = Server::answering({
        let (checks, third) = (Arc::clone(&checks), Arc::clone(&third));
        move |request| {
            let is_check = request.uri().path() == "/health";
            let check = if is_check { checks.fetch_add(1, Ordering::SeqCst) + 1 } else { 0 };
            let third = Arc::clone(&third);
            async move {
                if check > 2 {
                    third.acquire().await.unwrap().forget();
                }
                let mut response = Response::new(Body::from("failing"));
                if check > 1 {
                    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                }
                response
            }
        }
    })
    .await;
    let well = with_health("well", StatusCode::OK).await;
    let mut web = checked("web", &[failing.address, well.address]);
    web["UnhealthyThresholdCount"] = json!(2);
    let (mut gateway, port) = start(&[web], &forward("web")).await;
    gateway.turned(&[failing.address, well.address], "healthy").await;
    // When the third check is there, the second has long been judged.
    until("the third check", || checks.load(Ordering::SeqCst) == 3).await;
    assert_eq!(bodies(port.address, 4).await, ["failing", "failing", "well", "well"]);
    third.add_permits(1);
    gateway.turned(&[failing.address], "unhealthy").await;
    assert_eq!(bodies(port.address, 4).await, ["well"; 4]);
}

#[tokio::test]
async fn vector_24_a_target_that_is_deregistered_is_replaced_and_the_cookie_with_it() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let port = Port::reserve();
    let of = |targets: &[SocketAddr]| {
        let listener = listener(port.address.port(), &forward("web"), &[]);
        document(&[sticky("web", targets)], &[listener])
    };
    let mut gateway = Gateway::start(&of(&[one.address, two.address]), &[&port]).await;
    // Until then a session may begin at one that is not known to be healthy, and move to the other.
    gateway.turned(&[one.address, two.address], "healthy").await;
    let mut socket = Socket::connect(port.address).await;
    // Asks with a cookie; the target, and the cookie that comes when it is a new one.
    let mut ask = async |cookie: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: {cookie}");
        let (head, target) = send(&mut socket, &request).await;
        let cookie = field(&head, "set-cookie").and_then(|cookie| cookie.split(';').next());
        assert!(cookie.is_none_or(|cookie| cookie.starts_with("AWSALB=")), "{head}");
        (target, cookie.map(str::to_owned))
    };
    let (first, cookie) = ask("a=b").await;
    let cookie = cookie.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&cookie).await, (first.clone(), None));
    }

    let (stays, address) = if first == "one" { ("two", two.address) } else { ("one", one.address) };
    gateway.reload(&of(&[address])).await;
    let (next, new) = ask(&cookie).await;
    assert_eq!(next, stays);

    // The session stays where it went when the old target comes back.
    gateway.reload(&of(&[one.address, two.address])).await;
    let new = new.unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&new).await, (next.clone(), None));
    }
}

#[tokio::test]
async fn vector_26_the_client_is_appended_to_x_forwarded_for() {
    let target = Server::answering(|request| async move {
        let lines = request.headers().get_all("x-forwarded-for").iter();
        let lines = lines.map(|line| line.to_str().unwrap()).collect::<Vec<_>>();
        Response::new(Body::from(lines.join("\n")))
    })
    .await;
    let port = Port::reserve();
    let listeners = [listener(port.address.port(), &forward("web"), &[])];
    let mut lb = document(&[group("web", &[target.address])], &listeners);
    let mode = "routing.http.xff_header_processing.mode";
    lb["LoadBalancerAttributes"] = json!([{"Key": mode, "Value": "append"}]);
    let _gateway = Gateway::start(&lb, &[&port]).await;
    let request = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: a";
    let mut socket = Socket::connect(port.address).await;
    assert_eq!(send(&mut socket, request).await.1, "a, 127.0.0.1");
    #[cfg(target_os = "linux")]
    {
        let mut socket = Socket::connect_from([127, 1, 2, 3], port.address).await;
        assert_eq!(send(&mut socket, request).await.1, "a, 127.1.2.3");
    }
}

#[tokio::test]
async fn vector_44_a_target_that_closes_with_a_request_outstanding_is_502() {
    let target = Server::by_hand(|mut socket, _| async move { _ = socket.request().await }).await;
    let (_gateway, port) = start(&[group("web", &[target.address])], &forward("web")).await;
    let mut socket = Socket::connect(port.address).await;
    // The client's connection goes on.
    for method in ["GET", "POST"] {
        let (head, body) = send(&mut socket, &format!("{method} / HTTP/1.1\r\nHost: a.test")).await;
        assert_eq!(status(&head), 502, "{method}");
        assert!(body.contains("<h1>502 Bad Gateway</h1>"), "{body}");
    }
}

#[tokio::test]
async fn vector_45_a_target_that_accepts_and_is_silent_is_504() {
    let target = Server::by_hand(|mut socket, _| async move { _ = socket.rest().await }).await;
    let port = Port::reserve();
    let listeners = [listener(port.address.port(), &forward("web"), &[])];
    let mut lb = document(&[group("web", &[target.address])], &listeners);
    lb["LoadBalancerAttributes"] = json!([{"Key": "idle_timeout.timeout_seconds", "Value": "1"}]);
    let _gateway = Gateway::start(&lb, &[&port]).await;
    let mut socket = Socket::connect(port.address).await;
    let started = Instant::now();
    let (head, body) = ask(&mut socket, "/").await;
    assert_eq!(status(&head), 504);
    assert!(body.contains("<h1>504 Gateway Time-out</h1>"), "{body}");
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
}
