//! Bodies that are read once more, against the naive idea of them: the concatenation of their parts.

use std::collections::VecDeque;

use self::by_hand::{Woken, poll_frame};
use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

/// What a source gives, step by step.
#[derive(Clone, Debug)]
enum Step {
    Pause,
    Data(Vec<u8>),
    Trailers,
}

#[derive(Clone, Debug)]
struct Source {
    steps: VecDeque<Step>,
    sized: bool,
}

impl Source {
    fn length(&self) -> usize {
        let data = |step: &Step| if let Step::Data(data) = step { data.len() } else { 0 };
        self.steps.iter().map(data).sum()
    }

    fn has_trailers(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Trailers))
    }
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("checksum".parse().unwrap(), "abc".parse().unwrap())])
}

const TRAILERS: usize = "checksumabc".len();

impl HttpBody for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data.into())))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers())))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sized && self.length() == 0 && !self.has_trailers()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.length() as u64) } else { SizeHint::new() }
    }
}

/// What a reader has read.
#[derive(Debug, Default, PartialEq)]
struct Read {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
}

impl Read {
    /// Polls a reader so many times, or until it ends.
    fn on(&mut self, reader: &mut Reader<Source>, polls: usize) {
        for _ in 0..polls {
            match poll_frame(reader) {
                Poll::Pending => {}
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(frame)) => match frame.unwrap().into_data() {
                    Ok(data) => self.data.extend_from_slice(&data),
                    Err(frame) => self.trailers = Some(frame.into_trailers().unwrap()),
                },
            }
            if self.ended {
                return;
            }
        }
    }
}

mod by_hand {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::task::{ArcWake, noop_waker, waker};

    use super::*;

    pub(super) fn poll_frame(
        body: &mut Reader<Source>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(&noop_waker()))
    }

    /// Counts how often it was woken.
    #[derive(Default)]
    pub(super) struct Woken(AtomicUsize);

    impl Woken {
        pub(super) fn count(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }

        pub(super) fn waker(self: &Arc<Self>) -> Waker {
            waker(Arc::clone(self))
        }
    }

    impl ArcWake for Woken {
        fn wake_by_ref(this: &Arc<Self>) {
            this.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn sources() -> impl Strategy<Value = Source> {
    let data = prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Data);
    let steps = prop::collection::vec(prop_oneof![3 => data, 1 => Just(Step::Pause)], 0..10);
    (steps, any::<bool>(), any::<bool>()).prop_map(|(steps, sized, trailed)| {
        let trailers = (trailed && !sized).then_some(Step::Trailers);
        Source { steps: steps.into_iter().chain(trailers).collect(), sized }
    })
}

proptest! {
    /// Whatever the parts are, and wherever each reader was stopped, the next one reads all from the
    /// beginning, or is told that there is no beginning any more.
    #[test]
    fn each_reader_reads_the_whole_body(
        source in sources(),
        stops in prop::collection::vec(0..15_usize, 0..5),
        max in 0..120_usize,
    ) {
        let parts = source.steps.iter().filter_map(|step| match step {
            Step::Data(data) => Some(data.as_slice()),
            _ => None,
        });
        let whole = parts.collect::<Vec<_>>().concat();
        let trailers = source.has_trailers().then(trailers);
        let sized = source.sized;
        let kept = whole.len() + if trailers.is_some() { TRAILERS } else { 0 };

        let replay = Replay::new(source, max);
        let mut reader = replay.read().unwrap();
        let mut read = Read::default();
        // How much of the source was read by any.
        let mut most = 0;
        for stop in stops {
            read.on(&mut reader, stop);
            let so_far = read.data.len() + if read.trailers.is_some() { TRAILERS } else { 0 };
            most = most.max(so_far);
            prop_assert_eq!(replay.is_whole(), most <= max);
            prop_assert!(whole.starts_with(&read.data));
            let left = (whole.len() - read.data.len()) as u64;
            prop_assert_eq!(reader.size_hint().exact(), sized.then_some(left));
            if reader.is_end_stream() {
                prop_assert_eq!((left, &read.trailers), (0, &trailers));
            }
            let Some(next) = replay.read() else {
                prop_assert!(most > max);
                continue;
            };
            prop_assert!(most <= max);
            let Poll::Ready(Some(Err(error))) = poll_frame(&mut reader) else {
                panic!("who read before got more");
            };
            prop_assert_eq!(error.downcast_ref(), Some(&BodyError::Retried));
            prop_assert!(!reader.is_end_stream());
            (reader, read) = (next, Read::default());
            let length = sized.then_some(whole.len() as u64);
            prop_assert_eq!(reader.size_hint().exact(), length);
        }
        read.on(&mut reader, 100);
        prop_assert_eq!(read, Read { data: whole, trailers, ended: true });
        prop_assert!(reader.is_end_stream() || !sized && kept > max);
        prop_assert_eq!(replay.is_whole(), kept <= max);
    }
}

#[test]
fn who_waits_for_the_body_is_told_when_it_goes_elsewhere() {
    struct Silent;
    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = BoxError;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            Poll::Pending
        }
    }
    let replay = Replay::new(Silent, 10);
    let mut first = replay.read().unwrap();
    let woken = Arc::new(Woken::default());
    let polled = Pin::new(&mut first).poll_frame(&mut Context::from_waker(&woken.waker()));
    assert!(polled.is_pending());
    assert!(!replay.is_at_rest());
    let second = replay.read().unwrap();
    assert_eq!(woken.count(), 1);
    drop(first);
    assert!(!replay.is_at_rest());
    drop(second);
    assert!(replay.is_at_rest());
}

#[tokio::test]
async fn a_body_that_broke_off_is_not_read_again() {
    let parts = [Ok(Frame::data(Bytes::from("half"))), Err(BoxError::from("the client left"))];
    let body = http_body_util::StreamBody::new(futures_util::stream::iter(parts));
    let replay = Replay::new(body, 10);
    let reader = replay.read().unwrap();
    assert!(reader.collect().await.is_err());
    assert!(!replay.is_whole());
    assert!(replay.read().is_none());
}
