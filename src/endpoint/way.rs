//! What an endpoint is: where it is, how it is reached, and what is kept of the way there.

use std::{fmt, sync::Arc};

use super::{
    address::Address, live::Live, local::InProcess, pool::Pool, resolver::Resolver,
    transport::Transport,
};
use crate::{body::Body, lease::Load};

/// What answers the requests of one target.
pub struct Endpoint {
    pub(super) address: Address,
    pub(super) transport: Transport,
    pub(super) load: Arc<Load>,
    live: Arc<Live>,
    way: Way,
}

enum Way {
    /// The addresses are those of a name, if it is one.
    Remote(Arc<Pool>, Option<Arc<Resolver>>),
    Local(InProcess),
}

impl Way {
    fn to(address: &Address) -> Self {
        match address {
            Address::InProcess(service) => Self::Local(service.clone()),
            Address::Host(name, _) => {
                Self::Remote(Arc::default(), Some(Arc::new(Resolver::new(Arc::clone(name)))))
            }
            Address::Socket(_) => Self::Remote(Arc::default(), None),
        }
    }
}

impl Endpoint {
    /// Makes an endpoint; nothing is opened before the first request. What is in flight is cut at
    /// the deadline of `load`.
    pub fn new(address: Address, transport: Transport, load: Arc<Load>) -> Self {
        let way = Way::to(&address);
        Self { address, transport, load, live: Arc::default(), way }
    }

    /// Makes the endpoint of the same target at another address, or reached in another way: counts and
    /// deadline are the same, connections are its own.
    pub(crate) fn moved(&self, address: Address, transport: Transport) -> Self {
        let way = match &self.way {
            // What is known of a name holds, however its host is reached.
            Way::Remote(_, names) if address == self.address => {
                Way::Remote(Arc::default(), names.clone())
            }
            _ => Way::to(&address),
        };
        let (load, live) = (Arc::clone(&self.load), Arc::clone(&self.live));
        Self { address, transport, load, live, way }
    }

    /// Returns where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns how it is reached.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Tells whether it is a service in this process.
    pub fn is_local(&self) -> bool {
        self.service().is_some()
    }

    /// Returns the service, if it is one in this process.
    pub(crate) fn service(&self) -> Option<&InProcess> {
        match &self.way {
            Way::Remote(..) => None,
            Way::Local(service) => Some(service),
        }
    }

    /// Returns the connections that are kept, if it is not a service in this process.
    pub(super) fn pool(&self) -> Option<&Arc<Pool>> {
        match &self.way {
            Way::Remote(pool, _) => Some(pool),
            Way::Local(_) => None,
        }
    }

    /// Returns what is known of its name, if it has one.
    pub(super) fn names(&self) -> Option<&Resolver> {
        match &self.way {
            Way::Remote(_, names) => names.as_deref(),
            Way::Local(_) => None,
        }
    }

    /// Returns how many connections are idle.
    pub fn connections_idle(&self) -> usize {
        self.pool().map_or(0, |pool| pool.idle())
    }

    /// Takes charge of an answer's body, so that it too ends at the deadline.
    pub(crate) fn adopt(&self, body: Body) -> Body {
        if self.is_local() { self.live.adopt(body, &self.load) } else { body }
    }

    /// Begins to heed the deadline of its load, where no connection's driver does.
    pub(crate) fn drain(&self) {
        self.live.cut_when_drained(&self.load);
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_name_outlives_a_change_of_how_its_host_is_reached() {
        let names = |endpoint: &Endpoint| match &endpoint.way {
            Way::Remote(_, names) => names.clone(),
            Way::Local(_) => None,
        };
        let address = |text: &str| text.parse::<Address>().unwrap();
        let old = Endpoint::new(address("app:80"), Transport::default(), Arc::default());
        let same = old.moved(address("app:80"), Transport::new().connections_max(1));
        assert!(Arc::ptr_eq(&names(&old).unwrap(), &names(&same).unwrap()));
        let other = old.moved(address("other:80"), Transport::default());
        assert!(!Arc::ptr_eq(&names(&old).unwrap(), &names(&other).unwrap()));
        assert!(names(&old.moved(address("10.0.0.7:80"), Transport::default())).is_none());
    }
}
