//! How long the head of an answer is waited for, and whose fault it is when that is too long.
//!
//! All the deadlines are kept in one place, so that a target that is late is told from a client that
//! stalls and from one that left. How long the answer's body may take is written on the body.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Request;
use http_body::Body as _;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until, timeout_at},
};

use crate::{
    body::Body,
    endpoint::Transport,
    error::{Error, Kind},
    lease::Progress,
};

/// Until when the head of an answer is waited for.
pub(super) struct Wait {
    pub(super) began: Instant,
    /// How long the target may take, from when it could have the request, or its last part.
    answer: Duration,
    /// Of the request, in all its attempts, and of the body of its answer.
    pub(super) deadline: Option<Instant>,
    /// How far the request's body has come, if it has one.
    pub(super) upload: Option<Arc<Progress>>,
}

impl Wait {
    /// Begins with a request that is about to be sent, and limits how long the client may pause in its
    /// body.
    pub(super) fn begin(
        request: &mut Request<Body>,
        transport: &Transport,
        deadline: Option<Instant>,
        began: Instant,
    ) -> Self {
        let limit = transport.idle_timeout;
        let upload = (!request.body().is_end_stream()).then(|| Arc::new(Progress::new(limit)));
        if let Some(upload) = &upload {
            request.body_mut().limit_client_idle(limit, Arc::clone(upload));
        }
        Self { began, answer: transport.answer_timeout, deadline, upload }
    }

    /// Begins once more, when the target could have the request.
    pub(super) fn restart(&mut self, now: Instant) {
        self.began = now;
    }

    /// Waits for what has deadlines of its own, but no longer than the request may take. Fails outside of
    /// a runtime, where there are no timers: whoever called within one may poll elsewhere.
    pub(super) async fn within_deadline<T>(
        &self,
        future: impl Future<Output = T>,
    ) -> Result<T, Error> {
        Handle::try_current().map_err(|_| Kind::NoRuntime)?;
        match self.deadline {
            None => Ok(future.await),
            Some(deadline) => {
                timeout_at(deadline, future).await.map_err(|_| Kind::RequestTimeout.into())
            }
        }
    }

    /// Waits for the head of an answer; fails outside of a runtime.
    pub(super) async fn head_of<T>(&self, answer: impl Future<Output = T>) -> Result<T, Error> {
        Handle::try_current().map_err(|_| Kind::NoRuntime)?;
        let (mut answer, mut late) = (pin!(answer), pin!(self.timer()));
        poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => self.poll_late(late.as_mut(), cx).map(Err),
        })
        .await
    }

    /// Returns when the head of an answer is due, if it is already known.
    pub(super) fn due(&self) -> Option<Instant> {
        self.upload.is_none().then(|| self.first_due())
    }

    /// Makes the timer for [`Wait::poll_late`].
    pub(super) fn timer(&self) -> Sleep {
        sleep_until(self.first_due())
    }

    fn first_due(&self) -> Instant {
        self.or_deadline(self.began + self.answer)
    }

    /// Waits until it takes too long, and says who is late; from the end of the request on it is the
    /// target that is waited for.
    pub(super) fn poll_late(&self, mut late: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Error> {
        loop {
            ready!(late.as_mut().poll(cx));
            if let Some(error) = self.past_deadline() {
                return Poll::Ready(error);
            }
            let now = Instant::now();
            let due = self.upload.as_ref();
            let due = due.map(|upload| upload.target_since().max(self.began) + self.answer);
            match due.filter(|due| *due > now) {
                // While the client is waited for, its next part may come at any time, and be the last.
                Some(due) => late.as_mut().reset(self.or_deadline(due.min(now + self.answer))),
                None => return Poll::Ready(self.no_answer()),
            }
        }
    }

    /// Says who is late when the head of an answer was due.
    pub(super) fn late(&self) -> Error {
        self.past_deadline().unwrap_or_else(|| self.no_answer())
    }

    fn no_answer(&self) -> Error {
        Error::new(Kind::AnswerTimeout, format!("no answer within {:?}", self.answer))
    }

    /// Tells whether the answer came before the end of the request.
    pub(super) fn is_overtaken(&self) -> bool {
        self.upload.as_deref().is_some_and(Progress::is_overtaken)
    }

    /// Returns which is earlier, the deadline or another time.
    fn or_deadline(&self, other: Instant) -> Instant {
        self.deadline.map_or(other, |deadline| deadline.min(other))
    }

    /// Says who was waited for, if the deadline has passed.
    fn past_deadline(&self) -> Option<Error> {
        if self.deadline.is_none_or(|deadline| Instant::now() < deadline) {
            return None;
        }
        Some(if self.upload.as_deref().is_some_and(Progress::is_stalled) {
            Error::new(Kind::ClientIdle, "its deadline passed")
        } else {
            Kind::RequestTimeout.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use http::Response;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tower::{BoxError, ServiceExt, service_fn};

    use super::*;
    use crate::{
        body::Body,
        group::TargetGroup,
        head::Head,
        id::RuleId,
        layer::{Assigned, Forward},
        target::Target,
    };

    /// Sends a body, whose parts come after these pauses, to a service in this process; returns how
    /// that ended and after how many seconds. Whoever stops is waited for 10 s, client or target.
    async fn after<F>(pauses: &[u64], answer: fn(Request<Body>) -> F) -> (Option<Kind>, u64)
    where
        F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
    {
        let limit = Duration::from_secs(10);
        let transport = Transport::new().answer_timeout(limit).idle_timeout(limit);
        let group = TargetGroup::builder("web").transport(transport).build().unwrap();
        group.register(Target::service("one", service_fn(answer)));
        let body = futures_util::stream::iter(pauses.to_vec()).then(|pause| async move {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            Ok::<_, BoxError>(Frame::data(bytes::Bytes::from("part")))
        });
        let request = Request::new(Body::new(StreamBody::new(body)));
        let picked = group.assign(&Head::of(&request, None), None, &[]).unwrap();
        let name = group.name().clone();
        let assigned = Assigned::new(request, RuleId::Default, name, picked.member, picked.lease);
        let started = Instant::now();
        let answer = Forward::new().oneshot(assigned).await;
        assert!(started.elapsed().subsec_millis() < 10);
        (answer.err().map(|error| error.kind()), started.elapsed().as_secs())
    }

    #[test]
    fn when_an_answer_is_due_is_known_before_if_nothing_is_uploaded() {
        let check = |body, deadline: Option<u64>, expected: Option<u64>| {
            let began = Instant::now();
            let at = |seconds| began + Duration::from_secs(seconds);
            let transport = Transport::new().answer_timeout(Duration::from_secs(10));
            let mut request = Request::new(body);
            let wait = Wait::begin(&mut request, &transport, deadline.map(at), began);
            assert_eq!(wait.due(), expected.map(at), "{deadline:?}");
        };
        check(Body::default(), None, Some(10));
        check(Body::default(), Some(5), Some(5));
        check(Body::default(), Some(20), Some(10));
        check(Body::from("body"), None, None);
        check(Body::from("body"), Some(5), None);
    }

    async fn read(request: Request<Body>) -> Result<Response<Body>, BoxError> {
        request.into_body().collect().await?;
        Ok(Response::new(Body::default()))
    }

    /// Reads all, and then never answers.
    async fn fall_silent(request: Request<Body>) -> Result<Response<Body>, BoxError> {
        request.into_body().collect().await?;
        std::future::pending().await
    }

    /// Asks for a part, and then neither reads nor answers.
    async fn stop_reading(mut request: Request<Body>) -> Result<Response<Body>, BoxError> {
        _ = tokio::time::timeout(Duration::from_secs(1), request.body_mut().frame()).await;
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_late_from_the_end_of_the_request_on() {
        assert_eq!(after(&[9, 9, 9, 9], read).await, (None, 36));
        assert_eq!(after(&[], fall_silent).await, (Some(Kind::AnswerTimeout), 10));
        assert_eq!(after(&[9, 9, 9], fall_silent).await, (Some(Kind::AnswerTimeout), 37));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_is_told_from_a_target_that_does() {
        assert_eq!(after(&[9, 11], read).await, (Some(Kind::ClientIdle), 19));
        // The client had its time, and then the target.
        assert_eq!(after(&[30], stop_reading).await, (Some(Kind::AnswerTimeout), 20));
        assert_eq!(after(&[0, 30], stop_reading).await, (Some(Kind::AnswerTimeout), 10));
    }
}
