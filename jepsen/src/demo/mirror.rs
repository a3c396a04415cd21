//! The demo's other side: how late the mirror is while the tree is copied, a cut of its stream, and
//! whether the two sides agree.

use super::table::Proof;
use crate::binaries::binary;
use crate::playground::{Playground, Side, kill_node};
use anyhow::{Context, Result, ensure};
use meta_client::{Cluster, MetaUrl};
use meta_core::outcome::Token;
use serde::Deserialize;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

use meta_client::meta_core;

/// Between two samples of the lag.
const SAMPLE_PAUSE: Duration = Duration::from_millis(50);
/// How long a side may take to answer a sample: its leader may be dead just now.
const SAMPLE_LIMIT: Duration = Duration::from_secs(30);
/// Files written through the mirror's mount.
const FILES_BACK: usize = 200;

/// Samples of how long the mirror takes to have what the origin has.
pub(super) struct LagProbe {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<Duration>>>,
}

impl LagProbe {
    /// Begins to take samples.
    pub(super) async fn begin(origin: &Side, mirror: &Side) -> Result<Self> {
        let origin_url: MetaUrl = origin.meta_url.parse().context("the origin's URL")?;
        let mirror_url: MetaUrl = mirror.meta_url.parse().context("the mirror's URL")?;
        let origin = Cluster::connect(&origin_url.addrs, SAMPLE_LIMIT).await?;
        let mirror = Cluster::connect(&mirror_url.addrs, SAMPLE_LIMIT).await?;
        let at_origin = origin.find_volume(&origin_url.volume).await?.id;
        let at_mirror = mirror.find_volume(&mirror_url.volume).await?.id;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let now = origin.reach(at_origin, Token::default()).await?.token;
                let begin = Instant::now();
                mirror.reach(at_mirror, now).await?;
                samples.push(begin.elapsed());
                tokio::time::sleep(SAMPLE_PAUSE).await;
            }
            Ok(samples)
        });
        Ok(Self { stop, task })
    }

    /// Ends, and tells the lag.
    pub(super) async fn finish(self, proof: &mut Proof) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let mut samples = self.task.await.context("the samples of the lag")??;
        samples.sort_unstable();
        let at = |share: usize| {
            let index = (samples.len() * share / 100).min(samples.len().saturating_sub(1));
            samples.get(index).copied().unwrap_or_default()
        };
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let seen = format!(
            "p50 {:.1} ms, p99 {:.1} ms, longest {:.2} s with its stream cut, of {} samples",
            ms(at(50)),
            ms(at(99)),
            at(100).as_secs_f64(),
            samples.len()
        );
        proof.claim("lag of the mirror", !samples.is_empty(), seen);
        Ok(())
    }
}

/// Kills the mirror's node in the middle of the stream, and starts it again.
pub(super) fn cut_stream(playground: &Playground, mirror: &Side) -> Result<u64> {
    let node = mirror.nodes.first().context("the mirror has a node")?;
    kill_node(node)?;
    playground.must(&["--restart", &node.id.to_string()])?;
    Ok(node.id)
}

/// Writes at the mirror's mount, and reads the same at the origin's.
pub(super) fn write_back(
    proof: &mut Proof,
    origin: &Side,
    mirror: &Side,
    name: &str,
) -> Result<()> {
    let there = mirror.mount.join(name);
    fs::create_dir(&there).context("cannot make a directory through the mirror's mount")?;
    let text = |index: usize| format!("written at the mirror, {index}\n").repeat(index % 50 + 1);
    for index in 0..FILES_BACK {
        fs::write(there.join(format!("file-{index}")), text(index))
            .context("cannot write through the mirror's mount")?;
    }
    let here = origin.mount.join(name);
    let same = (0..FILES_BACK)
        .filter(|index| {
            let read = fs::read_to_string(here.join(format!("file-{index}")));
            read.is_ok_and(|read| read == text(*index))
        })
        .count();
    proof.claim(
        "files written at the mirror and read at the origin",
        same == FILES_BACK,
        format!("{same} of {FILES_BACK}"),
    );
    Ok(())
}

#[derive(Deserialize)]
struct Verified {
    mirrors: Vec<VerifiedMirror>,
}

#[derive(Deserialize)]
struct VerifiedMirror {
    agrees: bool,
    seq: u64,
    rows: u64,
    digest: String,
}

/// Has `curlew mirror verify` compare every row of both sides.
pub(super) fn claim_agreement(proof: &mut Proof, origin: &Side) -> Result<()> {
    let output = Command::new(binary("curlew")?)
        .args(["mirror", "verify", &origin.meta_url, "--json"])
        .output()
        .context("cannot run curlew mirror verify")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.stdout.is_empty(), "curlew mirror verify: {said}");
    let verified: Verified = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("curlew mirror verify: {said}"))?;
    let mirror = verified.mirrors.first().context("one mirror")?;
    proof.claim(
        "the mirror agrees with its origin",
        mirror.agrees && output.status.success(),
        format!(
            "{} rows at seq {}: {}",
            mirror.rows, mirror.seq, mirror.digest
        ),
    );
    Ok(())
}
