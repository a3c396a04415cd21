//! The store's own rows in the state, under a volume number that no volume has.
//!
//! | row | key | value |
//! |---|---|---|
//! | applied | `ff ff ff ff 01` | [`AppliedMark`] in an envelope |
//! | membership | `ff ff ff ff 02` | [`StoredMembership`] in an envelope |

use crate::error::StoreError;
use crate::types::{LogId, StoredMembership};
use crate::wire::{self, Message};
use meta_core::kv::{Family, KvRead, Overlay};
use serde::{Deserialize, Serialize};

/// Everything of ours in the state begins with this.
const APPLIED_KEY: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x01];
const MEMBERSHIP_KEY: [u8; 5] = [0xff, 0xff, 0xff, 0xff, 0x02];

/// The last entry that the rows include.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct AppliedMark(pub(crate) LogId);

/// Which directory holds the state: the contents of the file `CURRENT`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Current {
    pub(crate) generation: u64,
}

/// How far the log is applied.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct AppliedState {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl AppliedState {
    /// Reads the rows.
    pub(crate) fn read(rows: &dyn KvRead) -> Result<Self, StoreError> {
        let applied = read_applied(rows.get(Family::State, &APPLIED_KEY)?)?;
        let membership = read_row(rows.get(Family::State, &MEMBERSHIP_KEY)?)?;
        Ok(Self {
            applied,
            membership: membership.unwrap_or_default(),
        })
    }

    /// Adds the row of the position to a batch of effects.
    pub(crate) fn put<B: KvRead>(&self, pending: &mut Overlay<B>) -> Result<(), StoreError> {
        if let Some(applied) = self.applied {
            let row = encode_row(&AppliedMark(applied))?;
            pending.put(Family::State, APPLIED_KEY.to_vec(), row);
        }
        Ok(())
    }

    /// Adds the row of the membership, which changes seldom, to a batch of effects.
    pub(crate) fn put_membership<B: KvRead>(
        &self,
        pending: &mut Overlay<B>,
    ) -> Result<(), StoreError> {
        pending.put(
            Family::State,
            MEMBERSHIP_KEY.to_vec(),
            encode_row(&self.membership)?,
        );
        Ok(())
    }
}

/// The key of the applied row, for a read at another tier.
#[cfg(feature = "rocksdb")]
pub(crate) fn applied_key() -> &'static [u8] {
    &APPLIED_KEY
}

/// The applied row's content.
pub(crate) fn read_applied(row: Option<Vec<u8>>) -> Result<Option<LogId>, StoreError> {
    Ok(read_row::<AppliedMark>(row)?.map(|mark| mark.0))
}

fn encode_row<M: Message>(row: &M) -> Result<Vec<u8>, StoreError> {
    wire::encode(row).map_err(|error| StoreError::Refused(error.to_string()))
}

fn read_row<M: Message>(row: Option<Vec<u8>>) -> Result<Option<M>, StoreError> {
    let row = row.map(|bytes| wire::decode(&bytes)).transpose();
    row.map_err(|error| StoreError::damaged("row of the applied position", error.to_string()))
}
