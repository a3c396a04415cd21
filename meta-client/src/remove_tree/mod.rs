//! Removes a directory and all below it, many names with one command and many commands in flight.
//!
//! One task keeps what is known of each directory on the way ([`Plan`]), and has up to so many
//! requests in flight as it is told. Deeper directories come first, and the next page of a directory
//! is read only when all directories of the page before were begun: what is kept grows with the depth
//! of the tree, and not with the number of names.

mod plan;
mod request;

use crate::error::{ClientError, Failure};
use crate::session::MetaSession;
use futures::stream::{FuturesUnordered, StreamExt as _};
use meta_core::attr::{Caller, FileKind};
use meta_core::command::Operation;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, QueryBody};
use plan::Plan;
use request::{Done, Requests};
use std::sync::Arc;

/// What is to be removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Doomed {
    /// The directory that holds it.
    pub parent: Ino,
    /// Its name there.
    pub name: Name,
    /// Whether it goes past the trash: only root may.
    pub skip_trash: bool,
}

/// Why a name stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stays {
    /// It cannot be removed.
    #[error("{0}")]
    Refused(Refusal),
    /// It is a directory that cannot be listed, and holds something.
    #[error("it cannot be listed: {0}")]
    NotListed(Refusal),
}

/// What happens while a tree is removed.
#[derive(Debug)]
pub enum TreeEvent {
    /// Names were removed.
    Removed {
        /// Of anything but directories.
        files: u64,
        /// Of directories.
        directories: u64,
    },
    /// A name stays, and with it the directories above it.
    Stays {
        /// Names from the one that was to be removed.
        path: Vec<Name>,
        /// Why.
        why: Stays,
    },
    /// The cluster does not remove many names with one command, so it is asked for one at a time.
    OneByOne {
        /// Why.
        why: String,
    },
}

/// What a tree is removed through.
pub(crate) trait Engine: Send + Sync + 'static {
    fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> impl Future<Output = Result<Success, ClientError>> + Send;

    fn query(
        &self,
        caller: Caller,
        body: QueryBody,
    ) -> impl Future<Output = Result<Answer, ClientError>> + Send;
}

impl Engine for MetaSession {
    fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> impl Future<Output = Result<Success, ClientError>> + Send {
        self.execute(caller, operation)
    }

    fn query(
        &self,
        caller: Caller,
        body: QueryBody,
    ) -> impl Future<Output = Result<Answer, ClientError>> + Send {
        self.query(caller, body)
    }
}

impl MetaSession {
    /// Removes a name and, if it is a directory, all below it, with up to `in_flight` requests at once.
    /// A symlink is removed and not followed. What cannot be removed is told, and the rest goes.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such name or the caller may not look it up. Others as
    /// [`MetaSession::execute`]: a part may be gone then.
    pub async fn remove_tree(
        &self,
        caller: &Caller,
        doomed: Doomed,
        in_flight: usize,
        tell: &mut (dyn FnMut(TreeEvent) + Send),
    ) -> Result<(), ClientError> {
        let engine = Arc::new(self.clone());
        remove_tree(&engine, caller, doomed, in_flight, tell).await
    }
}

async fn remove_tree<E: Engine>(
    engine: &Arc<E>,
    caller: &Caller,
    doomed: Doomed,
    in_flight: usize,
    tell: &mut (dyn FnMut(TreeEvent) + Send),
) -> Result<(), ClientError> {
    let body = QueryBody::Lookup {
        parent: doomed.parent,
        name: doomed.name.clone(),
    };
    let Answer::Attr(attr) = engine.query(caller.clone(), body).await? else {
        return Err(Failure::BadReply("an answer to another question".into()).into());
    };
    let requests = Requests::new(Arc::clone(engine), caller.clone(), doomed.skip_trash);
    let mut plan = match attr.kind {
        FileKind::Directory => Plan::of_directory(doomed, attr.ino),
        _ => Plan::of_file(doomed),
    };
    let mut told_one_by_one = false;
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < in_flight.max(1)
            && let Some(step) = plan.next()
        {
            running.push(requests.run(step));
        }
        let Some(done) = running.next().await else {
            return Ok(());
        };
        match done {
            Done::Listed(directory, page) => plan.listed(directory, page?),
            Done::Removed(chunk, removals) => {
                if let Some(why) = removals.one_by_one.filter(|_| !told_one_by_one) {
                    told_one_by_one = true;
                    tell(TreeEvent::OneByOne { why });
                }
                plan.removed(chunk, removals.each?, tell)?;
            }
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
pub(crate) mod tests;
