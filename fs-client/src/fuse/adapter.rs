//! A file system with what stands between it and the kernel: caching times, callers, the mount's
//! own files.

use super::caller::Callers;
use super::errno;
use super::generations::Generations;
use super::interrupt::Interrupts;
use super::reply::{file_attr, timestamp};
use super::root::Root;
use super::shows::Shows;
use super::squash::Squash;
use super::virtual_files::{About, VirtualFile, VirtualFiles};
use crate::vfs::{HandedOnFile, HandleId, OpenHow, Vfs};
use fuser::{
    FileHandle, FopenFlags, INodeNo, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyOpen, Request,
};
use meta_core::attr::Attr;
use meta_core::ids::Ino;
use meta_core::name::Name;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;

/// The kernel never keeps attributes of files.
pub(super) const FILE_ATTR_TTL: Duration = Duration::ZERO;

/// Times and sizes between this mount and its kernel.
#[derive(Clone, Debug)]
pub struct AdapterOptions {
    /// How long the kernel keeps names, and attributes of directories, where there are no leases:
    /// of what a mirror answers.
    pub entry_ttl: Duration,
    /// Requests in the background (read-ahead, write-back) at most.
    pub background_max: u16,
    /// Bypass the page cache; shared memory maps then fail.
    pub direct_io: bool,
    /// The directory that is shown as the root.
    pub root: Ino,
    /// Whose requests are made as somebody else's.
    pub squash: Squash,
}

impl Default for AdapterOptions {
    fn default() -> Self {
        Self {
            entry_ttl: Duration::from_secs(1),
            background_max: 64,
            direct_io: false,
            root: Ino::ROOT,
            squash: Squash::Nobody,
        }
    }
}

/// A file system as fuser serves it.
#[derive(Debug)]
pub struct Adapter {
    pub(super) vfs: Vfs,
    pub(super) runtime: Handle,
    pub(super) root: Root,
    pub(super) options: AdapterOptions,
    pub(super) callers: Callers,
    pub(super) virtuals: Arc<VirtualFiles>,
    pub(super) shows: Shows,
    pub(super) generations: Generations,
    pub(super) interrupts: Interrupts,
}

impl Adapter {
    /// A file system that is served on `runtime`.
    pub fn new(vfs: Vfs, runtime: Handle, about: About, options: AdapterOptions) -> Self {
        let mounted = timestamp(SystemTime::now());
        let root = Root::of(options.root);
        let keeps_names = options.squash.keeps_names();
        let shows = Shows::new(vfs.clone(), root, options.entry_ttl, keeps_names);
        Self {
            shows,
            generations: Generations::default(),
            vfs,
            runtime,
            root,
            interrupts: Interrupts::default(),
            callers: Callers::new(options.squash),
            options,
            virtuals: Arc::new(VirtualFiles::new(about, mounted)),
        }
    }

    /// The engine's number of a file.
    pub(super) fn ino(&self, file: INodeNo) -> Ino {
        self.root.engine(file)
    }

    /// Answers with a name and its file.
    pub(super) fn entry(
        &self,
        parent: Ino,
        name: Option<&Name>,
    ) -> impl FnOnce(ReplyEntry, Attr) + Send + 'static {
        let (shows, generations) = (self.shows.clone(), self.generations.clone());
        let (root, name) = (self.root, name.cloned());
        move |reply, attr| {
            let entry = name.as_ref().map(|name| (parent, name));
            shows.with(entry, &attr, |ttl| {
                let generation = generations.of(&attr);
                reply.entry_with_ttls(&ttl.attr, &ttl.entry, &file_attr(root, &attr), generation);
            });
        }
    }

    /// Answers that a name was removed, and with it perhaps the last one of a file: noted before the
    /// kernel hears of it, which may forget the file right then.
    pub(super) fn lost(&self) -> impl FnOnce(ReplyEmpty, Option<Ino>) + Send + 'static {
        let generations = self.generations.clone();
        move |reply, lost| {
            if let Some(ino) = lost {
                generations.removed(ino);
            }
            reply.ok();
        }
    }

    /// Answers with attributes.
    pub(super) fn attr(&self) -> impl FnOnce(ReplyAttr, Attr) + Send + 'static {
        let (shows, root) = (self.shows.clone(), self.root);
        move |reply, attr| {
            shows.with(None, &attr, |ttl| {
                reply.attr(&ttl.attr, &file_attr(root, &attr));
            });
        }
    }

    /// How long the kernel shows what it is told.
    pub(crate) fn shows(&self) -> Shows {
        self.shows.clone()
    }

    /// The end of every descriptor is asked for, also of those that write nothing: a process's locks on
    /// the file go with it.
    pub(super) fn open_flags(&self, pages_valid: bool) -> FopenFlags {
        let mut flags = FopenFlags::empty();
        flags.set(FopenFlags::FOPEN_DIRECT_IO, self.options.direct_io);
        flags.set(FopenFlags::FOPEN_KEEP_CACHE, pages_valid);
        flags
    }

    /// What the kernel may keep of a file's bytes after a reply.
    pub(super) fn kept(&self, file: Ino, handle: FileHandle) -> KeptPages {
        KeptPages {
            shows: self.shows.clone(),
            handed_on: self.vfs.handed_on(HandleId(handle.0)),
            runtime: self.runtime.clone(),
            file: self.root.kernel(file),
        }
    }

    pub(super) fn open_virtual(
        &self,
        request: &Request,
        file: VirtualFile,
        how: OpenHow,
        reply: ReplyOpen,
    ) {
        // The mount's own files know callers as the kernel does, which checks that where it can.
        let stranger = request.uid() != 0 && !self.options.squash.kernel_checks();
        if how.write || (stranger && file == VirtualFile::AccessLog) {
            return reply.error(errno::READ_ONLY_FILE);
        }
        let handle = self.virtuals.open(file, &self.vfs);
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH;
        reply.opened(FileHandle(handle), flags);
    }
}

/// Pages that the kernel has got with a reply.
pub(super) struct KeptPages {
    shows: Shows,
    handed_on: Option<HandedOnFile>,
    runtime: Handle,
    file: INodeNo,
}

impl KeptPages {
    /// After the reply: has them dropped, if nothing tells when they are old, or it was told before they
    /// were with the kernel.
    pub(super) fn settle(self) {
        // Without a descriptor there was nothing to read.
        if self.handed_on.is_none_or(|file| file.is_told()) {
            return;
        }
        self.runtime
            .spawn(async move { self.shows.drop_pages(self.file).await });
    }
}
