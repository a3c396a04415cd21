//! When files were read last.

use super::{Done, shared};
use crate::attr::Timestamp;
use crate::ids::Ino;
use crate::kv::KvRead;
use crate::limits::ACCESSED_MAX;
use crate::outcome::{Refusal, Stop, Success};
use crate::txn::Txn;

/// Takes in later times of access; nothing else of a file changes.
pub(super) fn accessed<B: KvRead>(txn: &mut Txn<'_, B>, files: &[(Ino, Timestamp)]) -> Done {
    if txn.tables().settings()?.level < shared::LEVEL {
        return Err(Refusal::NotSupported.into());
    }
    let valid = files.iter().all(|(_, at)| at.is_valid());
    if !valid || files.is_empty() || files.len() > ACCESSED_MAX {
        return Err(Refusal::InvalidArgument.into());
    }
    let now = txn.stamp();
    for (ino, at) in files {
        let mut inode = match txn.tables().inode(*ino) {
            Ok(inode) => inode,
            Err(Stop::Refused(_gone)) => continue,
            Err(fatal) => return Err(fatal),
        };
        let at = (*at).min(now);
        if at > inode.atime {
            inode.atime = at;
            txn.put_inode(*ino, &inode);
        }
    }
    Ok(Success::Done)
}
