//! What a run works on: a cluster; or an origin and its mirror; or a cluster with mounts over a bucket.

use super::mounts::Mounts;
use crate::cluster::{Cluster, ClusterOptions};
use crate::fuse::fuse_missing;
use crate::pair::Pair;
use crate::proxy::Proxy;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a workload needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Setting {
    /// A cluster.
    Cluster,
    /// An origin, and a mirror that follows it.
    Mirror,
    /// A cluster, and mounts whose files are in a bucket.
    Mounts,
}

/// What a fault may reach beside nodes.
#[derive(Clone, Default, Debug)]
pub(super) struct Extras {
    /// The mounts and their bucket.
    pub(super) mounts: Option<Arc<Mounts>>,
    /// The ways from the mirror to the origin.
    pub(super) stream: Option<Arc<Vec<Proxy>>>,
}

#[derive(Debug)]
enum Sides {
    One(Box<Cluster>),
    Two(Box<Pair>),
}

/// What a run works on.
#[derive(Debug)]
pub(super) struct Scene {
    // Before the clusters, so that mounts end while there is somebody to tell.
    pub(super) extras: Extras,
    sides: Sides,
}

impl Scene {
    /// Starts everything. `options` are for each cluster, the numbers those of its nodes and a mirror's.
    pub(super) async fn start(
        setting: Setting,
        options: &dyn Fn(&str, u64) -> ClusterOptions,
        (nodes, mirror_nodes): (u64, u64),
    ) -> Result<Self> {
        if setting == Setting::Mirror {
            return Self::mirrored(
                options("run-origin", nodes),
                options("run-mirror", mirror_nodes),
            )
            .await;
        }
        if setting == Setting::Mounts
            && let Some(why) = fuse_missing()
        {
            bail!("mounts cannot be had here: {why}");
        }
        let cluster = Cluster::start(options("run", nodes)).await?;
        let mut extras = Extras::default();
        if setting == Setting::Mounts {
            extras.mounts = Some(Mounts::start(&cluster).await?);
        } else {
            cluster.format("vol").await?;
        }
        let sides = Sides::One(Box::new(cluster));
        Ok(Self { extras, sides })
    }

    async fn mirrored(origin: ClusterOptions, mirror: ClusterOptions) -> Result<Self> {
        let pair = Pair::start_with(origin, mirror).await?;
        let mut stream = Vec::new();
        for addr in pair.origin.addrs() {
            // The mirror's nodes must reach it.
            stream.push(Proxy::start_at(pair.mirror.harness_ip(), &addr).await?);
        }
        // A node that does not lead names the one that does, by an address of its own network: as
        // between clouds, that leads nowhere.
        pair.mirror.bar(&pair.origin)?;
        let addrs: Vec<String> = stream.iter().map(Proxy::addr).collect();
        let url = pair.origin_url_by(&addrs.join(","));
        pair.mirroring_by(&url).await?.add("near").await?;
        pair.following(PATIENCE).await?;
        let extras = Extras {
            stream: Some(Arc::new(stream)),
            ..Extras::default()
        };
        let sides = Sides::Two(Box::new(pair));
        Ok(Self { extras, sides })
    }

    /// How many clusters there are.
    pub(super) fn count(&self) -> usize {
        match self.sides {
            Sides::One(_) => 1,
            Sides::Two(_) => 2,
        }
    }

    /// The origin is 0, its mirror 1.
    pub(super) fn side(&mut self, number: usize) -> &mut Cluster {
        match &mut self.sides {
            Sides::One(cluster) => cluster,
            Sides::Two(pair) => match number {
                0 => &mut pair.origin,
                _ => &mut pair.mirror,
            },
        }
    }

    pub(super) fn origin(&self) -> &Cluster {
        match &self.sides {
            Sides::One(cluster) => cluster,
            Sides::Two(pair) => &pair.origin,
        }
    }

    /// The volume at the mirror, if there is one.
    pub(super) fn mirror_url(&self) -> Option<String> {
        match &self.sides {
            Sides::One(_) => None,
            Sides::Two(pair) => Some(pair.mirror_url()),
        }
    }

    /// Waits until all nodes are ready, and a mirror follows.
    pub(super) async fn healed(&mut self) -> Result<()> {
        for number in 0..self.count() {
            let ready = self.side(number).wait_ready(PATIENCE).await;
            ready.context("the healed cluster does not get ready")?;
        }
        if let Sides::Two(pair) = &self.sides {
            pair.following(PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits until all copies are equal. Says what they agree on.
    pub(super) async fn agreed(&self) -> Result<String> {
        match &self.sides {
            Sides::One(cluster) => {
                let agreement = cluster.digests_equal(PATIENCE).await?;
                Ok(agreement.to_string())
            }
            Sides::Two(pair) => {
                pair.caught_up(PATIENCE).await?;
                let seq = pair.agreed(PATIENCE).await?;
                Ok(format!("both sides at {seq}"))
            }
        }
    }

    /// Where the run's files are.
    pub(super) fn dir(&self) -> &Path {
        self.origin().dir()
    }

    /// Leaves data and logs behind.
    pub(super) fn keep(&mut self) {
        for number in 0..self.count() {
            self.side(number).keep();
        }
    }
}
