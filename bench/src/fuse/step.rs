//! Calls that programs make.

use super::null::name;
use anyhow::{Context, Result, anyhow, ensure};
use meta_client::bench::Sample;
use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Kinds of calls, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Make a file and close it.
    Create,
    /// Look its attributes up, which the mount has never heard of.
    Cold,
    /// Look its attributes up again.
    Stat,
    /// Open it for reading and close it.
    Open,
    /// List the directory and look up the attributes of each file; counted by files.
    List,
    /// Remove it.
    Unlink,
}

impl Step {
    pub(super) const ALL: [Self; 6] = [
        Self::Create,
        Self::Cold,
        Self::Stat,
        Self::Open,
        Self::List,
        Self::Unlink,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Cold => "cold stat",
            Self::Stat => "stat",
            Self::Open => "open",
            Self::List => "readdir",
            Self::Unlink => "unlink",
        }
    }

    /// Its name where nothing is done.
    pub(super) fn null(self) -> &'static str {
        match self {
            Self::Create => "null create",
            Self::Cold => "null stat and echo",
            Self::Stat => "null stat",
            Self::Open => "null open",
            Self::List => "null readdir",
            Self::Unlink => "null unlink",
        }
    }

    /// Calls it for each file, by so many threads.
    pub(super) fn run(self, dir: &Path, threads: usize, count: usize) -> Result<Sample> {
        if self == Self::List {
            return list(dir, count);
        }
        let next = AtomicUsize::new(0);
        let begin = Instant::now();
        let each = thread::scope(|scope| {
            let calls: Vec<_> = (0..threads)
                .map(|_| scope.spawn(|| self.calls(dir, &next, count)))
                .collect();
            let mut each = Vec::with_capacity(count);
            for call in calls {
                let ended = call.join().map_err(|_| anyhow!("a thread panicked"))?;
                each.extend(ended?);
            }
            Ok::<_, anyhow::Error>(each)
        })?;
        let took = begin.elapsed();
        Ok(Sample { took, each })
    }

    fn calls(
        self,
        dir: &Path,
        next: &AtomicUsize,
        count: usize,
    ) -> Result<Vec<std::time::Duration>> {
        let mut each = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(each);
            }
            let path = dir.join(name(number));
            let start = Instant::now();
            self.call(&path)
                .with_context(|| format!("{} {}", self.name(), path.display()))?;
            each.push(start.elapsed());
        }
    }

    fn call(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self::Create => File::create_new(path).map(drop),
            Self::Cold | Self::Stat | Self::List => fs::symlink_metadata(path).map(drop),
            Self::Open => File::open(path).map(drop),
            Self::Unlink => fs::remove_file(path),
        }
    }
}

fn list(dir: &Path, count: usize) -> Result<Sample> {
    let begin = Instant::now();
    let mut found = 0;
    for entry in fs::read_dir(dir)? {
        entry?.metadata()?;
        found += 1;
    }
    ensure!(found == count, "{found} of {count} files are listed");
    let took = begin.elapsed();
    let of_one = took / u32::try_from(count)?.max(1);
    Ok(Sample {
        took,
        each: vec![of_one; count],
    })
}
