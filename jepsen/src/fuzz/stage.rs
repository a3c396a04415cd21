//! A cluster, its mounts and the other file system; plans on them.

use super::FuzzOptions;
use super::minimise::minimise;
use super::op::Phase;
use super::plan::{Aim, plan};
use super::run::{Ends, Executor};
use crate::cluster::{Cluster, ClusterOptions};
use crate::fuse::fuse_missing;
use crate::loop_image::{LoopImage, loop_missing};
use crate::mount::Mount;
use crate::scratch::notice;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Members of a cluster of which one is the nearest.
const MEMBERS: u64 = 3;

/// Why nothing can be executed here, if it cannot.
pub fn missing() -> Option<String> {
    fuse_missing().or_else(loop_missing)
}

/// What plans are executed on.
struct Stage {
    // Unmounted in this order.
    mounts: Vec<Mount>,
    image: LoopImage,
    cluster: Cluster,
}

impl Stage {
    async fn start(name: &str, pair: bool, nearest: bool) -> Result<Self> {
        let nodes = if nearest { MEMBERS } else { 1 };
        let cluster = Cluster::start(ClusterOptions::new(name, nodes)).await?;
        cluster.format("vol").await?;
        // Below the newest level some operations are refused.
        cluster.raised("vol", PATIENCE).await?;
        let dir = cluster.dir().to_owned();
        // Other users work here too.
        fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
        let options = "noatime,nosuid,nodev";
        let image = LoopImage::ext4(&dir, &dir.join("ext4"), "ea_inode", options)?;
        let mut mounts = vec![mount(&cluster, "left", &[])?];
        if pair {
            let extra: &[&str] = if nearest {
                &["--read-from", "nearest"]
            } else {
                &[]
            };
            mounts.push(mount(&cluster, "right", extra)?);
        }
        Ok(Self {
            mounts,
            image,
            cluster,
        })
    }

    fn bases(&self) -> Vec<PathBuf> {
        let mounts = self.mounts.iter().map(Mount::path);
        let all = [self.image.path()].into_iter().chain(mounts);
        all.map(Path::to_owned).collect()
    }

    async fn end(mut self) -> Result<()> {
        for mount in self.mounts.drain(..) {
            mount.unmount()?;
        }
        drop(self.image);
        self.cluster.check_stores(PATIENCE).await?;
        Ok(())
    }
}

fn mount(cluster: &Cluster, name: &str, extra: &[&str]) -> Result<Mount> {
    let (point, log) = (
        cluster.dir().join(name),
        cluster.dir().join(format!("{name}.log")),
    );
    Mount::start(&cluster.url("vol"), &point, &log, extra)
}

/// The first plan, one step a line.
pub fn shown(options: FuzzOptions) -> String {
    let plan = plan(options.seed, options.operations, aim(options));
    let lines = plan.iter().enumerate();
    let lines: Vec<String> = lines
        .map(|(number, phase)| format!("{number} {phase:?}"))
        .collect();
    lines.join("\n")
}

fn aim(options: FuzzOptions) -> Aim {
    if options.pair { Aim::Pair } else { Aim::Beside }
}

/// Executes plans, and says what was done.
///
/// # Errors
/// When they cannot be executed; when sides differ: then the seed and the smallest plan that shows it
/// are in the error, and printed as [`again`] takes it.
pub async fn run(options: FuzzOptions) -> Result<String> {
    let aim = aim(options);
    notice(&format!("fuzz: {options:?}"));
    let stage = Stage::start("fuzz", options.pair, options.nearest).await?;
    let bases = stage.bases();
    let work = move || {
        let mut executor = Executor::new(bases, aim, options.nearest)?;
        let begun = Instant::now();
        for number in 0..options.plans {
            let seed = options.seed.wrapping_add(number);
            let plan = plan(seed, options.operations, aim);
            let ended = executor.execute(&plan);
            let found = ended.with_context(|| format!("in the plan of seed {seed}"))?;
            if let Some(found) = found {
                let upto = plan[..=found.phase.min(plan.len() - 1)].to_vec();
                bail!(
                    "seed {seed}: {found}\n{}",
                    least(&mut executor, plan, upto)?
                );
            }
            if number % 100 == 99 {
                notice(&format!("fuzz: {} plans", number + 1));
            }
        }
        Ok((summary(&executor, options, begun.elapsed()), executor.ends))
    };
    let done = tokio::task::spawn_blocking(work).await?;
    let (text, ends) = told(done, stage).await?;
    covered(&ends, options)?;
    Ok(text)
}

/// Executes plans that were printed by failed runs.
///
/// # Errors
/// As [`run`], with the plan's number.
pub async fn again(plans: &[String], pair: bool) -> Result<()> {
    let read = |plan: &String| serde_json::from_str(plan).context("this is no plan");
    let plans: Vec<Vec<Phase>> = plans.iter().map(read).collect::<Result<_>>()?;
    let aim = if pair { Aim::Pair } else { Aim::Beside };
    let stage = Stage::start("fuzz-again", pair, false).await?;
    let bases = stage.bases();
    let work = move || {
        let mut executor = Executor::new(bases, aim, false)?;
        for (number, plan) in plans.iter().enumerate() {
            if let Some(found) = executor.execute(plan)? {
                bail!("plan {number}: {found}");
            }
        }
        Ok(())
    };
    let done = tokio::task::spawn_blocking(work).await?;
    told(done, stage).await
}

async fn told<T>(done: Result<T>, mut stage: Stage) -> Result<T> {
    match done {
        Ok(done) => {
            stage.end().await?;
            Ok(done)
        }
        Err(error) => {
            stage.cluster.keep();
            Err(error)
        }
    }
}

/// The smallest plan that was found to show a difference, one step a line and as JSON.
fn least(executor: &mut Executor, whole: Vec<Phase>, upto: Vec<Phase>) -> Result<String> {
    // Whether it is seen each time; what a plan leaves behind at its end is seen only there.
    let short = executor.execute(&upto)?.is_some();
    if !short && executor.execute(&whole)?.is_none() {
        let plan = serde_json::to_string(&upto)?;
        return Ok(format!(
            "it was not seen again when the same plan was executed once more\n{plan}"
        ));
    }
    let plan = minimise(if short { upto } else { whole }, |plan| {
        Ok(executor.execute(plan)?.is_some())
    })?;
    let mut text = String::new();
    for phase in &plan {
        writeln!(text, "  {phase:?}")?;
    }
    if let Some(found) = executor.execute(&plan)? {
        writeln!(text, "{found}")?;
    }
    write!(text, "{}", serde_json::to_string(&plan)?)?;
    Ok(text)
}

fn summary(executor: &Executor, options: FuzzOptions, took: Duration) -> String {
    let FuzzOptions {
        seed,
        plans,
        operations,
        ..
    } = options;
    let mut text = format!(
        "fuzz: {plans} plans of {operations} operations from seed {seed} in {:.1} s, no difference",
        took.as_secs_f64()
    );
    if options.pair {
        text += &format!("; {} reads of what was open", executor.held_reads);
    }
    if options.nearest {
        let stale = executor.stale_reads;
        text += &format!(", {stale} at the nearest member told an earlier state");
    }
    text
}

/// Whether the plans did what they were meant to.
fn covered(ends: &Ends, options: FuzzOptions) -> Result<()> {
    let kinds: BTreeSet<&String> = ends
        .keys()
        .filter(|end| end.1 == "ok")
        .map(|end| &end.0)
        .collect();
    let errors: BTreeSet<&String> = ends.keys().map(|end| &end.1).collect();
    let (kinds, errors) = (kinds.len(), errors.len());
    notice(&format!(
        "fuzz: {kinds} kinds of operations worked; {errors} ways to end; {ends:?}"
    ));
    let operations = options.plans * options.operations as u64;
    let (wanted, ways) = if options.pair { (25, 10) } else { (28, 14) };
    ensure!(
        operations < 2_000 || (kinds >= wanted && errors >= ways),
        "{kinds} kinds of operations worked, and {errors} ways to end were seen"
    );
    Ok(())
}
