//! Goes through all that was removed below a directory.
//!
//! Of each directory first what was removed from it is looked at, page by page, then the directories that
//! are there are gone into. What is kept are the places that come next, the deepest first: it grows with
//! the depth of the tree, and not with the number of files.

use super::{Trash, TrashEvent, is_missing};
use crate::error::{ClientError, decided};
use crate::remove_tree::Engine;
use futures::stream::{FuturesUnordered, StreamExt as _};
use meta_core::attr::{FileKind, Timestamp};
use meta_core::ids::{DentryNumber, Ino};
use meta_core::limits::TRASH_ENTRIES_MAX;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody, TrashCursor, TrashEntry};
use std::sync::Arc;

/// Names of one page of a listing.
const NAMES: u32 = 256;

/// What is done with what is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aim {
    List,
    Restore,
    Empty,
}

/// A walk through a tree.
#[derive(Debug)]
pub(super) struct Walk<E> {
    trash: Trash<E>,
    aim: Aim,
    /// Only what was removed then or later.
    since: Option<Timestamp>,
    /// Only what was removed before.
    before: Option<Timestamp>,
}

/// A directory's path, which all below it share.
#[derive(Debug)]
enum Path {
    Top(Vec<Name>),
    Below(Arc<Path>, Name),
}

impl Path {
    fn names(&self) -> Vec<Name> {
        let mut names = Vec::new();
        let mut at = self;
        loop {
            match at {
                Self::Below(above, name) => {
                    names.push(name.clone());
                    at = above;
                }
                Self::Top(first) => {
                    names.extend(first.iter().rev().cloned());
                    names.reverse();
                    return names;
                }
            }
        }
    }

    fn with(&self, name: &Name) -> Vec<Name> {
        let mut names = self.names();
        names.push(name.clone());
        names
    }
}

/// A page to look at.
#[derive(Clone, Debug)]
struct Turn {
    directory: Ino,
    path: Arc<Path>,
    page: Page,
}

#[derive(Clone, Debug)]
enum Page {
    /// Of what was removed.
    Removed(Option<Box<Passed>>),
    /// Of the names that are there.
    There(DentryNumber),
    /// Nothing is below these directories of the trash any more.
    Emptied(Vec<Ino>),
}

/// How far what was removed from a directory was looked at.
#[derive(Clone, Debug)]
struct Passed {
    last: TrashCursor,
    /// The latest of the last name, while none of that name is the caller's: one may follow.
    others: Option<TrashEntry>,
}

/// What came of a page: what is to be told, and the pages that come next, the first one last.
#[derive(Default)]
struct Done {
    events: Vec<TrashEvent>,
    next: Vec<Turn>,
}

impl<E: Engine> Walk<E> {
    pub(super) fn list(trash: Trash<E>, since: Option<Timestamp>) -> Self {
        Self {
            trash,
            aim: Aim::List,
            since,
            before: None,
        }
    }

    pub(super) fn restore(trash: Trash<E>, since: Option<Timestamp>) -> Self {
        Self {
            trash,
            aim: Aim::Restore,
            since,
            before: None,
        }
    }

    pub(super) fn empty(trash: Trash<E>, before: Option<Timestamp>) -> Self {
        Self {
            trash,
            aim: Aim::Empty,
            since: None,
            before,
        }
    }

    pub(super) async fn run(
        self,
        directory: Ino,
        path: Vec<Name>,
        in_flight: usize,
        tell: &mut (dyn FnMut(TrashEvent) + Send),
    ) -> Result<(), ClientError> {
        let mut turns = vec![Turn {
            directory,
            path: Arc::new(Path::Top(path)),
            page: Page::Removed(None),
        }];
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < in_flight.max(1)
                && let Some(turn) = turns.pop()
            {
                running.push(self.take(turn));
            }
            let Some(done) = running.next().await else {
                return Ok(());
            };
            let done: Done = done?;
            done.events.into_iter().for_each(&mut *tell);
            turns.extend(done.next);
        }
    }

    async fn take(&self, turn: Turn) -> Result<Done, ClientError> {
        let looked = match &turn.page {
            Page::Removed(after) => self.removed(&turn, after.clone()).await,
            Page::There(after) => self.there(&turn, *after).await,
            Page::Emptied(inos) => self.give_up(inos.clone()).await,
        };
        Ok(match decided(looked)? {
            Ok(done) => done,
            // It went meanwhile.
            Err(refusal) if is_missing(refusal) => Done::default(),
            Err(why) => Done {
                events: vec![TrashEvent::Stays {
                    path: turn.path.names(),
                    why,
                }],
                next: Vec::new(),
            },
        })
    }

    async fn removed(&self, turn: &Turn, passed: Option<Box<Passed>>) -> Result<Done, ClientError> {
        let after = passed.as_ref().map(|passed| passed.last.clone());
        let (entries, end) = self.trash.page(turn.directory, None, after).await?;
        let mut done = Done::default();
        let last = entries.last().map(TrashEntry::cursor).filter(|_| !end);
        let (entries, others) = match self.aim {
            Aim::Restore => self.latest(passed.map(|passed| *passed), entries, last.is_none()),
            Aim::List | Aim::Empty => (entries, None),
        };
        let next = match last {
            Some(last) => Page::Removed(Some(Box::new(Passed { last, others }))),
            None => Page::There(DentryNumber(0)),
        };
        done.next.push(Turn {
            page: next,
            ..turn.clone()
        });
        match self.aim {
            Aim::List => self.tell(turn, entries, &mut done),
            Aim::Restore => {
                // One that waited for this page may be beyond what one command takes.
                for latest in entries.chunks(TRASH_ENTRIES_MAX) {
                    self.put_back(turn, latest, &mut done).await?;
                }
            }
            Aim::Empty => {
                let files = self.below_first(turn, entries, &mut done);
                done.events.extend(self.give_up(files).await?.events);
            }
        }
        Ok(done)
    }

    fn fits(&self, entry: &TrashEntry) -> bool {
        self.since.is_none_or(|since| entry.removed >= since)
            && self.before.is_none_or(|before| entry.removed < before)
    }

    fn tell(&self, turn: &Turn, entries: Vec<TrashEntry>, done: &mut Done) {
        for entry in entries {
            if entry.attr.kind == FileKind::Directory {
                done.next
                    .push(Self::into(turn, entry.attr.ino, &entry.name));
            }
            if self.fits(&entry) {
                let path = turn.path.names();
                done.events.push(TrashEvent::Entry { path, entry });
            }
        }
    }

    fn into(turn: &Turn, directory: Ino, name: &Name) -> Turn {
        Turn {
            directory,
            path: Arc::new(Path::Below(Arc::clone(&turn.path), name.clone())),
            page: Page::Removed(None),
        }
    }

    /// Of each name the latest that the caller may put back, or the latest of all if there is none;
    /// those before it are not looked at. And what is left open by the last name of the page.
    fn latest(
        &self,
        passed: Option<Passed>,
        entries: Vec<TrashEntry>,
        is_end: bool,
    ) -> (Vec<TrashEntry>, Option<TrashEntry>) {
        let (mut name, mut others) = match passed {
            Some(Passed { last, others }) => (Some(last.name), others),
            None => (None, None),
        };
        let mut latest = Vec::new();
        for entry in entries {
            let is_first = name.as_ref() != Some(&entry.name);
            if is_first {
                latest.extend(others.take());
                name = Some(entry.name.clone());
            }
            // Of a name that is not left open, the one that counts was met.
            let counts = is_first || others.is_some();
            if !counts || !self.fits(&entry) {
                continue;
            }
            if self.trash.owns(&entry) {
                others = None;
                latest.push(entry);
            } else {
                others.get_or_insert(entry);
            }
        }
        if is_end {
            latest.extend(others.take());
        }
        (latest, others)
    }

    async fn put_back(
        &self,
        turn: &Turn,
        latest: &[TrashEntry],
        done: &mut Done,
    ) -> Result<(), ClientError> {
        let files = latest
            .iter()
            .map(|entry| (entry.attr.ino, entry.name.clone()));
        let put_back = self.trash.put_back(turn.directory, files.collect()).await;
        let ends = match decided(put_back)? {
            Ok(ends) => ends,
            // The directories in it may be the caller's to write to.
            Err(why) => {
                let path = turn.path.names();
                done.events.push(TrashEvent::Stays { path, why });
                return Ok(());
            }
        };
        let (mut files, mut directories, mut taken) = (0, 0, 0);
        for (entry, end) in latest.iter().zip(ends) {
            match end {
                None if entry.attr.kind == FileKind::Directory => directories += 1,
                None => files += 1,
                Some(Refusal::Exists) => taken += 1,
                // It was purged meanwhile, or somebody else has put it back.
                Some(Refusal::NotFound | Refusal::Stale) => {}
                Some(why) => done.events.push(TrashEvent::Stays {
                    path: turn.path.with(&entry.name),
                    why,
                }),
            }
        }
        done.events
            .push(TrashEvent::Restored { files, directories });
        if taken > 0 {
            done.events.push(TrashEvent::Taken(taken));
        }
        Ok(())
    }

    /// A directory of the trash goes after what was removed from it, which is found by the directory
    /// alone. Gives what goes at once.
    fn below_first(&self, turn: &Turn, entries: Vec<TrashEntry>, done: &mut Done) -> Vec<Ino> {
        let mut files = Vec::new();
        let mut directories = Vec::new();
        for entry in entries {
            if entry.attr.kind == FileKind::Directory {
                directories.push(entry);
            } else if self.fits(&entry) {
                files.push(entry.attr.ino);
            }
        }
        let inos = directories.iter().filter(|entry| self.fits(entry));
        let inos: Vec<Ino> = inos.map(|entry| entry.attr.ino).collect();
        if !inos.is_empty() {
            done.next.push(Turn {
                page: Page::Emptied(inos),
                ..turn.clone()
            });
        }
        let below = directories.iter();
        let below = below.map(|entry| Self::into(turn, entry.attr.ino, &entry.name));
        done.next.extend(below);
        files
    }

    async fn give_up(&self, inos: Vec<Ino>) -> Result<Done, ClientError> {
        let mut done = Done::default();
        if !inos.is_empty() {
            let emptied = self.trash.empty(inos).await?;
            done.events.push(TrashEvent::Emptied(emptied));
        }
        Ok(done)
    }

    /// Goes into the directories of a page of names.
    async fn there(&self, turn: &Turn, after: DentryNumber) -> Result<Done, ClientError> {
        let ino = turn.directory;
        if after.0 == 0 && !self.trash.caller.is_root() {
            // The engine checks who may read a directory when it is opened, as POSIX has it.
            let (read, write) = (true, false);
            self.trash
                .query(QueryBody::Open { ino, read, write })
                .await?;
        }
        let body = QueryBody::ReadDir {
            ino,
            after,
            entries_max: NAMES,
            with_attrs: false,
        };
        let Answer::Entries { entries, end, .. } = self.trash.query(body).await? else {
            return Err(super::unexpected());
        };
        let mut done = Done::default();
        if let Some(last) = entries.last()
            && !end
        {
            done.next.push(Turn {
                page: Page::There(last.number),
                ..turn.clone()
            });
        }
        let directories = entries
            .iter()
            .filter(|entry| entry.kind == FileKind::Directory);
        done.next
            .extend(directories.map(|entry| Self::into(turn, entry.ino, &entry.name)));
        Ok(done)
    }
}
