//! What the attributes of a load balancer do with clients' messages, and what ALB does without any.

use pointsman::gateway::{Document, Gateway};
use serde_json::{Value, json};

use super::{
    document, fixed, forward, group, listener, rule,
    support::{
        Server,
        programs::Port,
        socket::{Socket, field, status},
    },
};

fn with(document: &Value, attributes: &[(&str, &str)]) -> Document {
    let attribute = |(key, value): &(&str, &str)| json!({"Key": key, "Value": value});
    let mut document = document.clone();
    document["LoadBalancerAttributes"] = attributes.iter().map(attribute).collect();
    Document::parse(&document.to_string()).unwrap_or_else(|invalid| panic!("{invalid}"))
}

/// Sends a request, and returns the status and whether the connection goes on.
async fn ask(socket: &mut Socket, request: &str) -> (u16, bool) {
    socket.send(request).await.unwrap();
    let (head, _) = socket.answer().await;
    let close = field(&head, "connection") == Some("close");
    if close {
        assert_eq!(socket.rest().await, b"");
    }
    (status(&head), !close)
}

#[tokio::test]
async fn the_mode_and_the_dropping_of_fields_change_under_open_connections() {
    let port = Port::reserve();
    let invalid = json!({
        "Priority": 1,
        "Conditions": [{
            "Field": "http-header",
            "HttpHeaderConfig": {"HttpHeaderName": "x_a", "Values": ["*"]}
        }],
        "Actions": [fixed("seen")]
    });
    let document = document(&[], &[listener(port.address.port(), &fixed("not seen"), &[invalid])]);
    let (mode, drop) =
        ("routing.http.desync_mitigation_mode", "routing.http.drop_invalid_header_fields.enabled");
    let mut gateway = Gateway::start(&with(&document, &[]), port.address.ip()).unwrap();
    let mut open = Socket::connect(port.address).await;
    let odd = "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    let underscore = "GET / HTTP/1.1\r\nhost: a\r\nx_a: 1\r\n\r\n";
    let ambiguous = "GET / HTTP/1.1\r\nhost: a\r\ncontentlength: 0\r\n\r\n";
    let severe =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n";

    assert_eq!(ask(&mut open, odd).await, (200, true));
    open.send(underscore).await.unwrap();
    assert_eq!(open.answer().await.1, "seen");
    gateway.reload(&with(&document, &[(drop, "true"), (mode, "monitor")])).unwrap();
    open.send(underscore).await.unwrap();
    assert_eq!(open.answer().await.1, "not seen");
    assert_eq!(ask(&mut open, ambiguous).await, (200, true));
    assert_eq!(ask(&mut open, severe).await, (200, true));
    gateway.reload(&with(&document, &[(mode, "strictest")])).unwrap();
    assert_eq!(ask(&mut open, odd).await, (400, false));
    gateway.reload(&with(&document, &[])).unwrap();
    for (request, expected) in [(ambiguous, (200, false)), (severe, (400, false))] {
        let mut socket = Socket::connect(port.address).await;
        assert_eq!(ask(&mut socket, request).await, expected, "{request}");
    }
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_client_that_stalls_gets_albs_408() {
    let target = Server::by_hand(|mut socket, _| async move { _ = socket.rest().await }).await;
    let port = Port::reserve();
    let document = document(
        &[group("web", &[target.address])],
        &[listener(port.address.port(), &forward("web"), &[])],
    );
    let timeout = [("idle_timeout.timeout_seconds", "1")];
    let gateway = Gateway::start(&with(&document, &timeout), port.address.ip()).unwrap();
    // In its body, and in its head, of which hyper's server makes no request.
    for (request, title) in [
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nbo", "<title>408"),
        ("GET / HTTP/1.1\r\nhost: a", ""),
    ] {
        let mut socket = Socket::connect(port.address).await;
        socket.send(request).await.unwrap();
        let (head, page) = socket.answer().await;
        assert_eq!((status(&head), field(&head, "connection")), (408, Some("close")), "{head}");
        assert!(page.contains(title), "{page}");
        assert_eq!(socket.rest().await, b"");
    }
    gateway.shutdown().await;
}

#[tokio::test]
async fn what_no_target_may_get_is_refused_as_alb_does() {
    let port = Port::reserve();
    let redirect = json!({
        "Type": "redirect", "RedirectConfig": {"Path": "/to/#{path}", "StatusCode": "HTTP_302"}
    });
    let rules = [rule(1, "/moved*", &redirect)];
    let document = document(&[], &[listener(port.address.port(), &fixed("taken"), &rules)]);
    let gateway = Gateway::start(&with(&document, &[]), port.address.ip()).unwrap();
    let (long, proxies) = ("a".repeat(16 * 1024), vec!["1.1.1.1"; 31].join(", "));
    let fields = |count: usize| "x-a: b\r\n".repeat(count);
    for (request, expected) in [
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n".into(), 405),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx-a: {long}\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: {proxies}\r\n\r\n"), 463),
        ("POST / HTTP/1.1\r\nhost: a\r\nexpect: more\r\n\r\n".into(), 417),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
                .into(),
            501,
        ),
        // These two never get as far as a page of ours: hyper's server answers them.
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", fields(256)), 431),
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", long.repeat(4)), 431),
    ] {
        let mut socket = Socket::connect(port.address).await;
        socket.send(&request).await.unwrap();
        let (head, page) = socket.answer().await;
        assert_eq!(status(&head), expected, "{head}");
        assert_eq!(field(&head, "connection"), Some("close"), "{head}");
        assert!(page.contains(&format!("<title>{expected}")) || expected == 431, "{page}");
    }
    let mut socket = Socket::connect(port.address).await;
    let moved = |path: &str| format!("GET /moved{path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
    assert_eq!(ask(&mut socket, &moved("")).await, (302, true));
    assert_eq!(ask(&mut socket, &moved(&long[..8192])).await, (507, true));
    gateway.shutdown().await;
}
