//! An origin's mirrors, as it knows them, and how each of them says that it is.

use anyhow::{Context, Result, anyhow};
use meta_client::{Cluster, MetaUrl, MirrorInfo, MirrorStatus, NodeStatus, VolumeStatus};
use std::time::Duration;

/// How long one node may take to answer.
const NODE_LIMIT: Duration = Duration::from_secs(2);

/// A mirror as its origin knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) url: MetaUrl,
}

/// A mirror as it says itself.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) volume: VolumeStatus,
    pub(super) mirror: MirrorStatus,
}

/// The mirrors that the origin was told of.
pub(super) async fn known(cluster: &Cluster, url: &MetaUrl) -> Result<Vec<Known>> {
    let info = cluster
        .find_volume(&url.volume)
        .await
        .with_context(|| format!("volume `{}`", url.volume))?;
    let followers = cluster.followers(info.id).await?;
    followers
        .into_iter()
        .map(|(name, info)| {
            let info: MirrorInfo = serde_json::from_slice(&info)
                .with_context(|| format!("what is stored of mirror {name} cannot be read"))?;
            let url = info.mirror.parse::<MetaUrl>();
            let url = url.map_err(|error| anyhow!("mirror {name}: {error}"))?;
            Ok(Known { name, url })
        })
        .collect()
}

/// What the mirror's leader says; if there is none, what any of its nodes says.
pub(super) async fn ask(url: &MetaUrl) -> Result<Said> {
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
    let volume = best.volumes.into_iter().find(|v| v.name == url.volume);
    let volume = volume.with_context(|| format!("it has no volume `{}`", url.volume))?;
    let mirror = volume.mirror.clone();
    let mirror = mirror.with_context(|| format!("its volume `{}` is no mirror", url.volume))?;
    Ok(Said { volume, mirror })
}

fn rank(status: &NodeStatus) -> (bool, u64) {
    (status.state == "leader", status.term)
}
