//! Which files and names a command may change.

use meta_core::command::{Command, CommandBody, Operation};
use meta_core::ids::{Ino, VolumeId};
use meta_core::name::Name;

/// A name in a directory of a volume.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Entry {
    pub(super) volume: VolumeId,
    pub(super) parent: Ino,
    pub(super) name: Name,
}

/// What a command may change, as far as it says so itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Touched {
    /// Files and directories that it names by inode.
    pub(super) inos: Vec<Ino>,
    /// Names that it makes, removes or moves.
    pub(super) entries: Vec<Entry>,
    /// Whether it changes the files behind these names too.
    pub(super) resolves: bool,
}

impl Touched {
    /// Of a command. Only sessions' operations change what a lease covers: what the leader does by
    /// itself deletes rows of files that nobody can see any more.
    pub(super) fn of(command: &Command) -> Self {
        let CommandBody::Request(request) = &command.body else {
            return Self::default();
        };
        let entry = |parent: Ino, name: &Name| Entry {
            volume: command.volume,
            parent,
            name: name.clone(),
        };
        match &request.operation {
            Operation::Create(create) => Self {
                inos: vec![create.parent],
                entries: vec![entry(create.parent, &create.name)],
                resolves: false,
            },
            Operation::Link { ino, parent, name } => Self {
                inos: vec![*ino, *parent],
                entries: vec![entry(*parent, name)],
                resolves: false,
            },
            Operation::Unlink { parent, name } | Operation::Rmdir { parent, name } => Self {
                inos: vec![*parent],
                entries: vec![entry(*parent, name)],
                resolves: true,
            },
            Operation::RemoveEntries { parent, names } => Self {
                inos: vec![*parent],
                entries: names.iter().map(|name| entry(*parent, name)).collect(),
                resolves: true,
            },
            Operation::Rename {
                parent,
                name,
                new_parent,
                new_name,
                ..
            } => Self {
                inos: vec![*parent, *new_parent],
                entries: vec![entry(*parent, name), entry(*new_parent, new_name)],
                resolves: true,
            },
            Operation::SetAttr(change) => Self::file(change.ino),
            Operation::Commit(commit) => Self::file(commit.ino),
            Operation::Append(append) => Self::file(append.ino),
            Operation::SetXattr { ino, .. } | Operation::RemoveXattr { ino, .. } => {
                Self::file(*ino)
            }
            Operation::GrantSlices { .. }
            | Operation::ClaimTask { .. }
            | Operation::ReleaseTask { .. }
            | Operation::FinishBackup(_) => Self::default(),
        }
    }

    fn file(ino: Ino) -> Self {
        Self {
            inos: vec![ino],
            ..Self::default()
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.inos.is_empty()
    }

    /// In the order in which names are latched, each once.
    pub(super) fn sort(&mut self) {
        self.entries.sort();
        self.entries.dedup();
    }

    /// Each file once.
    pub(super) fn dedup(&mut self) {
        self.inos.sort_unstable();
        self.inos.dedup();
    }
}
