//! The simulated network as nodes and clients use it.

use futures::stream;
use meta_client::transport::{Connection, Dial, Dialling};
use meta_server::Listener;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use turmoil::net::{TcpListener, TcpStream};

/// The port of every node; each is a host of its own.
pub(crate) const PORT: u16 = 7000;

/// Makes connections between simulated hosts.
#[derive(Debug)]
pub(crate) struct Network;

impl Dial for Network {
    fn dial(&self, addr: &str) -> Dialling {
        let addr = addr.to_owned();
        Box::pin(async move {
            let stream = TcpStream::connect(addr.as_str()).await?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}

/// The port of the host that calls this.
pub(crate) async fn listen() -> io::Result<Listener> {
    let addr = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    let listener = TcpListener::bind(addr).await?;
    let incoming = stream::unfold(listener, async |listener| {
        let accepted = listener.accept().await;
        let made = accepted.map(|(stream, _)| Box::new(stream) as Box<dyn Connection>);
        Some((made, listener))
    });
    Ok(Listener::of(addr, incoming))
}
