//! A file system over `meta-client`'s session.

use super::vfs_core::Core;
use super::{MetaApi, MetaStatus, Vfs, VfsError, VfsOptions};
use chunk_store::SliceStore;
use futures::FutureExt;
use futures::future::BoxFuture;
use meta_client::{
    ClientError, Failure, Forgets, HandedOn, HeldInodes, LockEnd, LockWish, MetaSession,
};
use meta_core::acl::AclKind;
use meta_core::attr::{Attr, Caller};
use meta_core::command::Operation;
use meta_core::ids::{ClusterId, Epoch, Ino, SessionId};
use meta_core::lock::{HeldLock, UnlockRequest};
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::query::{Answer, QueryBody};
use std::sync::{Arc, Weak};
use std::time::Duration;

impl MetaApi for MetaSession {
    fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>> {
        async move { Ok(Self::execute(self, caller, operation).await?) }.boxed()
    }

    fn execute_in(
        &self,
        session: SessionId,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>> {
        async move { Ok(Self::execute_in(self, session, caller, operation).await?) }.boxed()
    }

    fn session(&self) -> SessionId {
        self.id()
    }

    fn lock(
        &self,
        wish: LockWish,
        give_up: Option<BoxFuture<'static, ()>>,
    ) -> BoxFuture<'_, Result<LockEnd, VfsError>> {
        async move {
            Ok(match give_up {
                Some(give_up) => Self::lock(self, wish, give_up).await?,
                None => self.try_lock(wish).await?,
            })
        }
        .boxed()
    }

    fn unlock(&self, given: UnlockRequest) -> BoxFuture<'_, Result<(), VfsError>> {
        async move { Ok(Self::unlock(self, given).await?) }.boxed()
    }

    fn get_lock(&self, wish: LockWish) -> BoxFuture<'_, Result<Option<HeldLock>, VfsError>> {
        async move { Ok(Self::get_lock(self, wish).await?) }.boxed()
    }

    fn query(&self, caller: Caller, body: QueryBody) -> BoxFuture<'_, Result<Answer, VfsError>> {
        async move { Ok(Self::query(self, caller, body).await?) }.boxed()
    }

    fn epochs(&self) -> BoxFuture<'_, Result<Vec<(Epoch, ClusterId)>, VfsError>> {
        async move { Ok(self.volume_now().await?.epochs) }.boxed()
    }

    fn status(&self) -> MetaStatus {
        let status = Self::status(self);
        MetaStatus {
            leader: status.leader,
            connected: status.connected,
            session: status.session,
            token: status.token,
            queries: status.answered,
            retries: status.retries,
            lock_waits: status.lock_waits as u64,
            leases: status.leases,
            mirror: status.mirror,
            nearest: status.nearest,
        }
    }

    fn hand_on(&self, entry: Option<(Ino, &Name)>, attr: &Attr) -> Option<HandedOn> {
        Self::hand_on(self, entry, attr)
    }

    fn hand_on_acl(&self, ino: Ino, kind: AclKind, value: Option<&[u8]>) -> Option<Duration> {
        Self::hand_on_acl(self, ino, kind, value)
    }

    fn holds(&self, ino: Ino) -> Option<bool> {
        Self::holds(self, ino)
    }

    fn moved(&self, parent: Ino, name: &Name) {
        Self::moved(self, parent, name);
    }

    fn forgets(&self, forgets: Arc<dyn Forgets>) {
        Self::forgets(self, forgets);
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Self::close(self).boxed()
    }
}

impl From<ClientError> for VfsError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refusal) => Self::Refused(refusal),
            ClientError::Failed(failure @ Failure::SessionLost(_)) => {
                Self::SessionLost(failure.to_string().into())
            }
            ClientError::Failed(Failure::BadRequest(why)) => Self::NotUnderstood(why.into()),
            ClientError::Failed(failure) => Self::unavailable(failure),
            ClientError::Unknown(why) => Self::Unknown(why.into()),
        }
    }
}

/// Answers the engine which files are held. It does not keep the file system alive: that holds the
/// session, which holds this.
#[derive(Debug)]
struct Holder(Weak<Core>);

#[async_trait::async_trait]
impl HeldInodes for Holder {
    async fn held(&self, asked: &[Ino]) -> Vec<Ino> {
        match self.0.upgrade() {
            Some(core) => Vfs { core }.held(asked).await,
            None => Vec::new(),
        }
    }
}

impl Vfs {
    /// A file system over a session, which then knows what this mount holds open. Must be called
    /// on a tokio runtime.
    pub fn over_session(session: MetaSession, slices: SliceStore, options: VfsOptions) -> Self {
        let vfs = Self::open(Arc::new(session.clone()), slices, options);
        session.hold_inodes(Arc::new(Holder(Arc::downgrade(&vfs.core))));
        vfs
    }
}
