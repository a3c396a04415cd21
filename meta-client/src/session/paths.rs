//! Many files with one question: all along a path, or any. Where the node that is to answer runs an
//! earlier version, with one question for each.

use super::MetaSession;
use crate::error::{ClientError, Failure, decided};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use meta_core::attr::{Attr, Caller};
use meta_core::ids::Ino;
use meta_core::limits::{GET_ATTRS_MAX, PATH_BYTES_MAX};
use meta_core::outcome::Refusal;
use meta_core::path::{Links, PathEnd, Resolve, Resolved, Walk};
use meta_core::query::{Answer, QueryBody};

/// Questions under way at once, where each is for one file.
const AHEAD: usize = 32;

impl MetaSession {
    /// All files along a path, with one question, as of one moment. From nodes of an earlier version it
    /// is a walk of lookups, each of its own moment.
    ///
    /// With [`Links::Stop`] a path may have more than [`PATH_BYTES_MAX`] bytes: each piece of so many is of
    /// its own moment. Where one ends and the next begins, the directory may be gone meanwhile: then the
    /// next piece is what is refused, with [`Refusal::Stale`].
    ///
    /// # Errors
    /// [`Refusal::Stale`] if the file where it begins is gone, [`Refusal::NameTooLong`] if the path is
    /// too long; else [`ClientError::Failed`]. Where the path leads nowhere, [`Resolved::end`] says it.
    pub async fn resolve(&self, caller: &Caller, asked: Resolve) -> Result<Resolved, ClientError> {
        if asked.path.len() <= PATH_BYTES_MAX || asked.links != Links::Stop {
            return self.resolve_piece(caller, asked).await;
        }
        let (mut rest, mut from) = (&asked.path[..], asked.from);
        let mut whole: Option<Resolved> = None;
        loop {
            let (piece, left) = rest.split_at(piece(rest));
            let found = self.resolve_piece(
                caller,
                Resolve {
                    from,
                    path: piece.to_vec(),
                    links: Links::Stop,
                    open: asked.open.filter(|_| left.is_empty()),
                },
            );
            let found = match (found.await, &mut whole) {
                // Where it goes on was there a moment ago: what was found before it is still an answer.
                (Err(ClientError::Refused(refusal @ Refusal::Stale)), Some(whole)) => {
                    let rest = rest.to_vec();
                    whole.end = PathEnd::Refused { refusal, rest };
                    return Ok(whole.clone());
                }
                (found, _) => found?,
            };
            (rest, from) = (left, found.place());
            let end = with_rest(found.end.clone(), rest);
            let ended = rest.is_empty() || end != PathEnd::Reached;
            let whole = match &mut whole {
                Some(whole) => {
                    whole.steps.extend(found.steps);
                    whole
                }
                None => whole.insert(found),
            };
            whole.end = end;
            if ended {
                return Ok(whole.clone());
            }
        }
    }

    async fn resolve_piece(
        &self,
        caller: &Caller,
        asked: Resolve,
    ) -> Result<Resolved, ClientError> {
        let body = QueryBody::Resolve(asked.clone());
        match self.query(caller.clone(), body).await {
            Ok(Answer::Resolved(found)) => Ok(found),
            Ok(_) => Err(unexpected()),
            Err(ClientError::Failed(Failure::BadRequest(_))) => {
                self.resolve_by_lookups(caller, &asked).await
            }
            Err(error) => Err(error),
        }
    }

    async fn resolve_by_lookups(
        &self,
        caller: &Caller,
        asked: &Resolve,
    ) -> Result<Resolved, ClientError> {
        let directory = self.attr(caller, asked.from).await??;
        let mut walk = Walk::new(caller, directory, asked);
        while let Some(question) = walk.question() {
            let answer = decided(self.query(caller.clone(), question).await)?;
            walk.answer(answer).map_err(|_other| unexpected())?;
        }
        Ok(walk.found())
    }

    /// The attributes of many files, in the order of the question, with one question for each
    /// [`GET_ATTRS_MAX`] of them, which is of one moment. From nodes of an earlier version each is of its
    /// own.
    ///
    /// # Errors
    /// [`ClientError::Failed`]. A file that is gone is [`Refusal::Stale`] by itself.
    pub async fn get_attrs(
        &self,
        caller: &Caller,
        inos: &[Ino],
    ) -> Result<Vec<Result<Attr, Refusal>>, ClientError> {
        let mut all = Vec::with_capacity(inos.len());
        for inos in inos.chunks(GET_ATTRS_MAX) {
            let body = QueryBody::GetAttrs {
                inos: inos.to_vec(),
            };
            let each = match self.query(caller.clone(), body).await {
                Ok(Answer::Attrs(each)) if each.len() == inos.len() => each,
                Ok(_) => return Err(unexpected()),
                Err(ClientError::Failed(Failure::BadRequest(_))) => {
                    let each = inos.iter().map(|ino| self.attr(caller, *ino));
                    stream::iter(each).buffered(AHEAD).try_collect().await?
                }
                Err(error) => return Err(error),
            };
            all.extend(each);
        }
        Ok(all)
    }

    async fn attr(&self, caller: &Caller, ino: Ino) -> Result<Result<Attr, Refusal>, ClientError> {
        let asked = self.query(caller.clone(), QueryBody::GetAttr { ino }).await;
        match decided(asked)? {
            Ok(Answer::Attr(attr)) => Ok(Ok(attr)),
            Ok(_) => Err(unexpected()),
            Err(refusal) => Ok(Err(refusal)),
        }
    }
}

/// How many bytes of a path are walked next: up to a slash, so that nothing but a directory is passed.
fn piece(rest: &[u8]) -> usize {
    let Some(first) = rest.get(..PATH_BYTES_MAX) else {
        return rest.len();
    };
    let slash = first.iter().rposition(|byte| *byte == b'/');
    // Without one, the engine says that the name is too long.
    slash.map_or(PATH_BYTES_MAX, |slash| slash + 1)
}

/// An end of a piece, with what was not walked yet.
fn with_rest(mut end: PathEnd, more: &[u8]) -> PathEnd {
    match &mut end {
        PathEnd::Reached => {}
        PathEnd::Symlink { rest, .. } | PathEnd::Above { rest } | PathEnd::Refused { rest, .. } => {
            rest.extend(more)
        }
    }
    end
}

fn unexpected() -> ClientError {
    Failure::BadReply("an answer to another question".into()).into()
}
