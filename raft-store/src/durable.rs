//! File operations that are on disk when they return.

use crate::error::StoreError;
use meta_core::failpoint::{self, Point};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

/// Replaces a file so that a crash leaves the old bytes or the new ones.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("new");
    write_file(&temporary, bytes)?;
    failpoint::pass(Point::FileWritten);
    fs::rename(&temporary, path).map_err(StoreError::file("replace", path))?;
    failpoint::pass(Point::FileRenamed);
    sync_parent(path)
}

/// Writes a new file. The directory still has to be synced.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create(path).map_err(StoreError::file("create", path))?;
    file.write_all(bytes)
        .map_err(StoreError::file("write", path))?;
    file.sync_all().map_err(StoreError::file("sync", path))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(StoreError::file("sync", dir))
}

/// Makes a name durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StoreError> {
    match path.parent() {
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Makes a directory and those above it that are missing, each durable in the one above.
///
/// # Errors
/// [`StoreError::File`] if one cannot be made or synced.
pub fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) else {
        return fs::create_dir_all(dir).map_err(StoreError::file("create", dir));
    };
    if !above.is_dir() {
        make_dir(above)?;
    }
    fs::create_dir_all(dir).map_err(StoreError::file("create", dir))?;
    sync_dir(above)
}

/// Removes a directory with what is in it; one that is not there is no error.
pub(crate) fn remove_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::file("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// The bytes of the files in a directory and below. A file that goes away meanwhile counts as 0.
pub(crate) fn dir_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => dir_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_gone) => 0,
    });
    sizes.sum()
}
