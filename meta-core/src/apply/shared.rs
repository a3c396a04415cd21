//! Slices that several rows show. Each has a row that counts them; a slice without one has a single place.

use crate::ids::{ChunkIndex, Ino, Level, SliceId, SliceOrder};
use crate::key;
use crate::kv::KvRead;
use crate::outcome::Fatal;
use crate::query::Slice;
use crate::row::{SharedSlice, SliceRow};
use crate::seeded::{Bug, has};
use crate::txn::Txn;

/// The level from which slices are shared, and made fewer.
pub(crate) const LEVEL: Level = Level(5);

/// One row more shows a slice that `slice` of file `ino` shows.
pub(super) fn share<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino, slice: &Slice) -> Result<(), Fatal> {
    let key = key::shared_slice(txn.volume(), slice.id);
    let known: Option<SharedSlice> = txn.tables().row(&key)?;
    let rows = match known {
        Some(known) => known.rows,
        None if slice.len == slice.size => 1,
        None if has_sibling(txn, ino, (slice.chunk, slice.order), slice.id)? => 2,
        None => 1,
    };
    let rows = rows
        .checked_add(1)
        .ok_or(Fatal::Exhausted("rows of a slice"))?;
    txn.put(key, &SharedSlice { rows });
    txn.has_shared();
    Ok(())
}

/// One row less shows a slice. `None` if it is not shared; else whether some row still shows it.
pub(super) fn release<B: KvRead>(txn: &mut Txn<'_, B>, id: SliceId) -> Result<Option<bool>, Fatal> {
    if !txn.may_be_shared()? {
        return Ok(None);
    }
    let key = key::shared_slice(txn.volume(), id);
    let known: Option<SharedSlice> = txn.tables().row(&key)?;
    let Some(known) = known else {
        return Ok(None);
    };
    let rows = known
        .rows
        .checked_sub(1)
        .ok_or(Fatal::Invariant("a shared slice is shown by no row"))?;
    if rows == 0 {
        txn.delete(key);
    } else {
        txn.put(key, &SharedSlice { rows });
    }
    Ok(Some(rows > 0 && !has(Bug::SharedSliceGivenUp)))
}

/// Whether a row of a slice that is not shared has another one beside it: only an appended slice has two,
/// neighbours in chunk and equal in order.
pub(super) fn has_sibling<B: KvRead>(
    txn: &Txn<'_, B>,
    ino: Ino,
    (chunk, order): (ChunkIndex, SliceOrder),
    id: SliceId,
) -> Result<bool, Fatal> {
    let neighbours = [chunk.0.checked_sub(1), chunk.0.checked_add(1)];
    for neighbour in neighbours.into_iter().flatten() {
        let key = key::slice(txn.volume(), ino, ChunkIndex(neighbour), order);
        let sibling: Option<SliceRow> = txn.tables().row(&key)?;
        if sibling.is_some_and(|sibling| sibling.id == id) {
            return Ok(true);
        }
    }
    Ok(false)
}
