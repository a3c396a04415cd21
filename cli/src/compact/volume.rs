//! A volume that is compacted: a session on it, and its object store.

use super::place::Way;
use super::report::no_compaction;
use crate::volume_path;
use anyhow::{Context as _, Result, bail};
use chunk_store::{Limits, SliceStore, VolumeKeys, open_volume};
use fs_client::vfs::{Compactor, Stats};
use meta_client::{ClientError, Cluster, MetaSession, MetaUrl, SessionOptions};
use meta_core::attr::{Attr, Caller};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
use std::sync::Arc;
use std::time::Duration;

/// How long the cluster may take for one request, elections included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of blocks kept in memory: hardly any is read twice.
const MEMORY_BYTES: usize = 64 << 20;
/// The level from which slices can be replaced.
pub(super) const LEVEL: u32 = 5;

/// An open volume.
#[derive(Debug)]
pub(super) struct Volume {
    url: MetaUrl,
    pub(super) session: MetaSession,
    pub(super) compactor: Compactor,
}

impl Volume {
    /// Opens a session for so many chunks at a time, and the volume's object store.
    pub(super) async fn open(url: &MetaUrl, threads: u32) -> Result<Self> {
        let options = SessionOptions {
            slots: threads,
            queries: threads,
            retry_for: Some(CLUSTER_LIMIT),
            ..SessionOptions::default()
        };
        let session = MetaSession::open(url, options).await?;
        match compactor(&session).await {
            Ok(compactor) => Ok(Self {
                url: url.clone(),
                session,
                compactor,
            }),
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// Whether it is the one at this URL.
    pub(super) fn is_at(&self, url: &MetaUrl) -> bool {
        self.url == *url
    }

    /// What a way leads to.
    pub(super) async fn top(&self, way: &Way) -> Result<Attr> {
        match way {
            Way::Mounted(ino) => {
                let asked = QueryBody::GetAttr { ino: *ino };
                match self.session.query(Caller::root(), asked).await {
                    Ok(Answer::Attr(attr)) => Ok(attr),
                    Ok(_) => bail!("the cluster answered another question"),
                    Err(ClientError::Refused(Refusal::Stale | Refusal::NotFound)) => {
                        bail!("it was removed meanwhile")
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Way::Names(names) => {
                let cluster = Cluster::connect(&self.url.addrs, CLUSTER_LIMIT).await?;
                let volume = self.session.volume().id;
                volume_path::file(&cluster, volume, &Caller::root(), names).await
            }
        }
    }

    /// Ends the session.
    pub(super) async fn close(self) {
        self.session.close().await;
    }
}

async fn compactor(session: &MetaSession) -> Result<Compactor> {
    let volume = session.volume();
    if volume.level.0 < LEVEL {
        return Err(no_compaction());
    }
    let store = open_volume(&volume.storage, volume.uuid)
        .await
        .context("the volume's object store")?;
    let keys = VolumeKeys {
        uuid: volume.uuid,
        epochs: volume.epochs.clone(),
    };
    let limits = Limits {
        memory_bytes: MEMORY_BYTES,
        ..Limits::default()
    };
    let slices = SliceStore::new(store, keys, volume.block_bytes, limits);
    let stats = Arc::<Stats>::default();
    Ok(Compactor::new(Arc::new(session.clone()), slices, stats))
}
