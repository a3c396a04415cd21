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
            let operation = Operation::GrantSlices { count: GRANT_COUNT };
            match self.meta.execute(&Caller::root(), operation).await? {
                Success::Granted { first, count } => {
                    pool.ids = first.0..first.0 + u64::from(count);
                }
                _ => return Err(VfsError::Unexpected("granted ids")),
            }
        }
        let id = pool.ids.start;
        pool.ids.start += 1;
        Ok((SliceId(id), Lot(pool.lot)))
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
