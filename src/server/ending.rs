//! How a server begins to end: its sockets are closed at once, then the word is given.
//!
//! Were a socket closed by the task that accepts, its address would be taken until the runtime comes
//! to that task, and whoever wants to listen there again would have to wait.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::{Context, Poll},
};

use tokio::net::{TcpListener, TcpStream};

use super::drain::Drain;

/// The socket of a listener, until it is closed.
#[derive(Debug)]
pub(super) struct Socket(Mutex<Option<TcpListener>>);

impl Socket {
    pub(super) fn new(socket: TcpListener) -> Self {
        Self(Mutex::new(Some(socket)))
    }

    /// Accepts the next connection. Of a closed socket there is none: who closes it gives the word.
    pub(super) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(socket) => socket.poll_accept(cx),
            None => Poll::Pending,
        }
    }

    fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Ends a server.
pub(crate) struct Ending {
    /// They are the listeners', and go with them if the server is dropped.
    pub(super) sockets: Vec<Weak<Socket>>,
    pub(super) drain: Arc<Drain>,
}

impl Ending {
    /// Closes the sockets, whose addresses are free afterwards, and lets the server drain.
    pub(crate) fn begin(&self) {
        self.sockets.iter().filter_map(Weak::upgrade).for_each(|socket| socket.close());
        self.drain.begin();
    }
}
