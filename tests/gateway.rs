//! Documents in ALB's vocabulary: which are accepted and what they become, which are refused and in
//! which words.
#![cfg(feature = "gateway")]

use std::{fs, time::SystemTime};

use http::{HeaderMap, Request, header};
use pointsman::{
    Body, LoadBalancer, Peer,
    gateway::{Admission, Assembly, Document, Finding},
    stickiness::CookieKey,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt;

#[path = "gateway/refusals.rs"]
mod refusals;

fn read(name: &str) -> String {
    fs::read_to_string(format!("{}/tests/gateway/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Compares with a file, or writes it anew if asked to.
fn check_golden(name: &str, found: &str) {
    if std::env::var_os("WRITE_GOLDEN_FILES").is_some() {
        let path = format!("{}/tests/gateway/{name}", env!("CARGO_MANIFEST_DIR"));
        fs::write(path, found).unwrap();
    }
    assert_eq!(found, read(name), "{name}: WRITE_GOLDEN_FILES=1 cargo test writes it anew");
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

fn key() -> CookieKey {
    CookieKey::from_bytes([1; 32])
}

fn assemble(text: &str) -> Assembly {
    let document = Document::parse(text).unwrap_or_else(|invalid| panic!("{invalid}"));
    let assembly = document.assemble(&key(), None).unwrap();
    assembly.apply();
    assembly
}

/// A document of these groups and one rule-less listener for each default action.
fn document(groups: Value, actions: &[Value]) -> Value {
    let listener = |(i, action): (usize, &Value)| json!({"Protocol": "HTTP", "Port": 8080 + i, "DefaultActions": [action]});
    let listeners: Vec<_> = actions.iter().enumerate().map(listener).collect();
    json!({"TargetGroups": groups, "Listeners": listeners})
}

#[test]
fn the_example_is_accepted_without_a_word() {
    let document = Document::parse(&read("example.json")).unwrap();
    assert_eq!(lines(document.warnings()) + &lines(document.lints()), "");
    assert_eq!(document.ports().collect::<Vec<_>>(), [8080]);
    let groups = document.security_groups();
    assert_eq!(groups.admits(8080, [127, 1, 2, 3].into()), Admission::By("sg-web"));
    assert_eq!(groups.admits(8080, [10, 0, 0, 1].into()), Admission::None);
    let assembly = document.assemble(&key(), None).unwrap();
    assembly.apply();
    let status = assembly.group("web").unwrap().status();
    let ids: Vec<_> = status.targets.iter().map(|target| target.target.as_str()).collect();
    assert_eq!(ids, ["127.0.0.1:3001", "127.0.0.1:3002"]);
}

#[test]
fn everything_that_is_honoured_is_accepted_without_a_word() {
    let document = Document::parse(&read("everything.json")).unwrap();
    assert_eq!(lines(document.warnings()) + &lines(document.lints()), "");
    assert_eq!(document.ports().collect::<Vec<_>>(), [8080, 80]);
    let assembly = document.assemble(&key(), None).unwrap();
    assembly.apply();
    let ids = |name: &str| -> Vec<String> {
        let status = assembly.group(name).unwrap().status();
        status.targets.iter().map(|target| target.target.to_string()).collect()
    };
    assert_eq!(
        ids("web"),
        ["127.0.0.1:3000", "127.0.0.1:3001", "[::1]:3002", "app-1.internal:3000"]
    );
    assert_eq!(ids("sticky-1"), ["10.0.0.1:4000"]);
}

#[test]
fn every_error_of_a_document_is_told_at_once() {
    let invalid = Document::parse(&read("wrong.json")).unwrap_err();
    assert!(invalid.errors().len() >= 20);
    assert_eq!(invalid.to_string().lines().count(), invalid.errors().len());
    check_golden("wrong.txt", &format!("{invalid}\n"));
}

#[test]
fn what_has_no_effect_is_told_once() {
    let document = Document::parse(&read("ignored.json")).unwrap();
    check_golden("ignored.txt", &lines(document.warnings()));
    assert_eq!(lines(document.lints()), "");
}

#[test]
fn what_is_probably_wrong_is_told() {
    let document = Document::parse(&read("doubtful.json")).unwrap();
    check_golden("doubtful.txt", &lines(document.lints()));
    assert_eq!(lines(document.warnings()), "");
}

#[test]
fn what_is_no_json_is_told_with_its_place() {
    let check = |text: &str, expected: &str| {
        assert_eq!(Document::parse(text).unwrap_err().to_string(), expected, "{text}");
    };
    check("", "line 1, column 0: EOF while parsing a value");
    check("{\n  \"Listeners\": [}\n", "line 2, column 17: expected value");
    check("{\"a\": 1,}", "line 1, column 9: trailing comma");
    check("{} {}", "line 1, column 4: trailing characters");
    check(&"[".repeat(1000), "line 1, column 128: recursion limit exceeded");
}

// What a document becomes.

fn balancer(assembly: &Assembly, port: u16) -> LoadBalancer {
    let listener = assembly.listeners().iter().find(|listener| listener.port() == port).unwrap();
    listener.balancer()
}

/// Says what the balancer does with a request.
fn action(balancer: &LoadBalancer, request: http::request::Builder) -> String {
    let explained = balancer.explain(&request.body(()).unwrap());
    match (explained.location(), explained.action()) {
        (Some(location), _) => location.to_owned(),
        (None, Some(action)) => action.to_string(),
        (None, None) => explained.to_string(),
    }
}

#[test]
fn rules_decide_as_they_are_written() {
    let assembly = assemble(&read("everything.json"));
    let eight = balancer(&assembly, 8080).for_peer(Peer::new("192.0.2.1:1".parse().unwrap()));
    let check = |balancer: &LoadBalancer, request: http::request::Builder, expected: &str| {
        assert_eq!(action(balancer, request), expected);
    };
    let chrome = Request::get("/").header("user-agent", "a Chrome");
    check(&eight, chrome.header("host", "A.Example.com"), "forward to web");
    let get = |target: &str| Request::get(target).header("host", "h.example");
    check(&eight, get("/old/x?a=b"), "http://new.h.example:80/old/x?from=h.example&a=b");
    check(&eight, get("/?x=an+example"), "forward to sticky-1");
    check(&eight, get("/?x=y"), "forward to web");
    let eighty = balancer(&assembly, 80);
    check(&eighty, get("/a?b"), "https://h.example:443/a?b");
    check(&eighty, Request::get("/").header("host", "status.example.com"), "fixed-response 200");
}

async fn ask(balancer: &LoadBalancer) -> (http::response::Parts, String) {
    let request = Request::get("/").header("host", "h.example").body(Body::default()).unwrap();
    let (parts, body) = balancer.clone().oneshot(request).await.unwrap().into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    (parts, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn answers_look_like_albs() {
    let page = |title: &str| {
        format!(
            "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n\
             <center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
        )
    };
    let groups = json!([{"TargetGroupName": "empty", "Protocol": "HTTP", "Port": 80}]);
    let redirect = |status: &str| json!({"Type": "redirect", "RedirectConfig": {"Host": "other.example", "StatusCode": status}});
    let fixed = |config: Value| json!({"Type": "fixed-response", "FixedResponseConfig": config});
    let nothing = json!({"TargetGroups": [{"TargetGroupArn": "empty", "Weight": 0}]});
    let actions = [
        json!({"Type": "forward", "TargetGroupArn": "empty"}),
        json!({"Type": "forward", "ForwardConfig": nothing}),
        redirect("HTTP_301"),
        redirect("HTTP_302"),
        fixed(json!({"StatusCode": "418", "MessageBody": "tea", "ContentType": "text/css"})),
        fixed(json!({"StatusCode": 404})),
    ];
    let expected = [
        (503, "text/html", page("503 Service Temporarily Unavailable")),
        (503, "text/html", page("503 Service Temporarily Unavailable")),
        (301, "text/html", page("301 Moved Permanently")),
        (302, "text/html", page("302 Found")),
        (418, "text/css; charset=utf-8", "tea".to_owned()),
        (404, "text/plain; charset=utf-8", String::new()),
    ];
    let assembly = assemble(&document(groups, &actions).to_string());
    for (listener, (status, content_type, body)) in assembly.listeners().iter().zip(expected) {
        let (parts, found) = ask(&listener.balancer()).await;
        assert_eq!((parts.status.as_u16(), found), (status, body));
        assert_eq!(parts.headers[header::CONTENT_TYPE], content_type);
        assert!(!parts.headers.contains_key(header::SERVER));
    }
}

/// Serves 200 on a port of its own until the runtime ends, and tells of each request's headers.
async fn backend() -> (u16, tokio::sync::mpsc::UnboundedReceiver<HeaderMap>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heard) = tokio::sync::mpsc::unbounded_channel();
    let app = axum::Router::new().fallback(move |request: Request<axum::body::Body>| {
        let told = told.clone();
        async move { told.send(request.into_parts().0.headers).unwrap() }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, heard)
}

#[tokio::test]
async fn a_sticky_group_writes_albs_pair_of_cookies_and_reads_it() {
    let (port, _heard) = backend().await;
    let groups = json!([{
        "TargetGroupName": "web", "Protocol": "HTTP", "Port": port,
        "TargetGroupAttributes": [{"Key": "stickiness.enabled", "Value": "true"}],
        "Targets": [{"Id": "127.0.0.1"}],
    }]);
    let action = json!({"Type": "forward", "TargetGroupArn": "web"});
    let assembly = assemble(&document(groups, &[action]).to_string());
    let (parts, _) = ask(&balancer(&assembly, 8080)).await;
    assert_eq!(parts.status, 200);
    let cookies = parts.headers.get_all(header::SET_COOKIE).iter();
    let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap()).collect();
    let [own, cors] = cookies[..] else { panic!("{cookies:?}") };
    let (value, own) = own.strip_prefix("AWSALB=").unwrap().split_once("; Expires=").unwrap();
    let (same, cors) = cors.strip_prefix("AWSALBCORS=").unwrap().split_once("; Expires=").unwrap();
    assert_eq!(value, same);
    let (date, own) = own.split_once("; ").unwrap();
    assert_eq!(own, "Path=/");
    assert_eq!(cors, format!("{date}; Path=/; SameSite=None"));
    let left = httpdate::parse_http_date(date).unwrap().duration_since(SystemTime::now()).unwrap();
    assert!((604_740..=604_860).contains(&left.as_secs()), "{left:?}");
    // Each alone brings the client back, and its twin counts when both come.
    let kept = |cookies: &str| {
        let request = Request::get("/").header("cookie", cookies).body(()).unwrap();
        let explained = balancer(&assembly, 8080).explain(&request);
        let session = explained.choice().unwrap().session.clone();
        session.unwrap().is_some()
    };
    assert!(kept(&format!("AWSALB={value}")));
    assert!(kept(&format!("AWSALBCORS={value}")));
    assert!(kept(&format!("AWSALB=x; AWSALBCORS={value}")));
    assert!(!kept(&format!("AWSALB={value}; AWSALBCORS=x")));
}

#[tokio::test]
async fn health_checks_ask_as_albs_do() {
    let (port, mut heard) = backend().await;
    let groups = json!([{
        "TargetGroupName": "web", "Protocol": "HTTP", "Port": port,
        "Targets": [{"Id": "127.0.0.1"}],
    }]);
    let action = json!({"Type": "forward", "TargetGroupArn": "web"});
    let assembly = assemble(&document(groups, &[action]).to_string());
    let _running = balancer(&assembly, 8080);
    let headers = heard.recv().await.unwrap();
    assert_eq!(headers[header::USER_AGENT], "ELB-HealthChecker/2.0");
    assert_eq!(headers[header::HOST], format!("127.0.0.1:{port}"));
}

/// One group with the target at this port and one listener that forwards to it, with attributes.
fn forwarding(port: u16, attributes: &[(&str, &str)]) -> String {
    let groups = json!([{
        "TargetGroupName": "web", "Protocol": "HTTP", "Port": port, "HealthCheckEnabled": true,
        "Targets": [{"Id": "127.0.0.1"}],
    }]);
    let mut document = document(groups, &[json!({"Type": "forward", "TargetGroupArn": "web"})]);
    let attributes = attributes.iter().map(|(key, value)| json!({"Key": key, "Value": value}));
    document["LoadBalancerAttributes"] = attributes.collect();
    document.to_string()
}

/// A request that the target tells from a health check.
fn asking() -> Request<Body> {
    let request = Request::get("/").header("host", "a.com").header("x-test", "1");
    request.body(Body::default()).unwrap()
}

/// Sends a request with these fields as a client of a listener on this port, and returns what the
/// target got of some fields, `;` between lines.
async fn told(
    balancer: &LoadBalancer,
    heard: &mut tokio::sync::mpsc::UnboundedReceiver<HeaderMap>,
    local: &str,
    fields: &[(&'static str, &str)],
) -> [String; 3] {
    let peer = Peer::new("[2001:db8::1]:5000".parse().unwrap()).local(local.parse().unwrap());
    let mut request = asking();
    if fields.iter().any(|(name, _)| *name == "host") {
        request.headers_mut().remove("host");
    }
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    assert_eq!(balancer.for_peer(peer).oneshot(request).await.unwrap().status(), 200);
    loop {
        let headers = heard.recv().await.unwrap();
        // The rest are health checks.
        if headers.contains_key("x-test") {
            return ["x-forwarded-for", "host", "x-amzn-trace-id"].map(|name| {
                let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap());
                values.collect::<Vec<_>>().join(";")
            });
        }
    }
}

const MODE: &str = "routing.http.xff_header_processing.mode";
const CLIENT_PORT: &str = "routing.http.xff_client_port.enabled";
const PRESERVE_HOST: &str = "routing.http.preserve_host_header.enabled";

#[tokio::test]
async fn targets_are_told_of_clients_as_albs_targets_are() {
    let (port, mut heard) = backend().await;
    let mut check = async |attributes: &[(&str, &str)], received: Option<&str>, expected: &str| {
        let assembly = assemble(&forwarding(port, attributes));
        let balancer = balancer(&assembly, 8080);
        let fields = received.map(|value| ("x-forwarded-for", value));
        let [addresses, ..] = told(&balancer, &mut heard, "127.0.0.1:80", fields.as_slice()).await;
        assert_eq!(addresses, expected, "{attributes:?} {received:?}");
    };
    check(&[], None, "2001:db8::1").await;
    check(&[(MODE, "append")], Some("a, b"), "a, b, 2001:db8::1").await;
    check(&[(MODE, "preserve")], Some("a, b"), "a, b").await;
    check(&[(MODE, "preserve"), (CLIENT_PORT, "true")], None, "").await;
    check(&[(MODE, "remove"), (CLIENT_PORT, "true")], Some("a, b"), "").await;
    check(&[(CLIENT_PORT, "true")], Some("a"), "a, [2001:db8::1]:5000").await;
}

#[tokio::test]
async fn vector_30_the_host_is_rewritten_unless_it_is_to_be_preserved() {
    let (port, mut heard) = backend().await;
    let mut check = async |preserve: &str, local: &str, host: &str, expected: &str| {
        let assembly = assemble(&forwarding(port, &[(PRESERVE_HOST, preserve)]));
        let balancer = balancer(&assembly, 8080);
        let [_, found, _] = told(&balancer, &mut heard, local, &[("host", host)]).await;
        assert_eq!(found, expected, "{host} at {local}");
    };
    check("false", "127.0.0.1:80", "A.com:8080", "a.com").await;
    check("false", "127.0.0.1:8080", "A.com", "a.com:8080").await;
    check("true", "127.0.0.1:80", "A.com:8080", "A.com:8080").await;
    check("true", "127.0.0.1:8080", "A.com", "A.com").await;
}

#[tokio::test]
async fn vector_32_requests_are_traced_and_no_client_writes_what_only_a_balancer_does() {
    let (port, mut heard) = backend().await;
    let assembly = assemble(&forwarding(port, &[]));
    let balancer = balancer(&assembly, 8080);
    let [.., id] = told(&balancer, &mut heard, "127.0.0.1:80", &[]).await;
    assert!(id.starts_with("Root=1-") && id.len() == 40, "{id}");
    let fields = [("x-amzn-trace-id", "Root=1-x-y;CalledFrom=app")];
    let [.., id] = told(&balancer, &mut heard, "127.0.0.1:80", &fields).await;
    assert!(id.starts_with("Self=1-") && id.ends_with(";Root=1-x-y;CalledFrom=app"), "{id}");
    let forged = ["x-amzn-mtls-clientcert", "x-amzn-tls-version", "x-amzn-oidc-data", "x-kept"];
    let mut request = Request::get("/").header("x-test", "2").body(Body::default()).unwrap();
    for name in forged {
        request.headers_mut().insert(name, "1".parse().unwrap());
    }
    balancer.clone().oneshot(request).await.unwrap();
    while let Some(headers) = heard.recv().await {
        if headers.contains_key("x-test") {
            assert_eq!(forged.map(|name| headers.contains_key(name)), [false, false, false, true]);
            break;
        }
    }
}

// Documents that follow each other.

#[tokio::test]
async fn what_is_done_with_messages_changes_with_the_document_for_open_connections_too() {
    let (port, mut heard) = backend().await;
    let first = assemble(&forwarding(port, &[]));
    let balancer = balancer(&first, 8080);
    let peer = Peer::new("[2001:db8::1]:5000".parse().unwrap());
    let open = balancer.for_peer(peer.local("127.0.0.1:80".parse().unwrap()));
    let mut check = async |expected: &str| {
        assert_eq!(open.clone().oneshot(asking()).await.unwrap().status(), 200);
        while let Some(headers) = heard.recv().await {
            if headers.contains_key("x-test") {
                let found = headers.get("x-forwarded-for").map(|value| value.to_str().unwrap());
                assert_eq!(found, Some(expected).filter(|expected| !expected.is_empty()));
                break;
            }
        }
    };
    check("2001:db8::1").await;
    let mut running = first;
    for (attributes, expected) in [
        (&[(CLIENT_PORT, "true")], "[2001:db8::1]:5000"),
        (&[(MODE, "remove")], ""),
        (&[(MODE, "append")], "2001:db8::1"),
    ] {
        let next = Document::parse(&forwarding(port, attributes)).unwrap();
        let next = next.assemble(&key(), Some(&running)).unwrap();
        next.apply();
        next.listeners()[0].apply_to(&balancer);
        check(expected).await;
        // New rules alone change nothing of it.
        balancer.set_rules(next.listeners()[0].rules().clone());
        check(expected).await;
        running = next;
    }
}

fn web(delay: &str, targets: &[&str]) -> String {
    let targets: Vec<_> = targets.iter().map(|id| json!({"Id": id})).collect();
    let groups = json!([{
        "TargetGroupName": "web", "Protocol": "HTTP", "Port": 80, "Targets": targets,
        "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": delay}],
    }]);
    let action = json!({"Type": "forward", "TargetGroupArn": "web"});
    document(groups, &[action]).to_string()
}

fn ids(assembly: &Assembly) -> Vec<String> {
    let status = assembly.group("web").unwrap().status();
    status.targets.iter().map(|target| format!("{} {}", target.target, target.state)).collect()
}

#[test]
fn a_group_that_stays_is_taken_over_and_changes_only_when_told() {
    let first = assemble(&web("9", &["10.0.0.1", "10.0.0.2"]));
    let next = Document::parse(&web("9", &["10.0.0.2", "10.0.0.3"])).unwrap();
    let next = next.assemble(&key(), Some(&first)).unwrap();
    assert_eq!(next.group("web"), first.group("web"));
    assert_eq!(ids(&first), ["10.0.0.1:80 unused", "10.0.0.2:80 unused"]);
    next.apply();
    assert_eq!(ids(&first), ["10.0.0.1:80 draining", "10.0.0.2:80 unused", "10.0.0.3:80 unused"]);
}

#[test]
fn a_group_with_other_settings_is_the_same_group_and_changes_only_when_told() {
    let first = assemble(&web("9", &["10.0.0.1"]));
    let next = Document::parse(&web("8", &["10.0.0.2"])).unwrap();
    let next = next.assemble(&key(), Some(&first)).unwrap();
    assert_eq!(next.group("web"), first.group("web"));
    assert_eq!(ids(&first), ["10.0.0.1:80 unused"]);
    next.apply();
    assert_eq!(ids(&next), ["10.0.0.1:80 draining", "10.0.0.2:80 unused"]);
}

#[tokio::test]
async fn health_and_connections_outlive_a_change_of_settings() {
    let (port, mut heard) = backend().await;
    let text = |delay: &str, extra: Value| {
        let mut document: Value = serde_json::from_str(&web(delay, &["127.0.0.1"])).unwrap();
        document["TargetGroups"][0]["Port"] = port.into();
        document["LoadBalancerAttributes"] = extra;
        document.to_string()
    };
    let first = assemble(&text("9", json!([])));
    let balancer = balancer(&first, 8080);
    let mut changes = first.group("web").unwrap().changes();
    assert_eq!(heard.recv().await.unwrap()[header::USER_AGENT], "ELB-HealthChecker/2.0");
    std::future::poll_fn(|cx| futures_util::Stream::poll_next(std::pin::pin!(&mut changes), cx))
        .await
        .unwrap();
    assert_eq!(ask(&balancer).await.0.status, 200);
    let status = |assembly: &Assembly| assembly.group("web").unwrap().status().targets[0].clone();
    // The connection goes back to its pool when the target has said all.
    while status(&first).connections_idle == 0 {
        tokio::task::yield_now().await;
    }
    let before = status(&first);
    assert_eq!((before.state.to_string(), before.answered), ("healthy".to_owned(), 1));

    let next = Document::parse(&text("8", json!([]))).unwrap();
    let next = next.assemble(&key(), Some(&first)).unwrap();
    next.apply();
    next.listeners()[0].apply_to(&balancer);
    let after = status(&next);
    assert_eq!((after.state, after.answered), (before.state, before.answered));
    assert_eq!(after.connections_idle, before.connections_idle);
    assert_eq!(ask(&balancer).await.0.status, 200);

    // Other timeouts are another way to reach them: fresh connections, the same health.
    let idle = json!([{"Key": "idle_timeout.timeout_seconds", "Value": "7"}]);
    let last = Document::parse(&text("8", idle)).unwrap();
    let last = last.assemble(&key(), Some(&next)).unwrap();
    last.apply();
    last.listeners()[0].apply_to(&balancer);
    let after = status(&last);
    assert_eq!((after.state, after.answered, after.connections_idle), (before.state, 2, 0));
    assert_eq!(ask(&balancer).await.0.status, 200);
}

// Whatever is thrown at it.

/// Names and values that lead deep into a document.
fn word() -> impl Strategy<Value = String> {
    const WORDS: [&str; 40] = [
        "LoadBalancerAttributes",
        "SecurityGroups",
        "TargetGroups",
        "Listeners",
        "Key",
        "Value",
        "GroupId",
        "IpPermissions",
        "IpProtocol",
        "FromPort",
        "ToPort",
        "IpRanges",
        "CidrIp",
        "TargetGroupName",
        "Protocol",
        "Port",
        "Targets",
        "Id",
        "TargetGroupAttributes",
        "Matcher",
        "HttpCode",
        "DefaultActions",
        "Rules",
        "Priority",
        "Conditions",
        "Actions",
        "Type",
        "Field",
        "Values",
        "HostHeaderConfig",
        "ForwardConfig",
        "RedirectConfig",
        "forward",
        "redirect",
        "HTTP",
        "host-header",
        "web",
        "stickiness.enabled",
        "true",
        "10",
    ];
    prop_oneof![9 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => ".{0,9}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u32..100).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(9, 200, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word(), inner), 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Returns the way to each value below this one.
fn ways(value: &Value) -> Vec<String> {
    let children: Vec<(String, &Value)> = match value {
        Value::Array(items) => {
            items.iter().enumerate().map(|(i, item)| (format!("/{i}"), item)).collect()
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (format!("/{name}"), value)).collect()
        }
        _ => Vec::new(),
    };
    let below = |(way, child): (String, &Value)| {
        let deeper: Vec<_> = ways(child).iter().map(|rest| format!("{way}{rest}")).collect();
        std::iter::once(way).chain(deeper)
    };
    children.into_iter().flat_map(below).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_json_is_too_odd_to_be_refused(value in any_json()) {
        if let Ok(document) = Document::parse(&value.to_string()) {
            prop_assert!(document.assemble(&key(), None).is_ok());
        }
    }

    #[test]
    fn a_document_with_a_value_replaced_is_refused_in_lines_or_can_be_assembled(
        place in any::<prop::sample::Index>(),
        other in any_json(),
    ) {
        let mut document: Value = serde_json::from_str(&read("everything.json")).unwrap();
        let ways = ways(&document);
        *document.pointer_mut(place.get::<String>(&ways)).unwrap() = other;
        match Document::parse(&document.to_string()) {
            Ok(document) => prop_assert!(document.assemble(&key(), None).is_ok()),
            Err(invalid) => {
                prop_assert!(!invalid.errors().is_empty());
                prop_assert_eq!(invalid.to_string().lines().count(), invalid.errors().len());
            }
        }
    }

    #[test]
    fn a_misspelt_field_is_named(place in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let mut document: Value = serde_json::from_str(&read("everything.json")).unwrap();
        let fields: Vec<_> = ways(&document)
            .into_iter()
            .filter(|way| !way.rsplit('/').next().unwrap().bytes().all(|b| b.is_ascii_digit()))
            .collect();
        let (parent, name) = place.get::<String>(&fields).rsplit_once('/').unwrap();
        let object = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        let value = object.remove(name).unwrap();
        let mut misspelt = name.to_owned();
        misspelt.insert(at.index(name.len() + 1), 'q');
        object.insert(misspelt.clone(), value);
        let invalid = Document::parse(&document.to_string()).unwrap_err().to_string();
        let unknown = invalid.lines().find(|line| line.contains("unknown field")).unwrap();
        prop_assert!(unknown.contains(&misspelt), "{}", invalid);
        prop_assert!(unknown.ends_with(&format!("did you mean {name}?")), "{}", invalid);
    }
}
