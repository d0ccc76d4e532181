//! An embeddable application load balancer.
#![cfg_attr(docsrs, feature(doc_cfg))]

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
pub mod error;
pub mod body;
pub mod lease;
pub mod id;
pub mod outcome;
pub mod head;
pub mod clock;
pub mod rng;

pub use balancer::LoadBalancer;
pub use body::Body;
pub use group::{HealthCheck, TargetGroup};
pub use head::Peer;
pub use rule::RuleTable;
pub use target::Target;
