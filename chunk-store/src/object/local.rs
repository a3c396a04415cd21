//! Objects as files of a directory.

use super::content::Content;
use super::name::check_key;
use super::{ObjectStore, tree};
use crate::error::{ObjectError, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where files are while they are written. One directory, in the same file system as the objects:
/// a rename from it is atomic, and what a crash left is found without looking at every object.
/// No key has a part that begins with a dot.
const WRITING: &str = ".curlew-writing";
/// Unfinished files older than this are left over from a crash: no upload takes so long, whatever
/// the clocks of the machines that share the directory say.
const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// Directories known to be durable; past it they are forgotten and synced again.
const DURABLE_DIRS_MAX: usize = 65_536;

/// A directory whose files are the objects: written aside, synced, renamed, and the directory
/// synced, so that an object is there, whole, or not there. Directories that become empty stay.
#[derive(Clone, Debug)]
pub struct LocalDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Device and inode of the root. Another directory at its path is where its disk was mounted,
    /// or will be: what is written there is out of sight.
    identity: (u64, u64),
    /// Directories whose own names are known to be on disk. That a directory is there says
    /// nothing: another upload may have made it a moment ago.
    durable: Mutex<HashSet<PathBuf>>,
}

impl LocalDir {
    /// Opens a directory. What an earlier crash left half written there is removed.
    ///
    /// # Errors
    /// [`StorageError`] if it is not there, is no directory, or cannot be reached.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let unusable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => StorageError::NotThere(root.to_owned()),
            _ => StorageError::Open {
                place: root.to_owned(),
                error,
            },
        };
        let path = root.canonicalize().map_err(unusable)?;
        let metadata = fs::metadata(&path).map_err(unusable)?;
        if !metadata.is_dir() {
            return Err(unusable(io::ErrorKind::NotADirectory.into()));
        }
        let inner = Inner {
            root: path,
            identity: (metadata.dev(), metadata.ino()),
            durable: Mutex::default(),
        };
        // A store that can only be read is still of use.
        if let Err(error) = inner.clear_abandoned() {
            tracing::warn!(%error, "unfinished files of an earlier crash stay");
        }
        Ok(Self(Arc::new(inner)))
    }

    /// Makes a directory, and those above it that are missing, durable. It may be there already.
    ///
    /// # Errors
    /// As the file system says.
    pub fn make(root: &Path) -> io::Result<()> {
        let root = std::path::absolute(root)?;
        let Some(above) = root.parent() else {
            return Ok(());
        };
        if !above.is_dir() {
            Self::make(above)?;
        }
        create_dir(&root)?;
        if !root.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        File::open(above)?.sync_all()
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let inner = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(done) => done.map_err(|error| ObjectError::io(action, key, &error)),
            Err(error) => Err(ObjectError::io(action, key, &io::Error::other(error))),
        }
    }
}

/// What became of a file that was to be an object.
enum Placed {
    Stored,
    Conflict,
}

/// What a read found.
enum Found {
    Data(Bytes),
    Short(u64),
}

impl Inner {
    fn clear_abandoned(&self) -> io::Result<()> {
        let entries = match fs::read_dir(self.root.join(WRITING)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let removed = entry.metadata().and_then(|metadata| {
                let age = SystemTime::now().duration_since(metadata.modified()?);
                match age {
                    Ok(age) if age > ABANDONED_AFTER => fs::remove_file(entry.path()),
                    _ => Ok(()),
                }
            });
            match removed {
                // Another mount finished it, or cleared it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    fn check_identity(&self) -> io::Result<()> {
        let metadata = fs::metadata(&self.root)?;
        if (metadata.dev(), metadata.ino()) == self.identity {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "{} is not the directory that was opened: is its disk still mounted?",
            self.root.display()
        )))
    }

    fn put(&self, key: &str, content: Content<'_>) -> io::Result<Placed> {
        self.check_identity()?;
        let target = self.root.join(key);
        let parent = target.parent().unwrap_or(&self.root);
        self.make_durable(parent)?;
        let aside = self.root.join(WRITING);
        if !aside.is_dir() {
            create_dir(&aside)?;
        }
        let aside = aside.join(uuid::Uuid::new_v4().to_string());
        // Each attempt writes a file of its own: a failed sync is never tried again on the same
        // one, since a second sync would succeed without having written anything.
        let placed = write_synced(&aside, content);
        let placed = placed.and_then(|()| place(&aside, &target, content));
        if !matches!(placed, Ok(Placed::Stored)) {
            // The first error is the one to tell; what stays is cleared at a later open.
            let _cleared = fs::remove_file(&aside);
        }
        if let Err(error) = &placed
            && error.kind() == io::ErrorKind::NotFound
        {
            // Somebody removed the directory: believe nothing that is remembered.
            self.durable.lock().clear();
            return Err(io::Error::other(
                "the directory was removed while a block was written",
            ));
        }
        let placed = placed?;
        File::open(parent)?.sync_all()?;
        Ok(placed)
    }

    /// Makes a directory and those above it, each durable in the one above.
    fn make_durable(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root || self.durable.lock().contains(directory) {
            return Ok(());
        }
        let above = directory.parent().unwrap_or(&self.root);
        self.make_durable(above)?;
        create_dir(directory)?;
        File::open(above)?.sync_all()?;
        let mut durable = self.durable.lock();
        if durable.len() >= DURABLE_DIRS_MAX {
            durable.clear();
        }
        durable.insert(directory.to_owned());
        Ok(())
    }

    fn get(&self, key: &str, range: &Range<u64>) -> io::Result<Found> {
        let file = File::open(self.root.join(key))?;
        // The length is checked first, so that a wrong range does not ask for wild memory.
        let have = file.metadata()?.len();
        if range.end > have {
            return Ok(Found::Short(have));
        }
        let len = range.end.saturating_sub(range.start);
        let mut data = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        file.read_exact_at(&mut data, range.start)?;
        Ok(Found::Data(data.into()))
    }
}

fn create_dir(directory: &Path) -> io::Result<()> {
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

fn write_synced(path: &Path, content: Content<'_>) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    content.write_to(&mut file)?;
    file.sync_all()
}

/// Gives a synced file its name, unless another object has it.
fn place(aside: &Path, target: &Path, content: Content<'_>) -> io::Result<Placed> {
    match rustix::fs::renameat_with(CWD, aside, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(Placed::Stored),
        Err(Errno::EXIST) => {}
        // Not every file system can refuse to replace. There the look below comes a moment
        // before the rename; the ids in keys are given out once, so nobody else writes this one.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    if !content.is_or_absent(target)? {
        return Ok(Placed::Conflict);
    }
    // The new file replaces its equal: it is known to be synced, of the other nothing is known.
    fs::rename(aside, target)?;
    Ok(Placed::Stored)
}

fn settled(key: &str, placed: Placed) -> Result<(), ObjectError> {
    match placed {
        Placed::Stored => Ok(()),
        Placed::Conflict => Err(ObjectError::Conflict {
            key: key.to_owned(),
        }),
    }
}

#[async_trait]
impl ObjectStore for LocalDir {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        check_key(key)?;
        let name = key.to_owned();
        let put = move |inner: &Inner| inner.put(&name, Content::Bytes(&data));
        settled(key, self.blocking("put", key, put).await?)
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        check_key(key)?;
        let name = key.to_owned();
        let put = move |inner: &Inner| inner.put(&name, Content::File(&file));
        settled(key, self.blocking("put", key, put).await?)
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        check_key(key)?;
        let (name, wanted) = (key.to_owned(), range.end);
        let found = self.blocking("get", key, move |inner| inner.get(&name, &range));
        match found.await? {
            Found::Data(data) => Ok(data),
            Found::Short(have) => Err(ObjectError::Short {
                key: key.to_owned(),
                wanted,
                have,
            }),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        check_key(key)?;
        let name = key.to_owned();
        let found = self.blocking("head", key, move |inner| {
            fs::metadata(inner.root.join(name))
        });
        match found.await {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) | Err(ObjectError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        check_key(key)?;
        let name = key.to_owned();
        let removed = self.blocking("delete", key, move |inner| {
            fs::remove_file(inner.root.join(name))
        });
        match removed.await {
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
        let (begin, behind) = (prefix.to_owned(), after.to_owned());
        self.blocking("list", prefix, move |inner| {
            tree::list(&inner.root, &begin, &behind, count_max)
        })
        .await
    }
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
