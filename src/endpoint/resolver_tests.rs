//! When a name is looked up, and which answer is used: on a clock of its own, and nobody is asked.

use std::fmt;

use futures_util::{FutureExt, future::join_all};
use tokio::{task::yield_now, time::sleep};
use tracing::field::Field;
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    util::SubscriberInitExt,
};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(10);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The look-ups that were begun and have not ended.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<LookUp>>>);

impl Begun {
    /// Returns the look-up that was begun first, which the test ends.
    fn next(&self) -> LookUp {
        self.0.lock().unwrap().remove(0)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

fn resolver() -> (Arc<Resolver>, Begun) {
    let begun = Begun::default();
    let all = begun.clone();
    (Arc::new(Resolver::by("app".into(), move |new| all.0.lock().unwrap().push(new))), begun)
}

/// A good answer: one address, which ends in this number.
fn good(number: u8) -> io::Result<Vec<SocketAddr>> {
    Ok(vec![([10, 0, 0, number], 0).into()])
}

fn bad(text: &str) -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other(text))
}

/// What a connection gets that begins now: the number of the address.
async fn asked(resolver: &Resolver) -> Result<u8, String> {
    match resolver.addresses(Instant::now(), TIMEOUT).await {
        Ok(addresses) => match (&*addresses, addresses.len()) {
            ([SocketAddr::V4(address)], 1) => Ok(address.ip().octets()[3]),
            _ => Err(format!("{addresses:?}")),
        },
        Err(Unknown::Failed(error)) => Err(error.to_string()),
        Err(Unknown::Late) => Err("late".into()),
    }
}

/// What a connection gets without waiting.
fn at_once(resolver: &Resolver) -> Option<Result<u8, String>> {
    asked(resolver).now_or_never()
}

/// Has a connection look up, and ends that as it says.
async fn after(resolver: &Resolver, begun: &Begun, answer: io::Result<Vec<SocketAddr>>) {
    let (_, ()) = tokio::join!(asked(resolver), async { begun.next().end(answer) });
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_for_a_second() {
    let (resolver, begun) = resolver();
    after(&resolver, &begun, good(1)).await;
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(at_once(&resolver), Some(Ok(1)));
    assert_eq!(begun.count(), 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    let (found, ()) = tokio::join!(asked(&resolver), async { begun.next().end(good(2)) });
    assert_eq!(found, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_one_for_a_second() {
    let (resolver, begun) = resolver();
    after(&resolver, &begun, bad("no such name")).await;
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(at_once(&resolver), Some(Err("no such name".into())));
    assert_eq!(begun.count(), 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    let (found, ()) = tokio::join!(asked(&resolver), async { begun.next().end(Ok(Vec::new())) });
    assert_eq!(found, Err("no address".into()));
}

#[tokio::test(start_paused = true)]
async fn fifty_connections_wait_for_one_look_up() {
    let (resolver, begun) = resolver();
    let all = join_all((0..50).map(|_| asked(&resolver)));
    let (all, ()) = tokio::join!(all, async {
        // It takes longer than its answer holds.
        sleep(secs(3)).await;
        begun.next().end(good(1));
    });
    assert_eq!(all, vec![Ok(1); 50]);
    assert_eq!(begun.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_waits_for_the_look_up_that_is_under_way() {
    let (resolver, begun) = resolver();
    let (first, second) = tokio::join!(asked(&resolver), async {
        sleep(secs(6)).await;
        let (found, ()) = tokio::join!(asked(&resolver), async { begun.next().end(bad("no")) });
        found
    });
    assert_eq!((first, second), (Err("no".into()), Err("no".into())));
    assert_eq!(begun.count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_look_up_goes_on_when_whoever_began_it_leaves() {
    let (resolver, begun) = resolver();
    let task = |resolver: &Arc<Resolver>| {
        let resolver = Arc::clone(resolver);
        tokio::spawn(async move { asked(&resolver).await })
    };
    let first = task(&resolver);
    yield_now().await;
    let others = [task(&resolver), task(&resolver)];
    yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    begun.next().end(good(1));
    for other in others {
        assert_eq!(other.await.unwrap(), Ok(1));
    }
    assert_eq!(begun.count(), 0);

    // Nobody waits, and its answer is there for the next.
    sleep(secs(5)).await;
    assert_eq!(at_once(&resolver), None);
    begun.next().end(good(2));
    assert_eq!(at_once(&resolver), Some(Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_is_dropped_has_failed() {
    let (resolver, begun) = resolver();
    let (found, ()) = tokio::join!(asked(&resolver), async { drop(begun.next()) });
    assert_eq!(found, Err("the look-up was given up".into()));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_is_used_while_look_ups_fail() {
    let (resolver, begun) = resolver();
    after(&resolver, &begun, good(1)).await;
    for answer in [bad("no such name"), Ok(Vec::new()), bad("no such name")] {
        sleep(secs(100)).await;
        let (found, ()) = tokio::join!(asked(&resolver), async { begun.next().end(answer) });
        assert_eq!(found, Ok(1));
        assert_eq!(at_once(&resolver), Some(Ok(1)));
        assert_eq!(begun.count(), 0);
    }
    sleep(secs(1)).await;
    let (found, ()) = tokio::join!(asked(&resolver), async { begun.next().end(good(2)) });
    assert_eq!(found, Ok(2));
}

/// Notes the messages of a thread.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Vec::new();
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
            fields.push(format!("{field}={value:?}"));
        });
        self.0.lock().unwrap().push(fields.join(" "));
    }
}

#[tokio::test(start_paused = true)]
async fn that_an_older_answer_is_used_is_told_once_until_all_is_well_again() {
    let told = Told::default();
    let _guard = tracing_subscriber::registry().with(told.clone()).set_default();
    let (resolver, begun) = resolver();
    after(&resolver, &begun, bad("no")).await;
    assert_eq!(*told.0.lock().unwrap(), [""; 0], "whoever gets the error says so");
    for _ in 0..2 {
        sleep(secs(1)).await;
        after(&resolver, &begun, good(1)).await;
        for _ in 0..3 {
            sleep(secs(7)).await;
            after(&resolver, &begun, bad("no")).await;
            assert_eq!(at_once(&resolver), Some(Ok(1)));
        }
    }
    sleep(secs(1)).await;
    after(&resolver, &begun, good(1)).await;
    let old = "message=a name cannot be looked up: its last addresses are used \
               name=\"app\" cause=\"no\" age=7s";
    let well = "message=a name can be looked up again name=\"app\"";
    assert_eq!(*told.0.lock().unwrap(), [old, well, old, well]);
}

#[tokio::test(start_paused = true)]
async fn without_an_older_answer_a_late_one_is_waited_for_as_long_as_may_be() {
    let (resolver, begun) = resolver();
    let started = Instant::now();
    assert_eq!(asked(&resolver).await, Err("late".into()));
    assert_eq!(started.elapsed(), TIMEOUT);
    begun.next().end(good(1));
    // It is the answer to a look-up that is over, so that another one begins.
    let (found, ()) = tokio::join!(asked(&resolver), async { begun.next().end(good(2)) });
    assert_eq!(found, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn with_an_older_answer_a_late_one_is_waited_for_once_and_not_for_long() {
    let (resolver, begun) = resolver();
    after(&resolver, &begun, good(1)).await;
    sleep(secs(60)).await;
    let started = Instant::now();
    let (first, second) = tokio::join!(asked(&resolver), async {
        sleep(PATIENCE / 2).await;
        asked(&resolver).await
    });
    assert_eq!((first, second), (Ok(1), Ok(1)));
    assert_eq!(started.elapsed(), PATIENCE, "from its beginning");
    assert_eq!(at_once(&resolver), Some(Ok(1)));
    assert_eq!(begun.count(), 1);

    // That failed; the next one is not waited for, but heard of.
    begun.next().end(bad("no"));
    assert_eq!(at_once(&resolver), Some(Ok(1)));
    begun.next().end(good(2));
    assert_eq!(at_once(&resolver), Some(Ok(2)));
    sleep(secs(60)).await;
    assert_eq!(at_once(&resolver), None, "all is well again");
}

#[tokio::test(start_paused = true)]
async fn half_of_a_short_time_is_left_for_connecting() {
    let (resolver, begun) = resolver();
    after(&resolver, &begun, good(1)).await;
    sleep(secs(60)).await;
    let started = Instant::now();
    assert!(resolver.addresses(started, PATIENCE).await.is_ok());
    assert_eq!(started.elapsed(), PATIENCE / 2);
}

/// As a health check does whose timeout is short.
#[tokio::test(start_paused = true)]
async fn who_leaves_before_an_older_answer_is_used_finds_it_the_next_time() {
    let (resolver, begun) = resolver();
    after(&resolver, &begun, good(1)).await;
    sleep(secs(60)).await;
    assert!(tokio::time::timeout(PATIENCE / 2, asked(&resolver)).await.is_err());
    sleep(PATIENCE / 2).await;
    assert_eq!(at_once(&resolver), Some(Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_never_ends_keeps_no_other_from_beginning() {
    let (resolver, begun) = resolver();
    assert_eq!(asked(&resolver).await, Err("late".into()));
    sleep(secs(19)).await;
    assert_eq!(at_once(&resolver), None);
    assert_eq!(begun.count(), 1);
    sleep(secs(1)).await;
    let (never, found) = tokio::join!(async { begun.next() }, async {
        yield_now().await;
        at_once(&resolver)
    });
    assert_eq!((found, begun.count()), (None, 1));
    begun.next().end(good(2));
    // It ends after all, and is of no use any more.
    never.end(good(1));
    assert_eq!(at_once(&resolver), Some(Ok(2)));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_ends_late_lets_none_begin_beside_the_one_that_replaced_it() {
    let (resolver, begun) = resolver();
    assert_eq!(asked(&resolver).await, Err("late".into()));
    sleep(LOOK_UP_MAX).await;
    let late = begun.next();
    assert_eq!((at_once(&resolver), begun.count()), (None, 1));
    late.end(bad("late"));
    assert_eq!((at_once(&resolver), begun.count()), (None, 1));
    begun.next().end(good(1));
    assert_eq!(at_once(&resolver), Some(Ok(1)));
}

#[tokio::test]
async fn the_system_is_asked() {
    let resolver = Resolver::new("localhost".into());
    let found = resolver.addresses(Instant::now(), TIMEOUT).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 0));
    assert!(!found.is_empty());
    let resolver = Resolver::new("a".repeat(64).into());
    let unknown = resolver.addresses(Instant::now(), TIMEOUT).await.unwrap_err();
    assert!(matches!(unknown, Unknown::Failed(_)));
}
