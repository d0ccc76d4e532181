//! The floors a request falls through, each a tower layer, in the order it meets them.
//!
//! Each floor takes a request of its own type, so that most wrong orders do not compile:
//! `Request<B>` until the rules have chosen a group, [`Routed`] until a target is picked,
//! [`Assigned`] from then on. Layers of tower's own may stand between them with
//! `.map_err(Error::from)`. [`LoadBalancer`](crate::LoadBalancer) is the stack in one expression,
//! [`ForwardTo`] what is left of it when the target is chosen elsewhere.

mod respond;
mod arrival;
mod rules;
mod sticky;
mod retry;
mod select;
mod health;
mod forward;
mod forward_to;
mod message;
mod served;
mod stage;

pub use self::{
    arrival::ArrivalFuture,
    forward::Forward,
    forward_to::ForwardTo,
    health::{Health, HealthLayer},
    message::{Assigned, Routed},
    respond::{Respond, RespondFuture, RespondLayer},
    retry::{ATTEMPTS_MAX, Retry, RetryFuture, RetryLayer},
    rules::{Rules, RulesLayer},
    select::{Select, SelectLayer},
    served::Served,
    stage::{PassFuture, Stage},
    sticky::{Sticky, StickyFuture, StickyLayer},
};
