//! A session on a volume: operations exactly once, queries, and the sign of life.
//!
//! A `MetaSession` outlives the sessions that the cluster gives it: each of those is an [`Era`].
//! When the cluster says that it does not know the session any more (it was silent too long), the
//! era ends: what was in flight and may have run is unknown, and a keeper task opens the next era
//! for whatever comes later.

mod era;
mod held;
mod inner;
mod keeper;
mod locks;
mod mirror;
mod nearest;
mod paths;

pub use held::HeldInodes;
pub use locks::{LockEnd, LockWish};
pub use mirror::{MirrorCounts, MirrorRouteStatus};
pub use nearest::{NearestCounts, NearestStatus};

use crate::error::ClientError;
use crate::leases::{Forgets, HandedOn, LeaseStatus};
use crate::options::SessionOptions;
use crate::url::MetaUrl;
pub(crate) use inner::Inner;
use meta_core::acl::AclKind;
use meta_core::attr::{Attr, Caller};
use meta_core::command::Operation;
use meta_core::ids::{Ino, SessionId};
use meta_core::name::Name;
use meta_core::outcome::{Success, Token};
use meta_core::query::{Answer, QueryBody, VolumeInfo};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::DropGuard;

/// A mounted client of a volume. Clones are the same session; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct MetaSession {
    inner: Arc<Inner>,
    _stop: Arc<DropGuard>,
}

/// How the way to the cluster is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionStatus {
    /// The leader's address, while there is a stream to it.
    pub leader: Option<String>,
    /// Whether there is a stream to the leader.
    pub connected: bool,
    /// Why there is none, as far as it is known.
    pub trouble: Option<String>,
    /// The current session.
    pub session: SessionId,
    /// How long the cluster lets it be silent, once it said so.
    pub session_ttl: Option<Duration>,
    /// Sessions opened after the first one was lost.
    pub sessions_reopened: u64,
    /// Streams opened.
    pub streams: u64,
    /// Requests and queries that the cluster answered, on all streams.
    pub answered: u64,
    /// Requests and queries sent again.
    pub retries: u64,
    /// Operations in flight.
    pub operations_in_flight: u32,
    /// Requests for locks under way.
    pub lock_waits: usize,
    /// The newest state seen.
    pub token: Token,
    /// How the way to the mirror is, if one is read from.
    pub mirror: Option<MirrorRouteStatus>,
    /// Which member answers queries, if it is the nearest one.
    pub nearest: Option<NearestStatus>,
    /// How the cache does, if the session has one.
    pub leases: Option<LeaseStatus>,
}

impl MetaSession {
    /// Finds the volume and opens a session on it.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the cluster does not answer within `options.open_for`, and
    /// [`meta_core::outcome::Refusal::UnknownVolume`] if it has no such volume.
    pub async fn open(url: &MetaUrl, options: SessionOptions) -> Result<Self, ClientError> {
        let inner = Inner::open(url, options).await?;
        let stop = Arc::new(inner.stop.clone().drop_guard());
        Ok(Self { inner, _stop: stop })
    }

    /// The volume, as it was when the session was opened.
    pub fn volume(&self) -> &VolumeInfo {
        &self.inner.volume
    }

    /// The volume as it is now. The cluster may have opened new epochs in it.
    ///
    /// # Errors
    /// [`ClientError::Failed`] if the cluster does not answer within the session's `retry_for`.
    pub async fn volume_now(&self) -> Result<VolumeInfo, ClientError> {
        self.inner.volume_now().await
    }

    /// The current session.
    pub fn id(&self) -> SessionId {
        self.inner.session_id()
    }

    /// The newest state of the volume that any answer carried.
    pub fn token(&self) -> Token {
        self.inner.token()
    }

    /// Does an operation exactly once, across failovers. Dropping the future does not stop it.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the cluster decided so, [`ClientError::Failed`] if it was
    /// certainly not done, [`ClientError::Unknown`] if that is not known.
    pub async fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> Result<Success, ClientError> {
        crate::precheck::operation(&caller, &operation)?;
        self.execute_within(None, caller, operation).await
    }

    /// The same in one session of the cluster alone: what it guards, such as a lock, guards the operation
    /// too.
    ///
    /// # Errors
    /// As [`Self::execute`]; [`crate::Failure::SessionLost`] if the session is over and the operation was
    /// not done.
    pub async fn execute_in(
        &self,
        session: SessionId,
        caller: Caller,
        operation: Operation,
    ) -> Result<Success, ClientError> {
        crate::precheck::operation(&caller, &operation)?;
        self.execute_within(Some(session), caller, operation).await
    }

    async fn execute_within(
        &self,
        only: Option<SessionId>,
        caller: Caller,
        operation: Operation,
    ) -> Result<Success, ClientError> {
        let inner = Arc::clone(&self.inner);
        // In a task of its own, so that no slot is left in doubt by a caller who goes away.
        let work = tokio::spawn(async move { inner.execute(only, caller, operation).await });
        let ended = |error| ClientError::Unknown(format!("the task ended early: {error}"));
        work.await.unwrap_or_else(|error| Err(ended(error)))
    }

    /// Asks the origin's leader, or its nearest member, whose answers are linearizable; or, with a
    /// mirror, the mirror, whose answer includes everything that this session has seen or done.
    ///
    /// # Errors
    /// [`ClientError::Refused`] as the query's kind says, else [`ClientError::Failed`].
    pub async fn query(&self, caller: Caller, body: QueryBody) -> Result<Answer, ClientError> {
        self.inner.query(caller, body).await
    }

    /// Says who knows which inodes are held open here. Until then none are.
    pub fn hold_inodes(&self, holder: Arc<dyn HeldInodes>) {
        *self.inner.holder.write() = Some(holder);
    }

    /// Says who hands on what is answered here, and has to forget it when it changes.
    pub fn forgets(&self, forgets: Arc<dyn Forgets>) {
        if let Some(leases) = &self.inner.leases {
            leases.set_forgets(forgets);
        }
    }

    /// Says how long somebody else may show an answer without asking again, if the session caches.
    pub fn hand_on(&self, entry: Option<(Ino, &Name)>, attr: &Attr) -> Option<HandedOn> {
        let leases = self.inner.leases.as_ref()?;
        Some(leases.hand_on(entry, attr))
    }

    /// Says how long somebody else who keeps one of a file's ACLs, of which this is the value, is told when
    /// it changes, if the session caches: not at all if it is not known to be current.
    pub fn hand_on_acl(&self, ino: Ino, kind: AclKind, value: Option<&[u8]>) -> Option<Duration> {
        let leases = self.inner.leases.as_ref()?;
        Some(leases.hand_on_acl(ino, kind, value))
    }

    /// Whether this session has a lease on a file, so that who forgets is told before it changes; `None` if
    /// the session has no leases at all.
    pub fn holds(&self, ino: Ino) -> Option<bool> {
        let leases = self.inner.leases.as_ref()?;
        Some(leases.holds(ino))
    }

    /// Says that somebody else shows a name at another place, after a rename.
    pub fn moved(&self, parent: Ino, name: &Name) {
        if let Some(leases) = &self.inner.leases {
            leases.moved(parent, name);
        }
    }

    /// How the way to the cluster is.
    pub fn status(&self) -> ConnectionStatus {
        self.inner.status()
    }

    /// Waits, bounded, for operations in flight, ends the session in the cluster, and stops.
    /// Later calls fail with [`crate::Failure::Closed`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        // In a task of its own, so that it is finished even if the caller goes away.
        if let Err(error) = tokio::spawn(async move { inner.close().await }).await {
            tracing::warn!(%error, "the session's closing ended early");
        }
    }
}
