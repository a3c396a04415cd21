//! The demo's steps, one after the other.

use super::copy::{Copied, Copying, Hash};
use super::failover::{Failover, kill_leader};
use super::mirror::{self, LagProbe};
use super::pulse::Pulse;
use super::table::Proof;
use super::tree::{Tree, TreeBounds};
use super::verify::{Verified, Verifying};
use crate::cluster::agree;
use crate::mount::{Mount, is_mounted, umount};
use crate::playground::{Description, Playground, Side, status};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The tree: enough to mean something, and little enough for a few minutes on two cores.
const BOUNDS: TreeBounds = TreeBounds {
    files_min: 5_000,
    bytes_min: 100_000_000,
    bytes_max: 150_000_000,
};
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);
/// Between two looks at the threads.
const LOOK: Duration = Duration::from_millis(10);
/// The longest time without a leader that the demo accepts.
const LEADER_GAP_MAX: Duration = Duration::from_secs(3);
/// How long the nodes may take to agree in the end.
const AGREE: Duration = Duration::from_secs(60);

/// What `jepsen demo` was asked to do.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The playground's directory.
    pub dir: PathBuf,
    /// Where files to copy are found.
    pub trees: Vec<PathBuf>,
    /// Threads that copy and verify.
    pub threads: usize,
}

/// Runs the demo, printing progress.
///
/// # Errors
/// When a step cannot be done at all. What was done but not proved is in the proof.
pub async fn run(options: &DemoOptions) -> Result<Proof> {
    if let Some(why) = crate::fuse::fuse_missing() {
        bail!("the demo mounts a file system, which is not possible here: {why}");
    }
    fs::create_dir_all(&options.dir)
        .with_context(|| format!("cannot make {}", options.dir.display()))?;
    let dir = fs::canonicalize(&options.dir).context("cannot resolve the demo's directory")?;
    let tree = Arc::new(Tree::collect(&options.trees, BOUNDS)?);
    let megabytes = tree.bytes() / 1_000_000;
    say(&format!(
        "a tree of {} files, {megabytes} MB",
        tree.files.len()
    ));

    let playground = Playground::new(&dir);
    let described = start_playground(&playground, &dir)?;
    let side = &described.origin;
    let other = described.mirror.as_ref();
    let other = other.context("the playground has no mirror")?;
    let copy_name = fresh_directory(&side.mount)?;

    let mut proof = Proof::default();
    let probe = LagProbe::begin(side, other).await?;
    let both = Sides {
        playground: &playground,
        origin: side,
        mirror: other,
    };
    let (copied, failover) =
        copy_through_a_death(&tree, &both, &copy_name, options.threads, &mut proof).await?;
    probe.finish(&mut proof).await?;
    say(&format!("restarting node {}", failover.killed));
    playground.must(&["--restart", &failover.killed.to_string()])?;

    let hashes = Arc::new(copied.hashes);
    let second = Second {
        url: &side.meta_url,
        dir: &dir,
        copy_name: &copy_name,
    };
    let verified = verify_at(
        &other.mount,
        &copy_name,
        &tree,
        &hashes,
        options.threads,
        "mirror",
    );
    let what = "files verified through the mirror's mount";
    claim_verified(&mut proof, what, &tree, &verified.await?);
    let back = format!("{copy_name}-back");
    mirror::write_back(&mut proof, side, other, &back)?;
    for (what, name) in [
        ("files verified through a second mount", "second mount"),
        ("files verified again after a remount", "remounted"),
    ] {
        let verified = second.verify(&tree, &hashes, options.threads, name).await?;
        claim_verified(&mut proof, what, &tree, &verified);
    }
    claim_digests(&mut proof, &playground).await?;
    mirror::claim_agreement(&mut proof, side)?;
    finish(&proof, &dir, side);
    Ok(proof)
}

fn say(text: &str) {
    println!("demo: {text}");
}

/// An earlier playground is stopped first, so that each run begins in the same way. Its data stays.
fn start_playground(playground: &Playground, dir: &Path) -> Result<Description> {
    unmount_leftover(&dir.join("second"))?;
    if playground.is_described() {
        say("an earlier playground is still there: stopping it (its data stays)");
        playground.must(&["--stop"]).context(
            "the earlier playground cannot be stopped: try `make demo-stop`, or remove its \
             directory",
        )?;
    }
    say("starting a playground with 3 metadata nodes, and a mirror");
    playground
        .must(&["--nodes", "3", "--mirror", "--detach"])
        .context("cannot start a playground: `make demo-stop` ends an earlier one")?;
    let described = playground.description()?;
    if described.origin.nodes.len() != 3 {
        bail!(
            "the playground in {} has {} nodes, the demo needs 3: run `make demo-stop` and remove \
             the directory",
            dir.display(),
            described.origin.nodes.len()
        );
    }
    Ok(described)
}

fn unmount_leftover(point: &Path) -> Result<()> {
    if point.exists() && is_mounted(point)? {
        say(&format!("unmounting {} of an earlier run", point.display()));
        let output = umount(point)?;
        // A mount whose process is gone cannot say that it stored everything, which is an error,
        // and no reason to stop here: what counts is that it is away.
        if is_mounted(point)? {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("cannot unmount {}: {said}", point.display());
        }
    }
    Ok(())
}

/// Each run copies into a directory of its own, so that no earlier file can prove anything.
fn fresh_directory(mount: &Path) -> Result<String> {
    for number in 1..10_000 {
        let name = format!("tree-{number}");
        match fs::create_dir(mount.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {name} in the mount"));
            }
        }
    }
    bail!("too many earlier copies in {}", mount.display())
}

/// What runs.
struct Sides<'a> {
    playground: &'a Playground,
    origin: &'a Side,
    mirror: &'a Side,
}

async fn copy_through_a_death(
    tree: &Arc<Tree>,
    sides: &Sides<'_>,
    copy_name: &str,
    threads: usize,
    proof: &mut Proof,
) -> Result<(Copied, Failover)> {
    let side = sides.origin;
    let total = tree.files.len();
    let target = side.mount.join(copy_name);
    say(&format!(
        "copying into {} with {threads} threads",
        target.display()
    ));
    let begin = Instant::now();
    let pulse = Arc::new(Pulse::begin());
    let copying = {
        let (tree, pulse) = (Arc::clone(tree), Arc::clone(&pulse));
        tokio::task::spawn_blocking(move || Copying::begin(tree, &target, pulse, threads)).await?
    };
    let line = |copying: &Copying| {
        let (files, bytes) = copying.progress();
        let rate = files as f64 / begin.elapsed().as_secs_f64();
        format!(
            "copied {files} of {total} files, {} MB, {rate:.0} files/s",
            bytes / 1_000_000
        )
    };
    progress_until(
        || line(&copying),
        || copying.progress().0 >= total / 2 || copying.is_finished(),
    )
    .await;
    if copying.is_finished() {
        bail!(
            "the copy ended before the leader could be killed: {:?}",
            pulse.errors()
        );
    }
    let before = copying.progress().0;
    let failover = kill_leader(side).await?;
    say(&format!(
        "killed node {} (the leader) with -9; node {} leads after {:.2} s",
        failover.killed,
        failover.leader,
        failover.without_leader.as_secs_f64()
    ));
    let cut = mirror::cut_stream(sides.playground, sides.mirror)?;
    say(&format!(
        "cut the mirror's stream: killed its node {cut} with -9 and started it again"
    ));
    progress_until(|| line(&copying), || copying.is_finished()).await;
    let (files, bytes) = copying.progress();
    let copied = copying.finish();
    claim_copy(proof, &pulse, (files, total), bytes, begin.elapsed());
    let after = files.saturating_sub(before);
    proof.claim("files copied after the kill", after > 0, after.to_string());
    let gap = failover.without_leader;
    let within = gap < LEADER_GAP_MAX;
    proof.claim(
        "time without a leader",
        within,
        format!("{:.2} s", gap.as_secs_f64()),
    );
    Ok((copied, failover))
}

fn claim_copy(
    proof: &mut Proof,
    pulse: &Pulse,
    (files, total): (usize, usize),
    bytes: u64,
    took: Duration,
) {
    let seconds = took.as_secs_f64();
    let megabytes = bytes as f64 / 1e6;
    proof.claim(
        "files copied",
        files == total,
        format!("{files} of {total}, {:.0} files/s", files as f64 / seconds),
    );
    let rate = megabytes / seconds;
    proof.claim(
        "data copied",
        bytes >= BOUNDS.bytes_min,
        format!("{megabytes:.0} MB in {seconds:.0} s, {rate:.1} MB/s"),
    );
    let failed = pulse.failed();
    let mut seen = format!("{failed} of {}", pulse.done() + failed);
    for error in pulse.errors() {
        seen += &format!("; {error}");
    }
    proof.claim("failed file operations", failed == 0, seen);
    let longest = pulse.longest_gap().as_secs_f64();
    proof.claim(
        "longest time without progress",
        longest < 60.0,
        format!("{longest:.2} s"),
    );
}

/// The second mount of the same volume.
struct Second<'a> {
    url: &'a str,
    dir: &'a Path,
    copy_name: &'a str,
}

impl Second<'_> {
    async fn verify(
        &self,
        tree: &Arc<Tree>,
        hashes: &Arc<Vec<Option<Hash>>>,
        threads: usize,
        name: &str,
    ) -> Result<Verified> {
        let point = self.dir.join("second");
        say(&format!(
            "mounting {} ({name}) and reading every file",
            point.display()
        ));
        let log = self.dir.join("second.log");
        let mount = Mount::start(self.url, &point, &log, &[])?;
        let verified = verify_at(mount.path(), self.copy_name, tree, hashes, threads, name).await?;
        mount.unmount()?;
        fs::remove_dir(&point).context("cannot remove the second mount point")?;
        Ok(verified)
    }
}

/// Reads every file of the copy below a mount.
async fn verify_at(
    mount: &Path,
    copy_name: &str,
    tree: &Arc<Tree>,
    hashes: &Arc<Vec<Option<Hash>>>,
    threads: usize,
    name: &str,
) -> Result<Verified> {
    let copy = mount.join(copy_name);
    let verifying = Verifying::begin(Arc::clone(tree), Arc::clone(hashes), &copy, threads);
    let total = tree.files.len();
    progress_until(
        || {
            format!(
                "verified {} of {total} files ({name})",
                verifying.progress()
            )
        },
        || verifying.is_finished(),
    )
    .await;
    verifying.finish()
}

fn claim_verified(proof: &mut Proof, what: &'static str, tree: &Tree, verified: &Verified) {
    let total = tree.files.len();
    let mut seen = format!("{} of {total} by sha256", verified.equal);
    if verified.found != total {
        seen += &format!("; the copy holds {} files", verified.found);
    }
    for problem in &verified.problems {
        seen += &format!("; {problem}");
    }
    proof.claim(
        what,
        verified.equal == total && verified.found == total,
        seen,
    );
}

/// The nodes' own digests, and `curlew status`, must all tell the same.
async fn claim_digests(proof: &mut Proof, playground: &Playground) -> Result<()> {
    const WHAT: &str = "digests of all nodes";
    let side = playground.description()?.origin;
    let agreement = match agree(&side.addrs(), AGREE).await {
        Ok(agreement) => agreement,
        Err(error) => {
            proof.claim(WHAT, false, format!("{error:#}"));
            return Ok(());
        }
    };
    let status = status(&side.meta_url)?;
    let Some(volume) = agreement.volume(&status.volume) else {
        bail!("no node reports the volume {:?}", status.volume);
    };
    let told = (
        status.epoch,
        status.seq,
        status.digest.as_deref().unwrap_or("none"),
    );
    let same = told == (volume.epoch, volume.seq, volume.digest.as_str());
    let mut seen = format!(
        "equal on {} at seq {}: {}",
        agreement.nodes, volume.seq, volume.digest
    );
    if !same {
        seen += &format!("; but curlew status says {told:?}");
    }
    proof.claim(
        WHAT,
        same && agreement.nodes == 3 && status.nodes.len() == 3,
        seen,
    );
    Ok(())
}

fn finish(proof: &Proof, dir: &Path, side: &Side) {
    println!("\n{proof}");
    if proof.holds() {
        println!("Proved. The playground goes on running:");
    } else {
        println!("NOT proved. The playground goes on running, for a look at it:");
    }
    println!("  the volume   {} (try `ls` in it)", side.mount.display());
    println!("  its state    curlew status {}", side.meta_url);
    println!("  its mirror   curlew mirror status {}", side.meta_url);
    println!("  logs, data   {}", dir.display());
    println!("  to stop it   make demo-stop");
}

async fn progress_until(line: impl Fn() -> String, done: impl Fn() -> bool) {
    let mut last = Instant::now();
    while !done() {
        tokio::time::sleep(LOOK).await;
        if last.elapsed() >= PROGRESS {
            say(&line());
            last = Instant::now();
        }
    }
    say(&line());
}
