//! The state of many files, made once: a node is founded, stopped, and given commands as if its log
//! had held them.

use super::names;
use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::stream;
use jepsen::cluster::{Cluster, ClusterOptions};
use meta_core::attr::{Caller, Timestamp};
use meta_core::codec::Codec as _;
use meta_core::command::{
    Command, CommandBody, Create, CreateVolume, Existing, NewNode, Operation, Request,
};
use meta_core::ids::{Ino, Level, Seq, SessionId, SlotIndex, Uuid, VolumeId};
use meta_core::name::Name;
use meta_core::query::{Answer, Query, QueryBody};
use meta_core::read;
use openraft::entry::EntryPayload;
use openraft::storage::{EntryResponder, RaftLogStorage as _, RaftStateMachine as _};
use proto::ProstCodec;
use raft_store::bare::BareState;
use raft_store::{CommandBytes, Entry, LogId, Store, StoreOptions, TypeConfig, recover};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The volume's name.
pub(super) const VOLUME: &str = "bench";
/// What stands in a kept directory once all of it is there.
const ABOUT: &str = "about.json";
/// Changed when what is made changes.
const FORM: u32 = 2;
/// Inodes are numbered from here on, one after the other: directories, then files.
pub(super) const FIRST_INO: u64 = Ino::ROOT.0 + 1;
/// Records of the changelog that stay: about as many bytes as files take otherwise.
const RECORDS_KEPT: u64 = 200_000;
/// Commands between two that drop old records.
const TRIM_EVERY: u64 = 1024;
const FIRST: VolumeId = VolumeId(1);
const UUID: Uuid = Uuid([7; 16]);
const SESSION: SessionId = SessionId(1);
/// The first file is as old as this beside the others' pauses.
const MARGIN: Duration = Duration::from_secs(86_400);

/// What a state holds, and what it takes on the disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct About {
    form: u32,
    pub(super) files: u64,
    pub(super) dirs: u64,
    /// Commands applied in a second when it was made.
    pub(super) commands_per_s: f64,
    /// Bytes of the tables that rows are in, as they were when the last command had been applied.
    pub(super) loaded_bytes: u64,
    /// The same when all of it had been compacted.
    pub(super) compacted_bytes: u64,
    /// Bytes of the changelog's tables.
    pub(super) changelog_bytes: u64,
}

/// A state that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    dir: PathBuf,
    pub(super) about: About,
}

impl Kept {
    /// Finds the state of so many files in so many directories, or makes it.
    pub(super) async fn find_or_make(dir: &Path, files: u64, dirs: u64) -> Result<Self> {
        let dir = dir.join(format!("{files}-{dirs}"));
        let known = fs::read(dir.join(ABOUT)).ok();
        let about = known.and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
        if let Some(about) = about.filter(|about| about.form == FORM) {
            return Ok(Self { dir, about });
        }
        if dir.exists() {
            fs::remove_dir_all(&dir).context("cannot remove a state that is not complete")?;
        }
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let about = make(&dir, files, dirs).await?;
        fs::write(dir.join(ABOUT), serde_json::to_vec_pretty(&about)?)?;
        Ok(Self { dir, about })
    }

    /// A cluster of one node on a copy of it, that is not started yet.
    pub(super) fn cluster(&self, cache_bytes: u64) -> Result<Cluster> {
        let mut cluster = Cluster::prepare(ClusterOptions {
            cache_bytes: Some(cache_bytes),
            ..ClusterOptions::new("bench-density", 1)
        })?;
        let data = cluster.node(1)?.data().to_owned();
        copy_tree(&self.dir.join("node1"), &data)?;
        // Its address is another now, as if it were the one that is left of a cluster.
        cluster.recover(1, &["--the-others-are-lost"])?;
        Ok(cluster)
    }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

async fn make(dir: &Path, files: u64, dirs: u64) -> Result<About> {
    let mut options = ClusterOptions::new("bench-density-found", 1);
    options.data_root = Some(dir.to_owned());
    let mut cluster = Cluster::start(options).await?;
    let ended = cluster.node(1)?.stop(Duration::from_secs(30)).await?;
    ensure!(ended.success(), "the founded node ended with {ended}");
    let data = cluster.node(1)?.data().to_owned();
    drop(cluster);

    // Mounts look for the volume's own directory.
    let objects = fs::canonicalize(dir)?.join("objects");
    fs::create_dir_all(objects.join(uuid::Uuid::from_bytes(UUID.0).to_string()))?;
    let begin = Instant::now();
    let script = Script::new(&objects, files, dirs)?;
    let commands = load(&data, script, files + dirs).await?;
    let commands_per_s = commands as f64 / begin.elapsed().as_secs_f64();
    let measured = tokio::task::spawn_blocking(move || {
        let state = BareState::reopen(&data)?;
        let loaded = state.table_bytes()?;
        state.compact()?;
        Ok::<_, anyhow::Error>((loaded, state.table_bytes()?))
    });
    let (loaded, compacted) = measured.await??;
    Ok(About {
        form: FORM,
        files,
        dirs,
        commands_per_s,
        loaded_bytes: loaded.state,
        compacted_bytes: compacted.state,
        changelog_bytes: compacted.changelog,
    })
}

/// Applies all of it behind what the node's log has, and lets the log begin behind that. Gives how
/// many commands there were.
async fn load(data: &Path, script: Script, made: u64) -> Result<u64> {
    let mut store = raft_store::open(&StoreOptions::new(data), Arc::new(ProstCodec))?;
    let left = recover::look(&mut store).await?;
    let last = left.last.context("a founded node has a log")?;
    ensure!(
        left.applied == Some(last),
        "the founded node has not applied its log"
    );
    let at = |index| LogId::new(*last.committed_leader_id(), index);
    let mut index = last.index;
    let entries = script.map(|command| {
        index += 1;
        if index % 500_000 == 0 {
            eprintln!("{index} commands");
        }
        let command = command.map_err(|error| io::Error::other(format!("{error:#}")))?;
        let bytes = ProstCodec.encode_command(&command);
        let entry = Entry {
            log_id: at(index),
            payload: EntryPayload::Normal(CommandBytes(bytes.into())),
        };
        Ok::<EntryResponder<TypeConfig>, io::Error>((entry, None))
    });
    store.machine.apply(stream::iter(entries)).await?;
    check(&store, made)?;
    store.log.purge(at(index)).await?;
    Ok(index - last.index)
}

/// Whether every command did what it should have: nobody was told.
fn check(store: &Store, made: u64) -> Result<()> {
    let query = Query {
        volume: FIRST,
        caller: Caller::root(),
        body: QueryBody::StatVolume,
    };
    let answered = store.reader.with_view(|view| read::answer(view, &query))?;
    match answered.map_err(|stop| anyhow!("{stop:?}"))? {
        (_, Answer::Stat(stat)) if stat.inodes == made + 1 => Ok(()),
        (_, other) => bail!("not the root and {made} inodes: {other:?}"),
    }
}

/// The commands in their order: a volume, a session, directories, files, and the end of the session.
struct Script {
    files: u64,
    dirs: u64,
    /// When the next command is proposed, since 1970.
    clock: Duration,
    /// Directories and files that were made.
    made: u64,
    /// What comes before and after them, last first.
    before: Vec<(VolumeId, CommandBody)>,
    after: Vec<(VolumeId, CommandBody)>,
    trimmed: u64,
}

impl Script {
    fn new(objects: &Path, files: u64, dirs: u64) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let all: u64 = (0..files).map(names::pause_ns).sum();
        let begin = now.checked_sub(Duration::from_nanos(all) + MARGIN);
        let storage = serde_json::json!({ "kind": "file", "root": objects });
        let volume = CreateVolume {
            name: VOLUME.to_owned(),
            uuid: UUID,
            block_bytes: 4 << 20,
            storage: serde_json::to_vec(&storage)?,
        };
        let open = CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: b"{}".to_vec(),
        };
        let create = CommandBody::CreateVolume(volume);
        let close = CommandBody::CloseSession { session: SESSION };
        Ok(Self {
            files,
            dirs,
            clock: begin.context("that many files are older than time")?,
            made: 0,
            before: vec![(FIRST, open), (VolumeId::CLUSTER, create)],
            after: vec![(FIRST, close)],
            trimmed: 0,
        })
    }

    /// What is made as the one with this number.
    fn make(&mut self, number: u64) -> Result<CommandBody> {
        let (caller, create) = match number.checked_sub(self.dirs) {
            None => {
                let name = names::dir(number)?;
                (
                    Caller::root(),
                    create(Ino::ROOT, name, 0o777, NewNode::Directory),
                )
            }
            Some(file) => {
                self.clock += Duration::from_nanos(names::pause_ns(file));
                let dir = Ino(FIRST_INO + file / self.files.div_ceil(self.dirs));
                let made = create(dir, names::file(file)?, names::mode(file), NewNode::Regular);
                (names::owner(file), made)
            }
        };
        Ok(CommandBody::Request(Request {
            session: SESSION,
            slot: SlotIndex(0),
            sequence: number + 1,
            caller,
            operation: Operation::Create(create),
        }))
    }

    fn next_body(&mut self) -> Option<Result<(VolumeId, CommandBody)>> {
        if let Some(before) = self.before.pop() {
            return Some(Ok(before));
        }
        if self.made >= self.trimmed + RECORDS_KEPT + TRIM_EVERY {
            self.trimmed += TRIM_EVERY;
            let keep_from = Seq(self.trimmed);
            return Some(Ok((FIRST, CommandBody::TrimChangelog { keep_from })));
        }
        if self.made < self.dirs + self.files {
            let body = self.make(self.made);
            self.made += 1;
            return Some(body.map(|body| (FIRST, body)));
        }
        self.after.pop().map(Ok)
    }
}

impl Iterator for Script {
    type Item = Result<Command>;

    fn next(&mut self) -> Option<Self::Item> {
        let body = self.next_body()?;
        Some(body.map(|(volume, body)| Command {
            volume,
            stamp: Timestamp {
                seconds: i64::try_from(self.clock.as_secs()).unwrap_or(i64::MAX),
                nanos: self.clock.subsec_nanos(),
            },
            read_level: Level(0),
            body,
        }))
    }
}

fn create(parent: Ino, name: Name, mode: u32, node: NewNode) -> Create {
    Create {
        parent,
        name,
        mode,
        node,
        masked: 0,
        existing: Existing::Refuse,
    }
}
