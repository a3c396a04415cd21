//! fuser's trait on one side, the file system on the other: decoding and encoding only.

use super::access::{Guarded, may_execute};
use super::adapter::{Adapter, FILE_ATTR_TTL};
use super::decode::{Allocation, Copied, checked, how, kind_of, set_time};
use super::errno;
use super::locks::Asked;
use super::reply::file_attr;
use super::statfs::{STATFS_BYTES, Shown};
use super::virtual_files::{VirtualFile, is_virtual};
use crate::vfs::{HandleId, ListAttrs, NewMode, Op, SeekFor, Vfs, VfsError, WriteHow};
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use meta_core::attr::Caller;
use meta_core::command::{NewNode, RenameMode, SetAttr};
use meta_core::limits::FILE_BYTES_MAX;
use meta_core::outcome::Refusal;
use meta_core::quota::Space;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

/// Bytes of one write request. The kernel caps it at its page limit, which is 1 MiB by default.
const WRITE_BYTES_MAX: u32 = 1 << 20;

impl Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let wanted = [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // Locks are those of all mounts.
            InitFlags::FUSE_POSIX_LOCKS,
            InitFlags::FUSE_FLOCK_LOCKS,
            // The engine drops set-id bits itself; without this the kernel asks for an attribute
            // before every write.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            // The umask is for the engine to apply: default ACLs stand in for it.
            InitFlags::FUSE_DONT_MASK,
        ];
        // With it the kernel checks permissions, by ACLs too, whatever the mount's options say.
        let acls = self.options.squash.kernel_checks();
        let acls = acls.then_some(InitFlags::FUSE_POSIX_ACL);
        for wanted in wanted.into_iter().chain(acls) {
            if let Err(missing) = config.add_capabilities(wanted) {
                tracing::info!(?missing, "this kernel's FUSE lacks a capability");
            }
        }
        let set = [
            config.set_max_write(WRITE_BYTES_MAX).err(),
            config
                .set_max_background(self.options.background_max)
                .err()
                .map(u32::from),
        ];
        if let Some(nearest) = set.into_iter().flatten().next() {
            tracing::warn!(nearest, "this kernel's FUSE refuses a size");
        }
        Ok(())
    }

    fn forget(&self, _request: &Request, file: INodeNo, _lookups: u64) {
        self.generations.forgotten(self.ino(file));
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let parent = self.ino(parent);
        let call = self.call(Op::Lookup, request, format_args!("{parent},{name:?}"));
        let virtual_file = self.virtual_named(parent, name);
        let own = virtual_file.map(|file| self.virtuals.attr(file));
        let (vfs, name) = (self.vfs.clone(), checked(name));
        let answer = self.entry(parent, name.as_ref().ok());
        let caller = self.callers.of(request);
        let work = async move {
            match own {
                Some(attr) => Ok(attr),
                None => vfs.lookup(&caller, parent, name?).await,
            }
        };
        self.serve(call, reply, work, answer);
    }

    /// Asked only where the kernel does not check by itself.
    fn access(&self, request: &Request, file: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.check_access(request, self.ino(file), mask, reply);
    }

    fn getattr(
        &self,
        request: &Request,
        file: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let file = self.ino(file);
        let call = self.call(Op::GetAttr, request, format_args!("{file}"));
        let own = VirtualFile::of(file).map(|file| self.virtuals.attr(file));
        let vfs = self.vfs.clone();
        let work = async move {
            match own {
                Some(attr) => Ok(attr),
                None => vfs.get_attr(&Caller::root(), file).await,
            }
        };
        self.serve(call, reply, work, self.attr());
    }

    fn setattr(
        &self,
        request: &Request,
        file: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let file = self.ino(file);
        let what = format_args!("{file},{mode:?},{uid:?},{gid:?},{size:?},{atime:?},{mtime:?}");
        let call = self.call(Op::SetAttr, request, what);
        if VirtualFile::of(file).is_some() {
            return reply.error(errno::RESERVED);
        }
        let change = SetAttr {
            ino: file,
            mode: mode.map(|mode| mode & meta_core::attr::mode::MASK),
            uid,
            gid,
            length: size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
            by_handle: handle.is_some(),
            drop_privilege_bits: false,
            grow_only: false,
        };
        let vfs = self.vfs.clone();
        let caller = self.callers.of(request);
        let work = async move {
            if let Some(handle) = handle.filter(|_| change.length.is_some()) {
                vfs.may_write(HandleId(handle.0))?;
            }
            vfs.set_attr(&caller, change).await
        };
        self.serve(call, reply, work, self.attr());
    }

    fn readlink(&self, request: &Request, file: INodeNo, reply: ReplyData) {
        let file = self.ino(file);
        let call = self.call(Op::ReadLink, request, format_args!("{file}"));
        let vfs = self.vfs.clone();
        let work = async move { vfs.read_link(&Caller::root(), file).await };
        self.serve(call, reply, work, |reply, target| reply.data(&target));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let parent = self.ino(parent);
        let what = format_args!("{parent},{name:?},{mode:o},{rdev}");
        let call = self.call(Op::Mknod, request, what);
        let (vfs, name) = (self.vfs.clone(), self.added(parent, name));
        let answer = self.entry(parent, name.as_ref().ok());
        let caller = self.callers.of(request);
        let work = async move {
            let node = kind_of(mode).and_then(|kind| Vfs::node_of(kind, rdev));
            let node = node.ok_or(Refusal::InvalidArgument)?;
            let mode = NewMode::asked(mode, umask);
            vfs.make(&caller, parent, name?, mode, node).await
        };
        self.serve(call, reply, work, answer);
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let parent = self.ino(parent);
        let call = self.call(
            Op::Mkdir,
            request,
            format_args!("{parent},{name:?},{mode:o}"),
        );
        let (vfs, name) = (self.vfs.clone(), self.added(parent, name));
        let answer = self.entry(parent, name.as_ref().ok());
        let caller = self.callers.of(request);
        let work = async move {
            let mode = NewMode::asked(mode, umask);
            vfs.make(&caller, parent, name?, mode, NewNode::Directory)
                .await
        };
        self.serve(call, reply, work, answer);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let parent = self.ino(parent);
        let call = self.call(Op::Unlink, request, format_args!("{parent},{name:?}"));
        let (vfs, name) = (self.vfs.clone(), self.removed(parent, name));
        let caller = self.callers.of(request);
        let work = async move { vfs.unlink(&caller, parent, name?).await };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let parent = self.ino(parent);
        let call = self.call(Op::Rmdir, request, format_args!("{parent},{name:?}"));
        let (vfs, name) = (self.vfs.clone(), self.removed(parent, name));
        let caller = self.callers.of(request);
        let work = async move { vfs.rmdir(&caller, parent, name?).await.map(Some) };
        self.serve(call, reply, work, self.lost());
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let parent = self.ino(parent);
        let what = format_args!("{parent},{name:?},{target:?}");
        let call = self.call(Op::Symlink, request, what);
        let (vfs, name) = (self.vfs.clone(), self.added(parent, name));
        let answer = self.entry(parent, name.as_ref().ok());
        let caller = self.callers.of(request);
        let node = NewNode::Symlink {
            target: target.as_os_str().as_bytes().to_vec(),
        };
        let work = async move { vfs.make(&caller, parent, name?, 0o777, node).await };
        self.serve(call, reply, work, answer);
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (parent, new_parent) = (self.ino(parent), self.ino(new_parent));
        let what = format_args!("{parent},{name:?},{new_parent},{new_name:?},{flags}");
        let call = self.call(Op::Rename, request, what);
        let mode = match flags {
            flags if flags.is_empty() => Ok(RenameMode::Replace),
            RenameFlags::RENAME_NOREPLACE => Ok(RenameMode::NoReplace),
            RenameFlags::RENAME_EXCHANGE => Ok(RenameMode::Exchange),
            _ => Err(Refusal::InvalidArgument),
        };
        let (from, to) = (self.removed(parent, name), self.added(new_parent, new_name));
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let work = async move {
            let (from, to) = ((parent, from?), (new_parent, to?));
            vfs.rename(&caller, from, to, mode?).await
        };
        self.serve(call, reply, work, self.lost());
    }

    fn link(
        &self,
        request: &Request,
        file: INodeNo,
        parent: INodeNo,
        name: &OsStr,
        reply: ReplyEntry,
    ) {
        let (file, parent) = (self.ino(file), self.ino(parent));
        let call = self.call(Op::Link, request, format_args!("{file},{parent},{name:?}"));
        if VirtualFile::of(file).is_some() {
            return reply.error(errno::RESERVED);
        }
        let (vfs, name) = (self.vfs.clone(), self.added(parent, name));
        let answer = self.entry(parent, name.as_ref().ok());
        let caller = self.callers.of(request);
        let work = async move { vfs.link(&caller, file, parent, name?).await };
        self.serve(call, reply, work, answer);
    }

    fn open(&self, request: &Request, file: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let file = self.ino(file);
        let how = how(flags.0);
        if let Some(file) = VirtualFile::of(file) {
            return self.open_virtual(request, file, how, reply);
        }
        let call = self.call(Op::Open, request, format_args!("{file},{flags:#x}"));
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let (kept, fresh) = (self.open_flags(true), self.open_flags(false));
        let executes = how.execute && !self.options.squash.kernel_checks();
        let work = async move {
            if executes {
                may_execute(&Guarded::of(&vfs, file, &caller).await?, &caller)?;
            }
            vfs.open_file(&caller, file, how).await
        };
        self.serve(call, reply, work, move |reply, opened| {
            let flags = if opened.pages_valid { kept } else { fresh };
            reply.opened(FileHandle(opened.handle.0), flags);
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let parent = self.ino(parent);
        let what = format_args!("{parent},{name:?},{mode:o},{flags:#x}");
        let call = self.call(Op::Create, request, what);
        let (vfs, name) = (self.vfs.clone(), self.added(parent, name));
        let caller = self.callers.of(request);
        let how = how(flags);
        let flags = self.open_flags(false);
        let (root, mode) = (self.root, NewMode::asked(mode, umask));
        let generations = self.generations.clone();
        let work = async move { vfs.create(&caller, parent, name?, mode, how).await };
        self.serve(call, reply, work, move |reply, opened| {
            // The reply has one time for the name and the attributes: a name made a moment ago may
            // be asked for again, an old length may not be shown.
            let generation = generations.of(&opened.attr);
            let (attr, handle) = (file_attr(root, &opened.attr), FileHandle(opened.handle.0));
            reply.created(&FILE_ATTR_TTL, &attr, generation, handle, flags);
        });
    }

    fn read(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = self.ino(file);
        if is_virtual(handle.0) {
            let Some(open) = self.virtuals.get(handle.0) else {
                return reply.error(errno::BAD_HANDLE);
            };
            let vfs = self.vfs.clone();
            self.runtime.spawn(async move {
                reply.data(&open.read(&vfs, offset, size as usize).await);
            });
            return;
        }
        let call = self.call(Op::Read, request, format_args!("{file},{size},{offset}"));
        let vfs = self.vfs.clone();
        let kept = self.kept(file, handle);
        let work = async move { vfs.read(HandleId(handle.0), offset, size).await };
        self.serve(call, reply, work, move |reply, bytes| {
            reply.data(&bytes);
            kept.settle();
        });
    }

    fn write(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let file = self.ino(file);
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let call = self.call(Op::Write, request, format_args!("{file},{size},{offset}"));
        // Pages that the kernel writes back have a place, whatever the descriptor is open for.
        let from_pages = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        // They may be somebody else's bytes.
        let call = if from_pages {
            call.going_to_its_end()
        } else {
            call
        };
        let sync = flags.0 & (libc::O_DIRECT | libc::O_SYNC | libc::O_DSYNC) != 0;
        let how = WriteHow {
            append: flags.0 & libc::O_APPEND != 0 && !from_pages,
            sync: sync && !from_pages,
        };
        // The kernel knows who may keep set-id bits, as far as it knows who writes; for the engine that
        // is only root.
        let kills = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let caller = if kills || self.callers.is_squashed(request) {
            self.callers.plain(request)
        } else {
            Caller::root()
        };
        let (vfs, data) = (self.vfs.clone(), Bytes::copy_from_slice(data));
        let work = async move {
            vfs.write(HandleId(handle.0), &caller, offset, data, how)
                .await
        };
        let kept = self.kept(file, handle);
        self.serve(call, reply, work, move |reply, ()| {
            reply.written(size);
            kept.settle();
        });
    }

    fn flush(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let file = self.ino(file);
        if is_virtual(handle.0) {
            return reply.ok();
        }
        let call = self.call(Op::Flush, request, format_args!("{file}"));
        let vfs = self.vfs.clone();
        let work = async move {
            let handle = HandleId(handle.0);
            let flushed = vfs.flush(handle).await;
            // Also where data was lost: nobody else would give them back.
            let unlocked = vfs.unlock_closed(handle, lock_owner.0).await;
            flushed.and(unlocked)
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    fn release(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let file = self.ino(file);
        if is_virtual(handle.0) {
            self.virtuals.release(handle.0);
            return reply.ok();
        }
        let call = self.call(Op::Release, request, format_args!("{file}"));
        let vfs = self.vfs.clone();
        let work = async move {
            vfs.release(HandleId(handle.0));
            Ok(())
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    fn fsync(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let file = self.ino(file);
        if is_virtual(handle.0) {
            return reply.ok();
        }
        let call = self.call(Op::Fsync, request, format_args!("{file}"));
        let vfs = self.vfs.clone();
        let work = async move { vfs.fsync(HandleId(handle.0)).await };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    fn opendir(&self, request: &Request, file: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let file = self.ino(file);
        let call = self.call(Op::OpenDir, request, format_args!("{file}"));
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let how = how(flags.0);
        let work = async move { vfs.open_directory_as(&caller, file, how).await };
        self.serve(call, reply, work, |reply, handle| {
            reply.opened(FileHandle(handle.0), FopenFlags::empty());
        });
    }

    fn readdir(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let file = self.ino(file);
        let call = self.call(Op::ReadDir, request, format_args!("{file},{offset}"));
        let root = self.root;
        let work = self.listing(handle, offset, ListAttrs::Without);
        self.serve(call, reply, work, move |mut reply, listing| {
            super::listing::fill(&mut reply, root, file, offset, &listing);
            reply.ok();
        });
    }

    fn readdirplus(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let file = self.ino(file);
        let call = self.call(Op::ReadDirPlus, request, format_args!("{file},{offset}"));
        let work = self.listing(handle, offset, ListAttrs::With);
        let (shows, generations) = (self.shows.clone(), self.generations.clone());
        self.serve(call, reply, work, move |reply, listing| {
            let with = (&shows, &generations);
            super::listing::answer_plus(reply, file, offset, &listing, with);
        });
    }

    fn releasedir(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        let file = self.ino(file);
        let call = self.call(Op::ReleaseDir, request, format_args!("{file}"));
        let vfs = self.vfs.clone();
        let work = async move {
            vfs.close_directory(crate::vfs::DirHandleId(handle.0));
            Ok(())
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    /// Every change of a directory is durable when it is answered.
    fn fsyncdir(
        &self,
        _request: &Request,
        _file: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn statfs(&self, request: &Request, file: INodeNo, reply: ReplyStatfs) {
        let file = self.ino(file);
        let call = self.call(Op::StatFs, request, format_args!("{file}"));
        let vfs = self.vfs.clone();
        let work = async move {
            let caller = Caller::root();
            let stat = vfs.stat_volume(&caller).await?;
            let space = match stat.is_limited {
                true => vfs.space(&caller, file).await?,
                false => Space::default(),
            };
            Ok(Shown::of(&stat, space))
        };
        self.serve(call, reply, work, |reply, shown| {
            let name_max = u32::try_from(meta_core::limits::NAME_BYTES_MAX).unwrap_or(u32::MAX);
            reply.statfs(
                shown.blocks,
                shown.blocks_left,
                shown.blocks_left,
                shown.inodes,
                shown.inodes_left,
                STATFS_BYTES,
                name_max,
                STATFS_BYTES,
            );
        });
    }

    fn getlk(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        owner: LockOwner,
        first: u64,
        last: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        if let Some(refused) = Self::refuses_locks(handle) {
            return reply.error(refused);
        }
        let asked = Asked {
            file,
            handle,
            owner,
            first,
            last,
            typ,
            pid,
        };
        self.get_lock(request, asked, reply);
    }

    fn setlk(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        owner: LockOwner,
        first: u64,
        last: u64,
        typ: i32,
        pid: u32,
        wait: bool,
        reply: ReplyEmpty,
    ) {
        if let Some(refused) = Self::refuses_locks(handle) {
            return reply.error(refused);
        }
        let asked = Asked {
            file,
            handle,
            owner,
            first,
            last,
            typ,
            pid,
        };
        self.set_lock(request, asked, wait, reply);
    }

    fn setxattr(
        &self,
        request: &Request,
        file: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.set_xattr(request, self.ino(file), (name, value), flags, reply);
    }

    fn getxattr(
        &self,
        request: &Request,
        file: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        self.get_xattr(request, self.ino(file), name, size, reply);
    }

    fn listxattr(&self, request: &Request, file: INodeNo, size: u32, reply: ReplyXattr) {
        self.list_xattr(request, self.ino(file), size, reply);
    }

    fn removexattr(&self, request: &Request, file: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.remove_xattr(request, self.ino(file), name, reply);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _file: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(errno::NO_CONTROL);
    }

    fn fallocate(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let file = self.ino(file);
        let what = format_args!("{file},{offset},{length},{mode:#x}");
        let call = self.call(Op::Fallocate, request, what);
        let Some(asked) = Allocation::of(mode) else {
            return reply.error(errno::NOT_SUPPORTED);
        };
        let vfs = self.vfs.clone();
        let caller = self.callers.of(request);
        let work = async move {
            let end = offset.checked_add(length).ok_or(Refusal::FileTooLarge)?;
            let handle = HandleId(handle.0);
            match asked {
                Allocation::Room => vfs.extend(handle, &caller, end).await,
                Allocation::KeepSize if end <= FILE_BYTES_MAX => Ok(()),
                Allocation::KeepSize => Err(Refusal::FileTooLarge.into()),
                Allocation::Hole(mode) => {
                    vfs.make_hole(handle, &caller, offset, length, mode).await
                }
            }
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    fn lseek(
        &self,
        request: &Request,
        file: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        let file = self.ino(file);
        let call = self.call(Op::Lseek, request, format_args!("{file},{offset},{whence}"));
        let vfs = self.vfs.clone();
        let work = async move {
            let what = match whence {
                libc::SEEK_DATA => SeekFor::Data,
                libc::SEEK_HOLE => SeekFor::Hole,
                _ => return Err(Refusal::InvalidArgument.into()),
            };
            let offset = u64::try_from(offset).map_err(|_| VfsError::NoData)?;
            let found = vfs.seek(HandleId(handle.0), offset, what).await?;
            i64::try_from(found).map_err(|_| VfsError::NoData)
        };
        self.serve(call, reply, work, |reply, found| reply.offset(found));
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        to_handle: FileHandle,
        to_offset: u64,
        len: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let (from, to) = (self.ino(from), self.ino(to));
        let what = format_args!("{from},{from_offset},{to},{to_offset},{len}");
        let call = self.call(Op::CopyFileRange, request, what);
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let work = async move {
            if !flags.is_empty() {
                return Err(Refusal::InvalidArgument.into());
            }
            let (from, to) = (HandleId(from_handle.0), HandleId(to_handle.0));
            let len = len.min(Copied::MAX);
            let copied = vfs.copy_range(from, from_offset, &caller, to, to_offset, len);
            Copied::of(copied.await?)
        };
        self.serve(call, reply, work, |reply, copied| reply.written(copied.0));
    }
}
