//! A target as a user writes it, and what registering makes of it.
//!
//! Whether a member may be picked is the roster's affair, in `group/`.

use std::{net::SocketAddr, num::NonZeroU16, sync::Arc};

use bytes::Buf;
use http::{Request, Response};
use tower::{BoxError, Service};

use crate::{
    body::Body,
    endpoint::{Address, Endpoint, InProcess, InvalidAddress, Transport},
    health::Health,
    id::TargetId,
    lease::Load,
};

/// The greatest weight: shares down to a tenth of a percent can be said, and schedules stay small.
pub const WEIGHT_MAX: u16 = 1000;

/// A target to be registered.
///
/// # Defaults
///
/// The id is the address as text; the weight is 1, of 1 to [`WEIGHT_MAX`].
///
/// # Examples
///
/// ```
/// use pointsman::Target;
///
/// let one = Target::new("127.0.0.1:3001".parse().unwrap());
/// assert_eq!(one.id(), "127.0.0.1:3001");
/// let two = Target::host("app:3000").unwrap().with_id("app").weight(3).unwrap();
/// assert_eq!(two.id(), "app");
/// assert!(Target::host("no-port").is_err());
/// ```
///
/// A service in this process is a target like any other:
///
/// ```
/// use http::{Request, Response};
/// use pointsman::{Body, Target};
///
/// let hello = tower::service_fn(|_: Request<Body>| async {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::from("hello")))
/// });
/// let target = Target::service("hello", hello);
/// assert_eq!(target.id(), "hello");
/// ```
#[derive(Clone, Debug)]
pub struct Target {
    id: TargetId,
    address: Address,
    weight: NonZeroU16,
}

/// Why a target cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// The weight is out of range.
    #[error("weight {0} of target {1:?}: expected 1 to {WEIGHT_MAX}")]
    Weight(u16, TargetId),
}

impl Target {
    /// A target at an IP address and port.
    pub fn new(address: SocketAddr) -> Self {
        Self::at(Address::Socket(address))
    }

    /// A target at a host name and port, `app:3000`; looked up as [`Address::Host`] says.
    ///
    /// # Errors
    ///
    /// If `address` is not `HOST:PORT`, or the port is 0.
    pub fn host(address: impl AsRef<str>) -> Result<Self, InvalidTarget> {
        Ok(Self::at(address.as_ref().parse()?))
    }

    /// A target that is a service in this process; a clone of it answers each request.
    ///
    /// Registering the same `Target`, or a clone of it, again finds the same service; another call
    /// of `service` makes another one.
    pub fn service<S, B>(id: impl Into<TargetId>, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        B: http_body::Body + Send + 'static,
        B::Data: Buf + Send,
        B::Error: Into<BoxError>,
    {
        Self::at(Address::InProcess(InProcess::new(service))).with_id(id)
    }

    fn at(address: Address) -> Self {
        Self { id: TargetId::from(address.to_string()), address, weight: NonZeroU16::MIN }
    }

    /// Sets the name of the target in its group and in session cookies.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<TargetId>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets the weight: a target of weight 2 gets twice the share of one of weight 1.
    ///
    /// # Errors
    ///
    /// If it is not 1 to [`WEIGHT_MAX`].
    pub fn weight(mut self, weight: u16) -> Result<Self, InvalidTarget> {
        match NonZeroU16::new(weight).filter(|weight| weight.get() <= WEIGHT_MAX) {
            Some(weight) => self.weight = weight,
            None => return Err(InvalidTarget::Weight(weight, self.id)),
        }
        Ok(self)
    }

    /// Returns the name.
    pub fn id(&self) -> &TargetId {
        &self.id
    }

    /// Returns where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn weight_of(&self) -> NonZeroU16 {
        self.weight
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::new(address)
    }
}

/// A registered target: its name, its counts, its health, and what answers for it.
///
/// All four outlive a change of weights or of the set.
#[derive(Clone, Debug)]
pub struct Member {
    id: TargetId,
    load: Arc<Load>,
    health: Arc<Health>,
    endpoint: Arc<Endpoint>,
}

impl Member {
    pub(crate) fn new(
        id: TargetId,
        load: Arc<Load>,
        health: Arc<Health>,
        endpoint: Arc<Endpoint>,
    ) -> Self {
        Self { id, load, health, endpoint }
    }

    /// Makes a member of no group, which nobody checks.
    pub(crate) fn alone(target: Target, transport: Transport) -> Self {
        let (load, health) = (Arc::<Load>::default(), Arc::new(Health::unchecked()));
        let endpoint = Endpoint::new(target.address, transport, Arc::clone(&load));
        Self::new(target.id, load, health, Arc::new(endpoint))
    }

    /// Makes the same member, reached in another way.
    pub(crate) fn by(&self, transport: Transport) -> Self {
        let Self { id, load, health, endpoint } = self.clone();
        let endpoint = endpoint.moved(endpoint.address().clone(), transport);
        Self::new(id, load, health, Arc::new(endpoint))
    }

    /// Returns its name in the group.
    pub fn id(&self) -> &TargetId {
        &self.id
    }

    /// Returns its counts.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Returns its health.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Returns what answers for it.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}
