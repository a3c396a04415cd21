//! Names of blocks.

use meta_core::ids::{ClusterId, Epoch, SliceId, VolumeUuid, id_counter, id_epoch, id_shard};
use std::fmt;

/// What a volume's block names are made of.
#[derive(Clone, Debug)]
pub struct VolumeKeys {
    /// The volume.
    pub uuid: VolumeUuid,
    /// The cluster that opened each epoch.
    pub epochs: Vec<(Epoch, ClusterId)>,
}

impl VolumeKeys {
    /// The name of a block of a slice, if the slice's epoch is known.
    ///
    /// `index` counts blocks from 0; `size` is the block's length in bytes.
    pub fn block(&self, slice: SliceId, index: u32, size: u32) -> Option<BlockKey> {
        Some(BlockKey {
            uuid: self.uuid,
            cluster: self.cluster(slice)?,
            slice,
            index,
            size,
        })
    }

    /// The cluster that opened a slice's epoch, if the epoch is known.
    pub(crate) fn cluster(&self, slice: SliceId) -> Option<ClusterId> {
        let epoch = id_epoch(slice.0);
        let mut epochs = self.epochs.iter();
        epochs.find_map(|(known, cluster)| (*known == epoch).then_some(*cluster))
    }
}

/// The name of a block: `{volume uuid}/{epoch}-{first 8 hex digits of the cluster that opened
/// it}/{shard}/{counter/1e6}/{counter/1e3}/{counter}_{index}_{size}`, all numbers decimal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct BlockKey {
    uuid: VolumeUuid,
    cluster: ClusterId,
    slice: SliceId,
    index: u32,
    size: u32,
}

impl fmt::Display for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.cluster.0;
        let cluster = u32::from_be_bytes([a, b, c, d]);
        let (epoch, shard) = (id_epoch(self.slice.0), id_shard(self.slice.0));
        let counter = id_counter(self.slice.0);
        let (million, thousand) = (counter / 1_000_000, counter / 1000);
        write!(f, "{}/{epoch}-{cluster:08x}/{shard}/", self.uuid)?;
        write!(
            f,
            "{million}/{thousand}/{counter}_{}_{}",
            self.index, self.size
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::ids::{Uuid, pack_id};

    #[test]
    fn block_keys_are_frozen() {
        let keys = VolumeKeys {
            uuid: Uuid([0xab; 16]),
            epochs: vec![(Epoch(0), Uuid([1; 16])), (Epoch(2), Uuid([0xcd; 16]))],
        };
        let slice = SliceId(pack_id(Epoch(2), 3, 4_005_006));
        let key = keys.block(slice, 7, 4096).expect("a known epoch");
        let expected = "abababab-abab-abab-abab-abababababab/2-cdcdcdcd/3/4/4005/4005006_7_4096";
        assert_eq!(key.to_string(), expected);
        assert_eq!(keys.block(SliceId(pack_id(Epoch(1), 0, 1)), 0, 1), None);
    }
}
