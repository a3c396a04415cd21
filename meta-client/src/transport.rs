//! What connections are made of: TCP, unless something else was installed.

use hyper_util::rt::TokioIo;
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint, Error};
use tower::service_fn;

/// Bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// A connection that is being made.
pub type Dialling = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

/// Makes connections.
pub trait Dial: Debug + Send + Sync {
    /// Connects to `host:port`.
    fn dial(&self, addr: &str) -> Dialling;
}

static INSTALLED: OnceLock<Arc<dyn Dial>> = OnceLock::new();

/// Makes every connection of this process by `dial` from now on, those of nodes to their peers
/// too. A simulation installs its network before anything else, so that nothing in its process
/// can reach a real one.
///
/// # Errors
/// Gives `dial` back if something was installed before.
pub fn install(dial: Arc<dyn Dial>) -> Result<(), Arc<dyn Dial>> {
    INSTALLED.set(dial)
}

/// Connects now.
///
/// # Errors
/// If there is no connection within the endpoint's own limits.
pub async fn connect(endpoint: &Endpoint) -> Result<Channel, Error> {
    match INSTALLED.get() {
        None => endpoint.connect().await,
        Some(dial) => {
            let dial = Arc::clone(dial);
            let dialled = service_fn(move |uri| dialled(Arc::clone(&dial), &uri));
            endpoint.connect_with_connector(dialled).await
        }
    }
}

/// A channel that connects when it is used, and again after each failure.
pub fn connect_lazy(endpoint: &Endpoint) -> Channel {
    match INSTALLED.get() {
        None => endpoint.connect_lazy(),
        Some(dial) => {
            let dial = Arc::clone(dial);
            let dialled = service_fn(move |uri| dialled(Arc::clone(&dial), &uri));
            endpoint.connect_with_connector_lazy(dialled)
        }
    }
}

fn dialled(
    dial: Arc<dyn Dial>,
    uri: &Uri,
) -> impl Future<Output = io::Result<TokioIo<Box<dyn Connection>>>> + use<> {
    let addr = uri.authority().map(ToString::to_string);
    async move {
        let addr = addr.ok_or_else(|| io::Error::other("the address has no host"))?;
        dial.dial(&addr).await.map(TokioIo::new)
    }
}
