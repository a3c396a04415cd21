//! Frames of the changelog's streams: a message behind the CRC-32 of its bytes.

use crate::v1::{CheckedFrame, FollowFrame, LoadFrame};
use prost::Message;

/// Why a frame is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Its bytes are not those that were sent.
    #[error("a frame was damaged on the way")]
    WrongCrc,
    /// Its bytes are as they were sent, and cannot be read here.
    #[error("a frame cannot be read: {0}")]
    Unreadable(String),
}

/// A message that travels in a checked frame.
pub trait Framed: Message + Default {
    /// Seals the message.
    fn to_frame(&self) -> CheckedFrame {
        let frame = self.encode_to_vec();
        CheckedFrame {
            crc: crc32fast::hash(&frame),
            frame: frame.into(),
        }
    }

    /// Opens a frame.
    ///
    /// # Errors
    /// If the frame's bytes do not fit their crc, or are no such message.
    fn of_frame(frame: &CheckedFrame) -> Result<Self, FrameError> {
        if crc32fast::hash(&frame.frame) != frame.crc {
            return Err(FrameError::WrongCrc);
        }
        Self::decode(frame.frame.clone()).map_err(|error| FrameError::Unreadable(error.to_string()))
    }
}

impl Framed for FollowFrame {}
impl Framed for LoadFrame {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::follow_frame::Frame;
    use crate::v1::{FollowRecords, SealedRecord};

    #[test]
    fn no_flipped_bit_is_taken_in() {
        let records = FollowRecords {
            last: 9,
            records: (0..8_u8)
                .map(|index| SealedRecord {
                    crc: u32::from(index),
                    body: vec![index; 64],
                })
                .collect(),
        };
        let message = FollowFrame {
            frame: Some(Frame::Records(records)),
        };
        let sent = message.to_frame();
        assert_eq!(FollowFrame::of_frame(&sent), Ok(message));
        let bytes = sent.encode_to_vec();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // What is no frame at all ends the stream.
            if let Ok(frame) = CheckedFrame::decode(damaged.as_slice()) {
                assert_eq!(
                    FollowFrame::of_frame(&frame),
                    Err(FrameError::WrongCrc),
                    "bit {bit}"
                );
            }
        }
    }
}
