//! A backend process that is killed while many ask, and that comes back.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use http::Response;
use pointsman::{
    Body, HealthCheck, LoadBalancer, RuleTable, Target, TargetGroup, group::HealthChanges,
    health::State, id::TargetId, probe::Probe, target::Member,
};
use tokio::{net::TcpStream, task::JoinSet};
use tower::BoxError;

use crate::support::{
    MANY_SOCKETS, Server, at_rest,
    programs::{Port, Process, python},
    socket::{Socket, status},
    soon, until,
};

const CLIENTS: usize = 64;

/// So many make the kernel take some milliseconds.
const BETWEEN: usize = 3000;

/// A server that keeps connections. Each answer is one write, so that it has begun or has not.
///
/// Linux closes the descriptors of a process that was killed one by one from the highest down: the
/// connections, then what lies between, which makes it last, and the socket that listens, over which
/// connections are let in all the while.
const PYTHON: &str = r#"
import http.server, resource, socket, sys
name, port, between = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(name)))
        self.end_headers()
        self.wfile.write(name.encode())
        self.wfile.flush()
    def log_message(self, *arguments):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
server = Server(("127.0.0.1", port), Handler)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
between = [socket.socket() for _ in range(min(between, hard - 500))]
print(server.server_port, flush=True)
server.serve_forever()
"#;

async fn backend(name: &str, address: SocketAddr) -> Option<Process> {
    let arguments = [name, &address.port().to_string(), &BETWEEN.to_string()];
    Some(python(PYTHON, &arguments).await?.0)
}

/// What the clients saw: how often each name or error came.
#[derive(Default)]
struct Seen(Mutex<BTreeMap<String, usize>>);

impl Seen {
    fn note(&self, what: String) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }

    fn count(&self, what: &str) -> usize {
        self.0.lock().unwrap().get(what).copied().unwrap_or(0)
    }
}

/// A check that remembers which target answered it, and what was thought of that before.
#[derive(Clone, Debug, Default)]
struct Remembered(Arc<Mutex<Vec<(TargetId, State)>>>);

impl Probe for Remembered {
    fn check<'a>(
        &'a self,
        member: &'a Member,
    ) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send + 'a>> {
        Box::pin(async {
            let state = member.health().state();
            let stream = TcpStream::connect(member.endpoint().address().to_string()).await?;
            let mut socket = Socket::new(stream);
            socket.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await?;
            socket.try_head().await.ok_or("no answer")?;
            self.0.lock().unwrap().push((member.id().clone(), state));
            Ok(())
        })
    }
}

async fn turned(changes: &mut HealthChanges, target: SocketAddr, state: State) {
    let turned = async {
        while let Some(change) = changes.next().await {
            if *change.target == *target.to_string() && change.new == state {
                return;
            }
        }
    };
    soon("a change of health", turned).await;
}

#[tokio::test]
async fn a_backend_killed_under_64_clients_costs_no_get_and_takes_its_share_when_it_is_back() {
    let _alone = MANY_SOCKETS.lock().await;
    // Held for all of the test, so that nobody gets the port while its server is dead.
    let ports = (Port::reserve(), Port::reserve());
    let (one, two) = (ports.0.address, ports.1.address);
    let Some(mut killed) = backend("one", one).await else { return };
    let _two = backend("two", two).await;
    let checks = Remembered::default();
    let check = HealthCheck::probe(checks.clone())
        .interval(Duration::from_millis(300))
        .healthy_threshold(2)
        .unhealthy_threshold(2);
    let group = TargetGroup::builder("web").health_check(check).build().unwrap();
    // The clients are told what went wrong, so that the test can tell which loss is one too many.
    let balancer = LoadBalancer::builder()
        .on_error(|error| {
            let mut response = Response::new(Body::from(error.to_string()));
            *response.status_mut() = error.status();
            response
        })
        .build(RuleTable::forward_to(&group));
    let server = Server::balancing(&balancer).await;

    group.register(Target::new(one));
    group.register(Target::new(two));
    group.until_healthy(2).await;
    let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (seen, stop, address) = (Arc::clone(&seen), Arc::clone(&stop), server.address);
        clients.spawn(async move {
            let mut socket = Socket::connect(address).await;
            while !stop.load(Ordering::Relaxed) {
                socket.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
                let (head, body) = socket.answer().await;
                seen.note(if status(&head) == 200 { body } else { head + &body });
            }
        });
    }
    until("one is busy", || seen.count("one") > 5 * CLIENTS).await;
    let mut changes = group.changes();
    killed.kill().await;
    turned(&mut changes, one, State::Unhealthy).await;

    let _one = backend("one again", one).await;
    turned(&mut changes, one, State::Healthy).await;
    let (one, down) = (TargetId::from(one.to_string()), State::Unhealthy);
    let needed =
        checks.0.lock().unwrap().iter().filter(|check| **check == (one.clone(), down)).count();
    assert_eq!(needed, 2, "so many checks made it healthy again");
    let (before, again) = (seen.count("two"), seen.count("one again"));
    until("both are busy", || seen.count("two") > before + 500).await;
    // What is under way while they are counted is no more than there are clients.
    let (one, two) = (seen.count("one again") - again, seen.count("two") - before);
    assert!(one.abs_diff(two) < 100, "{one} for one while two had {two}");

    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    at_rest(&group).await;
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["one", "one again", "two"], "{seen:?}");
}
