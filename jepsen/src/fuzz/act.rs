//! Does operations on paths.

use super::facts::{self, Facts};
use super::handle::{self, Slot};
use super::op::{Name, Op, When, XattrAct, text};
use super::outcome::Outcome;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps,
    UTIME_NOW, UTIME_OMIT, Uid, XattrFlags, access, chmodat, chownat, linkat, listxattr,
    llistxattr, lremovexattr, lsetxattr, mkdirat, mknodat, removexattr, renameat_with, rmdir,
    setxattr, statfs, symlinkat, unlink, utimensat,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// One file system, as one process uses it.
#[derive(Debug)]
pub(super) struct Side {
    root: PathBuf,
    slots: BTreeMap<u8, Slot>,
}

fn follows(follow: bool) -> AtFlags {
    if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_retain(bits)
}

/// Times as the system takes them.
pub(super) fn timestamps(atime: When, mtime: When) -> Timestamps {
    let of = |when: When| {
        let (tv_sec, tv_nsec) = match when {
            When::Now => (0, UTIME_NOW),
            When::Omit => (0, UTIME_OMIT),
            When::At(seconds, nanos) => (seconds, nanos),
        };
        Timespec { tv_sec, tv_nsec }
    };
    Timestamps {
        last_access: of(atime),
        last_modification: of(mtime),
    }
}

/// Owners as the system takes them.
pub(super) fn owners(uid: Option<u32>, gid: Option<u32>) -> (Option<Uid>, Option<Gid>) {
    (uid.map(Uid::from_raw), gid.map(Gid::from_raw))
}

impl Side {
    /// The file system at `root`, with nothing open.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            slots: BTreeMap::new(),
        }
    }

    /// The directory of the plan.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Does an operation. `touched` are names that came or went since the listing began.
    pub(super) fn act(&mut self, op: &Op, touched: &[String]) -> Outcome {
        if let Err(error) = std::env::set_current_dir(&self.root) {
            return Outcome::of(Err(error));
        }
        Outcome::of(self.attempt(op, touched))
    }

    fn attempt(&mut self, op: &Op, touched: &[String]) -> io::Result<Outcome> {
        match op {
            Op::Open {
                slot,
                path,
                flags,
                mode,
            } => {
                self.slots.remove(slot);
                let opened = Slot::open(&path.path(), *flags, *mode)?;
                self.slots.insert(*slot, opened);
                Ok(Outcome::Done)
            }
            Op::Close { slot } => Ok(match self.slots.remove(slot) {
                Some(_closed) => Outcome::Done,
                None => Outcome::Nothing,
            }),
            Op::On { slot, act } => match self.slots.get_mut(slot) {
                Some(slot) => slot.act(act, touched),
                None => Ok(Outcome::Nothing),
            },
            Op::Copy {
                from,
                from_at,
                to,
                to_at,
                length,
            } => match (self.slots.get(from), self.slots.get(to)) {
                (Some(from), Some(to)) => handle::copy(from, *from_at, to, *to_at, *length),
                _ => Ok(Outcome::Nothing),
            },
            Op::Stat { .. } | Op::Statfs { .. } | Op::List { .. } | Op::ReadAll { .. } => look(op),
            Op::Readlink { .. } | Op::Access { .. } | Op::Xattr { .. } => look(op),
            Op::Store { .. } => store(op),
            _ => change(op).map(|()| Outcome::Done),
        }
    }
}

fn change(op: &Op) -> io::Result<()> {
    match op {
        Op::Mkdir { path, mode: bits } => mkdirat(CWD, path.path(), mode(*bits))?,
        Op::Rmdir { path } => rmdir(path.path())?,
        Op::Unlink { path } => unlink(path.path())?,
        Op::Rename { from, to, flags } => {
            let flags = RenameFlags::from_bits_retain(*flags);
            renameat_with(CWD, from.path(), CWD, to.path(), flags)?;
        }
        Op::Link { from, to, follow } => {
            let flags = if *follow {
                AtFlags::SYMLINK_FOLLOW
            } else {
                AtFlags::empty()
            };
            linkat(CWD, from.path(), CWD, to.path(), flags)?;
        }
        Op::Symlink { target, path } => symlinkat(target.path(), CWD, path.path())?,
        Op::Mknod {
            path,
            mode: bits,
            device,
        } => {
            let kind = FileType::from_raw_mode(*bits);
            mknodat(CWD, path.path(), kind, mode(bits & 0o7777), *device)?;
        }
        Op::Chmod { path, mode: bits } => chmodat(CWD, path.path(), mode(*bits), AtFlags::empty())?,
        Op::Chown {
            path,
            uid,
            gid,
            follow,
        } => {
            let (uid, gid) = owners(*uid, *gid);
            chownat(CWD, path.path(), uid, gid, follows(*follow))?;
        }
        Op::Utimes {
            path,
            atime,
            mtime,
            follow,
        } => utimensat(
            CWD,
            path.path(),
            &timestamps(*atime, *mtime),
            follows(*follow),
        )?,
        Op::Truncate { path, length } => nix::unistd::truncate(&path.path(), *length)?,
        _ => return Err(io::Error::other("no change")),
    }
    Ok(())
}

fn look(op: &Op) -> io::Result<Outcome> {
    Ok(match op {
        Op::Stat { path, follow: true } => Outcome::Facts(Facts::of(&fs::metadata(path.path())?)),
        Op::Stat { path, .. } => Outcome::Facts(Facts::of(&fs::symlink_metadata(path.path())?)),
        Op::Statfs { path } => {
            let about = statfs(path.path())?;
            if about.f_namelen != 255 || about.f_bsize <= 0 || about.f_bfree > about.f_blocks {
                return Ok(Outcome::Wrong(format!("{about:?}")));
            }
            Outcome::Done
        }
        Op::List { path } => Outcome::Names(facts::list(&path.path())?),
        Op::ReadAll { path } => Outcome::Content(facts::content(&plain(&path.path(), 0)?)?),
        Op::Readlink { path } => {
            Outcome::Text(text(fs::read_link(path.path())?.as_os_str().as_bytes()))
        }
        Op::Access { path, mode } => {
            access(path.path(), Access::from_bits_retain(*mode))?;
            Outcome::Done
        }
        Op::Xattr {
            path,
            follow,
            name,
            act,
        } => xattr(&path.path(), *follow, name, *act)?,
        _ => return Err(io::Error::other("no look")),
    })
}

fn xattr(path: &Path, follow: bool, name: &Name, act: XattrAct) -> io::Result<Outcome> {
    let name = name.path();
    let name = name.as_os_str().as_bytes();
    Ok(match act {
        XattrAct::Set(length, flags) => {
            let flags = XattrFlags::from_bits_retain(flags);
            let value = value(name, length);
            if follow {
                setxattr(path, name, &value, flags)?;
            } else {
                lsetxattr(path, name, &value, flags)?;
            }
            Outcome::Done
        }
        XattrAct::Get(room) => {
            let (length, hash) = facts::xattr(path, follow, name, room)?;
            Outcome::Xattr(length, hash)
        }
        XattrAct::List(room) => {
            let mut list = vec![0; room];
            let length = if follow {
                listxattr(path, &mut list[..])?
            } else {
                llistxattr(path, &mut list[..])?
            };
            let names = list
                .get(..length)
                .unwrap_or_default()
                .split(|byte| *byte == 0);
            let mut names: Vec<String> = names.map(text).collect();
            names.sort();
            Outcome::Text(format!("{length} {names:?}"))
        }
        XattrAct::Remove => {
            if follow {
                removexattr(path, name)?;
            } else {
                lremovexattr(path, name)?;
            }
            Outcome::Done
        }
    })
}

/// What an attribute is set to: a program's capabilities have a form, and so have ACLs.
fn value(name: &[u8], length: usize) -> Vec<u8> {
    if name.starts_with(b"system.posix_acl") {
        return acl(length);
    }
    if name == b"security.capability" {
        let mut value = vec![0, 0, 0, 2];
        value.resize(20, 0);
        return value;
    }
    (0..length).map(|at| (at * 7 + length) as u8).collect()
}

/// An ACL in the kernel's encoding, by length the base entries, or some with named users and groups; of
/// other lengths no ACL.
fn acl(length: usize) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    const OWNER: u16 = 1;
    const USER: u16 = 2;
    const OWNING: u16 = 4;
    const GROUP: u16 = 8;
    const MASK: u16 = 16;
    const OTHER: u16 = 32;
    let entries: &[(u16, u16, u32)] = match length {
        10 => &[(OWNER, 6, NOBODY), (OWNING, 4, NOBODY), (OTHER, 0, NOBODY)],
        300 => &[
            (OWNER, 7, NOBODY),
            (USER, 6, 1_501),
            (OWNING, 5, NOBODY),
            (GROUP, 7, 1_601),
            (MASK, 6, NOBODY),
            (OTHER, 5, NOBODY),
        ],
        1_000 => &[
            (OWNER, 7, NOBODY),
            (USER, 0, 1_502),
            (OWNING, 7, NOBODY),
            (MASK, 7, NOBODY),
            (OTHER, 7, NOBODY),
        ],
        // No mask, which named users need.
        5_000 => &[
            (OWNER, 7, NOBODY),
            (USER, 7, 1_502),
            (OWNING, 7, NOBODY),
            (OTHER, 7, NOBODY),
        ],
        _ => return vec![1; length],
    };
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// Opens a file that may be of any kind, without waiting for anybody.
fn plain(path: &Path, flags: i32) -> io::Result<File> {
    let flags = OFlags::from_bits_retain(flags.cast_unsigned());
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, mode(0o644))?.into())
}

fn store(op: &Op) -> io::Result<Outcome> {
    let Op::Store {
        path,
        flags,
        at,
        length,
        fill,
    } = op
    else {
        return Err(io::Error::other("no store"));
    };
    let file = plain(&path.path(), *flags)?;
    let bytes = handle::pattern(*fill, *length);
    let written = match u64::try_from(*at) {
        Ok(at) => file.write_at(&bytes, at)?,
        Err(_negative) => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
    };
    Ok(Outcome::Number(i64::try_from(written).unwrap_or(i64::MAX)))
}
