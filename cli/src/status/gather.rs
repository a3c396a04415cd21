//! Asks every node about itself and the cluster about the volume. A node that does not answer is
//! a part of the picture, not an error.

use super::report::{BackupReport, NodeReport, StatusReport};
use crate::when::rfc3339;
use anyhow::{Context, Result, bail};
use meta_client::{ClientError, Cluster, Failure, MetaUrl, MirrorStatus, NodeStatus, VolumeStatus};
use meta_core::attr::Caller;
use meta_core::ids::SessionId;
use meta_core::query::{Answer, Query, QueryBody, SessionInfo, VolumeInfo, VolumeStat};
use meta_core::task::{Backup, BackupStatus};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long one node may take to answer.
const NODE_LIMIT: Duration = Duration::from_secs(2);
/// How long the cluster may take, an election included.
const CLUSTER_LIMIT: Duration = Duration::from_secs(4);
/// Sessions that are shown.
const SESSIONS_SHOWN_MAX: u32 = 100;

/// All that was seen.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) url: MetaUrl,
    pub(super) nodes: Vec<NodeSight>,
    pub(super) volume: Result<VolumeSight, String>,
}

/// One node.
#[derive(Debug)]
pub(super) struct NodeSight {
    /// Unknown if neither the node nor one that knows the members answers.
    pub(super) id: Option<u64>,
    pub(super) addr: String,
    pub(super) status: Result<NodeStatus, String>,
}

/// The volume, as its leader answers.
#[derive(Debug)]
pub(super) struct VolumeSight {
    pub(super) info: VolumeInfo,
    pub(super) stat: VolumeStat,
    /// The first ones.
    pub(super) sessions: Vec<SessionInfo>,
    pub(super) backup: BackupStatus,
}

/// Looks at everything at once.
pub(super) async fn gather(url: &MetaUrl) -> Sight {
    let nodes = gather_nodes(&url.addrs).await;
    let volume = if nodes.iter().any(|node| node.status.is_ok()) {
        gather_volume(url)
            .await
            .map_err(|error| format!("{error:#}"))
    } else {
        Err("no metadata node answers".to_owned())
    };
    Sight {
        url: url.clone(),
        nodes,
        volume,
    }
}

impl Sight {
    pub(super) fn report(&self) -> StatusReport {
        let token = self.volume.as_ref().ok().map(|volume| volume.stat.token);
        StatusReport {
            volume: self.url.volume.clone(),
            role: self.role(),
            epoch: token.map(|token| token.epoch.0),
            seq: token.map(|token| token.seq.0),
            leader: self.leader().map(|leader| leader.node_id),
            nodes: self.nodes.iter().map(NodeSight::report).collect(),
            digest: self
                .volume
                .as_ref()
                .ok()
                .map(|volume| volume.stat.digest.clone()),
            backup: self.last_backup().map(backup_report),
        }
    }

    fn last_backup(&self) -> Option<&Backup> {
        self.volume.as_ref().ok()?.backup.last.as_ref()
    }

    /// The node that leads in the newest term: a deposed one may not know it yet.
    pub(super) fn leader(&self) -> Option<&NodeStatus> {
        let answers = self
            .nodes
            .iter()
            .filter_map(|node| node.status.as_ref().ok());
        answers
            .filter(|status| status.state == "leader")
            .max_by_key(|status| status.term)
    }

    pub(super) fn role(&self) -> Option<String> {
        Some(self.copy_of_leader()?.role.clone())
    }

    /// How a mirror follows, as its leader knows it.
    pub(super) fn mirror(&self) -> Option<&MirrorStatus> {
        self.copy_of_leader()?.mirror.as_ref()
    }

    fn copy_of_leader(&self) -> Option<&VolumeStatus> {
        let mut volumes = self.leader()?.volumes.iter();
        volumes.find(|volume| volume.name == self.url.volume)
    }
}

fn backup_report(backup: &Backup) -> BackupReport {
    let made = &backup.made;
    BackupReport {
        time: rfc3339(backup.finished),
        epoch: made.token.epoch.0,
        seq: made.token.seq.0,
        name: made.name.clone(),
        bytes: made.bytes,
    }
}

impl NodeSight {
    fn report(&self) -> NodeReport {
        NodeReport {
            id: self.id,
            state: self.state().to_owned(),
            applied: self.status.as_ref().ok().map(|status| status.applied_index),
        }
    }

    pub(super) fn state(&self) -> &str {
        self.status
            .as_ref()
            .map_or("unreachable", |status| &status.state)
    }
}

/// The nodes of the URL, and the members that they know.
async fn gather_nodes(addrs: &[String]) -> Vec<NodeSight> {
    let mut seen = ask_all(addrs.iter().map(|addr| (None, addr.clone())).collect()).await;
    let mut members = BTreeMap::new();
    for status in seen.iter().filter_map(|node| node.status.as_ref().ok()) {
        members.insert(status.node_id, None);
    }
    for status in seen.iter().filter_map(|node| node.status.as_ref().ok()) {
        for member in &status.members {
            members
                .entry(member.id)
                .or_insert(Some(member.addr.clone()));
        }
    }
    if members.is_empty() {
        return seen;
    }
    // An address that does not answer belongs to a member that is asked by its own address, or
    // to nobody: the members are the list that counts.
    seen.retain(|node| node.status.is_ok());
    seen.sort_by_key(|node| node.id);
    seen.dedup_by_key(|node| node.id);
    let others = members
        .into_iter()
        .filter_map(|(id, addr)| Some((Some(id), addr?)));
    seen.extend(ask_all(others.collect()).await);
    seen.sort_by_key(|node| node.id);
    seen
}

async fn ask_all(nodes: Vec<(Option<u64>, String)>) -> Vec<NodeSight> {
    let mut asking = JoinSet::new();
    for (place, (id, addr)) in nodes.into_iter().enumerate() {
        asking.spawn(async move {
            let answer = meta_client::node_status(&addr, NODE_LIMIT).await;
            let status = answer.map_err(|error| error.to_string());
            let id = status.as_ref().ok().map(|status| status.node_id).or(id);
            (place, NodeSight { id, addr, status })
        });
    }
    let mut seen: Vec<(usize, NodeSight)> = asking.join_all().await;
    seen.sort_by_key(|(place, _node)| *place);
    seen.into_iter().map(|(_place, node)| node).collect()
}

async fn gather_volume(url: &MetaUrl) -> Result<VolumeSight> {
    let cluster = Cluster::connect(&url.addrs, CLUSTER_LIMIT).await?;
    let info = cluster
        .find_volume(&url.volume)
        .await
        .with_context(|| format!("volume `{}`", url.volume))?;
    let ask = async |body| {
        let query = Query {
            volume: info.id,
            caller: Caller::root(),
            body,
        };
        cluster.query(query).await
    };
    let Answer::Stat(stat) = ask(QueryBody::StatVolume).await? else {
        bail!("the cluster answered something else than the volume's totals");
    };
    let after = SessionId(0);
    let page = QueryBody::Sessions {
        after,
        count_max: SESSIONS_SHOWN_MAX,
    };
    let Answer::Sessions(sessions) = ask(page).await? else {
        bail!("the cluster answered something else than the sessions");
    };
    let backup = match ask(QueryBody::Backup).await {
        Ok(Answer::Backup(backup)) => backup,
        Ok(_) => bail!("the cluster answered something else than the backups"),
        // A cluster of an older version knows of none.
        Err(ClientError::Failed(Failure::BadRequest(_))) => BackupStatus::default(),
        Err(error) => return Err(error.into()),
    };
    Ok(VolumeSight {
        info,
        stat,
        sessions,
        backup,
    })
}
