//! What this crate makes: the barest proxy over its pool, the balancer, and the balancer as somebody
//! has it who takes the crate's server too. Each runs on a thread with a runtime of its own, or alone
//! in a child.

use std::{
    env,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use pointsman::{
    Body, HealthCheck, LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    endpoint::{Endpoint, Transport},
    error::Error,
    group::TargetGroupBuilder,
    proxy::{self, HttpOptions},
};
use tokio::net::{TcpListener, TcpStream};

use crate::{child::Child, contestant::Contestant, cpu::Processor, support::wire};

/// Tells this program to be one of us: `--serve NAME TARGET TARGET`.
pub const SERVE: &str = "--serve";

#[derive(Clone, Copy, PartialEq)]
pub enum Ours {
    /// hyper on both sides, targets in turn, and the header work.
    Bare,
    /// The balancer: a rule, a group that is checked, round robin.
    Balancer,
    /// The same with sessions, which the clients keep.
    #[cfg(feature = "sticky")]
    Sticky,
    /// The balancer behind the crate's own server.
    #[cfg(feature = "server")]
    Server,
}

impl Ours {
    const ALL: &[Self] = &[
        Self::Bare,
        Self::Balancer,
        #[cfg(feature = "sticky")]
        Self::Sticky,
        #[cfg(feature = "server")]
        Self::Server,
    ];

    /// Whose time and instructions are told. The first is what all others are compared with.
    pub const COMPARED: &[Self] = &[
        Self::Bare,
        Self::Balancer,
        #[cfg(feature = "sticky")]
        Self::Sticky,
    ];

    /// Whose memory is told.
    pub const WEIGHED: &[Self] = &[
        Self::Bare,
        Self::Balancer,
        #[cfg(feature = "server")]
        Self::Server,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Balancer => "balancer",
            #[cfg(feature = "sticky")]
            Self::Sticky => "sticky",
            #[cfg(feature = "server")]
            Self::Server => "balancer and server",
        }
    }

    /// The one of a name; panics if there is none.
    pub fn named(name: &str) -> Self {
        let names = Self::ALL.iter().map(|ours| ours.name()).collect::<Vec<_>>();
        let found = Self::ALL.iter().find(|ours| ours.name() == name);
        *found.unwrap_or_else(|| panic!("no proxy {name:?}: expected one of {names:?}"))
    }

    /// Starts it on a thread of its own.
    pub fn on_a_thread(self, backends: [SocketAddr; 2]) -> Contestant {
        let (listener, address) = wire::listen();
        let (tell, told) = mpsc::channel();
        wire::on_a_thread(self.name(), async move {
            tell.send(Processor::of_this_thread()).unwrap();
            self.run(listener, backends).await;
        });
        self.contestant(address, told.recv().unwrap(), None)
    }

    /// Starts it alone in a child of this program.
    pub fn in_a_child(self, backends: [SocketAddr; 2]) -> Contestant {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([SERVE, self.name()]).args(backends.map(|backend| backend.to_string()));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut child = Child(child);
        let mut line = String::new();
        BufReader::new(child.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        self.contestant(address, Processor::of_process(child.0.id()), Some(child))
    }

    /// Is that child: tells where it listens, and ends with its parent, whose pipe closes then.
    pub fn serve_as_a_child(mut arguments: impl Iterator<Item = String>) {
        let mut next = || arguments.next().unwrap();
        let (ours, backends) = (Self::named(&next()), [next(), next()]);
        thread::spawn(|| {
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            std::process::exit(0);
        });
        let (listener, address) = wire::listen();
        println!("{address}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ours.run(listener, backends.map(|backend| backend.parse().unwrap())));
    }

    fn contestant(
        self,
        address: SocketAddr,
        processor: Processor,
        child: Option<Child>,
    ) -> Contestant {
        let (name, is_sticky) = (self.name(), self.is_sticky());
        Contestant { name, address, is_sticky, processor, child }
    }

    pub fn is_sticky(self) -> bool {
        self.name() == "sticky"
    }

    async fn run(self, listener: std::net::TcpListener, backends: [SocketAddr; 2]) {
        match self {
            Self::Bare => forward(listener, backends).await,
            Self::Balancer => balance(listener, &balancer(group(), backends)).await,
            #[cfg(feature = "sticky")]
            Self::Sticky => {
                let group = group().stickiness(cookie());
                balance(listener, &balancer(group, backends)).await;
            }
            #[cfg(feature = "server")]
            Self::Server => {
                use pointsman::server::Server;
                let server = Server::builder().listener(listener).build().unwrap();
                server.serve(balancer(group(), backends)).await;
            }
        }
    }
}

/// Forwards, and does nothing else.
async fn forward(listener: std::net::TcpListener, backends: [SocketAddr; 2]) {
    let listener = TcpListener::from_std(listener).unwrap();
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
async fn balance(listener: std::net::TcpListener, balancer: &LoadBalancer) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, peer) = accept(&listener).await;
        let service = balancer.for_peer(peer);
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, Peer) {
    let (stream, client) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    let peer = Peer::new(client).local(stream.local_addr().unwrap());
    (stream, peer)
}

fn balancer(group: TargetGroupBuilder, backends: [SocketAddr; 2]) -> LoadBalancer {
    let group = group.build().unwrap();
    group.set_targets(backends.map(Target::new));
    LoadBalancer::new(RuleTable::forward_to(&group))
}

fn group() -> TargetGroupBuilder {
    TargetGroup::builder("web").health_check(HealthCheck::http("/health"))
}

#[cfg(feature = "sticky")]
fn cookie() -> pointsman::stickiness::LoadBalancerCookie {
    use pointsman::stickiness::{CookieKey, LoadBalancerCookie};
    LoadBalancerCookie::builder(CookieKey::generate().unwrap()).build().unwrap()
}
