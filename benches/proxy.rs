//! What a request through the whole balancer costs the processor, beside the barest proxy that hyper
//! makes: the same server, pool and header work without rules, groups, checks, counts or deadlines.
//!
//! `cargo bench --bench proxy`
//!
//! Each proxy has a thread and a runtime of its own, whose time the kernel keeps for us; clients and
//! backends share another thread. Time is compared within a round, and what counts is the median
//! over the rounds: the machine's moods then fall on both. Linux only.
//!
//! With `--requests N PROXY` it sends so many requests over one connection and measures nothing. Two
//! such runs under a tool that counts instructions tell what a request costs, to the percent:
//!
//! ```text
//! valgrind --tool=callgrind --separate-threads=yes \
//!     target/release/deps/proxy-HASH --requests 1000 balancer
//! ```

mod support;

use std::{
    env, fs,
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use pointsman::{
    Body, HealthCheck, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    endpoint::{Endpoint, Transport},
    error::Error,
    proxy::{self, HttpOptions},
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::JoinSet,
};

use support::{
    settings::proxy as settings,
    table::{Table, Unit},
    timing::{is_rehearsal, median},
    wire::{self, Client},
};

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let backends = [wire::listen(), wire::listen()].map(|(listener, address)| {
        runtime.spawn(wire::serve(listener, wire::answer_of(settings::ANSWER)));
        address
    });
    let mut arguments = env::args().skip_while(|argument| argument != "--requests").skip(1);
    if let Some(requests) = arguments.next() {
        let name = arguments.next().unwrap_or_default();
        let Some(kind) = KINDS.into_iter().find(|kind| kind.name() == name) else {
            panic!("no proxy {name:?}: expected one of {:?}", KINDS.map(Kind::name));
        };
        let requests = requests.parse().unwrap();
        let proxy = Proxy::start(kind, backends);
        runtime
            .block_on(async { Load::connect(&proxy, 1).await.run(Until::Count(requests)).await });
        return ExitCode::SUCCESS;
    }
    let mut table = Table::new("proxy, time of the processor for a request");
    if !Path::new("/proc/thread-self/schedstat").exists() {
        println!("skipped: this kernel does not say how long a thread ran");
        return table.finish();
    }
    let proxies = KINDS.map(|kind| Proxy::start(kind, backends));
    for connections in settings::CONNECTIONS {
        compare(&mut table, &runtime, &proxies, connections);
    }
    table.finish()
}

/// Lets the proxies take turns; all are compared with the first.
fn compare(table: &mut Table, runtime: &Runtime, proxies: &[Proxy], connections: usize) {
    let (rounds, turn, warm_up) = match is_rehearsal() {
        true => (1, Duration::from_millis(20), Duration::ZERO),
        false => (settings::ROUNDS, settings::TURN, settings::WARM_UP),
    };
    let connect = |proxy: &Proxy| runtime.block_on(Load::connect(proxy, connections));
    let mut loads = proxies.iter().map(connect).collect::<Vec<_>>();
    for load in &mut loads {
        runtime.block_on(load.run(Until::Passed(warm_up)));
    }
    let mut times = vec![Vec::with_capacity(rounds); proxies.len()];
    for round in 0..rounds {
        // Not always the same one first: what it leaves in the caches helps or hinders the next.
        for place in (0..proxies.len()).map(|place| (place + round) % proxies.len()) {
            let before = proxies[place].processor_time();
            let requests = runtime.block_on(loads[place].run(Until::Passed(turn)));
            let spent = proxies[place].processor_time() - before;
            times[place].push(spent.as_secs_f64() * 1e6 / requests as f64);
        }
    }
    let plural = if connections == 1 { "" } else { "s" };
    for (place, (proxy, of_proxy)) in proxies.iter().zip(&times).enumerate() {
        let what = format!("{}, {connections} connection{plural}", proxy.kind.name());
        table.say(what, median(of_proxy.iter().copied()), Unit::Microseconds);
        if place > 0 {
            let ratio = median(of_proxy.iter().zip(&times[0]).map(|(time, bare)| time / bare));
            let what = format!("  in that of {}", proxies[0].kind.name());
            table.hold(what, ratio, settings::RATIO_MAX, Unit::Times);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// hyper on both sides, targets in turn, and the header work.
    Bare,
    /// The balancer: a rule, a group that is checked, round robin.
    Balancer,
    /// The same with sessions, which the clients keep.
    #[cfg(feature = "sticky")]
    Sticky,
}

#[cfg(feature = "sticky")]
const KINDS: [Kind; 3] = [Kind::Bare, Kind::Balancer, Kind::Sticky];
#[cfg(not(feature = "sticky"))]
const KINDS: [Kind; 2] = [Kind::Bare, Kind::Balancer];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Balancer => "balancer",
            #[cfg(feature = "sticky")]
            Self::Sticky => "sticky",
        }
    }
}

/// A proxy that runs on a thread of its own.
struct Proxy {
    kind: Kind,
    address: SocketAddr,
    /// Where the kernel says how long the thread ran.
    schedstat: String,
}

impl Proxy {
    fn start(kind: Kind, backends: [SocketAddr; 2]) -> Self {
        let (listener, address) = wire::listen();
        let (tell, told) = mpsc::channel();
        wire::on_a_thread(kind.name(), async move {
            let thread = fs::read_link("/proc/thread-self").unwrap();
            tell.send(format!("/proc/{}/schedstat", thread.display())).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            match kind {
                Kind::Bare => forward(listener, backends).await,
                Kind::Balancer => balance(listener, backends, group()).await,
                #[cfg(feature = "sticky")]
                Kind::Sticky => balance(listener, backends, group().stickiness(cookie())).await,
            }
        });
        Self { kind, address, schedstat: told.recv().unwrap() }
    }

    fn processor_time(&self) -> Duration {
        let figures = fs::read_to_string(&self.schedstat).unwrap();
        let nanoseconds = figures.split_whitespace().next().unwrap();
        Duration::from_nanos(nanoseconds.parse().unwrap())
    }
}

/// Clients of a proxy, each with its connection.
struct Load {
    clients: Vec<Client>,
    is_sticky: bool,
}

#[derive(Clone, Copy)]
enum Until {
    Passed(Duration),
    Count(usize),
}

impl Load {
    async fn connect(proxy: &Proxy, connections: usize) -> Self {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(proxy.address).await);
        }
        Self { clients, is_sticky: proxy.kind.name() == "sticky" }
    }

    /// Keeps all connections busy, and returns how many requests were answered.
    async fn run(&mut self, until: Until) -> usize {
        let started = Instant::now();
        let sent = Arc::new(AtomicUsize::new(0));
        let mut busy = JoinSet::new();
        for mut client in self.clients.drain(..) {
            let (sent, is_sticky) = (Arc::clone(&sent), self.is_sticky);
            busy.spawn(async move {
                loop {
                    client.get(settings::ANSWER).await;
                    assert_eq!(client.has_session(), is_sticky);
                    let sent = sent.fetch_add(1, Ordering::Relaxed) + 1;
                    let over = match until {
                        Until::Passed(time) => started.elapsed() >= time,
                        Until::Count(requests) => sent >= requests,
                    };
                    if over {
                        return client;
                    }
                }
            });
        }
        self.clients = busy.join_all().await;
        sent.load(Ordering::Relaxed)
    }
}

/// Forwards, and does nothing else.
async fn forward(listener: TcpListener, backends: [SocketAddr; 2]) {
    let pools = backends.map(|address| {
        let target = Target::new(address);
        Arc::new(Endpoint::new(target.address().clone(), Transport::default(), Arc::default()))
    });
    let turn = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, peer) = accept(&listener).await;
        let (pools, turn) = (pools.clone(), Arc::clone(&turn));
        let service = service_fn(move |request: Request<Incoming>| {
            let pool = Arc::clone(&pools[turn.fetch_add(1, Ordering::Relaxed) % pools.len()]);
            async move {
                let mut request = request.map(Body::new);
                proxy::toward_targets(&mut request, Some(&peer), &HttpOptions::default());
                let mut response = pool.send(request).await?;
                proxy::toward_client(&mut response, &HttpOptions::default());
                Ok::<_, Error>(response)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Balances as a program does that embeds the balancer.
async fn balance(
    listener: TcpListener,
    backends: [SocketAddr; 2],
    group: pointsman::group::TargetGroupBuilder,
) {
    let group = group.build().unwrap();
    group.set_targets(backends.map(Target::new));
    let balancer = LoadBalancer::new(RuleTable::forward_to(&group));
    loop {
        let (stream, peer) = accept(&listener).await;
        let service = TowerToHyperService::new(balancer.for_peer(peer));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    let (stream, client) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    let peer = Peer::new(client).local(stream.local_addr().unwrap());
    (stream, peer)
}

fn group() -> pointsman::group::TargetGroupBuilder {
    TargetGroup::builder("web").health_check(HealthCheck::http("/health"))
}

#[cfg(feature = "sticky")]
fn cookie() -> pointsman::stickiness::LoadBalancerCookie {
    use pointsman::stickiness::{CookieKey, LoadBalancerCookie};
    LoadBalancerCookie::builder(CookieKey::generate().unwrap()).build().unwrap()
}
