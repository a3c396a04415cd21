//! The seam to the metadata engine: `meta-client`'s session on a mount, the engine itself inside
//! one process in tests.

use super::VfsError;
use futures::future::BoxFuture;
use meta_core::attr::{Attr, Caller};
use meta_core::command::Operation;
use meta_core::ids::SessionId;
use meta_core::outcome::{Success, Token};
use meta_core::query::{Answer, QueryBody};
use std::fmt::Debug;
use std::sync::Arc;

/// One session with the metadata engine.
pub trait MetaApi: Send + Sync + Debug + 'static {
    /// Does an operation exactly once, or says that the outcome is unknown.
    fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>>;

    /// Asks. The answer is at least as new as every operation answered before the question.
    fn query(&self, caller: Caller, body: QueryBody) -> BoxFuture<'_, Result<Answer, VfsError>>;

    /// How the way to the engine is.
    fn status(&self) -> MetaStatus;

    /// Ends the session.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// How the way to the engine is, for `.status`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaStatus {
    /// The address of the leader, if one is known.
    pub leader: Option<String>,
    /// Whether the way stands.
    pub connected: bool,
    /// The session.
    pub session: SessionId,
    /// The newest state seen.
    pub token: Token,
    /// Requests sent again, since the mount.
    pub retries: u64,
}

/// The seam with answers taken apart.
#[derive(Clone, Debug)]
pub(super) struct Meta(Arc<dyn MetaApi>);

impl Meta {
    pub(super) fn new(api: Arc<dyn MetaApi>) -> Self {
        Self(api)
    }

    pub(super) fn api(&self) -> &dyn MetaApi {
        &*self.0
    }

    pub(super) async fn execute(
        &self,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Success, VfsError> {
        self.0.execute(caller.clone(), operation).await
    }

    pub(super) async fn query(&self, caller: &Caller, body: QueryBody) -> Result<Answer, VfsError> {
        self.0.query(caller.clone(), body).await
    }

    /// A query that answers attributes.
    pub(super) async fn attr(&self, caller: &Caller, body: QueryBody) -> Result<Attr, VfsError> {
        match self.query(caller, body).await? {
            Answer::Attr(attr) => Ok(attr),
            _ => Err(VfsError::Unexpected("attributes")),
        }
    }

    /// A query that answers bytes.
    pub(super) async fn bytes(
        &self,
        caller: &Caller,
        body: QueryBody,
    ) -> Result<Vec<u8>, VfsError> {
        match self.query(caller, body).await? {
            Answer::Bytes(bytes) => Ok(bytes),
            _ => Err(VfsError::Unexpected("bytes")),
        }
    }

    /// An operation that answers attributes.
    pub(super) async fn change(
        &self,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Attr, VfsError> {
        match self.execute(caller, operation).await? {
            Success::Attr(attr) | Success::Entry { attr, .. } | Success::Appended { attr, .. } => {
                Ok(attr)
            }
            _ => Err(VfsError::Unexpected("attributes of a change")),
        }
    }
}
