//! Names that come and go in a directory, through several mounts at once, and what is known of each.

use anyhow::{Context as _, Result, anyhow, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long changes may keep a reader waiting.
const PATIENCE: Duration = Duration::from_secs(60);
/// Names that each thread uses again and again; every other name is used once.
const REUSED: usize = 40;

/// When a name that is used once was there.
struct Life {
    /// It was there from here on at the latest.
    born: Instant,
    /// It was there until here at least.
    dying: Option<Instant>,
    /// It was gone from here on at the latest.
    dead: Option<Instant>,
}

#[derive(Default)]
struct State {
    changes: u64,
    lives: BTreeMap<String, Life>,
    reused: BTreeSet<String>,
    failed: Option<String>,
    stopped: bool,
}

/// What the threads and those who watch them share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }
}

/// What happens to the names of a directory.
#[derive(Clone, Default)]
pub(crate) struct Churn(Arc<Shared>);

/// A thread that changes names through one mount.
pub(crate) struct Churner {
    shared: Churn,
    dir: PathBuf,
    prefix: String,
    rng: StdRng,
    live: Vec<String>,
    reused: BTreeSet<String>,
    next: usize,
    aim: usize,
}

impl Churn {
    /// Changes so far.
    pub(crate) fn changes(&self) -> u64 {
        self.0.state().changes
    }

    /// Waits for some more changes.
    pub(crate) fn wait_for(&self, more: u64) -> Result<()> {
        let state = self.0.state();
        let aim = state.changes + more;
        let waits = |state: &mut State| state.changes < aim && state.failed.is_none();
        let waited = self.0.changed.wait_timeout_while(state, PATIENCE, waits);
        let (state, _) = waited.expect("nobody panicked");
        if let Some(why) = &state.failed {
            return Err(anyhow!("{why}"));
        }
        ensure!(state.changes >= aim, "names do not change any more");
        Ok(())
    }

    /// Whether this name of those that are used once is gone for sure.
    pub(crate) fn is_gone(&self, name: &str) -> bool {
        let state = self.0.state();
        state
            .lives
            .get(name)
            .is_some_and(|life| life.dead.is_some())
    }

    /// What a whole listing between two moments must have shown, and must not.
    pub(crate) fn check(&self, begin: Instant, end: Instant, seen: &HashSet<String>) -> Result<()> {
        for (name, life) in &self.0.state().lives {
            let is_seen = seen.contains(name);
            let was_there = life.born < begin && life.dying.is_none_or(|at| at > end);
            ensure!(is_seen || !was_there, "{name} was there all the while");
            let was_gone = life.dead.is_some_and(|at| at < begin);
            ensure!(!is_seen || !was_gone, "{name} was gone before it began");
        }
        Ok(())
    }

    /// The names that are there, once all threads have ended.
    pub(crate) fn left(&self) -> BTreeSet<String> {
        let state = self.0.state();
        let once = state.lives.iter().filter(|(_, life)| life.dying.is_none());
        let once = once.map(|(name, _)| name.clone());
        once.chain(state.reused.iter().cloned()).collect()
    }

    /// Asks all threads to end after what they are doing.
    pub(crate) fn stop(&self) {
        self.0.state().stopped = true;
    }

    /// Lets threads that begin from now on go on until the next stop.
    pub(crate) fn go_on(&self) {
        self.0.state().stopped = false;
    }
}

impl Churner {
    /// One that has these names, which are there, and keeps about as many.
    pub(crate) fn new(
        shared: &Churn,
        dir: &Path,
        prefix: &str,
        seed: u64,
        has: Vec<String>,
    ) -> Self {
        let mut state = shared.0.state();
        for name in &has {
            let life = Life {
                born: Instant::now(),
                dying: None,
                dead: None,
            };
            state.lives.insert(name.clone(), life);
        }
        drop(state);
        Self {
            shared: shared.clone(),
            dir: dir.to_owned(),
            prefix: prefix.to_owned(),
            rng: StdRng::seed_from_u64(seed),
            aim: has.len(),
            live: has,
            reused: BTreeSet::new(),
            next: 0,
        }
    }

    /// Through another mount.
    pub(crate) fn through(self, dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            ..self
        }
    }

    /// Changes names until it is told to stop, or something fails.
    pub(crate) fn begin(mut self) -> JoinHandle<Self> {
        std::thread::spawn(move || {
            while !self.shared.0.state().stopped {
                let acted = self.act();
                let mut state = self.shared.0.state();
                state.changes += 1;
                if let Err(error) = acted {
                    state.failed = Some(format!("{error:#}"));
                    state.stopped = true;
                }
                self.shared.0.changed.notify_all();
            }
            self
        })
    }

    fn act(&mut self) -> Result<()> {
        // About as many go as come, and more the more there are.
        let many = self.live.len() as f64 / (2 * self.aim).max(1) as f64;
        match self.rng.random_range(0..10) {
            0 => self.reuse(),
            1 | 2 => self.rename(),
            _ if self.rng.random_bool(many.min(1.0)) => self.remove(),
            _ => self.create(),
        }
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("{} {}", self.prefix, self.next)
    }

    fn born(&mut self, name: String) {
        let life = Life {
            born: Instant::now(),
            dying: None,
            dead: None,
        };
        self.shared.0.state().lives.insert(name.clone(), life);
        self.live.push(name);
    }

    /// Takes one of the live names, which is about to go.
    fn dying(&mut self) -> Option<String> {
        if self.live.is_empty() {
            return None;
        }
        let index = self.rng.random_range(0..self.live.len());
        let name = self.live.swap_remove(index);
        let mut state = self.shared.0.state();
        let life = state.lives.get_mut(&name).expect("it lives");
        life.dying = Some(Instant::now());
        Some(name)
    }

    fn died(&mut self, name: &str) {
        let mut state = self.shared.0.state();
        let life = state.lives.get_mut(name).expect("it lived");
        life.dead = Some(Instant::now());
    }

    fn create(&mut self) -> Result<()> {
        let name = self.fresh();
        if self.rng.random_bool(0.1) {
            fs::create_dir(self.dir.join(&name)).with_context(|| format!("mkdir {name}"))?;
        } else {
            File::create_new(self.dir.join(&name)).with_context(|| format!("create {name}"))?;
        }
        self.born(name);
        Ok(())
    }

    fn remove(&mut self) -> Result<()> {
        let Some(name) = self.dying() else {
            return Ok(());
        };
        let path = self.dir.join(&name);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => fs::remove_dir(&path),
            other => other,
        };
        removed.with_context(|| format!("remove {name}"))?;
        self.died(&name);
        Ok(())
    }

    fn rename(&mut self) -> Result<()> {
        let Some(old) = self.dying() else {
            return Ok(());
        };
        let new = self.fresh();
        fs::rename(self.dir.join(&old), self.dir.join(&new))
            .with_context(|| format!("rename {old} to {new}"))?;
        self.died(&old);
        self.born(new);
        Ok(())
    }

    /// Removes a name of those that are used again, or makes it anew.
    fn reuse(&mut self) -> Result<()> {
        let number = self.rng.random_range(0..REUSED);
        let name = format!("{} again {number}", self.prefix);
        let path = self.dir.join(&name);
        if self.reused.remove(&name) {
            fs::remove_file(path).with_context(|| format!("remove {name}"))?;
            self.shared.0.state().reused.remove(&name);
        } else {
            File::create_new(path).with_context(|| format!("create {name}"))?;
            self.reused.insert(name.clone());
            self.shared.0.state().reused.insert(name);
        }
        Ok(())
    }
}
