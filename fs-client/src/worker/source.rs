//! Where the content of a backup comes from.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use meta_client::{DumpError, DumpInfo, MetaUrl, dump};
use meta_core::outcome::Token;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, BufWriter};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Makes dumps of a volume's metadata.
pub trait DumpSource: Send + Sync + Debug + 'static {
    /// Writes all metadata of one moment to an empty file, and tells which moment. Dropped early, it
    /// stops; what was written is no dump then.
    fn dump(&self, out: Arc<File>) -> BoxFuture<'_, Result<Token, DumpError>>;
}

/// The volume's own cluster, over a connection of its own.
#[derive(Clone, Debug)]
pub struct ClusterDump {
    url: MetaUrl,
    info: DumpInfo,
}

impl ClusterDump {
    /// Dumps of the URL's volume. Nothing is asked yet.
    pub fn new(url: MetaUrl, info: DumpInfo) -> Self {
        Self { url, info }
    }
}

impl DumpSource for ClusterDump {
    fn dump(&self, out: Arc<File>) -> BoxFuture<'_, Result<Token, DumpError>> {
        let (url, info) = (self.url.clone(), self.info.clone());
        async move {
            let stop = CancellationToken::new();
            let stopped = stop.clone();
            let _stops_when_dropped = stop.drop_guard();
            let runtime = Handle::current();
            // In a thread that may block: the file is written there, and the disk may be slow.
            let work = move || {
                runtime.block_on(async move {
                    let out = BufWriter::new(&*out);
                    tokio::select! {
                        dumped = dump(&url, &info, out, |_rows| {}) => Ok(dumped?.head.token),
                        () = stopped.cancelled() => Err(interrupted()),
                    }
                })
            };
            let done = tokio::task::spawn_blocking(work).await;
            done.unwrap_or_else(|error| Err(io::Error::other(error).into()))
        }
        .boxed()
    }
}

fn interrupted() -> DumpError {
    io::Error::from(io::ErrorKind::Interrupted).into()
}
