//! For leases: the checks of questions that a client answers from what it has cached, which are
//! those of [`super::answer`], and which files a leader must ask about.

use crate::access::{self, EXECUTE, READ, WRITE};
use crate::attr::{Attr, Caller, FileKind};
use crate::ids::{Ino, VolumeId};
use crate::kv::KvRead;
use crate::name::Name;
use crate::outcome::{Fatal, Refusal};
use crate::tables::Tables;

/// Whether a caller may look for names in a directory.
///
/// # Errors
/// [`Refusal::NotDirectory`] and [`Refusal::AccessDenied`].
pub fn may_search(directory: &Attr, caller: &Caller) -> Result<(), Refusal> {
    if directory.kind != FileKind::Directory {
        return Err(Refusal::NotDirectory);
    }
    access::check_attr(directory, caller, EXECUTE)
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

/// Whether a caller may open a file that has a name.
///
/// # Errors
/// [`Refusal::AccessDenied`] and [`Refusal::IsDirectory`].
pub fn may_open(file: &Attr, caller: &Caller, read: bool, write: bool) -> Result<(), Refusal> {
    let wanted = if read { READ } else { 0 } | if write { WRITE } else { 0 };
    access::check_attr(file, caller, wanted)?;
    if file.kind == FileKind::Directory && write {
        return Err(Refusal::IsDirectory);
    }
    Ok(())
}
