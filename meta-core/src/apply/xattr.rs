//! Extended attributes.

use super::{Done, acl};
use crate::access::{self, READ, WRITE};
use crate::acl::{Acl, AclKind};
use crate::attr::{Attr, Caller, FileKind, mode};
use crate::command::XattrMode;
use crate::ids::Ino;
use crate::key::{self, PREFIX_BYTES, Table};
use crate::kv::{Family, KvRead};
use crate::limits::{
    XATTR_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_NAME_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use crate::outcome::{Fatal, Refusal, Stop, Success};
use crate::row::{Blob, Inode};
use crate::tables::Tables;
use crate::txn::Txn;
use std::ops::ControlFlow;

/// What a program may do beyond its user, as Linux keeps it.
const CAPABILITY: &[u8] = b"security.capability";

/// The part of a name before its first dot, which says whose attribute it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Namespace {
    /// For users, guarded by mode bits.
    User,
    /// For the superuser alone.
    Trusted,
    /// For security modules: everybody reads.
    Security,
    /// For ACLs: everybody reads, the owner writes.
    Acl(AclKind),
}

impl Namespace {
    /// The namespace of a valid name.
    pub(crate) fn of(name: &[u8]) -> Result<Self, Refusal> {
        if name.is_empty() || name.contains(&0) {
            return Err(Refusal::InvalidArgument);
        }
        if name.len() > XATTR_NAME_BYTES_MAX {
            return Err(Refusal::NameTooLong);
        }
        let spaces = [
            (&b"user."[..], Self::User),
            (b"trusted.", Self::Trusted),
            (b"security.", Self::Security),
        ];
        let found = spaces.iter().find(|(prefix, _)| name.starts_with(prefix));
        match found {
            Some((prefix, _)) if prefix.len() == name.len() => Err(Refusal::InvalidArgument),
            Some((_, space)) => Ok(*space),
            // Of the namespace "system" there is nothing else.
            None => AclKind::of(name)
                .map(Self::Acl)
                .ok_or(Refusal::NotSupported),
        }
    }

    /// Whether the caller may read it.
    pub(crate) fn check_read(
        self,
        file: &Attr,
        acl: Option<&Acl>,
        caller: &Caller,
    ) -> Result<(), Refusal> {
        match self {
            Self::User => {
                check_carrier(file.kind).map_err(|_| Refusal::NoAttribute)?;
                access::check_attr(file, acl, caller, READ)
            }
            Self::Trusted if !caller.is_root() => Err(Refusal::NoAttribute),
            Self::Acl(_) if file.kind == FileKind::Symlink => Err(Refusal::NotSupported),
            Self::Trusted | Self::Security | Self::Acl(_) => Ok(()),
        }
    }

    fn check_write<K: KvRead>(
        self,
        tables: &Tables<'_, K>,
        (ino, inode): (Ino, &Inode),
        caller: &Caller,
    ) -> Result<(), Stop> {
        match self {
            Self::User => {
                check_carrier(inode.kind)?;
                let sticky = inode.is_directory() && inode.mode & mode::STICKY != 0;
                if sticky && !access::owns(inode, caller) {
                    return Err(Refusal::NotPermitted.into());
                }
                access::check(tables, (ino, inode), caller, WRITE)
            }
            Self::Trusted | Self::Security if !caller.is_root() => {
                Err(Refusal::NotPermitted.into())
            }
            // What is not here for an ACL is in `acl`.
            Self::Trusted | Self::Security | Self::Acl(_) => Ok(()),
        }
    }
}

/// User attributes are for files and directories: the mode bits of the others mean other things.
fn check_carrier(kind: FileKind) -> Result<(), Refusal> {
    match kind {
        FileKind::Regular | FileKind::Directory => Ok(()),
        FileKind::Symlink
        | FileKind::Fifo
        | FileKind::Socket
        | FileKind::CharDevice
        | FileKind::BlockDevice => Err(Refusal::NotPermitted),
    }
}

/// Sets an attribute.
pub(super) fn set<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    ino: Ino,
    name: &[u8],
    value: &[u8],
    mode: XattrMode,
) -> Done {
    let space = Namespace::of(name)?;
    if let Namespace::Acl(kind) = space {
        return acl::set(txn, caller, ino, kind, value);
    }
    let mut inode = txn.tables().inode(ino)?;
    space.check_write(&txn.tables(), (ino, &inode), caller)?;
    if value.len() > XATTR_VALUE_BYTES_MAX {
        return Err(Refusal::AttributeTooLarge.into());
    }
    let key = key::xattr(txn.volume(), ino, name);
    let exists = txn.tables().row::<Blob>(&key)?.is_some();
    match mode {
        XattrMode::Create if exists => return Err(Refusal::Exists.into()),
        XattrMode::Replace if !exists => return Err(Refusal::NoAttribute.into()),
        XattrMode::Set | XattrMode::Create | XattrMode::Replace => {}
    }
    check_room(&txn.tables(), ino, name, value)?;
    txn.put(key, &Blob(value.to_vec()));
    inode.ctime = txn.stamp();
    txn.put_inode(ino, &inode);
    Ok(Success::Done)
}

/// Whether a file's attributes stay within their bounds with one more, or another value of one.
pub(super) fn check_room<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    ino: Ino,
    name: &[u8],
    value: &[u8],
) -> Result<(), Stop> {
    let (mut listed, mut bytes) = (name.len() + 1, name.len() + value.len());
    visit(tables, ino, &mut |other, row| {
        if other != name {
            listed += other.len() + 1;
            bytes += other.len() + row.len();
        }
    })?;
    if listed > XATTR_LIST_BYTES_MAX {
        Err(Refusal::AttributeTooLarge.into())
    } else if bytes > XATTR_BYTES_MAX {
        Err(Refusal::NoSpace.into())
    } else {
        Ok(())
    }
}

/// The capabilities of a program do not outlive a change of its bytes or its owner, as Linux has
/// it.
pub(super) fn drop_capability<B: KvRead>(txn: &mut Txn<'_, B>, ino: Ino) -> Result<(), Fatal> {
    let key = key::xattr(txn.volume(), ino, CAPABILITY);
    if txn.tables().row::<Blob>(&key)?.is_some() {
        txn.delete(key);
    }
    Ok(())
}

/// Removes an attribute.
pub(super) fn remove<B: KvRead>(
    txn: &mut Txn<'_, B>,
    caller: &Caller,
    ino: Ino,
    name: &[u8],
) -> Done {
    let space = Namespace::of(name)?;
    if let Namespace::Acl(kind) = space {
        return acl::set(txn, caller, ino, kind, &[]);
    }
    let mut inode = txn.tables().inode(ino)?;
    if name == CAPABILITY {
        // The kernel takes it away in the name of whoever writes, and asks itself who may do so
        // on purpose.
        access::check(&txn.tables(), (ino, &inode), caller, WRITE)?;
    } else {
        space.check_write(&txn.tables(), (ino, &inode), caller)?;
    }
    let key = key::xattr(txn.volume(), ino, name);
    if txn.tables().row::<Blob>(&key)?.is_none() {
        return Err(Refusal::NoAttribute.into());
    }
    txn.delete(key);
    inode.ctime = txn.stamp();
    txn.put_inode(ino, &inode);
    Ok(Success::Done)
}

/// All names of a file, whoever may see them.
pub(crate) fn names<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    ino: Ino,
) -> Result<Vec<Vec<u8>>, Fatal> {
    let mut names = Vec::new();
    visit(tables, ino, &mut |name, _| names.push(name.to_vec()))?;
    Ok(names)
}

/// Calls `each` with the name and the row of every attribute of a file.
fn visit<K: KvRead + ?Sized>(
    tables: &Tables<'_, K>,
    ino: Ino,
    each: &mut dyn FnMut(&[u8], &[u8]),
) -> Result<(), Fatal> {
    let prefix = key::by_ino(tables.volume(), Table::Xattr, ino);
    let end = key::prefix_end(&prefix);
    tables.scan(Family::State, &prefix, &end, |key, row| {
        let name = key.get(PREFIX_BYTES + size_of::<u64>()..);
        each(name.ok_or(Fatal::Invariant("a key is too short"))?, row);
        Ok(ControlFlow::Continue(()))
    })
}
