//! Where the log's rows are kept.

use super::file::{FileLog, FileLogSnapshot};
use super::hint::Tip;
#[cfg(feature = "rocksdb")]
use super::rocks::{RocksLog, RocksLogSnapshot};
use crate::error::StoreError;
use crate::simulated::{Halt, Pinned, SimDisk};
use std::ops::{ControlFlow, Range};
use std::time::Duration;

/// One change of the log's rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Sets a row.
    Put(Vec<u8>, Vec<u8>),
    /// Removes the rows with `begin <= key < end`.
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// Whether a write must have reached the disk when it returns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Durability {
    /// It may be lost if the machine fails; never out of order.
    Later,
    /// It must be on the disk.
    Now,
}

/// Where the log ends in the course of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ends {
    /// The lowest of all its steps.
    pub(crate) lowest: Tip,
    /// At its end.
    pub(crate) after: Tip,
}

/// The rows of one log.
#[derive(Debug)]
pub(crate) enum LogDisk {
    /// RocksDB, as builds had it that knew no files.
    #[cfg(feature = "rocksdb")]
    Rocks(RocksLog),
    /// Files of its own.
    Files(Box<FileLog>),
    /// Memory.
    Simulated(SimDisk),
}

/// The rows at one moment.
pub(crate) enum LogSnapshot<'a> {
    #[cfg(feature = "rocksdb")]
    Rocks(RocksLogSnapshot<'a>),
    Files(FileLogSnapshot),
    Simulated(Pinned<'a>),
}

impl LogDisk {
    /// Makes the changes, all or none.
    pub(crate) fn write(
        &self,
        changes: &[Change],
        durability: Durability,
        ends: Ends,
    ) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(rocks) => rocks.write(changes, durability, ends),
            Self::Files(files) => files.write(changes, durability, ends),
            Self::Simulated(disk) => disk.write(changes, durability, ends),
        }
    }

    /// The rows as they are now.
    pub(crate) fn snapshot(&self) -> LogSnapshot<'_> {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(rocks) => LogSnapshot::Rocks(rocks.snapshot()),
            Self::Files(files) => LogSnapshot::Files(files.snapshot()),
            Self::Simulated(disk) => LogSnapshot::Simulated(disk.pin()),
        }
    }

    /// Refuses a log that ends before what was known to be durable.
    pub(crate) fn check_end(&self, found: Tip) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(rocks) => rocks.check_end(found),
            Self::Files(files) => files.check_end(found),
            Self::Simulated(disk) => disk.check_end(found),
        }
    }

    /// The bytes on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(rocks) => rocks.bytes(),
            Self::Files(files) => files.bytes(),
            Self::Simulated(disk) => disk.log_bytes(),
        }
    }

    /// Whether a simulated disk stands still here, for ever.
    pub(crate) fn halts(&self, at: Halt) -> bool {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(_) => {
                let _never = at;
                false
            }
            Self::Files(_) => false,
            Self::Simulated(disk) => disk.halts(at),
        }
    }

    /// A row is now taken for durable. A simulated disk looks whether it is.
    pub(crate) fn promised(&self, key: &[u8], value: &[u8]) {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(_) => {
                let _in_order = (key, value);
            }
            Self::Files(_) => {}
            Self::Simulated(disk) => disk.promised(key, value),
        }
    }

    /// Entries are now taken to be gone for ever. A simulated disk looks whether they are.
    pub(crate) fn promised_gone(&self, group: u32, indexes: &Range<u64>) {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(_) => {
                let _in_order = (group, indexes);
            }
            Self::Files(_) => {}
            Self::Simulated(disk) => {
                let begin = super::entry_key(group, indexes.start);
                disk.promised_gone(&begin, &super::entry_key(group, indexes.end));
            }
        }
    }

    /// How long the next write takes, where that is made up.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(_) => Duration::ZERO,
            Self::Files(_) => Duration::ZERO,
            Self::Simulated(disk) => disk.delay(),
        }
    }
}

impl LogDisk {
    /// Whether there is something to settle when nothing is to be written for a while.
    pub(crate) fn is_unsettled(&self) -> bool {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(_) => false,
            Self::Files(files) => files.is_unsettled(),
            Self::Simulated(_) => false,
        }
    }

    /// Does what need not be done for each write.
    pub(crate) fn settle(&self) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(_) => Ok(()),
            Self::Files(files) => files.settle(),
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl LogSnapshot<'_> {
    /// Calls `visit` for the rows with `begin <= key < end`, in key order, until it breaks.
    pub(crate) fn scan(
        &self,
        begin: &[u8],
        end: &[u8],
        visit: &mut meta_core::kv::Visit<'_>,
    ) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "rocksdb")]
            Self::Rocks(rocks) => rocks.scan(begin, end, visit),
            Self::Files(rows) => rows.scan(begin, end, visit),
            Self::Simulated(rows) => {
                rows.scan(begin, end, visit);
                Ok(())
            }
        }
    }

    /// One row.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut end = key.to_vec();
        end.push(0);
        let mut found = None;
        self.scan(key, &end, &mut |_key, value| {
            found = Some(value.to_vec());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}
