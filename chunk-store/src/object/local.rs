//! Objects as files of a directory.

use super::{ObjectStore, check_key};
use crate::error::ObjectError;
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What unfinished files begin with; no key has a part that begins so.
const TEMPORARY: &str = ".tmp-";
/// Unfinished files older than this are left over from a crash.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory whose files are the objects: written beside, synced, renamed, and the directory
/// synced, so that an object is whole or not there.
#[derive(Clone, Debug)]
pub struct LocalDir {
    root: PathBuf,
}

impl LocalDir {
    /// Opens the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// If it cannot be made or is no directory.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let store = Self { root };
        store.clear_abandoned()?;
        Ok(store)
    }

    /// Removes what a crash left in the top directory's own temporary place.
    fn clear_abandoned(&self) -> io::Result<()> {
        let place = self.temporary();
        fs::create_dir_all(&place)?;
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let modified = entry.metadata()?.modified()?;
            let age = SystemTime::now()
                .duration_since(modified)
                .unwrap_or_default();
            if age > ABANDONED_AFTER {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Where files are while they are written: in the same file system, so that a rename is
    /// atomic.
    fn temporary(&self) -> PathBuf {
        self.root.join(format!("{TEMPORARY}writing"))
    }

    fn put_blocking(&self, key: &str, data: &[u8]) -> io::Result<()> {
        let target = self.root.join(key);
        let parent = target.parent().unwrap_or(&self.root);
        make_durable_dir(parent, &self.root)?;
        let temporary = self.temporary().join(uuid::Uuid::new_v4().to_string());
        let written = write_synced(&temporary, data).and_then(|()| fs::rename(&temporary, &target));
        if let Err(error) = written {
            // The first error is the one to tell; what is left is cleared at a later open.
            let _cleared = fs::remove_file(&temporary);
            return Err(error);
        }
        File::open(parent)?.sync_all()
    }

    fn get_blocking(&self, key: &str, range: Range<u64>) -> io::Result<Bytes> {
        let file = File::open(self.root.join(key))?;
        let len = range.end.saturating_sub(range.start);
        // The length is checked first, so that a wrong range does not ask for wild memory.
        if range.end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut data = vec![0; len];
        file.read_exact_at(&mut data, range.start)?;
        Ok(data.into())
    }

    /// Keys in order, by walking directories whose names could still begin with the prefix.
    fn list_blocking(&self, prefix: &str, after: &str) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut waiting = vec![(self.root.clone(), String::new())];
        while let Some((directory, path)) = waiting.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                    continue;
                };
                let key = format!("{path}{name}");
                if entry.file_type()?.is_dir() {
                    let inside = format!("{key}/");
                    if inside.starts_with(prefix) || prefix.starts_with(&inside) {
                        waiting.push((entry.path(), inside));
                    }
                } else if key.starts_with(prefix) && key.as_str() > after {
                    found.push((key, entry.metadata()?.len()));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn write_synced(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(data)?;
    file.sync_all()
}

/// Makes a directory and those above it, each durable in the one above.
fn make_durable_dir(directory: &Path, root: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().unwrap_or(root);
    if directory != root {
        make_durable_dir(above, root)?;
    }
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(above)?.sync_all()
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    action: &'static str,
    key: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, ObjectError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| ObjectError::io(action, key, &error)),
        Err(error) => Err(ObjectError::io(action, key, &io::Error::other(error))),
    }
}

#[async_trait]
impl ObjectStore for LocalDir {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        check_key(key)?;
        let (store, name) = (self.clone(), key.to_owned());
        blocking("put", key, move || store.put_blocking(&name, &data)).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        check_key(key)?;
        let (store, name) = (self.clone(), key.to_owned());
        blocking("get", key, move || store.get_blocking(&name, range)).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        check_key(key)?;
        let path = self.root.join(key);
        let found = blocking("head", key, move || fs::metadata(path)).await;
        match found {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(ObjectError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        check_key(key)?;
        let path = self.root.join(key);
        match blocking("delete", key, move || fs::remove_file(path)).await {
            Err(ObjectError::Missing { .. }) => Ok(()),
            done => done,
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        let (store, begin, behind) = (self.clone(), prefix.to_owned(), after.to_owned());
        let mut found =
            blocking("list", prefix, move || store.list_blocking(&begin, &behind)).await?;
        found.truncate(count_max);
        Ok(found)
    }
}
