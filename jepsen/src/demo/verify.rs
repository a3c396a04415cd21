//! Reads a copied tree back and compares every file with what was put in.

use super::copy::Hash;
use super::tree::Tree;
use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Differences that are kept for the report.
const PROBLEMS_KEPT: usize = 10;

/// A verification under way.
#[derive(Debug)]
pub(super) struct Verifying {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    tree: Arc<Tree>,
    hashes: Arc<Vec<Option<Hash>>>,
    copy: PathBuf,
    next: AtomicUsize,
    looked_at: AtomicUsize,
    equal: AtomicUsize,
    problems: Mutex<Vec<String>>,
}

/// What a verification found.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    /// Files whose content is what was put in.
    pub(super) equal: usize,
    /// Files found in the copy, by walking it.
    pub(super) found: usize,
    /// The first differences.
    pub(super) problems: Vec<String>,
}

impl Verifying {
    /// Starts the threads.
    pub(super) fn begin(
        tree: Arc<Tree>,
        hashes: Arc<Vec<Option<Hash>>>,
        copy: &Path,
        threads: usize,
    ) -> Self {
        let shared = Arc::new(Shared {
            tree,
            hashes,
            copy: copy.to_owned(),
            next: AtomicUsize::new(0),
            looked_at: AtomicUsize::new(0),
            equal: AtomicUsize::new(0),
            problems: Mutex::new(Vec::new()),
        });
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.work())
            })
            .collect();
        Self { shared, threads }
    }

    /// Files looked at so far.
    pub(super) fn progress(&self) -> usize {
        self.shared.looked_at.load(Ordering::Relaxed)
    }

    /// Whether all threads are done.
    pub(super) fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the end, then walks the copy: it must hold nothing else either.
    ///
    /// # Errors
    /// When the copy cannot be walked.
    pub(super) fn finish(self) -> Result<Verified> {
        for thread in self.threads {
            if thread.join().is_err() {
                self.shared
                    .problem("a verifying thread panicked".to_owned());
            }
        }
        let found = count_files(&self.shared.copy)?;
        let problems = self
            .shared
            .problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        Ok(Verified {
            equal: self.shared.equal.load(Ordering::Relaxed),
            found,
            problems,
        })
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.tree.files.get(index) else {
                return;
            };
            let path = self.copy.join(&file.target);
            match (hash_of(&path), self.hashes.get(index).copied().flatten()) {
                (Ok(read), Some(written)) if read == written => {
                    self.equal.fetch_add(1, Ordering::Relaxed);
                }
                (Ok(_), Some(_)) => self.problem(format!("{}: other content", path.display())),
                (Ok(_), None) => self.problem(format!("{}: never acknowledged", path.display())),
                (Err(error), _) => self.problem(format!("{}: {error}", path.display())),
            }
            self.looked_at.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn problem(&self, text: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.len() < PROBLEMS_KEPT {
            problems.push(text);
        }
    }
}

/// The sha256 of a file's content.
///
/// # Errors
/// When it cannot be read.
pub fn hash_of(path: &Path) -> std::io::Result<Hash> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finalize().into());
        }
        hasher.update(&buffer[..count]);
    }
}

fn count_files(dir: &Path) -> Result<usize> {
    let mut count = 0;
    let read = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    for entry in read {
        let entry = entry.with_context(|| format!("cannot read {}", dir.display()))?;
        let kind = entry.file_type().context("cannot tell a file's type")?;
        count += if kind.is_dir() {
            count_files(&entry.path())?
        } else {
            1
        };
    }
    Ok(count)
}
