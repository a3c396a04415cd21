//! A volume made anew from a dump: its rows come as a mirror's snapshot does, and at the end it is an
//! origin of its own, in a new epoch.

use super::mirror::{Work, put};
use super::volume::{is_name, take_number};
use crate::attr::Timestamp;
use crate::codec::Codec;
use crate::command::{BeginRestore, LoadRows};
use crate::digest::Digest;
use crate::ids::{Epoch, ID_COUNTER_MAX, Level, Seq, VolumeId, VolumeUuid};
use crate::key::{self, FIRST_LOCAL_TAG, Table};
use crate::kv::{KvRead, Overlay, Writes};
use crate::limits::STORAGE_BYTES_MAX;
use crate::outcome::{Fatal, MirrorState, Outcome, Refusal, Reply, Stop, Success, Token};
use crate::read::volume_ids;
use crate::row::{Blob, Cluster, EpochOpened, Head, Mirror, VolumeRef};
use crate::tables::Tables;
use crate::txn::{Scope, Txn};

/// 2026-01-01T00:00:00Z, in seconds since 1970.
const IDS_BEGIN: i64 = 1_767_225_600;
/// Ids per second since then that are skipped.
const IDS_PER_SECOND_BITS: u32 = 11;

/// Makes the volume, or begins anew with the one that an earlier attempt left.
pub(crate) fn begin<B: KvRead>(
    pending: &Overlay<B>,
    stamp: Timestamp,
    begin: &BeginRestore,
    mut cluster: Cluster,
) -> Result<(Writes, Reply), Fatal> {
    let answer = |outcome| Reply {
        token: Token::default(),
        stamp,
        outcome,
    };
    let refused = |refusal| Ok((Writes::new(), answer(Outcome::Refused(refusal))));
    if !is_name(&begin.name) || begin.storage.len() > STORAGE_BYTES_MAX {
        return refused(Refusal::InvalidArgument);
    }
    let tables = Tables::new(pending, VolumeId::CLUSTER);
    let name_key = key::volume_name(&begin.name);
    let mut writes = Writes::new();
    let id = match tables.row(&name_key)? {
        Some(VolumeRef(found)) if is_of(&tables.of(found), begin)? => found,
        Some(_) => return refused(Refusal::VolumeExists),
        // Two volumes over the same blocks would each delete what the other needs.
        None if is_here(tables, begin.uuid)? => return refused(Refusal::VolumeExists),
        None => {
            let Some(id) = take_number(&mut cluster) else {
                return refused(Refusal::LimitReached);
            };
            let head = Head {
                changelog_first: Seq(1),
                ..Head::default()
            };
            put(&mut writes, key::single(id, Table::Head), &head);
            let cluster_key = key::single(VolumeId::CLUSTER, Table::Cluster);
            put(&mut writes, cluster_key, &cluster);
            put(&mut writes, name_key, &VolumeRef(id));
            id
        }
    };
    let mirror = Mirror {
        state: MirrorState::Restoring,
        uuid: begin.uuid,
        origin: begin.origin,
        snapshot: begin.snapshot,
        snapshot_crc: begin.record_crc,
        stopped_at: Seq(0),
        cursor: Vec::new(),
    };
    put(&mut writes, key::single(id, Table::Mirror), &mirror);
    let storage = Blob(begin.storage.clone());
    put(&mut writes, key::single(id, Table::Storage), &storage);
    Ok((writes, answer(Outcome::Done(Success::Volume(id)))))
}

/// Whether a volume is what an earlier attempt to restore the same one left.
fn is_of<B: KvRead>(tables: &Tables<'_, Overlay<B>>, begin: &BeginRestore) -> Result<bool, Fatal> {
    let mirror = tables.mirror()?;
    Ok(mirror.is_some_and(|mirror| {
        mirror.state == MirrorState::Restoring
            && (mirror.uuid, mirror.origin) == (begin.uuid, begin.origin)
    }))
}

/// Whether the cluster has the volume under any name.
fn is_here<B: KvRead>(cluster: Tables<'_, Overlay<B>>, uuid: VolumeUuid) -> Result<bool, Fatal> {
    for id in volume_ids(cluster)? {
        let tables = cluster.of(id);
        let found = match tables.mirror()? {
            Some(mirror) => mirror.uuid,
            None => tables.settings()?.uuid,
        };
        if found == uuid {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A volume that is being restored, and what a command does to it.
pub(crate) struct Restoring<'p, 'c, B> {
    pub(crate) pending: &'p Overlay<B>,
    pub(crate) codec: &'c dyn Codec,
    pub(crate) volume: VolumeId,
    pub(crate) head: Head,
    pub(crate) mirror: Mirror,
    /// The level up to which rows are taken in.
    pub(crate) reads: Level,
}

impl<B: KvRead> Restoring<'_, '_, B> {
    /// Takes in the dump's next rows. `more` says that they have to be sent once more: much of an
    /// earlier attempt had to go first.
    pub(crate) fn rows(self, load: &LoadRows) -> Result<(Writes, Token, Outcome), Fatal> {
        let before = self.head.token;
        let refused = |refusal| Ok((Writes::new(), before, Outcome::Refused(refusal)));
        if self.mirror.state != MirrorState::Restoring {
            return refused(Refusal::Mirror);
        }
        let mut work = Work::new(
            self.pending,
            self.codec,
            self.volume,
            self.head,
            self.mirror,
        );
        match work.load(load) {
            Ok(()) if matches!(work.state(), MirrorState::Stopped(_)) => {
                refused(Refusal::InvalidArgument)
            }
            Ok(()) => {
                let more = !work.has_loaded(&load.through);
                let rows = u32::try_from(load.rows.len()).unwrap_or(u32::MAX);
                let (writes, token) = work.finish();
                let done = Success::Maintained { rows, more };
                Ok((writes, token, Outcome::Done(done)))
            }
            Err(Stop::Refused(refusal)) => refused(refusal),
            Err(Stop::Fatal(fatal)) => Err(fatal),
        }
    }

    /// Makes an origin of it: a new epoch, which `own` opens, so that no id and no record of the
    /// volume that was dumped is given twice.
    pub(crate) fn end(
        self,
        own: &Cluster,
        now: Timestamp,
        stamp: Timestamp,
        digest: u128,
    ) -> Result<(Writes, Token, Outcome), Fatal> {
        let Self {
            pending,
            codec,
            volume,
            mut head,
            mirror,
            reads,
        } = self;
        let before = head.token;
        let refused = |refusal| Ok((Writes::new(), before, Outcome::Refused(refusal)));
        if mirror.state != MirrorState::Restoring {
            return refused(Refusal::Mirror);
        }
        let complete = mirror.cursor.as_slice() >= [FIRST_LOCAL_TAG].as_slice();
        if !complete || head.digest() != Digest(digest) {
            return refused(Refusal::InvalidArgument);
        }
        let Some(epoch) = mirror.snapshot.epoch.0.checked_add(1).map(Epoch) else {
            return refused(Refusal::LimitReached);
        };
        if Tables::new(pending, volume).settings()?.level > reads {
            return refused(Refusal::NotSupported);
        }
        head.token = Token {
            epoch,
            seq: mirror.snapshot.seq,
        };
        head.record_crc = mirror.snapshot_crc;
        head.changelog_first = Seq(head.token.seq.0 + 1);
        head.changelog_bytes = 0;
        let scope = Scope {
            volume,
            cluster: own.id,
            epoch,
            stamp: now.max(stamp.next()),
        };
        let mut txn = Txn::begin(pending, scope)?;
        let opened = EpochOpened {
            cluster: own.id,
            last: mirror.snapshot.seq,
        };
        txn.put(key::epoch(volume, epoch), &opened);
        skip_ids(&mut txn, scope.stamp);
        txn.delete(key::single(volume, Table::Mirror));
        let (writes, head) = txn.seal(head, codec)?;
        Ok((writes, head.token, Outcome::Done(Success::Volume(volume))))
    }
}

/// The same dump may be restored more than once, each time into the same epoch and over the blocks
/// that the time before has written: the ids begin where the clock says.
pub(super) fn skip_ids<B: KvRead>(txn: &mut Txn<'_, B>, stamp: Timestamp) {
    let seconds = u64::try_from(stamp.seconds - IDS_BEGIN).unwrap_or(0);
    let begin = (seconds << IDS_PER_SECOND_BITS).min(ID_COUNTER_MAX / 2);
    let counters = txn.counters();
    counters.next_slice = counters.next_slice.max(begin);
    counters.next_ino = counters.next_ino.max(begin);
}

#[cfg(test)]
#[path = "restore_test.rs"]
mod tests;
