//! Finds what was removed by the path that it had.

use super::{Trash, Which, is_missing};
use crate::error::{ClientError, decided};
use crate::remove_tree::Engine;
use meta_core::attr::{FileKind, Timestamp};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::TrashEntry;

/// Directories of one path that are tried, there and removed.
const TRIED_MAX: usize = 10_000;

/// A directory on the way to what was removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// The directory.
    pub ino: Ino,
    /// Whether it was removed itself.
    pub is_removed: bool,
}

/// What was removed, and how it was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The directories above it, from below the root.
    pub above: Vec<Way>,
    /// What was removed.
    pub entry: TrashEntry,
}

/// Where a search stands: the directory behind so many names.
struct At {
    way: Vec<Way>,
    ino: Ino,
    /// When it was removed itself: it was empty then, so nothing was removed from it later.
    removed: Option<Timestamp>,
}

impl<E: Engine> Trash<E> {
    /// Whether the caller may put it back.
    pub(super) fn owns(&self, entry: &TrashEntry) -> bool {
        self.caller.is_root() || self.caller.uid == entry.attr.uid
    }

    /// Which of two is meant.
    fn rank(&self, entry: &TrashEntry, which: Which) -> (bool, Timestamp) {
        (!which.own_first || self.owns(entry), entry.removed)
    }

    /// Looks through all directories that had the path. One that may not be searched does not hide what
    /// is in the others.
    pub(super) async fn find(
        &self,
        names: &[Name],
        which: Which,
    ) -> Result<Option<Found>, ClientError> {
        let Some((last, above)) = names.split_last() else {
            return Ok(None);
        };
        let mut best: Option<Found> = None;
        let mut denied = false;
        let mut tried = 0;
        let mut to_try = vec![At {
            way: Vec::new(),
            ino: Ino::ROOT,
            removed: None,
        }];
        while let Some(at) = to_try.pop() {
            let best_rank = best.as_ref().map(|best| self.rank(&best.entry, which));
            if let (Some(best), Some(removed)) = (best_rank, at.removed)
                && best >= (true, removed)
            {
                continue;
            }
            tried += 1;
            if tried > TRIED_MAX {
                if best.is_none() {
                    return Err(Refusal::LimitReached.into());
                }
                // Those that were removed last came first.
                break;
            }
            let looked = match above.get(at.way.len()) {
                Some(name) => self.next(&at, name).await.map(|next| {
                    to_try.extend(next);
                    None
                }),
                None => self.latest(at.ino, last, which).await,
            };
            match decided(looked)? {
                Ok(Some(entry)) if best_rank.is_none_or(|best| self.rank(&entry, which) > best) => {
                    let above = at.way;
                    best = Some(Found { above, entry });
                }
                Ok(_) => {}
                Err(Refusal::AccessDenied) => denied = true,
                Err(refusal) => return Err(refusal.into()),
            }
        }
        match best {
            None if denied => Err(Refusal::AccessDenied.into()),
            best => Ok(best),
        }
    }

    /// The directories that have or had a name. What is last is tried first: the one that is there.
    async fn next(&self, at: &At, name: &Name) -> Result<Vec<At>, ClientError> {
        let mut next = self.removed_directories(at.ino, name).await?;
        next.reverse();
        if let Some(attr) = self.lookup(at.ino, name).await?
            && attr.kind == FileKind::Directory
        {
            next.push((attr.ino, None));
        }
        let next = next.into_iter().map(|(ino, removed)| {
            let is_removed = removed.is_some();
            At {
                way: [at.way.as_slice(), &[Way { ino, is_removed }]].concat(),
                ino,
                removed,
            }
        });
        Ok(next.collect())
    }

    /// The directories that were removed under a name, and when, the latest first.
    async fn removed_directories(
        &self,
        parent: Ino,
        name: &Name,
    ) -> Result<Vec<(Ino, Option<Timestamp>)>, ClientError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let (entries, end) = match decided(self.page(parent, Some(name), after).await)? {
                Ok(page) => page,
                Err(refusal) if is_missing(refusal) => return Ok(found),
                Err(refusal) => return Err(refusal.into()),
            };
            after = entries.last().map(TrashEntry::cursor);
            let entries = entries.into_iter();
            let directories = entries.filter(|entry| entry.attr.kind == FileKind::Directory);
            found.extend(directories.map(|entry| (entry.attr.ino, Some(entry.removed))));
            if end || found.len() > TRIED_MAX {
                return Ok(found);
            }
        }
    }

    /// The latest that was removed under a name; with `own_first` the latest that is the caller's to put back,
    /// if there is one.
    async fn latest(
        &self,
        parent: Ino,
        name: &Name,
        which: Which,
    ) -> Result<Option<TrashEntry>, ClientError> {
        let mut after = None;
        let mut others = None;
        loop {
            let (entries, end) = match decided(self.page(parent, Some(name), after).await)? {
                Ok(page) => page,
                Err(refusal) if is_missing(refusal) => return Ok(others),
                Err(refusal) => return Err(refusal.into()),
            };
            after = entries.last().map(TrashEntry::cursor);
            let fits = |entry: &TrashEntry| which.by.is_none_or(|by| entry.removed <= by);
            for entry in entries.into_iter().filter(fits) {
                if !which.own_first || self.owns(&entry) {
                    return Ok(Some(entry));
                }
                others.get_or_insert(entry);
            }
            if end {
                return Ok(others);
            }
        }
    }

    pub(super) async fn restore_above(
        &self,
        names: &[Name],
        found: &Found,
    ) -> Result<Ino, ClientError> {
        let mut at = Ino::ROOT;
        for (name, way) in names.iter().zip(&found.above) {
            at = match self.lookup(at, name).await? {
                // One that was made since takes what was in the one before.
                Some(attr) if attr.kind == FileKind::Directory => attr.ino,
                Some(_) => return Err(Refusal::NotDirectory.into()),
                None if !way.is_removed => return Err(Refusal::Moved.into()),
                None => {
                    let ends = self.put_back(at, vec![(way.ino, name.clone())]).await?;
                    if let Some(refusal) = ends.into_iter().next().flatten() {
                        return Err(refusal.into());
                    }
                    way.ino
                }
            };
        }
        Ok(at)
    }
}
