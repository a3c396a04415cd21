//! Identities. Each is a fixed-width newtype, so that two cannot be mixed up and none depends on
//! the machine's word size.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A volume's number inside one cluster. It is left out of records, digests and row hashes,
    /// because the same volume has another number in another cluster. 0 is the cluster itself.
    VolumeId(u32)
}
id! {
    /// A file's identity: `epoch:16 | shard:8 | counter:40`. Never reused. The root is 1.
    Ino(u64)
}
id! {
    /// A slice's identity: `epoch:16 | shard:8 | counter:40`. Granted to sessions in ranges.
    SliceId(u64)
}
id! {
    /// One mounted client, as its cluster knows it. Never reused in a cluster.
    SessionId(u64)
}
id! {
    /// A request slot of a session: at most one operation is in flight in it.
    SlotIndex(u32)
}
id! {
    /// The count of a volume's ownerships: raised by each promotion.
    Epoch(u16)
}
id! {
    /// The dense number of a volume's changes within its history; the first change is 1.
    Seq(u64)
}
id! {
    /// The version of behaviour and row formats that all voters of a volume support.
    Level(u32)
}
id! {
    /// The index of a fixed 64 MiB span of a file, from 0.
    ChunkIndex(u32)
}
id! {
    /// A dentry's insertion number in its directory: the readdir cursor and the FUSE offset.
    /// 1 and 2 stand for "." and "..", so the first stored number is 3.
    DentryNumber(u64)
}
id! {
    /// The place of a slice in the order of writes to its file: a later one covers an earlier.
    SliceOrder(u64)
}

const COUNTER_BITS: u32 = 40;
const SHARD_BITS: u32 = 8;
/// How many ids one (epoch, shard) can give out.
pub const ID_COUNTER_MAX: u64 = (1 << COUNTER_BITS) - 1;

impl VolumeId {
    /// The pseudo volume that holds the cluster's own rows.
    pub const CLUSTER: Self = Self(0);
}

impl Ino {
    /// The root directory of every volume.
    pub const ROOT: Self = Self(1);
}

impl DentryNumber {
    /// The number that the first name of a directory gets.
    pub const FIRST: Self = Self(3);
}

/// Packs an inode or slice id. `counter` must be at most [`ID_COUNTER_MAX`].
pub const fn pack_id(epoch: Epoch, shard: u8, counter: u64) -> u64 {
    ((epoch.0 as u64) << (COUNTER_BITS + SHARD_BITS))
        | ((shard as u64) << COUNTER_BITS)
        | (counter & ID_COUNTER_MAX)
}

/// The epoch in which an inode or slice id was made.
pub const fn id_epoch(id: u64) -> Epoch {
    let [high, low, ..] = id.to_be_bytes();
    Epoch(u16::from_be_bytes([high, low]))
}

/// The shard that made an inode or slice id.
pub const fn id_shard(id: u64) -> u8 {
    let [_, _, shard, ..] = id.to_be_bytes();
    shard
}

/// The counter part of an inode or slice id.
pub const fn id_counter(id: u64) -> u64 {
    id & ID_COUNTER_MAX
}

/// 16 random bytes that name something for ever, printed as hex with dashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// The cluster that took a change.
pub type ClusterId = Uuid;
/// The volume's name for ever, the same in every cluster.
pub type VolumeUuid = Uuid;

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_three_parts() {
        let id = pack_id(Epoch(513), 7, 99);
        assert_eq!(
            (id_epoch(id), id_shard(id), id_counter(id)),
            (Epoch(513), 7, 99)
        );
        assert_eq!(pack_id(Epoch(0), 0, 1), Ino::ROOT.0);
        assert_eq!(
            id_counter(pack_id(Epoch(65_535), 255, ID_COUNTER_MAX)),
            ID_COUNTER_MAX
        );
    }

    #[test]
    fn a_uuid_prints_as_text() {
        let text = Uuid([0xab; 16]).to_string();
        assert_eq!(text, "abababab-abab-abab-abab-abababababab");
    }
}
