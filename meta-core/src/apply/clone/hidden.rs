//! What nobody sees yet, or never will, nobody changes, whoever knows its number: it equals its source, and
//! no name leads out of it.

use super::{COPIED, SHORT, jobs};
use crate::changes::Changes;
use crate::command::Operation;
use crate::ids::Ino;
use crate::key::{self, CLONE_SOURCE, Ids};
use crate::kv::KvRead;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::row::InoRef;
use crate::txn::Txn;
use std::collections::BTreeSet;

/// Refuses files that are in a tree which nobody sees.
///
/// # Errors
/// [`Refusal::Stale`], as of a file that is not there.
pub(in crate::apply) fn check_seen<B: KvRead>(
    txn: &mut Txn<'_, B>,
    inos: impl IntoIterator<Item = Ino>,
) -> Result<(), Stop> {
    // Most volumes have none, and pay nothing.
    if txn.counters().clones == 0 {
        return Ok(());
    }
    let inos: BTreeSet<Ino> = inos.into_iter().collect();
    for (id, job) in jobs(txn.tables())? {
        if !job.hides() {
            continue;
        }
        for ino in &inos {
            let row_key = key::of_cloned(txn.volume(), CLONE_SOURCE, id, *ino);
            if txn.tables().row::<InoRef>(&row_key)?.is_some() {
                return Err(Refusal::Stale.into());
            }
        }
    }
    Ok(())
}

/// Refuses an operation that names such a file, before it works on it: not every walk upwards from one ends.
pub(in crate::apply) fn check_named<B: KvRead>(
    txn: &mut Txn<'_, B>,
    operation: &Operation,
) -> Result<(), Stop> {
    if txn.counters().clones == 0 {
        return Ok(());
    }
    let changes = Changes::of(operation);
    let mut named = changes.files;
    named.extend(changes.directories);
    match operation {
        Operation::Clone(asked) => named.push(asked.source),
        Operation::CopyRange(asked) => named.push(asked.from),
        Operation::Compact(asked) => named.push(asked.ino),
        Operation::Lock(wanted) => named.push(wanted.ino),
        _ => {}
    }
    check_seen(txn, named)
}

/// Refuses an operation that has written to such a file, however it came there.
pub(in crate::apply) fn check_written<B: KvRead>(
    txn: &mut Txn<'_, B>,
    operation: &Operation,
) -> Result<(), Stop> {
    // It makes such files.
    if txn.counters().clones == 0 || matches!(operation, Operation::Clone(_)) {
        return Ok(());
    }
    let written = txn.written(&COPIED);
    let inos = written.iter().map(|whole| {
        let (_, _, ids) = key::split(whole).ok_or(SHORT)?;
        Ids(ids).u64().map(Ino).ok_or(SHORT)
    });
    let inos: Vec<Ino> = inos.collect::<Result<_, Fatal>>()?;
    check_seen(txn, inos)
}
