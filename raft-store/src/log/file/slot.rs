//! The files, which are written over again and again.

use crate::durable;
use crate::error::StoreError;
use rustix::fs::Advice;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Files that wait to be written over.
const FREE_MAX: usize = 4;
pub(super) const PREFIX: &str = "slot-";
const ZEROS_BYTES: usize = 1 << 20;

/// One file.
#[derive(Debug)]
pub(super) struct Slot {
    file: File,
    path: PathBuf,
}

impl Slot {
    fn open(path: PathBuf, fresh: bool) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(fresh);
        let file = options
            .open(&path)
            .map_err(StoreError::file("open", &path))?;
        Ok(Self { file, path })
    }

    pub(super) fn bytes(&self) -> Result<u64, StoreError> {
        let meta = self.file.metadata();
        Ok(meta.map_err(StoreError::file("look at", &self.path))?.len())
    }

    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The first bytes, at most so many.
    pub(super) fn read_up_to(&self, max: u64) -> Result<Vec<u8>, StoreError> {
        let length = usize::try_from(self.bytes()?.min(max)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.read(&mut bytes, 0)?;
        Ok(bytes)
    }

    pub(super) fn read(&self, bytes: &mut [u8], at: u64) -> Result<(), StoreError> {
        let read = self.file.read_exact_at(bytes, at);
        read.map_err(StoreError::file("read", &self.path))
    }

    /// Writes whole blocks.
    pub(super) fn write(&self, bytes: &[u8], at: u64) -> Result<(), StoreError> {
        let written = self.file.write_all_at(bytes, at);
        written.map_err(StoreError::file("write", &self.path))
    }

    /// Takes what is on the disk out of the cache: there it lies in large pieces after large writes, and a
    /// small write into one costs as much as the piece is large. All later writes are of whole
    /// blocks, for which nothing has to be read.
    pub(super) fn forget(&self) {
        if let Err(error) = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed) {
            tracing::debug!(%error, path = %self.path.display(), "a file of the log stays in the cache");
        }
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        let synced = self.file.sync_data();
        synced.map_err(StoreError::file("sync", &self.path))
    }
}

/// Files that hold nothing that is needed, and new ones.
#[derive(Debug)]
pub(super) struct Slots {
    dir: PathBuf,
    bytes: u64,
    free: VecDeque<Arc<Slot>>,
    next_name: u64,
    making: Option<JoinHandle<Result<Slot, StoreError>>>,
    /// Tells the thread that nobody needs its file any more.
    closing: Arc<AtomicBool>,
}

impl Slots {
    /// All files of a directory; those that are not needed must then be given back.
    pub(super) fn open(dir: &Path, bytes: u64) -> Result<(Self, Vec<Arc<Slot>>), StoreError> {
        let mut found = Vec::new();
        let mut next_name = 1;
        let failed = || StoreError::file("read", dir);
        for entry in fs::read_dir(dir).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(number) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let number: u64 = number.parse().map_err(|_other| {
                StoreError::damaged("log", format!("{name} is no name of a file"))
            })?;
            next_name = next_name.max(number.saturating_add(1));
            found.push((number, Arc::new(Slot::open(path.clone(), false)?)));
        }
        found.sort_by_key(|(number, _)| *number);
        let slots = Self {
            dir: dir.to_path_buf(),
            bytes,
            free: VecDeque::new(),
            next_name,
            making: None,
            closing: Arc::default(),
        };
        Ok((slots, found.into_iter().map(|(_, slot)| slot).collect()))
    }

    fn next_path(&mut self) -> PathBuf {
        let path = self.dir.join(format!("{PREFIX}{:06}", self.next_name));
        self.next_name += 1;
        path
    }

    /// Keeps a file for later, or removes one.
    pub(super) fn give_back(&mut self, slot: Arc<Slot>) {
        self.free.push_back(slot);
        let too_large = |slot: &Arc<Slot>, bytes| slot.bytes().is_ok_and(|is| is > bytes);
        let at = self
            .free
            .iter()
            .position(|slot| too_large(slot, self.bytes));
        let surplus = at.or((self.free.len() > FREE_MAX).then_some(0));
        if let Some(gone) = surplus.and_then(|at| self.free.remove(at)) {
            // One that stays, or comes back after a crash, is free at the next start.
            if let Err(error) = fs::remove_file(&gone.path) {
                tracing::warn!(%error, path = %gone.path.display(), "cannot remove a file of the log");
            }
        }
    }

    /// A file to be written over. Only if none is ready, and the thread that makes one has not
    /// made it yet, it is one without any bytes: its writes are slower.
    pub(super) fn take(&mut self) -> Result<Arc<Slot>, StoreError> {
        self.look()?;
        // One that a reader looks at must stay as it is.
        let unused = self
            .free
            .iter_mut()
            .position(|slot| Arc::get_mut(slot).is_some());
        let slot = match unused.and_then(|at| self.free.remove(at)) {
            Some(slot) => slot,
            None => Arc::new(self.make(0)?),
        };
        self.prepare();
        Ok(slot)
    }

    /// Whether the thread makes one, or has made one that was not taken in.
    pub(super) fn is_making(&self) -> bool {
        self.making.is_some()
    }

    /// Takes in what the thread has made. A full disk is no failure as long as no file is needed;
    /// another failure is one of the disk that the log is on.
    pub(super) fn look(&mut self) -> Result<(), StoreError> {
        let Some(making) = self.making.take_if(|making| making.is_finished()) else {
            return Ok(());
        };
        match making.join() {
            Ok(Ok(slot)) => self.free.push_back(Arc::new(slot)),
            Ok(Err(error)) if is_full(&error) => {
                tracing::warn!(%error, "no file for the log was made ahead: make room on the disk");
            }
            Ok(Err(error)) => return Err(error),
            Err(_panic) => {
                let why = "the thread log-files panicked".to_owned();
                return Err(StoreError::Refused(why));
            }
        }
        Ok(())
    }

    /// Begins to make a file if none is ready.
    pub(super) fn prepare(&mut self) {
        if !self.free.is_empty() || self.making.is_some() {
            return;
        }
        let (path, bytes) = (self.next_path(), self.bytes);
        let closing = Arc::clone(&self.closing);
        let thread = thread::Builder::new().name("log-files".to_owned());
        match thread.spawn(move || make(path, bytes, &closing)) {
            Ok(making) => self.making = Some(making),
            Err(error) => tracing::warn!(%error, "no thread makes a file for the log ahead"),
        }
    }

    /// Makes a file and waits for it.
    pub(super) fn make(&mut self, bytes: u64) -> Result<Slot, StoreError> {
        make(self.next_path(), bytes, &self.closing)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(making) = self.making.take() {
            // A file that is shorter than the others, or whose sync failed, holds nothing yet.
            drop(making.join());
        }
    }
}

fn is_full(error: &StoreError) -> bool {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    matches!(error, StoreError::File { source, .. } if full.contains(&source.kind()))
}

/// Makes a file whose bytes are on the disk, so that writing over them changes nothing else.
fn make(path: PathBuf, bytes: u64, closing: &AtomicBool) -> Result<Slot, StoreError> {
    let slot = Slot::open(path, true)?;
    let filled = fill(&slot, bytes, closing);
    if filled.as_ref().is_err_and(is_full) {
        // The room that it took is better used.
        fs::remove_file(&slot.path).map_err(StoreError::file("remove", &slot.path))?;
    }
    filled?;
    durable::sync_parent(&slot.path)?;
    Ok(slot)
}

/// Writes zeros, piece by piece, so that no sync of the log waits long behind them.
fn fill(slot: &Slot, bytes: u64, closing: &AtomicBool) -> Result<(), StoreError> {
    let zeros = vec![0; ZEROS_BYTES];
    let mut at = 0;
    while at < bytes && !closing.load(Ordering::Relaxed) {
        let length = usize::try_from(bytes - at).map_or(ZEROS_BYTES, |left| left.min(ZEROS_BYTES));
        slot.write(zeros.get(..length).unwrap_or_default(), at)?;
        slot.sync()?;
        at += length as u64;
    }
    slot.forget();
    Ok(())
}
