//! Frames: the pieces of a block that are checked alone.

use meta_core::limits::FRAME_BYTES;

/// CRC-32 (IEEE) of each 64 KiB frame of `data`, which begins at a frame's begin; the last frame
/// may be short.
pub fn frame_crcs(data: &[u8]) -> Vec<u32> {
    frames(data).map(crc32fast::hash).collect()
}

/// The frames of `data`, which begins at a frame's begin.
pub(crate) fn frames(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.chunks(FRAME_BYTES as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_crcs_are_frozen() {
        let data: Vec<u8> = (0..70_000u32).map(|n| n.to_le_bytes()[0]).collect();
        assert_eq!(frame_crcs(b"123456789"), [0xcbf4_3926]);
        assert_eq!(frame_crcs(&[0; 65_536]), [0xd797_8eeb]);
        assert_eq!(frame_crcs(&data).len(), 2);
        assert_eq!(frame_crcs(&data)[1], crc32fast::hash(&data[65_536..]));
        assert!(frame_crcs(b"").is_empty());
    }
}
