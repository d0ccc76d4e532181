//! When a connection is lent, and what its timer sees: over streams in memory, on a stopped clock.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
};

use http::Request;
use hyper::client::conn::http1::Connection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::{JoinHandle, coop::poll_proceed, yield_now},
    time::{sleep_until, timeout},
};

use super::*;
use crate::body::Body;

type Wire = Connection<TokioIo<DuplexStream>, Upload>;

const IDLE: Duration = Duration::from_secs(10);

async fn connected() -> (SendRequest<Upload>, Wire, DuplexStream) {
    let (stream, other) = duplex(1024);
    let (sender, wire) = Builder::new().handshake(TokioIo::new(stream)).await.unwrap();
    (sender, wire, other)
}

fn driver<C>(connection: C, seat: &Arc<Seat>, pool: &Arc<Pool>) -> Driver<C> {
    Driver {
        connection: Some(connection),
        sender: None,
        seat: Arc::clone(seat),
        pool: Arc::downgrade(pool),
        runtime: runtime::Handle::current().id(),
        idle_max: 1,
        idle_timeout: IDLE,
        requests_left: u64::MAX,
        age_end: Instant::now() + WAIT_MAX,
        timer: None,
        cut: Box::pin(std::future::pending()),
        load: Arc::default(),
        watching: false,
    }
}

fn request() -> Request<Body> {
    Request::new(Body::default())
}

async fn answer(other: &mut DuplexStream) {
    assert_ne!(other.read(&mut [0; 1024]).await.unwrap(), 0);
    other.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
}

fn use_turn_up(cx: &mut Context<'_>) {
    while let Poll::Ready(proceeds) = poll_proceed(cx) {
        proceeds.made_progress();
    }
}

/// A connection that misses what is sent while it is polled, as it may from another thread.
struct Missing<F>(Wire, Option<F>);

impl<F: FnOnce() + Unpin> Future for Missing<F> {
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Self(wire, send) = self.get_mut();
        if let Some(send) = send.take() {
            send();
            use_turn_up(cx);
        }
        Pin::new(wire).poll(cx)
    }
}

/// hyper may say that it wants a request when there is one. Were its connection lent then, nobody
/// would see any more that the answer to that one is late.
#[tokio::test]
async fn a_connection_is_not_lent_before_hyper_has_seen_the_request_on_it() {
    let (sender, wire, mut other) = connected().await;
    let (pool, seat) = (Arc::default(), Arc::new(Seat::new(Arc::default())));
    let (idle, (give, answered)) = (Idle { seat: Arc::clone(&seat), sender }, channel());
    let send = || give.send(idle.send(request(), None)).unwrap();
    let mut driver = pin!(driver(Missing(wire, Some(send)), &seat, &pool));
    let mut drive = async || {
        let polled = poll_fn(|cx| Poll::Ready(driver.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        yield_now().await;
        pool.idle()
    };
    assert_eq!(drive().await, 0);
    assert_eq!(drive().await, 0);
    answer(&mut other).await;
    assert_eq!(drive().await, 1);
    assert!(answered.recv().unwrap().await.is_ok());
}

/// A connection that leaves no turn for what comes after it, while it is told to.
struct Busy(Wire, Arc<AtomicBool>);

impl Future for Busy {
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Self(wire, is_busy) = self.get_mut();
        let polled = Pin::new(wire).poll(cx);
        if is_busy.load(Ordering::Relaxed) {
            use_turn_up(cx);
        }
        polled
    }
}

/// A connection that is driven.
struct Driven {
    start: Instant,
    pool: Arc<Pool>,
    other: DuplexStream,
    task: JoinHandle<()>,
}

impl Driven {
    /// Makes one that is idle since now.
    async fn new() -> Self {
        Self::with(WAIT_MAX, AtomicBool::new(false)).await
    }

    async fn with(age_max: Duration, is_busy: AtomicBool) -> Self {
        let (sender, wire, other) = connected().await;
        let (pool, is_busy) = (Arc::default(), Arc::new(is_busy));
        let seat = Arc::new(Seat::new(Arc::default()));
        let start = Instant::now();
        let mut driver = driver(Busy(wire, Arc::clone(&is_busy)), &seat, &pool);
        driver.age_end = start + age_max;
        let mut driven = Self { start, pool, other, task: tokio::spawn(driver) };
        let answered = Idle { seat, sender }.send(request(), None);
        driven.carries(answered, 0).await;
        is_busy.store(false, Ordering::Relaxed);
        driven
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// Sends a request then, whose answer comes then and is watched for until then, in seconds.
    async fn asks(&mut self, at: u64, answered_at: u64, due: Option<u64>) {
        sleep_until(self.at(at)).await;
        let idle = self.pool.take(runtime::Handle::current().id()).unwrap();
        let answered = idle.send(request(), due.map(|due| self.at(due)));
        assert_eq!(answered.is_watched(), due.is_some());
        self.carries(answered, answered_at).await;
    }

    async fn carries<T, E>(&mut self, answered: impl Future<Output = Result<T, E>>, at: u64) {
        let due = self.at(at);
        let answers = async {
            sleep_until(due).await;
            answer(&mut self.other).await;
        };
        let (answered, ()) = tokio::join!(answered, answers);
        assert!(answered.is_ok());
        while self.pool.idle() == 0 {
            yield_now().await;
        }
    }

    /// Sees it closed after so many seconds.
    async fn ends_at(self, seconds: u64) {
        timeout(Duration::from_secs(1000), self.task).await.expect("it is closed").unwrap();
        assert_eq!(self.start.elapsed().as_secs(), seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_closed_when_it_was_idle_for_too_long() {
    Driven::new().await.ends_at(10).await;
    let mut driven = Driven::new().await;
    driven.asks(6, 6, None).await;
    driven.asks(9, 9, Some(60)).await;
    driven.ends_at(19).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_idle_is_closed_when_it_is_too_old() {
    let mut driven = Driven::with(Duration::from_secs(15), AtomicBool::new(false)).await;
    driven.asks(8, 8, None).await;
    driven.ends_at(15).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_is_not_idle() {
    let mut driven = Driven::new().await;
    driven.asks(6, 26, None).await;
    driven.ends_at(36).await;
    // Its timer waits for what is due much later by then.
    let mut driven = Driven::new().await;
    driven.asks(6, 26, Some(100)).await;
    driven.ends_at(36).await;
}

#[tokio::test(start_paused = true)]
async fn a_timer_rings_that_was_set_when_no_turn_was_left() {
    Driven::with(WAIT_MAX, AtomicBool::new(true)).await.ends_at(10).await;
}
