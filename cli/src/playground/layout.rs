//! Where things lie in a playground's directory. Whatever else is in there is left alone.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The paths of one playground.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Makes the directory if needed.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        Self::find(dir)
    }

    pub(super) fn find(dir: &Path) -> Result<Self> {
        let dir = dir
            .canonicalize()
            .with_context(|| format!("no playground in {}", dir.display()))?;
        dir.to_str().with_context(|| {
            format!(
                "{} is not UTF-8; choose a directory whose path is",
                dir.display()
            )
        })?;
        Ok(Self { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What scripts read; there while the playground runs.
    pub(super) fn state_file(&self) -> PathBuf {
        self.dir.join("playground.json")
    }

    pub(super) fn mount(&self) -> PathBuf {
        self.dir.join("origin")
    }

    pub(super) fn mirror_mount(&self) -> PathBuf {
        self.dir.join("mirror")
    }

    /// The mounts that there may be.
    pub(super) fn mounts(&self) -> [MountLayout; 2] {
        [
            MountLayout {
                point: self.mount(),
                record: self.inside().join("mount.process.json"),
                log: self.inside().join("mount.log"),
            },
            MountLayout {
                point: self.mirror_mount(),
                record: self.inside().join("mirror-mount.process.json"),
                log: self.inside().join("mirror-mount.log"),
            },
        ]
    }

    pub(super) fn object_store(&self) -> PathBuf {
        self.dir.join("objects")
    }

    /// What is the playground's own business.
    pub(super) fn inside(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(super) fn lock_file(&self) -> PathBuf {
        self.inside().join("lock")
    }

    pub(super) fn plan_file(&self) -> PathBuf {
        self.inside().join("plan.json")
    }

    pub(super) fn node(&self, id: u64) -> NodeLayout {
        NodeLayout {
            dir: self.inside().join(format!("node-{id}")),
        }
    }
}

/// The paths of one mount.
#[derive(Clone, Debug)]
pub(super) struct MountLayout {
    pub(super) point: PathBuf,
    pub(super) record: PathBuf,
    pub(super) log: PathBuf,
}

/// The paths of one metadata node.
#[derive(Clone, Debug)]
pub(super) struct NodeLayout {
    dir: PathBuf,
}

impl NodeLayout {
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("node.toml")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    pub(super) fn record(&self) -> PathBuf {
        self.dir.join("process.json")
    }
}
