//! Directory listings as the kernel takes them: "." at offset 1, ".." at 2, then each name at its
//! own number.

use super::adapter::Adapter;
use super::generations::{FIRST, Generations};
use super::reply::{file_attr, file_type};
use super::root::Root;
use super::shows::Shows;
use crate::vfs::{DirHandleId, DirListing, ListAttrs, VfsError};
use fuser::ReplyDirectoryPlus;
use fuser::{FileAttr, FileHandle, FileType, ReplyDirectory};
use meta_core::attr::{Attr, FileKind, Timestamp};
use meta_core::ids::{DentryNumber, Ino};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

impl Adapter {
    pub(super) fn listing(
        &self,
        handle: FileHandle,
        offset: u64,
        attrs: ListAttrs,
    ) -> impl Future<Output = Result<DirListing, VfsError>> + Send + 'static {
        let vfs = self.vfs.clone();
        // All before the first name is the same place, so that one page serves them.
        let after = if offset <= DOT_DOT { 0 } else { offset };
        async move {
            vfs.list(DirHandleId(handle.0), DentryNumber(after), attrs)
                .await
        }
    }
}

/// The two names that every directory has, as far as they come behind `offset`.
fn dots(
    root: Root,
    ino: Ino,
    listing: &DirListing,
    offset: u64,
) -> impl Iterator<Item = (u64, Ino, &'static str)> {
    let above = root.above(ino, listing.parent());
    let both = [(DOT, ino, "."), (DOT_DOT, above, "..")];
    both.into_iter()
        .filter(move |(number, _, _)| *number > offset)
}

pub(super) fn fill(
    reply: &mut ReplyDirectory,
    root: Root,
    ino: Ino,
    offset: u64,
    listing: &DirListing,
) {
    for (number, ino, name) in dots(root, ino, listing, offset) {
        if reply.add(root.kernel(ino), number, FileType::Directory, name) {
            return;
        }
    }
    for entry in listing.entries() {
        let name = OsStr::from_bytes(entry.name.as_bytes());
        if reply.add(
            root.kernel(entry.ino),
            entry.number.0,
            file_type(entry.kind),
            name,
        ) {
            return;
        }
    }
}

pub(super) fn answer_plus(
    mut reply: ReplyDirectoryPlus,
    ino: Ino,
    offset: u64,
    listing: &DirListing,
    (shows, generations): (&Shows, &Generations),
) {
    shows.answering(|| {
        fill_plus(&mut reply, ino, offset, listing, (shows, generations));
        reply.ok();
    });
}

fn fill_plus(
    reply: &mut ReplyDirectoryPlus,
    ino: Ino,
    offset: u64,
    listing: &DirListing,
    (shows, generations): (&Shows, &Generations),
) {
    let root = shows.root();
    for (number, ino, name) in dots(root, ino, listing, offset) {
        let attr = bare_directory(root, ino);
        if reply.add(
            root.kernel(ino),
            number,
            name,
            &Duration::ZERO,
            &attr,
            FIRST,
        ) {
            return;
        }
    }
    for entry in listing.entries() {
        let name = OsStr::from_bytes(entry.name.as_bytes());
        // A listing with attributes has them for every name.
        let Some(attr) = listing.attr(entry) else {
            continue;
        };
        // One time for the name and the attributes.
        let handed = shows.hand_on(Some((ino, &entry.name)), &attr);
        let generation = generations.of(&attr);
        let (ttl, attr) = (handed.entry.min(handed.attr), file_attr(root, &attr));
        if reply.add(
            root.kernel(entry.ino),
            entry.number.0,
            name,
            &ttl,
            &attr,
            generation,
        ) {
            return;
        }
    }
}

/// The kernel takes nothing but the number and the type of "." and "..", and no generation.
fn bare_directory(root: Root, ino: Ino) -> FileAttr {
    let attr = Attr {
        ino,
        kind: FileKind::Directory,
        mode: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        nlink: 1,
        length: 0,
        atime: Timestamp::default(),
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        parent: ino,
        btime: None,
        access_acl: false,
        default_acl: false,
    };
    file_attr(root, &attr)
}
