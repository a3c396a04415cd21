//! A database server and a program that writes and verifies, on real mounts: what they were told is stored
//! is there, also after kill -9 of the server and of its mount.

use anyhow::{Context as _, Result, ensure};
use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::{skip, skip_unless_fuse};
use jepsen::mount::Mount;
use jepsen::process::Process;
use jepsen::scratch::notice;
use jepsen::wait;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Processes of a server at work beside the first one, at least: some of them end and are started again.
const PROCESSES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(60);
/// Who runs the server: it refuses to be root. `nobody`, of whom it needs no more than the number.
const USER: u32 = 65_534;
/// Clients of pgbench, and transactions of each in a run that comes to its end.
const CLIENTS: u64 = 4;
const TRANSACTIONS: u64 = 100;
/// Transactions that are stored before the server is killed.
const BEFORE_KILL: u64 = 200;
/// Bytes of each of the two files that are written and verified.
const FILE_BYTES: u64 = 16 << 20;

async fn one_node(name: &str) -> Cluster {
    let cluster = Cluster::start(ClusterOptions::new(name, 1)).await;
    let cluster = cluster.expect("a cluster");
    // Other users come here.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(cluster.dir(), open).expect("opened");
    cluster.format("vol").await.expect("a volume");
    cluster
}

fn mount(cluster: &Cluster, name: &str) -> Result<Mount> {
    let log = cluster.dir().join(format!("{name}.log"));
    Mount::start(&cluster.url("vol"), &cluster.dir().join(name), &log, &[])
}

/// What a program said that must have ended well.
fn well(command: &mut Command) -> Result<String> {
    let run = command.output();
    let Output {
        status,
        stdout,
        stderr,
    } = run.with_context(|| format!("cannot run {command:?}"))?;
    let errors = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{command:?}: {status}: {errors}");
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Where the programs of PostgreSQL are: of the newest version that is installed.
fn postgres_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|entry| {
        let entry = entry.ok()?;
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let usable = found.filter(|(_, bin)| {
        ["initdb", "pgbench"]
            .iter()
            .all(|name| bin.join(name).is_file())
    });
    usable.max().map(|(_, bin)| bin)
}

/// The processes that a process has started, and that it has not seen end.
fn children(parent: u32) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if stat(pid).is_some_and(|(_, of)| of == parent) {
            all.push(pid);
        }
    }
    Ok(all)
}

/// A process's state and parent, while there is such a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may have anything in it.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.next()?.parse().ok()?))
}

/// Waits until a process of the server has ended.
fn has_gone(pid: u32) -> Result<()> {
    wait::until_blocking("a process of the server to end", PATIENCE, || {
        // Nobody may be there to hear of its end.
        let gone = stat(pid).is_none_or(|(state, _)| state == 'Z');
        Ok(gone.then_some(()).ok_or_else(|| pid.to_string()))
    })
}

/// A server, and where to find it.
struct Server {
    bin: PathBuf,
    /// Where its socket is: not on the mount.
    socket: PathBuf,
    process: Process,
}

impl Server {
    /// Starts one on data that are there, and waits until it takes clients: also until it has made good what
    /// a killed one left.
    fn start(bin: &Path, data: &Path, socket: &Path) -> Result<Self> {
        let mut command = Command::new(bin.join("postgres"));
        command.arg("-D").arg(data).arg("-k").arg(socket);
        command.args(["-c", "listen_addresses="]);
        // Some checkpoints while it works.
        command.args(["-c", "checkpoint_timeout=30s", "-c", "max_wal_size=48MB"]);
        command.uid(USER).gid(USER).current_dir(socket);
        let process = Process::spawn("postgres", &mut command, &socket.join("log"))?;
        let mut server = Self {
            bin: bin.to_owned(),
            socket: socket.to_owned(),
            process,
        };
        wait::until_blocking("the server to take clients", PATIENCE, || {
            let log = server.process.log_tail(20);
            let ended = server.process.ended()?;
            ensure!(ended.is_none(), "it has ended ({ended:?})\n{log}");
            let ready = server.client("pg_isready").output()?;
            Ok(ready.status.success().then_some(()).ok_or(log))
        })?;
        Ok(server)
    }

    /// A program that is its client.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(&self.socket).env_clear();
        command
            .env("PGHOST", &self.socket)
            .env("PGUSER", "postgres");
        command.env("PGDATABASE", "postgres");
        command
    }

    fn ask(&self, sql: &str) -> Result<String> {
        let mut command = self.client("psql");
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        let said = well(&mut command).with_context(|| self.process.log_tail(20))?;
        Ok(said.trim().to_owned())
    }

    fn number(&self, sql: &str) -> Result<u64> {
        let said = self.ask(sql)?;
        said.parse().with_context(|| format!("{sql}: {said}"))
    }

    /// Transactions that are stored.
    fn stored(&self) -> Result<u64> {
        self.number("select count(*) from pgbench_history")
    }

    /// Ends by SIGKILL what is left of it when its files went: it may have ended by itself.
    fn end_without_files(mut self) -> Result<()> {
        let left = children(self.process.pid())?;
        if self.process.ended()?.is_none() {
            return self.kill_all();
        }
        left.into_iter().try_for_each(has_gone)
    }

    /// Ends all its processes by SIGKILL.
    fn kill(self) -> Result<()> {
        let postmaster = self.process.pid();
        wait::until_blocking("its processes to run", PATIENCE, || {
            let count = children(postmaster)?.len();
            Ok((count >= PROCESSES)
                .then_some(())
                .ok_or_else(|| count.to_string()))
        })?;
        self.kill_all()
    }

    fn kill_all(mut self) -> Result<()> {
        let postmaster = self.process.pid();
        // It starts no others once it stands still, and those that it has are its own until it ends.
        self.process.signal(Signal::STOP)?;
        wait::until_blocking("the postmaster to stand still", PATIENCE, || {
            let state = stat(postmaster).context("it has ended")?.0;
            Ok(matches!(state, 'T' | 'Z')
                .then_some(())
                .ok_or_else(|| state.to_string()))
        })?;
        let children = children(postmaster)?;
        for child in &children {
            let pid = i32::try_from(*child).ok().and_then(Pid::from_raw);
            kill_process(pid.context("a process id")?, Signal::KILL)?;
        }
        if self.process.ended()?.is_none() {
            self.process.kill_running()?;
        }
        children.into_iter().try_for_each(has_gone)
    }

    /// Ends it in order.
    async fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::INT)?;
        let status = self.process.wait(PATIENCE).await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }

    /// Transactions of several clients, as many as are asked for.
    fn work(&self) -> Result<()> {
        let mut command = self.client("pgbench");
        command.args(["-c", &CLIENTS.to_string(), "-t", &TRANSACTIONS.to_string()]);
        let said = well(command.arg("-n"))?;
        let all = CLIENTS * TRANSACTIONS;
        let expected = format!("actually processed: {all}/{all}");
        ensure!(said.contains(&expected), "{said}");
        let rate = said.lines().find(|line| line.starts_with("tps = "));
        notice(&format!("pgbench: {}", rate.unwrap_or_default()));
        Ok(())
    }

    /// Starts transactions without end, and waits until some more are stored. Gives the program that asks for
    /// them, and how many are stored at least.
    fn busy(&self) -> Result<(Process, u64)> {
        let mut command = self.client("pgbench");
        command.args(["-n", "-c", &CLIENTS.to_string(), "-t", "1000000"]);
        let before = self.stored()?;
        let log = self.socket.join("pgbench.log");
        let mut pgbench = Process::spawn("pgbench", &mut command, &log)?;
        let stored = wait::until_blocking("transactions to be stored", PATIENCE, || {
            let ended = pgbench.ended()?;
            ensure!(ended.is_none(), "{ended:?}: {}", pgbench.log_tail(20));
            let stored = self.stored()?;
            let enough = stored >= before + BEFORE_KILL;
            Ok(enough.then_some(stored).ok_or_else(|| stored.to_string()))
        })?;
        Ok((pgbench, stored))
    }

    /// All indexes and tables are sound, and the sums say that each transaction is there whole or not at all.
    /// Gives how many are there.
    fn check(&self) -> Result<u64> {
        self.ask("set client_min_messages = error; create extension if not exists amcheck")?;
        let indexes = self.number(
            "select count(*) from (select bt_index_check(i.indexrelid, true) \
             from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam \
             where a.amname = 'btree' and c.relpersistence <> 't' and i.indisready and i.indisvalid) s",
        )?;
        ensure!(indexes > 100, "{indexes} indexes");
        let damaged = self.ask(
            "select c.relname, v.* from pg_class c cross join lateral verify_heapam(c.oid) v \
             where c.relkind = 'r' and c.relpersistence <> 't'",
        )?;
        ensure!(damaged.is_empty(), "{damaged}");
        let sums = self.ask(
            "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers), \
             (select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)",
        )?;
        let each: Vec<&str> = sums.split('|').collect();
        ensure!(
            each.len() == 4 && each.iter().all(|sum| *sum == each[0]),
            "{sums}"
        );
        let accounts = self.number("select count(*) from pgbench_accounts")?;
        ensure!(accounts == 200_000, "{accounts} accounts");
        self.stored()
    }
}

/// A directory of the user's that runs the server, which is made.
fn own_dir(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    Ok(chown(dir, Some(USER), Some(USER))?)
}

/// Makes the data of a server that has served nobody yet.
fn initialise(bin: &Path, data: &Path, socket: &Path) -> Result<()> {
    own_dir(data)?;
    let begun = Instant::now();
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.uid(USER).gid(USER).current_dir(socket);
    initdb
        .arg("-D")
        .arg(data)
        .args(["-U", "postgres", "--auth=trust"]);
    well(initdb.args(["--data-checksums", "--locale=C", "--encoding=UTF8"]))?;
    notice(&format!("initdb: {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(())
}

/// Waits for the end of a client whose server was killed.
async fn lost(mut pgbench: Process) {
    let status = pgbench.wait(PATIENCE).await.expect("it ends");
    assert!(!status.success(), "it did not see the end of its server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_outlives_its_processes_and_its_mount() {
    let name = "postgresql_outlives_its_processes_and_its_mount";
    if skip_unless_fuse(name) {
        return;
    }
    let Some(bin) = postgres_programs() else {
        skip(name, "PostgreSQL is not installed");
        return;
    };
    let _alone = alone().expect("the turn");
    let mut cluster = one_node("postgresql").await;
    let socket = cluster.dir().join("socket");
    own_dir(&socket).expect("made");
    let first = mount(&cluster, "mnt").expect("mounted");
    let data = first.path().join("data");
    initialise(&bin, &data, &socket).expect("initialised");

    let start = |data: &Path| Server::start(&bin, data, &socket).expect("started");
    let server = start(&data);
    let begun = Instant::now();
    well(server.client("pgbench").args(["-i", "-q", "-s", "2"])).expect("filled");
    notice(&format!(
        "pgbench -i: {:.1} s",
        begun.elapsed().as_secs_f64()
    ));
    server.work().expect("transactions");
    let stored = server.check().expect("sound");
    assert_eq!(stored, CLIENTS * TRANSACTIONS);

    // Its processes are killed.
    let (pgbench, stored) = server.busy().expect("busy");
    server.kill().expect("killed");
    lost(pgbench).await;
    let server = start(&data);
    let found = server.check().expect("sound");
    assert!(found >= stored, "{found} of {stored} transactions");

    // Its mount is killed, and its processes with it.
    let (pgbench, stored) = server.busy().expect("busy");
    first.kill().expect("killed");
    server.end_without_files().expect("ended");
    lost(pgbench).await;
    let second = mount(&cluster, "mnt").expect("mounted again");
    let server = start(&data);
    let found = server.check().expect("sound");
    assert!(found >= stored, "{found} of {stored} transactions");

    // Ended in order it goes on through another mount.
    server.stop().await.expect("stopped");
    let mut checksums = Command::new(bin.join("pg_checksums"));
    let said = well(checksums.arg("--check").arg("-D").arg(&data));
    let said = said.expect("sound pages");
    assert!(said.contains("Bad checksums:  0"), "{said}");
    let other = mount(&cluster, "other").expect("mounted");
    let server = start(&other.path().join("data"));
    server.work().expect("transactions");
    let last = server.check().expect("sound");
    assert_eq!(last, found + CLIENTS * TRANSACTIONS);
    server.stop().await.expect("stopped");
    second.unmount().expect("unmounted");
    other.unmount().expect("unmounted");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

/// One way in which fio writes: its name, its engine, and what else it is told.
const WAYS: [(&str, &str, &[&str]); 5] = [
    ("cached", "psync", &["--direct=0", "--fsync=32"]),
    ("direct", "psync", &["--direct=1"]),
    ("deep", "libaio", &["--direct=1", "--iodepth=8"]),
    ("mapped", "mmap", &["--direct=0"]),
    ("meanwhile", "psync", &["--direct=0", "--verify_backlog=64"]),
];

/// Random writes of all of two files, each by a process of its own, and reads of all of it that must find what
/// was written.
fn fio(dir: &Path, (name, engine, more): (&str, &str, &[&str]), last: &str) -> Result<Output> {
    let mut command = Command::new("fio");
    command
        .arg(format!("--name={name}"))
        .arg(format!("--ioengine={engine}"));
    command.arg(format!("--directory={}", dir.display()));
    command.arg(format!("--size={FILE_BYTES}"));
    // Each write is of another length, and the same in each run.
    command.args([
        "--rw=randwrite",
        "--bsrange=4k-128k",
        "--blockalign=4k",
        "--numjobs=2",
    ]);
    command.args(["--randrepeat=1", "--verify=crc32c", "--verify_fatal=1"]);
    command.args(["--group_reporting", "--output-format=json", last]);
    command.args(more).current_dir(dir);
    command.output().context("cannot run fio")
}

/// Bytes that it wrote, and that it read.
fn moved(output: &Output) -> Result<(u64, u64)> {
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{}: {errors}{said}", output.status);
    let report: Value =
        serde_json::from_str(said.get(said.find('{').unwrap_or(0)..).unwrap_or_default())?;
    let job = &report["jobs"][0];
    ensure!(job["error"] == 0, "{job}");
    let bytes = |kind: &str| job[kind]["io_bytes"].as_u64();
    bytes("write")
        .zip(bytes("read"))
        .with_context(|| job.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fio_finds_what_it_wrote_in_every_way() {
    let name = "fio_finds_what_it_wrote_in_every_way";
    if skip_unless_fuse(name) {
        return;
    }
    if Command::new("fio").arg("--version").output().is_err() {
        skip(name, "fio is not installed");
        return;
    }
    let _alone = alone().expect("the turn");
    let cluster = one_node("fio").await;
    let left = mount(&cluster, "left").expect("mounted");
    let right = mount(&cluster, "right").expect("mounted");
    let all = 2 * FILE_BYTES;
    for way in WAYS {
        let begun = Instant::now();
        let written = fio(left.path(), way, "--do_verify=1").and_then(|output| moved(&output));
        let written = written.unwrap_or_else(|error| panic!("{way:?}: {error:#}"));
        assert_eq!(written, (all, all), "{way:?}: written and read");
        // The other mount finds it, too.
        let found = fio(right.path(), way, "--verify_only").and_then(|output| moved(&output));
        let (_, read) = found.unwrap_or_else(|error| panic!("{way:?}, elsewhere: {error:#}"));
        assert_eq!(read, all, "{way:?}: read elsewhere");
        notice(&format!(
            "fio: {}: {:.1} s",
            way.0,
            begun.elapsed().as_secs_f64()
        ));
    }
    // It would have found a byte that is another.
    let path = left.path().join("direct.1.0");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("opened");
    let (mut byte, at) = ([0], FILE_BYTES / 2 + 1_000);
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[!byte[0]], at).expect("written");
    file.sync_all().expect("stored");
    drop(file);
    let found = fio(right.path(), WAYS[1], "--verify_only").expect("it runs");
    assert!(
        !found.status.success(),
        "a byte that is another was not found"
    );
    left.unmount().expect("unmounted");
    right.unmount().expect("unmounted");
}
