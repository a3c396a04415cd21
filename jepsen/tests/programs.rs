//! Programs that people use, on a real mount: what they make there is what they make on a local file system.

use anyhow::{Context, Result, ensure};
use jepsen::alone::beside_others;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::scratch::notice;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Files of a tree that stands for somebody's sources.
const FILES: usize = 120;
/// Rows that a database is given before its mount is killed.
const ROWS: usize = 60;

struct Mounted {
    cluster: Cluster,
    mount: Mount,
}

impl Mounted {
    async fn new(name: &str) -> Result<Self> {
        let cluster = Cluster::start(ClusterOptions::new(name, 1)).await?;
        cluster.format("vol").await?;
        let mount = mount(&cluster, "mnt")?;
        Ok(Self { cluster, mount })
    }

    /// A directory on the mount, which is made.
    fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.mount.path().join(name);
        fs::create_dir(&dir).context("cannot make a directory")?;
        Ok(dir)
    }

    /// A local directory beside it, which is made.
    fn local(&self, name: &str) -> Result<PathBuf> {
        let dir = self.cluster.dir().join(name);
        fs::create_dir(&dir).context("cannot make a directory")?;
        Ok(dir)
    }
}

fn mount(cluster: &Cluster, name: &str) -> Result<Mount> {
    let log = cluster.dir().join(format!("{name}.log"));
    Mount::start(&cluster.url("vol"), &cluster.dir().join(name), &log, &[])
}

/// Runs a program in a directory and gives what it said; it must end well.
fn run(dir: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(dir);
    // Nothing of who runs the test.
    command.env("HOME", dir).env("GIT_CONFIG_NOSYSTEM", "1");
    command
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@b");
    command
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@b");
    let output = command
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}: {said}",
        output.status
    );
    Ok(said)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// Fills a directory with a tree: files of many sizes in directories of several levels, links of both kinds, and
/// modes of every kind.
fn fill(dir: &Path) -> Result<()> {
    for number in 0..FILES {
        let below = dir.join(format!("d{}/e{}", number % 7, number % 3));
        fs::create_dir_all(&below)?;
        let byte = u8::try_from(number % 251)?;
        let size = number * number * 17 % 90_000;
        fs::write(below.join(format!("file {number}")), vec![byte; size])?;
    }
    fs::hard_link(dir.join("d0/e0/file 0"), dir.join("d1/hard"))?;
    std::os::unix::fs::symlink("../d0/e0/file 0", dir.join("d1/soft"))?;
    run(dir, "chmod", &["0640", "d0/e0/file 0"])?;
    run(dir, "chmod", &["1777", "d2"])?;
    // rsync takes a directory of the same second for one of the same time: they must be older than the copies.
    let old = ["touch", "-h", "-d", "2002-03-04T05:06:07.654321", "{}", "+"];
    run(dir, "find", &[&[".", "-exec"], &old[..]].concat())?;
    run(
        dir,
        "touch",
        &["-d", "2001-02-03T04:05:06.789", "d1/e1/file 1"],
    )?;
    run(dir, "setfattr", &["-n", "user.note", "-v", "kept", "d3"])?;
    Ok(())
}

/// Compares two trees by what each name is, its bytes, mode, links, owner and time of change.
fn same(left: &Path, right: &Path) -> Result<()> {
    run(left, "diff", &["-r", "--no-dereference", ".", text(right)?])?;
    let list = |dir: &Path| {
        let line = r"%P %y %m %U %G %T@ %l\n";
        let kinds = run(dir, "find", &[".", "-mindepth", "1", "-printf", line])?;
        let mut lines: Vec<String> = kinds.lines().map(str::to_owned).collect();
        let links = run(dir, "find", &[".", "-type", "f", "-printf", "%P %n\n"])?;
        lines.extend(links.lines().map(str::to_owned));
        lines.extend(
            run(dir, "getfattr", &["-Rd", "."])?
                .lines()
                .map(str::to_owned),
        );
        lines.sort_unstable();
        Ok::<_, anyhow::Error>(lines)
    };
    let (left, right) = (list(left)?, list(right)?);
    let differs = left.iter().zip(&right).find(|(left, right)| left != right);
    ensure!(
        left == right,
        "{} and {} lines, first {differs:?}",
        left.len(),
        right.len()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn git_works_on_a_mount() {
    if skip_unless_fuse("git_works_on_a_mount") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let mounted = Mounted::new("git").await.expect("mounted");
    let dir = mounted.dir("git").expect("made");
    let git = |at: &str, arguments: &[&str]| {
        let said = run(&dir.join(at), "git", arguments);
        said.unwrap_or_else(|error| panic!("{error:#}"))
    };
    git(".", &["init", "-q", "one"]);
    fill(&dir.join("one")).expect("filled");
    git("one", &["add", "-A"]);
    git("one", &["commit", "-qm", "first"]);
    git(".", &["clone", "-q", "one", "two"]);
    assert_eq!(git("two", &["status", "--porcelain"]), "");
    fs::write(dir.join("two/d0/e0/file 0"), "changed").expect("written");
    git("two", &["commit", "-qam", "second"]);
    git("one", &["pull", "-q", "--no-rebase", "../two"]);
    git("one", &["gc", "-q"]);
    git("one", &["fsck", "--full", "--strict"]);
    assert_eq!(git("one", &["status", "--porcelain"]), "");
    // Another mount sees the same, and finds nothing that changed.
    let other = mount(&mounted.cluster, "other").expect("mounted");
    let there = other.path().join("git/one");
    let status = run(
        &there,
        "git",
        &["-c", "safe.directory=*", "status", "--porcelain"],
    );
    assert_eq!(status.expect("it runs"), "");
    let log = run(
        &there,
        "git",
        &["-c", "safe.directory=*", "log", "--oneline"],
    );
    assert_eq!(log.expect("it runs").lines().count(), 2);
    other.unmount().expect("unmounted");
    mounted.mount.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_are_copied_whole() {
    if skip_unless_fuse("trees_are_copied_whole") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let mounted = Mounted::new("trees").await.expect("mounted");
    let dir = mounted.dir("trees").expect("made");
    let local = mounted.local("source").expect("made");
    fill(&local).expect("filled");
    let source = text(&local).expect("UTF-8").to_owned();
    let copy = |program: &str, arguments: &[&str]| {
        run(&dir, program, arguments).unwrap_or_else(|error| panic!("{error:#}"));
    };
    copy("cp", &["-a", &source, "by-cp"]);
    copy("rsync", &["-aHX", &format!("{source}/"), "by-rsync"]);
    copy("tar", &["--xattrs", "-cf", "all.tar", "-C", &source, "."]);
    fs::create_dir(dir.join("by-tar")).expect("made");
    copy("tar", &["--xattrs", "-xpf", "all.tar", "-C", "by-tar"]);
    copy("cp", &["-a", "by-tar", "by-cp-within"]);
    for by in ["by-cp", "by-rsync", "by-tar", "by-cp-within"] {
        same(&local, &dir.join(by)).unwrap_or_else(|error| panic!("{by}: {error:#}"));
    }
    // What is there already is found to be so.
    let again = ["-aHXi", &format!("{source}/"), "by-rsync"];
    let moved = run(&dir, "rsync", &again).expect("it runs");
    assert_eq!(moved, "", "copied although it was there");
    copy(
        "rm",
        &[
            "-rf",
            "by-cp",
            "by-rsync",
            "by-tar",
            "by-cp-within",
            "all.tar",
        ],
    );
    let left: Vec<_> = fs::read_dir(&dir).expect("listed").collect();
    assert!(left.is_empty(), "{left:?}");
    mounted.mount.unmount().expect("unmounted");
}

/// Inserts rows until the last is told to be stored, and kills the mount: what the program that has the
/// database open would still write comes too late.
fn insert(mount: Mount, rows: usize) -> Result<()> {
    let database = mount.path().join("data.db");
    let mut sqlite = Command::new("sqlite3")
        .arg("-batch")
        .arg(database)
        .stderr(Stdio::null())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start sqlite3")?;
    let mut asked = sqlite.stdin.take().context("no pipe")?;
    let said = sqlite.stdout.take().context("no pipe")?;
    let mut said = BufReader::new(said).lines();
    writeln!(
        asked,
        "pragma journal_mode = wal; pragma synchronous = full;"
    )?;
    writeln!(
        asked,
        "create table if not exists t (a integer primary key, b text);"
    )?;
    ensure!(
        said.next().context("it ended")?? == "wal",
        "no write-ahead log"
    );
    for row in 0..rows {
        writeln!(asked, "insert into t (b) values (hex(randomblob(2000)));")?;
        writeln!(asked, "select 'row {row}';")?;
        ensure!(
            said.next().context("it ended")?? == format!("row {row}"),
            "another row"
        );
    }
    mount.kill()?;
    sqlite.kill().context("cannot end it")?;
    sqlite.wait().context("it does not end")?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_outlives_its_mount() {
    if skip_unless_fuse("a_database_outlives_its_mount") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let Mounted { cluster, mount } = Mounted::new("sqlite").await.expect("mounted");
    let mut mount_now = mount;
    let mut stored = 0;
    for round in 0..3 {
        insert(mount_now, ROWS).expect("inserted");
        stored += ROWS;
        mount_now = self::mount(&cluster, "mnt").expect("mounted again");
        let dir = mount_now.path().to_owned();
        let check = run(&dir, "sqlite3", &["data.db", "pragma integrity_check"]);
        assert_eq!(check.expect("it runs").trim(), "ok", "round {round}");
        let count = run(&dir, "sqlite3", &["data.db", "select count(*) from t"]);
        let count: usize = count.expect("it runs").trim().parse().expect("a number");
        assert_eq!(count, stored, "round {round}");
    }
    mount_now.unmount().expect("unmounted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crate_is_built_and_run_on_a_mount() {
    if skip_unless_fuse("a_crate_is_built_and_run_on_a_mount") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let mounted = Mounted::new("cargo").await.expect("mounted");
    let dir = mounted.dir("hello").expect("made");
    fs::create_dir(dir.join("src")).expect("made");
    let manifest =
        "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(dir.join("Cargo.toml"), manifest).expect("written");
    let source = "fn main() { println!(\"built on {}\", env!(\"CARGO_PKG_NAME\")); }\n";
    fs::write(dir.join("src/main.rs"), source).expect("written");
    let build = || {
        let mut command = Command::new(env!("CARGO"));
        command.args(["run", "--offline"]).current_dir(&dir);
        command
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS");
        let output = command.output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{errors}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), errors)
    };
    let (said, errors) = build();
    assert_eq!(said, "built on hello\n");
    assert!(errors.contains("Compiling"), "{errors}");
    // The times that it goes by are those that it has set: nothing is built twice.
    let (_, errors) = build();
    assert!(!errors.contains("Compiling"), "{errors}");
    let file = File::options().append(true).open(dir.join("src/main.rs"));
    file.and_then(|mut file| writeln!(file, "// More."))
        .expect("appended");
    let (_, errors) = build();
    assert!(errors.contains("Compiling"), "{errors}");
    mounted.mount.unmount().expect("unmounted");
}

/// The tests that Python has of its own modules for files; where they are installed.
const PYTHON: [&str; 6] = [
    "test_os",
    "test_shutil",
    "test_tempfile",
    "test_mmap",
    "test_fcntl",
    "test_glob",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tests_of_python_pass_on_a_mount() {
    if skip_unless_fuse("the_tests_of_python_pass_on_a_mount") {
        return;
    }
    let _turn = beside_others().expect("the turn");
    let mounted = Mounted::new("python").await.expect("mounted");
    let dir = mounted.dir("python").expect("made");
    if run(&dir, "python3", &["-c", "import test.test_os"]).is_err() {
        notice(
            "SKIPPED: the_tests_of_python_pass_on_a_mount: Python's tests are not installed here",
        );
        return;
    }
    let at = text(&dir).expect("UTF-8").to_owned();
    let mut arguments = vec!["-m", "test", "--tempdir", &at];
    arguments.extend(PYTHON);
    let mut command = Command::new("python3");
    command
        .args(arguments)
        .current_dir(&dir)
        .env("TMPDIR", &dir);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    notice(said.lines().last().unwrap_or_default());
    mounted.mount.unmount().expect("unmounted");
}
