//! What a target receives of a head, byte for byte, under each option of the headers.

use pointsman::{
    LoadBalancer, RuleTable, Target, TargetGroup,
    cidr::Cidr,
    proxy::{ForwardedFor, HttpOptions, TraceIds, Via},
};
use tokio::net::TcpListener;

use crate::support::{Server, socket::Socket, soon};

/// Sends a head, but for its end, and compares what the target received.
///
/// In `received`, `{port}` is the port that the client connected to, `{client}` the one it came from,
/// and `{id}` a trace id.
async fn check(options: HttpOptions, head: &str, received: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::new(listener.local_addr().unwrap()));
    let balancer = LoadBalancer::builder().http(options).build(RuleTable::forward_to(&group));
    let server = Server::balancing(&balancer).await;

    let mut client = Socket::connect(server.address).await;
    client.send(format!("{head}\r\n")).await.unwrap();
    let mut target = Socket::new(soon("a connection", listener.accept()).await.unwrap().0);
    let found = with_ids(&target.head().await);
    target.send("HTTP/1.1 204 No Content\r\ndate: D\r\n\r\n").await.unwrap();
    client.head().await;
    let port = client.into_inner().local_addr().unwrap().port().to_string();
    let expected = format!("{received}\r\n")
        .replace("{port}", &server.address.port().to_string())
        .replace("{client}", &port);
    assert_eq!(found, expected, "of {head}");
}

/// Puts `{id}` where a trace id made just now stands.
fn with_ids(head: &str) -> String {
    let mut parts = head.split("=1-");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (id, rest) = part.split_at_checked(33).unwrap_or((part, ""));
        let is_made = id.as_bytes().get(8) == Some(&b'-')
            && id.bytes().filter(u8::is_ascii_hexdigit).count() == 32;
        text.push_str(&if is_made { format!("={{id}}{rest}") } else { format!("=1-{part}") });
    }
    text
}

fn trusting() -> HttpOptions {
    HttpOptions::new().trusted_proxies(["127.0.0.0/8".parse::<Cidr>().unwrap()])
}

/// Fields by which a client would pass for somebody else, and some that are its own affair.
const CLAIMS: &str = "GET / HTTP/1.1\r\n\
    Host: a.com\r\n\
    X-Forwarded-For: 203.0.113.1\r\n\
    X-Forwarded-Proto: https\r\n\
    X_Forwarded_For: 1.1.1.1\r\n\
    X.Forwarded.Proto: https\r\n\
    X-Amzn_Trace-Id: Root=1\r\n\
    X-Forwarded_Port: 5\r\n\
    Proxy: http://evil.example\r\n\
    Forwarded: for=203.0.113.1\r\n\
    X-Real-IP: 203.0.113.1\r\n\
    X-Amzn-Tls-Version: TLSv1.3\r\n\
    x_other: 1\r\n\
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    tracestate: a=b\r\n";

#[tokio::test]
async fn a_stranger_is_not_believed() {
    let received = "GET / HTTP/1.1\r\n\
        host: a.com\r\n\
        x-forwarded-for: 203.0.113.1, 127.0.0.1\r\n\
        x-forwarded-proto: http\r\n\
        tracestate: a=b\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
        x_other: 1\r\n\
        {amzn}\
        x-forwarded-port: {port}\r\n";
    let amzn = received.replace("{amzn}", "x-amzn-tls-version: TLSv1.3\r\n");
    check(HttpOptions::new(), CLAIMS, &amzn).await;
    let stripped = received.replace("{amzn}", "");
    check(HttpOptions::new().strip_amzn_headers(true), CLAIMS, &stripped).await;
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    check(
        trusting().strip_amzn_headers(true),
        CLAIMS,
        "GET / HTTP/1.1\r\n\
         host: a.com\r\n\
         x-forwarded-for: 203.0.113.1, 127.0.0.1\r\n\
         x-forwarded-proto: https\r\n\
         tracestate: a=b\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
         x_other: 1\r\n\
         x-amzn-tls-version: TLSv1.3\r\n\
         x-real-ip: 203.0.113.1\r\n\
         forwarded: for=203.0.113.1\r\n\
         x-forwarded-port: 443\r\n",
    )
    .await;
}

#[tokio::test]
async fn x_forwarded_for_is_appended_to_preserved_or_removed() {
    let told = "x-forwarded-proto: http\r\nx-forwarded-port: {port}\r\n";
    let check = async |options: HttpOptions, came: &str, goes: &str| {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n";
        check(options, &format!("{get}{came}"), &format!("{get}{goes}{told}")).await;
    };
    let lines = "x-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 2.2.2.2, ::1\r\n";
    let port = || HttpOptions::new().forwarded_for_port(true);
    check(HttpOptions::new(), "", "x-forwarded-for: 127.0.0.1\r\n").await;
    let joined = "x-forwarded-for: 1.1.1.1, 2.2.2.2, ::1, 127.0.0.1";
    check(HttpOptions::new(), lines, &format!("{joined}\r\n")).await;
    check(port(), lines, &format!("{joined}:{{client}}\r\n")).await;
    check(port().forwarded_for(ForwardedFor::Preserve), lines, lines).await;
    check(port().forwarded_for(ForwardedFor::Preserve), "", "").await;
    check(port().forwarded_for(ForwardedFor::Remove), lines, "").await;
}

#[tokio::test]
async fn a_trace_id_the_standards_fields_and_albs_host_are_written_if_asked() {
    let options = HttpOptions::new()
        .trace_ids(TraceIds::new())
        .forwarded(true)
        .via(Via::new("edge").unwrap())
        .preserve_host_header(false);
    check(
        options.clone(),
        "GET / HTTP/1.1\r\nHost: A.com\r\n",
        "GET / HTTP/1.1\r\n\
         host: a.com:{port}\r\n\
         x-amzn-trace-id: Root={id}\r\n\
         x-forwarded-for: 127.0.0.1\r\n\
         x-forwarded-proto: http\r\n\
         x-forwarded-port: {port}\r\n\
         forwarded: for=127.0.0.1;proto=http;host=\"A.com\"\r\n\
         via: 1.1 edge\r\n",
    )
    .await;
    check(
        options,
        "GET http://B.com:81/x HTTP/1.1\r\n\
         Host: A.com\r\n\
         Connection: X-Amzn-Trace-Id, Via\r\n\
         X-Amzn-Trace-Id: Root=1-x-y;Self=1-0-1\r\n\
         Via: 1.0 a\r\n\
         X-Amzn-Trace-Id: CalledFrom=app\r\n",
        "GET /x HTTP/1.1\r\n\
         host: b.com:81\r\n\
         via: 1.0 a, 1.1 edge\r\n\
         x-amzn-trace-id: Self={id};Root=1-x-y;CalledFrom=app\r\n\
         x-forwarded-for: 127.0.0.1\r\n\
         x-forwarded-proto: http\r\n\
         x-forwarded-port: {port}\r\n\
         forwarded: for=127.0.0.1;proto=http;host=\"B.com:81\"\r\n",
    )
    .await;
}
