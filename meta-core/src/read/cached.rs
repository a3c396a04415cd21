//! For leases: the checks of questions that a client answers from what it has cached, which are
//! those of [`super::answer`], and which files a leader must ask about.

use crate::access::{self, EXECUTE, READ, WRITE};
use crate::acl::Acl;
use crate::apply::xattr::Namespace;
use crate::attr::{Attr, Caller, FileKind};
use crate::ids::{Ino, VolumeId};
use crate::key::{self, Ids, Key, PREFIX_BYTES, Table};
use crate::kv::{Family, KvRead};
use crate::name::Name;
use crate::outcome::{Fatal, Refusal, Stop};
use crate::tables::Tables;
use std::ops::ControlFlow;

/// Whether a caller may look for names in a directory.
///
/// As of the others here, `acl` is the file's access ACL, and needed only where
/// [`needs_acl`](crate::acl::needs_acl) says so; without it nothing is allowed then.
///
/// # Errors
/// [`Refusal::NotDirectory`] and [`Refusal::AccessDenied`].
pub fn may_search(directory: &Attr, acl: Option<&Acl>, caller: &Caller) -> Result<(), Refusal> {
    if directory.kind != FileKind::Directory {
        return Err(Refusal::NotDirectory);
    }
    access::check_attr(directory, acl, caller, EXECUTE)
}

/// The file that a name leads to, whoever asks.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn leads_to<K: KvRead>(
    view: &K,
    volume: VolumeId,
    parent: Ino,
    name: &Name,
) -> Result<Option<Ino>, Fatal> {
    let dentry = Tables::new(view, volume).dentry(parent, name)?;
    Ok(dentry.map(|dentry| dentry.ino))
}

/// The attributes of a file, if it is there.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn attr_of<K: KvRead>(view: &K, volume: VolumeId, ino: Ino) -> Result<Option<Attr>, Fatal> {
    match Tables::new(view, volume).inode(ino) {
        Ok(inode) => Ok(Some(inode.attr(ino))),
        Err(Stop::Refused(_)) => Ok(None),
        Err(Stop::Fatal(fatal)) => Err(fatal),
    }
}

/// Whether a caller may open a file that has a name.
///
/// # Errors
/// [`Refusal::AccessDenied`] and [`Refusal::IsDirectory`].
pub fn may_open(
    file: &Attr,
    acl: Option<&Acl>,
    caller: &Caller,
    read: bool,
    write: bool,
) -> Result<(), Refusal> {
    let wanted = if read { READ } else { 0 } | if write { WRITE } else { 0 };
    access::check_attr(file, acl, caller, wanted)?;
    if file.kind == FileKind::Directory && write {
        return Err(Refusal::IsDirectory);
    }
    Ok(())
}

/// Whether a caller may read an extended attribute of a file, if it is there.
///
/// # Errors
/// What the engine itself would refuse with.
pub fn may_get_xattr(
    file: &Attr,
    acl: Option<&Acl>,
    caller: &Caller,
    name: &[u8],
) -> Result<(), Refusal> {
    Namespace::of(name)?.check_read(file, acl, caller)
}

/// Those of some files that have extended attributes. It costs one look for each that has, and one
/// for all that have none between two that do.
///
/// # Errors
/// [`Fatal`] if the store is damaged.
pub fn with_xattrs<K: KvRead>(
    view: &K,
    volume: VolumeId,
    mut inos: Vec<Ino>,
) -> Result<Vec<Ino>, Fatal> {
    inos.sort_unstable();
    inos.dedup();
    let tables = Tables::new(view, volume);
    // Every file below it that was not found has none.
    let mut looked: Option<Ino> = None;
    let mut found = Vec::new();
    for ino in inos {
        if looked.is_none_or(|looked| looked < ino) {
            let Some(next) = first_with_xattrs(&tables, ino)? else {
                break;
            };
            looked = Some(next);
        }
        if looked == Some(ino) {
            found.push(ino);
        }
    }
    Ok(found)
}

/// The first file from one on that has extended attributes.
fn first_with_xattrs<K: KvRead>(tables: &Tables<'_, K>, from: Ino) -> Result<Option<Ino>, Fatal> {
    let volume = tables.volume();
    let begin = key::by_ino(volume, Table::Xattr, from);
    let end = key::prefix_end(&Key::new(volume, Table::Xattr).done());
    let mut first = None;
    tables.scan(Family::State, &begin, &end, |key, _row| {
        let ino = Ids(key.get(PREFIX_BYTES..).unwrap_or_default()).u64();
        first = Some(ino.map(Ino).ok_or(Fatal::Invariant("a key is too short"))?);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::MemKv;
    use crate::row::{Blob, Row as _};

    #[test]
    fn files_with_attributes_are_found_among_others() {
        let volume = VolumeId(1);
        let mut rows = MemKv::default();
        let mut writes = crate::kv::Writes::default();
        for (ino, name) in [(3, "user.a"), (3, "user.b"), (7, "user.a"), (20, "user.z")] {
            let key = key::xattr(volume, Ino(ino), name.as_bytes());
            let row = Blob(b"x".to_vec()).encode(&key);
            writes.insert((Family::State, key), Some(row));
        }
        rows.write(writes);
        let of = |inos: &[u64]| -> Vec<u64> {
            let inos = inos.iter().map(|ino| Ino(*ino)).collect();
            let found = with_xattrs(&rows, volume, inos).unwrap();
            found.into_iter().map(|ino| ino.0).collect()
        };
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[20, 1, 3, 2, 7, 3]), [3, 7, 20]);
        assert_eq!(of(&[1, 2, 4, 5, 6, 8, 19, 21]), []);
        assert_eq!(of(&[21, 22]), []);
    }
}
