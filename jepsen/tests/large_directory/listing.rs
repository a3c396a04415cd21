//! A directory of a million names, listed.

use crate::{PATIENCE, directory, fill, mount, one_node, session};
use anyhow::{Context as _, Result, ensure};
use jepsen::alone::alone;
use jepsen::fuse::skip_unless_fuse;
use jepsen::process::{forget_peak, resident};
use jepsen::scratch::notice;
use rustix::fs::{Mode, OFlags, RawDir, open};
use std::path::Path;
use std::time::Instant;

const MIB: u64 = 1 << 20;
/// Names of the directory that is listed in little memory.
const NAMES: usize = 1_000_000;
/// By how much a mount may grow while it lists them: less than what their names alone take.
const MOUNT_GROWTH: u64 = 16 * MIB;
/// By how much who lists them may: a bit for each, and one buffer.
const CALLER_GROWTH: u64 = 4 * MIB;
/// Bytes that one getdents64 may answer with.
const BUFFER: usize = 64 << 10;

/// Which of the numbers below a count were seen.
struct Seen {
    bits: Vec<u64>,
    count: usize,
}

impl Seen {
    fn none_of(count: usize) -> Self {
        Self {
            bits: vec![0; count.div_ceil(64)],
            count: 0,
        }
    }

    fn see(&mut self, number: usize) -> Result<()> {
        let (word, bit) = (number / 64, 1 << (number % 64));
        let word = self.bits.get_mut(word).context("a name that nobody made")?;
        ensure!(*word & bit == 0, "seen twice");
        *word |= bit;
        self.count += 1;
        Ok(())
    }
}

fn listed_name(number: usize) -> String {
    format!("{number:07} of a million")
}

/// Lists a directory as readdir does, keeping nothing but a bit for each name. Gives how often it had to ask.
fn list_in_little_memory(dir: &Path, count: usize) -> Result<usize> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let fd = open(dir, flags, Mode::empty()).context("cannot open")?;
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut listing = RawDir::new(fd, buffer.spare_capacity_mut());
    let (mut seen, mut dots) = (Seen::none_of(count), 0);
    let mut asked = 0;
    loop {
        asked += usize::from(listing.is_buffer_empty());
        let Some(entry) = listing.next() else { break };
        let entry = entry.context("cannot list")?;
        let name = entry.file_name().to_str().context("not text")?;
        if name == "." || name == ".." {
            dots += 1;
            continue;
        }
        let number = name.get(..7).and_then(|digits| digits.parse().ok());
        let number: usize = number.with_context(|| format!("{name:?}"))?;
        ensure!(listed_name(number) == name, "{name:?} was not made");
        seen.see(number).with_context(|| format!("{name:?}"))?;
    }
    ensure!(dots == 2, "{dots} of the names that every directory has");
    ensure!(seen.count == count, "{} of {count} names", seen.count);
    Ok(asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_names_are_listed_once_each_in_little_memory() {
    let name = "a_million_names_are_listed_once_each_in_little_memory";
    if skip_unless_fuse(name) {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut cluster = one_node("million").await;
    let session = session(&cluster).await;
    let dir = directory(&session, "dir").await;
    let begun = Instant::now();
    let filled = fill(&session, dir, (0..NAMES).map(listed_name)).await;
    filled.expect("filled");
    session.close().await;
    let rate = NAMES as f64 / begun.elapsed().as_secs_f64();
    notice(&format!("{name}: {rate:.0} files were made a second"));

    let mut mount = mount(&cluster, "mnt");
    let at = mount.path().join("dir");
    let pids = [mount.process().pid(), std::process::id()];
    let before = pids.map(|pid| {
        forget_peak(pid).expect("forgotten");
        resident(pid).expect("it runs").now
    });
    // The second time some of it may be in somebody's memory.
    for pass in 1..=2 {
        let begun = Instant::now();
        let asked = list_in_little_memory(&at, NAMES).expect("every name once");
        let took = begun.elapsed().as_secs_f64();
        let grown: Vec<u64> = (pids.iter().zip(before))
            .map(|(pid, before)| resident(*pid).expect("it runs").peak.saturating_sub(before))
            .collect();
        notice(&format!(
            "{name}: pass {pass}: {took:.1} s, {asked} times asked; the mount had {} KiB and grew by {} KiB, \
             who listed by {} KiB",
            before[0] / 1024,
            grown[0] / 1024,
            grown[1] / 1024
        ));
        assert!(grown[0] < MOUNT_GROWTH, "the mount grew by {}", grown[0]);
        assert!(grown[1] < CALLER_GROWTH, "who lists by {}", grown[1]);
    }
    mount.unmount().expect("unmounted");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
