//! A request's body that is copied while it goes out, so that it can go out once more.
//!
//! Nothing is read ahead: a part is copied when its reader asks for it, and a second reader gets the
//! copy, and then what the first did not come to. What for is `layer/retry.rs`'s affair.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tower::BoxError;

use super::fate::BodyError;

/// A body under way, and the copy of what was read of it.
pub(crate) struct Replay<B>(Arc<Mutex<Tape<B>>>);

struct Tape<B> {
    source: B,
    /// What the source said of its length before it was read: a body is framed in the same way each
    /// time, since trailers need chunks.
    hint: SizeHint,
    /// What was read, a part for each reader that came to its end. It is a copy: a part of the source's
    /// might hold on to a read buffer many times its length.
    parts: Vec<Bytes>,
    tail: BytesMut,
    trailers: Option<HeaderMap>,
    length: usize,
    max: usize,
    state: State,
    /// Which reader it is that reads now.
    turn: usize,
    waiting: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// All that was read is kept.
    Whole,
    /// As before, and there is nothing more to read.
    Ended,
    /// It became too long or broke off, so that nothing is kept.
    Lost,
}

/// Reads the body from its beginning, until another reader does.
pub(super) struct Reader<B> {
    tape: Arc<Mutex<Tape<B>>>,
    turn: usize,
    /// How many of the parts it has read.
    parts: usize,
    given: u64,
    trailed: bool,
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> Replay<B> {
    /// Copies up to `max` bytes of a body while it is read.
    pub(super) fn new(source: B, max: usize) -> Self {
        Self(Arc::new(Mutex::new(Tape {
            hint: source.size_hint(),
            source,
            parts: Vec::new(),
            tail: BytesMut::new(),
            trailers: None,
            length: 0,
            max,
            state: State::Whole,
            turn: 0,
            waiting: None,
        })))
    }

    /// Tells whether the body can be read once more.
    pub(crate) fn is_whole(&self) -> bool {
        lock(&self.0).state != State::Lost
    }

    /// Tells whether nobody reads any more, be it that all was read.
    pub(crate) fn is_at_rest(&self) -> bool {
        let tape = lock(&self.0);
        tape.state == State::Ended || tape.source.is_end_stream() || Arc::strong_count(&self.0) == 1
    }

    /// Returns the body from its beginning, if it can be read once more. Who read it before is told
    /// that it goes elsewhere, so that half a body never looks like a whole one.
    pub(super) fn read(&self) -> Option<Reader<B>> {
        let (turn, waiting) = {
            let mut tape = lock(&self.0);
            if tape.state == State::Lost {
                return None;
            }
            tape.turn += 1;
            if !tape.tail.is_empty() {
                let part = tape.tail.split().freeze();
                tape.parts.push(part);
            }
            (tape.turn, tape.waiting.take())
        };
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        Some(Reader { tape: Arc::clone(&self.0), turn, parts: 0, given: 0, trailed: false })
    }
}

fn lock<B>(tape: &Mutex<Tape<B>>) -> MutexGuard<'_, Tape<B>> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Tape<B> {
    /// Copies what is being read.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.state != State::Whole {
            return;
        }
        if let Some(data) = frame.data_ref() {
            self.length = self.length.saturating_add(data.len());
            if self.length <= self.max {
                self.tail.extend_from_slice(data);
            }
        }
        if let Some(trailers) = frame.trailers_ref() {
            let bytes = trailers.iter().map(|(name, value)| name.as_str().len() + value.len());
            self.length = self.length.saturating_add(bytes.sum());
            self.trailers = Some(trailers.clone());
            self.state = State::Ended;
        }
        if self.length > self.max {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.state = State::Lost;
        (self.parts, self.tail, self.trailers) = (Vec::new(), BytesMut::new(), None);
    }
}

impl<B: HttpBody<Data = Bytes, Error = BoxError> + Unpin> HttpBody for Reader<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut tape = lock(&this.tape);
        if tape.turn != this.turn {
            return Poll::Ready(Some(Err(BodyError::Retried.into())));
        }
        if let Some(part) = tape.parts.get(this.parts) {
            this.parts += 1;
            this.given += part.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(part.clone()))));
        }
        if tape.state == State::Ended {
            let trailers = tape.trailers.clone().filter(|_| !this.trailed);
            this.trailed = true;
            return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut tape.source).poll_frame(cx);
        if polled.is_pending() && !tape.waiting.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            tape.waiting = Some(cx.waker().clone());
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                this.given += frame.data_ref().map_or(0, |data| data.len() as u64);
                this.trailed |= frame.is_trailers();
                tape.keep(frame);
            }
            Some(Err(_)) => tape.lose(),
            None if tape.state == State::Whole => tape.state = State::Ended,
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let tape = lock(&self.tape);
        tape.turn == self.turn
            && self.parts >= tape.parts.len()
            && match tape.state {
                State::Ended => self.trailed || tape.trailers.is_none(),
                _ => tape.source.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let tape = lock(&self.tape);
        let mut left = SizeHint::new();
        if let Some(upper) = tape.hint.upper() {
            left.set_upper(upper.saturating_sub(self.given));
        }
        left.set_lower(tape.hint.lower().saturating_sub(self.given));
        left
    }
}

#[cfg(test)]
mod tests;
