//! The seam to the metadata engine: `meta-client`'s session on a mount, the engine itself inside
//! one process in tests.

use super::VfsError;
use futures::future::BoxFuture;
use meta_client::{
    Forgets, HandedOn, LeaseStatus, LockEnd, LockWish, MirrorRouteStatus, NearestStatus,
};
use meta_core::acl::AclKind;
use meta_core::attr::{Attr, Caller};
use meta_core::command::Operation;
use meta_core::ids::{ClusterId, Epoch, Ino, SessionId};
use meta_core::lock::{HeldLock, UnlockRequest};
use meta_core::name::Name;
use meta_core::outcome::{Success, Token};
use meta_core::query::{Answer, QueryBody};
use quick_cache::sync::Cache;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// One session with the metadata engine.
pub trait MetaApi: Send + Sync + Debug + 'static {
    /// Does an operation exactly once, or says that the outcome is unknown.
    fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>>;

    /// Does an operation in one session alone: if it is lost, the operation was not done, or that is
    /// unknown, and it is not done in the next.
    fn execute_in(
        &self,
        session: SessionId,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>>;

    /// The session, as far as is known here.
    fn session(&self) -> SessionId;

    /// Takes a lock; waits for it with `give_up`, until that is over.
    fn lock(
        &self,
        wish: LockWish,
        give_up: Option<BoxFuture<'static, ()>>,
    ) -> BoxFuture<'_, Result<LockEnd, VfsError>>;

    /// Gives locks back.
    fn unlock(&self, given: UnlockRequest) -> BoxFuture<'_, Result<(), VfsError>>;

    /// A lock that is in the way of another.
    fn get_lock(&self, wish: LockWish) -> BoxFuture<'_, Result<Option<HeldLock>, VfsError>>;

    /// Asks. The answer is at least as new as every operation answered before the question.
    fn query(&self, caller: Caller, body: QueryBody) -> BoxFuture<'_, Result<Answer, VfsError>>;

    /// The volume's epochs by now, and who opened each.
    fn epochs(&self) -> BoxFuture<'_, Result<Vec<(Epoch, ClusterId)>, VfsError>>;

    /// Says how long the kernel may show an answer without asking again; `None` if nothing tells
    /// when it changes.
    fn hand_on(&self, _entry: Option<(Ino, &Name)>, _attr: &Attr) -> Option<HandedOn> {
        None
    }

    /// Says how long the kernel is told when one of a file's ACLs changes, of which this is the value;
    /// `None` if nothing tells.
    fn hand_on_acl(&self, _ino: Ino, _kind: AclKind, _value: Option<&[u8]>) -> Option<Duration> {
        None
    }

    /// Whether the engine tells before somebody else changes a file; `None` if it never does.
    fn holds(&self, _ino: Ino) -> Option<bool> {
        None
    }

    /// The kernel shows a name at another place, after a rename.
    fn moved(&self, _parent: Ino, _name: &Name) {}

    /// Says who has the kernel forget what it was handed on.
    fn forgets(&self, _forgets: Arc<dyn Forgets>) {}

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
    /// Questions and operations that the engine answered, since the mount.
    pub queries: u64,
    /// Requests sent again, since the mount.
    pub retries: u64,
    /// Requests for locks that wait.
    pub lock_waits: u64,
    /// How the cache of answers does, if there is one.
    pub leases: Option<LeaseStatus>,
    /// How the way to the mirror is, if one is read from.
    pub mirror: Option<MirrorRouteStatus>,
    /// Which member answers, if it is the nearest one.
    pub nearest: Option<NearestStatus>,
}

/// Files whose newest attributes are remembered. More than can be asked about or changed while a
/// page of a listing is shown.
const REMEMBERED: usize = 16_384;

/// The seam with answers taken apart.
#[derive(Clone, Debug)]
pub(super) struct Meta {
    api: Arc<dyn MetaApi>,
    /// The newest attributes that were answered lately.
    newest: Arc<Cache<Ino, Attr>>,
}

impl Meta {
    pub(super) fn new(api: Arc<dyn MetaApi>) -> Self {
        Self {
            api,
            newest: Arc::new(Cache::new(REMEMBERED)),
        }
    }

    pub(super) fn api(&self) -> &dyn MetaApi {
        &*self.api
    }

    /// The newer of attributes read some time ago and those answered since: every change raises
    /// ctime.
    pub(super) fn newest(&self, attr: Attr) -> Attr {
        let known = self.newest.get(&attr.ino);
        known
            .filter(|known| known.ctime > attr.ctime)
            .unwrap_or(attr)
    }

    pub(super) fn saw(&self, attr: &Attr) {
        let known = self.newest.get(&attr.ino);
        if known.is_none_or(|known| known.ctime <= attr.ctime) {
            self.newest.insert(attr.ino, attr.clone());
        }
    }

    pub(super) async fn execute(
        &self,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Success, VfsError> {
        self.api.execute(caller.clone(), operation).await
    }

    pub(super) async fn query(&self, caller: &Caller, body: QueryBody) -> Result<Answer, VfsError> {
        self.api.query(caller.clone(), body).await
    }

    /// A query that answers attributes.
    pub(super) async fn attr(&self, caller: &Caller, body: QueryBody) -> Result<Attr, VfsError> {
        match self.query(caller, body).await? {
            Answer::Attr(attr) => {
                self.saw(&attr);
                Ok(attr)
            }
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
        self.changed(self.execute(caller, operation).await?)
    }

    /// The same, in one session alone if one is given.
    pub(super) async fn change_in(
        &self,
        session: Option<SessionId>,
        caller: &Caller,
        operation: Operation,
    ) -> Result<Attr, VfsError> {
        let Some(session) = session else {
            return self.change(caller, operation).await;
        };
        let done = self
            .api
            .execute_in(session, caller.clone(), operation)
            .await;
        self.changed(done?)
    }

    fn changed(&self, success: Success) -> Result<Attr, VfsError> {
        match success {
            Success::Attr(attr)
            | Success::Entry { attr, .. }
            | Success::Appended { attr, .. }
            | Success::Fallocated { attr, .. }
            | Success::Copied { attr, .. } => {
                self.saw(&attr);
                Ok(attr)
            }
            _ => Err(VfsError::Unexpected("attributes of a change")),
        }
    }
}
