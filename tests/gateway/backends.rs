//! Servers that people have behind a load balancer, each behind the example: the same is asked of all.

use std::{collections::HashSet, convert::Infallible, net::SocketAddr};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pointsman::Body;

use super::{
    checked, forward, start,
    support::{
        Server,
        programs::{Port, flask, nginx, python},
        socket::{Socket, field, status},
        soon,
    },
};

/// How many requests are sent to see that connections are used again, and how many connections they
/// may take. One is enough for each target, unless it is not yet back when the next request comes.
const REQUESTS: usize = 30;
const CONNECTIONS_MAX: usize = 10;

/// What /large is.
fn large() -> String {
    (0..1_000_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect()
}

/// Asks targets for all that they must answer:
///
/// | | |
/// |---|---|
/// | `/health` | 200 if the Host is the target's own address, else 400, as Django does it |
/// | `/hello` | `hello`, also its head alone |
/// | `/echo` | what was posted |
/// | `/large` | a megabyte |
/// | `/seen` | X-Forwarded-For, -Proto, -Port, and Host |
/// | `/connection` | the port from which the target is asked |
async fn check(targets: &[SocketAddr]) {
    let (mut gateway, port) = start(&[checked("web", targets)], &forward("web")).await;
    let said = gateway.turned(targets, "healthy").await;
    assert_eq!(said.matches(" old=initial new=healthy").count(), targets.len(), "{said}");

    let mut socket = Socket::connect(port.address).await;
    let mut ask = async |method: Method, path: &str, body: &str| {
        let length = body.len();
        let fields = "Host: a.test\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https";
        let head = format!("{method} {path} HTTP/1.1\r\n{fields}\r\nContent-Length: {length}");
        socket.send(format!("{head}\r\n\r\n{body}")).await.unwrap();
        if method == Method::HEAD {
            return (socket.head().await, String::new());
        }
        soon("an answer", socket.answer()).await
    };
    let (posted, large) = ("what was posted, ".repeat(100) + "all of it", large());
    let ours = port.address.port();
    let seen = format!("192.0.2.1, 127.0.0.1 http {ours} a.test:{ours}");
    let exchanges = [
        (Method::GET, "/hello", "", "hello"),
        (Method::POST, "/echo", &*posted, &*posted),
        (Method::HEAD, "/hello", "", ""),
        (Method::GET, "/large", "", &*large),
        (Method::GET, "/seen", "", &*seen),
    ];
    // Their number is odd, so that in as many turns as there are targets each gets all of them.
    for _ in targets {
        for (method, path, body, expected) in exchanges.clone() {
            let (head, answer) = ask(method.clone(), path, body).await;
            assert_eq!(status(&head), 200, "{method} {path}: {head}");
            assert!(answer == expected, "{method} {path}: {answer:.200}");
            let length = if method == Method::HEAD { "hello".len() } else { expected.len() };
            assert_eq!(field(&head, "content-length"), Some(&*length.to_string()), "{head}");
        }
    }
    let mut connections = HashSet::new();
    for _ in 0..REQUESTS {
        connections.insert(ask(Method::GET, "/connection", "").await.1);
    }
    assert!((targets.len()..=CONNECTIONS_MAX).contains(&connections.len()), "{connections:?}");
}

async fn answer(
    request: Request<Incoming>,
    here: SocketAddr,
    from: SocketAddr,
) -> Result<Response<Body>, Infallible> {
    let field = |name| request.headers().get(name).map_or("", |value| value.to_str().unwrap());
    let (path, host) = (request.uri().path(), field("host"));
    let mut response = Response::new(Body::default());
    *response.body_mut() = match path {
        "/health" if host == here.to_string() => Body::from("well"),
        "/hello" => Body::from("hello"),
        "/large" => Body::from(large()),
        "/connection" => Body::from(from.port().to_string()),
        "/seen" => {
            let seen = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port"].map(field);
            Body::from(format!("{} {host}", seen.join(" ")))
        }
        "/echo" => Body::from(request.into_body().collect().await.unwrap().to_bytes()),
        _ => {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            Body::default()
        }
    };
    Ok(response)
}

#[tokio::test]
async fn two_hyper_servers_serve_through_the_example() {
    let server = || {
        Server::accept(([127, 0, 0, 1], 0).into(), |stream, from, _| async move {
            let here = stream.local_addr().unwrap();
            let service = service_fn(move |request| answer(request, here, from));
            _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        })
    };
    let (one, two) = (server().await, server().await);
    check(&[one.address, two.address]).await;
}

/// What was posted is at hand only where it is passed on: it takes a second turn, in a field.
const NGINX: &str = r#"
server {
    listen {address};
    location = /health { if ($http_host != "{address}") { return 400; } return 200 well; }
    location = /hello { return 200 hello; }
    location = /echo { proxy_set_header X-Body $request_body; proxy_pass http://{address}/body; }
    location = /body { return 200 $http_x_body; }
    location = /large { root {dir}; }
    location = /seen {
        return 200 "$http_x_forwarded_for $http_x_forwarded_proto $http_x_forwarded_port $http_host";
    }
    location = /connection { return 200 $remote_port; }
}
"#;

#[tokio::test]
async fn nginx_serves_through_the_example() {
    let port = Port::reserve();
    let servers = NGINX.replace("{address}", &port.address.to_string());
    let Some(_nginx) = nginx(&servers, &[&port], &[("large", large().as_bytes())]).await else {
        return;
    };
    check(&[port.address]).await;
}

const PYTHON: &str = r#"
import http.server

large = bytes(97 + n % 23 for n in range(1_000_000))

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        seen = [self.headers[name] for name in
                ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host")]
        posted = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answers = {
            "/hello": b"hello",
            "/echo": posted,
            "/large": large,
            "/seen": " ".join(map(str, seen)).encode(),
            "/connection": str(self.client_address[1]).encode(),
        }
        if seen[-1] == f"127.0.0.1:{self.server.server_port}":
            answers["/health"] = b"well"
        answer = answers.get(self.path, b"")
        self.send_response(200 if self.path in answers else 400)
        self.send_header("Content-Length", len(answer))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_HEAD = do_POST = do_GET

    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

#[tokio::test]
async fn a_python_server_serves_through_the_example() {
    let Some((_python, address)) = python(PYTHON, &[]).await else { return };
    check(&[address]).await;
}

const FLASK: &str = r#"
from flask import Flask, request

app = Flask(__name__)
large = bytes(97 + n % 23 for n in range(1_000_000))

@app.get("/health")
def health():
    return ("well", 200) if request.host == "{address}" else ("", 400)

@app.get("/hello")
def hello():
    return "hello"

@app.post("/echo")
def echo():
    return request.get_data()

@app.get("/large")
def send_large():
    return large

@app.get("/seen")
def seen():
    names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Port", "Host")
    return " ".join(request.headers[name] for name in names)

@app.get("/connection")
def connection():
    return request.environ["REMOTE_PORT"]
"#;

#[tokio::test]
async fn a_flask_app_under_gunicorn_serves_through_the_example() {
    let port = Port::reserve();
    let script = FLASK.replace("{address}", &port.address.to_string());
    let Some(_gunicorn) = flask(&script, &port).await else { return };
    check(&[port.address]).await;
}
