//! Sessions and what they are granted.

use super::{Done, lock, task};
use crate::ids::{ID_COUNTER_MAX, SessionId, SliceId, VolumeId, pack_id};
use crate::key::{self, Table};
use crate::kv::KvRead;
use crate::limits::{
    GRANT_SLICES_MAX, GRANTS_PER_SESSION_MAX, SESSION_INFO_BYTES_MAX, SESSIONS_MAX,
    SLOTS_PER_SESSION_MAX,
};
use crate::lock::Woken;
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Blob, Cluster, Grant, Session, SessionRef};
use crate::tables::last_id;
use crate::txn::Txn;

/// Opens a session, or finds the one that the same nonce opened.
pub(super) fn open<B: KvRead>(
    txn: &mut Txn<'_, B>,
    mut cluster: Cluster,
    nonce: u128,
    slots: u32,
    info: &[u8],
) -> Done {
    if !(1..=SLOTS_PER_SESSION_MAX).contains(&slots) || info.len() > SESSION_INFO_BYTES_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let volume = txn.volume();
    let nonce_key = key::nonce(volume, nonce);
    if let Some(SessionRef(found)) = txn.tables().row(&nonce_key)? {
        return Ok(Success::Session(found));
    }
    if cluster.sessions >= SESSIONS_MAX as u64 {
        return Err(Refusal::LimitReached.into());
    }
    let id = SessionId(cluster.next_session);
    cluster.next_session = id.0.checked_add(1).ok_or(Fatal::Exhausted("session ids"))?;
    cluster.sessions += 1;
    let session = Session {
        volume,
        slots,
        nonce,
        opened: txn.stamp(),
        info: info.to_vec(),
    };
    txn.put(key::session(id), &session);
    txn.put(nonce_key, &SessionRef(id));
    put_cluster(txn, cluster);
    Ok(Success::Session(id))
}

/// Ends sessions; those that are gone already, or are of other volumes, are left alone.
pub(super) fn close<B: KvRead>(
    txn: &mut Txn<'_, B>,
    mut cluster: Cluster,
    sessions: &[SessionId],
) -> Done {
    let mut woken = Vec::new();
    let ended = end(txn, &mut cluster, sessions, &mut woken)?;
    if ended > 0 {
        put_cluster(txn, cluster);
    }
    if !woken.is_empty() {
        return Ok(Success::Unlocked(woken));
    }
    Ok(Success::Maintained {
        rows: ended,
        more: false,
    })
}

/// The same, but for the cluster's row. Says how many there were.
pub(super) fn end<B: KvRead>(
    txn: &mut Txn<'_, B>,
    cluster: &mut Cluster,
    sessions: &[SessionId],
    woken: &mut Vec<Woken>,
) -> Result<u32, Fatal> {
    let mut ended = 0;
    for id in sessions {
        let Some(session) = txn.tables().session(*id)? else {
            continue;
        };
        if session.volume != txn.volume() {
            continue;
        }
        txn.delete(key::session(*id));
        txn.delete(key::nonce(txn.volume(), session.nonce));
        for table in [Table::Slot, Table::Grant] {
            clear(txn, &key::by_session(txn.volume(), table, *id))?;
        }
        task::end_claims(txn, *id)?;
        lock::end_session(txn, *id, woken)?;
        cluster.sessions = cluster
            .sessions
            .checked_sub(1)
            .ok_or(Fatal::Invariant("a session of a cluster with none"))?;
        ended += 1;
    }
    Ok(ended)
}

fn put_cluster<B: KvRead>(txn: &mut Txn<'_, B>, cluster: Cluster) {
    txn.put(key::single(VolumeId::CLUSTER, Table::Cluster), &cluster);
}

/// Deletes all rows under a prefix; slots and grants of a session are bounded.
fn clear<B: KvRead>(txn: &mut Txn<'_, B>, prefix: &[u8]) -> Result<(), Fatal> {
    for key in keys(txn, prefix)? {
        txn.delete(key);
    }
    Ok(())
}

fn keys<B: KvRead>(txn: &Txn<'_, B>, prefix: &[u8]) -> Result<Vec<Vec<u8>>, Fatal> {
    let rows: Vec<(Vec<u8>, Blob)> = txn.tables().rows(prefix, usize::MAX)?;
    Ok(rows.into_iter().map(|(key, _)| key).collect())
}

/// Grants slice ids.
pub(super) fn grant<B: KvRead>(txn: &mut Txn<'_, B>, session: SessionId, count: u32) -> Done {
    if !(1..=GRANT_SLICES_MAX).contains(&count) {
        return Err(Refusal::InvalidArgument.into());
    }
    revoke_oldest(txn, session, 1)?;
    let epoch = txn.epoch();
    let counters = txn.counters();
    let first = counters.next_slice;
    let next = first + u64::from(count);
    if next > ID_COUNTER_MAX {
        return Err(Refusal::LimitReached.into());
    }
    counters.next_slice = next;
    let id = |counter| SliceId(pack_id(epoch, 0, counter));
    txn.put(
        key::grant(txn.volume(), session, id(next - 1)),
        &Grant { first: id(first) },
    );
    Ok(Success::Granted {
        first: id(first),
        count,
    })
}

/// Makes room for one more of the session's ranges: past the bound the oldest ids are revoked.
fn revoke_oldest<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    room: usize,
) -> Result<(), Fatal> {
    let held = keys(txn, &key::by_session(txn.volume(), Table::Grant, session))?;
    let over = (held.len() + room).saturating_sub(GRANTS_PER_SESSION_MAX);
    held.into_iter().take(over).for_each(|key| txn.delete(key));
    Ok(())
}

/// Takes one id out of the session's grants: each can be committed once.
pub(super) fn take_granted<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    id: SliceId,
) -> Result<(), Stop> {
    let volume = txn.volume();
    let begin = key::grant(volume, session, id);
    let end = key::prefix_end(&key::by_session(volume, Table::Grant, session));
    let found: Vec<(Vec<u8>, Grant)> = txn.tables().rows_from(&begin, &end, 1)?;
    let (key, Grant { first }) = found.into_iter().next().ok_or(Refusal::GrantRevoked)?;
    if first > id {
        return Err(Refusal::GrantRevoked.into());
    }
    let last = SliceId(last_id(&key)?);
    if first < id {
        txn.put(
            key::grant(volume, session, SliceId(id.0 - 1)),
            &Grant { first },
        );
    }
    if id < last {
        txn.put(
            key,
            &Grant {
                first: SliceId(id.0 + 1),
            },
        );
    } else {
        txn.delete(key);
    }
    if first < id && id < last {
        // A range became two.
        revoke_oldest(txn, session, 0)?;
    }
    Ok(())
}
