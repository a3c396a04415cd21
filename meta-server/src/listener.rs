//! Where a node's connections come from: a TCP port, unless it was given something else.

use futures::stream::{BoxStream, StreamExt as _};
use meta_client::transport::Connection;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tonic::transport::Error;
use tonic::transport::server::{Connected, Router, TcpIncoming};

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
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
            Incoming::Other(incoming) => {
                let incoming = incoming.map(|made| made.map(Accepted));
                router.serve_with_incoming_shutdown(incoming, stop).await
            }
        }
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
