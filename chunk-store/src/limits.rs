//! Bounds on what the data of one mounted volume may use.

use std::time::Duration;

/// Bounds; the defaults suit a mount on a machine with some GiB of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Blocks on their way up at once.
    pub uploads: usize,
    /// Bytes of the blocks on their way up; at least one block is always allowed.
    pub upload_bytes: usize,
    /// Reads from the store at once.
    pub downloads: usize,
    /// Bytes of verified frames kept in memory.
    pub memory_bytes: usize,
    /// How long after its first failure one upload, or one read, is tried again.
    pub retry_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            uploads: 20,
            upload_bytes: 128 << 20,
            downloads: 64,
            memory_bytes: 256 << 20,
            retry_for: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Blocks of `block_bytes` that may be on their way up at once.
    pub(crate) fn blocks_up(&self, block_bytes: u32) -> usize {
        let fit = self.upload_bytes / (block_bytes.max(1) as usize);
        self.uploads.min(fit).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_blocks_go_up_fewer_at_a_time() {
        let limits = Limits::default();
        assert_eq!(limits.blocks_up(4 << 20), 20);
        assert_eq!(limits.blocks_up(16 << 20), 8);
        let tiny = Limits {
            upload_bytes: 1,
            ..limits
        };
        assert_eq!(tiny.blocks_up(4 << 20), 1);
    }
}
