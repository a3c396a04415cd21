//! Whether all nodes hold the same state.

use crate::wait;
use anyhow::Result;
use meta_client::{NodeStatus, node_status};
use std::fmt;
use std::time::Duration;

/// How long one question to a node may take.
const ASK: Duration = Duration::from_secs(2);

/// What all nodes hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreement {
    /// How many nodes were asked.
    pub nodes: usize,
    /// The log index that all of them have applied.
    pub applied: u64,
    /// One for each volume, by name.
    pub volumes: Vec<VolumeAgreement>,
}

/// The state of a volume on every node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct VolumeAgreement {
    /// Its name.
    pub name: String,
    /// Its epoch.
    pub epoch: u64,
    /// Its last change.
    pub seq: u64,
    /// The digest of its rows.
    pub digest: String,
}

impl Agreement {
    /// A volume's state.
    pub fn volume(&self, name: &str) -> Option<&VolumeAgreement> {
        self.volumes.iter().find(|volume| volume.name == name)
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nodes applied {}", self.nodes, self.applied)?;
        for volume in &self.volumes {
            write!(
                f,
                "; {} at seq {} digest {}",
                volume.name, volume.seq, volume.digest
            )?;
        }
        Ok(())
    }
}

/// Waits until the nodes at `addrs` have all applied the same and show the same digests.
///
/// # Errors
/// When they do not within `within`; the error says who showed what.
pub async fn agree(addrs: &[String], within: Duration) -> Result<Agreement> {
    wait::until("equal digests on all nodes", within, async || {
        let mut seen = Vec::new();
        for addr in addrs {
            match node_status(addr, ASK).await {
                Ok(status) => seen.push(status),
                Err(error) => return Ok(Err(format!("{addr}: {error}"))),
            }
        }
        Ok(compare(&seen))
    })
    .await
}

fn compare(nodes: &[NodeStatus]) -> Result<Agreement, String> {
    let views: Vec<Agreement> = nodes.iter().map(view).collect();
    let Some(first) = views.first() else {
        return Err("no nodes".to_owned());
    };
    if views
        .iter()
        .all(|other| other.applied == first.applied && other.volumes == first.volumes)
    {
        return Ok(Agreement {
            nodes: nodes.len(),
            ..first.clone()
        });
    }
    let each = nodes
        .iter()
        .zip(&views)
        .map(|(node, view)| format!("\n  node {} ({}): {view}", node.node_id, node.state));
    Err(each.collect())
}

fn view(node: &NodeStatus) -> Agreement {
    let mut volumes: Vec<VolumeAgreement> = node
        .volumes
        .iter()
        .map(|volume| VolumeAgreement {
            name: volume.name.clone(),
            epoch: u64::from(volume.epoch),
            seq: volume.seq,
            digest: volume.digest.clone(),
        })
        .collect();
    volumes.sort();
    Agreement {
        nodes: 1,
        applied: node.applied_index,
        volumes,
    }
}
