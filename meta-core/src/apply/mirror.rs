//! A volume that follows another cluster: its rows come from a snapshot and then from records,
//! each checked against what is there. Nothing else changes them.
//!
//! No operation is executed again here: a record says which rows differ, and the hash of each row
//! before. So two versions of this program cannot come to different rows by the same records.

use super::maintain;
use crate::attr::Timestamp;
use crate::changelog::{Record, RecordKind, SealedRecord};
use crate::codec::Codec;
use crate::command::{CreateMirror, LoadRows, MirrorStep, Reads};
use crate::digest::{Digest, row_hash};
use crate::ids::{Seq, VolumeId};
use crate::key::{self, FIRST_LOCAL_TAG, Table};
use crate::kv::{Family, KvRead, Overlay, Writes};
use crate::limits::{
    LEVEL_UNSAID, MAINTENANCE_ROWS_MAX, MIRROR_INFO_BYTES_MAX, MIRROR_RECORDS_MAX, MIRROR_ROWS_MAX,
    STORAGE_BYTES_MAX,
};
use crate::outcome::{
    Fatal, MirrorState, Outcome, Refusal, Reply, Stop, StopReason, Success, Token,
};
use crate::row::{self, Blob, Cluster, Head, Mirror, Row, VolumeRef};
use crate::seeded::{Bug, has};
use crate::tables::Tables;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Makes a mirror; again with the same name, uuid and origin finds it.
pub(crate) fn create<B: KvRead>(
    pending: &Overlay<B>,
    stamp: Timestamp,
    create: &CreateMirror,
    mut cluster: Cluster,
) -> Result<(Writes, Reply), Fatal> {
    let answer = |outcome| Reply {
        token: Token::default(),
        stamp,
        outcome,
    };
    let sound = super::volume::is_name(&create.name)
        && create.storage.len() <= STORAGE_BYTES_MAX
        && create.info.len() <= MIRROR_INFO_BYTES_MAX
        && create.origin != cluster.id;
    if !sound {
        let refused = Outcome::Refused(Refusal::InvalidArgument);
        return Ok((Writes::new(), answer(refused)));
    }
    let name_key = key::volume_name(&create.name);
    let tables = Tables::new(pending, VolumeId::CLUSTER);
    if let Some(VolumeRef(found)) = tables.row(&name_key)? {
        let same = tables.of(found).mirror()?.is_some_and(|mirror| {
            mirror.state != MirrorState::Restoring
                && (mirror.uuid, mirror.origin) == (create.uuid, create.origin)
        });
        if !same {
            let refused = Outcome::Refused(Refusal::VolumeExists);
            return Ok((Writes::new(), answer(refused)));
        }
        // Said again, it tells where the origin is now.
        let mut writes = Writes::new();
        let info = Blob(create.info.clone());
        put(&mut writes, key::single(found, Table::MirrorInfo), &info);
        return Ok((writes, answer(Outcome::Done(Success::Volume(found)))));
    }
    let Some(id) = super::volume::take_number(&mut cluster) else {
        return Ok((
            Writes::new(),
            answer(Outcome::Refused(Refusal::LimitReached)),
        ));
    };
    let mirror = Mirror {
        state: MirrorState::Loading,
        uuid: create.uuid,
        origin: create.origin,
        snapshot: Token::default(),
        snapshot_crc: 0,
        stopped_at: Seq(0),
        cursor: Vec::new(),
    };
    let head = Head {
        changelog_first: Seq(1),
        ..Head::default()
    };
    let mut writes = Writes::new();
    put(&mut writes, key::single(id, Table::Mirror), &mirror);
    put(&mut writes, key::single(id, Table::Head), &head);
    let storage = Blob(create.storage.clone());
    put(&mut writes, key::single(id, Table::Storage), &storage);
    let info = Blob(create.info.clone());
    put(&mut writes, key::single(id, Table::MirrorInfo), &info);
    let cluster_key = key::single(VolumeId::CLUSTER, Table::Cluster);
    put(&mut writes, cluster_key, &cluster);
    put(&mut writes, name_key, &VolumeRef(id));
    Ok((writes, answer(Outcome::Done(Success::Volume(id)))))
}

pub(super) fn put<R: Row>(writes: &mut Writes, key: Vec<u8>, row: &R) {
    let bytes = row.encode(&key);
    writes.insert((Family::State, key), Some(bytes));
}

/// A step on a mirror: its writes, and the volume's state after it.
pub(crate) fn step<B: KvRead>(
    pending: &Overlay<B>,
    codec: &dyn Codec,
    volume: VolumeId,
    head: Head,
    mirror: Mirror,
    (step, reads): (&MirrorStep, Reads),
) -> Result<(Writes, Token, Outcome), Fatal> {
    let before = head.token;
    let mut work = Work::new(pending, codec, volume, head, mirror);
    work.reads = Some(reads);
    match work.run(step) {
        Ok(()) => {
            let state = work.mirror.state;
            let (writes, token) = work.finish();
            Ok((writes, token, Outcome::Done(Success::Mirrored(state))))
        }
        Err(Stop::Refused(refusal)) => Ok((Writes::new(), before, Outcome::Refused(refusal))),
        Err(Stop::Fatal(fatal)) => Err(fatal),
    }
}

/// Drops the oldest records.
pub(crate) fn trim_changelog<B: KvRead>(
    pending: &Overlay<B>,
    volume: VolumeId,
    mut head: Head,
    keep_from: Seq,
) -> Result<(Writes, Token, Outcome), Fatal> {
    let token = head.token;
    let oldest = match maintain::oldest_records(Tables::new(pending, volume), &mut head, keep_from)
    {
        Ok(oldest) => oldest,
        Err(Stop::Refused(refusal)) => {
            return Ok((Writes::new(), token, Outcome::Refused(refusal)));
        }
        Err(Stop::Fatal(fatal)) => return Err(fatal),
    };
    let done = maintain::step(oldest.keys.len(), oldest.more);
    let mut writes = Writes::new();
    put(&mut writes, key::single(volume, Table::Head), &head);
    writes.extend(
        oldest
            .keys
            .into_iter()
            .map(|key| ((Family::Changelog, key), None)),
    );
    Ok((writes, token, Outcome::Done(done)))
}

pub(super) struct Work<'p, 'c, B> {
    kv: Overlay<&'p Overlay<B>>,
    codec: &'c dyn Codec,
    volume: VolumeId,
    head: Head,
    mirror: Mirror,
    /// The levels up to which things are taken in; nothing where no records are.
    reads: Option<Reads>,
}

impl<'p, 'c, B: KvRead> Work<'p, 'c, B> {
    pub(super) fn new(
        pending: &'p Overlay<B>,
        codec: &'c dyn Codec,
        volume: VolumeId,
        head: Head,
        mirror: Mirror,
    ) -> Self {
        Self {
            kv: Overlay::new(pending),
            codec,
            volume,
            head,
            mirror,
            reads: None,
        }
    }

    pub(super) fn state(&self) -> MirrorState {
        self.mirror.state
    }

    /// Whether all rows up to a key are those that were sent.
    pub(super) fn has_loaded(&self, through: &[u8]) -> bool {
        self.mirror.cursor == through
    }

    fn run(&mut self, step: &MirrorStep) -> Result<(), Stop> {
        match (step, self.mirror.state) {
            (
                MirrorStep::BeginLoad {
                    snapshot,
                    record_crc,
                    again,
                },
                state,
            ) => {
                if state == MirrorState::Restoring || state != MirrorState::Loading && !again {
                    return Err(Refusal::InvalidArgument.into());
                }
                self.begin_load(*snapshot, *record_crc)
            }
            (MirrorStep::Load(rows), MirrorState::Loading) => self.load(rows),
            (MirrorStep::EndLoad { stamp, digest }, MirrorState::Loading) => {
                self.end_load(*stamp, *digest)
            }
            (MirrorStep::Apply(records), MirrorState::Following) => self.apply_all(records),
            (MirrorStep::Stop { reason, at }, MirrorState::Following) => {
                self.stop(*reason, Seq(at.0.max(1)));
                Ok(())
            }
            // Zero tells for ever that the rows are of no one moment.
            (MirrorStep::Stop { reason, .. }, MirrorState::Loading) => {
                self.stop(*reason, Seq(0));
                Ok(())
            }
            // A leader that did not hear of the stop, or of the end of the loading, yet.
            (MirrorStep::Apply(_) | MirrorStep::Stop { .. }, MirrorState::Stopped(_)) => Ok(()),
            _ => Err(Refusal::MirrorGap.into()),
        }
    }

    pub(super) fn finish(mut self) -> (Writes, Token) {
        let head_key = key::single(self.volume, Table::Head);
        let bytes = self.head.encode(&head_key);
        self.kv.put(Family::State, head_key, bytes);
        let mirror_key = key::single(self.volume, Table::Mirror);
        let bytes = self.mirror.encode(&mirror_key);
        self.kv.put(Family::State, mirror_key, bytes);
        (self.kv.into_writes(), self.head.token)
    }

    fn stop(&mut self, reason: StopReason, at: Seq) {
        self.mirror.state = MirrorState::Stopped(reason);
        self.mirror.stopped_at = at;
    }

    fn begin_load(&mut self, snapshot: Token, record_crc: u32) -> Result<(), Stop> {
        let prefix = self.volume.0.to_be_bytes();
        let mut records = 0_u32;
        let end = key::prefix_end(&prefix);
        self.kv
            .scan(Family::Changelog, &prefix, &end, &mut |_, _| {
                records += 1;
                ControlFlow::Break(())
            })?;
        if records > 0 {
            return Err(Refusal::InvalidArgument.into());
        }
        self.mirror.state = MirrorState::Loading;
        self.mirror.snapshot = snapshot;
        self.mirror.snapshot_crc = record_crc;
        self.mirror.cursor.clear();
        self.mirror.stopped_at = Seq(0);
        Ok(())
    }

    /// Replaces the rows of a range of keys.
    pub(super) fn load(&mut self, load: &LoadRows) -> Result<(), Stop> {
        if load.after != self.mirror.cursor {
            return Err(Refusal::MirrorGap.into());
        }
        if load.rows.len() > MIRROR_ROWS_MAX || load.through <= load.after {
            return Err(Refusal::InvalidArgument.into());
        }
        let mut last = load.after.as_slice();
        for (key, bytes) in &load.rows {
            if key.as_slice() <= last || *key > load.through {
                return Err(Refusal::InvalidArgument.into());
            }
            last = key;
            if !is_replicated(key)
                || row::check_crc(&key::in_volume(self.volume, key), bytes).is_err()
            {
                self.stop(StopReason::SnapshotDiffers, self.mirror.snapshot.seq);
                return Ok(());
            }
        }
        let wanted: BTreeMap<&[u8], &[u8]> = load
            .rows
            .iter()
            .map(|(key, bytes)| (key.as_slice(), bytes.as_slice()))
            .collect();
        let left_over = self.left_over(load, &wanted)?;
        let whole = left_over.len() <= MAINTENANCE_ROWS_MAX as usize;
        for key in left_over.iter().take(MAINTENANCE_ROWS_MAX as usize) {
            self.change(key, None)?;
        }
        for (key, bytes) in wanted {
            self.change(key, Some(bytes))?;
        }
        // With more to remove, the same rows are sent once more.
        if whole {
            self.mirror.cursor.clone_from(&load.through);
        }
        Ok(())
    }

    /// Rows of an earlier snapshot in the range that the new one does not have.
    fn left_over(
        &self,
        load: &LoadRows,
        wanted: &BTreeMap<&[u8], &[u8]>,
    ) -> Result<Vec<Vec<u8>>, Fatal> {
        let mut begin = key::in_volume(self.volume, &load.after);
        if !load.after.is_empty() {
            begin.push(0);
        }
        let mut end = key::in_volume(self.volume, &load.through);
        end.push(0);
        let mut found = Vec::new();
        self.kv.scan(Family::State, &begin, &end, &mut |key, _| {
            let tag_and_ids = key.get(4..).unwrap_or_default();
            if is_replicated(tag_and_ids) && !wanted.contains_key(tag_and_ids) {
                found.push(tag_and_ids.to_vec());
            }
            if found.len() > MAINTENANCE_ROWS_MAX as usize {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        Ok(found)
    }

    fn end_load(&mut self, stamp: Timestamp, digest: u128) -> Result<(), Stop> {
        let last_table = [FIRST_LOCAL_TAG];
        if self.mirror.cursor.as_slice() < last_table.as_slice() {
            return Err(Refusal::MirrorGap.into());
        }
        if self.head.digest() != Digest(digest) {
            self.stop(StopReason::SnapshotDiffers, self.mirror.snapshot.seq);
            return Ok(());
        }
        let level = Tables::new(&self.kv, self.volume).settings()?.level;
        let read = self.reads.and_then(|reads| reads.snapshots);
        if read.is_some_and(|read| level > read) {
            self.stop(StopReason::UnknownLevel, self.mirror.snapshot.seq);
            return Ok(());
        }
        self.head.token = self.mirror.snapshot;
        self.head.record_crc = self.mirror.snapshot_crc;
        self.head.stamp = stamp;
        self.head.changelog_first = Seq(self.head.token.seq.0 + 1);
        self.head.changelog_bytes = 0;
        self.mirror.state = MirrorState::Following;
        Ok(())
    }

    fn apply_all(&mut self, records: &[SealedRecord]) -> Result<(), Stop> {
        if records.len() > MIRROR_RECORDS_MAX {
            return Err(Refusal::InvalidArgument.into());
        }
        for (index, sealed) in records.iter().enumerate() {
            let expected = Seq(self.head.token.seq.0 + 1);
            match self.judge(sealed)? {
                // The node keeps a view of the rows at a mark, so nothing may follow it.
                Verdict::Next(record)
                    if record.kind == RecordKind::Mark && index + 1 < records.len() =>
                {
                    return Err(Refusal::InvalidArgument.into());
                }
                Verdict::Next(record) => match self.take(&record)? {
                    Ok(()) => self.advance(&record, sealed),
                    Err(reason) => {
                        self.stop(reason, record.seq);
                        return Ok(());
                    }
                },
                Verdict::Known => {}
                Verdict::Wrong(reason) => {
                    self.stop(reason, expected);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What to do with a record.
    fn judge(&self, sealed: &SealedRecord) -> Result<Verdict, Stop> {
        if !sealed.is_intact() {
            return Ok(Verdict::Wrong(StopReason::WrongCrc));
        }
        let Ok(record) = self.codec.decode_record(&sealed.body) else {
            return Ok(Verdict::Wrong(StopReason::UnreadableRecord));
        };
        let token = self.head.token;
        let read = self.reads.map_or(LEVEL_UNSAID, |reads| reads.records);
        let wrong = [
            (
                record.cluster != self.mirror.origin,
                StopReason::WrongCluster,
            ),
            (record.volume != self.mirror.uuid, StopReason::WrongVolume),
            (record.epoch != token.epoch, StopReason::WrongEpoch),
            (record.level > read, StopReason::UnknownLevel),
        ];
        if let Some((_, reason)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Ok(Verdict::Wrong(reason));
        }
        if record.seq <= token.seq {
            return Ok(match self.applied_crc(record.seq)? {
                Some(crc) if crc != sealed.crc => Verdict::Wrong(StopReason::Forked),
                _ => Verdict::Known,
            });
        }
        if record.seq.0 > token.seq.0 + 1 {
            return Err(Refusal::MirrorGap.into());
        }
        if record.previous_crc != self.head.record_crc {
            return Ok(Verdict::Wrong(StopReason::WrongChain));
        }
        Ok(Verdict::Next(record))
    }

    /// The crc of a record that was applied, if it is retained.
    fn applied_crc(&self, seq: Seq) -> Result<Option<u32>, Fatal> {
        if seq == self.head.token.seq {
            return Ok(Some(self.head.record_crc));
        }
        let key = key::record(self.volume, self.head.token.epoch, seq);
        let bytes = self.kv.get(Family::Changelog, &key)?;
        let sealed = bytes.map(|bytes| SealedRecord::from_bytes(&bytes));
        Ok(sealed.transpose()?.map(|sealed| sealed.crc))
    }

    /// Makes a record's changes, if each row is what it was at the origin. A record that does not
    /// fit leaves no trace.
    fn take(&mut self, record: &Record) -> Result<Result<(), StopReason>, Fatal> {
        let mut keys = Vec::with_capacity(record.changes.len());
        for change in &record.changes {
            let mut tag_and_ids = vec![change.table];
            tag_and_ids.extend_from_slice(&change.key);
            let whole = key::in_volume(self.volume, &tag_and_ids);
            let old = self.kv.get(Family::State, &whole)?;
            let old = old.map(|bytes| row_hash(change.table, &change.key, &bytes));
            if old != change.old_hash {
                return Ok(Err(StopReason::RowDiffers));
            }
            let sound = change
                .new
                .as_ref()
                .is_none_or(|bytes| row::check_crc(&whole, bytes).is_ok());
            if !sound || !is_replicated(&tag_and_ids) || keys.last() >= Some(&tag_and_ids) {
                return Ok(Err(StopReason::UnreadableRecord));
            }
            keys.push(tag_and_ids);
        }
        for (change, tag_and_ids) in record.changes.iter().zip(keys) {
            if has(Bug::MirrorKeepsDeleted) && change.new.is_none() {
                continue;
            }
            self.change(&tag_and_ids, change.new.as_deref())?;
        }
        Ok(Ok(()))
    }

    fn advance(&mut self, record: &Record, sealed: &SealedRecord) {
        let bytes = sealed.to_bytes();
        self.head.token.seq = record.seq;
        self.head.record_crc = sealed.crc;
        self.head.stamp = record.stamp;
        self.head.changelog_bytes += bytes.len() as u64;
        let key = key::record(self.volume, record.epoch, record.seq);
        self.kv.put(Family::Changelog, key, bytes);
    }

    /// Changes one row, and the digest with it.
    fn change(&mut self, tag_and_ids: &[u8], new: Option<&[u8]>) -> Result<(), Fatal> {
        let Some((table, ids)) = tag_and_ids.split_first() else {
            return Err(Fatal::Invariant("a key is too short"));
        };
        let whole = key::in_volume(self.volume, tag_and_ids);
        let old = self.kv.get(Family::State, &whole)?;
        let digest = self.head.digests.entry(*table).or_default();
        if let Some(bytes) = old {
            digest.remove(row_hash(*table, ids, &bytes));
        }
        match new {
            Some(bytes) => {
                digest.add(row_hash(*table, ids, bytes));
                self.kv.put(Family::State, whole, bytes.to_vec());
            }
            None => self.kv.delete(Family::State, whole),
        }
        Ok(())
    }
}

enum Verdict {
    /// It is the next.
    Next(Record),
    /// It was applied before.
    Known,
    /// It must not be.
    Wrong(StopReason),
}

fn is_replicated(tag_and_ids: &[u8]) -> bool {
    tag_and_ids
        .first()
        .is_some_and(|tag| *tag < FIRST_LOCAL_TAG)
}

#[cfg(test)]
#[path = "mirror_test.rs"]
pub(crate) mod tests;
