//! Typed reading of rows, for commands and for queries alike.

use crate::ids::{ChunkIndex, DentryNumber, Ino, SessionId, SliceOrder, VolumeId};
use crate::key::{self, Ids, Table};
use crate::kv::{Family, KvRead};
use crate::lock::{LockDomain, LockKind, LockOwner, LockSet};
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::row::{
    Cluster, Counters, Cut, Dentry, Head, Hole, Inode, LockRow, Mirror, Named, Options, Row,
    Session, Settings, Totals, TrashTotals, Trashed,
};
use std::ops::ControlFlow;

/// A volume's rows in a view.
#[derive(Debug)]
pub(crate) struct Tables<'k, K: ?Sized> {
    kv: &'k K,
    volume: VolumeId,
}

impl<K: ?Sized> Clone for Tables<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K: ?Sized> Copy for Tables<'_, K> {}

impl<'k, K: KvRead + ?Sized> Tables<'k, K> {
    pub(crate) fn new(kv: &'k K, volume: VolumeId) -> Self {
        Self { kv, volume }
    }

    /// Another volume in the same view.
    pub(crate) fn of(&self, volume: VolumeId) -> Self {
        Self {
            kv: self.kv,
            volume,
        }
    }

    pub(crate) fn volume(&self) -> VolumeId {
        self.volume
    }

    /// The row under a whole key.
    pub(crate) fn row<R: Row>(&self, key: &[u8]) -> Result<Option<R>, Fatal> {
        let mut row = Ok(None);
        self.kv.show(Family::State, key, &mut |bytes| {
            row = bytes.map(|bytes| R::decode(key, bytes)).transpose();
        })?;
        row
    }

    /// A row that must exist while the volume does.
    fn required<R: Row>(&self, table: Table) -> Result<R, Fatal> {
        let key = key::single(self.volume, table);
        self.row(&key)?
            .ok_or(Fatal::Invariant("a volume lacks one of its single rows"))
    }

    pub(crate) fn head(&self) -> Result<Option<Head>, Fatal> {
        self.row(&key::single(self.volume, Table::Head))
    }

    pub(crate) fn counters(&self) -> Result<Counters, Fatal> {
        self.required(Table::Counters)
    }

    pub(crate) fn settings(&self) -> Result<Settings, Fatal> {
        self.required(Table::Settings)
    }

    /// What the volume is told to do.
    pub(crate) fn options(&self) -> Result<Options, Fatal> {
        let row = self.row(&key::single(self.volume, Table::Options))?;
        Ok(row.unwrap_or_default())
    }

    /// What all files in the trash add up to.
    pub(crate) fn trash_totals(&self) -> Result<TrashTotals, Fatal> {
        let row = self.row(&key::trash_totals(self.volume))?;
        Ok(row.unwrap_or_default())
    }

    /// What lies below a directory; nothing where nothing does and it has no limit.
    pub(crate) fn directory_totals(&self, ino: Ino) -> Result<Option<Totals>, Fatal> {
        self.row(&key::directory_totals(self.volume, ino))
    }

    /// A file in the trash, if it is there.
    pub(crate) fn trashed(&self, ino: Ino) -> Result<Option<Trashed>, Fatal> {
        self.row(&key::trashed(self.volume, ino))
    }

    /// How far the mirror is, if the volume is one.
    pub(crate) fn mirror(&self) -> Result<Option<Mirror>, Fatal> {
        self.row(&key::single(self.volume, Table::Mirror))
    }

    pub(crate) fn cluster(&self) -> Result<Option<Cluster>, Fatal> {
        self.row(&key::single(VolumeId::CLUSTER, Table::Cluster))
    }

    pub(crate) fn session(&self, session: SessionId) -> Result<Option<Session>, Fatal> {
        self.row(&key::session(session))
    }

    /// The inode, or [`Refusal::Stale`] if there is none.
    pub(crate) fn inode(&self, ino: Ino) -> Result<Inode, Stop> {
        self.row(&key::by_ino(self.volume, Table::Inode, ino))?
            .ok_or(Refusal::Stale.into())
    }

    /// The inode that a dentry leads to, which must exist.
    pub(crate) fn inode_of(&self, dentry: &Dentry) -> Result<Inode, Fatal> {
        self.row(&key::by_ino(self.volume, Table::Inode, dentry.ino))?
            .ok_or(Fatal::Invariant("a name leads to no inode"))
    }

    /// The inode, if it is a directory.
    pub(crate) fn directory(&self, ino: Ino) -> Result<Inode, Stop> {
        let inode = self.inode(ino)?;
        if inode.is_directory() {
            Ok(inode)
        } else {
            Err(Refusal::NotDirectory.into())
        }
    }

    pub(crate) fn dentry(&self, parent: Ino, name: &Name) -> Result<Option<Dentry>, Fatal> {
        self.row(&key::dentry(self.volume, parent, name))
    }

    pub(crate) fn named(&self, parent: Ino, number: DentryNumber) -> Result<Option<Named>, Fatal> {
        self.row(&key::number(self.volume, parent, number))
    }

    /// Calls `visit` with whole key and bytes for each row of a range, until it breaks or fails.
    pub(crate) fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fatal>,
    ) -> Result<(), Fatal> {
        let mut failed = None;
        self.kv.scan(
            family,
            begin,
            end,
            &mut |key, bytes| match visit(key, bytes) {
                Ok(flow) => flow,
                Err(fatal) => {
                    failed = Some(fatal);
                    ControlFlow::Break(())
                }
            },
        )?;
        failed.map_or(Ok(()), Err)
    }

    /// Rows under a prefix, at most `count_max`, as (ids, row).
    pub(crate) fn rows<R: Row>(
        &self,
        prefix: &[u8],
        count_max: usize,
    ) -> Result<Vec<(Vec<u8>, R)>, Fatal> {
        self.rows_from(prefix, &key::prefix_end(prefix), count_max)
    }

    /// Rows of a range, at most `count_max`, as (whole key, row).
    pub(crate) fn rows_from<R: Row>(
        &self,
        begin: &[u8],
        end: &[u8],
        count_max: usize,
    ) -> Result<Vec<(Vec<u8>, R)>, Fatal> {
        let mut rows = Vec::new();
        if count_max == 0 {
            return Ok(rows);
        }
        self.scan(Family::State, begin, end, |key, bytes| {
            rows.push((key.to_vec(), R::decode(key, bytes)?));
            Ok(if rows.len() < count_max {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
        Ok(rows)
    }

    /// The locks of one domain on a file.
    pub(crate) fn locks(&self, ino: Ino, domain: LockDomain) -> Result<LockSet, Fatal> {
        let prefix = key::locks(self.volume, ino, domain);
        let rows: Vec<(Vec<u8>, LockRow)> = self.rows(&prefix, usize::MAX)?;
        let held = rows.into_iter().map(|(key, row)| {
            let mut ids = Ids(key.get(prefix.len()..).unwrap_or_default());
            let owner = lock_owner(&mut ids)?;
            let first = ids.u64().ok_or(SHORT)?;
            Ok(((owner, first), row.into()))
        });
        Ok(LockSet(held.collect::<Result<_, Fatal>>()?))
    }

    /// A file's truncations by rising order, and so by rising length.
    pub(crate) fn cuts(&self, ino: Ino) -> Result<Vec<(Vec<u8>, u64, Cut)>, Fatal> {
        let rows: Vec<(Vec<u8>, Cut)> =
            self.rows(&key::by_ino(self.volume, Table::Cut, ino), usize::MAX)?;
        rows.into_iter()
            .map(|(key, cut)| Ok((last_id(&key)?, key, cut)))
            .map(|row| row.map(|(order, key, cut)| (key, order, cut)))
            .collect()
    }
}

impl<K: KvRead + ?Sized> Tables<'_, K> {
    /// The holes of a chunk by rising order, with their keys.
    pub(crate) fn holes(&self, ino: Ino, chunk: ChunkIndex) -> Result<Vec<(Vec<u8>, Hole)>, Fatal> {
        let mut prefix = key::hole(self.volume, ino, chunk, SliceOrder(0));
        prefix.truncate(prefix.len() - size_of::<u64>());
        self.rows(&prefix, usize::MAX)
    }
}

const SHORT: Fatal = Fatal::Invariant("a key is too short");

/// The owner in a key of a lock.
pub(crate) fn lock_owner(ids: &mut Ids<'_>) -> Result<LockOwner, Fatal> {
    let (session, kind, number) = (ids.u64(), ids.u8(), ids.u64());
    let kind = kind.and_then(LockKind::from_number);
    Ok(LockOwner {
        session: SessionId(session.ok_or(SHORT)?),
        kind: kind.ok_or(Fatal::Invariant("a lock without a kind"))?,
        number: number.ok_or(SHORT)?,
    })
}

/// The 64-bit number that a key ends with.
pub(crate) fn last_id(key: &[u8]) -> Result<u64, Fatal> {
    key.split_last_chunk::<8>()
        .map(|(_, id)| u64::from_be_bytes(*id))
        .ok_or(Fatal::Invariant("a key is too short"))
}

/// Where slices of `order` end: the length of the first truncation after them.
pub(crate) fn cut_at(cuts: &[(Vec<u8>, u64, Cut)], order: u64) -> u64 {
    cuts.iter()
        .find(|(_, at, _)| *at > order)
        .map_or(u64::MAX, |(_, _, cut)| cut.length)
}
