//! Slice ids that the engine granted to the session.

use super::VfsError;
use super::meta::Meta;
use meta_core::attr::Caller;
use meta_core::command::Operation;
use meta_core::ids::SliceId;
use meta_core::outcome::Success;
use std::ops::Range;
use tokio::sync::Mutex;

/// Ids asked for at once: enough that asking is rare, few enough that an idle mount holds little.
const GRANT_COUNT: u32 = 512;

/// Grants asked for until one is answered. Ids of a grant whose answer was lost are never used, so
/// asking again costs nothing but them.
const ATTEMPTS: u32 = 5;

/// Which grants an id came from: those of one lot are given up together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lot(u64);

#[derive(Debug, Default)]
struct Pool {
    ids: Range<u64>,
    lot: u64,
}

/// The stock of ids. Each is given out once.
#[derive(Debug)]
pub(super) struct Grants {
    meta: Meta,
    pool: Mutex<Pool>,
}

impl Grants {
    pub(super) fn new(meta: Meta) -> Self {
        Self {
            meta,
            pool: Mutex::default(),
        }
    }

    /// The next id, from the engine if the stock is empty.
    pub(super) async fn take(&self) -> Result<(SliceId, Lot), VfsError> {
        let mut pool = self.pool.lock().await;
        if pool.ids.is_empty() {
            pool.ids = self.ask().await?;
        }
        let id = pool.ids.start;
        pool.ids.start += 1;
        Ok((SliceId(id), Lot(pool.lot)))
    }

    async fn ask(&self) -> Result<Range<u64>, VfsError> {
        let mut attempt = 1;
        loop {
            let operation = Operation::GrantSlices { count: GRANT_COUNT };
            match self.meta.execute(&Caller::root(), operation).await {
                Ok(Success::Granted { first, count }) => {
                    return Ok(first.0..first.0 + u64::from(count));
                }
                Ok(_) => return Err(VfsError::Unexpected("granted ids")),
                Err(error @ (VfsError::Unknown(_) | VfsError::SessionLost(_)))
                    if attempt < ATTEMPTS =>
                {
                    tracing::warn!(attempt, %error, "slice ids are asked for again");
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives up the rest of a lot of which one id was refused: the session was renewed, or the
    /// engine revoked it. Nothing happens if the lot was given up before.
    pub(super) async fn revoke(&self, lot: Lot) {
        let mut pool = self.pool.lock().await;
        if pool.lot == lot.0 {
            pool.ids = 0..0;
            pool.lot += 1;
        }
    }
}
