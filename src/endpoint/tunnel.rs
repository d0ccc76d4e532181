//! The bytes of two connections that have changed their protocol, carried both ways as they are.
//!
//! A tunnel is a task of its own, on the runtime of its request. It holds the exchange's lease, and
//! ends when both sides have, when one breaks, when none sends for too long, and at its target's
//! deregistration delay. Whether there may be one is decided above.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    time::{Instant, Sleep, sleep_until, timeout},
};

use crate::{lease::Lease, outcome::End};

/// How much is read at once, and so how much may be held, in each direction, for a side that takes no
/// more: few enough system calls for much data, and little memory for a client that stops reading.
const CHUNK: usize = 16 * 1024;

/// The target's side of a tunnel to come.
#[derive(Debug)]
pub(crate) enum Line {
    /// A connection, once its driver has let go of it.
    Wire(OnUpgrade),
    /// The near end of a stream to a service in this process.
    Local(DuplexStream),
}

/// A tunnel that is about to be opened.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) target: Line,
    /// How long no byte may come from either side.
    pub(crate) idle_timeout: Duration,
    pub(crate) lease: Lease,
}

impl Tunnel {
    /// Starts the task that carries. The client's server lets go of its connection once the answer is
    /// written, so this may be called before.
    pub(crate) fn open(self) {
        tokio::spawn(self.run());
    }

    async fn run(self) {
        let Self { client, target, idle_timeout, mut lease } = self;
        let load = Arc::clone(lease.load());
        let end = tokio::select! {
            biased;
            () = load.cut() => End::Cut,
            end = carry(client, target, idle_timeout, &mut lease) => end,
        };
        // Both sides are closed by now.
        lease.settle(end);
    }
}

async fn carry(client: OnUpgrade, target: Line, idle_timeout: Duration, lease: &mut Lease) -> End {
    // If the answer is not written, or another one is, this is never heard of.
    let Ok(Ok(client)) = timeout(idle_timeout, client).await else { return End::ClientLeft };
    let client = TokioIo::new(client);
    match target {
        Line::Local(target) => Pump::new(client, target, idle_timeout, lease).await,
        Line::Wire(target) => match target.await {
            Ok(target) => {
                let target = TokioIo::<Upgraded>::new(target);
                Pump::new(client, target, idle_timeout, lease).await
            }
            Err(_) => End::Truncated,
        },
    }
}

/// Carries both ways until both have ended.
struct Pump<'a, C, T> {
    lease: &'a mut Lease,
    client: C,
    target: T,
    to_target: Way,
    to_client: Way,
    idle_timeout: Duration,
    moved: Instant,
    /// Set when it fires too early, not when something moves.
    late: Pin<Box<Sleep>>,
}

impl<'a, C, T> Pump<'a, C, T> {
    fn new(client: C, target: T, idle_timeout: Duration, lease: &'a mut Lease) -> Self {
        let moved = Instant::now();
        let late = Box::pin(sleep_until(moved + idle_timeout));
        let (to_target, to_client) = (Way::default(), Way::default());
        Self { lease, client, target, to_target, to_client, idle_timeout, moved, late }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.late.as_mut().poll(cx));
            let due = self.moved + self.idle_timeout;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            self.late.as_mut().reset(due);
        }
    }
}

impl<C, T> Future for Pump<'_, C, T>
where
    C: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let mut moved = false;
        let up = this.to_target.poll(&mut this.client, &mut this.target, &mut moved, cx);
        let down = this.to_client.poll(&mut this.target, &mut this.client, &mut moved, cx);
        this.lease.carried(this.to_target.carried, this.to_client.carried);
        // Whoever said that he sends no more may well take no more either.
        let client = if this.to_target.ended { End::TunnelClosed } else { End::ClientLeft };
        let target = if this.to_client.ended { End::TunnelClosed } else { End::Truncated };
        match (up, down) {
            (Poll::Ready(Err(Broke::Reading)), _) => return Poll::Ready(client),
            (_, Poll::Ready(Err(Broke::Reading))) => return Poll::Ready(target),
            (Poll::Ready(Err(Broke::Writing)), _) => return Poll::Ready(target),
            (_, Poll::Ready(Err(Broke::Writing))) => return Poll::Ready(client),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::TunnelClosed),
            _ => {}
        }
        if moved {
            this.moved = Instant::now();
        }
        // To say nothing is nobody's fault.
        this.poll_idle(cx).map(|()| End::TunnelIdle)
    }
}

/// One direction. It holds no memory while nothing waits to be written, and reads nothing while
/// something does: who writes faster than the other side reads is stopped by his own full buffers.
#[derive(Default)]
struct Way {
    /// How many bytes were read.
    carried: u64,
    unwritten: Bytes,
    unflushed: bool,
    /// Whether the side that is read sends no more.
    ended: bool,
    /// Whether the other side was told.
    told: bool,
}

enum Broke {
    Reading,
    Writing,
}

impl Way {
    /// Carries what there is; ready when the end was passed on.
    fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broke>> {
        loop {
            ready!(self.poll_written(to, moved, cx)).map_err(|_| Broke::Writing)?;
            if self.told {
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(|_| Broke::Writing)?;
                self.told = true;
                return Poll::Ready(Ok(()));
            }
            let mut space = [MaybeUninit::uninit(); CHUNK];
            let mut read = ReadBuf::uninit(&mut space);
            let Poll::Ready(result) = Pin::new(&mut *from).poll_read(cx, &mut read) else {
                ready!(self.poll_flushed(to, cx)).map_err(|_| Broke::Writing)?;
                return Poll::Pending;
            };
            result.map_err(|_| Broke::Reading)?;
            let mut chunk = read.filled();
            self.ended = chunk.is_empty();
            self.carried += chunk.len() as u64;
            *moved |= !self.ended;
            // Mostly all of it can be written at once, and nothing has to be kept.
            while !chunk.is_empty() {
                let Poll::Ready(written) = self.poll_write(to, chunk, cx) else { break };
                chunk.advance(written.map_err(|_| Broke::Writing)?);
            }
            self.unwritten = Bytes::copy_from_slice(chunk);
        }
    }

    /// Writes what was left over.
    fn poll_written(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let unwritten = self.unwritten.clone();
            let written = ready!(self.poll_write(to, &unwritten, cx))?;
            self.unwritten.advance(written);
            *moved = true;
        }
        // An empty rest would hold the memory of all of it.
        self.unwritten = Bytes::new();
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(to).poll_write(cx, bytes))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.unflushed = true;
        Poll::Ready(Ok(written))
    }

    /// Hands on what a stream may have kept, when nothing more is there to come along.
    fn poll_flushed(
        &mut self,
        to: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(to).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "tunnel_tests.rs"]
mod tests;
