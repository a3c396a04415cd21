//! A plain POSIX file system in maps, written from what POSIX and Linux say of each call and
//! without a look at how the engine works: no rows, no numbers, no slices, and files are bytes.

use crate::acl;
use meta_core::attr::{Caller, FileKind, Timestamp};
use std::collections::BTreeMap;

/// A node's place in [`FileSystem::nodes`].
pub(crate) type Id = usize;
/// A written byte, told by the slice that brought it and its place there.
pub(crate) type Byte = (u64, u32);
/// How a call fails, by the name of its errno.
pub(crate) type Errno = &'static str;

pub(crate) const ROOT: Id = 0;
const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;
/// The longest file.
pub(crate) const SIZE_MAX: u64 = 1 << 57;

/// A file of any kind.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: FileKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) nlink: u32,
    pub(crate) size: u64,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    /// Bytes that were written; the others are zero.
    pub(crate) bytes: BTreeMap<u64, Byte>,
    pub(crate) target: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) entries: BTreeMap<Vec<u8>, Id>,
    /// Of a directory: where `..` leads.
    pub(crate) parent: Id,
    /// Deleted for good.
    pub(crate) gone: bool,
    /// In the trash: when it got there, and from where.
    pub(crate) trashed: Option<(Timestamp, Id, Vec<u8>)>,
}

impl Node {
    fn is_dir(&self) -> bool {
        self.kind == FileKind::Directory
    }

    fn allows(&self, caller: &Caller, wanted: u32) -> Result<(), Errno> {
        if let Some(acl) = self.xattrs.get(acl::ACCESS)
            && caller.uid != 0
            && self.mode & 0o070 != 0
        {
            let allowed = acl::read(acl).allows((self.uid, self.gid), caller, wanted);
            return allowed.then_some(()).ok_or("EACCES");
        }
        let class = if caller.uid == self.uid {
            self.mode >> 6
        } else if caller.gid == self.gid || caller.groups.contains(&self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if caller.uid == 0 || class & wanted == wanted {
            Ok(())
        } else {
            Err("EACCES")
        }
    }

    pub(crate) fn owned_by(&self, caller: &Caller) -> bool {
        caller.uid == 0 || caller.uid == self.uid
    }

    /// Somebody changes the file. `spares`: below level 6, who is not in the group is as who is.
    pub(crate) fn lose_privilege(&mut self, caller: &Caller, spares: bool) {
        self.mode &= !0o4000;
        let is_stranger =
            caller.uid != 0 && caller.gid != self.gid && !caller.groups.contains(&self.gid);
        if self.mode & 0o010 != 0 || (is_stranger && !spares) {
            self.mode &= !0o2000;
        }
    }

    pub(crate) fn changed(&mut self, now: Timestamp) {
        self.mtime = now;
        self.ctime = now;
    }
}

/// What a new node is.
#[derive(Clone, Debug)]
pub(crate) enum New {
    File,
    Dir,
    Symlink(Vec<u8>),
    Special(FileKind, u32),
}

impl New {
    fn kind(&self) -> FileKind {
        match self {
            Self::File => FileKind::Regular,
            Self::Dir => FileKind::Directory,
            Self::Symlink(_) => FileKind::Symlink,
            Self::Special(kind, _) => *kind,
        }
    }
}

/// What a rename does with its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Over {
    Replace,
    Refuse,
    Exchange,
}

/// A change of attributes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    /// The size is only raised.
    pub(crate) grow: bool,
    /// `Some(None)` is now, and the time of access with it.
    pub(crate) mtime: Option<Option<Timestamp>>,
}

/// Whether an attribute must be there before it is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    Any,
    Absent,
    Present,
}

#[derive(Clone, Debug)]
pub(crate) struct FileSystem {
    pub(crate) nodes: Vec<Node>,
    /// Whether what loses its last name goes into the trash.
    pub(crate) keeps: bool,
    /// Whether the volume is below level 6.
    pub(crate) spares: bool,
}

impl FileSystem {
    pub(crate) fn new(made: Timestamp) -> Self {
        let caller = Caller::root();
        let mut root = Self::node(&New::Dir, 0o777, &caller, made);
        root.nlink = 2;
        Self {
            nodes: vec![root],
            keeps: false,
            spares: false,
        }
    }

    fn node(new: &New, mode: u32, caller: &Caller, now: Timestamp) -> Node {
        let (target, rdev) = match new {
            New::Symlink(target) => (target.clone(), 0),
            New::Special(FileKind::CharDevice | FileKind::BlockDevice, rdev) => (Vec::new(), *rdev),
            _ => (Vec::new(), 0),
        };
        Node {
            kind: new.kind(),
            mode: if target.is_empty() { mode } else { 0o777 },
            uid: caller.uid,
            gid: caller.gid,
            rdev,
            nlink: if new.kind() == FileKind::Directory {
                2
            } else {
                1
            },
            size: target.len() as u64,
            atime: now,
            mtime: now,
            ctime: now,
            bytes: BTreeMap::new(),
            target,
            xattrs: BTreeMap::new(),
            entries: BTreeMap::new(),
            parent: ROOT,
            gone: false,
            trashed: None,
        }
    }

    pub(crate) fn there(&self, id: Id) -> Result<&Node, Errno> {
        Some(&self.nodes[id])
            .filter(|node| !node.gone)
            .ok_or("ESTALE")
    }

    /// A directory that the caller may look names up in.
    pub(crate) fn search(&self, dir: Id, caller: &Caller) -> Result<&Node, Errno> {
        let node = self.there(dir)?;
        if !node.is_dir() {
            return Err("ENOTDIR");
        }
        node.allows(caller, SEARCH)?;
        if node.nlink == 0 {
            Err("ENOENT")
        } else {
            Ok(node)
        }
    }

    pub(crate) fn may_add(&self, dir: Id, caller: &Caller) -> Result<(), Errno> {
        self.nodes[dir].allows(caller, WRITE | SEARCH)
    }

    fn may_remove(&self, dir: Id, victim: Id, caller: &Caller) -> Result<(), Errno> {
        let dir = &self.nodes[dir];
        dir.allows(caller, WRITE | SEARCH)?;
        let sticky = dir.mode & 0o1000 != 0;
        if sticky && !dir.owned_by(caller) && !self.nodes[victim].owned_by(caller) {
            return Err("EPERM");
        }
        Ok(())
    }

    pub(crate) fn lookup(&self, dir: Id, name: &[u8], caller: &Caller) -> Result<Id, Errno> {
        let node = self.there(dir)?;
        if !node.is_dir() {
            return Err("ENOTDIR");
        }
        node.allows(caller, SEARCH)?;
        node.entries.get(name).copied().ok_or("ENOENT")
    }

    /// Makes a node, or with `open` (to read, to write) finds a regular file. Says which, and
    /// whether it was made.
    pub(crate) fn create(
        &mut self,
        (dir, name): (Id, &[u8]),
        new: &New,
        (mode, umask): (u32, u32),
        open: Option<(bool, bool)>,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(Id, bool), Errno> {
        if let New::Symlink(target) = new
            && target.len() > 4095
        {
            return Err("ENAMETOOLONG");
        }
        let parent = self.search(dir, caller)?.clone();
        if let Some(&found) = parent.entries.get(name) {
            return self.open_existing(found, new, open, caller);
        }
        self.may_add(dir, caller)?;
        let is_device = matches!(new.kind(), FileKind::CharDevice | FileKind::BlockDevice);
        if is_device && caller.uid != 0 {
            return Err("EPERM");
        }
        let default = parent.xattrs.get(acl::DEFAULT);
        let default = default.filter(|_| !matches!(new, New::Symlink(_)));
        let umask = if default.is_some() { 0 } else { umask };
        let mut node = Self::node(new, mode & 0o7777 & !umask, caller, now);
        if parent.mode & 0o2000 != 0 {
            node.gid = parent.gid;
            let member =
                caller.uid == 0 || caller.gid == parent.gid || caller.groups.contains(&parent.gid);
            match new {
                New::Dir => node.mode |= 0o2000,
                New::Symlink(_) => {}
                _ if !member => node.mode &= !0o2000,
                _ => {}
            }
        }
        if let Some(default) = default {
            acl::inherit(&mut node, default);
        }
        node.parent = dir;
        let id = self.nodes.len();
        self.nodes.push(node);
        self.enter(dir, name, id, now);
        Ok((id, true))
    }

    fn open_existing(
        &self,
        found: Id,
        new: &New,
        open: Option<(bool, bool)>,
        caller: &Caller,
    ) -> Result<(Id, bool), Errno> {
        let (Some((read, write)), New::File) = (open, new) else {
            return Err("EEXIST");
        };
        let node = &self.nodes[found];
        match node.kind {
            FileKind::Regular => {
                let wanted = u32::from(read) * READ + u32::from(write) * WRITE;
                node.allows(caller, wanted)?;
                Ok((found, false))
            }
            FileKind::Directory => Err("EISDIR"),
            _ => Err("EEXIST"),
        }
    }

    pub(crate) fn enter(&mut self, dir: Id, name: &[u8], id: Id, now: Timestamp) {
        let is_dir = self.nodes[id].is_dir();
        let parent = &mut self.nodes[dir];
        parent.entries.insert(name.to_vec(), id);
        parent.nlink += u32::from(is_dir);
        parent.changed(now);
        if is_dir {
            self.nodes[id].parent = dir;
        }
    }

    fn leave(&mut self, dir: Id, name: &[u8], now: Timestamp) -> Id {
        let id = self.nodes[dir].entries.remove(name).expect("a name");
        let is_dir = self.nodes[id].is_dir();
        self.nodes[dir].nlink -= u32::from(is_dir);
        self.nodes[dir].changed(now);
        id
    }

    fn drop_name(&mut self, id: Id, (dir, name): (Id, &[u8]), now: Timestamp) {
        let keeps = self.keeps;
        let node = &mut self.nodes[id];
        node.nlink = if node.is_dir() { 0 } else { node.nlink - 1 };
        node.ctime = now;
        if keeps && node.nlink == 0 {
            node.trashed = Some((now, dir, name.to_vec()));
        }
    }

    pub(crate) fn link(
        &mut self,
        id: Id,
        dir: Id,
        name: &[u8],
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let parent = self.search(dir, caller)?.clone();
        let node = self.there(id)?;
        if parent.entries.contains_key(name) {
            return Err("EEXIST");
        }
        self.may_add(dir, caller)?;
        if node.is_dir() {
            return Err("EPERM");
        }
        if node.nlink == 0 {
            return Err("ENOENT");
        }
        self.nodes[id].nlink += 1;
        self.nodes[id].ctime = now;
        self.enter(dir, name, id, now);
        Ok(())
    }

    /// unlink, or rmdir.
    pub(crate) fn remove(
        &mut self,
        dir: Id,
        name: &[u8],
        rmdir: bool,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Id, Errno> {
        let parent = self.search(dir, caller)?;
        let id = *parent.entries.get(name).ok_or("ENOENT")?;
        self.may_remove(dir, id, caller)?;
        match (self.nodes[id].is_dir(), rmdir) {
            (true, false) => return Err("EISDIR"),
            (false, true) => return Err("ENOTDIR"),
            (true, true) if !self.nodes[id].entries.is_empty() => return Err("ENOTEMPTY"),
            _ => {}
        }
        self.leave(dir, name, now);
        self.drop_name(id, (dir, name), now);
        Ok(id)
    }

    /// unlink or rmdir of each name, as it needs. Gives the names left to each file.
    pub(crate) fn remove_many(
        &mut self,
        dir: Id,
        names: &[Vec<u8>],
        skip_trash: bool,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Vec<Result<u32, Errno>>, Errno> {
        if skip_trash && caller.uid != 0 {
            return Err("EPERM");
        }
        self.search(dir, caller)?;
        let kept = self.keeps;
        self.keeps &= !skip_trash;
        let each = names.iter().map(|name| {
            let found = self.nodes[dir].entries.get(name);
            let rmdir = found.is_some_and(|id| self.nodes[*id].is_dir());
            let id = self.remove(dir, name, rmdir, caller, now)?;
            Ok(self.nodes[id].nlink)
        });
        let each = each.collect();
        self.keeps = kept;
        Ok(each)
    }

    fn is_below(&self, mut id: Id, top: Id) -> bool {
        loop {
            if id == top {
                return true;
            }
            if id == ROOT {
                return false;
            }
            id = self.nodes[id].parent;
        }
    }

    pub(crate) fn rename(
        &mut self,
        (old_dir, old): (Id, &[u8]),
        (new_dir, new): (Id, &[u8]),
        over: Over,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Option<Id>, Errno> {
        self.search(old_dir, caller)?;
        self.search(new_dir, caller)?;
        let source = *self.nodes[old_dir].entries.get(old).ok_or("ENOENT")?;
        let target = self.nodes[new_dir].entries.get(new).copied();
        match (over, target) {
            (Over::Refuse, Some(_)) => return Err("EEXIST"),
            (Over::Exchange, None) => return Err("ENOENT"),
            _ => {}
        }
        self.check_rename((old_dir, new_dir), source, target, over, caller)?;
        if target == Some(source) {
            return Ok(None);
        }
        self.leave(old_dir, old, now);
        self.nodes[source].ctime = now;
        let Some(target) = target else {
            self.enter(new_dir, new, source, now);
            return Ok(None);
        };
        self.leave(new_dir, new, now);
        self.enter(new_dir, new, source, now);
        if over == Over::Exchange {
            self.nodes[target].ctime = now;
            self.enter(old_dir, old, target, now);
            return Ok(None);
        }
        self.drop_name(target, (new_dir, new), now);
        Ok(Some(target))
    }

    fn check_rename(
        &self,
        (old_dir, new_dir): (Id, Id),
        source: Id,
        target: Option<Id>,
        over: Over,
        caller: &Caller,
    ) -> Result<(), Errno> {
        let (node, exchange) = (&self.nodes[source], over == Over::Exchange);
        if node.is_dir() && self.is_below(new_dir, source) && new_dir != old_dir {
            return Err("EINVAL");
        }
        let Some(target) = target else {
            self.may_leave(old_dir, source, old_dir != new_dir, caller)?;
            return self.may_add(new_dir, caller);
        };
        let other = &self.nodes[target];
        if exchange && other.is_dir() && self.is_below(old_dir, target) && new_dir != old_dir {
            return Err("EINVAL");
        }
        if target == source {
            return Ok(());
        }
        self.may_leave(old_dir, source, old_dir != new_dir, caller)?;
        self.may_leave(new_dir, target, exchange && old_dir != new_dir, caller)?;
        match (node.is_dir(), other.is_dir()) {
            _ if exchange => Ok(()),
            (true, false) => Err("ENOTDIR"),
            (false, true) => Err("EISDIR"),
            (true, true) if !other.entries.is_empty() => Err("ENOTEMPTY"),
            _ => Ok(()),
        }
    }

    /// A directory that moves to another one changes too: its `..` does.
    fn may_leave(&self, dir: Id, id: Id, moves: bool, caller: &Caller) -> Result<(), Errno> {
        self.may_remove(dir, id, caller)?;
        if moves && self.nodes[id].is_dir() {
            self.nodes[id].allows(caller, WRITE)?;
        }
        Ok(())
    }

    pub(crate) fn set_attr(
        &mut self,
        id: Id,
        change: &Change,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Errno> {
        let node = self.there(id)?;
        let (root, owner) = (caller.uid == 0, caller.uid == node.uid);
        let joins = |gid| gid == node.gid || gid == caller.gid || caller.groups.contains(&gid);
        if !root && change.uid.is_some_and(|uid| !owner || uid != node.uid) {
            return Err("EPERM");
        }
        if !root && change.gid.is_some_and(|gid| !owner || !joins(gid)) {
            return Err("EPERM");
        }
        if change.mode.is_some() && !node.owned_by(caller) {
            return Err("EPERM");
        }
        match change.mtime {
            Some(None) if !node.owned_by(caller) => node.allows(caller, WRITE)?,
            Some(Some(_)) if !node.owned_by(caller) => return Err("EPERM"),
            _ => {}
        }
        if let Some(size) = change.size {
            match node.kind {
                FileKind::Regular => node.allows(caller, WRITE)?,
                FileKind::Directory => return Err("EISDIR"),
                _ => return Err("EINVAL"),
            }
            if size > SIZE_MAX {
                return Err("EFBIG");
            }
        }
        self.do_set_attr(id, change, caller, now);
        Ok(())
    }

    fn do_set_attr(&mut self, id: Id, change: &Change, caller: &Caller, now: Timestamp) {
        let spares = self.spares;
        let node = &mut self.nodes[id];
        let size = change.size.filter(|size| !change.grow || *size > node.size);
        if let Some(size) = size {
            node.size = size;
            let _behind = node.bytes.split_off(&size);
            node.changed(now);
            if caller.uid != 0 {
                node.lose_privilege(caller, spares);
            }
        }
        if change.uid.is_some() || change.gid.is_some() {
            if !node.is_dir() {
                node.lose_privilege(caller, spares);
            }
            node.uid = change.uid.unwrap_or(node.uid);
            node.gid = change.gid.unwrap_or(node.gid);
            node.ctime = now;
        }
        if let Some(mode) = change.mode {
            let member = caller.gid == node.gid || caller.groups.contains(&node.gid);
            let kept = if caller.uid == 0 || member {
                0o7777
            } else {
                0o5777
            };
            node.mode = mode & kept;
            acl::follow_mode(node);
            node.ctime = now;
        }
        if let Some(mtime) = change.mtime {
            node.mtime = mtime.unwrap_or(now);
            if mtime.is_none() {
                node.atime = now;
            }
            node.ctime = now;
        }
    }

    /// A write through a handle, of pieces that follow each other; `None` is the end of the file.
    /// Says where it went.
    pub(crate) fn write(
        &mut self,
        id: Id,
        offset: Option<u64>,
        pieces: &[(u64, u32)],
        caller: &Caller,
        now: Timestamp,
    ) -> Result<u64, Errno> {
        match self.there(id)?.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err("EISDIR"),
            _ => return Err("EINVAL"),
        }
        let spares = self.spares;
        let node = &mut self.nodes[id];
        let offset = offset.unwrap_or(node.size);
        let mut end = offset;
        for (slice, len) in pieces {
            if end + u64::from(*len) > SIZE_MAX {
                return Err("EFBIG");
            }
            let bytes = (0..*len).map(|at| (end + u64::from(at), (*slice, at)));
            node.bytes.extend(bytes);
            end += u64::from(*len);
        }
        node.size = node.size.max(end);
        node.changed(now);
        if caller.uid != 0 {
            node.lose_privilege(caller, spares);
        }
        Ok(offset)
    }

    /// A range reads as zeros; with `zero` the file is at least as long.
    pub(crate) fn hole(
        &mut self,
        id: Id,
        (offset, len): (u64, u64),
        zero: bool,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Errno> {
        match self.there(id)?.kind {
            FileKind::Regular => {}
            FileKind::Directory => return Err("EISDIR"),
            _ => return Err("EINVAL"),
        }
        if len == 0 {
            return Err("EINVAL");
        }
        let end = offset + len;
        if end > SIZE_MAX {
            return Err("EFBIG");
        }
        let spares = self.spares;
        let node = &mut self.nodes[id];
        node.bytes.retain(|at, _| *at < offset || *at >= end);
        if zero {
            node.size = node.size.max(end);
        }
        node.changed(now);
        if caller.uid != 0 {
            node.lose_privilege(caller, spares);
        }
        Ok(())
    }

    fn xattr_space(&self, id: Id, name: &[u8]) -> Result<(&Node, bool), Errno> {
        let space = |prefix: &[u8]| name.starts_with(prefix) && name.len() > prefix.len();
        if name.len() > 255 {
            return Err("ENAMETOOLONG");
        }
        let user = space(b"user.");
        if !user && !space(b"trusted.") && !space(b"security.") {
            return Err("EOPNOTSUPP");
        }
        Ok((self.there(id)?, user))
    }

    fn may_set_xattr(&self, id: Id, name: &[u8], caller: &Caller) -> Result<(), Errno> {
        let (node, user) = self.xattr_space(id, name)?;
        if !user {
            return if caller.uid == 0 {
                Ok(())
            } else {
                Err("EPERM")
            };
        }
        if !matches!(node.kind, FileKind::Regular | FileKind::Directory) {
            return Err("EPERM");
        }
        if node.is_dir() && node.mode & 0o1000 != 0 && !node.owned_by(caller) {
            return Err("EPERM");
        }
        node.allows(caller, WRITE)
    }

    pub(crate) fn set_xattr(
        &mut self,
        id: Id,
        (name, value): (&[u8], Vec<u8>),
        before: Before,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Errno> {
        self.may_set_xattr(id, name, caller)?;
        if value.len() > 65_536 {
            return Err("E2BIG");
        }
        let node = &mut self.nodes[id];
        match (before, node.xattrs.contains_key(name)) {
            (Before::Absent, true) => return Err("EEXIST"),
            (Before::Present, false) => return Err("ENODATA"),
            _ => {}
        }
        node.xattrs.insert(name.to_vec(), value);
        node.ctime = now;
        Ok(())
    }

    pub(crate) fn remove_xattr(
        &mut self,
        id: Id,
        name: &[u8],
        caller: &Caller,
        now: Timestamp,
    ) -> Result<(), Errno> {
        self.may_set_xattr(id, name, caller)?;
        let node = &mut self.nodes[id];
        node.xattrs.remove(name).ok_or("ENODATA")?;
        node.ctime = now;
        Ok(())
    }

    pub(crate) fn get_xattr(&self, id: Id, name: &[u8], caller: &Caller) -> Result<Vec<u8>, Errno> {
        let (node, user) = self.xattr_space(id, name)?;
        if user {
            if !matches!(node.kind, FileKind::Regular | FileKind::Directory) {
                return Err("ENODATA");
            }
            node.allows(caller, READ)?;
        } else if name.starts_with(b"trusted.") && caller.uid != 0 {
            return Err("ENODATA");
        }
        node.xattrs.get(name).cloned().ok_or("ENODATA")
    }

    pub(crate) fn open(
        &self,
        id: Id,
        read: bool,
        write: bool,
        caller: &Caller,
    ) -> Result<(), Errno> {
        let node = self.there(id)?;
        if node.nlink == 0 && !node.is_dir() {
            // It is on its way out; who holds it does not ask.
            return Err("ESTALE");
        }
        node.allows(caller, u32::from(read) * READ + u32::from(write) * WRITE)?;
        if node.is_dir() && write {
            return Err("EISDIR");
        }
        Ok(())
    }

    /// Everything without a name that nobody holds goes.
    pub(crate) fn reap(&mut self, id: Id) {
        let node = &mut self.nodes[id];
        if node.nlink == 0 && node.trashed.is_none() {
            node.gone = true;
        }
    }

    /// Files, their bytes in whole 4 KiB, and files without names.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let there: Vec<&Node> = self.nodes.iter().filter(|node| !node.gone).collect();
        let regular = there.iter().filter(|node| node.kind == FileKind::Regular);
        (
            there.len() as u64,
            regular.map(|node| node.size.div_ceil(4096) * 4096).sum(),
            there
                .iter()
                .filter(|node| node.nlink == 0 && node.trashed.is_none())
                .count() as u64,
        )
    }
}
