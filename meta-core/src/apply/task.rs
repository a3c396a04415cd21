//! Tasks: which session does one, and when it was done last. Rows of the cluster alone: no seq is
//! taken, and neither digest nor changelog knows of them.

use super::Done;
use crate::attr::Timestamp;
use crate::ids::SessionId;
use crate::key::{self, Table};
use crate::kv::KvRead;
use crate::limits::{BACKUP_NAME_BYTES_MAX, TASK_LEASE_MS};
use crate::outcome::{Fatal, Refusal, Success};
use crate::row::TaskClaim;
use crate::task::{Backup, Claim, NewBackup, Task};
use crate::txn::Txn;

/// Gives a task to a session, or for longer to the one that has it. Others wait while its lease
/// lasts and it lives, and everybody until the task is due.
pub(super) fn claim<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    task: Task,
    interval_ms: u64,
) -> Done {
    if interval_ms == 0 {
        return Err(Refusal::InvalidArgument.into());
    }
    let now = txn.stamp();
    let row_key = key::claim(txn.volume(), task);
    let held: Option<TaskClaim> = txn.tables().row(&row_key)?;
    let own = held.filter(|held| held.session == session);
    if own.is_none() {
        if let Some(other) = held
            && other.until > now
            && txn.tables().session(other.session)?.is_some()
        {
            let retry_ms = ms_between(now, other.until);
            return Ok(Success::Claimed(Claim::Held { retry_ms }));
        }
        let due = add_ms(last_done(txn, task)?, interval_ms);
        if now < due {
            let retry_ms = ms_between(now, due);
            return Ok(Success::Claimed(Claim::NotDue { retry_ms }));
        }
    }
    let given = TaskClaim {
        session,
        since: own.map_or(now, |own| own.since),
        until: add_ms(now, TASK_LEASE_MS),
    };
    txn.put(row_key, &given);
    Ok(Success::Claimed(Claim::Given {
        at: now,
        lease_ms: TASK_LEASE_MS,
    }))
}

/// When a task was done last. A volume that was just made has nothing yet to be saved.
fn last_done<B: KvRead>(txn: &Txn<'_, B>, task: Task) -> Result<Timestamp, Fatal> {
    let tables = txn.tables();
    let done: Option<Timestamp> = match task {
        // There is something to do, or the session finds out that there is not.
        Task::Compact => Some(Timestamp::default()),
        Task::Backup => {
            let last: Option<Backup> = tables.row(&key::single(txn.volume(), Table::Backup))?;
            last.map(|last| last.finished)
        }
    };
    match done {
        Some(done) => Ok(done),
        None => Ok(tables.settings()?.created),
    }
}

/// Gives a task back undone; another session's is left alone.
pub(super) fn release<B: KvRead>(txn: &mut Txn<'_, B>, session: SessionId, task: Task) -> Done {
    let row_key = key::claim(txn.volume(), task);
    let held: Option<TaskClaim> = txn.tables().row(&row_key)?;
    if held.is_some_and(|held| held.session == session) {
        txn.delete(row_key);
    }
    Ok(Success::Done)
}

/// Notes a backup that the session was given to make.
pub(super) fn finish_backup<B: KvRead>(
    txn: &mut Txn<'_, B>,
    session: SessionId,
    made: &NewBackup,
) -> Done {
    if made.name.is_empty() || made.name.len() > BACKUP_NAME_BYTES_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let row_key = key::claim(txn.volume(), Task::Backup);
    let held: Option<TaskClaim> = txn.tables().row(&row_key)?;
    if held.is_none_or(|held| held.session != session) {
        return Err(Refusal::ClaimLost.into());
    }
    let backup = Backup {
        finished: txn.stamp(),
        made: made.clone(),
    };
    txn.delete(row_key);
    txn.put(key::single(txn.volume(), Table::Backup), &backup);
    Ok(Success::Done)
}

/// Ends what a session that ends was given.
pub(super) fn end_claims<B: KvRead>(txn: &mut Txn<'_, B>, session: SessionId) -> Result<(), Fatal> {
    for task in Task::ALL {
        let row_key = key::claim(txn.volume(), task);
        let held: Option<TaskClaim> = txn.tables().row(&row_key)?;
        if held.is_some_and(|held| held.session == session) {
            txn.delete(row_key);
        }
    }
    Ok(())
}

const NANOS_PER_MS: u128 = 1_000_000;

/// Milliseconds from one time to a later one, rounded up.
fn ms_between(from: Timestamp, to: Timestamp) -> u64 {
    let nanos = u128::try_from(to.as_nanos() - from.as_nanos()).unwrap_or(0);
    u64::try_from(nanos.div_ceil(NANOS_PER_MS)).unwrap_or(u64::MAX)
}

/// The time so many milliseconds later, or the last that there is.
fn add_ms(time: Timestamp, ms: u64) -> Timestamp {
    let whole = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    // Both are below a second.
    let rest = u32::try_from(ms % 1000).unwrap_or(0) * 1_000_000;
    let nanos = time.nanos.saturating_add(rest);
    let carry = nanos / 1_000_000_000;
    Timestamp {
        seconds: time
            .seconds
            .saturating_add(whole)
            .saturating_add(i64::from(carry)),
        nanos: nanos % 1_000_000_000,
    }
}

#[cfg(test)]
#[path = "task_test.rs"]
mod tests;
