//! The requests of a removal.

use super::Engine;
use super::plan::{Chunk, DirectoryId, Page, Step};
use crate::error::{ClientError, Failure, decided};
use meta_core::attr::Caller;
use meta_core::command::Operation;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Removal, Success};
use meta_core::query::{Answer, QueryBody};
use std::sync::Arc;

/// Sendings of a removal whose answer was lost: what is gone by then is not there, which is as good.
const TRIES: usize = 8;

/// How a request ended.
pub(super) enum Done {
    Listed(DirectoryId, Result<Result<Page, Refusal>, ClientError>),
    Removed(Chunk, Removals),
}

/// What came of the names of a chunk.
pub(super) struct Removals {
    /// Of each name, or of all of them.
    pub(super) each: Result<Result<Vec<Removal>, Refusal>, ClientError>,
    /// Why they were not removed together.
    pub(super) one_by_one: Option<String>,
}

/// Makes requests on somebody's behalf.
pub(super) struct Requests<E> {
    engine: Arc<E>,
    caller: Caller,
    skip_trash: bool,
}

fn unexpected() -> ClientError {
    Failure::BadReply("an answer to another request".into()).into()
}

impl<E: Engine> Requests<E> {
    pub(super) fn new(engine: Arc<E>, caller: Caller, skip_trash: bool) -> Self {
        Self {
            engine,
            caller,
            skip_trash,
        }
    }

    pub(super) fn run(&self, step: Step) -> impl Future<Output = Done> + Send + use<E> {
        let one = Self {
            engine: Arc::clone(&self.engine),
            caller: self.caller.clone(),
            skip_trash: self.skip_trash,
        };
        async move {
            match step {
                Step::List {
                    directory,
                    ino,
                    after,
                    entries_max,
                } => {
                    let page = one.list(ino, after, entries_max).await;
                    Done::Listed(directory, decided(page))
                }
                Step::Remove(chunk) => {
                    let removals = one.remove(&chunk).await;
                    Done::Removed(chunk, removals)
                }
            }
        }
    }

    async fn query(&self, body: QueryBody) -> Result<Answer, ClientError> {
        self.engine.query(self.caller.clone(), body).await
    }

    async fn list(
        &self,
        ino: Ino,
        after: meta_core::ids::DentryNumber,
        entries_max: u32,
    ) -> Result<Page, ClientError> {
        // The engine checks who may read a directory when it is opened, as POSIX has it.
        if after.0 == 0 && !self.caller.is_root() {
            let (read, write) = (true, false);
            self.query(QueryBody::Open { ino, read, write }).await?;
        }
        let with_attrs = false;
        let body = QueryBody::ReadDir {
            ino,
            after,
            entries_max,
            with_attrs,
        };
        match self.query(body).await? {
            Answer::Entries { entries, end, .. } => Ok(Page { entries, end }),
            _ => Err(unexpected()),
        }
    }

    async fn remove(&self, chunk: &Chunk) -> Removals {
        let (parent, names) = (chunk.parent, chunk.names());
        let together = Operation::RemoveEntries {
            parent,
            names,
            skip_trash: self.skip_trash,
        };
        let (each, one_by_one) = match self.execute(together).await {
            Ok(Success::RemovedEntries(removals)) => (Ok(removals), None),
            Ok(_) => (Err(unexpected()), None),
            // Not all members read it yet, or the leader does not.
            Err(ClientError::Failed(Failure::BadRequest(why))) if !self.skip_trash => {
                (self.remove_one_by_one(chunk).await, Some(why))
            }
            Err(error) => (Err(error), None),
        };
        Removals {
            each: decided(each),
            one_by_one,
        }
    }

    /// An operation that does no more when it is done again.
    async fn execute(&self, operation: Operation) -> Result<Success, ClientError> {
        let mut last = Err(unexpected());
        for _ in 0..TRIES {
            last = self
                .engine
                .execute(self.caller.clone(), operation.clone())
                .await;
            if !matches!(last, Err(ClientError::Unknown(_))) {
                break;
            }
        }
        last
    }

    async fn remove_one_by_one(&self, chunk: &Chunk) -> Result<Vec<Removal>, ClientError> {
        let mut removals = Vec::new();
        for name in chunk.names() {
            removals.push(match self.remove_one(chunk, name).await {
                Ok(Success::Removed { nlink, .. }) => Removal::Removed { nlink },
                Ok(_) => return Err(unexpected()),
                Err(ClientError::Refused(refusal)) => Removal::Refused(refusal),
                Err(error) => return Err(error),
            });
        }
        Ok(removals)
    }

    async fn remove_one(&self, chunk: &Chunk, name: Name) -> Result<Success, ClientError> {
        let parent = chunk.parent;
        let unlink = Operation::Unlink {
            parent,
            name: name.clone(),
        };
        let rmdir = Operation::Rmdir { parent, name };
        let (first, second, otherwise) = if chunk.is_of_directories() {
            (rmdir, unlink, Refusal::NotDirectory)
        } else {
            (unlink, rmdir, Refusal::IsDirectory)
        };
        match self.execute(first).await {
            Err(ClientError::Refused(refusal)) if refusal == otherwise => {
                self.execute(second).await
            }
            ended => ended,
        }
    }
}
