//! Answers queries from one consistent view of the tables.

mod cached;
mod clone;
mod cluster;
mod file;
pub(crate) mod quota;
mod rows;
mod slices;
mod trash;

pub use cached::{attr_of, leads_to, may_get_xattr, may_open, may_search, with_xattrs};
pub use cluster::{
    MirrorPlace, MirrorSummary, VolumeSummary, is_initialised, mirror_place, mirrors, records,
    summary,
};
pub(crate) use cluster::{records_begin, volume_ids};
pub use rows::{RowsHash, SnapshotHead, SnapshotPage, rows_hash, snapshot_head, snapshot_page};
pub(crate) use slices::{Cuts, barriers, chunk_slices, stored_slice};

use crate::ids::VolumeId;
use crate::kv::KvRead;
use crate::outcome::{Fatal, Refusal, Stop, Token};
use crate::query::{Answer, Query, QueryBody};
use crate::tables::Tables;
use clone::clones;

/// A volume's state in a view; the default if there is no such volume.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn token<K: KvRead>(view: &K, volume: VolumeId) -> Result<Token, Fatal> {
    let head = match volume {
        VolumeId::CLUSTER => None,
        volume => Tables::new(view, volume).head()?,
    };
    Ok(head.map(|head| head.token).unwrap_or_default())
}

/// Answers one query, with the state it was answered from.
///
/// # Errors
/// [`Stop::Refused`] with the errno-like reason, or [`Stop::Fatal`] if the store is damaged.
pub fn answer<K: KvRead>(view: &K, query: &Query) -> Result<(Token, Answer), Stop> {
    let tables = Tables::new(view, query.volume);
    if query.volume == VolumeId::CLUSTER {
        return Ok((Token::default(), cluster::answer(tables, &query.body)?));
    }
    let head = tables.head()?.ok_or(Refusal::UnknownVolume)?;
    let mirror = tables.mirror()?;
    if mirror.as_ref().is_some_and(|mirror| !mirror.is_loaded()) {
        return Err(Refusal::MirrorLoading.into());
    }
    // Locks are its origin's.
    if mirror.is_some() && matches!(query.body, QueryBody::GetLock(_)) {
        return Err(Refusal::Mirror.into());
    }
    let answer = match &query.body {
        QueryBody::Followers => cluster::followers(tables)?,
        QueryBody::Backup => cluster::backup(tables)?,
        QueryBody::StatVolume => cluster::stat(tables, &head)?,
        QueryBody::Sessions { after, count_max } => cluster::sessions(tables, *after, *count_max)?,
        QueryBody::Clones => Answer::Clones(clones(tables, &query.caller)?),
        QueryBody::Usage(subject) => Answer::Usage(quota::usage(tables, &query.caller, *subject)?),
        QueryBody::Amounts { inos } => quota::amounts(tables, inos)?,
        QueryBody::Limits { after, count_max } => {
            quota::limits(tables, &query.caller, *after, *count_max)?
        }
        QueryBody::Space { ino } => quota::space(tables, *ino)?,
        QueryBody::Compactable { after, count_max } => {
            slices::compactable(tables, &query.caller, *after, *count_max)?
        }
        QueryBody::PlanCompaction { ino, chunk, effort } => {
            slices::plan_compaction(tables, &query.caller, (*ino, *chunk), *effort)?
        }
        body => file::answer(tables, &query.caller, body)?,
    };
    Ok((head.token, answer))
}
