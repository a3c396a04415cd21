//! Commands about a volume take its META-URL or a directory on its mount.

use crate::caller::caller_on;
use crate::exit::Usage;
use crate::mount_table::MountEntry;
use crate::{mount_table, patience};
use anyhow::{Context, Result, anyhow, bail};
use meta_client::MetaUrl;
use meta_core::attr::Caller;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What every META-URL begins with.
const SCHEME: &str = "curlew://";
/// The virtual file at a mount's root that says how it was mounted.
const CONFIG: &str = ".config";
/// Its field with the META-URL.
const CONFIG_URL: &str = "meta_url";
/// Its field with the mount's process.
const CONFIG_PID: &str = "pid";
/// Its field with the volume's number of the directory that the mount shows as its root, which is number
/// 1 there. Mounts of earlier versions show the volume's root.
const CONFIG_ROOT: &str = "root_inode";
/// The number of every mount's root, and of every volume's.
const ROOT_INODE: u64 = 1;
/// Its field with what it was mounted with.
const CONFIG_OPTIONS: &str = "options";
/// Its field that says whether the volume is mounted read-only, among the options.
const CONFIG_READ_ONLY: &str = "read_only";
/// How long a mount may take to answer from its own memory.
const MOUNT_LIMIT: Duration = Duration::from_secs(5);

/// Whether it is meant to be a META-URL.
pub(crate) fn is_meta_url(text: &str) -> bool {
    text.starts_with(SCHEME)
}

/// The volume that the user means.
pub(crate) fn resolve(text: &str) -> Result<MetaUrl> {
    if is_meta_url(text) {
        return text
            .parse()
            .map_err(|error| Usage::error(format!("{error}")));
    }
    if !text.contains('/') && !Path::new(text).exists() {
        return Err(Usage::error(format!(
            "`{text}` is neither a META-URL ({SCHEME}HOST:PORT/VOLUME) nor a mounted directory"
        )));
    }
    Mounted::find(Path::new(text))?.url()
}

/// A Curlew mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mounted {
    pub(crate) point: PathBuf,
    device: u64,
}

impl Mounted {
    /// The mount that `path`, or what it links to, is on.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        Self::holding(&mount_table::normalise(path)?)
    }

    /// The mount exactly at `point`, which must be normalised.
    pub(crate) fn at(point: &Path) -> Result<Self> {
        let entry = mount_table::at(point)?.filter(MountEntry::is_curlew);
        let entry = entry.with_context(|| format!("{} is not mounted", point.display()))?;
        Ok(Self::of(entry))
    }

    fn holding(path: &Path) -> Result<Self> {
        match mount_table::containing(path)? {
            Some(entry) if entry.is_curlew() => Ok(Self::of(entry)),
            _ => bail!(
                "{} is not on a Curlew mount; mount the volume with `curlew mount META-URL \
                 MOUNTPOINT`, or give its META-URL",
                path.display()
            ),
        }
    }

    fn of(entry: MountEntry) -> Self {
        Self {
            point: entry.point,
            device: entry.device,
        }
    }

    /// Where its volume is.
    pub(crate) fn url(&self) -> Result<MetaUrl> {
        let config = self.config().map_err(|error| {
            anyhow!(
                "{error:#}; `curlew umount --force {}` frees a mount whose process has ended",
                self.point.display()
            )
        })?;
        url_in(&config).with_context(|| format!("{} does not say its volume", self.point.display()))
    }

    /// The process that serves it, by its configuration.
    pub(crate) fn server_pid(&self, config: &serde_json::Value) -> Result<u32> {
        pid_in(config).with_context(|| format!("{} does not say its process", self.point.display()))
    }

    /// How it was mounted, as it says itself.
    pub(crate) fn config(&self) -> Result<serde_json::Value> {
        let file = self.point.join(CONFIG);
        let read = patience::bounded(MOUNT_LIMIT, move || std::fs::read(file));
        let bytes = read
            .ok_or_else(|| self.hung())?
            .map_err(|error| self.dead(&error))?;
        serde_json::from_slice(&bytes)
            .with_context(|| format!("{}/{CONFIG} is not JSON", self.point.display()))
    }

    /// Whether nothing may be changed through it.
    pub(crate) fn is_read_only(&self) -> Result<bool> {
        let said = self.options()?;
        let said = said.get(CONFIG_READ_ONLY);
        Ok(said.and_then(serde_json::Value::as_bool).unwrap_or(false))
    }

    /// Whom it takes the user of this command for.
    pub(crate) fn caller(&self) -> Result<Caller> {
        caller_on(&self.options()?)
    }

    fn options(&self) -> Result<serde_json::Value> {
        let config = self.config()?;
        Ok(config.get(CONFIG_OPTIONS).cloned().unwrap_or_default())
    }

    /// The volume's number of the file at `path`, which must be normalised and on this mount.
    fn volume_inode(&self, path: &Path) -> Result<u64> {
        let inode = self.inode(path)?;
        Ok(volume_inode(&self.config()?, inode))
    }

    /// The mount's number of the file at `path`: elsewhere the same number is another file.
    fn inode(&self, path: &Path) -> Result<u64> {
        use std::os::unix::fs::MetadataExt;
        let at = path.to_owned();
        let read = patience::bounded(MOUNT_LIMIT, move || std::fs::symlink_metadata(at));
        let data = read.ok_or_else(|| self.hung())?;
        let data = data.with_context(|| format!("cannot look at {}", path.display()))?;
        if data.dev() != self.device {
            bail!(
                "{} is not on the mount at {}",
                path.display(),
                self.point.display()
            );
        }
        Ok(data.ino())
    }

    fn hung(&self) -> anyhow::Error {
        anyhow!(
            "the mount at {} has not answered for {} s; `curlew status META-URL` shows whether \
             its cluster does",
            self.point.display(),
            MOUNT_LIMIT.as_secs()
        )
    }

    fn dead(&self, error: &std::io::Error) -> anyhow::Error {
        let point = self.point.display();
        anyhow!("the mount at {point} does not answer ({error})")
    }
}

/// A file on a Curlew mount; a symlink is one itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MountedFile {
    pub(crate) mounted: Mounted,
    pub(crate) inode: u64,
}

impl MountedFile {
    /// The file that `path` names, by its number in the volume.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        // Both questions are asked about the same path: a link from outside is on no mount of
        // ours, wherever it leads, and one inside is, also if it leads out.
        let path = mount_table::normalise_unfollowed(path)?;
        let mounted = Mounted::holding(&path)?;
        let inode = mounted.volume_inode(&path)?;
        Ok(Self { mounted, inode })
    }
}

/// A name on a Curlew mount, whether something has it or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MountedName {
    pub(crate) mounted: Mounted,
    /// The directory that holds it.
    pub(crate) parent: u64,
    pub(crate) name: OsString,
    /// Where that is, absolute.
    pub(crate) path: PathBuf,
}

impl MountedName {
    /// The name that `path` ends with; what has it is not followed. The root of a mount has none.
    pub(crate) fn find(path: &Path) -> Result<Self> {
        let path = mount_table::normalise_unfollowed(path)?;
        let mounted = Mounted::holding(&path)?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(is_root(&path));
        };
        if path == mounted.point {
            return Err(is_root(&path));
        }
        Ok(Self {
            parent: mounted.volume_inode(parent)?,
            name: name.to_owned(),
            mounted,
            path,
        })
    }
}

fn is_root(path: &Path) -> anyhow::Error {
    Usage::error(format!(
        "{} is the root of a mount: give a path below it",
        path.display()
    ))
}

fn url_in(config: &serde_json::Value) -> Result<MetaUrl> {
    let url = config
        .get(CONFIG_URL)
        .and_then(serde_json::Value::as_str)
        .context("no META-URL")?;
    Ok(url.parse()?)
}

/// The volume's number of a file with this one on the mount: the two roots have changed places.
fn volume_inode(config: &serde_json::Value, inode: u64) -> u64 {
    let said = config.get(CONFIG_ROOT).and_then(serde_json::Value::as_u64);
    let root = said.unwrap_or(ROOT_INODE);
    match inode {
        ROOT_INODE => root,
        inode if inode == root => ROOT_INODE,
        other => other,
    }
}

fn pid_in(config: &serde_json::Value) -> Option<u32> {
    u32::try_from(config.get(CONFIG_PID)?.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code_of;
    use serde_json::json;
    use std::process::ExitCode;

    #[test]
    fn a_meta_url_is_taken_as_it_is() {
        let url = resolve("curlew://127.0.0.1:7101,127.0.0.1:7102/data").expect("a URL");
        assert_eq!(url.addrs, ["127.0.0.1:7101", "127.0.0.1:7102"]);
        assert_eq!(url.volume, "data");
    }

    #[test]
    fn a_broken_meta_url_is_wrong_usage() {
        for text in [
            "curlew://",
            "curlew://host/v",
            "curlew://h:1",
            "curlew://h:1/",
            "redis:",
        ] {
            let error = resolve(text).expect_err(text);
            assert_eq!(code_of(&error), ExitCode::from(2), "{text}");
        }
    }

    #[test]
    fn a_directory_that_is_not_mounted_is_refused() {
        let error = resolve("/proc/self").expect_err("not a mount of ours");
        assert!(
            error.to_string().contains("not on a Curlew mount"),
            "{error}"
        );
        assert_eq!(code_of(&error), ExitCode::from(1));
    }

    #[test]
    fn a_file_is_of_a_mount_only_if_it_is_on_its_device() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().metadata().expect("metadata");
        let on = |device| Mounted {
            point: dir.path().to_owned(),
            device,
        };
        let inode = on(data.dev()).inode(dir.path());
        assert_eq!(inode.expect("on it"), data.ino());
        let other = on(data.dev() + 1).inode(dir.path());
        let error = other.expect_err("elsewhere");
        assert!(error.to_string().contains("not on the mount"), "{error}");
    }

    #[test]
    fn a_link_is_where_it_lies_and_not_where_it_leads() {
        let dir = tempfile::tempdir().expect("a directory");
        let link = dir.path().join("link");
        // A stranger to the mount that it leads to, whose file has another number.
        std::os::unix::fs::symlink("/proc/self/status", &link).expect("a link");
        let error = MountedFile::find(&link).expect_err("not a mount of ours");
        let real = dir.path().canonicalize().expect("it exists");
        let named = real.join("link").display().to_string();
        assert!(error.to_string().contains(&named), "{error}");
    }

    #[test]
    fn the_root_of_a_mount_may_be_another_directory_of_the_volume() {
        let config = json!({"root_inode": 7});
        let of = |inode| volume_inode(&config, inode);
        assert_eq!((of(1), of(7), of(8)), (7, 1, 8));
        assert_eq!(volume_inode(&json!({}), 1), 1);
    }

    #[test]
    fn the_meta_url_is_read_from_the_mounts_configuration() {
        let config = json!({"meta_url": "curlew://h:1/v", "pid": 7, "more": []});
        assert_eq!(
            url_in(&config).expect("a URL").to_string(),
            "curlew://h:1/v"
        );
        assert_eq!(pid_in(&config), Some(7));
        for config in [json!({}), json!([]), json!({"meta_url": 7, "pid": -1})] {
            assert!(url_in(&config).is_err());
            assert_eq!(pid_in(&config), None);
        }
    }
}
