//! Puts what a log database holds into files, once, at the first start of a build that has them.

use super::lock::Lock;
use super::{FileLog, place};
use crate::error::StoreError;
use crate::fault::Faults;
use crate::log::disk::{Change, Durability, Ends, LogDisk};
use crate::log::rocks::RocksLog;
use crate::log::shared::LogShared;
use crate::poison::Poison;
use meta_core::kv::Visit;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// One round has about so many bytes.
const ROUND_BYTES: usize = 4 << 20;
/// Behind the keys of all entries and marks.
const KEYS_END: [u8; 14] = [0xff; 14];

/// Makes files of the database. Until it says at the end that the directory is the files', the
/// database is what counts, a failure leaves nothing beside it, and a start begins anew.
pub(super) fn convert(
    dir: &Path,
    group: u32,
    file_bytes: u64,
    lock: Arc<Lock>,
) -> Result<FileLog, StoreError> {
    tracing::info!(dir = %dir.display(), "the log's database becomes files");
    place::remove_files(dir)?;
    let files = written(dir, group, file_bytes, &lock);
    if files.is_err()
        && let Err(error) = place::remove_files(dir)
    {
        tracing::warn!(%error, "files of the log stay beside its database until the next start");
    }
    let files = files?;
    place::take(dir)?;
    place::remove_database(dir)?;
    tracing::info!("the log is in files");
    Ok(files)
}

/// Reads the database as a node did, with all checks, writes all rows into files, and reads those back.
fn written(
    dir: &Path,
    group: u32,
    file_bytes: u64,
    lock: &Arc<Lock>,
) -> Result<FileLog, StoreError> {
    let database = LogDisk::Rocks(RocksLog::open(dir)?);
    // RocksDB names another manifest whenever it opens a database.
    let opened = place::current(dir)?;
    let (poison, faults) = (Poison::default(), Faults::default());
    let database = LogShared::load(database, group, 0, poison, faults)?;
    let tip = database.image.lock().tip();
    let ends = Ends {
        lowest: tip,
        after: tip,
    };
    let files = FileLog::open_locked(dir, file_bytes, Arc::clone(lock))?;
    fill(&files, &database.disk, ends)?;
    drop(files);
    // As a start reads them.
    let files = FileLog::open_locked(dir, file_bytes, Arc::clone(lock))?;
    let held = summary(|visit| database.disk.snapshot().scan(&[], &KEYS_END, visit))?;
    if summary(|visit| files.snapshot().scan(&[], &KEYS_END, visit))? != held {
        let why = "the log's files do not give back what its database holds, which stays";
        return Err(StoreError::Refused(why.to_owned()));
    }
    // It may write when it is closed. Then an earlier build could open it.
    drop(database);
    lock.keep_databases_out()?;
    if place::current(dir)? != opened {
        return Err(StoreError::Locked {
            dir: dir.to_path_buf(),
        });
    }
    Ok(files)
}

/// Writes all rows.
fn fill(files: &FileLog, database: &LogDisk, ends: Ends) -> Result<(), StoreError> {
    let (mut round, mut bytes) = (Vec::new(), 0);
    let mut outcome = Ok(());
    database
        .snapshot()
        .scan(&[], &KEYS_END, &mut |key, value| {
            round.push(Change::Put(key.to_vec(), value.to_vec()));
            bytes += key.len() + value.len();
            if bytes < ROUND_BYTES {
                return ControlFlow::Continue(());
            }
            bytes = 0;
            outcome = files.write(&std::mem::take(&mut round), Durability::Now, ends);
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
    outcome?;
    files.write(&round, Durability::Now, ends)
}

/// How many rows there are, and a checksum of all of them.
fn summary(
    scan: impl FnOnce(&mut Visit<'_>) -> Result<(), StoreError>,
) -> Result<(u64, u32), StoreError> {
    let mut hasher = crc32fast::Hasher::new();
    let mut rows = 0;
    scan(&mut |key, value| {
        rows += 1;
        for part in [key, value] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        ControlFlow::Continue(())
    })?;
    Ok((rows, hasher.finalize()))
}
