//! Anything that answers a request: connections to one address, or a service in this process.
//!
//! An endpoint knows nothing of balancing. How a request gets over a connection is in `sending.rs`.

mod address;
mod broken;
mod connect;
mod connection;
mod driver;
mod early;
mod framing;
mod head_copy;
mod kept;
mod live;
mod local;
mod outstanding;
mod pool;
mod resolver;
mod seat;
mod sending;
mod switch;
mod system;
mod traffic;
mod transport;
mod tunnel;
mod upload;
mod way;

pub use self::{
    address::{Address, InvalidAddress},
    local::InProcess,
    transport::{InvalidTransport, Transport},
    way::Endpoint,
};
pub(crate) use self::{
    kept::{Awaiting, KeptFailed},
    local::panic_text,
    sending::{Rest, is_idempotent, line_of},
    tunnel::{Line, Tunnel},
};
