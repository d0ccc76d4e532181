//! An embeddable application load balancer.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod algorithm;
pub mod body;
pub mod clock;
pub mod endpoint;
pub mod error;
pub mod head;
pub mod health;
pub mod id;
pub mod lease;
pub mod outcome;
pub mod probe;
pub mod rng;
pub mod stickiness;
pub mod target;

pub use body::Body;
pub use head::Peer;
pub use target::Target;
