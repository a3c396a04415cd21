//! Which of the kernel's inodes of one directory an answer means.
//!
//! To the kernel a directory that it removed is dead for ever: nothing is found or made in that inode
//! any more. If the directory comes back from the trash while somebody still holds it, the kernel would
//! find the dead inode by its number. Under another generation it makes a new one.

use super::interrupt::Late;
use crate::vfs::Vfs;
use fuser::Generation;
use meta_core::attr::{Attr, FileKind};
use meta_core::ids::Ino;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Inodes are never reused, so one generation is enough for all that was not removed.
pub(super) const FIRST: Generation = Generation(0);

/// What this mount's kernel removed and may still hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Generations(Arc<Removed>);

#[derive(Debug, Default)]
struct Removed {
    notes: Mutex<HashMap<Ino, Note>>,
    /// How many notes there are: nearly always none, and then nobody waits for the lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Note {
    /// Under which it is shown from now on.
    generation: u64,
    /// Whether it was not shown since it was removed.
    is_dead: bool,
    /// Inodes that it had before, of which the kernel has not told that it forgot them.
    before: u32,
}

impl Generations {
    /// The kernel is about to hear that its last name is gone. It may be another file than a
    /// directory, which is of no account: only directories die.
    pub(super) fn removed(&self, ino: Ino) {
        let mut notes = self.0.notes.lock();
        let note = notes.entry(ino).or_insert(Note {
            generation: FIRST.0,
            is_dead: true,
            before: 0,
        });
        note.generation += 1;
        note.is_dead = true;
        self.0.count.store(notes.len(), Ordering::Release);
    }

    /// Under which generation the kernel is shown a file.
    pub(super) fn of(&self, attr: &Attr) -> Generation {
        // Whoever holds another file goes on with it under its new name.
        if attr.kind != FileKind::Directory || self.is_empty() {
            return FIRST;
        }
        let mut notes = self.0.notes.lock();
        let Some(note) = notes.get_mut(&attr.ino) else {
            return FIRST;
        };
        if note.is_dead {
            note.is_dead = false;
            note.before += 1;
        }
        Generation(note.generation)
    }

    /// The kernel forgot an inode. The note of a dead one goes with it, so that no removal leaves any
    /// behind; one that is shown keeps its generation: under another the kernel would take it for new.
    pub(super) fn forgotten(&self, ino: Ino) {
        if self.is_empty() {
            return;
        }
        let mut notes = self.0.notes.lock();
        let Some(note) = notes.get_mut(&ino) else {
            return;
        };
        if note.before > 0 {
            note.before -= 1;
        } else if note.is_dead {
            notes.remove(&ino);
            self.0.count.store(notes.len(), Ordering::Release);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }
}

/// What lost its last name. A kernel that was told of an interruption does not take it for removed, so
/// nothing is noted then.
impl Late for Option<Ino> {
    fn let_go(self, _vfs: &Vfs) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::Timestamp;

    fn shown(kind: FileKind) -> Attr {
        Attr {
            ino: Ino(7),
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: 2,
            length: 0,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            parent: Ino::ROOT,
            btime: None,
            access_acl: false,
            default_acl: false,
        }
    }

    #[test]
    fn a_directory_that_comes_back_has_another_generation_each_time() {
        let (all, directory) = (Generations::default(), shown(FileKind::Directory));
        assert_eq!(all.of(&directory), FIRST);
        for generation in 1..4 {
            all.removed(Ino(7));
            for _again in 0..2 {
                assert_eq!(all.of(&directory), Generation(generation));
            }
        }
        assert_eq!(all.of(&shown(FileKind::Regular)), FIRST);
    }

    #[test]
    fn what_the_kernel_forgets_leaves_nothing_unless_it_came_back() {
        let (all, directory) = (Generations::default(), shown(FileKind::Directory));
        all.removed(Ino(7));
        all.forgotten(Ino(8));
        assert!(!all.is_empty());
        all.forgotten(Ino(7));
        assert!(all.is_empty());
        // The one before is forgotten late.
        all.removed(Ino(7));
        assert_eq!(all.of(&directory), Generation(1));
        all.removed(Ino(7));
        all.forgotten(Ino(7));
        assert_eq!(all.of(&directory), Generation(2));
        for _each in 0..3 {
            all.forgotten(Ino(7));
        }
        assert_eq!(all.of(&directory), Generation(2), "it is shown");
        all.removed(Ino(7));
        all.forgotten(Ino(7));
        assert!(all.is_empty());
    }
}
