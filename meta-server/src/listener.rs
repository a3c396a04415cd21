//! Where a node's connections come from: a TCP port, unless it was given something else.

use crate::open_files;
use futures::stream::{BoxStream, StreamExt as _};
use meta_client::transport::Connection;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::Error;
use tonic::transport::server::{Connected, Router, TcpIncoming};

/// Bytes that every connection of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
/// How long they may take.
const GREETING_LIMIT: Duration = Duration::from_secs(10);

/// The port of a node.
pub struct Listener {
    addr: SocketAddr,
    incoming: Incoming,
}

enum Incoming {
    Tcp(TcpListener),
    Other(BoxStream<'static, io::Result<Box<dyn Connection>>>),
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Takes the connections of a bound socket.
    ///
    /// # Errors
    /// If the socket does not know its address.
    pub fn tcp(listener: TcpListener) -> io::Result<Self> {
        Ok(Self {
            addr: listener.local_addr()?,
            incoming: Incoming::Tcp(listener),
        })
    }

    /// Takes connections that are made elsewhere, as in a simulation.
    pub fn of(
        addr: SocketAddr,
        incoming: impl futures::Stream<Item = io::Result<Box<dyn Connection>>> + Send + 'static,
    ) -> Self {
        Self {
            addr,
            incoming: Incoming::Other(incoming.boxed()),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves what comes in until `stop`, and then lets those that are there leave.
    pub(crate) async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        match self.incoming {
            Incoming::Tcp(listener) => {
                // The builder's own setting does not reach a listener that was bound elsewhere, and
                // without it small frames wait for delayed acknowledgements: 40 ms each.
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                let door = Door::new(open_files::connections_max());
                let incoming = incoming.filter_map(move |came| {
                    let let_in = match came {
                        Ok(stream) => door.let_in(stream).map(Ok),
                        Err(error) => Some(Err(error)),
                    };
                    std::future::ready(let_in)
                });
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
            Incoming::Other(incoming) => {
                let incoming = incoming.map(|made| made.map(Accepted));
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
        }
    }
}

/// Lets in so many connections at once.
struct Door {
    places: Arc<Semaphore>,
    max: usize,
    /// Connections that were turned away in a row.
    turned_away: AtomicU64,
}

impl Door {
    fn new(max: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
            turned_away: AtomicU64::new(0),
        }
    }

    /// `None` ends the connection: its other side tries again, perhaps at another node.
    fn let_in(&self, stream: TcpStream) -> Option<Guarded> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            if self.turned_away.fetch_add(1, Ordering::Relaxed) == 0 {
                let max = self.max;
                tracing::warn!(
                    max,
                    "connections are turned away: as many as allowed are open"
                );
            }
            return None;
        };
        self.turned_away.store(0, Ordering::Relaxed);
        let line = Line::default();
        Some(Guarded {
            stream,
            ended: Box::pin(line.ended.clone().cancelled_owned()),
            line,
            greeting: Some(Greeting {
                missing: PREFACE_BYTES,
                limit: Box::pin(tokio::time::sleep(GREETING_LIMIT)),
            }),
            _place: place,
        })
    }
}

/// What HTTP/2 begins with is not there yet.
struct Greeting {
    missing: usize,
    limit: Pin<Box<Sleep>>,
}

/// A connection, as those know it who answer on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    sent: Arc<AtomicU64>,
    ended: CancellationToken,
}

impl Line {
    /// Bytes that have gone out.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends the connection.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    fn note(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            let bytes = u64::try_from(*bytes).unwrap_or(u64::MAX);
            self.sent.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// A connection that is let in. One that does not begin to speak is ended.
struct Guarded {
    stream: TcpStream,
    line: Line,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Guarded {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.line.clone()
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        if let Some(greeting) = &mut self.greeting {
            greeting.missing = greeting.missing.saturating_sub(came);
            if greeting.missing == 0 {
                self.greeting = None;
            } else if greeting.limit.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.line.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.line.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A connection as the server wants it.
struct Accepted(Box<dyn Connection>);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) -> Self::ConnectInfo {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
