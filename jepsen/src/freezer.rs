//! Processes that are frozen in a control group: unlike SIGSTOP, which a process is told of when it
//! goes on, and its parent at once, this is seen by nobody. It is what container managers and the
//! suspension of machines do.
//!
//! Kernel documentation: `cgroup-v1/freezer-subsystem.rst`, and `cgroup.freeze` in `cgroup-v2.rst`.

use crate::scratch::notice;
use crate::wait;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Where control groups are found.
const ROOT: &str = "/sys/fs/cgroup";
/// How long the kernel may take to freeze a process.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a process may take to end that was killed while it was frozen.
const END_LIMIT: Duration = Duration::from_secs(1);
/// What the names of our groups begin with; the process that made one follows, and a number.
const PREFIX: &str = "jepsen-";

/// Which interface the kernel offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A hierarchy of its own.
    First,
    /// The one hierarchy of all controllers.
    Second,
}

/// A frozen process, which goes on when this is dropped.
#[derive(Debug)]
pub struct Frozen {
    kind: Kind,
    group: PathBuf,
    /// Where the process was before.
    before: PathBuf,
    pid: u32,
}

/// Says why no process can be frozen here, if none can. What killed harnesses left frozen goes on.
pub fn freezer_missing() -> Option<String> {
    tried().err().map(|error| format!("{error:#}"))
}

/// Freezes a process of our own, and lets it go on.
fn tried() -> Result<()> {
    let (kind, root) = hierarchy()?;
    for group in abandoned(&root)? {
        clear(kind, &group);
    }
    let mut child = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("cannot start a process to be frozen")?;
    let frozen = Frozen::freeze(child.id()).map(drop);
    let _has_ended = child.kill();
    child.wait()?;
    frozen
}

impl Frozen {
    /// Freezes a process.
    ///
    /// # Errors
    /// When the kernel has no freezer, or this is not allowed to use it.
    pub fn freeze(pid: u32) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let (kind, root) = hierarchy()?;
        let before = root.join(own_group(kind, pid)?);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let group = root.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
        let made = Self {
            kind,
            group,
            before,
            pid,
        };
        enter(&made.group, pid)?;
        made.set(true)?;
        wait::until_blocking("the process to freeze", PATIENCE, || {
            Ok(if made.is_frozen()? {
                Ok(())
            } else {
                Err(String::new())
            })
        })?;
        Ok(made)
    }

    fn set(&self, frozen: bool) -> Result<()> {
        set(self.kind, &self.group, frozen)
    }

    fn is_frozen(&self) -> Result<bool> {
        let (file, line) = match self.kind {
            Kind::First => ("freezer.state", "FROZEN"),
            Kind::Second => ("cgroup.events", "frozen 1"),
        };
        let path = self.group.join(file);
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(text.lines().any(|found| found == line))
    }

    /// Lets the process go on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(self) -> Result<()> {
        self.set(false)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A process that has ended meanwhile needs none of this, and its group is empty then.
        let _thawed = self.set(false);
        let _back = enter(&self.before, self.pid);
        if let Err(error) = fs::remove_dir(&self.group) {
            notice(&format!("{} stays: {error}", self.group.display()));
        }
    }
}

/// The groups below `root` whose maker is no more. Nobody else would ever let their processes go on.
fn abandoned(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).with_context(|| format!("cannot list {}", root.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let gone = maker(&name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if gone {
            found.push(path.clone());
        }
    }
    Ok(found)
}

/// The process that made a group, if it is one of ours.
fn maker(name: &str) -> Option<u32> {
    let (pid, number) = name.strip_prefix(PREFIX)?.split_once('-')?;
    number.parse::<u64>().ok()?;
    pid.parse().ok()
}

/// Lets the processes of an abandoned group go on, and takes the group away when none is in it. One
/// that was killed while it was frozen ends by that; another one is not ours to end.
fn clear(kind: Kind, group: &Path) {
    // Another harness may be at it too: then the group is gone.
    let _thawed = set(kind, group, false);
    let removed = wait::until_blocking("an abandoned group to be empty", END_LIMIT, || {
        Ok(match fs::remove_dir(group) {
            Err(error) if group.exists() => Err(error.to_string()),
            _gone => Ok(()),
        })
    });
    if let Err(error) = removed {
        notice(&format!("{} stays: {error:#}", group.display()));
    }
}

fn set(kind: Kind, group: &Path, frozen: bool) -> Result<()> {
    let (file, word) = match (kind, frozen) {
        (Kind::First, true) => ("freezer.state", "FROZEN"),
        (Kind::First, false) => ("freezer.state", "THAWED"),
        (Kind::Second, true) => ("cgroup.freeze", "1"),
        (Kind::Second, false) => ("cgroup.freeze", "0"),
    };
    let path = group.join(file);
    fs::write(&path, word).with_context(|| format!("cannot write {}", path.display()))
}

fn enter(group: &Path, pid: u32) -> Result<()> {
    let path = group.join("cgroup.procs");
    fs::write(&path, pid.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

fn hierarchy() -> Result<(Kind, PathBuf)> {
    let root = Path::new(ROOT);
    let first = root.join("freezer");
    if first.join("cgroup.procs").exists() {
        return Ok((Kind::First, first));
    }
    if root.join("cgroup.controllers").exists() {
        return Ok((Kind::Second, root.to_owned()));
    }
    bail!("there is no freezer below {ROOT}")
}

/// The group of a process, relative to the hierarchy.
fn own_group(kind: Kind, pid: u32) -> Result<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"));
    let text = text.with_context(|| format!("process {pid} has no group"))?;
    let found = text.lines().find_map(|line| find(kind, line));
    Ok(PathBuf::from(found.context(
        "a process is in no group of the hierarchy that freezes",
    )?))
}

/// The path in a line `number:controllers:/path` if it is of the hierarchy.
fn find(kind: Kind, line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let fits = match kind {
        Kind::First => controllers.split(',').any(|name| name == "freezer"),
        Kind::Second => number == "0" && controllers.is_empty(),
    };
    fits.then(|| path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn groups_are_found() {
        assert_eq!(find(Kind::First, "7:cpu,freezer:/a/b"), Some("a/b"));
        assert_eq!(find(Kind::First, "0::/a/b"), None);
        assert_eq!(find(Kind::Second, "0::/"), Some(""));
        assert_eq!(find(Kind::Second, "7:freezer:/a/b"), None);
    }

    #[test]
    fn a_frozen_process_does_nothing_until_it_is_thawed() {
        if let Some(why) = freezer_missing() {
            crate::fuse::skip("a_frozen_process_does_nothing_until_it_is_thawed", &why);
            return;
        }
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat");
        let pid = child.id();
        let frozen = Frozen::freeze(pid).expect("frozen");
        let stat = || fs::read_to_string(format!("/proc/{pid}/io")).expect("counters");
        let before = stat();
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"a\n").expect("the pipe takes it");
        assert_eq!(stat(), before);
        frozen.thaw().expect("thawed");
        let mut said = [0; 2];
        let mut output = child.stdout.take().expect("a pipe");
        output.read_exact(&mut said).expect("an answer");
        assert_eq!(&said, b"a\n");
        drop(input);
        assert!(child.wait().expect("ended").success());
    }

    /// No process can have it: Linux gives none above 4,194,304.
    const NOBODY: &str = "jepsen-4194305-0";

    #[test]
    fn groups_of_those_who_are_gone_are_abandoned() {
        let dir = tempfile::tempdir().expect("a directory");
        let own = format!("{PREFIX}{}-3", std::process::id());
        let others = ["jepsen-4194305", "jepsen-x-0", "other-4194305-0"];
        for name in others.into_iter().chain([NOBODY, own.as_str()]) {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        let found = abandoned(dir.path()).expect("listed");
        assert_eq!(found, [dir.path().join(NOBODY)]);
    }

    #[test]
    fn what_the_dead_left_frozen_goes_on() {
        if let Some(why) = freezer_missing() {
            crate::fuse::skip("what_the_dead_left_frozen_goes_on", &why);
            return;
        }
        let (kind, root) = hierarchy().expect("a freezer");
        // Other tests look at the root meanwhile.
        let inner = root.join(format!("jepsen-test-{}", std::process::id()));
        let group = inner.join(NOBODY);
        fs::create_dir_all(&group).expect("made");
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("cat");
        let left = Frozen {
            kind,
            group: group.clone(),
            before: root,
            pid: child.id(),
        };
        enter(&group, left.pid).expect("entered");
        left.set(true).expect("told to freeze");
        wait::until_blocking("the process to freeze", PATIENCE, || {
            let frozen = left.is_frozen()?;
            Ok(frozen.then_some(()).ok_or_else(String::new))
        })
        .expect("frozen");
        // As if its maker had been killed.
        std::mem::forget(left);
        for group in abandoned(&inner).expect("listed") {
            clear(kind, &group);
        }
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"a\n").expect("the pipe takes it");
        let mut said = [0; 2];
        let mut output = child.stdout.take().expect("a pipe");
        output.read_exact(&mut said).expect("an answer");
        assert!(group.exists(), "it is still in it");
        drop(input);
        assert!(child.wait().expect("ended").success());
        clear(kind, &group);
        assert!(!group.exists(), "nobody is in it");
        fs::remove_dir(&inner).expect("empty");
    }
}
