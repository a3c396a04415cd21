//! What the wire cannot carry is refused here, as the engine would.

use meta_core::attr::Caller;
use meta_core::command::{NewNode, NewSlice, Operation, SetTime};
use meta_core::limits;
use meta_core::outcome::Refusal;
use meta_core::query::QueryBody;

/// Frames of the longest slice.
const FRAMES_MAX: u64 = limits::CHUNK_BYTES / limits::FRAME_BYTES as u64;

/// An operation that fits.
pub(crate) fn operation(caller: &Caller, operation: &Operation) -> Result<(), Refusal> {
    check(caller.groups.len() <= limits::GROUPS_MAX)?;
    match operation {
        Operation::Create(create) => node(&create.node),
        Operation::SetAttr(set) => {
            let valid = |time: Option<SetTime>| match time {
                Some(SetTime::At(at)) => at.is_valid(),
                Some(SetTime::Now) | None => true,
            };
            check(valid(set.atime) && valid(set.mtime))
        }
        Operation::Commit(commit) => {
            check(commit.slices.len() <= limits::COMMIT_SLICES_MAX)?;
            check(commit.mtime.is_none_or(|at| at.is_valid()))?;
            new_slices(&commit.slices)
        }
        Operation::Append(append) => {
            check(append.slices.len() <= limits::COMMIT_SLICES_MAX)?;
            check(
                append
                    .slices
                    .iter()
                    .all(|slice| slice.frame_crcs.len() as u64 <= FRAMES_MAX),
            )
        }
        Operation::SetXattr { name, value, .. } => {
            xattr_name(name)?;
            if value.len() > limits::XATTR_VALUE_BYTES_MAX {
                return Err(Refusal::AttributeTooLarge);
            }
            Ok(())
        }
        Operation::RemoveXattr { name, .. } => xattr_name(name),
        Operation::RemoveEntries { names, .. } => {
            check(!names.is_empty() && names.len() <= limits::REMOVE_ENTRIES_MAX)
        }
        Operation::Restore { files, .. } => {
            check(!files.is_empty() && files.len() <= limits::TRASH_ENTRIES_MAX)
        }
        Operation::EmptyTrash { inos } => {
            check(!inos.is_empty() && inos.len() <= limits::TRASH_ENTRIES_MAX)
        }
        Operation::GrantSlices { count } => check(*count <= limits::GRANT_SLICES_MAX),
        Operation::FinishBackup(made) => check(made.name.len() <= limits::BACKUP_NAME_BYTES_MAX),
        Operation::Compact(compact) => {
            check(compact.slices.len() <= limits::COMPACT_ROWS_MAX)?;
            new_slices(&compact.slices)
        }
        Operation::Accessed { files } => {
            check(!files.is_empty() && files.len() <= limits::ACCESSED_MAX)
        }
        Operation::Fallocate(_)
        | Operation::CopyRange(_)
        | Operation::Clone(_)
        | Operation::CancelClone { .. }
        | Operation::Link { .. }
        | Operation::Unlink { .. }
        | Operation::Rmdir { .. }
        | Operation::Rename { .. }
        | Operation::ClaimTask { .. }
        | Operation::ReleaseTask { .. }
        | Operation::Lock(_)
        | Operation::Unlock(_)
        | Operation::CancelLock { .. } => Ok(()),
    }
}

fn node(node: &NewNode) -> Result<(), Refusal> {
    match node {
        NewNode::Symlink { target } if target.len() > limits::SYMLINK_BYTES_MAX => {
            Err(Refusal::NameTooLong)
        }
        _ => Ok(()),
    }
}

fn new_slices(slices: &[NewSlice]) -> Result<(), Refusal> {
    let fits = |slice: &NewSlice| slice.frame_crcs.len() as u64 <= FRAMES_MAX;
    check(slices.iter().all(fits))
}

/// A query that fits; too large a page is asked for as a full one.
pub(crate) fn query(caller: &Caller, body: QueryBody) -> Result<QueryBody, Refusal> {
    check(caller.groups.len() <= limits::GROUPS_MAX)?;
    match body {
        QueryBody::ReadDir {
            ino,
            after,
            entries_max,
            with_attrs,
        } => {
            let entries_max = entries_max.min(limits::READDIR_ENTRIES_MAX);
            Ok(QueryBody::ReadDir {
                ino,
                after,
                entries_max,
                with_attrs,
            })
        }
        QueryBody::GetXattr { ino, name } => {
            xattr_name(&name)?;
            Ok(QueryBody::GetXattr { ino, name })
        }
        QueryBody::GetAttrs { inos } => {
            check(inos.len() <= limits::GET_ATTRS_MAX)?;
            Ok(QueryBody::GetAttrs { inos })
        }
        QueryBody::Resolve(asked) if asked.path.len() > limits::PATH_BYTES_MAX => {
            Err(Refusal::NameTooLong)
        }
        QueryBody::FindVolume { name } if name.len() > limits::VOLUME_NAME_BYTES_MAX => {
            Err(Refusal::UnknownVolume)
        }
        other => Ok(other),
    }
}

fn xattr_name(name: &[u8]) -> Result<(), Refusal> {
    if name.len() > limits::XATTR_NAME_BYTES_MAX {
        return Err(Refusal::NameTooLong);
    }
    Ok(())
}

fn check(fits: bool) -> Result<(), Refusal> {
    if fits {
        Ok(())
    } else {
        Err(Refusal::InvalidArgument)
    }
}
