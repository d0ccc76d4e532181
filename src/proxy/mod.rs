//! What a proxy owes the messages that pass through it (RFC 9110 §7): which it takes, and what it
//! changes in their heads.
//!
//! All of it is done once a request, before a target is picked; what depends on the target is
//! `layer/forward/adapt.rs`'s. What is settled here for all requests is [`HttpOptions`].

mod screen;
mod noted;
mod headers;
mod hop_by_hop;
mod spoofed;
mod trusted;
mod introduction;
mod forwarded;
mod host;
mod trace_id;
mod via;
mod list;
mod options;
mod desync;
mod limits;
mod upgrade;
mod status;

pub use self::{
    desync::DesyncMode,
    headers::{toward_client, toward_targets},
    options::{ForwardedFor, HttpOptions},
    status::{InvalidProxyStatus, ProxyStatus},
    trace_id::TraceIds,
    via::{InvalidVia, Via},
};
pub(crate) use self::{
    headers::{effective_peer, introduce, mark_trusted, return_to_client},
    introduction::Introduction,
    screen::{Passed, Screened, screen, send_alone},
    status::AnswerOf,
    upgrade::Asked,
};
