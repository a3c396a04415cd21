//! Mounts of one volume whose blocks are in a bucket, and what hurts them.

use crate::binaries::binary;
use crate::cluster::Cluster;
use crate::mount::Mount;
use crate::proxy::Proxy;
use crate::s3_server::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

const KEYS: [(&str, &str); 2] = [("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", SECRET_KEY)];
/// Mounts of the volume.
const MOUNTS: usize = 2;

/// The mounts. Those that work on them are processes of their own: a process that had files open
/// there could not start another one while they cannot be flushed.
#[derive(Debug)]
pub(super) struct Mounts {
    // Before what they need.
    mounts: Vec<Slot>,
    /// On the way from the mounts to the bucket.
    bucket: Proxy,
    _server: S3Server,
}

#[derive(Debug)]
struct Slot {
    url: String,
    point: PathBuf,
    log: PathBuf,
    mount: Mutex<Option<Mount>>,
}

impl Mounts {
    /// Makes a bucket, formats the volume over it, and mounts it.
    pub(super) async fn start(cluster: &Cluster) -> Result<Arc<Self>> {
        let root = cluster.dir().join("s3");
        fs::create_dir(&root).context("cannot make the bucket's directory")?;
        let server = S3Server::start(&root, &cluster.dir().join("s3.log"))?;
        let bucket = Proxy::start(server.addr()).await?;
        let url = cluster.url("vol");
        let at = format!("http://{}/{BUCKET}", bucket.addr());
        let formatting = tokio::task::spawn_blocking(move || format(&url, &at));
        formatting.await??;
        let slots = (0..MOUNTS).map(|number| Slot {
            url: cluster.url("vol"),
            point: cluster.dir().join(format!("mount{number}")),
            log: cluster.dir().join(format!("mount{number}.log")),
            mount: Mutex::new(None),
        });
        let mounts = Arc::new(Self {
            mounts: slots.collect(),
            bucket,
            _server: server,
        });
        for number in 0..MOUNTS {
            mounts.begin(number).await?;
        }
        Ok(mounts)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.mounts.len()
    }

    /// Where one is.
    pub(super) fn point(&self, number: usize) -> &Path {
        &self.mounts[number % self.mounts.len()].point
    }

    /// The way to the bucket.
    pub(super) fn bucket(&self) -> &Proxy {
        &self.bucket
    }

    /// Mounts, where nothing is mounted.
    pub(super) async fn begin(self: &Arc<Self>, number: usize) -> Result<()> {
        let mounts = Arc::clone(self);
        let beginning = tokio::task::spawn_blocking(move || {
            let slot = &mounts.mounts[number];
            let mount = Mount::start_with(&slot.url, &slot.point, &slot.log, &[], &KEYS)?;
            *slot.mount.lock().unwrap_or_else(PoisonError::into_inner) = Some(mount);
            Ok(())
        });
        beginning.await?
    }

    /// Ends a mount's process by SIGKILL, and takes away what is left of it.
    pub(super) async fn kill(self: &Arc<Self>, number: usize) -> Result<()> {
        let mounts = Arc::clone(self);
        let killing = tokio::task::spawn_blocking(move || {
            let slot = &mounts.mounts[number];
            let mount = slot.mount.lock().unwrap_or_else(PoisonError::into_inner);
            let mount = { mount }.take();
            mount.context("it is not mounted")?.process().kill()
        });
        killing.await?
    }

    /// Unmounts as a person would, and mounts again: with nothing in any cache.
    pub(super) async fn anew(self: &Arc<Self>, number: usize) -> Result<()> {
        let mounts = Arc::clone(self);
        let ending = tokio::task::spawn_blocking(move || {
            let slot = &mounts.mounts[number];
            let mut mount = slot.mount.lock().unwrap_or_else(PoisonError::into_inner);
            mount.take().context("it is not mounted")?.unmount()
        });
        ending.await??;
        self.begin(number).await
    }
}

fn format(url: &str, bucket: &str) -> Result<()> {
    let mut command = Command::new(binary("curlew")?);
    for name in ["ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN"] {
        command.env_remove(name).env_remove(format!("AWS_{name}"));
    }
    command
        .envs(KEYS)
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    command.args(["format", url, "--storage", "s3", "--bucket", bucket]);
    let said = command.output().context("cannot run curlew")?;
    let errors = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.success(), "curlew format: {errors}");
    Ok(())
}
