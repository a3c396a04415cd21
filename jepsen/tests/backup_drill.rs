//! The drill of an emergency: mounts back up the metadata into the bucket while it is written, the
//! mount at work is killed, the cluster is lost, and another cluster makes the volume of what lies in
//! the bucket.

use jepsen::alone::alone;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::skip_unless_fuse;
use jepsen::mount::Mount;
use jepsen::s3_server::{ACCESS_KEY, S3Server, SECRET_KEY};
use jepsen::scratch::notice;
use jepsen::seed::seed;
use jepsen::wait;
use jepsen::writer::Crew;
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::ids::SessionId;
use meta_client::meta_core::query::{Answer, Query, QueryBody};
use meta_client::meta_core::task::BackupStatus;
use rand::rngs::StdRng;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const EVERY: [&str; 2] = ["--backup-meta", "2s"];
const EVERY_SECONDS: i64 = 2;
const DONE: &str = "metadata is backed up";
const KEYS: [(&str, &str); 2] = [("ACCESS_KEY", ACCESS_KEY), ("SECRET_KEY", SECRET_KEY)];

fn curlew(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(jepsen::binaries::binary("curlew").expect("built"));
    command.envs(KEYS);
    let output = command.args(arguments).output().expect("curlew runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(errors)
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("one JSON object")
}

/// The backup that `curlew status` tells of.
fn last_backup(url: &str) -> Value {
    let said = curlew(&["status", url, "--json"]).expect("a sound cluster");
    json(&said)["backup"].clone()
}

fn word(value: &Value, field: &str) -> String {
    value[field].as_str().expect(field).to_owned()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().expect(field)
}

/// What a bucket has, oldest first.
fn listed(storage: &str, bucket: &str) -> Vec<Value> {
    let list = ["load", "--storage", storage, "--bucket", bucket, "--list"];
    let said = curlew(&[&list[..], &["--json"]].concat()).expect("listed");
    let shown = curlew(&list).expect("listed");
    let all = json(&said)["backups"].as_array().expect("a list").clone();
    for backup in &all {
        assert!(shown.contains(&word(backup, "name")), "{shown}");
    }
    all
}

/// A mount of the volume, and where it logs.
struct Worker {
    mount: Mount,
    log: PathBuf,
    pid: u32,
}

impl Worker {
    fn start(cluster: &Cluster, volume: &str, name: &str) -> Self {
        let point = cluster.dir().join(name);
        let log = cluster.dir().join(format!("{name}.log"));
        let url = cluster.url(volume);
        let mount = Mount::start_with(&url, &point, &log, &EVERY, &KEYS);
        let mut mount = mount.expect("mounted");
        let pid = mount.process().pid();
        Self { mount, log, pid }
    }

    fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Names of the backups that it says it has made.
    fn made(&self) -> Vec<String> {
        made(&self.log)
    }
}

fn made(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).expect("a log");
    let lines = text.lines().filter(|line| line.contains(DONE));
    let name = |line: &str| {
        let begin = line.find("dump-").expect("a name");
        let end = line.find(".dump").expect("its end") + ".dump".len();
        line[begin..end].to_owned()
    };
    lines.map(name).collect()
}

/// The volume as its leader answers.
struct Asking {
    cluster: meta_client::Cluster,
    volume: meta_client::meta_core::query::VolumeInfo,
}

impl Asking {
    async fn begin(cluster: &Cluster, volume: &str) -> Self {
        let addrs = cluster.addrs();
        let cluster = meta_client::Cluster::connect(&addrs, PATIENCE).await;
        let cluster = cluster.expect("a leader");
        let volume = cluster.find_volume(volume).await.expect("the volume");
        Self { cluster, volume }
    }

    async fn ask(&self, body: QueryBody) -> Answer {
        let query = Query {
            volume: self.volume.id,
            caller: Caller::root(),
            body,
        };
        self.cluster.query(query).await.expect("an answer")
    }

    async fn seq(&self) -> u64 {
        match self.ask(QueryBody::StatVolume).await {
            Answer::Stat(stat) => stat.token.seq.0,
            other => panic!("{other:?}"),
        }
    }

    async fn backups(&self) -> BackupStatus {
        match self.ask(QueryBody::Backup).await {
            Answer::Backup(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Who is mounted: sessions, and the processes that they say they are.
    async fn mounted(&self) -> BTreeMap<SessionId, u32> {
        let sessions = self.cluster.sessions(self.volume.id).await;
        let pid = |info: &[u8]| {
            let who: Value = serde_json::from_slice(info).ok()?;
            who["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
        };
        let sessions = sessions.expect("sessions").into_iter();
        sessions
            .filter_map(|session| Some((session.id, pid(&session.info)?)))
            .collect()
    }

    /// Waits for a backup that was finished after now, and gives its name.
    async fn next_backup(&self) -> String {
        let before = self.backups().await.last;
        let next = wait::until("one more backup", PATIENCE, async || {
            let last = self.backups().await.last;
            Ok(match last {
                Some(last) if Some(&last) != before.as_ref() => Ok(last.made.name),
                other => Err(format!("{other:?}")),
            })
        });
        next.await.expect("a backup")
    }
}

/// What was done to a file, between two states of the volume that were seen.
struct Deed {
    name: String,
    /// What it holds; `None` if it was removed.
    content: Option<Vec<u8>>,
    begun: u64,
    ended: u64,
}

/// Files that are written, replaced and removed, and what was acknowledged of it.
struct Files {
    rng: StdRng,
    deeds: Vec<Deed>,
    written: usize,
}

impl Files {
    fn new(rng: StdRng) -> Self {
        Self {
            rng,
            deeds: Vec::new(),
            written: 0,
        }
    }

    async fn write(&mut self, asking: &Asking, dir: &Path, count: usize) {
        for _ in 0..count {
            let most = if self.written.is_multiple_of(16) {
                5_000_000
            } else {
                50_000
            };
            let mut content = vec![0; self.rng.random_range(1..most)];
            self.rng.fill_bytes(&mut content);
            let name = format!("file{}", self.written);
            self.written += 1;
            let begun = asking.seq().await;
            fs::write(dir.join(&name), &content).expect("written");
            self.note(asking, name, Some(content), begun).await;
            if self.written.is_multiple_of(5) {
                let name = format!("file{}", self.written - 3);
                let begun = asking.seq().await;
                fs::remove_file(dir.join(&name)).expect("removed");
                self.note(asking, name, None, begun).await;
            }
        }
    }

    async fn note(&mut self, asking: &Asking, name: String, content: Option<Vec<u8>>, begun: u64) {
        let ended = asking.seq().await;
        self.deeds.push(Deed {
            name,
            content,
            begun,
            ended,
        });
    }

    /// Whatever was acknowledged at `seq` is there, and nothing that was begun after it. Gives how many
    /// files were compared, and how many came later.
    fn compare(&self, dir: &Path, seq: u64) -> (usize, usize) {
        let mut expected: BTreeMap<&str, &Deed> = BTreeMap::new();
        for deed in self.deeds.iter().filter(|deed| deed.ended <= seq) {
            expected.insert(&deed.name, deed);
        }
        // What was under way at that moment may be there or not.
        let open = |name: &str| {
            let mut deeds = self.deeds.iter();
            deeds.any(|deed| deed.name == name && deed.begun < seq && deed.ended > seq)
        };
        for (name, deed) in expected.iter().filter(|(name, _)| !open(name)) {
            let read = fs::read(dir.join(name)).ok();
            let same = read == deed.content;
            assert!(same, "{name}: {:?} bytes", read.map(|read| read.len()));
        }
        let later = self.deeds.iter().filter(|deed| deed.begun >= seq);
        let mut absent = 0;
        for deed in later.filter(|deed| deed.content.is_some()) {
            assert!(!dir.join(&deed.name).exists(), "{} came later", deed.name);
            absent += 1;
        }
        (expected.len(), absent)
    }
}

/// Each backup was made by one mount, and none before its time.
fn check_makers(listed: &[Value], logs: &[&Path]) {
    let all: Vec<Vec<String>> = logs.iter().map(|log| made(log)).collect();
    let mut told: Vec<&String> = all.iter().flatten().collect();
    let count = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), count, "a backup was made twice: {all:?}");
    let names: Vec<String> = listed.iter().map(|backup| word(backup, "name")).collect();
    for name in told {
        assert!(
            names.contains(name),
            "{name} is not in the bucket: {names:?}"
        );
    }
    let second = |name: &String| {
        // dump-2026-11-23-090000-...
        let time = &name[16..22];
        let part = |at: usize| time[at..at + 2].parse::<i64>().expect("digits");
        part(0) * 3600 + part(2) * 60 + part(4)
    };
    for two in names.windows(2) {
        let apart = (second(&two[1]) - second(&two[0])).rem_euclid(86_400);
        assert!(apart >= EVERY_SECONDS, "two at once: {two:?}");
    }
}

/// Kills the mount that is making a backup, as the engine knows it, and gives the other one, and where
/// the dead one has logged.
async fn kill_the_one_at_work(asking: &Asking, one: Worker, other: Worker) -> (Worker, PathBuf) {
    let mounted = asking.mounted().await;
    let begin = Instant::now();
    // At once when it has begun: a backup of so little is soon done.
    let held = loop {
        if let Some(at_work) = asking.backups().await.at_work {
            break at_work.session;
        }
        assert!(begin.elapsed() < PATIENCE, "nobody makes a backup");
    };
    let (mut dead, other) = if mounted[&held] == one.pid {
        (one, other)
    } else {
        assert_eq!(mounted[&held], other.pid);
        (other, one)
    };
    dead.mount.process().kill().expect("killed");
    let at_work = asking
        .backups()
        .await
        .at_work
        .map(|at_work| at_work.session);
    let middle = if at_work == Some(held) { "in" } else { "after" };
    notice(&format!("backup: a mount is killed {middle} its work"));
    (other, dead.log.clone())
}

/// A volume under writers and two mounts; the bucket, and what was acknowledged, when the cluster is
/// gone.
async fn lose(cluster: &mut Cluster, rng: &mut StdRng) -> Files {
    cluster.format("vol").await.expect("a volume");
    let url = cluster.url("vol");
    assert_eq!(last_backup(&url), Value::Null);
    let shown = curlew(&["status", &url]).expect("sound");
    assert!(shown.contains("Last backup           none"), "{shown}");
    let crew = Crew::begin(&url, 1, 3, rng.random()).await;
    let crew = crew.expect("writers");
    let asking = Asking::begin(cluster, "vol").await;
    let left = Worker::start(cluster, "vol", "left");
    let right = Worker::start(cluster, "vol", "right");
    let mut files = Files::new(StdRng::seed_from_u64(rng.random()));
    crew.progress(500, PATIENCE).await.expect("writes");
    for _ in 0..3 {
        files.write(&asking, left.path(), 6).await;
        let name = asking.next_backup().await;
        let told = last_backup(&url);
        assert!(word(&told, "name") >= name, "{told}");
        assert!(
            number(&told, "seq") > 0 && number(&told, "bytes") > 0,
            "{told}"
        );
    }
    let logs = (left.log.clone(), right.log.clone());
    let (worker, _dead) = kill_the_one_at_work(&asking, left, right).await;
    let before = worker.made().len();
    for _ in 0..2 {
        // Its session ends first, as it is silent; then the other one takes over.
        files.write(&asking, worker.path(), 6).await;
        asking.next_backup().await;
    }
    assert!(worker.made().len() > before, "the other one has taken over");
    crew.progress(100, PATIENCE).await.expect("writes go on");
    files.write(&asking, worker.path(), 10).await;
    crew.stop(PATIENCE).await.expect("the writers end");
    drop(worker);
    let objects = cluster.objects();
    let objects = objects.to_str().expect("a name of ours");
    check_makers(&listed("file", objects), &[&logs.0, &logs.1]);
    for id in cluster.ids() {
        cluster.node(id).expect("a node").kill().expect("killed");
        cluster.node(id).expect("a node").wipe().expect("wiped");
    }
    files
}

/// Puts a half of the newest backup beside it as a newer one; where.
fn truncated(objects: &str, newest: &Value) -> PathBuf {
    let path = Path::new(objects).join(word(newest, "key"));
    let bytes = fs::read(&path).expect("the newest");
    let (epoch, seq) = (number(newest, "epoch"), number(newest, "seq") + 1);
    let newer = format!("dump-2099-01-01-000000-{epoch}-{seq}.dump");
    let newer = path.with_file_name(newer);
    fs::write(&newer, &bytes[..bytes.len() / 2]).expect("written");
    newer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_is_made_of_its_bucket_after_its_worker_and_its_cluster_were_lost() {
    if skip_unless_fuse("a_volume_is_made_of_its_bucket_after_its_worker_and_its_cluster_were_lost")
    {
        return;
    }
    let _alone = alone().expect("the turn");
    let mut rng = StdRng::seed_from_u64(seed("backup").expect("a seed"));
    let mut options = ClusterOptions::new("backed-up", 3);
    options.session_ttl_ms = Some(3000);
    let mut lost = Cluster::start(options).await.expect("a cluster");
    let mut files = lose(&mut lost, &mut rng).await;

    let cluster = Cluster::start(ClusterOptions::new("from-bucket", 3)).await;
    let mut cluster = cluster.expect("a cluster");
    let url = cluster.url("back");
    let objects = lost.objects();
    let objects = objects.to_str().expect("a name of ours");
    let bucket = ["load", "--storage", "file", "--bucket", objects];
    let all = listed("file", objects);
    let newest = all.last().expect("backups");
    assert_eq!(word(newest, "volume"), "vol");
    // A newest one that is not whole is refused, and the one before it is named.
    let newer = truncated(objects, newest);
    let latest = [&bucket[..], &["--latest", &url]].concat();
    let why = curlew(&latest).expect_err("it was taken for whole");
    let name = word(newest, "name");
    assert!(why.contains("damaged: it ends too early"), "{why}");
    assert!(why.contains(&format!("--backup {name}")), "{why}");
    fs::remove_file(newer).expect("removed");
    let said = curlew(&latest).expect("loaded");
    assert!(said.contains("curlew mount"), "{said}");
    let why = curlew(&latest).expect_err("it was loaded twice");
    assert!(why.contains("under another name"), "{why}");

    let seq = number(newest, "seq");
    let worker = Worker::start(&cluster, "back", "second");
    let (compared, later) = files.compare(worker.path(), seq);
    notice(&format!(
        "backup: {compared} files are those of change {seq}, {later} came later; {} backups",
        all.len()
    ));
    assert!(compared > 15, "{compared}");
    // The volume goes on, and so do its backups, in its new epoch.
    let asking = Asking::begin(&cluster, "back").await;
    files.deeds.clear();
    files.write(&asking, worker.path(), 6).await;
    asking.next_backup().await;
    asking.next_backup().await;
    assert!(number(&last_backup(&url), "epoch") > number(newest, "epoch"));
    let last = listed("file", objects);
    let last = last.last().expect("backups");
    assert!(number(last, "epoch") > number(newest, "epoch"), "{last}");
    files.compare(worker.path(), u64::MAX);
    worker.mount.unmount().expect("nothing was lost");
    let sound = cluster.digests_equal(PATIENCE).await;
    sound.expect("equal digests");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}

fn log_has(log: &Path, words: &str) {
    wait::until_blocking(words, PATIENCE, || {
        let text = fs::read_to_string(log)?;
        let found = text.contains(words);
        Ok(found.then_some(()).ok_or_else(|| "not yet".to_owned()))
    })
    .expect("logged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_away_costs_backups_and_never_the_mount() {
    if skip_unless_fuse("a_bucket_that_is_away_costs_backups_and_never_the_mount") {
        return;
    }
    let _alone = alone().expect("the turn");
    let lost = Cluster::start(ClusterOptions::new("backup-s3", 1)).await;
    let mut lost = lost.expect("a cluster");
    let (root, log) = (lost.dir().join("s3"), lost.dir().join("s3.log"));
    fs::create_dir(&root).expect("a directory");
    let mut server = S3Server::start(&root, &log).expect("a server");
    let bucket = format!("{}/some/prefix", server.bucket_url());
    let at = ["--storage", "s3", "--bucket", &bucket];
    let url = lost.url("vol");
    curlew(&[&["format", &url][..], &at].concat()).expect("formatted");
    let worker = Worker::start(&lost, "vol", "mounted");
    fs::write(worker.path().join("first"), "one").expect("written");
    let asking = Asking::begin(&lost, "vol").await;
    asking.next_backup().await;

    server.kill().expect("killed");
    log_has(&worker.log, "is not backed up; it is tried again");
    // Names need no bucket.
    fs::create_dir(worker.path().join("meanwhile")).expect("the mount goes on");
    assert!(
        asking
            .backups()
            .await
            .at_work
            .is_none_or(|one| one.session.0 > 0)
    );
    server.restart().expect("it is back");
    let seq = asking.seq().await;
    wait::until("a backup of all this", PATIENCE, async || {
        let last = asking.backups().await.last;
        let seen = last.as_ref().map_or(0, |last| last.made.token.seq.0);
        Ok((seen >= seq)
            .then_some(())
            .ok_or(format!("{seen} of {seq}")))
    })
    .await
    .expect("backups go on");
    let stats = fs::read_to_string(worker.path().join(".stats")).expect("readable");
    assert!(
        stats.contains("curlew_metadata_backup_failures_total"),
        "{stats}"
    );
    worker.mount.unmount().expect("nothing was lost");
    let log = fs::read_to_string(&worker.log).expect("a log");
    assert!(!log.contains(SECRET_KEY), "the log holds a secret");
    lost.node(1).expect("a node").kill().expect("killed");
    lost.node(1).expect("a node").wipe().expect("wiped");

    let cluster = Cluster::start(ClusterOptions::new("from-s3", 1)).await;
    let cluster = cluster.expect("a cluster");
    let all = listed("s3", &bucket);
    assert!(all.len() >= 2, "{all:?}");
    let newest = word(all.last().expect("one"), "name");
    let url = cluster.url("back");
    let words = [&["load"][..], &at, &["--backup", &newest, &url]].concat();
    curlew(&words).expect("loaded");
    let back = Worker::start(&cluster, "back", "again");
    let first = fs::read_to_string(back.path().join("first")).expect("readable");
    assert_eq!(first, "one");
    assert!(back.path().join("meanwhile").is_dir());
    back.mount.unmount().expect("unmounted");
}
