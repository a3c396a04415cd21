//! The directories above what one command changes.

use super::{Change, NOWHERE, put_changed, totals};
use crate::ids::Ino;
use crate::kv::KvRead;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::quota::Subject;
use crate::row::Totals;
use crate::tables::Tables;
use crate::txn::Txn;
use std::collections::{BTreeMap, BTreeSet};

const NOT_READ: Fatal = Fatal::Invariant("a directory above a change was not read");

/// A directory with what becomes of its totals.
struct Directory {
    own_key: Vec<u8>,
    /// As it was before; one that says nothing if there was none.
    row: Totals,
    /// How many directories a file in it counts in: 1 in the root.
    depth: usize,
    change: Change,
}

/// Directories up to the root, or to the top of a hidden tree. Reading and writing rows is most of what totals cost, so each is read once
/// and written once, however many of the files that a command changes lie below it.
#[derive(Default)]
pub(super) struct Above {
    directories: BTreeMap<Ino, Directory>,
    /// Each one behind the one above it.
    order: Vec<Ino>,
    /// Where directories lie that the command has moved.
    moved: BTreeMap<Ino, Ino>,
}

impl Above {
    /// Reads a directory and all above it, as far as they were not read before. Gives how many they are.
    ///
    /// # Errors
    /// [`Refusal::LimitReached`] if they are more than `depth_max`.
    pub(super) fn walk<K: KvRead + ?Sized>(
        &mut self,
        tables: Tables<'_, K>,
        from: Ino,
        depth_max: usize,
    ) -> Result<usize, Stop> {
        let mut found = Vec::new();
        let mut at = from;
        let known = loop {
            if let Some(known) = self.directories.get(&at) {
                break known.depth;
            }
            if found.len() >= depth_max {
                return Err(Refusal::LimitReached.into());
            }
            let (own_key, mut row) = totals(tables, Subject::Directory(at))?;
            // What is made in a hidden tree by the command that shows it counts above it too.
            if let Some(parent) = self.moved.get(&at) {
                row.parent = *parent;
            }
            let above = row.parent;
            found.push((at, own_key, row));
            if at == Ino::ROOT || above == NOWHERE {
                break 0;
            }
            at = above;
        };
        let depth = known + found.len();
        if depth > depth_max {
            return Err(Refusal::LimitReached.into());
        }
        for (nearer, (ino, own_key, row)) in found.into_iter().rev().enumerate() {
            let directory = Directory {
                own_key,
                row,
                depth: known + nearer + 1,
                change: Change::default(),
            };
            self.directories.insert(ino, directory);
            self.order.push(ino);
        }
        Ok(depth)
    }

    /// A directory lies elsewhere now than its totals say.
    pub(super) fn moves(&mut self, ino: Ino, to: Ino) {
        self.moved.insert(ino, to);
    }

    /// How many were read.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Takes in a change of files that lie in a directory which was walked from.
    pub(super) fn add(&mut self, place: Ino, change: Change) -> Result<(), Fatal> {
        let directory = self.directories.get_mut(&place).ok_or(NOT_READ)?;
        directory.change.plus(change);
        Ok(())
    }

    /// Those with a limit, of a directory that was walked from and all above it.
    pub(super) fn limited(&self, from: Ino) -> Result<BTreeSet<Ino>, Fatal> {
        let mut limited = BTreeSet::new();
        let mut at = from;
        loop {
            let row = &self.directories.get(&at).ok_or(NOT_READ)?.row;
            if !row.limit.is_none() {
                limited.insert(at);
            }
            if at == Ino::ROOT || row.parent == NOWHERE {
                return Ok(limited);
            }
            at = row.parent;
        }
    }

    /// Writes the rows of those that something came to or went from.
    ///
    /// # Errors
    /// [`Refusal::OverQuota`] past a limit.
    pub(super) fn settle<B: KvRead>(mut self, txn: &mut Txn<'_, B>) -> Result<(), Stop> {
        self.rise()?;
        for directory in self.directories.into_values() {
            // What moves from one place below it to another takes as much away as it brings.
            if !directory.change.is_nothing() {
                put_changed(txn, directory.own_key, directory.row, directory.change)?;
            }
        }
        Ok(())
    }

    /// What changes in a directory changes in the one above it. The lowest come first, so that each has
    /// all of its own before it is added to another, and none is gone through twice.
    fn rise(&mut self) -> Result<(), Fatal> {
        for ino in self.order.iter().rev().filter(|ino| **ino != Ino::ROOT) {
            let directory = self.directories.get(ino).ok_or(NOT_READ)?;
            let (above, change) = (directory.row.parent, directory.change);
            if above == NOWHERE {
                continue;
            }
            let above = self.directories.get_mut(&above).ok_or(NOT_READ)?;
            above.change.plus(change);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "above_test.rs"]
mod tests;
