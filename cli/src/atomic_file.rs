//! Small files that are replaced whole: a reader sees the old one or the new one.

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

/// Bytes of a file that is read back, at most.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Writes `bytes` to a file beside `path`, syncs it and renames it over `path`.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// [`write()`] for JSON that people may look at.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).context("it does not fit JSON")?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// What [`write_json`] wrote; `None` if the file does not exist.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let value = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not as this version writes it", path.display()))?;
    Ok(Some(value))
}

/// Removes a file; whether it was there.
pub(crate) fn remove(path: &Path) -> Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    let beside = dir.join(name);
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.json");
        assert_eq!(read_json::<Vec<u8>>(&path).expect("readable"), None);
        write_json(&path, &vec![1, 2]).expect("written");
        write_json(&path, &vec![3]).expect("written");
        assert_eq!(
            read_json::<Vec<u8>>(&path).expect("readable"),
            Some(vec![3])
        );
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
        assert!(remove(&path).expect("removed"));
        assert!(!remove(&path).expect("was gone"));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.json");
        fs::write(&path, b"{").expect("written");
        let error = read_json::<Vec<u8>>(&path).expect_err("not JSON");
        assert!(error.to_string().contains("x.json"), "{error}");
    }
}
