//! Who answers: targets of many makes take turns, however they are named and however many ask.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get as on_get};
use http::Request;
use pointsman::{Body, HealthCheck, Target, TargetGroup, endpoint::Transport};
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::support::{
    Front, MANY_SOCKETS, Server, client, fetch, get,
    programs::{self, Port, curl, nginx, python},
    socket::{Socket, status},
    within_limits,
};

/// Two targets, whose answers are `one` and `two`, are asked in turn.
async fn check(front: &Front) {
    let client = client();
    for _ in 0..5 {
        assert_eq!(get(&client, front.uri("/")).await, (200, "one".into()));
        assert_eq!(get(&client, front.uri("/")).await, (200, "two".into()));
    }
    front.at_rest().await;
    let answered = front.group.status().targets.iter().map(|t| t.answered).collect::<Vec<_>>();
    assert_eq!(answered, [5, 5]);
}

#[tokio::test]
async fn two_hyper_servers_take_turns() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    check(&Front::of([one.address, two.address]).await).await;
    assert_eq!((one.counts.opened(), two.counts.opened()), (1, 1), "connections are kept");
}

#[tokio::test]
async fn two_axum_servers_take_turns() {
    let mut addresses = Vec::new();
    for name in ["one", "two"] {
        let app = Router::new().route("/", on_get(move || async move { name }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, app).into_future());
    }
    check(&Front::of(addresses).await).await;
}

#[tokio::test]
async fn two_nginx_servers_take_turns() {
    let (one, two) = (Port::reserve(), Port::reserve());
    let servers = format!(
        "server {{ listen {}; location / {{ return 200 one; }} }}
         server {{ listen {}; location / {{ return 200 two; }} }}",
        one.address, two.address
    );
    let Some(_nginx) = nginx(&servers, &[&one, &two], &[]).await else { return };
    check(&Front::of([one.address, two.address]).await).await;
}

/// Python's own server, which speaks HTTP/1.0 and so ends each connection.
const PYTHON: &str = r#"
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(sys.argv[1].encode())
    def log_message(self, *arguments):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[tokio::test]
async fn two_python_servers_take_turns() {
    let Some((_one, one)) = python(PYTHON, &["one"]).await else { return };
    let Some((_two, two)) = python(PYTHON, &["two"]).await else { return };
    check(&Front::of([one, two]).await).await;
}

#[tokio::test]
async fn nginx_serves_a_file_whole_in_part_and_only_once() {
    let port = Port::reserve();
    let file = (0..1_000_000).map(|n| b'a' + (n % 23) as u8).collect::<Vec<_>>();
    let server = format!("server {{ listen {}; root {{dir}}; }}", port.address);
    let Some(_nginx) = nginx(&server, &[&port], &[("file", &file)]).await else { return };
    let (front, client) = (Front::of([port.address]).await, client());
    let ask = |fields: &[(&'static str, String)]| {
        let mut request = Request::get(front.uri("/file"));
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        fetch(&client, request.body(Body::default()).unwrap())
    };

    let (head, body) = ask(&[]).await;
    assert_eq!(head.status, 200);
    assert!(body.as_bytes() == file);
    let etag = head.headers["etag"].to_str().unwrap().to_owned();
    let (head, body) = ask(&[("if-none-match", etag)]).await;
    assert_eq!((head.status.as_u16(), &*body), (304, ""));
    let (head, body) = ask(&[("range", "bytes=23-45".into())]).await;
    assert_eq!((head.status.as_u16(), &*body), (206, "abcdefghijklmnopqrstuvw"));
    front.at_rest().await;
    assert_eq!(front.group.status().targets[0].answered, 3);
}

#[tokio::test]
async fn curl_gets_answers_of_both_targets_over_one_connection() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let front = Front::of([one.address, two.address]).await;
    let uri = &*front.uri("/");
    let Some(text) = curl(&["-w", " %{http_code} ", uri, uri, uri]).await else { return };
    assert_eq!(text, "one 200 two 200 one 200 ");
    assert_eq!(front.server.counts.opened(), 1);
    front.at_rest().await;
}

#[tokio::test]
async fn curl_uploads_a_file_with_a_length_and_in_chunks() {
    let echo = Server::answering(|request| async { http::Response::new(Body::new(request)) }).await;
    let front = Front::of([echo.address]).await;
    let directory = programs::Directory::new();
    let text = "0123456789abcde\n".repeat(20_000);
    let file = directory.write("file", &text);
    let (file, uri) = (file.to_str().unwrap(), &*front.uri("/"));
    // So large a body makes curl ask first by Expect: 100-continue.
    let Some(back) = curl(&["-T", file, uri]).await else { return };
    assert!(back == text);
    let back = curl(&["-T", file, "-H", "Transfer-Encoding: chunked", uri]).await.unwrap();
    assert!(back == text);
    front.at_rest().await;
}

#[tokio::test]
async fn a_target_by_name_is_looked_up() {
    let target = Server::named("one").await;
    let front = Front::of([]).await;
    let name = format!("localhost:{}", target.address.port());
    front.group.register(Target::host(&name).unwrap());
    assert_eq!(get(&client(), front.uri("/")).await, (200, "one".into()));
    front.at_rest().await;
    assert_eq!(front.group.status().target(&name).unwrap().answered, 1);
}

/// Looking a name up takes a thread, and there is one, which is taken.
#[test]
fn a_target_has_its_time_from_when_it_is_reached() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(within_limits(200, async |limit| {
        let target = Server::named("one").await;
        let transport = Transport::new().answer_timeout(limit);
        let front =
            Front::with(TargetGroup::builder("web").transport(transport).build().unwrap(), [])
                .await;
        let name = format!("localhost:{}", target.address.port());
        front.group.register(Target::host(&name).unwrap());
        let held = tokio::task::spawn_blocking(move || std::thread::sleep(limit * 11 / 10));
        let balancer = front.balancer.clone();
        let answer = balancer.oneshot(Request::new(Body::default())).await.unwrap();
        held.await.unwrap();
        answer.status().as_u16()
    }));
}

#[tokio::test]
async fn a_name_that_cannot_be_looked_up_is_502_and_said_so() {
    // A label is at most 63 octets long (RFC 1035 §2.3.4), so nobody is asked.
    let name = format!("{}.invalid", "a".repeat(64));
    let group = TargetGroup::builder("web").build().unwrap();
    group.register(Target::host(format!("{name}:80")).unwrap());
    let error = crate::deadlines::error_of(&group, Request::get("/")).await;
    assert_eq!(error.status(), 502);
    let text = error.to_string();
    let expected = format!("no connection to the target: look up {name}: failed to lookup address");
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test]
async fn while_a_name_cannot_be_looked_up_other_targets_and_open_connections_serve() {
    let target = Server::named("one").await;
    let front = Front::of([]).await;
    front.group.register(Target::host(format!("{}.invalid:80", "a".repeat(64))).unwrap());
    front.group.register(Target::new(target.address));
    let client = client();
    for method in ["GET", "POST"] {
        for _ in 0..4 {
            let request = Request::builder().method(method).uri(front.uri("/"));
            let (head, body) = fetch(&client, request.body("x".into()).unwrap()).await;
            assert_eq!((head.status.as_u16(), &*body), (200, "one"), "{method}");
        }
    }
    // What is open is used without asking again.
    let name = format!("localhost:{}", target.address.port());
    front.group.set_targets([Target::host(&name).unwrap()]);
    for _ in 0..4 {
        assert_eq!(get(&client, front.uri("/")).await.0, 200);
    }
    front.at_rest().await;
    assert_eq!(front.group.status().target(&name).unwrap().connections_idle, 1);
}

#[tokio::test]
async fn a_checked_target_that_is_gone_gets_no_more_requests() {
    let (one, two) = (Server::named("one").await, Server::named("two").await);
    let check = HealthCheck::http("/health").interval(Duration::from_millis(300));
    let group = TargetGroup::builder("web").health_check(check).build().unwrap();
    let front = Front::with(group, [one.address, two.address]).await;
    front.group.until_healthy(2).await;
    self::check(&front).await;
    drop(one);
    for _ in 0..6 {
        assert_eq!(get(&client(), front.uri("/")).await, (200, "two".into()));
    }
    crate::support::until("it is found out", || front.group.status().healthy() == 1).await;
    front.at_rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_get_each_their_own_answer_and_targets_their_even_share() {
    const CLIENTS: usize = 200;
    const REQUESTS: usize = 50;
    let _alone = MANY_SOCKETS.lock().await;
    let mut targets = Vec::new();
    for _ in 0..3 {
        let echo = |request: Request<hyper::body::Incoming>| async move {
            http::Response::new(Body::from(request.uri().to_string()))
        };
        targets.push(Server::answering(echo).await);
    }
    let front = Arc::new(Front::of(targets.iter().map(|target| target.address)).await);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let front = Arc::clone(&front);
        clients.spawn(async move {
            let mut socket = Socket::connect(front.address()).await;
            for number in 0..REQUESTS {
                let path = format!("/{client}/{number}");
                socket.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await.unwrap();
                let (head, body) = socket.answer().await;
                assert_eq!((status(&head), body), (200, path));
            }
        });
    }
    clients.join_all().await;
    front.at_rest().await;
    let answered = front.group.status().targets.iter().map(|t| t.answered).collect::<Vec<_>>();
    let seen = targets.iter().map(|t| t.counts.requests() as u64).collect::<Vec<_>>();
    assert_eq!(answered, [3334, 3333, 3333]);
    assert_eq!(seen, answered);
}
