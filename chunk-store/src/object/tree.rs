//! Listing a directory tree in the order of keys, a page at a time.

use super::name::is_sound;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory's names, sorted so that the last comes first off the stack.
struct Level {
    path: PathBuf,
    /// The key's part before the names, with its slash.
    before: String,
    /// Names of files, and of directories with a slash: as they sort in keys.
    names: Vec<String>,
}

/// Keys below `root` that begin with `prefix` and come after `after`, in byte order, with lengths.
/// Only the directories on the way to the next key are in memory.
pub(crate) fn list(
    root: &Path,
    prefix: &str,
    after: &str,
    count_max: usize,
) -> io::Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    let mut levels = vec![level(root.to_owned(), String::new())?];
    while found.len() < count_max {
        let Some(level_now) = levels.last_mut() else {
            break;
        };
        let Some(name) = level_now.names.pop() else {
            levels.pop();
            continue;
        };
        let key = format!("{}{name}", level_now.before);
        let path = level_now.path.join(&name);
        if key.ends_with('/') {
            let may_begin = key.starts_with(prefix) || prefix.starts_with(&key);
            let may_follow = key.as_str() > after || after.starts_with(&key);
            if may_begin && may_follow {
                levels.push(level(path, key)?);
            }
        } else if key.starts_with(prefix) && key.as_str() > after {
            match fs::symlink_metadata(&path) {
                Ok(metadata) => found.push((key, metadata.len())),
                // It was deleted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

fn level(path: PathBuf, before: String) -> io::Result<Level> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(&path) {
        // It was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !before.is_empty() => None,
        entries => Some(entries?),
    };
    for entry in entries.into_iter().flatten() {
        let entry = entry?;
        // What no key could name is not an object: temporary files, a file system's lost+found.
        let Some(mut name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        let kind = entry.file_type()?;
        if !is_sound(&name) || !(kind.is_file() || kind.is_dir()) {
            continue;
        }
        if kind.is_dir() {
            name.push('/');
        }
        names.push(name);
    }
    names.sort_unstable_by(|left, right| right.cmp(left));
    Ok(Level {
        path,
        before,
        names,
    })
}
