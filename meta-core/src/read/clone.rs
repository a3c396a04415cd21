//! How far copies of directories are.

use crate::apply::clone::jobs;
use crate::attr::Caller;
use crate::kv::KvRead;
use crate::outcome::Fatal;
use crate::query::CloneStatus;
use crate::row::CloneState;
use crate::tables::Tables;

/// Those that the caller may know of.
pub(super) fn clones<K: KvRead>(
    tables: Tables<'_, K>,
    caller: &Caller,
) -> Result<Vec<CloneStatus>, Fatal> {
    let jobs = jobs(tables)?.into_iter();
    let own = jobs.filter(|(_, job)| caller.is_root() || caller.uid == job.caller.uid);
    let status = own.map(|(id, job)| CloneStatus {
        job: id,
        source: job.source,
        parent: job.parent,
        name: job.name,
        uid: job.caller.uid,
        state: job.state,
        is_at_work: matches!(job.state, CloneState::Copying | CloneState::Again) || !job.cleared,
        files: job.mapped,
        since: job.since,
    });
    Ok(status.collect())
}
