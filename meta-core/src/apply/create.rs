//! New files and new names.

use super::{Done, acl, names, quota};
use crate::access::{self, READ, WRITE};
use crate::acl::{Acl, DEFAULT};
use crate::attr::{Caller, FileKind, mode};
use crate::command::{Create, Existing, NewNode};
use crate::ids::{DentryNumber, ID_COUNTER_MAX, Ino, Level, pack_id};
use crate::key::{self, Table};
use crate::kv::KvRead;
use crate::limits::{LINKS_MAX, SYMLINK_BYTES_MAX};
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Blob, Dentry, Inode};
use crate::txn::Txn;

/// The level from which a file's row says when it was made.
const BTIME_LEVEL: Level = Level(2);

/// Makes a file, or opens the one that is there.
pub(super) fn create<B: KvRead>(txn: &mut Txn<'_, B>, caller: &Caller, create: &Create) -> Done {
    let node = checked(&create.node)?;
    let mut parent = names::searchable(txn, caller, create.parent)?;
    if let Some(dentry) = txn.tables().dentry(create.parent, &create.name)? {
        return existing(txn, caller, create, &dentry);
    }
    names::check_addition(txn, (create.parent, &parent), caller)?;
    if matches!(node, FileKind::CharDevice | FileKind::BlockDevice) && !caller.is_root() {
        return Err(Refusal::NotPermitted.into());
    }
    if node == FileKind::Directory {
        add_subdirectory(&mut parent)?;
    }
    let number = names::take_number(&mut parent)?;
    let ino = take_ino(txn)?;
    let default = handed_on(txn, create, node, &parent)?;
    let asked = match default {
        // What is handed on stands in for the umask.
        Some(_) => create.mode | create.masked & 0o777,
        None => create.mode,
    } & mode::MASK;
    let mut inode = new_inode(txn, caller, create, (node, asked), &parent, number);
    if let Some(default) = &default {
        acl::hand_on(txn, ino, &mut inode, default);
    }
    if txn.tables().settings()?.level >= BTIME_LEVEL {
        inode.btime = Some(txn.stamp());
    }
    if let NewNode::Symlink { target } = &create.node {
        txn.put(
            key::by_ino(txn.volume(), Table::Symlink, ino),
            &Blob(target.clone()),
        );
    }
    names::put_name(
        txn,
        create.parent,
        &create.name,
        Dentry {
            ino,
            kind: node,
            number,
        },
    );
    txn.put_inode(ino, &inode);
    parent.length += 1;
    names::touch(txn, &mut parent);
    txn.put_inode(create.parent, &parent);
    txn.counters().inodes += 1;
    Ok(Success::Entry {
        attr: inode.attr(ino),
        created: true,
    })
}

/// The kind of what is made, if it can be made so.
fn checked(node: &NewNode) -> Result<FileKind, Refusal> {
    match node {
        NewNode::Regular => Ok(FileKind::Regular),
        NewNode::Directory => Ok(FileKind::Directory),
        NewNode::Symlink { target } => {
            if target.len() > SYMLINK_BYTES_MAX {
                Err(Refusal::NameTooLong)
            } else if target.is_empty() || target.contains(&0) {
                Err(Refusal::InvalidArgument)
            } else {
                Ok(FileKind::Symlink)
            }
        }
        NewNode::Special { kind, .. } => match kind {
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
                Ok(*kind)
            }
            FileKind::Regular | FileKind::Directory | FileKind::Symlink => {
                Err(Refusal::InvalidArgument)
            }
        },
    }
}

fn existing<B: KvRead>(
    txn: &Txn<'_, B>,
    caller: &Caller,
    create: &Create,
    dentry: &Dentry,
) -> Done {
    let Existing::Open { read, write } = create.existing else {
        return Err(Refusal::Exists.into());
    };
    match dentry.kind {
        FileKind::Regular if create.node == NewNode::Regular => {
            let inode = txn.tables().inode_of(dentry)?;
            let wanted = if read { READ } else { 0 } | if write { WRITE } else { 0 };
            access::check(&txn.tables(), (dentry.ino, &inode), caller, wanted)?;
            Ok(Success::Entry {
                attr: inode.attr(dentry.ino),
                created: false,
            })
        }
        FileKind::Directory if create.node == NewNode::Regular => Err(Refusal::IsDirectory.into()),
        _ => Err(Refusal::Exists.into()),
    }
}

/// The default ACL that a directory has for what is made in it.
fn handed_on<B: KvRead>(
    txn: &Txn<'_, B>,
    create: &Create,
    kind: FileKind,
    parent: &Inode,
) -> Result<Option<Acl>, Fatal> {
    if !parent.default_acl || kind == FileKind::Symlink {
        return Ok(None);
    }
    access::stored_acl(&txn.tables(), create.parent, DEFAULT)
}

fn new_inode<B: KvRead>(
    txn: &Txn<'_, B>,
    caller: &Caller,
    create: &Create,
    (kind, asked): (FileKind, u32),
    parent: &Inode,
    number: DentryNumber,
) -> Inode {
    let stamp = txn.stamp();
    let (bits, gid) = inherited(caller, asked, kind, parent);
    let (bits, nlink, length, rdev) = match &create.node {
        NewNode::Directory => (bits, 2, 0, 0),
        NewNode::Symlink { target } => {
            (0o777, 1, u64::try_from(target.len()).unwrap_or(u64::MAX), 0)
        }
        NewNode::Special {
            kind: FileKind::CharDevice | FileKind::BlockDevice,
            rdev,
        } => (bits, 1, 0, *rdev),
        NewNode::Regular | NewNode::Special { .. } => (bits, 1, 0, 0),
    };
    Inode {
        kind,
        mode: bits,
        uid: caller.uid,
        gid,
        rdev,
        nlink,
        length,
        atime: stamp,
        mtime: stamp,
        ctime: stamp,
        parent: create.parent,
        parent_number: number,
        next: if kind == FileKind::Directory {
            DentryNumber::FIRST.0
        } else {
            0
        },
        btime: None,
        holes: false,
        access_acl: false,
        default_acl: false,
    }
}

/// Mode bits and group of a new file: a set-group-id directory hands its group on, and the bit
/// itself to directories. Nobody gets a set-group-id file of a group they are not in.
fn inherited(caller: &Caller, bits: u32, kind: FileKind, parent: &Inode) -> (u32, u32) {
    if parent.mode & mode::SET_GID == 0 {
        return (bits, caller.gid);
    }
    let bits = if kind == FileKind::Directory {
        bits | mode::SET_GID
    } else if caller.is_root() || caller.in_group(parent.gid) {
        bits
    } else {
        bits & !mode::SET_GID
    };
    (bits, parent.gid)
}

pub(super) fn take_ino<B: KvRead>(txn: &mut Txn<'_, B>) -> Result<Ino, Refusal> {
    let epoch = txn.epoch();
    let counters = txn.counters();
    let counter = counters.next_ino;
    if counter > ID_COUNTER_MAX {
        return Err(Refusal::NoSpace);
    }
    counters.next_ino = counter + 1;
    Ok(Ino(pack_id(epoch, 0, counter)))
}

/// Counts a directory that comes into `parent`.
pub(super) fn add_subdirectory(parent: &mut Inode) -> Result<(), Refusal> {
    if parent.nlink >= LINKS_MAX {
        return Err(Refusal::TooManyLinks);
    }
    parent.nlink += 1;
    Ok(())
}

/// Gives a file one more name.
pub(super) fn link<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    ino: Ino,
    parent_ino: Ino,
    name: &Name,
) -> Done {
    let mut parent = names::searchable(txn, caller, parent_ino)?;
    let mut inode = txn.tables().inode(ino)?;
    if txn.tables().dentry(parent_ino, name)?.is_some() {
        return Err(Refusal::Exists.into());
    }
    names::check_addition(txn, (parent_ino, &parent), caller)?;
    check_linkable(&inode)?;
    quota::check_further_name(txn, inode.parent, parent_ino)?;
    let number = names::take_number(&mut parent)?;
    names::put_name(
        txn,
        parent_ino,
        name,
        Dentry {
            ino,
            kind: inode.kind,
            number,
        },
    );
    names::attach(txn, ino, parent_ino, number);
    inode.nlink += 1;
    inode.ctime = txn.stamp();
    txn.put_inode(ino, &inode);
    parent.length += 1;
    names::touch(txn, &mut parent);
    txn.put_inode(parent_ino, &parent);
    Ok(Success::Entry {
        attr: inode.attr(ino),
        created: false,
    })
}

fn check_linkable(inode: &Inode) -> Result<(), Stop> {
    if inode.is_directory() {
        Err(Refusal::NotPermitted.into())
    } else if inode.nlink == 0 {
        Err(Refusal::NotFound.into())
    } else if inode.nlink >= LINKS_MAX {
        Err(Refusal::TooManyLinks.into())
    } else {
        Ok(())
    }
}
