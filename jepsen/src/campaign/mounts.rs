//! Mounts of one volume whose blocks are in a bucket, and what hurts them.

use crate::binaries::binary;
use crate::cluster::Cluster;
use crate::mount::Mount;
use crate::proxy::Proxy;
use crate::s3_server::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    server: Mutex<Option<S3Server>>,
}

#[derive(Debug)]
struct Slot {
    url: String,
    point: PathBuf,
    log: PathBuf,
    /// Locked while something begins or ends there.
    held: Mutex<Held>,
}

/// What is where a mount belongs.
#[derive(Debug)]
enum Held {
    /// Nothing.
    Nothing,
    /// The mount.
    Mounted(Mount),
    /// Nothing, and nothing begins there any more.
    Over,
}

impl Held {
    fn take(&mut self) -> Result<Mount> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Mounted(mount) => Ok(mount),
            other => {
                *self = other;
                bail!("it is not mounted")
            }
        }
    }
}

impl Slot {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the mounts of a run when it is dropped, whoever else holds them then: a run may be given up
/// while clients work, and the mounts must end while there is a cluster that they can ask.
#[derive(Debug)]
pub(super) struct Ending(Option<Arc<Mounts>>);

impl Ending {
    pub(super) fn of(mounts: Option<Arc<Mounts>>) -> Self {
        Self(mounts)
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(mounts) = &self.0 {
            mounts.end();
        }
    }
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
            held: Mutex::new(Held::Nothing),
        });
        let mounts = Arc::new(Self {
            mounts: slots.collect(),
            bucket,
            server: Mutex::new(Some(server)),
        });
        // What begins goes on when this is given up.
        let mut ending = Ending::of(Some(Arc::clone(&mounts)));
        for number in 0..MOUNTS {
            mounts.begin(number).await?;
        }
        ending.0 = None;
        Ok(mounts)
    }

    /// Ends everything by force, and lets nothing begin any more.
    fn end(&self) {
        for slot in &self.mounts {
            // What was mounted is dropped by that.
            *slot.held() = Held::Over;
        }
        let server = self.server.lock();
        drop(server.unwrap_or_else(PoisonError::into_inner).take());
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
            let mut held = slot.held();
            ensure!(matches!(*held, Held::Nothing), "nothing may begin there");
            let mount = Mount::start_with(&slot.url, &slot.point, &slot.log, &[], &KEYS)?;
            *held = Held::Mounted(mount);
            Ok(())
        });
        beginning.await?
    }

    /// Ends a mount's process by SIGKILL, and takes away what is left of it. It must not have ended
    /// before.
    pub(super) async fn kill(self: &Arc<Self>, number: usize) -> Result<()> {
        let mounts = Arc::clone(self);
        let killing = tokio::task::spawn_blocking(move || {
            let mut held = mounts.mounts[number].held();
            let killed = held.take()?.kill();
            killed.with_context(|| format!("mount {number}"))
        });
        killing.await?
    }

    /// Unmounts as a person would, and mounts again: with nothing in any cache.
    pub(super) async fn anew(self: &Arc<Self>, number: usize) -> Result<()> {
        let mounts = Arc::clone(self);
        let ending = tokio::task::spawn_blocking(move || {
            let mut held = mounts.mounts[number].held();
            held.take()?.unmount()
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
