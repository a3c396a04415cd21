//! Random operations through two mounts at once, one of which reads at a mirror: each has the
//! outcome that the same operation has in a plain directory of the local disk.

use anyhow::{Context, Result, bail, ensure};
use jepsen::alone::alone;
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::pair::Pair;
use jepsen::scratch::{Scratch, notice};
use jepsen::seed::seed;
use jepsen::wait;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// A mount keeps names for 1 s; the rest is for a busy machine.
const SETTLE: Duration = Duration::from_secs(15);
const ROUNDS: usize = 8;
const OPERATIONS: usize = 60;
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// Bytes of a block, near whose border some files are written.
const BLOCK_BYTES: u64 = 4 << 20;

/// Bytes that are made anew from a few.
#[derive(Clone, Copy, Debug)]
struct Data {
    seed: u64,
    len: usize,
}

impl Data {
    fn random(rng: &mut StdRng) -> Self {
        let most = if rng.random_ratio(1, 5) {
            200_000
        } else {
            5_000
        };
        Self {
            seed: rng.random(),
            len: rng.random_range(0..most),
        }
    }

    fn bytes(self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        StdRng::seed_from_u64(self.seed).fill_bytes(&mut bytes);
        bytes
    }
}

#[derive(Clone, Debug)]
enum Op {
    Create(PathBuf, Data),
    Replace(PathBuf, Data),
    Append(PathBuf, Data),
    Overwrite(PathBuf, u64, Data),
    Truncate(PathBuf, u64),
    MakeDir(PathBuf),
    RemoveDir(PathBuf),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Symlink(PathBuf, PathBuf),
    Chmod(PathBuf, u32),
    List(PathBuf),
    Stat(PathBuf),
    Read(PathBuf),
}

/// What an operation told.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Done,
    Content(Content),
    Names(Vec<(OsString, char)>),
    /// Of the name itself, and of what it leads to.
    Stat(Facts, Result<Facts, Option<i32>>),
    Failed(Option<i32>),
}

#[derive(PartialEq, Eq)]
struct Content(Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = &self.0[..self.0.len().min(16)];
        write!(f, "{} bytes {first:02x?}", self.0.len())
    }
}

/// What POSIX fixes of a file's attributes.
#[derive(PartialEq, Eq, Debug)]
struct Facts {
    kind: char,
    /// Not of symbolic links.
    mode: Option<u32>,
    /// Not of directories, as the number of links.
    size: Option<u64>,
    links: Option<u64>,
}

impl Facts {
    fn of(meta: &Metadata) -> Self {
        let kind = kind(meta.file_type());
        Self {
            kind,
            mode: (kind != 'l').then_some(meta.mode()),
            size: (kind != 'd').then_some(meta.size()),
            links: (kind != 'd').then_some(meta.nlink()),
        }
    }
}

fn kind(file_type: FileType) -> char {
    if file_type.is_dir() {
        'd'
    } else if file_type.is_file() {
        'f'
    } else if file_type.is_symlink() {
        'l'
    } else {
        '?'
    }
}

impl Op {
    fn name(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }

    /// The names that it may have changed.
    fn touched(&self) -> Vec<&Path> {
        match self {
            Self::List(_) | Self::Stat(_) | Self::Read(_) => Vec::new(),
            Self::Rename(from, to) | Self::Link(from, to) => vec![from.as_path(), to.as_path()],
            Self::Create(path, _)
            | Self::Replace(path, _)
            | Self::Append(path, _)
            | Self::Overwrite(path, ..)
            | Self::Truncate(path, _)
            | Self::MakeDir(path)
            | Self::RemoveDir(path)
            | Self::Unlink(path)
            | Self::Symlink(_, path)
            | Self::Chmod(path, _) => vec![path.as_path()],
        }
    }

    fn apply(&self, root: &Path) -> io::Result<Outcome> {
        match self {
            Self::Create(path, data) => {
                File::create_new(root.join(path))?.write_all(&data.bytes())?;
            }
            Self::Replace(path, data) => fs::write(root.join(path), data.bytes())?,
            Self::Append(path, data) => {
                let mut file = OpenOptions::new().append(true).open(root.join(path))?;
                file.write_all(&data.bytes())?;
            }
            Self::Overwrite(path, offset, data) => {
                let file = OpenOptions::new().write(true).open(root.join(path))?;
                file.write_all_at(&data.bytes(), *offset)?;
            }
            Self::Truncate(path, length) => {
                let file = OpenOptions::new().write(true).open(root.join(path))?;
                file.set_len(*length)?;
            }
            Self::MakeDir(path) => fs::create_dir(root.join(path))?,
            Self::RemoveDir(path) => fs::remove_dir(root.join(path))?,
            Self::Unlink(path) => fs::remove_file(root.join(path))?,
            Self::Rename(from, to) => fs::rename(root.join(from), root.join(to))?,
            Self::Link(from, to) => fs::hard_link(root.join(from), root.join(to))?,
            Self::Symlink(target, path) => symlink(target, root.join(path))?,
            Self::Chmod(path, mode) => {
                fs::set_permissions(root.join(path), Permissions::from_mode(*mode))?;
            }
            Self::List(path) => return Ok(Outcome::Names(list(&root.join(path))?)),
            Self::Stat(path) => return stat(&root.join(path)),
            Self::Read(path) => return Ok(Outcome::Content(Content(fs::read(root.join(path))?))),
        }
        Ok(Outcome::Done)
    }

    fn outcome(&self, root: &Path) -> Outcome {
        let error = match self.apply(root) {
            Ok(outcome) => return outcome,
            Err(error) => error.raw_os_error(),
        };
        let may_be_either = matches!(self, Self::RemoveDir(_) | Self::Rename(..));
        if may_be_either && error == Some(Errno::EXIST.raw_os_error()) {
            // POSIX leaves it to the file system which of the two a full directory is.
            return Outcome::Failed(Some(Errno::NOTEMPTY.raw_os_error()));
        }
        Outcome::Failed(error)
    }
}

fn list(dir: &Path) -> io::Result<Vec<(OsString, char)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        names.push((entry.file_name(), kind(entry.file_type()?)));
    }
    // A name that comes twice stays twice.
    names.sort();
    Ok(names)
}

fn stat(path: &Path) -> io::Result<Outcome> {
    let own = Facts::of(&fs::symlink_metadata(path)?);
    let target = match fs::metadata(path) {
        Ok(meta) => Ok(Facts::of(&meta)),
        Err(error) => Err(error.raw_os_error()),
    };
    Ok(Outcome::Stat(own, target))
}

/// All that is below a directory.
#[derive(Default)]
struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    /// The numbers that the file system gives, which are its own affair.
    inodes: BTreeMap<PathBuf, u64>,
}

#[derive(PartialEq, Eq, Debug)]
struct Node {
    facts: Facts,
    body: Body,
    /// The first path of the same file.
    same_as: PathBuf,
}

#[derive(PartialEq, Eq, Debug)]
enum Body {
    Directory,
    File(Content),
    Link(PathBuf),
}

impl Tree {
    fn walk(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        let mut firsts = BTreeMap::new();
        let mut open = vec![PathBuf::new()];
        while let Some(dir) = open.pop() {
            let listed = list(&root.join(&dir))?;
            absent(&root.join(&dir), &listed)?;
            for (name, kind) in listed {
                let path = dir.join(name);
                let full = root.join(&path);
                let meta = fs::symlink_metadata(&full)
                    .with_context(|| format!("{} is listed", full.display()))?;
                let facts = Facts::of(&meta);
                ensure!(
                    facts.kind == kind,
                    "{path:?} is listed as {kind}: {facts:?}"
                );
                let body = match kind {
                    'd' => Body::Directory,
                    'l' => Body::Link(fs::read_link(&full)?),
                    _ => Body::File(Content(fs::read(&full)?)),
                };
                if kind == 'd' {
                    open.push(path.clone());
                }
                let same_as = firsts.entry(meta.ino()).or_insert(path.clone()).clone();
                let node = Node {
                    facts,
                    body,
                    same_as,
                };
                tree.inodes.insert(path.clone(), meta.ino());
                ensure!(
                    tree.nodes.insert(path, node).is_none(),
                    "a name comes twice"
                );
            }
        }
        Ok(tree)
    }

    /// The first path that is not in both as it is in the other.
    fn compare(&self, found: &Self) -> Result<()> {
        let paths: BTreeSet<&PathBuf> = self.nodes.keys().chain(found.nodes.keys()).collect();
        for path in paths {
            let (wanted, found) = (self.nodes.get(path), found.nodes.get(path));
            ensure!(wanted == found, "{path:?} is {found:?}, not {wanted:?}");
        }
        Ok(())
    }
}

/// What is not listed is not found by its name either: not from a name kept too long.
fn absent(dir: &Path, listed: &[(OsString, char)]) -> Result<()> {
    for name in NAMES {
        if listed.iter().any(|(there, _)| there == name) {
            continue;
        }
        match fs::symlink_metadata(dir.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => bail!("{name} is not listed in {}: {other:?}", dir.display()),
        }
    }
    Ok(())
}

/// What an operation would like its path to be, so that not nearly all of them fail.
#[derive(Clone, Copy)]
enum Wanted {
    Free,
    File,
    Directory,
    There,
}

/// Works in a directory of its own, through one mount or the other.
struct Worker {
    dir: &'static str,
    model: PathBuf,
    rng: StdRng,
    /// How often each kind of operation ended in which way.
    ends: BTreeMap<(String, String), usize>,
}

impl Worker {
    fn path(&mut self) -> PathBuf {
        let first = Path::new(self.name());
        if self.rng.random_ratio(2, 5) {
            first.join(self.name())
        } else {
            first.to_owned()
        }
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.rng.random_range(0..NAMES.len())]
    }

    /// A path that often is what is wanted, and sometimes is not.
    fn find(&mut self, wanted: Wanted) -> PathBuf {
        for _try in 0..3 {
            let path = self.path();
            let meta = fs::symlink_metadata(self.model.join(&path));
            let fits = match (wanted, &meta) {
                (Wanted::Free, found) => found.is_err(),
                (_, Err(_)) => false,
                (Wanted::There, Ok(_)) => true,
                (Wanted::File, Ok(meta)) => !meta.is_dir(),
                (Wanted::Directory, Ok(meta)) => meta.is_dir(),
            };
            if fits {
                return path;
            }
        }
        self.path()
    }

    /// A place in a file: mostly near its begin, at times at a block's border.
    fn place(&mut self) -> u64 {
        if self.rng.random_ratio(1, 20) {
            self.rng
                .random_range(BLOCK_BYTES - 5_000..BLOCK_BYTES + 5_000)
        } else {
            self.rng.random_range(0..100_000)
        }
    }

    fn operation(&mut self) -> Op {
        use Wanted::{Directory, File, Free, There};
        match self.rng.random_range(0..100) {
            0..13 => Op::Create(self.find(Free), Data::random(&mut self.rng)),
            13..20 => Op::Replace(self.find(File), Data::random(&mut self.rng)),
            20..27 => Op::Append(self.find(File), Data::random(&mut self.rng)),
            27..34 => {
                let (path, place) = (self.find(File), self.place());
                Op::Overwrite(path, place, Data::random(&mut self.rng))
            }
            34..39 => Op::Truncate(self.find(File), self.place()),
            39..46 => Op::MakeDir(self.find(Free)),
            46..53 => Op::RemoveDir(self.find(Directory)),
            53..60 => Op::Unlink(self.find(File)),
            60..66 => Op::Rename(self.find(There), self.find(Free)),
            66..72 => Op::Rename(self.find(There), self.find(There)),
            72..79 => Op::Link(self.find(File), self.find(Free)),
            79..83 => Op::Symlink(self.name().into(), self.find(Free)),
            83..88 => Op::Chmod(self.find(There), self.rng.random_range(0..0o1000)),
            88..91 => Op::List(self.find(Directory)),
            91..94 => Op::Stat(self.find(There)),
            _ => Op::Read(self.find(File)),
        }
    }

    /// One round, through the mount that shows the directory at `root`.
    fn work(mut self, root: &Path) -> Result<Self> {
        for number in 0..OPERATIONS {
            let op = self.operation();
            let wanted = self
                .same(&op, root)
                .with_context(|| format!("number {number}"))?;
            let end = match wanted {
                Outcome::Failed(Some(code)) => io::Error::from_raw_os_error(code).to_string(),
                Outcome::Failed(None) => "an error of no number".to_owned(),
                _ => "ok".to_owned(),
            };
            *self.ends.entry((op.name(), end)).or_default() += 1;
            for path in op.touched() {
                // What was just written is read at the mirror, or where it is known.
                let looked = self.same(&Op::Stat(path.to_owned()), root);
                looked.with_context(|| format!("after number {number}, {op:?}"))?;
            }
        }
        // This mount made all changes of the round, so there is nothing to wait for.
        let found = Tree::walk(root)?;
        Tree::walk(&self.model)?.compare(&found)?;
        Ok(self)
    }

    /// Does the same to the model and through the mount.
    fn same(&self, op: &Op, root: &Path) -> Result<Outcome> {
        let wanted = op.outcome(&self.model);
        let found = op.outcome(root);
        ensure!(
            found == wanted,
            "{op:?} in {}: {found:?}, not {wanted:?}",
            root.display()
        );
        Ok(wanted)
    }

    /// Whether both mounts show what the model has, and the same files.
    fn seen_by(&self, mounts: &[Mount; 2]) -> Result<()> {
        let model = Tree::walk(&self.model)?;
        let [left, right] = mounts;
        let left = Tree::walk(&left.path().join(self.dir)).context("left")?;
        let right = Tree::walk(&right.path().join(self.dir)).context("right")?;
        model.compare(&left).context("left")?;
        model.compare(&right).context("right")?;
        ensure!(left.inodes == right.inodes, "names of different files");
        Ok(())
    }
}

/// A mount of the origin, and one that reads at the mirror.
fn mount(pair: &Pair) -> [Mount; 2] {
    let dir = pair.origin.dir();
    let (url, mirror) = (pair.origin_url(), pair.mirror_url());
    let start = |name: &str, extra: &[&str]| {
        let log = dir.join(format!("{name}.log"));
        Mount::start(&url, &dir.join(name), &log, extra).expect("mounted")
    };
    [
        start("left", &[]),
        start("right", &["--mirror", mirror.as_str()]),
    ]
}

fn worker(dir: &'static str, models: &Path, mount: &Mount, seed: u64) -> Worker {
    let model = models.join(dir);
    fs::create_dir(&model).expect("a model");
    fs::create_dir(mount.path().join(dir)).expect("a directory");
    Worker {
        dir,
        model,
        rng: StdRng::seed_from_u64(seed),
        ends: BTreeMap::new(),
    }
}

/// Both work at the same time, each through a mount of its own.
async fn round(number: usize, workers: Vec<Worker>, mounts: &[Mount; 2]) -> Result<Vec<Worker>> {
    let start = |(index, worker): (usize, Worker)| {
        let root = mounts[(index + number) % 2].path().join(worker.dir);
        tokio::task::spawn_blocking(move || worker.work(&root))
    };
    let working: Vec<_> = workers.into_iter().enumerate().map(start).collect();
    let mut back = Vec::new();
    for worker in working {
        let ended = tokio::time::timeout(PATIENCE, worker).await;
        back.push(ended.context("a mount does not answer")???);
    }
    Ok(back)
}

/// Waits until both sides hold the same and both mounts show it.
async fn meet(pair: &Pair, workers: &[Worker], mounts: &[Mount; 2]) -> Result<()> {
    pair.agreed(PATIENCE).await?;
    for worker in workers {
        let seen = wait::until("both mounts to show the same", SETTLE, async || {
            let seen = worker.seen_by(mounts);
            Ok(seen.map_err(|error| format!("{}: {error:#}", worker.dir)))
        });
        seen.await?;
    }
    Ok(())
}

/// A counter of a mount's `.stats`.
fn counter(mount: &Mount, name: &str) -> u64 {
    let stats = fs::read_to_string(mount.path().join(".stats")).expect("readable");
    let start = format!("curlew_{name} ");
    let value = stats.lines().find_map(|line| line.strip_prefix(&start));
    let value = value.unwrap_or_else(|| panic!("no {name} in {stats}"));
    value.parse().expect("a number")
}

fn check_coverage(workers: &[Worker], mounts: &[Mount; 2]) {
    let mut ends: BTreeMap<&(String, String), usize> = BTreeMap::new();
    for (end, count) in workers.iter().flat_map(|worker| &worker.ends) {
        *ends.entry(end).or_default() += count;
    }
    let [left, right] = mounts;
    let served = counter(right, "mirror_reads_total");
    let behind = counter(right, "mirror_fallbacks_behind_total");
    let unavailable = counter(right, "mirror_fallbacks_unavailable_total");
    notice(&format!(
        "mirror_mounts: {served} reads at the mirror, {behind} at the origin because it was \
         behind, {unavailable} because it was not there; {ends:?}"
    ));
    assert!(served > 300, "the mirror was read");
    assert_eq!(counter(left, "mirror_reads_total"), 0);
    let done: BTreeSet<_> = ends.keys().filter(|end| end.1 == "ok").collect();
    let errors: BTreeSet<_> = ends.keys().map(|end| &end.1).collect();
    // Of 15 kinds and of six ways to end that hardly any seed leaves out.
    assert!(done.len() >= 13 && errors.len() >= 5, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_through_both_mounts_at_once_are_those_of_a_plain_directory() {
    let name = "random_operations_through_both_mounts_at_once_are_those_of_a_plain_directory";
    if skip_unless_fuse(name) {
        return;
    }
    let _alone = alone().expect("the turn");
    let seed = seed("mirror_mounts").expect("a seed");
    let models = Scratch::new("mirror-mounts-model").expect("a directory");
    let mut pair = Pair::start("mirror-mounts", 1, 1).await.expect("two sides");
    pair.follow(PATIENCE).await.expect("a mirror");
    let mounts = mount(&pair);
    let mut workers = vec![
        worker("one", models.path(), &mounts[0], seed),
        worker("two", models.path(), &mounts[0], seed.wrapping_add(1)),
    ];
    let begun = meet(&pair, &workers, &mounts).await;
    begun.unwrap_or_else(|e| panic!("{e:#}"));
    for number in 0..ROUNDS {
        let back = round(number, workers, &mounts).await;
        workers = back.unwrap_or_else(|e| panic!("round {number}: {e:#}\n{}", pair.log_tails(20)));
        let met = meet(&pair, &workers, &mounts).await;
        met.unwrap_or_else(|e| panic!("round {number}: {e:#}\n{}", pair.log_tails(20)));
    }
    check_coverage(&workers, &mounts);
    let both = pair.mirroring().await.expect("both sides");
    let verified = both.verify().await.expect("compared");
    assert!(verified.agrees(), "{verified:?}");
    for mount in mounts {
        mount.unmount().expect("unmounted");
    }
    let seq = pair.agreed(PATIENCE).await.expect("the sides agree");
    notice(&format!("mirror_mounts: both sides at {seq}"));
    pair.origin.check_stores(PATIENCE).await.expect("sound");
    pair.mirror.check_stores(PATIENCE).await.expect("sound");
}
