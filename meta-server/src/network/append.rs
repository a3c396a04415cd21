//! Keeps an append within one message.

use openraft::entry::RaftEntry;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use raft_store::LogId;
use raft_store::TypeConfig;

/// Bytes of commands in one message, well below what a receiver accepts.
const COMMAND_BYTES_MAX: usize = 6 << 20;
/// What an entry costs beside its command.
const ENTRY_OVERHEAD_BYTES: usize = 64;

/// Cuts the request after as many entries as fit. Gives the last one left in it, if some were cut
/// off: the follower's success then counts up to that one only.
pub(super) fn cut(request: &mut AppendEntriesRequest<TypeConfig>) -> Option<LogId> {
    let mut bytes = 0;
    let fits = request.entries.iter().take_while(|entry| {
        // The first entry goes whatever its size: an entry is bounded where it is proposed.
        let first = bytes == 0;
        bytes += ENTRY_OVERHEAD_BYTES + command_bytes(entry);
        first || bytes <= COMMAND_BYTES_MAX
    });
    let count = fits.count();
    if count == request.entries.len() {
        return None;
    }
    request.entries.truncate(count);
    request.entries.last().map(RaftEntry::log_id)
}

/// What a success on a cut request stands for.
pub(super) fn partial(
    response: AppendEntriesResponse<TypeConfig>,
    last: Option<LogId>,
) -> AppendEntriesResponse<TypeConfig> {
    match (response, last) {
        (AppendEntriesResponse::Success, Some(last)) => {
            AppendEntriesResponse::PartialSuccess(Some(last))
        }
        (response, _) => response,
    }
}

fn command_bytes(entry: &raft_store::Entry) -> usize {
    match &entry.payload {
        openraft::EntryPayload::Normal(command) => command.0.len(),
        openraft::EntryPayload::Blank | openraft::EntryPayload::Membership(_) => 256,
    }
}
