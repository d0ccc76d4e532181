//! The task of one connection.
//!
//! It polls hyper, puts the connection back into the pool when
//! hyper is ready for another request, and ends it when it was idle too long or its target's
//! deregistration delay is over. A connection that has changed its protocol it leaves to `tunnel.rs`.

use std::{
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    runtime,
    time::{Instant, Sleep, sleep},
};

use super::{
    connection::{Counted, Idle, Seat, Traffic},
    pool::Pool,
};
use crate::{body::Body, lease::Load};

/// Starts driving a stream that was just opened.
pub(super) async fn start(
    stream: TcpStream,
    pool: &Arc<Pool>,
    load: &Arc<Load>,
    settings: Settings,
) -> Result<Idle, hyper::Error> {
    let traffic = Arc::<Traffic>::default();
    let io = TokioIo::new(Counted { stream, traffic: Arc::clone(&traffic) });
    let (sender, connection) = Builder::new().handshake(io).await?;
    let seat = Arc::new(Seat::new(traffic));
    let runtime = runtime::Handle::current();
    let driver = Driver {
        connection: Some(connection.with_upgrades()),
        sender: None,
        seat: Arc::clone(&seat),
        pool: Arc::downgrade(pool),
        runtime: runtime.id(),
        settings,
        idle: None,
        cut: {
            let load = Arc::clone(load);
            Box::pin(async move { load.cut().await })
        },
        load: Arc::clone(load),
        watching: false,
    };
    runtime.spawn(driver);
    Ok(Idle { seat, sender })
}

#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) idle_max: usize,
    pub(super) idle_timeout: Duration,
}

/// `C` is hyper's connection, whose type has no name.
struct Driver<C> {
    connection: Option<C>,
    sender: Option<SendRequest<Body>>,
    seat: Arc<Seat>,
    pool: Weak<Pool>,
    runtime: runtime::Id,
    settings: Settings,
    idle: Option<IdleTimer>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    load: Arc<Load>,
    watching: bool,
}

struct IdleTimer {
    since: Instant,
    sleep: Pin<Box<Sleep>>,
    armed: bool,
}

impl<C: Future<Output = hyper::Result<()>> + Unpin> Future for Driver<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if let Some(connection) = &mut this.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            this.connection = None;
            return Poll::Ready(());
        }
        this.poll_return(cx);
        if this.poll_cut(cx).is_ready() || this.poll_idle(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<C> Driver<C> {
    /// Takes the sender back from the request and, once hyper is ready, lends it to the pool.
    fn poll_return(&mut self, cx: &mut Context<'_>) {
        if self.sender.is_none() {
            self.sender = self.seat.take_back(cx.waker());
        }
        let Some(sender) = &mut self.sender else { return };
        let Poll::Ready(ready) = sender.poll_ready(cx) else { return };
        let Some(sender) = self.sender.take() else { return };
        // Dropping a sender ends its connection: when hyper says so, when the pool is full or gone,
        // and when the target is being deregistered.
        let idle = Idle { seat: Arc::clone(&self.seat), sender };
        if ready.is_err() || self.load.is_draining() {
            return;
        }
        let Some(pool) = self.pool.upgrade() else { return };
        let now = Instant::now();
        let timeout = self.settings.idle_timeout;
        let timer = self.idle.get_or_insert_with(|| IdleTimer {
            since: now,
            sleep: Box::pin(sleep(timeout)),
            armed: true,
        });
        timer.since = now;
        if !timer.armed {
            timer.armed = true;
            timer.sleep.as_mut().reset(now + timeout);
        }
        pool.put(self.runtime, idle, self.settings.idle_max);
        // Whoever takes it gives it back through the seat, and must find somebody to wake.
        self.sender = self.seat.take_back(cx.waker());
        if self.sender.is_some() {
            cx.waker().wake_by_ref();
        }
    }

    /// Ends what is in flight when the target's deadline has passed.
    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Once the load knows this task's waker, it is asked again only while a deadline stands.
        let draining = self.load.is_draining();
        if self.watching && !draining {
            return Poll::Pending;
        }
        // While it drains an idle connection serves nobody.
        if draining && let Some(pool) = self.pool.upgrade() {
            drop(pool.remove(self.runtime, &self.seat));
        }
        self.watching = !draining;
        ready!(self.cut.as_mut().poll(cx));
        self.seat.fate.cut();
        Poll::Ready(())
    }

    /// Ends a connection that was idle for too long. The timer is moved when it fires, not when the
    /// connection is used.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(timer) = &mut self.idle else { return Poll::Pending };
            if !timer.armed {
                return Poll::Pending;
            }
            ready!(timer.sleep.as_mut().poll(cx));
            let due = timer.since + self.settings.idle_timeout;
            if due > Instant::now() {
                timer.sleep.as_mut().reset(due);
                continue;
            }
            timer.armed = false;
            // None: it is in use, and the timer is armed again when it comes back.
            let idle = self.pool.upgrade().and_then(|pool| pool.remove(self.runtime, &self.seat));
            if idle.is_some() {
                self.connection = None;
                return Poll::Ready(());
            }
        }
    }
}

impl<C> Drop for Driver<C> {
    fn drop(&mut self) {
        // First the connection: what it wakes must not find its place taken by the dead.
        let ended = self.connection.take().is_none();
        self.sender = None;
        self.seat.leave();
        let pool = self.pool.upgrade();
        let idle = pool.as_ref().and_then(|pool| pool.remove(self.runtime, &self.seat));
        match (ended, idle, pool) {
            (true, Some(_), Some(pool)) => pool.note_dropped(),
            // A body that is still coming in must not end as if it were whole.
            (false, None, _) => self.seat.fate.lose(),
            _ => {}
        }
    }
}
