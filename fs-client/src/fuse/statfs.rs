//! What `df` shows.

use meta_core::query::VolumeStat;
use meta_core::quota::{Room, Space};

/// The size of a volume without a limit: object stores have none.
const CAPACITY_BYTES: u64 = 1 << 50;
/// Its number of inodes.
const CAPACITY_INODES: u64 = 1 << 40;
/// The unit of `statfs`.
pub(super) const STATFS_BYTES: u32 = 4096;

/// What is there, and what of it is left, in units of [`STATFS_BYTES`] and in files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shown {
    pub(super) blocks: u64,
    pub(super) blocks_left: u64,
    pub(super) inodes: u64,
    pub(super) inodes_left: u64,
}

impl Shown {
    /// At a place with these limits.
    pub(super) fn of(stat: &VolumeStat, space: Space) -> Self {
        let block = u64::from(STATFS_BYTES);
        let (blocks, blocks_left) = match space.bytes {
            Some(room) => shown(room, block),
            None => endless(CAPACITY_BYTES / block, stat.bytes.div_ceil(block)),
        };
        let (inodes, inodes_left) = match space.inodes {
            Some(room) => shown(room, 1),
            None => endless(CAPACITY_INODES, stat.inodes),
        };
        Self {
            blocks,
            blocks_left,
            inodes,
            inodes_left,
        }
    }
}

/// A limit in units, and what is left. Where it is below what is used, the size is what is used, so that
/// what `df` takes for the difference is right.
fn shown(room: Room, unit: u64) -> (u64, u64) {
    let left = room.left() / unit;
    let used = room.used.div_ceil(unit);
    (used.saturating_add(left), left)
}

/// Without a limit there is always as much left as is used.
fn endless(capacity: u64, used: u64) -> (u64, u64) {
    let all = capacity.max(used.saturating_mul(2));
    (all, all.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(bytes: u64, inodes: u64) -> VolumeStat {
        VolumeStat {
            bytes,
            inodes,
            ..VolumeStat::default()
        }
    }

    #[test]
    fn a_volume_without_a_limit_is_never_full() {
        let shown = Shown::of(&stat(8192, 3), Space::default());
        assert_eq!(shown.blocks - shown.blocks_left, 2);
        assert_eq!(shown.inodes - shown.inodes_left, 3);
        let shown = Shown::of(&stat(u64::MAX - 4095, u64::MAX), Space::default());
        assert!(shown.blocks_left > 0, "{shown:?}");
    }

    #[test]
    fn a_limit_is_what_is_there() {
        let room = |limit, used| Some(Room { limit, used });
        let space = Space {
            bytes: room(10 * 4096, 3 * 4096),
            inodes: room(7, 9),
        };
        let shown = Shown::of(&stat(1 << 40, 1 << 20), space);
        assert_eq!((shown.blocks, shown.blocks_left), (10, 7));
        // A limit below what is used.
        assert_eq!((shown.inodes, shown.inodes_left), (9, 0));
    }
}
