//! An embeddable application load balancer: AWS ALB's data plane as tower layers.
//!
//! Rules choose a target group, the group chooses a healthy target by an algorithm or a session, the
//! request is forwarded. [`LoadBalancer`] is all of it as one tower `Service` that any Rust HTTP
//! server can wrap around its backends:
//!
//! ```
//! # async fn about() -> &'static str { "about" }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use axum::routing::get;
//! use pointsman::{HealthCheck, LoadBalancer, RuleTable, Target, TargetGroup};
//!
//! let web = TargetGroup::builder("web").health_check(HealthCheck::http("/health")).build()?;
//! web.register(Target::new("127.0.0.1:3001".parse()?));
//! web.register(Target::new("127.0.0.1:3002".parse()?));
//! let balancer = LoadBalancer::new(RuleTable::forward_to(&web));
//! let app: axum::Router =
//!     axum::Router::new().route("/about", get(about)).fallback_service(balancer);
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! # The way of a request
//!
//! A request falls through floors, each a tower layer in [`layer`], in this order:
//!
//! | floor | decides |
//! |---|---|
//! | `Respond` | how an error is answered; what is above never sees one |
//! | `Rules` | which group, or an answer at once ([`rule`]) |
//! | `Sticky` | which target this client had ([`stickiness`]) |
//! | `Retry` | whether another target gets what was not sent, or what a group's policy lets be sent twice |
//! | `Select` | which target ([`group`], [`algorithm`]); the exchange counts from here on |
//! | `Health` | which outcomes count against the target |
//! | `Forward` | how it is sent ([`endpoint`]) |
//!
//! Whoever chooses the target himself takes the first and the last of them:
//! [`layer::ForwardTo`].
//!
//! # Who the client is
//!
//! Whoever accepts a connection knows it: give it as a [`Peer`], once a connection by
//! [`LoadBalancer::for_peer`], or found in the extensions of a request by
//! [`LoadBalancerBuilder::peer`](balancer::LoadBalancerBuilder::peer). Without one nobody vouches for
//! X-Forwarded-\*: what a client sent under these names is dropped, nothing is written, and rules with a
//! source-ip condition answer 500 rather than guess.
//!
//! No proxy in front is believed unless it is named:
//! [`HttpOptions::trusted_proxies`](proxy::HttpOptions::trusted_proxies) says by their addresses which
//! are, and then rules, sessions and targets see the client that the proxy speaks for.
//!
#![doc = include_str!("limits.md")]
//!
//! # WebSocket
//!
//! A WebSocket is a tunnel: once the target has answered 101, bytes are carried as they are, without a
//! look at them, to targets and to services in this process alike. It counts as in flight until both
//! sides have ended; it is closed when neither sends for as long as a body may stall, and at the
//! deregistration delay. Other protocols are named by [`HttpOptions`](proxy::HttpOptions::upgrade).
//!
//! The server in front must be able to let go of a connection: axum's can, `pointsman::server` can, and
//! hyper's can `with_upgrades`.
//!
//! # Tasks
//!
//! A request runs where it is called. What lasts longer is a task on the runtime of the request that
//! began it: one for each connection to a target, one for each tunnel, one for a target in this process
//! while it drains. Checking is one task a group. A name is looked up on one of the runtime's threads for
//! what blocks.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `sticky` | yes | the load-balancer cookie, sealed by AES-256-GCM |
//! | `gateway` | no | an ELBv2 document in ALB's own vocabulary, read, checked and run: `pointsman::gateway` |
//! | `server` | no | a minimal server for those who have none: `pointsman::server` |
#![cfg_attr(docsrs, feature(doc_cfg))]
// Strangers' traffic must not make us panic; tests and examples may.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stderr,
        clippy::print_stdout,
        clippy::string_slice,
        clippy::unwrap_used
    )
)]

#[cfg(feature = "gateway")]
#[cfg_attr(docsrs, doc(cfg(feature = "gateway")))]
pub mod gateway;
#[cfg(feature = "server")]
pub mod server;
pub mod balancer;
pub mod layer;
pub(crate) mod check;
pub mod rule;
pub mod group;
pub mod algorithm;
pub mod stickiness;
pub mod probe;
pub mod target;
pub mod health;
pub mod endpoint;
pub mod proxy;
pub mod error;
pub mod body;
pub mod lease;
pub mod outcome;
pub mod id;
pub mod head;
pub mod cidr;
pub(crate) mod field;
pub(crate) mod grammar;
pub mod clock;
pub mod rng;

pub use balancer::LoadBalancer;
pub use body::Body;
pub use group::{HealthCheck, TargetGroup};
pub use head::Peer;
pub use rule::RuleTable;
pub use target::Target;

/// The README's example is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
