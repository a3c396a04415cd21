//! Two clusters on loopback: an origin, and a mirror that follows it.

use crate::cluster::{Cluster, ClusterOptions, agree};
use crate::wait;
use anyhow::{Context, Result, ensure};
use meta_client::{MetaUrl, Mirroring, VolumeStatus, node_status};
use std::time::Duration;

/// How long one question to a node may take.
const ASK: Duration = Duration::from_secs(2);
/// How long the two clusters may take to answer a request.
const RETRY_FOR: Duration = Duration::from_secs(20);

/// An origin with one volume, and its mirror.
#[derive(Debug)]
pub struct Pair {
    /// Where writes go.
    pub origin: Cluster,
    /// What follows.
    pub mirror: Cluster,
    volume: String,
}

impl Pair {
    /// Starts both clusters and makes the volume, but no mirror of it yet.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(name: &str, origin_nodes: u64, mirror_nodes: u64) -> Result<Self> {
        let origin = ClusterOptions::new(&format!("{name}-origin"), origin_nodes);
        let mirror = ClusterOptions::new(&format!("{name}-mirror"), mirror_nodes);
        Self::start_with(origin, mirror).await
    }

    /// As [`Pair::start`], with settings.
    ///
    /// # Errors
    /// As [`Pair::start`].
    pub async fn start_with(origin: ClusterOptions, mirror: ClusterOptions) -> Result<Self> {
        let pair = Self {
            origin: Cluster::start(origin).await?,
            mirror: Cluster::start(mirror).await?,
            volume: "vol".to_owned(),
        };
        pair.origin.format(&pair.volume).await?;
        Ok(pair)
    }

    /// The volume at the origin.
    pub fn origin_url(&self) -> String {
        self.origin.url(&self.volume)
    }

    /// The volume at the mirror.
    pub fn mirror_url(&self) -> String {
        self.mirror.url(&self.volume)
    }

    /// The volume at the origin, by way of `addr`.
    pub fn origin_url_by(&self, addr: &str) -> String {
        format!("curlew://{addr}/{}", self.volume)
    }

    /// Both sides together, for administration.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn mirroring(&self) -> Result<Mirroring> {
        self.mirroring_by(&self.origin_url()).await
    }

    /// As [`Pair::mirroring`], with another URL of the origin: a mirror that is made with it
    /// follows by that way.
    ///
    /// # Errors
    /// When one does not answer.
    pub async fn mirroring_by(&self, origin_url: &str) -> Result<Mirroring> {
        let origin: MetaUrl = origin_url.parse().context("our own URL")?;
        let mirror: MetaUrl = self.mirror_url().parse().context("our own URL")?;
        let both = Mirroring::connect(&origin, &mirror, RETRY_FOR).await;
        both.with_context(|| self.log_tails(15))
    }

    /// Makes the mirror and waits until it follows.
    ///
    /// # Errors
    /// When it does not within `within`.
    pub async fn follow(&self, within: Duration) -> Result<()> {
        self.mirroring().await?.add("near").await?;
        self.following(within).await
    }

    /// Waits until every node of the mirror says that it follows.
    ///
    /// # Errors
    /// When one does not within `within`.
    pub async fn following(&self, within: Duration) -> Result<()> {
        let addrs = self.mirror.addrs();
        let waited = wait::until("the mirror to follow", within, async || {
            for addr in &addrs {
                let status = match node_status(addr, ASK).await {
                    Ok(status) => status,
                    Err(error) => return Ok(Err(format!("{addr}: {error}"))),
                };
                let own = status.volumes.iter().find(|v| v.name == self.volume);
                match own.and_then(|volume| volume.mirror.as_ref()) {
                    Some(mirror) if mirror.following => {}
                    Some(mirror) => return Ok(Err(format!("{addr}: {mirror:?}"))),
                    None => return Ok(Err(format!("{addr} has no mirror"))),
                }
            }
            Ok(Ok(()))
        });
        waited.await.with_context(|| self.log_tails(15))
    }

    /// Waits until the mirror has what the origin had when this was called; the seq that it is at.
    ///
    /// # Errors
    /// When it has not within `within`.
    pub async fn caught_up(&self, within: Duration) -> Result<u64> {
        let mark = self.at(&self.origin).await?.seq;
        let waited = wait::until("the mirror to catch up", within, async || {
            Ok(match self.at_mirror().await {
                Ok(volume) if volume.seq >= mark => Ok(volume.seq),
                Ok(volume) => Err(format!("{} of {mark}: {:?}", volume.seq, volume.mirror)),
                Err(error) => Err(format!("{error:#}")),
            })
        });
        waited.await.with_context(|| self.log_tails(15))
    }

    /// The volume as the first node of the mirror has it.
    ///
    /// # Errors
    /// When it does not answer, or has none.
    pub async fn at_mirror(&self) -> Result<VolumeStatus> {
        self.at(&self.mirror).await
    }

    async fn at(&self, side: &Cluster) -> Result<VolumeStatus> {
        let addrs = side.addrs();
        let addr = addrs.first().context("a cluster without nodes")?;
        let status = node_status(addr, ASK).await?;
        let own = status.volumes.into_iter().find(|v| v.name == self.volume);
        own.with_context(|| format!("{addr} has no volume {}", self.volume))
    }

    /// Waits until all nodes of both sides hold the same; the seq that they are at.
    ///
    /// # Errors
    /// When they do not within `within`, or the mirror is ahead of its origin.
    pub async fn agreed(&self, within: Duration) -> Result<u64> {
        let waited = wait::until("the two sides to agree", within, async || {
            // The mirror first: what it has applied the origin had committed before.
            let mirror = agree(&self.mirror.addrs(), within).await?;
            let origin = agree(&self.origin.addrs(), within).await?;
            let (Some(at_mirror), Some(at_origin)) =
                (mirror.volume(&self.volume), origin.volume(&self.volume))
            else {
                return Ok(Err("a side has no volume".to_owned()));
            };
            ensure!(
                at_mirror.seq <= at_origin.seq,
                "the mirror is ahead: {at_mirror:?}, {at_origin:?}"
            );
            if at_mirror.seq < at_origin.seq {
                return Ok(Err(format!("{} of {}", at_mirror.seq, at_origin.seq)));
            }
            ensure!(
                at_mirror == at_origin,
                "the sides differ: {at_mirror:?}, {at_origin:?}"
            );
            Ok(Ok(at_origin.seq))
        });
        waited.await.with_context(|| self.log_tails(15))
    }

    /// The last lines of every node's log.
    pub fn log_tails(&self, lines: usize) -> String {
        format!(
            "origin:\n{}mirror:\n{}",
            self.origin.log_tails(lines),
            self.mirror.log_tails(lines)
        )
    }
}
