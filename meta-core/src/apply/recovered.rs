//! A cluster that goes on from what one node has, after more than half of it was lost for good.
//!
//! What the others acknowledged and this one lacks is lost. But mounts, mirrors and backups may still
//! hold ids and records of it, so none of these may be given a second time, to something else: every
//! volume goes on in a new epoch, as one that was restored does, and sessions begin further on.

use super::mirror::put;
use super::restore::skip_ids;
use crate::attr::Timestamp;
use crate::codec::Codec;
use crate::ids::{Epoch, VolumeId};
use crate::key::{self, Table};
use crate::kv::{KvRead, Overlay, Writes};
use crate::outcome::{Fatal, Outcome, Refusal, Reply, Success, Token};
use crate::read::volume_ids;
use crate::row::{Cluster, EpochOpened, Head};
use crate::tables::Tables;
use crate::txn::{Scope, Txn};

/// More sessions than anybody can have opened meanwhile.
const SESSIONS_SKIPPED: u64 = 1 << 32;

/// Opens a new epoch in every volume that is not a mirror: those have their ids from their origin.
pub(crate) fn all<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    stamp: Timestamp,
    mut cluster: Cluster,
) -> Result<(Writes, Reply), Fatal> {
    let answer = |outcome| Reply {
        token: Token::default(),
        stamp,
        outcome,
    };
    let mut writes = Writes::new();
    for volume in volume_ids(Tables::new(pending, VolumeId::CLUSTER))? {
        let tables = Tables::new(pending, volume);
        let (Some(head), None) = (tables.head()?, tables.mirror()?) else {
            continue;
        };
        let Some(epoch) = head.token.epoch.0.checked_add(1).map(Epoch) else {
            let refused = Outcome::Refused(Refusal::LimitReached);
            return Ok((Writes::new(), answer(refused)));
        };
        let scope = Scope {
            volume,
            cluster: cluster.id,
            epoch,
            stamp: stamp.max(head.stamp.next()),
        };
        writes.extend(reopen(pending, codec, scope, head)?);
    }
    cluster.next_session = cluster.next_session.saturating_add(SESSIONS_SKIPPED);
    put(
        &mut writes,
        key::single(VolumeId::CLUSTER, Table::Cluster),
        &cluster,
    );
    Ok((writes, answer(Outcome::Done(Success::Done))))
}

fn reopen<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    scope: Scope,
    mut head: Head,
) -> Result<Writes, Fatal> {
    let opened = EpochOpened {
        cluster: scope.cluster,
        last: head.token.seq,
    };
    head.token.epoch = scope.epoch;
    let mut txn = Txn::begin(pending, scope)?;
    txn.put(key::epoch(scope.volume, scope.epoch), &opened);
    // Another node's copy may have been recovered before, into the same epoch.
    skip_ids(&mut txn, scope.stamp);
    let (writes, _head) = txn.seal(head, codec)?;
    Ok(writes)
}

#[cfg(test)]
#[path = "recovered_test.rs"]
mod tests;
