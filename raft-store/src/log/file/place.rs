//! What the log's directory holds: files, or the RocksDB database of builds before them.
//!
//! `CURRENT` tells. RocksDB keeps the name of its manifest in a file of that name, and refuses a
//! database in which it has our text: so a build that knows no files refuses their directory, and
//! does not begin a new, empty log in it.

use super::slot;
use crate::durable;
use crate::error::StoreError;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What `CURRENT` says when there are files.
const TEXT: &[u8] = b"curlew-log-files\n";
const CURRENT: &str = "CURRENT";
const MANIFEST: &str = "MANIFEST-";

/// Whose the directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holds {
    /// Nobody's yet.
    Nothing,
    /// Ours.
    Files,
    /// RocksDB's. Files beside it were begun, and count for nothing.
    Database,
}

/// Looks at a directory.
pub(super) fn look(dir: &Path) -> Result<Holds, StoreError> {
    let path = dir.join(CURRENT);
    let damaged = |why: String| Err(StoreError::damaged("log", why));
    match fs::read(&path) {
        Ok(bytes) if bytes == TEXT => Ok(Holds::Files),
        Ok(bytes) if bytes.starts_with(MANIFEST.as_bytes()) => Ok(Holds::Database),
        Ok(_) => damaged(format!("{} names nothing known", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut held = all(dir)?.into_iter();
            match held.find(|path| is_of_database(&name(path)) || is_of_files(&name(path))) {
                None => Ok(Holds::Nothing),
                Some(other) => damaged(format!(
                    "{} is missing beside {}",
                    path.display(),
                    name(&other)
                )),
            }
        }
        Err(error) => Err(StoreError::file("read", &path)(error)),
    }
}

/// What a database's directory says.
#[cfg(feature = "rocksdb")]
pub(super) fn current(dir: &Path) -> Result<Vec<u8>, StoreError> {
    let path = dir.join(CURRENT);
    fs::read(&path).map_err(StoreError::file("read", &path))
}

/// Makes the directory ours: from one moment to the next, for every later start.
pub(super) fn take(dir: &Path) -> Result<(), StoreError> {
    durable::replace_file(&dir.join(CURRENT), TEXT)
}

/// Removes what a database left in a directory that is ours.
pub(super) fn remove_database(dir: &Path) -> Result<(), StoreError> {
    remove(dir, is_of_database)
}

/// Removes files that were begun beside a database.
pub(super) fn remove_files(dir: &Path) -> Result<(), StoreError> {
    remove(dir, is_of_files)?;
    // Else one could come back, and be taken for one that was written later.
    durable::sync_dir(dir)
}

fn remove(dir: &Path, which: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    for path in all(dir)? {
        if which(&name(&path)) {
            fs::remove_file(&path).map_err(StoreError::file("remove", &path))?;
        }
    }
    Ok(())
}

fn is_of_files(name: &str) -> bool {
    name == "salt" || name.starts_with(slot::PREFIX)
}

fn is_of_database(name: &str) -> bool {
    let begins = [MANIFEST, "OPTIONS-", "LOG"].map(|part| name.starts_with(part));
    let ends = [".log", ".sst", ".dbtmp"].map(|part| name.ends_with(part));
    name == "IDENTITY" || begins.contains(&true) || ends.contains(&true)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn all(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = || StoreError::file("read", dir);
    let entries = fs::read_dir(dir).map_err(failed())?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_text_of_current() {
        assert_eq!(TEXT, b"curlew-log-files\n");
    }

    #[test]
    fn a_directory_is_nobodys_ours_or_rocksdbs() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).unwrap();
        write("LOCK", b"");
        assert_eq!(look(dir.path()).unwrap(), Holds::Nothing);
        write("slot-000001", b"");
        let error = look(dir.path()).unwrap_err().to_string();
        assert!(error.contains("missing beside slot-000001"), "{error}");
        write(CURRENT, b"MANIFEST-000005\n");
        assert_eq!(look(dir.path()).unwrap(), Holds::Database);
        for at in 0..TEXT.len() {
            let mut bytes = TEXT.to_vec();
            bytes[at] ^= 1;
            write(CURRENT, &bytes);
            assert!(look(dir.path()).is_err(), "byte {at}");
        }
        take(dir.path()).unwrap();
        assert_eq!(look(dir.path()).unwrap(), Holds::Files);
    }

    #[test]
    fn only_what_is_known_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let others = ["LOCK", "CURRENT", "notes.txt"];
        let files = ["salt", "slot-000001"];
        let database = ["MANIFEST-000005", "OPTIONS-000007", "LOG", "LOG.old.1"];
        let database = [&database[..], &["000012.log", "000011.sst", "IDENTITY"]].concat();
        for name in others.iter().chain(&files).chain(&database) {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        let left = || all(dir.path()).unwrap().len();
        remove_database(dir.path()).unwrap();
        assert_eq!(left(), others.len() + files.len());
        remove_files(dir.path()).unwrap();
        assert_eq!(left(), others.len());
    }
}
