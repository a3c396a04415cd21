//! What a workload is. Each is one file, and one line in [`Workload::work`].

use super::append::AppendRecords;
use super::changelog::ChangelogReaders;
use super::directory_set::DirectorySet;
use super::exclusive_create::ExclusiveCreate;
use super::files::Files;
use super::hard_links::HardLinks;
use super::inode_register::InodeRegister;
use super::mirror_session::MirrorSession;
use super::nemesis::Nemesis;
use super::rename::Rename;
use super::scene::{Extras, Setting};
use super::tree::Moves;
use crate::checker::Verdict;
use crate::checker::second::{both, opinion};
use crate::checker::wgl::{self, Budget};
use crate::fuse::fuse_missing;
use crate::history::{Codec, Entry, Recorder, pair};
use crate::model::{Model, OperationOf};
use anyhow::Result;
use async_trait::async_trait;
use meta_client::MetaSession;
use rand::rngs::StdRng;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How long a history may be: two checkers take memory for each entry, and one that takes all of it
/// ends without a verdict.
const MAX_ENTRIES: usize = 1_000_000;

/// What clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Workload {
    /// Unique names in one directory.
    DirectorySet,
    /// Modification times of a few inodes.
    InodeRegister,
    /// Names that only one can create, as locks.
    ExclusiveCreate,
    /// Files that move between directories, each for itself.
    Rename,
    /// Files that move among directories, and dumps that show all of them at one moment.
    Tree,
    /// Records at the end of files.
    Append,
    /// Names of a few files.
    HardLinks,
    /// Readers of the changelog.
    Changelog,
    /// Sessions that read at a mirror.
    MirrorSession,
    /// Files through mounts.
    Files,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::DirectorySet,
        Self::InodeRegister,
        Self::ExclusiveCreate,
        Self::Rename,
        Self::Tree,
        Self::Append,
        Self::HardLinks,
        Self::Changelog,
        Self::MirrorSession,
        Self::Files,
    ];

    /// Whether `nemesis` finds something to hurt.
    pub fn fits(self, nemesis: Nemesis) -> bool {
        nemesis.fits(self.work().setting())
    }

    /// Why it cannot be had on this machine, if it cannot.
    pub fn missing(self) -> Option<String> {
        match self.work().setting() {
            Setting::Cluster | Setting::Mirror => None,
            Setting::Mounts => fuse_missing(),
        }
    }

    pub(super) fn work(self) -> Arc<dyn Work> {
        match self {
            Self::DirectorySet => Arc::new(DirectorySet::default()),
            Self::InodeRegister => Arc::new(InodeRegister::default()),
            Self::ExclusiveCreate => Arc::new(ExclusiveCreate::default()),
            Self::Rename => Arc::new(Rename::default()),
            Self::Tree => Arc::new(Moves::default()),
            Self::Append => Arc::new(AppendRecords::default()),
            Self::HardLinks => Arc::new(HardLinks::default()),
            Self::Changelog => Arc::new(ChangelogReaders::default()),
            Self::MirrorSession => Arc::new(MirrorSession::default()),
            Self::Files => Arc::new(Files::default()),
        }
    }
}

/// What a client needs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) url: String,
    /// The volume at the mirror, if there is one.
    pub(super) mirror_url: Option<String>,
    pub(super) extras: Extras,
    pub(super) recorder: Recorder,
    pub(super) end: Instant,
}

/// A workload.
#[async_trait]
pub(super) trait Work: Send + Sync {
    /// What it needs.
    fn setting(&self) -> Setting {
        Setting::Cluster
    }

    /// Makes what clients work on, before any fault.
    async fn prepare(&self, session: &MetaSession, recorder: &Recorder) -> Result<()>;

    /// One client until the place's end. Gives back answers that are wrong by themselves.
    async fn client(&self, index: usize, place: Place, rng: StdRng) -> Result<Vec<String>>;

    /// Reads everything once more, when all is healed. Says whether all was answered.
    async fn final_read(&self, place: Place) -> Result<bool>;

    /// What the history tells.
    fn check(&self, entries: &[Entry]) -> Verdict;

    /// What the check did not decide, so that its verdict does not stand for it: to be asked after
    /// it, and told with it.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What was found that is wrong by itself, whatever else the history tells.
#[derive(Default)]
pub(super) struct Wrong(Mutex<Vec<String>>);

impl Wrong {
    pub(super) fn add(&self, problems: impl IntoIterator<Item = String>) {
        self.lock().extend(problems);
    }

    pub(super) fn verdict(&self) -> Verdict {
        Verdict::of(self.lock().clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks a history of objects with one model, each with its own key, by our search and by another
/// checker. Where the two differ, or one of them comes to no end, nothing is known.
pub(super) fn linearizable<M>(model: &M, entries: &[Entry]) -> Verdict
where
    M: Model + Debug + Send + Sync + 'static,
    M::Input: Codec<Output = M::Output>,
{
    if entries.len() > MAX_ENTRIES {
        let count = entries.len();
        let problem =
            format!("a history of {count} entries is not checked, only up to {MAX_ENTRIES}");
        return Verdict::Unknown(problem);
    }
    let operations: Vec<OperationOf<M>> = match pair(entries) {
        Ok(operations) => operations,
        Err(error) => return Verdict::Unknown(format!("the history is damaged: {error}")),
    };
    let ours = wgl::check(model, &operations, Budget::default());
    let theirs = opinion(model, &operations);
    println!(
        "checkers: ours {}, porcupine {theirs:?}",
        word(&ours.verdict())
    );
    both(&ours, theirs)
}

/// A verdict in one word.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Violation(_) => "violation",
        Verdict::Unknown(_) => "unknown",
    }
}
