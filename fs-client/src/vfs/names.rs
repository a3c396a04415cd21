//! Names and attributes.

use super::VfsError;
use super::access_times::Accesses;
use super::new_mode::NewMode;
use super::vfs_core::Vfs;
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::command::{Create, Existing, NewNode, Operation, RenameMode, SetAttr};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Success};
use meta_core::query::{Answer, QueryBody, VolumeStat};
use meta_core::quota::Space;

impl Vfs {
    /// A name's file.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn lookup(&self, caller: &Caller, parent: Ino, name: Name) -> Result<Attr, VfsError> {
        let body = QueryBody::Lookup { parent, name };
        let attr = self.core.meta.attr(caller, body).await?;
        self.core.shown(caller, attr).await
    }

    /// A file's attributes, with what this mount has written to it.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn get_attr(&self, caller: &Caller, ino: Ino) -> Result<Attr, VfsError> {
        let body = QueryBody::GetAttr { ino };
        let attr = self.core.meta.attr(caller, body).await?;
        self.core.shown(caller, attr).await
    }

    /// Changes attributes. What was written before is flushed first: a change of the length comes
    /// after it, and times that are set must not be changed by it later, nor by what was read before.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn set_attr(&self, caller: &Caller, change: SetAttr) -> Result<Attr, VfsError> {
        self.writable()?;
        let inode = self.core.inodes.get(change.ino);
        if let Some(inode) = &inode {
            self.core.drain(inode).await;
        }
        let under = match (&inode, change.length) {
            (Some(inode), Some(_)) => self.core.locked_in(inode),
            _ => None,
        };
        let (ino, sets_atime) = (change.ino, change.atime.is_some());
        let taken_back = match sets_atime {
            true => self.core.atime_is_set(ino).await,
            false => None,
        };
        let operation = Operation::SetAttr(change);
        let changed = self.core.meta.change_in(under, caller, operation).await;
        if sets_atime {
            self.core.atime_was_set(ino, taken_back, &changed);
        }
        let attr = match (inode, changed?) {
            (Some(inode), attr) => inode.learn(attr),
            (None, attr) => attr,
        };
        Ok(self.core.access_times.over(attr))
    }

    /// Makes a directory, a symlink, a special file, or a regular file without opening it.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn make(
        &self,
        caller: &Caller,
        parent: Ino,
        name: Name,
        mode: impl Into<NewMode>,
        node: NewNode,
    ) -> Result<Attr, VfsError> {
        let mode = mode.into();
        self.writable()?;
        let operation = Operation::Create(Create {
            parent,
            name,
            mode: mode.bits,
            masked: mode.masked,
            node,
            existing: Existing::Refuse,
        });
        self.core.meta.change(caller, operation).await
    }

    /// Gives a file one more name.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn link(
        &self,
        caller: &Caller,
        ino: Ino,
        parent: Ino,
        name: Name,
    ) -> Result<Attr, VfsError> {
        self.writable()?;
        let operation = Operation::Link { ino, parent, name };
        let attr = self.core.meta.change(caller, operation).await?;
        self.core.shown(caller, attr).await
    }

    /// Removes a name of anything but a directory. Open handles keep the file.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn unlink(&self, caller: &Caller, parent: Ino, name: Name) -> Result<(), VfsError> {
        self.writable()?;
        let operation = Operation::Unlink { parent, name };
        match self.core.meta.execute(caller, operation).await? {
            Success::Removed { .. } => Ok(()),
            _ => Err(VfsError::Unexpected("a removed name")),
        }
    }

    /// Removes an empty directory. Gives its number.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn rmdir(&self, caller: &Caller, parent: Ino, name: Name) -> Result<Ino, VfsError> {
        self.writable()?;
        let operation = Operation::Rmdir { parent, name };
        match self.core.meta.execute(caller, operation).await? {
            Success::Removed { ino, .. } => Ok(ino),
            _ => Err(VfsError::Unexpected("a removed name")),
        }
    }

    /// Moves a name. Gives the file that lost its last name to it, if there is one.
    ///
    /// # Errors
    /// As the engine refuses; [`VfsError::ReadOnly`] on a read-only mount.
    pub async fn rename(
        &self,
        caller: &Caller,
        from: (Ino, Name),
        to: (Ino, Name),
        mode: RenameMode,
    ) -> Result<Option<Ino>, VfsError> {
        self.writable()?;
        let operation = Operation::Rename {
            parent: from.0,
            name: from.1.clone(),
            new_parent: to.0,
            new_name: to.1.clone(),
            mode,
        };
        let moved = match self.core.meta.execute(caller, operation).await? {
            Success::Renamed { replaced, .. } => {
                let last = replaced.filter(|(_, nlink)| *nlink == 0);
                Ok(last.map(|(ino, _)| ino))
            }
            Success::Done => Ok(None),
            _ => Err(VfsError::Unexpected("a moved name")),
        };
        // The kernel takes along how long it shows a name.
        self.core.meta.api().moved(to.0, &to.1);
        if mode == RenameMode::Exchange {
            self.core.meta.api().moved(from.0, &from.1);
        }
        moved
    }

    /// A symlink's target.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn read_link(&self, caller: &Caller, ino: Ino) -> Result<Vec<u8>, VfsError> {
        let meta = &self.core.meta;
        let target = meta.bytes(caller, QueryBody::ReadLink { ino });
        if !self.core.access_times.are_kept() {
            return target.await;
        }
        // Whether the time of access moves depends on the attributes: they are asked for at once, so that
        // nobody waits longer. Without them the reader has what it wanted all the same.
        let attr = meta.attr(caller, QueryBody::GetAttr { ino });
        let (target, attr) = tokio::join!(target, attr);
        let target = target?;
        match attr {
            Ok(attr) => self.core.accessed_as(&attr, &mut Accesses::default()),
            Err(error) => tracing::debug!(ino = ino.0, %error, "a read of a symlink is not noted"),
        }
        Ok(target)
    }

    /// Totals of the volume.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn stat_volume(&self, caller: &Caller) -> Result<VolumeStat, VfsError> {
        match self.core.meta.query(caller, QueryBody::StatVolume).await? {
            Answer::Stat(stat) => Ok(stat),
            _ => Err(VfsError::Unexpected("totals")),
        }
    }

    /// How much there is room for at a file's place; without a limit, or where the volume or its nodes know
    /// none, nothing is told.
    ///
    /// # Errors
    /// As the engine refuses.
    pub async fn space(&self, caller: &Caller, ino: Ino) -> Result<Space, VfsError> {
        match self.core.meta.query(caller, QueryBody::Space { ino }).await {
            Ok(Answer::Space(space)) => Ok(space),
            Ok(_) => Err(VfsError::Unexpected("space")),
            // Of a file that is gone there is no place, and too deep none is looked for.
            Err(VfsError::Refused(
                Refusal::NotSupported | Refusal::Stale | Refusal::LimitReached,
            )) => Ok(Space::default()),
            Err(error) => Err(error),
        }
    }

    /// What [`Self::make`] makes for a kind that has no target.
    pub fn node_of(kind: FileKind, rdev: u32) -> Option<NewNode> {
        match kind {
            FileKind::Regular => Some(NewNode::Regular),
            FileKind::Directory => Some(NewNode::Directory),
            FileKind::Symlink => None,
            FileKind::Fifo | FileKind::Socket => Some(NewNode::Special { kind, rdev: 0 }),
            FileKind::CharDevice | FileKind::BlockDevice => Some(NewNode::Special { kind, rdev }),
        }
    }
}
