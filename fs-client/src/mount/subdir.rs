//! The directory of a volume that a mount shows as its root.

use super::MountError;
use crate::vfs::{Vfs, VfsError};
use meta_core::attr::{Caller, FileKind};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use rustix::process::{Gid, getegid, geteuid, getgroups};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

/// Finds it by its path from the volume's root, as the user who mounts may: a mount must not show what
/// its user could not reach. Symlinks are not followed. It is kept from then on.
///
/// # Errors
/// [`MountError::Subdir`].
pub(super) async fn find(vfs: &Vfs, path: Option<&Path>) -> Result<Ino, MountError> {
    let caller = own_caller();
    let (mut passed, mut place) = (PathBuf::from("/"), Ino::ROOT);
    for part in path.into_iter().flat_map(Path::components) {
        let name = match part {
            Component::RootDir | Component::CurDir => continue,
            part => part.as_os_str(),
        };
        passed.push(name);
        let refused = |why: String| MountError::Subdir {
            path: passed.clone(),
            why,
        };
        // What leads up is no name, and is refused as such.
        let name = Name::new(name.as_bytes()).map_err(|refusal| refused(refusal.to_string()))?;
        let found = vfs.lookup(&caller, place, name).await;
        let attr = found.map_err(|error| refused(words(&error)))?;
        match attr.kind {
            FileKind::Directory => place = attr.ino,
            FileKind::Symlink => {
                let why =
                    "it is a symlink, and links are not followed: give the path that it leads to";
                return Err(refused(why.to_owned()));
            }
            _ => return Err(refused("it is not a directory".to_owned())),
        }
    }
    if place != Ino::ROOT {
        vfs.keep_directory(place);
    }
    Ok(place)
}

fn words(error: &VfsError) -> String {
    match error {
        VfsError::Refused(Refusal::NotFound) => "it does not exist; make it first".to_owned(),
        other => other.to_string(),
    }
}

/// Who mounts.
fn own_caller() -> Caller {
    // More groups than the kernel tells cannot be; without them less is found.
    let groups = getgroups().unwrap_or_default();
    Caller {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        groups: groups.into_iter().map(Gid::as_raw).collect(),
    }
}
