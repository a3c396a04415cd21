//! Which slices make up a chunk, as the engine said: cached by the file's state.

use super::VfsError;
use super::inode::Inode;
use super::vfs_core::Core;
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::ids::{ChunkIndex, Ino, SliceOrder};
use meta_core::query::{Answer, QueryBody, Slice, SliceCursor};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Chunks asked for at once: the next ones are needed soon when a file is read in order.
const CHUNKS_AHEAD: u32 = 4;
/// Answers older than what this mount knows, before that is called a fault of the server.
const FETCH_ATTEMPTS: u32 = 5;
/// Chunks that the cache is laid out for; its bytes are what bounds it.
const CHUNKS_EXPECTED: usize = 4096;

/// The slices of one chunk, oldest first.
#[derive(Debug)]
pub(super) struct ChunkTable {
    /// The file's state in which they are these.
    version: Timestamp,
    pub(super) slices: Vec<Slice>,
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<(Ino, ChunkIndex), Arc<ChunkTable>> for Bytes {
    fn weight(&self, _key: &(Ino, ChunkIndex), table: &Arc<ChunkTable>) -> u64 {
        let slices = table.slices.iter();
        let crcs: usize = slices.map(|slice| slice.frame_crcs.len()).sum();
        let rows = table.slices.len() * size_of::<Slice>();
        (128 + rows + crcs * size_of::<u32>()) as u64
    }
}

/// The cache.
#[derive(Debug)]
pub(super) struct SliceTables(Cache<(Ino, ChunkIndex), Arc<ChunkTable>, Bytes>);

impl SliceTables {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self(Cache::with_weighter(CHUNKS_EXPECTED, bytes_max, Bytes))
    }

    fn get(&self, ino: Ino, chunk: ChunkIndex, version: Timestamp) -> Option<Arc<ChunkTable>> {
        // A newer one serves as well: it holds what was committed since, by this mount or another.
        let found = self.0.get(&(ino, chunk))?;
        (found.version >= version).then_some(found)
    }
}

impl Core {
    /// The slices of a chunk in the file's state `version` or a newer one.
    pub(super) async fn table(
        &self,
        inode: &Inode,
        chunk: ChunkIndex,
        version: Timestamp,
    ) -> Result<Arc<ChunkTable>, VfsError> {
        if let Some(found) = self.tables.get(inode.ino, chunk, version) {
            self.stats.table_hits.fetch_add(1, Relaxed);
            return Ok(found);
        }
        let _fetching = inode.fetching.lock().await;
        if let Some(found) = self.tables.get(inode.ino, chunk, version) {
            self.stats.table_hits.fetch_add(1, Relaxed);
            return Ok(found);
        }
        self.stats.table_misses.fetch_add(1, Relaxed);
        for _ in 0..FETCH_ATTEMPTS {
            let fetched = self.fetch_tables(inode, chunk).await?;
            if fetched.version >= version {
                return Ok(fetched);
            }
        }
        Err(VfsError::Unexpected("an older state than one seen"))
    }

    /// Asks for a chunk, and keeps the following ones if they come along.
    async fn fetch_tables(
        &self,
        inode: &Inode,
        chunk: ChunkIndex,
    ) -> Result<Arc<ChunkTable>, VfsError> {
        let end = ChunkIndex(chunk.0.saturating_add(CHUNKS_AHEAD));
        let mut from = SliceCursor {
            chunk,
            order: SliceOrder(0),
        };
        let mut all = Vec::new();
        let mut version = None;
        // A page that ends inside this chunk is followed by the next; one that ends behind it has
        // said all that is needed.
        let complete = loop {
            let (attr, slices, next) = self.slices_from(inode.ino, from, end).await?;
            // Later pages may show a newer state. The oldest counts: what is newer is asked for
            // again when it is known to be.
            version.get_or_insert(attr.ctime);
            inode.learn(attr);
            all.extend(slices);
            match next {
                Some(next) if next.chunk <= chunk => from = next,
                Some(next) => break next.chunk,
                None => break end,
            }
        };
        let version = version.unwrap_or_default();
        let mut wanted = None;
        for index in chunk.0..complete.0 {
            let index = ChunkIndex(index);
            let own = all.iter().filter(|slice| slice.chunk == index);
            let table = Arc::new(ChunkTable {
                version,
                slices: own.cloned().collect(),
            });
            self.tables.0.insert((inode.ino, index), Arc::clone(&table));
            wanted.get_or_insert(table);
        }
        wanted.ok_or(VfsError::Unexpected("slices of another chunk"))
    }

    /// One page of a file's slices.
    pub(super) async fn slices_from(
        &self,
        ino: Ino,
        from: SliceCursor,
        end: ChunkIndex,
    ) -> Result<(Attr, Vec<Slice>, Option<SliceCursor>), VfsError> {
        let body = QueryBody::ReadSlices { ino, from, end };
        match self.meta.query(&Caller::root(), body).await? {
            Answer::Slices { attr, slices, next } if next.is_none_or(|next| next > from) => {
                Ok((attr, slices, next))
            }
            _ => Err(VfsError::Unexpected("slices")),
        }
    }
}
