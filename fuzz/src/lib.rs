//! Every decoder of bytes that come from a disk or a peer takes any bytes: it never panics, never
//! asks for more memory than twice the largest message, and what it takes for good comes back when
//! it is written again.
//!
//! [`TARGETS`] are the decoders. `tests/replay.rs` gives each of them the corpus and random changes
//! of it; `libfuzzer/` looks for new inputs for as long as one likes (`cargo xtask fuzz`).
#![warn(missing_docs)]

mod engine;
mod messages;
pub mod mutation;
mod stored;

use meta_core::limits::MESSAGE_BYTES_MAX;
use peak_alloc::PeakAlloc;

/// What is thrown bytes at.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its directory in the corpus, too.
    pub name: &'static str,
    /// Takes any bytes, and panics if they show that something is wrong.
    pub run: fn(&[u8]),
}

/// Bytes of memory that a decoder may ask for: twice the largest message.
pub const ASKED_MAX: usize = 2 * MESSAGE_BYTES_MAX;

/// Runs a decoder and gives the most memory that it had at once. `memory` is the program's own.
pub fn asked(memory: &PeakAlloc, target: &Target, input: &[u8]) -> usize {
    let before = memory.current_usage();
    memory.reset_peak_usage();
    (target.run)(input);
    memory.peak_usage().saturating_sub(before)
}

/// All decoders.
pub const TARGETS: &[Target] = &[
    target("command", messages::command),
    target("reply", messages::reply),
    target("record", messages::record),
    target("client_frame", messages::client_frame),
    target("server_frame", messages::server_frame),
    target("changelog_frame", messages::changelog_frame),
    target("meta_url", messages::meta_url),
    target("raft_message", stored::raft_message),
    target("log_entry", stored::log_entry),
    target("log_record", stored::log_record),
    target("snapshot", stored::snapshot),
    target("row", stored::row),
    target("dump", stored::dump),
    target("apply", engine::apply),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// A piece that stands behind its length in two bytes, or as much of it as there is, and the rest.
fn split_piece(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    Some(rest.split_at(length.min(rest.len())))
}
