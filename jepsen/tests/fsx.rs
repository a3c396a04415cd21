//! fsx on a file that two real mounts have, one of which is mounted anew on the way.

use anyhow::{Context, Result, ensure};
use jepsen::alone::beside_others;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fsx::Fsx;
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::scratch::notice;
use jepsen::seed::seed;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SEEDS: usize = 5;
const OPERATIONS: u64 = 20_000;
/// Operations between two looks at the file through both mounts.
const LOOK_EVERY: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(30);

/// Two mounts of one volume.
struct Two {
    url: String,
    dir: PathBuf,
    mounts: [Option<Mount>; 2],
}

impl Two {
    fn new(cluster: &Cluster) -> Result<Self> {
        let mut two = Self {
            url: cluster.url("vol"),
            dir: cluster.dir().to_owned(),
            mounts: [None, None],
        };
        for side in 0..2 {
            two.mount(side)?;
        }
        Ok(two)
    }

    fn point(&self, side: usize) -> PathBuf {
        self.dir.join(["left", "right"][side])
    }

    fn mount(&mut self, side: usize) -> Result<()> {
        let log = self.dir.join(format!("mount{side}.log"));
        let mounted = Mount::start(&self.url, &self.point(side), &log, &[])?;
        self.mounts[side] = Some(mounted);
        Ok(())
    }

    /// Ends a mount in which nothing is open but what is mapped, and mounts again: nothing that was
    /// cached is left.
    fn mount_anew(&mut self, side: usize) -> Result<()> {
        let mount = self.mounts[side].take().context("it is not mounted")?;
        mount.end_in_use()?;
        self.mount(side)
    }

    /// Stores what either mount has of a file, and reads it through both.
    fn look(&self, name: &str) -> Result<Vec<u8>> {
        let paths = [0, 1].map(|side| self.point(side).join(name));
        for path in &paths {
            File::open(path)
                .and_then(|file| file.sync_all())
                .context("cannot sync")?;
        }
        let [left, right] = paths.map(|path| fs::read(path).context("cannot read"));
        let (left, right) = (left?, right?);
        ensure!(
            left == right,
            "the mounts differ: {}",
            first_difference(&left, &right)
        );
        Ok(left)
    }
}

fn first_difference(one: &[u8], other: &[u8]) -> String {
    let at = one.iter().zip(other).position(|(one, other)| one != other);
    format!("{} and {} bytes, first at {at:?}", one.len(), other.len())
}

/// Lets the name `link` lead to `target` from one moment on.
fn point_at(link: &Path, target: &Path) -> Result<()> {
    let new = link.with_extension("new");
    symlink(target, &new).context("cannot make a symlink")?;
    fs::rename(&new, link).context("cannot replace a symlink")
}

/// What was done under one seed.
#[derive(Default, Debug)]
struct Done {
    looks: u32,
    crossings: u32,
    bytes: usize,
}

/// One run. Its file has a name by way of a symlink, so that each time it is opened anew it may be through
/// the other mount.
fn exercise(two: &mut Two, seed: u64, name: &str) -> Result<Done> {
    let link = two.dir.join(format!("to-{name}"));
    point_at(&link, &two.point(0))?;
    let log = two.dir.join(format!("{name}.log"));
    let mut fsx = Fsx::start(seed, OPERATIONS, &link.join(name), &log)?;
    let mut done = Done::default();
    let (mut used, mut anew) = (0, false);
    let mut next = LOOK_EVERY;
    while fsx.reach(next)? && fsx.pause()? {
        let looked = two.look(name);
        looked.with_context(|| format!("after step {}", fsx.step()))?;
        done.looks += 1;
        let now = usize::from(!fsx.is_open_below(&two.point(0))?);
        done.crossings += u32::from(now != used);
        used = now;
        if !anew && fsx.step() >= OPERATIONS / 2 {
            point_at(&link, &two.point(used))?;
            two.mount_anew(1 - used)?;
            anew = true;
        } else {
            point_at(&link, &two.point(1 - used))?;
        }
        next = fsx.step() + LOOK_EVERY;
    }
    fsx.finish()?;
    ensure!(anew, "it ended before a mount was mounted anew");
    let last = two.look(name).context("after the end")?;
    let expected = expected(&two.dir, seed, name)?;
    ensure!(
        last == expected,
        "not what it must be: {}",
        first_difference(&last, &expected)
    );
    done.bytes = last.len();
    Ok(done)
}

/// What the file holds after the same on a local file system.
fn expected(dir: &Path, seed: u64, name: &str) -> Result<Vec<u8>> {
    let file = dir.join(format!("local-{name}"));
    let fsx = Fsx::start(seed, OPERATIONS, &file, &file.with_extension("log"))?;
    fsx.finish().context("on a local file system")?;
    fs::read(&file).context("cannot read the local file")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_in_two_mounts_holds_what_fsx_wrote() {
    if skip_unless_fuse("a_file_in_two_mounts_holds_what_fsx_wrote") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let mut rng = StdRng::seed_from_u64(seed("fsx").expect("a seed"));
    let options = ClusterOptions::new("fsx", 1);
    let mut cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    let mut two = Two::new(&cluster).expect("two mounts");
    for run in 0..SEEDS {
        let (seed, begin) = (rng.random(), Instant::now());
        let done = exercise(&mut two, seed, &format!("file{run}"));
        let done = done.unwrap_or_else(|error| panic!("fsx -S {seed}: {error:#}"));
        let took = begin.elapsed().as_secs_f64();
        notice(&format!("fsx -S {seed}: {took:.1} s, {done:?}"));
        assert!(done.looks > 10 && done.crossings > 5, "{done:?}");
    }
    for mount in two.mounts.into_iter().flatten() {
        mount.unmount().expect("unmounted");
    }
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
