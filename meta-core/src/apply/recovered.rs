//! A cluster that goes on from what one node has, after more than half of it was lost for good.
//!
//! What the others acknowledged and this one lacks is lost. But mounts, mirrors and backups may still
//! hold ids and records of it, so none of these may be given a second time, to something else: every
//! volume goes on in a new epoch, as one that was restored does, and sessions begin further on. A volume
//! with locks goes on without, and without the sessions that may have had some.

use super::mirror::put;
use super::restore::skip_ids;
use super::session;
use crate::attr::Timestamp;
use crate::codec::Codec;
use crate::ids::{Epoch, SessionId, VolumeId};
use crate::key::{self, Key, Table};
use crate::kv::{KvRead, Overlay, Writes};
use crate::outcome::{Fatal, Outcome, Refusal, Reply, Success, Token};
use crate::read::volume_ids;
use crate::row::{Cluster, EpochOpened, Head, Session, SessionLocks};
use crate::tables::{Tables, last_id};
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
        writes.extend(reopen(pending, codec, scope, head, &mut cluster)?);
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
    cluster: &mut Cluster,
) -> Result<Writes, Fatal> {
    let opened = EpochOpened {
        cluster: scope.cluster,
        last: head.token.seq,
    };
    head.token.epoch = scope.epoch;
    let mut txn = Txn::begin(pending, scope)?;
    txn.put(key::epoch(scope.volume, scope.epoch), &opened);
    end_locks(&mut txn, cluster)?;
    // Another node's copy may have been recovered before, into the same epoch.
    skip_ids(&mut txn, scope.stamp);
    let (writes, _head) = txn.seal(head, codec)?;
    Ok(writes)
}

/// The nodes that were lost may have given locks that nobody here knows of. Where there are any, all
/// sessions of the volume end, so that nobody goes on under a lock that another one is given.
fn end_locks<B: KvRead>(txn: &mut Txn<'_, B>, cluster: &mut Cluster) -> Result<(), Fatal> {
    let volume = txn.volume();
    let tables = txn.tables();
    let prefix = Key::new(volume, Table::Lock).u8(key::LOCKS_COUNTED).done();
    let locked: Vec<(Vec<u8>, SessionLocks)> = tables.rows(&prefix, 1)?;
    if locked.is_empty() {
        return Ok(());
    }
    let prefix = Key::new(VolumeId::CLUSTER, Table::Session).done();
    let sessions: Vec<(Vec<u8>, Session)> = tables.rows(&prefix, usize::MAX)?;
    let ids = sessions.iter().map(|(key, _)| last_id(key).map(SessionId));
    let ids: Vec<SessionId> = ids.collect::<Result<_, Fatal>>()?;
    session::end(txn, cluster, &ids, &mut Vec::new())?;
    Ok(())
}

#[cfg(test)]
#[path = "recovered_test.rs"]
mod tests;
