//! A file system that does nothing: one directory of files with numbers for names, that are there or
//! not. What a mount cannot be faster than.

use anyhow::Result;
use clap::Args;
use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

const ROOT: INodeNo = INodeNo(1);
/// The inode of the file with the number 0.
const FIRST: u64 = 2;
/// As a mount has it: names are kept for a second, attributes of files not at all.
const ENTRY_TTL: Duration = Duration::from_secs(1);

/// Arguments of `bench null-fuse`.
#[derive(Args, Debug)]
pub(crate) struct NullFuseArgs {
    /// Where it is mounted
    #[arg(long)]
    point: PathBuf,
    /// Files that can be
    #[arg(long)]
    count: usize,
}

/// Serves until it is unmounted.
pub(crate) fn serve_null(args: &NullFuseArgs) -> Result<ExitCode> {
    let files = (0..args.count).map(|_| AtomicBool::new(false)).collect();
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("null".to_owned()),
        MountOption::DefaultPermissions,
    ];
    // As many as a mount has.
    config.n_threads = Some(2);
    fuser::mount(Null { files }, &args.point, &config)?;
    Ok(ExitCode::SUCCESS)
}

struct Null {
    files: Vec<AtomicBool>,
}

/// The name of a file.
pub(super) fn name(number: usize) -> String {
    format!("f{number:09}")
}

impl Null {
    fn number(name: &OsStr) -> Option<usize> {
        name.to_str()?.strip_prefix('f')?.parse().ok()
    }

    fn file(&self, parent: INodeNo, name: &OsStr) -> Option<(&AtomicBool, FileAttr)> {
        let number = Self::number(name).filter(|_| parent == ROOT)?;
        Some((self.files.get(number)?, attr(number)))
    }

    /// The files that are there, behind an offset: 1 and 2 are the dots.
    fn behind(&self, offset: u64) -> impl Iterator<Item = (u64, usize)> {
        let skipped = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        let files = self.files.iter().enumerate().skip(skipped);
        let there = files.filter(|(_, there)| there.load(Ordering::Relaxed));
        there.map(|(number, _)| (number as u64 + 3, number))
    }
}

fn attr(number: usize) -> FileAttr {
    FileAttr {
        ino: INodeNo(number as u64 + FIRST),
        kind: FileType::RegularFile,
        nlink: 1,
        perm: 0o644,
        ..root()
    }
}

fn root() -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: ROOT,
        size: 0,
        blocks: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind: FileType::Directory,
        perm: 0o755,
        nlink: 2,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Null {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for wanted in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
        ] {
            // A kernel that lacks one lacks it for a mount, too.
            let _lacking = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.file(parent, name) {
            Some((there, attr)) if there.load(Ordering::Relaxed) => {
                reply.entry_with_ttls(&Duration::ZERO, &ENTRY_TTL, &attr, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(
        &self,
        _request: &Request,
        file: INodeNo,
        _handle: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        if file == ROOT {
            return reply.attr(&ENTRY_TTL, &root());
        }
        let number = usize::try_from(file.0 - FIRST).unwrap_or(usize::MAX);
        reply.attr(&Duration::ZERO, &attr(number));
    }

    fn open(&self, _request: &Request, _file: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_NOFLUSH);
    }

    fn create(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let Some((there, attr)) = self.file(parent, name) else {
            return reply.error(Errno::ENOSPC);
        };
        there.store(true, Ordering::Relaxed);
        let flags = FopenFlags::empty();
        reply.created(&Duration::ZERO, &attr, Generation(0), FileHandle(0), flags);
    }

    fn flush(
        &self,
        _request: &Request,
        _file: INodeNo,
        _handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _file: INodeNo,
        _handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.file(parent, name) {
            Some((there, _)) if there.swap(false, Ordering::Relaxed) => reply.ok(),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _file: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        for (at, dot) in [(1, "."), (2, "..")] {
            if at > offset && reply.add(ROOT, at, FileType::Directory, dot) {
                return reply.ok();
            }
        }
        for (at, number) in self.behind(offset) {
            let (ino, kind) = (attr(number).ino, FileType::RegularFile);
            if reply.add(ino, at, kind, name(number)) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        _file: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (ttl, generation) = (Duration::ZERO, Generation(0));
        for (at, dot) in [(1, "."), (2, "..")] {
            if at > offset && reply.add(ROOT, at, dot, &ttl, &root(), generation) {
                return reply.ok();
            }
        }
        for (at, number) in self.behind(offset) {
            if reply.add(
                attr(number).ino,
                at,
                name(number),
                &ttl,
                &attr(number),
                generation,
            ) {
                break;
            }
        }
        reply.ok();
    }
}
