//! What a driver and the request on its connection share: the sender on its way back, and whether the
//! connection is used again.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;

use super::{traffic::Traffic, upload::Upload};
use crate::body::Fate;

/// What a driver and the request on its connection share.
pub(super) struct Seat {
    pub(super) traffic: Arc<Traffic>,
    pub(super) fate: Arc<Fate>,
    returned: Mutex<Returned>,
    /// Whether the connection carries no request after this one.
    retired: AtomicBool,
    task: OnceLock<AbortHandle>,
}

#[derive(Default)]
struct Returned {
    sender: Option<SendRequest<Upload>>,
    driver: Option<Waker>,
    /// Whether the driver is gone, so that nobody takes a sender back.
    left: bool,
}

impl Seat {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        Self {
            traffic,
            fate: Arc::default(),
            returned: Mutex::default(),
            retired: AtomicBool::new(false),
            task: OnceLock::new(),
        }
    }

    /// Says which task drives the connection.
    pub(super) fn driven_by(&self, task: AbortHandle) {
        _ = self.task.set(task);
    }

    /// Sees to it that the connection is closed when its exchange has ended.
    pub(super) fn retire(&self) {
        // Ordered with the end of an upload, see `early.rs`.
        self.retired.store(true, Ordering::SeqCst);
        // It may be idle already.
        let driver = self.returned.lock().unwrap_or_else(PoisonError::into_inner).driver.take();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    /// Closes a connection that was retired, whatever is still under way on it.
    pub(super) fn close(&self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }

    /// Takes the sender back from the request; without one, remembers whom to wake.
    pub(super) fn take_back(&self, driver: &Waker) -> Option<SendRequest<Upload>> {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = returned.sender.take();
        if sender.is_none() && !returned.driver.as_ref().is_some_and(|old| old.will_wake(driver)) {
            returned.driver = Some(driver.clone());
        }
        sender
    }

    /// Says that the driver is gone. A request that was handed over while its connection ended may
    /// be seen by nobody; it comes back when the last sender is dropped, so none may be kept here.
    pub(super) fn leave(&self) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.left = true;
        let sender = returned.sender.take();
        drop(returned);
        drop(sender);
    }

    /// Takes the sender from a request that was sent.
    pub(super) fn give_back(&self, sender: SendRequest<Upload>) {
        let mut returned = self.returned.lock().unwrap_or_else(PoisonError::into_inner);
        if returned.left {
            drop(returned);
            drop(sender);
            return;
        }
        returned.sender = Some(sender);
        // The request just sent wakes the driver too; this is for the case that it did so already.
        if let Some(driver) = returned.driver.take() {
            driver.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::{
        net::{TcpListener, TcpStream},
        runtime::Builder,
    };

    use super::{
        super::{connection::Lost, driver, pool::Pool, transport::Transport},
        *,
    };
    use crate::body::Body;

    /// A request that hyper takes while it ends its connection comes back only when no sender is
    /// left; kept in the seat, its own would make it wait for ever.
    #[test]
    fn no_sender_is_kept_once_the_driver_is_gone() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let idle = first.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let pool = Arc::<Pool>::default();
            let place = pool.place(1).unwrap();
            let transport = Transport::default();
            driver::start(
                stream,
                tokio::time::Instant::now(),
                place,
                &pool,
                &Arc::default(),
                &transport,
            )
            .await
            .ok()
            .unwrap()
        });
        drop(first);
        let seat = Arc::clone(&idle.seat);
        let lost = runtime().block_on(idle.send(Request::new(Body::default()), None));
        assert!(matches!(lost, Err(Lost::Unsent(_))));
        assert!(seat.returned.lock().unwrap().sender.is_none());
    }
}
