//! An origin's mirrors, as it knows them, and how each of them says that it is.

use crate::output;
use anyhow::{Context, Result, anyhow};
use meta_client::{Cluster, MetaUrl, MirrorInfo, MirrorStatus, NodeStatus, VolumeStatus};
use std::time::Duration;

/// What the node that leads says of itself.
const LEADER: &str = "leader";
/// How long one node may take to answer.
const NODE_LIMIT: Duration = Duration::from_secs(2);

/// A mirror as its origin knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    /// Where it is, or why what is stored of it cannot be read.
    pub(super) url: Result<MetaUrl, String>,
}

/// A mirror as it says itself.
#[derive(Clone, Debug)]
pub(super) struct Said {
    /// Whether it is the leader that says so.
    pub(super) leads: bool,
    pub(super) volume: VolumeStatus,
    pub(super) mirror: MirrorStatus,
}

impl Said {
    /// Why a mirror that stopped has, and where.
    pub(super) fn stop(&self) -> String {
        let state = output::plain(&self.mirror.state);
        match self.mirror.stopped_at {
            0 => format!("{state}, while it was loading"),
            seq => format!("{state}, at record {seq}"),
        }
    }
}

/// The mirrors that the origin was told of.
pub(super) async fn known(cluster: &Cluster, url: &MetaUrl) -> Result<Vec<Known>> {
    let info = cluster
        .find_volume(&url.volume)
        .await
        .with_context(|| format!("volume `{}`", url.volume))?;
    let followers = cluster.followers(info.id).await?;
    let known = followers.into_iter().map(|(name, info)| Known {
        url: stored_url(&info),
        name,
    });
    Ok(known.collect())
}

fn stored_url(info: &[u8]) -> Result<MetaUrl, String> {
    let info: MirrorInfo = serde_json::from_slice(info)
        .map_err(|error| format!("what the origin stores of it cannot be read: {error}"))?;
    info.mirror.parse().map_err(|error| format!("{error}"))
}

/// What the mirror's leader says; if there is none, what any of its nodes says.
pub(super) async fn ask(url: &MetaUrl) -> Result<Said> {
    let (leads, volume) = volume(url).await?;
    let mirror = volume.mirror.clone();
    let mirror = mirror.with_context(|| format!("its volume `{}` is no mirror", url.volume))?;
    Ok(Said {
        leads,
        volume,
        mirror,
    })
}

/// A volume as its leader knows it, and that it is one; if there is none, as any of its nodes does.
pub(super) async fn volume(url: &MetaUrl) -> Result<(bool, VolumeStatus)> {
    let asked = url
        .addrs
        .iter()
        .map(|addr| meta_client::node_status(addr, NODE_LIMIT));
    let answers = futures::future::join_all(asked).await;
    let (mut best, mut last): (Option<NodeStatus>, _) = (None, None);
    for answer in answers {
        match answer {
            Ok(status) if best.as_ref().is_none_or(|best| rank(&status) > rank(best)) => {
                best = Some(status);
            }
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
    }
    let Some(best) = best else {
        return Err(last.map_or_else(|| anyhow!("it has no nodes"), Into::into));
    };
    let leads = best.state == LEADER;
    let volume = best.volumes.into_iter().find(|v| v.name == url.volume);
    let volume = volume.with_context(|| format!("it has no volume `{}`", url.volume))?;
    Ok((leads, volume))
}

fn rank(status: &NodeStatus) -> (bool, u64) {
    (status.state == LEADER, status.term)
}
