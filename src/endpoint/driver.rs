//! The task of one connection.
//!
//! It polls hyper, puts the connection back into the pool when hyper is ready for another request, and
//! ends it when it was idle too long, has carried enough requests or is too old, or its target's
//! deregistration delay is over. With the timer for that it sees as well when an answer is late. What is
//! awaited is known to `outstanding.rs`; a connection that has changed its protocol it leaves to
//! `tunnel.rs`.

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
    task::coop::has_budget_remaining,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    connection::Idle,
    outstanding::HEAD_SIZE_MAX,
    pool::Pool,
    seat::Seat,
    traffic::{Counted, Place, Traffic},
    transport::Transport,
    upload::Upload,
};
use crate::{clock::WAIT_MAX, lease::Load, rng::Rng};

/// Above the 100 of hyper, which are too few for some targets; far below what costs memory.
const FIELDS_MAX: usize = 256;

/// Starts driving a stream that is open since `since`.
pub(super) async fn start(
    stream: TcpStream,
    since: Instant,
    place: Place,
    pool: &Arc<Pool>,
    load: &Arc<Load>,
    transport: &Transport,
) -> Result<Idle, hyper::Error> {
    let traffic = Arc::<Traffic>::default();
    let io = TokioIo::new(Counted { stream, traffic: Arc::clone(&traffic), _place: place });
    let mut http = Builder::new();
    http.max_header_size(HEAD_SIZE_MAX).max_headers(FIELDS_MAX);
    let (sender, connection) = http.handshake(io).await?;
    let seat = Arc::new(Seat::new(traffic));
    let runtime = runtime::Handle::current();
    let driver = Driver {
        connection: Some(connection.with_upgrades()),
        sender: None,
        seat: Arc::clone(&seat),
        pool: Arc::downgrade(pool),
        runtime: runtime.id(),
        idle_max: transport.connections_idle_max,
        idle_timeout: transport.connection_idle_timeout,
        requests_left: transport.requests_per_connection_max,
        age_end: since + lifetime(transport.connection_age_max),
        timer: None,
        cut: {
            let load = Arc::clone(load);
            Box::pin(async move { load.cut().await })
        },
        load: Arc::clone(load),
        watching: false,
    };
    seat.driven_by(runtime.spawn(driver).abort_handle());
    Ok(Idle { seat, sender })
}

/// Takes up to a tenth off the greatest age, so that connections opened together do not end together.
fn lifetime(age_max: Duration) -> Duration {
    if age_max >= WAIT_MAX {
        return age_max;
    }
    let tenth = u64::try_from(age_max.as_nanos() / 10).unwrap_or(u64::MAX);
    age_max - Duration::from_nanos(Rng::from_entropy().below(tenth))
}

/// `C` is hyper's connection, whose type has no name.
struct Driver<C> {
    connection: Option<C>,
    sender: Option<SendRequest<Upload>>,
    seat: Arc<Seat>,
    pool: Weak<Pool>,
    runtime: runtime::Id,
    idle_max: usize,
    idle_timeout: Duration,
    requests_left: u64,
    age_end: Instant,
    timer: Option<Timer>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    load: Arc<Load>,
    watching: bool,
}

/// For what does not happen by itself: that it was idle too long, that an answer is late.
struct Timer {
    /// Since when the connection is idle, if it is.
    since: Instant,
    sleep: Pin<Box<Sleep>>,
    /// For when it is armed.
    at: Option<Instant>,
    /// Whether it will wake the driver.
    is_set: bool,
}

impl<C: Future<Output = hyper::Result<()>> + Unpin> Future for Driver<C> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        // Before hyper is polled, which has then seen the request that the sender was there for: it may
        // have said that it wants one when that had already been sent.
        if this.sender.is_none() {
            this.sender = this.seat.take_back(cx.waker());
        }
        if let Some(connection) = &mut this.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            this.connection = None;
            return Poll::Ready(());
        }
        this.poll_return(cx);
        if this.seat.is_retired()
            && let Some(pool) = this.pool.upgrade()
        {
            drop(pool.remove(this.runtime, &this.seat));
        }
        if this.poll_cut(cx).is_ready() || this.poll_timer(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl<C> Driver<C> {
    /// Lends the sender to the pool, once hyper is ready for another request.
    fn poll_return(&mut self, cx: &mut Context<'_>) {
        // It becomes ready while hyper is polled, which was just done. To wait for that would wake this
        // task once more for each request.
        let is_done = |sender: &SendRequest<Upload>| sender.is_ready() || sender.is_closed();
        let Some(sender) = self.sender.take_if(|sender| is_done(sender)) else { return };
        // Dropping a sender ends its connection: when hyper says so, when it has done its share or is in
        // doubt, when the pool is full or gone, and when the target is being deregistered.
        self.requests_left = self.requests_left.saturating_sub(1);
        let now = Instant::now();
        let is_last = self.requests_left == 0 || now >= self.age_end || self.seat.is_retired();
        if sender.is_closed() || is_last || self.load.is_draining() {
            return;
        }
        let Some(pool) = self.pool.upgrade() else { return };
        let idle = Idle { seat: Arc::clone(&self.seat), sender };
        let due = self.age_end.min(now + self.idle_timeout);
        let timer = self.timer.get_or_insert_with(|| Timer {
            since: now,
            sleep: Box::pin(sleep_until(due)),
            at: None,
            is_set: false,
        });
        timer.since = now;
        if timer.at.is_none_or(|at| at > due) {
            timer.arm(due, &self.seat);
        }
        pool.put(self.runtime, idle, self.idle_max);
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

    /// Ends a connection that was idle for too long, or became too old meanwhile, and watches for answers
    /// that are late. The timer is moved when it fires, not when the connection is used.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(timer) = &mut self.timer else { return Poll::Pending };
            ready!(timer.poll(cx));
            timer.at = None;
            let now = Instant::now();
            let answer_due = self.seat.traffic.outstanding.look(now);
            let idle_due = self.age_end.min(timer.since + self.idle_timeout);
            let next = [answer_due, Some(idle_due)].into_iter().flatten().filter(|due| *due > now);
            if idle_due <= now {
                // None: it is in use, and the timer is armed again when it comes back.
                let pool = self.pool.upgrade();
                if pool.and_then(|pool| pool.remove(self.runtime, &self.seat)).is_some() {
                    self.connection = None;
                    return Poll::Ready(());
                }
            }
            if let Some(next) = next.min() {
                timer.arm(next, &self.seat);
            }
        }
    }
}

impl Timer {
    fn arm(&mut self, due: Instant, seat: &Seat) {
        (self.at, self.is_set) = (Some(due), false);
        self.sleep.as_mut().reset(due);
        seat.traffic.outstanding.look_at(due);
    }

    /// Waits for the time, whenever the driver is polled; only one of these polls is worth its cost.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.at.is_none() || self.is_set && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        let polled = self.sleep.as_mut().poll(cx);
        // Where a task has used its turn up, the timer does not learn of it.
        self.is_set = has_budget_remaining();
        polled
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

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
