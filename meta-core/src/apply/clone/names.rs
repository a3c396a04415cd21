//! Names in the copy of a directory. They have the numbers that they have in the source.

use super::super::{create, names};
use super::Copying;
use super::clear::{Dropped, delete_pair, drop_name};
use crate::attr::FileKind;
use crate::ids::{DentryNumber, Ino};
use crate::key::{self, CLONE_COPY, CLONE_SCAN, CLONE_SOURCE};
use crate::kv::KvRead;
use crate::limits::LINKS_MAX;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::row::{Dentry, InoRef, Named};

impl<B: KvRead> Copying<'_, '_, B> {
    /// Makes the name of a number in the copy of a directory what it is in the source. Says whether that
    /// is done: a directory that has something in it goes once that is gone.
    pub(super) fn sync_name(
        &mut self,
        (source, copy): (Ino, Ino),
        number: DentryNumber,
    ) -> Result<bool, Stop> {
        let wanted = self.txn.tables().named(source, number)?;
        let found = self.txn.tables().named(copy, number)?;
        match (wanted, found) {
            (None, None) => Ok(true),
            (None, Some(found)) => self.drop(copy, number, &found),
            (Some(wanted), None) => self.add(copy, number, &wanted).map(|()| true),
            (Some(wanted), Some(found)) => {
                if self.copy_of(wanted.ino)? == Some(found.ino) {
                    self.rename(copy, number, (&found, &wanted))?;
                    return Ok(true);
                }
                // Another file was moved over the one that had the number.
                if !self.drop(copy, number, &found)? {
                    return Ok(false);
                }
                self.add(copy, number, &wanted).map(|()| true)
            }
        }
    }

    /// The file is the same; its name perhaps not.
    fn rename(
        &mut self,
        copy: Ino,
        number: DentryNumber,
        (found, wanted): (&Named, &Named),
    ) -> Result<(), Stop> {
        let by_name = self.txn.tables().dentry(copy, &wanted.name)?;
        let is_there = by_name.is_some_and(|dentry| dentry.number == number);
        if found.name == wanted.name && is_there {
            return Ok(());
        }
        delete_pair(self.txn, copy, number, found)?;
        self.put(copy, number, (found.ino, wanted));
        Ok(())
    }

    /// If the name is another number's, that one is about to lose it: it is to be copied again as well.
    fn put(&mut self, copy: Ino, number: DentryNumber, (ino, wanted): (Ino, &Named)) {
        let dentry = Dentry {
            ino,
            kind: wanted.kind,
            number,
        };
        names::put_name(self.txn, copy, &wanted.name, dentry);
    }

    fn add(&mut self, copy: Ino, number: DentryNumber, wanted: &Named) -> Result<(), Stop> {
        let place = (copy, number);
        let child = match self.copy_of(wanted.ino)? {
            None => {
                let child = create::take_ino(self.txn)?;
                self.map(wanted.ino, child, place)?;
                child
            }
            // It would lie in two places. The command that moved it makes the clone begin again, so that this
            // is not met; a clone that fails harms nobody.
            Some(_) if wanted.kind == FileKind::Directory => return Err(Refusal::Busy.into()),
            Some(child) => {
                let mut inode = self.txn.tables().inode(child)?;
                if inode.nlink >= LINKS_MAX {
                    return Err(Refusal::TooManyLinks.into());
                }
                names::attach(self.txn, child, copy, number);
                inode.nlink += 1;
                self.txn.put_inode(child, &inode);
                child
            }
        };
        let mut directory = self.txn.tables().inode(copy)?;
        if wanted.kind == FileKind::Directory {
            create::add_subdirectory(&mut directory)?;
        }
        directory.length += 1;
        let next = number.0.checked_add(1);
        let next = next.ok_or(Fatal::Exhausted("dentry numbers"))?;
        directory.next = directory.next.max(next);
        self.txn.put_inode(copy, &directory);
        self.put(copy, number, (child, wanted));
        Ok(())
    }

    fn drop(&mut self, copy: Ino, number: DentryNumber, found: &Named) -> Result<bool, Stop> {
        match drop_name(self.txn, copy, number, found)? {
            Dropped::NotEmpty => Ok(false),
            Dropped::OneOfMany => Ok(true),
            Dropped::Last => {
                self.unmap(found.ino)?;
                Ok(true)
            }
        }
    }

    /// A copy without names is none: if its source gets a name again, it is copied anew.
    fn unmap(&mut self, copy: Ino) -> Result<(), Fatal> {
        let volume = self.txn.volume();
        let source_key = key::of_cloned(volume, CLONE_SOURCE, self.id, copy);
        let source: Option<InoRef> = self.txn.tables().row(&source_key)?;
        let Some(InoRef(source)) = source else {
            return Ok(());
        };
        self.txn.delete(source_key);
        for kind in [CLONE_COPY, CLONE_SCAN] {
            self.txn
                .delete(key::of_cloned(volume, kind, self.id, source));
        }
        self.job.mapped = self.job.mapped.saturating_sub(1);
        Ok(())
    }
}
