//! The operations of sessions.

use super::compaction;
use super::lock::lock_kind;
use super::task::task;
use super::trash;
use super::types::file_kind;
use super::{Convert, bounded, list, maybe, name, need, unknown, within};
use crate::error::ConvertError;
use crate::v1::{self, create, request, set_time};
use meta_core::command::{
    Append, AppendSlice, Commit, Create, Existing, Fallocate, FallocateMode, NewNode, NewSlice,
    Operation, RenameMode, Request, SetAttr, SetTime, XattrMode,
};
use meta_core::ids::{ChunkIndex, Ino, SessionId, SliceId, SlotIndex};
use meta_core::limits::{
    CHUNK_BYTES, COMMIT_SLICES_MAX, FRAME_BYTES, GRANT_SLICES_MAX, REMOVE_ENTRIES_MAX,
    SYMLINK_BYTES_MAX, XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use meta_core::name::Name;

/// Frames of the longest slice.
pub(super) const FRAME_CRCS_MAX: usize = (CHUNK_BYTES / FRAME_BYTES as u64) as usize;

impl From<&Request> for v1::Request {
    fn from(word: &Request) -> Self {
        let Request {
            session,
            slot,
            sequence,
            caller,
            operation,
        } = word;
        Self {
            session: session.0,
            slot: slot.0,
            sequence: *sequence,
            caller: Some(caller.into()),
            operation: Some(operation.into()),
        }
    }
}

impl Convert<Request> for v1::Request {
    fn convert(self) -> Result<Request, ConvertError> {
        Ok(Request {
            session: SessionId(self.session),
            slot: SlotIndex(self.slot),
            sequence: self.sequence,
            caller: need(self.caller, "Request.caller")?,
            operation: need(self.operation, "Request.operation")?,
        })
    }
}

fn link(ino: Ino, parent: Ino, name: &Name) -> v1::Link {
    v1::Link {
        ino: ino.0,
        parent: parent.0,
        name: name.as_bytes().to_vec(),
    }
}

fn unlink(parent: &Ino, name: &Name) -> v1::Unlink {
    v1::Unlink {
        parent: parent.0,
        name: name.as_bytes().to_vec(),
    }
}

fn remove_entries(parent: Ino, names: &[Name], skip_trash: bool) -> v1::RemoveEntries {
    v1::RemoveEntries {
        parent: parent.0,
        names: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        skip_trash,
    }
}

fn set_xattr(ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> v1::SetXattr {
    v1::SetXattr {
        ino: ino.0,
        name: name.to_vec(),
        value: value.to_vec(),
        mode: v1::XattrMode::from(mode).into(),
    }
}

impl From<&Operation> for request::Operation {
    fn from(word: &Operation) -> Self {
        match word {
            Operation::Create(create) => Self::Create(create.into()),
            Operation::Link { ino, parent, name } => Self::Link(link(*ino, *parent, name)),
            Operation::Unlink { parent, name } => Self::Unlink(unlink(parent, name)),
            Operation::Rmdir { parent, name } => Self::Rmdir(unlink(parent, name)),
            Operation::RemoveEntries {
                parent,
                names,
                skip_trash,
            } => Self::RemoveEntries(remove_entries(*parent, names, *skip_trash)),
            Operation::Restore { parent, files } => Self::Restore(trash::restore(*parent, files)),
            Operation::EmptyTrash { inos } => Self::EmptyTrash(trash::empty(inos)),
            Operation::Rename {
                parent,
                name,
                new_parent,
                new_name,
                mode,
            } => Self::Rename(v1::Rename {
                parent: parent.0,
                name: name.as_bytes().to_vec(),
                new_parent: new_parent.0,
                new_name: new_name.as_bytes().to_vec(),
                mode: v1::RenameMode::from(*mode).into(),
            }),
            Operation::SetAttr(set) => Self::SetAttr(set.into()),
            Operation::Commit(commit) => Self::Commit(commit.into()),
            Operation::Append(append) => Self::Append(append.into()),
            Operation::Fallocate(asked) => Self::Fallocate(asked.into()),
            Operation::CopyRange(asked) => Self::CopyRange(asked.into()),
            Operation::Clone(asked) => Self::Clone(asked.into()),
            Operation::CancelClone { job } => Self::CancelClone(v1::CancelClone { job: job.0 }),
            Operation::Compact(compact) => Self::Compact(compact.into()),
            Operation::Accessed { files } => Self::Accessed(compaction::accessed(files)),
            Operation::SetXattr {
                ino,
                name,
                value,
                mode,
            } => Self::SetXattr(set_xattr(*ino, name, value, *mode)),
            Operation::RemoveXattr { ino, name } => Self::RemoveXattr(v1::RemoveXattr {
                ino: ino.0,
                name: name.clone(),
            }),
            Operation::GrantSlices { count } => {
                Self::GrantSlices(v1::GrantSlices { count: *count })
            }
            Operation::ClaimTask { task, interval_ms } => Self::ClaimTask(v1::ClaimTask {
                task: v1::Task::from(*task).into(),
                interval_ms: *interval_ms,
            }),
            Operation::ReleaseTask { task } => Self::ReleaseTask(v1::ReleaseTask {
                task: v1::Task::from(*task).into(),
            }),
            Operation::FinishBackup(made) => Self::FinishBackup(made.into()),
            Operation::Lock(wanted) => Self::Lock(wanted.into()),
            Operation::Unlock(given) => Self::Unlock(given.into()),
            Operation::CancelLock {
                kind,
                owner,
                ticket,
            } => Self::CancelLock(v1::CancelLock {
                kind: v1::LockKind::from(*kind).into(),
                owner: *owner,
                ticket: *ticket,
            }),
        }
    }
}

impl Convert<Operation> for request::Operation {
    fn convert(self) -> Result<Operation, ConvertError> {
        Ok(match self {
            Self::Create(m) => Operation::Create(m.convert()?),
            Self::Link(m) => Operation::Link {
                ino: Ino(m.ino),
                parent: Ino(m.parent),
                name: name(m.name, "Link.name")?,
            },
            Self::Unlink(m) => Operation::Unlink {
                parent: Ino(m.parent),
                name: name(m.name, "Unlink.name")?,
            },
            Self::Rmdir(m) => Operation::Rmdir {
                parent: Ino(m.parent),
                name: name(m.name, "Rmdir.name")?,
            },
            Self::RemoveEntries(m) => m.convert()?,
            Self::Restore(m) => m.convert()?,
            Self::EmptyTrash(m) => m.convert()?,
            Self::Rename(m) => m.convert()?,
            Self::SetAttr(m) => Operation::SetAttr(m.convert()?),
            Self::Commit(m) => Operation::Commit(m.convert()?),
            Self::Append(m) => Operation::Append(m.convert()?),
            Self::Fallocate(m) => Operation::Fallocate(m.convert()?),
            Self::CopyRange(m) => Operation::CopyRange(m.convert()?),
            Self::Clone(m) => Operation::Clone(m.convert()?),
            Self::CancelClone(m) => Operation::CancelClone { job: Ino(m.job) },
            Self::Compact(m) => Operation::Compact(m.convert()?),
            Self::Accessed(m) => m.convert()?,
            Self::SetXattr(m) => m.convert()?,
            Self::RemoveXattr(m) => Operation::RemoveXattr {
                ino: Ino(m.ino),
                name: bounded(m.name, "RemoveXattr.name", XATTR_NAME_BYTES_MAX)?,
            },
            Self::GrantSlices(m) => {
                let max = u64::from(GRANT_SLICES_MAX);
                within(u64::from(m.count), "GrantSlices.count", max)?;
                Operation::GrantSlices { count: m.count }
            }
            Self::ClaimTask(m) => Operation::ClaimTask {
                task: task(m.task, "ClaimTask.task")?,
                interval_ms: m.interval_ms,
            },
            Self::ReleaseTask(m) => Operation::ReleaseTask {
                task: task(m.task, "ReleaseTask.task")?,
            },
            Self::FinishBackup(m) => Operation::FinishBackup(m.convert()?),
            Self::Lock(m) => Operation::Lock(m.convert()?),
            Self::Unlock(m) => Operation::Unlock(m.convert()?),
            Self::CancelLock(m) => Operation::CancelLock {
                kind: lock_kind(m.kind)?,
                owner: m.owner,
                ticket: m.ticket,
            },
        })
    }
}

impl From<&Create> for v1::Create {
    fn from(word: &Create) -> Self {
        let Create {
            parent,
            name,
            mode,
            masked,
            node,
            existing,
        } = word;
        let node = match node {
            NewNode::Regular => create::Node::Regular(v1::Nothing {}),
            NewNode::Directory => create::Node::Directory(v1::Nothing {}),
            NewNode::Symlink { target } => create::Node::Symlink(v1::Symlink {
                target: target.clone(),
            }),
            NewNode::Special { kind, rdev } => create::Node::Special(v1::Special {
                kind: v1::FileKind::from(*kind).into(),
                rdev: *rdev,
            }),
        };
        let existing = match *existing {
            Existing::Refuse => create::Existing::Refuse(v1::Nothing {}),
            Existing::Open { read, write } => {
                create::Existing::Open(v1::OpenExisting { read, write })
            }
        };
        Self {
            parent: parent.0,
            name: name.as_bytes().to_vec(),
            mode: *mode,
            masked: *masked,
            node: Some(node),
            existing: Some(existing),
        }
    }
}

impl Convert<Create> for v1::Create {
    fn convert(self) -> Result<Create, ConvertError> {
        let existing = match self
            .existing
            .ok_or(ConvertError::Missing("Create.existing"))?
        {
            create::Existing::Refuse(v1::Nothing {}) => Existing::Refuse,
            create::Existing::Open(v1::OpenExisting { read, write }) => {
                Existing::Open { read, write }
            }
        };
        Ok(Create {
            parent: Ino(self.parent),
            name: name(self.name, "Create.name")?,
            mode: self.mode,
            masked: self.masked,
            node: need(self.node, "Create.node")?,
            existing,
        })
    }
}

impl Convert<NewNode> for create::Node {
    fn convert(self) -> Result<NewNode, ConvertError> {
        Ok(match self {
            Self::Regular(v1::Nothing {}) => NewNode::Regular,
            Self::Directory(v1::Nothing {}) => NewNode::Directory,
            Self::Symlink(m) => NewNode::Symlink {
                target: bounded(m.target, "Symlink.target", SYMLINK_BYTES_MAX)?,
            },
            Self::Special(m) => NewNode::Special {
                kind: file_kind(m.kind, "Special.kind")?,
                rdev: m.rdev,
            },
        })
    }
}

impl Convert<Operation> for v1::RemoveEntries {
    fn convert(self) -> Result<Operation, ConvertError> {
        let field = "RemoveEntries.names";
        let names = bounded(self.names, field, REMOVE_ENTRIES_MAX)?.into_iter();
        Ok(Operation::RemoveEntries {
            parent: Ino(self.parent),
            names: names
                .map(|bytes| name(bytes, field))
                .collect::<Result<_, _>>()?,
            skip_trash: self.skip_trash,
        })
    }
}

impl From<RenameMode> for v1::RenameMode {
    fn from(word: RenameMode) -> Self {
        match word {
            RenameMode::Replace => Self::Replace,
            RenameMode::NoReplace => Self::NoReplace,
            RenameMode::Exchange => Self::Exchange,
        }
    }
}

impl Convert<Operation> for v1::Rename {
    fn convert(self) -> Result<Operation, ConvertError> {
        let mode = match v1::RenameMode::try_from(self.mode) {
            Ok(v1::RenameMode::Replace) => RenameMode::Replace,
            Ok(v1::RenameMode::NoReplace) => RenameMode::NoReplace,
            Ok(v1::RenameMode::Exchange) => RenameMode::Exchange,
            Ok(v1::RenameMode::Unspecified) | Err(_) => {
                return Err(unknown("Rename.mode", self.mode));
            }
        };
        Ok(Operation::Rename {
            parent: Ino(self.parent),
            name: name(self.name, "Rename.name")?,
            new_parent: Ino(self.new_parent),
            new_name: name(self.new_name, "Rename.new_name")?,
            mode,
        })
    }
}

impl From<SetTime> for v1::SetTime {
    fn from(word: SetTime) -> Self {
        let time = match word {
            SetTime::Now => set_time::Time::Now(v1::Nothing {}),
            SetTime::At(at) => set_time::Time::At(at.into()),
        };
        Self { time: Some(time) }
    }
}

impl Convert<SetTime> for v1::SetTime {
    fn convert(self) -> Result<SetTime, ConvertError> {
        Ok(
            match self.time.ok_or(ConvertError::Missing("SetTime.time"))? {
                set_time::Time::Now(v1::Nothing {}) => SetTime::Now,
                set_time::Time::At(at) => SetTime::At(at.convert()?),
            },
        )
    }
}

impl From<&SetAttr> for v1::SetAttr {
    fn from(word: &SetAttr) -> Self {
        let SetAttr {
            ino,
            mode,
            uid,
            gid,
            length,
            atime,
            mtime,
            by_handle,
            drop_privilege_bits,
            grow_only,
        } = word;
        Self {
            ino: ino.0,
            mode: *mode,
            uid: *uid,
            gid: *gid,
            length: *length,
            atime: atime.map(Into::into),
            mtime: mtime.map(Into::into),
            by_handle: *by_handle,
            drop_privilege_bits: *drop_privilege_bits,
            grow_only: *grow_only,
        }
    }
}

impl Convert<SetAttr> for v1::SetAttr {
    fn convert(self) -> Result<SetAttr, ConvertError> {
        Ok(SetAttr {
            ino: Ino(self.ino),
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            length: self.length,
            atime: maybe(self.atime)?,
            mtime: maybe(self.mtime)?,
            by_handle: self.by_handle,
            drop_privilege_bits: self.drop_privilege_bits,
            grow_only: self.grow_only,
        })
    }
}

impl From<&Commit> for v1::Commit {
    fn from(word: &Commit) -> Self {
        let Commit { ino, slices, mtime } = word;
        Self {
            ino: ino.0,
            slices: slices.iter().map(Into::into).collect(),
            mtime: mtime.map(Into::into),
        }
    }
}

impl Convert<Commit> for v1::Commit {
    fn convert(self) -> Result<Commit, ConvertError> {
        Ok(Commit {
            ino: Ino(self.ino),
            slices: list(self.slices, "Commit.slices", COMMIT_SLICES_MAX)?,
            mtime: maybe(self.mtime)?,
        })
    }
}

impl From<&NewSlice> for v1::NewSlice {
    fn from(word: &NewSlice) -> Self {
        let NewSlice {
            chunk,
            at,
            id,
            len,
            frame_crcs,
        } = word;
        Self {
            chunk: chunk.0,
            at: *at,
            id: id.0,
            len: *len,
            frame_crcs: frame_crcs.clone(),
        }
    }
}

impl Convert<NewSlice> for v1::NewSlice {
    fn convert(self) -> Result<NewSlice, ConvertError> {
        Ok(NewSlice {
            chunk: ChunkIndex(self.chunk),
            at: self.at,
            id: SliceId(self.id),
            len: self.len,
            frame_crcs: bounded(self.frame_crcs, "NewSlice.frame_crcs", FRAME_CRCS_MAX)?,
        })
    }
}

impl From<&Append> for v1::Append {
    fn from(word: &Append) -> Self {
        let Append { ino, slices } = word;
        Self {
            ino: ino.0,
            slices: slices.iter().map(Into::into).collect(),
        }
    }
}

impl Convert<Append> for v1::Append {
    fn convert(self) -> Result<Append, ConvertError> {
        let slices = list(self.slices, "Append.slices", COMMIT_SLICES_MAX)?;
        Ok(Append {
            ino: Ino(self.ino),
            slices,
        })
    }
}

impl From<&AppendSlice> for v1::AppendSlice {
    fn from(word: &AppendSlice) -> Self {
        let AppendSlice {
            id,
            len,
            frame_crcs,
        } = word;
        Self {
            id: id.0,
            len: *len,
            frame_crcs: frame_crcs.clone(),
        }
    }
}

impl Convert<AppendSlice> for v1::AppendSlice {
    fn convert(self) -> Result<AppendSlice, ConvertError> {
        Ok(AppendSlice {
            id: SliceId(self.id),
            len: self.len,
            frame_crcs: bounded(self.frame_crcs, "AppendSlice.frame_crcs", FRAME_CRCS_MAX)?,
        })
    }
}

impl From<FallocateMode> for v1::FallocateMode {
    fn from(word: FallocateMode) -> Self {
        match word {
            FallocateMode::Punch => Self::Punch,
            FallocateMode::Zero => Self::Zero,
        }
    }
}

impl From<&Fallocate> for v1::Fallocate {
    fn from(word: &Fallocate) -> Self {
        Self {
            ino: word.ino.0,
            offset: word.offset,
            len: word.len,
            mode: v1::FallocateMode::from(word.mode).into(),
        }
    }
}

impl Convert<Fallocate> for v1::Fallocate {
    fn convert(self) -> Result<Fallocate, ConvertError> {
        let mode = match v1::FallocateMode::try_from(self.mode) {
            Ok(v1::FallocateMode::Punch) => FallocateMode::Punch,
            Ok(v1::FallocateMode::Zero) => FallocateMode::Zero,
            Ok(v1::FallocateMode::Unspecified) | Err(_) => {
                return Err(unknown("Fallocate.mode", self.mode));
            }
        };
        Ok(Fallocate {
            ino: Ino(self.ino),
            offset: self.offset,
            len: self.len,
            mode,
        })
    }
}

impl From<XattrMode> for v1::XattrMode {
    fn from(word: XattrMode) -> Self {
        match word {
            XattrMode::Set => Self::Set,
            XattrMode::Create => Self::Create,
            XattrMode::Replace => Self::Replace,
        }
    }
}

impl Convert<Operation> for v1::SetXattr {
    fn convert(self) -> Result<Operation, ConvertError> {
        let mode = match v1::XattrMode::try_from(self.mode) {
            Ok(v1::XattrMode::Set) => XattrMode::Set,
            Ok(v1::XattrMode::Create) => XattrMode::Create,
            Ok(v1::XattrMode::Replace) => XattrMode::Replace,
            Ok(v1::XattrMode::Unspecified) | Err(_) => {
                return Err(unknown("SetXattr.mode", self.mode));
            }
        };
        Ok(Operation::SetXattr {
            ino: Ino(self.ino),
            name: bounded(self.name, "SetXattr.name", XATTR_NAME_BYTES_MAX)?,
            value: bounded(self.value, "SetXattr.value", XATTR_VALUE_BYTES_MAX)?,
            mode,
        })
    }
}
