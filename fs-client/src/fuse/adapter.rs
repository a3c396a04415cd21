//! A file system with what stands between it and the kernel: caching times, callers, the mount's
//! own files.

use super::caller::Callers;
use super::errno;
use super::reply::{file_attr, timestamp};
use super::virtual_files::{About, VirtualFile, VirtualFiles};
use crate::vfs::{OpenHow, Vfs};
use fuser::{FileHandle, FopenFlags, Generation, ReplyEntry, ReplyOpen};
use meta_core::attr::{Attr, FileKind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// Inodes are never reused, so one generation is enough.
pub(super) const GENERATION: Generation = Generation(0);
/// The kernel never keeps attributes of files.
pub(super) const FILE_ATTR_TTL: Duration = Duration::ZERO;

/// Times and sizes between this mount and its kernel.
#[derive(Clone, Debug)]
pub struct AdapterOptions {
    /// How long the kernel keeps names, and attributes of directories.
    pub entry_ttl: Duration,
    /// Requests in the background (read-ahead, write-back) at most.
    pub background_max: u16,
    /// Bypass the page cache; shared memory maps then fail.
    pub direct_io: bool,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        Self {
            entry_ttl: Duration::from_secs(1),
            background_max: 64,
            direct_io: false,
        }
    }
}

/// A file system as fuser serves it.
#[derive(Debug)]
pub struct Adapter {
    pub(super) vfs: Vfs,
    pub(super) runtime: Handle,
    pub(super) options: AdapterOptions,
    pub(super) callers: Callers,
    pub(super) virtuals: Arc<VirtualFiles>,
}

impl Adapter {
    /// A file system that is served on `runtime`.
    pub fn new(vfs: Vfs, runtime: Handle, about: About, options: AdapterOptions) -> Self {
        let mounted = timestamp(SystemTime::now());
        Self {
            vfs,
            runtime,
            options,
            callers: Callers::default(),
            virtuals: Arc::new(VirtualFiles::new(about, mounted)),
        }
    }

    /// How long the kernel keeps attributes.
    pub(super) fn attr_ttl(&self) -> impl Fn(&Attr) -> Duration + Send + 'static {
        let directories = self.options.entry_ttl;
        move |attr| match attr.kind {
            FileKind::Directory => directories,
            _ => FILE_ATTR_TTL,
        }
    }

    pub(super) fn entry(&self) -> impl FnOnce(ReplyEntry, Attr) + Send + 'static {
        let (entry_ttl, attr_ttl) = (self.options.entry_ttl, self.attr_ttl());
        move |reply, attr| {
            reply.entry_with_ttls(&attr_ttl(&attr), &entry_ttl, &file_attr(&attr), GENERATION);
        }
    }

    pub(super) fn open_flags(&self, pages_valid: bool, writes: bool) -> FopenFlags {
        let mut flags = FopenFlags::empty();
        flags.set(FopenFlags::FOPEN_DIRECT_IO, self.options.direct_io);
        flags.set(FopenFlags::FOPEN_KEEP_CACHE, pages_valid);
        flags.set(FopenFlags::FOPEN_NOFLUSH, !writes);
        flags
    }

    pub(super) fn open_virtual(&self, file: VirtualFile, how: OpenHow, reply: ReplyOpen) {
        if how.write {
            return reply.error(errno::READ_ONLY_FILE);
        }
        let handle = self.virtuals.open(file, &self.vfs);
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(handle), flags);
    }
}
