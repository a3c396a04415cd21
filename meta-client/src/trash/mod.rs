//! What was removed: finds it by the path that it had, lists it, and puts it back with its tree.
//!
//! A path may lead through directories that are there and through others that were removed. What is put
//! back begins at the top, so that all of it has its place when it comes; who runs it again after an
//! interruption goes on with what is still in the trash.

mod find;
mod tree;

pub use find::{Found, Way};

use crate::error::{ClientError, Failure, decided};
use crate::remove_tree::Engine;
use crate::session::MetaSession;
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::command::Operation;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, AskTrash, QueryBody, TrashCursor, TrashEntry};
use std::sync::Arc;

/// Files of one page.
const PAGE: u32 = 256;
/// Sendings of a command whose answer was lost.
const TRIES: usize = 8;

/// Which of the things that were removed under one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Which {
    /// The latest that was removed by then; the latest of all if not given.
    pub by: Option<Timestamp>,
    /// In directories, only what was removed then or later.
    pub since: Option<Timestamp>,
    /// What the caller may put back, where there is such, before what was removed later and is another's.
    pub own_first: bool,
}

/// What happens while a tree is put back or listed.
#[derive(Debug)]
pub enum TrashEvent {
    /// Files came back.
    Restored {
        /// Anything but directories.
        files: u64,
        /// Directories.
        directories: u64,
    },
    /// Their names are taken, so they stay in the trash.
    Taken(u64),
    /// Something cannot be put back, or looked at.
    Stays {
        /// Its path in the volume.
        path: Vec<Name>,
        /// Why.
        why: Refusal,
    },
    /// Something is in the trash.
    Entry {
        /// The path of the directory that it was removed from.
        path: Vec<Name>,
        /// What it is.
        entry: TrashEntry,
    },
    /// Files left the trash for good.
    Emptied(u64),
}

/// Makes the requests on somebody's behalf.
#[derive(Debug)]
struct Trash<E> {
    engine: Arc<E>,
    caller: Caller,
}

impl<E> Clone for Trash<E> {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            caller: self.caller.clone(),
        }
    }
}

fn unexpected() -> ClientError {
    Failure::BadReply("an answer to another request".into()).into()
}

/// Nobody has it: it went meanwhile, or there is none.
fn is_missing(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NotFound | Refusal::Stale | Refusal::NotDirectory
    )
}

impl<E: Engine> Trash<E> {
    async fn query(&self, body: QueryBody) -> Result<Answer, ClientError> {
        self.engine.query(self.caller.clone(), body).await
    }

    /// What a name leads to, if it leads anywhere.
    async fn lookup(&self, parent: Ino, name: &Name) -> Result<Option<Attr>, ClientError> {
        let name = name.clone();
        match decided(self.query(QueryBody::Lookup { parent, name }).await)? {
            Ok(Answer::Attr(attr)) => Ok(Some(attr)),
            Ok(_) => Err(unexpected()),
            Err(refusal) if is_missing(refusal) => Ok(None),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// A page of what was removed from a directory, and whether it is the last.
    async fn page(
        &self,
        parent: Ino,
        name: Option<&Name>,
        after: Option<TrashCursor>,
    ) -> Result<(Vec<TrashEntry>, bool), ClientError> {
        let asked = AskTrash::Of {
            parent,
            name: name.cloned(),
            after,
            count_max: PAGE,
        };
        match self.query(QueryBody::Trash(asked)).await? {
            Answer::Trash { entries, end } => Ok((entries, end)),
            _ => Err(unexpected()),
        }
    }

    async fn file(&self, ino: Ino) -> Result<TrashEntry, ClientError> {
        match self.query(QueryBody::Trash(AskTrash::File(ino))).await? {
            Answer::Trash { mut entries, .. } => entries.pop().ok_or_else(unexpected),
            _ => Err(unexpected()),
        }
    }

    /// Gives files names in a directory. Why each stays, if it does.
    async fn put_back(
        &self,
        parent: Ino,
        files: Vec<(Ino, Name)>,
    ) -> Result<Vec<Option<Refusal>>, ClientError> {
        match self.put_together(parent, files.clone()).await {
            // Together they are past a limit. Some of them may have room.
            Err(ClientError::Refused(Refusal::OverQuota | Refusal::LimitReached)) => {}
            ended => return ended,
        }
        let mut ends = Vec::with_capacity(files.len());
        for file in files {
            match self.put_together(parent, vec![file]).await {
                Ok(end) => ends.extend(end),
                Err(ClientError::Refused(refusal)) => ends.push(Some(refusal)),
                Err(error) => return Err(error),
            }
        }
        Ok(ends)
    }

    /// [`Self::put_back`] of all or none, where a limit holds.
    async fn put_together(
        &self,
        parent: Ino,
        files: Vec<(Ino, Name)>,
    ) -> Result<Vec<Option<Refusal>>, ClientError> {
        let operation = Operation::Restore {
            parent,
            files: files.clone(),
        };
        let (mut ends, again) = match self.execute(operation).await? {
            (Success::Restored(ends), again) if ends.len() == files.len() => (ends, again),
            _ => return Err(unexpected()),
        };
        if again {
            // What an earlier sending put back is not in the trash any more, and has its name.
            for (end, (ino, name)) in ends.iter_mut().zip(&files) {
                if end.is_some()
                    && self
                        .lookup(parent, name)
                        .await?
                        .is_some_and(|a| a.ino == *ino)
                {
                    *end = None;
                }
            }
        }
        Ok(ends)
    }

    async fn empty(&self, inos: Vec<Ino>) -> Result<u64, ClientError> {
        match self.execute(Operation::EmptyTrash { inos }).await? {
            (Success::Maintained { rows, .. }, _) => Ok(u64::from(rows)),
            _ => Err(unexpected()),
        }
    }

    /// What came of it, and whether it was sent more than once.
    async fn execute(&self, operation: Operation) -> Result<(Success, bool), ClientError> {
        let mut last = Err(unexpected());
        for sent in 0..TRIES {
            let ended = self.engine.execute(self.caller.clone(), operation.clone());
            last = ended.await.map(|success| (success, sent > 0));
            if !matches!(last, Err(ClientError::Unknown(_))) {
                break;
            }
        }
        last
    }
}

impl MetaSession {
    fn trash(&self, caller: &Caller) -> Trash<Self> {
        Trash {
            engine: Arc::new(self.clone()),
            caller: caller.clone(),
        }
    }

    /// Finds the latest that was removed under a path, through all directories that had it, there or removed.
    /// Nothing if there is none.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if nothing is found and the caller may not search a directory on the way. Others as
    /// [`MetaSession::query`].
    pub async fn find_removed(
        &self,
        caller: &Caller,
        names: &[Name],
        which: Which,
    ) -> Result<Option<Found>, ClientError> {
        self.trash(caller).find(names, which).await
    }

    /// A file in the trash, by its number.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if it is not in the trash, [`Refusal::NotPermitted`] if it is another's.
    pub async fn removed_file(&self, caller: &Caller, ino: Ino) -> Result<TrashEntry, ClientError> {
        self.trash(caller).file(ino).await
    }

    /// Makes sure that the directories above what was found are there, under the names that they had:
    /// those that were removed come back. Gives the last of them.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if one cannot come back, or something else has its name.
    pub async fn restore_above(
        &self,
        caller: &Caller,
        names: &[Name],
        found: &Found,
    ) -> Result<Ino, ClientError> {
        self.trash(caller).restore_above(names, found).await
    }

    /// Gives a file of the trash a name.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it stays in the trash: [`Refusal::Exists`] if the name is taken,
    /// [`Refusal::NotPermitted`] if it is another's. Others as [`MetaSession::execute`].
    pub async fn restore_file(
        &self,
        caller: &Caller,
        parent: Ino,
        file: (Ino, Name),
    ) -> Result<(), ClientError> {
        let ends = self.trash(caller).put_back(parent, vec![file]).await?;
        match ends.into_iter().next().flatten() {
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }

    /// Puts back all that was removed below a directory that is there, with up to `in_flight` requests at
    /// once: under each name the latest, where the name is free. What cannot come back is told, and the
    /// rest comes.
    ///
    /// # Errors
    /// As [`MetaSession::execute`]: a part may be back then, and another run goes on.
    pub async fn restore_below(
        &self,
        caller: &Caller,
        (directory, path): (Ino, Vec<Name>),
        since: Option<Timestamp>,
        in_flight: usize,
        tell: &mut (dyn FnMut(TrashEvent) + Send),
    ) -> Result<(), ClientError> {
        let walk = tree::Walk::restore(self.trash(caller), since);
        walk.run(directory, path, in_flight, tell).await
    }

    /// Tells of all that was removed below a directory, which may be in the trash itself.
    ///
    /// # Errors
    /// As [`MetaSession::query`].
    pub async fn removed_below(
        &self,
        caller: &Caller,
        (directory, path): (Ino, Vec<Name>),
        since: Option<Timestamp>,
        tell: &mut (dyn FnMut(TrashEvent) + Send),
    ) -> Result<(), ClientError> {
        let walk = tree::Walk::list(self.trash(caller), since);
        walk.run(directory, path, 1, tell).await
    }

    /// Gives up all that was removed below a directory before a time. Only root may.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`] for others. Others as [`MetaSession::execute`].
    pub async fn empty_below(
        &self,
        caller: &Caller,
        (directory, path): (Ino, Vec<Name>),
        before: Option<Timestamp>,
        tell: &mut (dyn FnMut(TrashEvent) + Send),
    ) -> Result<(), ClientError> {
        let walk = tree::Walk::empty(self.trash(caller), before);
        // What is below a directory is through before the directory's turn comes.
        walk.run(directory, path, 1, tell).await
    }

    /// Gives up files of the trash. Only root may.
    ///
    /// # Errors
    /// As [`Self::empty_below`].
    pub async fn empty_files(&self, caller: &Caller, inos: Vec<Ino>) -> Result<u64, ClientError> {
        self.trash(caller).empty(inos).await
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
