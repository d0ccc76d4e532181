//! What a proxy owes the messages that pass through it (RFC 9110 §7): which it takes, and what it
//! changes in their heads.
//!
//! All of it is done once a request, before a target is picked; what depends on the target is
//! `layer/forward.rs`'s. What is settled here for all requests is [`HttpOptions`].

mod screen;
mod headers;
mod options;
mod desync;
mod limits;

pub use self::{
    desync::DesyncMode,
    headers::{toward_client, toward_targets},
    options::{ForwardedFor, HttpOptions},
};
pub(crate) use self::{
    headers::{Introduction, introduce},
    screen::{Screened, goes_alone, screen, send_alone},
};
