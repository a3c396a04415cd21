//! What openraft is told.

use crate::config::{NodeConfig, RaftTimes};
use meta_core::seeded::{Bug, has};
use openraft::{Config, SnapshotPolicy, StepDownPolicy};

/// Entries taken from the log for one append; [`crate::network`] bounds their bytes.
const APPEND_ENTRIES_MAX: u64 = 512;
/// Requests that wait for Raft's own task. Clients are bounded well below.
const QUEUE: u64 = 65_536;
/// Entries purged together: each purge is a write of its own.
const PURGE_BATCH: u64 = 1024;

/// The settings of a node.
///
/// # Errors
/// What openraft has against them; the configuration was checked, so nothing should be left.
pub(crate) fn raft_config(config: &NodeConfig) -> Result<Config, openraft::ConfigError> {
    let RaftTimes {
        heartbeat_ms,
        election_min_ms,
        election_max_ms,
        snapshot_entries,
        keep_entries,
        lease_reads,
    } = config.raft;
    let settings = Config {
        cluster_name: "curlew".to_owned(),
        heartbeat_interval: heartbeat_ms,
        election_timeout_min: election_min_ms,
        election_timeout_max: election_max_ms,
        max_payload_entries: APPEND_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        max_in_snapshot_log_to_keep: keep_entries,
        purge_batch_size: PURGE_BATCH,
        api_channel_size: Some(QUEUE),
        notification_channel_size: Some(QUEUE),
        // A node that lost contact must not depose a leader that others hear.
        enable_pre_vote: Some(true),
        // Where leaders have leases, not before the node's quarantine is over.
        enable_elect: !lease_reads || has(Bug::StartedNodeVotes),
        // A restarted leader campaigns like anybody else: its vote is restored without a lease.
        enable_leader_restore: Some(false),
        // A follower never has less than it said it has.
        allow_log_reversion: Some(false),
        removed_leader_step_down: StepDownPolicy::After(election_min_ms),
        backoff: "100ms".to_owned(),
        ..Config::default()
    };
    settings.validate()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_settings_are_in_order() {
        let text = "node_id = 1\nlisten = \"127.0.0.1:1\"\ndata_dir = \"/d\"\n";
        let config = raft_config(&NodeConfig::parse(text).unwrap()).unwrap();
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.allow_log_reversion, Some(false));
    }
}
