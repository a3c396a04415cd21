//! Copies a tree with several threads and remembers what was copied.

use super::pulse::Pulse;
use super::tree::Tree;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;

/// A file's content, as sha256.
pub(super) type Hash = [u8; 32];

/// A copy under way.
#[derive(Debug)]
pub(super) struct Copying {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<(usize, Hash)>>>,
}

#[derive(Debug)]
struct Shared {
    tree: Arc<Tree>,
    target: PathBuf,
    pulse: Arc<Pulse>,
    next: AtomicUsize,
    files: AtomicUsize,
    bytes: AtomicU64,
}

/// What a copy did.
#[derive(Debug)]
pub(super) struct Copied {
    /// For each file of the tree its sha256, if its copy was acknowledged.
    pub(super) hashes: Vec<Option<Hash>>,
}

impl Copying {
    /// Makes the directories, then starts the threads.
    pub(super) fn begin(tree: Arc<Tree>, target: &Path, pulse: Arc<Pulse>, threads: usize) -> Self {
        for dir in &tree.dirs {
            let path = target.join(dir);
            pulse.count(
                || format!("mkdir {}", path.display()),
                fs::create_dir(&path),
            );
        }
        let shared = Arc::new(Shared {
            tree,
            target: target.to_owned(),
            pulse,
            next: AtomicUsize::new(0),
            files: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
        });
        let threads = (0..threads)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || shared.work())
            })
            .collect();
        Self { shared, threads }
    }

    /// Files and bytes copied so far.
    pub(super) fn progress(&self) -> (usize, u64) {
        (
            self.shared.files.load(Ordering::Relaxed),
            self.shared.bytes.load(Ordering::Relaxed),
        )
    }

    /// Whether all threads are done.
    pub(super) fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the end.
    pub(super) fn finish(self) -> Copied {
        let mut hashes = vec![None; self.shared.tree.files.len()];
        for thread in self.threads {
            // A thread that panicked leaves its files without a hash: they count as not copied.
            for (index, hash) in thread.join().unwrap_or_default() {
                hashes[index] = Some(hash);
            }
        }
        Copied { hashes }
    }
}

impl Shared {
    fn work(&self) -> Vec<(usize, Hash)> {
        let mut copied = Vec::new();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.tree.files.get(index) else {
                return copied;
            };
            let to = self.target.join(&file.target);
            let name = || file.path.display().to_string();
            let Some(content) = self.pulse.count(name, fs::read(&file.path)) else {
                continue;
            };
            if self.write(&to, &content).is_some() {
                self.files.fetch_add(1, Ordering::Relaxed);
                self.bytes
                    .fetch_add(content.len() as u64, Ordering::Relaxed);
                copied.push((index, Sha256::digest(&content).into()));
            }
        }
    }

    /// Each step is one operation. The sync shows errors that a plain close would hide from us.
    fn write(&self, to: &Path, content: &[u8]) -> Option<()> {
        let name = |step: &str| format!("{step} {}", to.display());
        let mut file = self.pulse.count(|| name("create"), File::create_new(to))?;
        self.pulse
            .count(|| name("write"), file.write_all(content))?;
        self.pulse.count(|| name("sync"), file.sync_all())
    }
}
