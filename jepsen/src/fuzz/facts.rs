//! What a file system shows, without what is its own affair (see the list in `fuzz/mod.rs`).

use super::op::text;
use rustix::fs::{SeekFrom, getxattr, lgetxattr, llistxattr, seek};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hasher as _};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Times between these seconds are those of the run: 2020 and 2090. Plans set others.
const RECENT: std::ops::Range<i64> = 1_577_836_800..3_786_912_000;
/// Bytes that a file's content is compared by.
const PAGE: u64 = 64 << 10;
/// Longer files are read where they say that they have data.
const READ_WHOLE: u64 = 16 << 20;
/// Room for attributes: more than any file has.
const XATTR_ROOM: usize = 70_000;

/// Attributes of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) kind: char,
    /// In octal digits.
    pub(super) mode: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Of directories too: both count those below.
    pub(super) nlink: u64,
    /// Not of directories.
    pub(super) size: Option<u64>,
    pub(super) device: Option<u64>,
    /// Seconds and nanoseconds, unless it is a time of this run.
    pub(super) atime: Option<(i64, i64)>,
    pub(super) mtime: Option<(i64, i64)>,
}

/// The letter of a kind of file.
pub(super) fn kind(file: fs::FileType) -> char {
    match file {
        file if file.is_dir() => 'd',
        file if file.is_symlink() => 'l',
        file if file.is_fifo() => 'p',
        file if file.is_socket() => 's',
        file if file.is_char_device() => 'c',
        file if file.is_block_device() => 'b',
        _ => 'f',
    }
}

impl Facts {
    pub(super) fn of(meta: &Metadata) -> Self {
        let kind = kind(meta.file_type());
        let set =
            |seconds: i64, nanos: i64| (!RECENT.contains(&seconds)).then_some((seconds, nanos));
        Self {
            kind,
            mode: format!("{:o}", meta.mode() & 0o7777),
            uid: meta.uid(),
            gid: meta.gid(),
            nlink: meta.nlink(),
            size: (kind != 'd').then(|| meta.size()),
            device: matches!(kind, 'c' | 'b').then(|| meta.rdev()),
            atime: set(meta.atime(), meta.atime_nsec()),
            mtime: set(meta.mtime(), meta.mtime_nsec()),
        }
    }
}

/// What is found at a path, without following a symlink there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    pub(super) facts: Facts,
    /// Length and hash of each extended attribute.
    pub(super) xattrs: BTreeMap<String, (usize, u64)>,
    pub(super) target: Option<String>,
    /// All times, which are compared only with those of the same file system.
    pub(super) times: Times,
    /// The file's number there, which only tells which names are of one file.
    pub(super) ino: u64,
}

/// All times of a file, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) atime: i128,
    pub(super) mtime: i128,
    pub(super) ctime: i128,
}

/// Looks at a path; the error's number if there is nothing to be seen.
pub(super) fn look(path: &Path) -> Result<Seen, i32> {
    seen(path).map_err(|error| error.raw_os_error().unwrap_or(0))
}

fn seen(path: &Path) -> io::Result<Seen> {
    let meta = fs::symlink_metadata(path)?;
    let target = meta.is_symlink().then(|| fs::read_link(path)).transpose()?;
    let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Ok(Seen {
        facts: Facts::of(&meta),
        xattrs: xattrs(path)?,
        target: target.map(|target| text(target.as_os_str().as_bytes())),
        times: Times {
            atime: nanos(meta.atime(), meta.atime_nsec()),
            mtime: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime: nanos(meta.ctime(), meta.ctime_nsec()),
        },
        ino: meta.ino(),
    })
}

fn xattrs(path: &Path) -> io::Result<BTreeMap<String, (usize, u64)>> {
    let mut room = vec![0; XATTR_ROOM];
    let length = llistxattr(path, &mut room[..])?;
    let names: Vec<Vec<u8>> = room[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut found = BTreeMap::new();
    for name in names {
        let length = lgetxattr(path, &name[..], &mut room[..])?;
        found.insert(text(&name), (length, hash(&room[..length])));
    }
    Ok(found)
}

/// An attribute of what a path leads to.
pub(super) fn xattr(
    path: &Path,
    follow: bool,
    name: &[u8],
    room: usize,
) -> io::Result<(usize, u64)> {
    let mut room = vec![0; room];
    let length = if follow {
        getxattr(path, name, &mut room[..])?
    } else {
        lgetxattr(path, name, &mut room[..])?
    };
    // Without room only the length is told.
    Ok((length, hash(room.get(..length).unwrap_or_default())))
}

/// A number that differs where bytes do.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// A listing: names and kinds. A name that comes twice stays twice.
pub(super) fn list(path: &Path) -> io::Result<Vec<(String, char)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        names.push((text(entry.file_name().as_bytes()), kind(entry.file_type()?)));
    }
    names.sort();
    Ok(names)
}

/// What a file contains: its length, and the hash of each of its pages that is not all zeros.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Content {
    pub(super) length: u64,
    pub(super) pages: BTreeMap<u64, u64>,
}

/// Reads a file.
///
/// # Errors
/// As the system has them.
pub(super) fn content(file: &File) -> io::Result<Content> {
    let length = file.metadata()?.len();
    let mut pages = BTreeMap::new();
    let mut at = 0;
    let mut page = vec![0; usize::try_from(PAGE).unwrap_or(0)];
    if file.metadata()?.is_dir() {
        // Of whatever length it says that it is.
        file.read_at(&mut page, 0)?;
    }
    while at < length {
        if length > READ_WHOLE {
            match seek(file, SeekFrom::Data(at)) {
                Ok(data) => at = at.max(data / PAGE * PAGE),
                Err(rustix::io::Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let mut filled = 0;
        while filled < page.len() {
            match file.read_at(&mut page[filled..], at + filled as u64)? {
                0 => break,
                more => filled += more,
            }
        }
        // A file that was read to its end may have become shorter only by a fault.
        if filled == 0 {
            break;
        }
        if page[..filled].iter().any(|byte| *byte != 0) {
            let trimmed = page[..filled]
                .iter()
                .rposition(|byte| *byte != 0)
                .unwrap_or(0);
            pages.insert(at / PAGE, hash(&page[..=trimmed]));
        }
        at += PAGE;
    }
    Ok(Content { length, pages })
}

/// A node of a tree.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) facts: Facts,
    pub(super) xattrs: BTreeMap<String, (usize, u64)>,
    pub(super) target: Option<String>,
    pub(super) content: Option<Content>,
    /// The first path of the same file.
    pub(super) same_as: String,
}

/// All that is below a directory, and the directory itself under the empty path.
pub(super) type Tree = BTreeMap<String, Node>;

/// Reads a tree.
///
/// # Errors
/// As the system has them, with the path.
pub(super) fn tree(root: &Path) -> Result<Tree, String> {
    let mut tree = Tree::new();
    let mut firsts = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    // In an order that is the same everywhere, so that the first name of a file is, too.
    while let Some(path) = waiting.pop() {
        let full = root.join(&path);
        let told = |error: io::Error| format!("{}: {error}", text(path.as_os_str().as_bytes()));
        let seen = seen(&full).map_err(told)?;
        let mut content_of = None;
        match seen.facts.kind {
            'd' => {
                let mut names = list(&full).map_err(told)?;
                names.reverse();
                for (name, _) in names {
                    let bytes: Vec<u8> = name.chars().map(|c| c as u32 as u8).collect();
                    waiting.push(path.join(std::ffi::OsStr::from_bytes(&bytes)));
                }
            }
            'f' => {
                let file = File::open(&full).map_err(told)?;
                content_of = Some(content(&file).map_err(told)?);
            }
            _ => {}
        }
        let name = text(path.as_os_str().as_bytes());
        let same_as = firsts
            .entry(seen.ino)
            .or_insert_with(|| name.clone())
            .clone();
        let node = Node {
            facts: seen.facts,
            xattrs: seen.xattrs,
            target: seen.target,
            content: content_of,
            same_as,
        };
        if tree.insert(name.clone(), node).is_some() {
            return Err(format!("{name} is listed twice"));
        }
    }
    Ok(tree)
}
