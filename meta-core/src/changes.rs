//! Which files and names an operation may change: what leases are about. The leader, who asks their
//! holders, and the client, who asks nobody about its own changes, go by the same list.

use crate::command::Operation;
use crate::ids::Ino;
use crate::name::Name;

/// Files and names that an operation changes, as far as it says so itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changes {
    /// Files that get other attributes, permissions perhaps among them.
    pub files: Vec<Ino>,
    /// Directories that get or lose names, and nothing else.
    pub directories: Vec<Ino>,
    /// Names that come, go or move.
    pub names: Vec<(Ino, Name)>,
    /// Whether the files behind the names change too.
    pub behind: bool,
}

impl Changes {
    /// Of an operation.
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Clone(clone) => Self::new_name(clone.parent, &clone.name),
            Operation::Create(create) => Self::new_name(create.parent, &create.name),
            Operation::Link { ino, parent, name } => Self {
                files: vec![*ino],
                ..Self::new_name(*parent, name)
            },
            Operation::Unlink { parent, name } | Operation::Rmdir { parent, name } => Self {
                files: Vec::new(),
                directories: vec![*parent],
                names: vec![(*parent, name.clone())],
                behind: true,
            },
            Operation::RemoveEntries { parent, names, .. } => Self {
                files: Vec::new(),
                directories: vec![*parent],
                names: names.iter().map(|name| (*parent, name.clone())).collect(),
                behind: true,
            },
            Operation::Restore { parent, files } => Self {
                files: files.iter().map(|(ino, _)| *ino).collect(),
                directories: vec![*parent],
                names: files
                    .iter()
                    .map(|(_, name)| (*parent, name.clone()))
                    .collect(),
                behind: false,
            },
            Operation::Rename {
                parent,
                name,
                new_parent,
                new_name,
                ..
            } => Self {
                files: Vec::new(),
                directories: vec![*parent, *new_parent],
                names: vec![(*parent, name.clone()), (*new_parent, new_name.clone())],
                behind: true,
            },
            Operation::SetAttr(change) => Self::file(change.ino),
            Operation::Commit(commit) => Self::file(commit.ino),
            Operation::Append(append) => Self::file(append.ino),
            Operation::Fallocate(asked) => Self::file(asked.ino),
            Operation::CopyRange(asked) => Self::file(asked.to),
            Operation::Accessed { files } => Self::of_files(files.iter().map(|(ino, _)| *ino)),
            Operation::SetXattr { ino, .. } | Operation::RemoveXattr { ino, .. } => {
                Self::file(*ino)
            }
            // What becomes of a file in the trash, nobody sees.
            Operation::EmptyTrash { .. }
            | Operation::GrantSlices { .. }
            // What is being copied has no name.
            | Operation::CancelClone { .. }
            | Operation::ClaimTask { .. }
            | Operation::ReleaseTask { .. }
            | Operation::FinishBackup(_)
            // What the file shows stays the same.
            | Operation::Compact(_)
            | Operation::Lock(_)
            | Operation::Unlock(_)
            | Operation::CancelLock { .. } => Self::default(),
        }
    }

    fn new_name(parent: Ino, name: &Name) -> Self {
        Self {
            directories: vec![parent],
            names: vec![(parent, name.clone())],
            ..Self::default()
        }
    }

    fn file(ino: Ino) -> Self {
        Self::of_files(std::iter::once(ino))
    }

    fn of_files(inos: impl Iterator<Item = Ino>) -> Self {
        Self {
            files: inos.collect(),
            ..Self::default()
        }
    }
}
