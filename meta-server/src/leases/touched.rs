//! Which files and names a command may change.

use meta_core::acl::AclKind;
use meta_core::changes::Changes;
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
    /// Whether it may give its file an access ACL.
    pub(super) guards: bool,
}

impl Touched {
    /// Of a command. Only sessions' operations change what a lease covers: what the leader does by
    /// itself deletes rows of files that nobody can see any more, but for a copy of a directory that
    /// gets its name.
    pub(super) fn of(command: &Command) -> Self {
        let entry = |(parent, name)| Entry {
            volume: command.volume,
            parent,
            name,
        };
        let request = match &command.body {
            CommandBody::Request(request) => request,
            CommandBody::CloneStep {
                attach: Some((parent, name)),
                ..
            } => {
                return Self {
                    inos: vec![*parent],
                    entries: vec![entry((*parent, name.clone()))],
                    ..Self::default()
                };
            }
            _ => return Self::default(),
        };
        let Changes {
            files: mut inos,
            directories,
            names,
            behind: resolves,
        } = Changes::of(&request.operation);
        inos.extend(directories);
        Self {
            inos,
            entries: names.into_iter().map(entry).collect(),
            resolves,
            guards: guards(&request.operation),
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

/// Whether an operation may give a file that somebody has leases on an access ACL. One that is made with
/// an ACL nobody has leases on, and one that gets another name had its ACL before.
fn guards(operation: &Operation) -> bool {
    match operation {
        Operation::SetXattr { name, .. } => AclKind::of(name) == Some(AclKind::Access),
        _ => false,
    }
}
