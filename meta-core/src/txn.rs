//! The writes of one command: read through, changed, and at the end sealed as one record.

use crate::attr::Timestamp;
use crate::changelog::{Record, RecordKind, RowChange, SealedRecord};
use crate::codec::Codec;
use crate::digest::{Digest, row_hash};
use crate::ids::{ClusterId, Epoch, Ino, Seq, VolumeId};
use crate::key::{self, FIRST_LOCAL_TAG, Key, Table};
use crate::kv::{Family, KvRead, Overlay, Writes};
use crate::outcome::Fatal;
use crate::row::{Blob, Counters, Head, Inode, Row};
use crate::seeded::{Bug, has};
use crate::tables::{Tables, last_id};
use std::ops::ControlFlow;

/// What the leader and the volume say about a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) volume: VolumeId,
    pub(crate) cluster: ClusterId,
    pub(crate) epoch: Epoch,
    pub(crate) stamp: Timestamp,
}

/// What a command reads through.
pub(crate) type View<'p, B> = Overlay<&'p Overlay<B>>;

/// What a command has done to a file's row.
#[derive(Debug)]
pub(crate) struct InodeChange {
    pub(crate) ino: Ino,
    pub(crate) before: Option<Inode>,
    pub(crate) after: Option<Inode>,
}

/// One command at work.
#[derive(Debug)]
pub(crate) struct Txn<'p, B> {
    kv: Overlay<&'p Overlay<B>>,
    scope: Scope,
    /// Kept here until the end, because most commands change it more than once.
    counters: Counters,
    counters_before: Counters,
    kind: RecordKind,
    /// Whether any slice of the volume may be shared, once that was looked up.
    shared: Option<bool>,
}

impl<'p, B: KvRead> Txn<'p, B> {
    /// Begins on a volume that exists.
    pub(crate) fn begin(pending: &'p Overlay<B>, scope: Scope) -> Result<Self, Fatal> {
        let counters = Tables::new(pending, scope.volume).counters()?;
        Ok(Self {
            kv: Overlay::new(pending),
            scope,
            counters,
            counters_before: counters,
            kind: RecordKind::Change,
            shared: None,
        })
    }

    /// Begins on a volume that this command makes.
    pub(crate) fn begin_volume(pending: &'p Overlay<B>, scope: Scope) -> Self {
        Self {
            kv: Overlay::new(pending),
            scope,
            counters: Counters::default(),
            counters_before: Counters::default(),
            kind: RecordKind::Change,
            shared: None,
        }
    }

    /// Whether the volume has shared slices: most have none, and one look tells it for a whole command.
    pub(crate) fn may_be_shared(&mut self) -> Result<bool, Fatal> {
        if let Some(known) = self.shared {
            return Ok(known);
        }
        let prefix = Key::new(self.scope.volume, Table::SharedSlice).done();
        let mut any = false;
        self.tables()
            .scan(Family::State, &prefix, &key::prefix_end(&prefix), |_, _| {
                any = true;
                Ok(ControlFlow::Break(()))
            })?;
        self.shared = Some(any);
        Ok(any)
    }

    /// A slice is shared now.
    pub(crate) fn has_shared(&mut self) {
        self.shared = Some(true);
    }

    /// Takes a number even if nothing changes.
    pub(crate) fn mark_record(&mut self) {
        self.kind = RecordKind::Mark;
    }

    pub(crate) fn tables(&self) -> Tables<'_, View<'p, B>> {
        Tables::new(&self.kv, self.scope.volume)
    }

    /// Says which rows will be read or written.
    pub(crate) fn prefetch(&self, keys: Vec<Vec<u8>>) -> Result<(), Fatal> {
        self.kv.prefetch(keys)
    }

    pub(crate) fn volume(&self) -> VolumeId {
        self.scope.volume
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.scope.epoch
    }

    pub(crate) fn stamp(&self) -> Timestamp {
        self.scope.stamp
    }

    pub(crate) fn counters(&mut self) -> &mut Counters {
        &mut self.counters
    }

    /// The counters before the command, and as they are now.
    pub(crate) fn counters_changed(&self) -> (Counters, Counters) {
        (self.counters_before, self.counters)
    }

    /// What was done to files so far.
    pub(crate) fn inode_changes(&self) -> Result<Vec<InodeChange>, Fatal> {
        let mut changes = Vec::new();
        for ((family, whole), new) in self.kv.writes() {
            let Some((volume, table, _)) = key::split(whole) else {
                continue;
            };
            let is_inode = *family == Family::State && table == Table::Inode as u8;
            if !is_inode || volume != self.scope.volume {
                continue;
            }
            let below = Tables::new(*self.kv.base(), volume);
            changes.push(InodeChange {
                ino: Ino(last_id(whole)?),
                before: below.row(whole)?,
                after: new
                    .as_ref()
                    .map(|bytes| Inode::decode(whole, bytes))
                    .transpose()?,
            });
        }
        Ok(changes)
    }

    /// The keys of rows of some tables that were written so far.
    pub(crate) fn written(&self, tables: &[Table]) -> Vec<Vec<u8>> {
        let ours = |whole: &[u8]| {
            let found = key::split(whole);
            found.is_some_and(|(volume, table, _)| {
                volume == self.scope.volume && tables.iter().any(|one| *one as u8 == table)
            })
        };
        let keys = self.kv.writes().keys();
        let keys = keys.filter(|(family, whole)| *family == Family::State && ours(whole));
        keys.map(|(_, whole)| whole.clone()).collect()
    }

    pub(crate) fn put<R: Row>(&mut self, key: Vec<u8>, row: &R) {
        let bytes = row.encode(&key);
        self.kv.put(Family::State, key, bytes);
    }

    /// Puts a row whose key says it all.
    pub(crate) fn mark(&mut self, key: Vec<u8>) {
        self.put(key, &Blob::default());
    }

    pub(crate) fn delete(&mut self, key: Vec<u8>) {
        self.kv.delete(Family::State, key);
    }

    pub(crate) fn delete_record(&mut self, key: Vec<u8>) {
        self.kv.delete(Family::Changelog, key);
    }

    pub(crate) fn put_inode(&mut self, ino: Ino, inode: &Inode) {
        self.put(key::by_ino(self.scope.volume, Table::Inode, ino), inode);
    }

    /// Ends the command: seals what it did to replicated rows as the volume's next record, and
    /// gives the writes away. Without such changes no seq is taken.
    pub(crate) fn seal(
        mut self,
        mut head: Head,
        codec: &dyn Codec,
    ) -> Result<(Writes, Head), Fatal> {
        let volume = self.scope.volume;
        let head_key = key::single(volume, Table::Head);
        if self.counters != self.counters_before {
            let counters = self.counters;
            self.put(key::single(volume, Table::Counters), &counters);
        }
        let changes = self.changes(&mut head)?;
        if !changes.is_empty() || self.kind == RecordKind::Mark {
            self.take_seq(&mut head, changes, codec)?;
        }
        self.put(head_key, &head);
        Ok((self.kv.into_writes(), head))
    }

    /// Net changes of replicated rows, which the head's digests take in.
    fn changes(&self, head: &mut Head) -> Result<Vec<RowChange>, Fatal> {
        let below = self.kv.base();
        let mut changes = Vec::new();
        for ((family, whole), new) in self.kv.writes() {
            let Some((volume, table, ids)) = key::split(whole) else {
                continue;
            };
            if *family != Family::State || volume != self.scope.volume || table >= FIRST_LOCAL_TAG {
                continue;
            }
            // Of the old row no more is needed than its hash.
            let (mut is_same, mut old_hash) = (false, None);
            below.show(Family::State, whole, &mut |old| {
                is_same = old == new.as_deref();
                old_hash = old
                    .filter(|_| !is_same)
                    .map(|bytes| row_hash(table, ids, bytes));
            })?;
            if is_same {
                continue;
            }
            if has(Bug::DigestMissesTable) && table == Table::Xattr as u8 {
                changes.push(RowChange {
                    table,
                    key: ids.to_vec(),
                    old_hash,
                    new: new.clone(),
                });
                continue;
            }
            let digest = head.digests.entry(table).or_insert(Digest(0));
            old_hash.inspect(|hash| digest.remove(*hash));
            if let Some(bytes) = new {
                digest.add(row_hash(table, ids, bytes));
            }
            changes.push(RowChange {
                table,
                key: ids.to_vec(),
                old_hash,
                new: new.clone(),
            });
        }
        Ok(changes)
    }

    fn take_seq(
        &mut self,
        head: &mut Head,
        changes: Vec<RowChange>,
        codec: &dyn Codec,
    ) -> Result<(), Fatal> {
        let settings = self.tables().settings()?;
        head.token.seq = Seq(head.token.seq.0 + 1);
        head.stamp = self.scope.stamp;
        let record = Record {
            cluster: self.scope.cluster,
            volume: settings.uuid,
            epoch: head.token.epoch,
            seq: head.token.seq,
            level: settings.level,
            previous_crc: head.record_crc,
            kind: self.kind,
            stamp: self.scope.stamp,
            changes,
        };
        let sealed = SealedRecord::seal(codec.encode_record(&record));
        head.record_crc = sealed.crc;
        let bytes = sealed.to_bytes();
        head.changelog_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let key = key::record(self.scope.volume, record.epoch, record.seq);
        self.kv.put(Family::Changelog, key, bytes);
        Ok(())
    }
}
