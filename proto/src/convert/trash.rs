//! The trash: what is asked of it, what is in it, what comes back.

use super::{Convert, bounded, maybe, name, need, within};
use crate::error::ConvertError;
use crate::v1::{self, ask_trash};
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::Operation;
use meta_core::ids::Ino;
use meta_core::limits::{READDIR_ENTRIES_MAX, TRASH_ENTRIES_MAX};
use meta_core::name::Name;
use meta_core::query::{AskTrash, TrashCursor, TrashEntry, TrashStat};

pub(super) fn purge(before: Timestamp, files_max: u32) -> v1::PurgeTrash {
    v1::PurgeTrash {
        before: Some(before.into()),
        files_max,
    }
}

pub(super) fn set_options(caller: &Caller, trash_seconds: u64) -> v1::SetOptions {
    v1::SetOptions {
        caller: Some(caller.into()),
        trash_seconds,
    }
}

pub(super) fn restore(parent: Ino, files: &[(Ino, Name)]) -> v1::Restore {
    let files = files.iter().map(|(ino, name)| v1::RestoredFile {
        ino: ino.0,
        name: name.as_bytes().to_vec(),
    });
    v1::Restore {
        parent: parent.0,
        files: files.collect(),
    }
}

pub(super) fn empty(inos: &[Ino]) -> v1::EmptyTrash {
    v1::EmptyTrash {
        inos: inos.iter().map(|ino| ino.0).collect(),
    }
}

impl Convert<Operation> for v1::Restore {
    fn convert(self) -> Result<Operation, ConvertError> {
        let files = bounded(self.files, "Restore.files", TRASH_ENTRIES_MAX)?;
        let file = |file: v1::RestoredFile| {
            let name = name(file.name, "RestoredFile.name")?;
            Ok((Ino(file.ino), name))
        };
        let files: Result<_, ConvertError> = files.into_iter().map(file).collect();
        Ok(Operation::Restore {
            parent: Ino(self.parent),
            files: files?,
        })
    }
}

impl Convert<Operation> for v1::EmptyTrash {
    fn convert(self) -> Result<Operation, ConvertError> {
        let inos = bounded(self.inos, "EmptyTrash.inos", TRASH_ENTRIES_MAX)?;
        let inos = inos.into_iter().map(Ino).collect();
        Ok(Operation::EmptyTrash { inos })
    }
}

impl From<&AskTrash> for v1::AskTrash {
    fn from(word: &AskTrash) -> Self {
        let asked = match word {
            AskTrash::File(ino) => ask_trash::Asked::File(ino.0),
            AskTrash::Of {
                parent,
                name,
                after,
                count_max,
            } => ask_trash::Asked::Of(v1::TrashOf {
                parent: parent.0,
                name: name.iter().flat_map(Name::as_bytes).copied().collect(),
                after: after.as_ref().map(Into::into),
                count_max: *count_max,
            }),
        };
        Self { asked: Some(asked) }
    }
}

impl Convert<AskTrash> for v1::AskTrash {
    fn convert(self) -> Result<AskTrash, ConvertError> {
        Ok(
            match self.asked.ok_or(ConvertError::Missing("AskTrash.asked"))? {
                ask_trash::Asked::File(ino) => AskTrash::File(Ino(ino)),
                ask_trash::Asked::Of(m) => {
                    let max = u64::from(READDIR_ENTRIES_MAX);
                    within(u64::from(m.count_max), "TrashOf.count_max", max)?;
                    let name = match m.name.is_empty() {
                        true => None,
                        false => Some(name(m.name, "TrashOf.name")?),
                    };
                    AskTrash::Of {
                        parent: Ino(m.parent),
                        name,
                        after: maybe(m.after)?,
                        count_max: m.count_max,
                    }
                }
            },
        )
    }
}

impl From<&TrashCursor> for v1::TrashCursor {
    fn from(word: &TrashCursor) -> Self {
        Self {
            name: word.name.as_bytes().to_vec(),
            removed: Some(word.removed.into()),
            ino: word.ino.0,
        }
    }
}

impl Convert<TrashCursor> for v1::TrashCursor {
    fn convert(self) -> Result<TrashCursor, ConvertError> {
        Ok(TrashCursor {
            name: name(self.name, "TrashCursor.name")?,
            removed: need(self.removed, "TrashCursor.removed")?,
            ino: Ino(self.ino),
        })
    }
}

impl From<&TrashEntry> for v1::TrashEntry {
    fn from(word: &TrashEntry) -> Self {
        Self {
            parent: word.parent.0,
            name: word.name.as_bytes().to_vec(),
            removed: Some(word.removed.into()),
            uid: word.uid,
            attr: Some((&word.attr).into()),
        }
    }
}

impl Convert<TrashEntry> for v1::TrashEntry {
    fn convert(self) -> Result<TrashEntry, ConvertError> {
        Ok(TrashEntry {
            parent: Ino(self.parent),
            name: name(self.name, "TrashEntry.name")?,
            removed: need(self.removed, "TrashEntry.removed")?,
            uid: self.uid,
            attr: need(self.attr, "TrashEntry.attr")?,
        })
    }
}

impl From<TrashStat> for v1::TrashStat {
    fn from(word: TrashStat) -> Self {
        Self {
            seconds: word.seconds,
            inodes: word.inodes,
            bytes: word.bytes,
            oldest: word.oldest.map(Into::into),
        }
    }
}

impl Convert<TrashStat> for v1::TrashStat {
    fn convert(self) -> Result<TrashStat, ConvertError> {
        Ok(TrashStat {
            seconds: self.seconds,
            inodes: self.inodes,
            bytes: self.bytes,
            oldest: maybe(self.oldest)?,
        })
    }
}
