//! The metadata engine inside this process: what it does is decided by the same `apply` and
//! `answer` as on a real node, over maps in memory.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses a part of it"
)]

use chunk_store::{Limits, Memory, ObjectStore, SliceStore, VolumeKeys};
use fs_client::vfs::{MetaApi, MetaStatus, Vfs, VfsError, VfsOptions};
use futures::FutureExt;
use futures::future::BoxFuture;
use meta_client::{LockEnd, LockWish};
use meta_core::attr::{Caller, Timestamp};
use meta_core::changelog::Record;
use meta_core::codec::Codec;
use meta_core::command::{Command, CommandBody, CreateVolume, Operation, Request};
use meta_core::ids::{ClusterId, Epoch, Ino, Level, SessionId, SlotIndex, Uuid, VolumeId};
use meta_core::key::{Key, Table};
use meta_core::kv::{Family, MemKv, Overlay};
use meta_core::limits::LEVEL_MAX;
use meta_core::lock::{GetLock, HeldLock, LockOwner, LockRequest, LockState, UnlockRequest};
use meta_core::outcome::{Fatal, Outcome, Reply, Stop, Success, Token};
use meta_core::query::{Answer, Query, QueryBody, VolumeInfo};
use meta_core::{machine, read};
use parking_lot::Mutex;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

pub(crate) static ROOT: LazyLock<Caller> = LazyLock::new(Caller::root);
pub(crate) const BLOCK_BYTES: u32 = 64 << 10;

/// Replies are never asked for again, and records never read: bytes that differ are enough.
struct TestCodec;

impl Codec for TestCodec {
    fn decode_command(&self, _bytes: &[u8]) -> Result<Command, Fatal> {
        Err(Fatal::Command("the twin stores no commands".to_owned()))
    }

    fn encode_command(&self, _command: &Command) -> Vec<u8> {
        Vec::new()
    }

    fn encode_reply(&self, _reply: &Reply) -> Vec<u8> {
        Vec::new()
    }

    fn decode_reply(&self, _bytes: &[u8]) -> Result<Reply, Fatal> {
        Err(Fatal::Command("the twin stores no replies".to_owned()))
    }

    fn encode_record(&self, record: &Record) -> Vec<u8> {
        format!("{record:?}").into_bytes()
    }

    fn decode_record(&self, _bytes: &[u8]) -> Result<Record, Fatal> {
        Err(Fatal::Command("the twin reads no records".to_owned()))
    }
}

/// What happens to the next operations of a kind, oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mishap {
    /// The outcome is unknown, and it was done.
    DoneUnknown,
    /// The outcome is unknown, and it was not done.
    LostUnknown,
}

#[derive(Debug)]
struct State {
    kv: MemKv,
    volume: VolumeId,
    clock: u64,
}

/// One engine for any number of mounts.
#[derive(Debug)]
pub(crate) struct Engine {
    state: Mutex<State>,
    /// Counts commands, but for requests for locks: who waits for one looks again.
    applied: tokio::sync::watch::Sender<u64>,
}

impl Engine {
    pub(crate) fn new() -> Arc<Self> {
        Self::at_level(LEVEL_MAX)
    }

    /// Its volume is of this level.
    pub(crate) fn at_level(level: Level) -> Arc<Self> {
        let engine = Self {
            state: Mutex::new(State {
                kv: MemKv::default(),
                volume: VolumeId::CLUSTER,
                clock: 0,
            }),
            applied: tokio::sync::watch::Sender::new(0),
        };
        let cluster = Uuid([1; 16]);
        engine.command(VolumeId::CLUSTER, CommandBody::InitCluster { cluster });
        let made = engine.command(
            VolumeId::CLUSTER,
            CommandBody::CreateVolume(CreateVolume {
                name: "twin".to_owned(),
                uuid: Uuid([2; 16]),
                block_bytes: BLOCK_BYTES,
                storage: br#"{"kind":"memory"}"#.to_vec(),
            }),
        );
        match made.outcome {
            Outcome::Done(Success::Volume(volume)) => engine.state.lock().volume = volume,
            other => panic!("no volume: {other:?}"),
        }
        engine.command(engine.volume(), CommandBody::RaiseLevel { level });
        Arc::new(engine)
    }

    /// From now on what is removed is deleted as soon as nobody holds it.
    pub(crate) fn without_trash(&self) {
        let set = CommandBody::SetOptions {
            caller: Caller::root(),
            trash_seconds: 0,
        };
        let set = self.command(self.volume(), set).outcome;
        assert_eq!(set, Outcome::Done(Success::Done));
    }

    pub(crate) fn volume(&self) -> VolumeId {
        self.state.lock().volume
    }

    pub(crate) fn command(&self, volume: VolumeId, body: CommandBody) -> Reply {
        let mut state = self.state.lock();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("a clock");
        state.clock += 1;
        let asks = matches!(
            &body,
            CommandBody::Request(request) if matches!(request.operation, Operation::Lock(_))
        );
        let command = Command {
            volume,
            stamp: Timestamp {
                seconds: now.as_secs() as i64,
                nanos: now.subsec_nanos(),
            },
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&state.kv);
        let reply = machine::apply(&mut pending, &TestCodec, &command).expect("an engine");
        let writes = pending.into_writes();
        state.kv.write(writes);
        if !asks {
            self.applied.send_modify(|count| *count += 1);
        }
        reply
    }

    pub(crate) fn ask(&self, query: &Query) -> Result<(Token, Answer), Stop> {
        read::answer(&self.state.lock().kv, query)
    }

    pub(crate) fn query(&self, body: QueryBody) -> Answer {
        let query = Query {
            volume: self.volume(),
            caller: Caller::root(),
            body,
        };
        self.ask(&query)
            .map(|(_, answer)| answer)
            .expect("an answer")
    }

    pub(crate) fn info(&self) -> VolumeInfo {
        let query = Query {
            volume: VolumeId::CLUSTER,
            caller: Caller::root(),
            body: QueryBody::FindVolume {
                name: "twin".to_owned(),
            },
        };
        match self.ask(&query).expect("an answer").1 {
            Answer::Volume(info) => info,
            other => panic!("{other:?}"),
        }
    }

    /// Requests for locks that wait.
    pub(crate) fn lock_waiters(&self) -> usize {
        let state = self.state.lock();
        let prefix = Key::new(state.volume, Table::Waiter).u8(0).done();
        let rows = state.kv.rows(Family::State).keys();
        rows.filter(|key| key.starts_with(&prefix)).count()
    }

    /// The state satisfies every rule between its rows.
    pub(crate) fn check(&self) {
        let state = self.state.lock();
        let faults = meta_core::check::check(&state.kv, state.volume).expect("a readable store");
        assert!(faults.is_empty(), "{faults:?}");
    }

    fn open_session(&self, nonce: u128) -> SessionId {
        let body = CommandBody::OpenSession {
            nonce,
            slots: 1,
            info: Vec::new(),
        };
        match self.command(self.volume(), body).outcome {
            Outcome::Done(Success::Session(id)) => id,
            other => panic!("no session: {other:?}"),
        }
    }
}

#[derive(Debug, Default)]
struct Wire {
    session: SessionId,
    sequence: u64,
    mishaps: Vec<Mishap>,
    grant_mishaps: Vec<Mishap>,
    /// Commits and appends done, for tests that count them.
    commits: u64,
}

/// One that waits, counted as long as it does.
pub(crate) struct Waits<'a>(&'a std::sync::atomic::AtomicU64);

impl<'a> Waits<'a> {
    pub(crate) fn at(count: &'a std::sync::atomic::AtomicU64) -> Self {
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

/// A mount's session with the engine.
#[derive(Debug)]
pub(crate) struct TwinSession {
    pub(crate) engine: Arc<Engine>,
    wire: Mutex<Wire>,
    /// While it is held, no operation is answered.
    pub(crate) gate: tokio::sync::RwLock<()>,
    /// While it is held, no operation that changes something is answered.
    pub(crate) changing: tokio::sync::RwLock<()>,
    /// Operations and questions that wait for one of the two.
    waiting: std::sync::atomic::AtomicU64,
    /// While it is held, the session does not end.
    pub(crate) closing: tokio::sync::RwLock<()>,
    /// How often it was told to end.
    pub(crate) closes: std::sync::atomic::AtomicU64,
}

impl TwinSession {
    pub(crate) fn open(engine: &Arc<Engine>) -> Arc<Self> {
        let session = Self {
            engine: Arc::clone(engine),
            wire: Mutex::default(),
            gate: tokio::sync::RwLock::new(()),
            changing: tokio::sync::RwLock::new(()),
            waiting: std::sync::atomic::AtomicU64::new(0),
            closing: tokio::sync::RwLock::new(()),
            closes: std::sync::atomic::AtomicU64::new(0),
        };
        session.renew();
        Arc::new(session)
    }

    /// Loses the session with its grants and opens another.
    pub(crate) fn renew(&self) {
        static NONCE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let nonce = NONCE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut wire = self.wire.lock();
        if wire.sequence > 0 || wire.session != SessionId(0) {
            let body = CommandBody::ExpireSessions {
                sessions: vec![wire.session],
            };
            self.engine.command(self.engine.volume(), body);
        }
        wire.session = self.engine.open_session(u128::from(nonce));
        wire.sequence = 0;
    }

    /// The next grant of ids ends so.
    pub(crate) fn grant_mishap(&self, mishap: Mishap) {
        self.wire.lock().grant_mishaps.push(mishap);
    }

    /// What happens to the next commits and appends.
    pub(crate) fn mishap(&self, mishap: Mishap) {
        self.wire.lock().mishaps.push(mishap);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.wire.lock().commits
    }

    /// How many operations and questions wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(std::sync::atomic::Ordering::SeqCst)
    }

    async fn pass<'a>(
        &self,
        gate: &'a tokio::sync::RwLock<()>,
    ) -> tokio::sync::RwLockReadGuard<'a, ()> {
        // Who passes at once does not wait.
        if let Ok(open) = gate.try_read() {
            return open;
        }
        let _counted = Waits::at(&self.waiting);
        gate.read().await
    }

    pub(crate) fn run(&self, caller: Caller, operation: Operation) -> Result<Success, VfsError> {
        self.run_in(None, caller, operation)
    }

    fn run_in(
        &self,
        only: Option<SessionId>,
        caller: Caller,
        operation: Operation,
    ) -> Result<Success, VfsError> {
        let mut wire = self.wire.lock();
        if only.is_some_and(|only| only != wire.session) {
            return Err(VfsError::SessionLost("another one was opened".into()));
        }
        let writes = matches!(operation, Operation::Commit(_) | Operation::Append(_));
        let mishap = match &operation {
            Operation::GrantSlices { .. } => wire.grant_mishaps.pop(),
            _ => (writes && !wire.mishaps.is_empty()).then(|| wire.mishaps.remove(0)),
        };
        if mishap == Some(Mishap::LostUnknown) {
            return Err(VfsError::Unknown("lost before".into()));
        }
        wire.sequence += 1;
        wire.commits += u64::from(writes);
        let request = Request {
            session: wire.session,
            slot: SlotIndex(0),
            sequence: wire.sequence,
            caller,
            operation,
        };
        let volume = self.engine.volume();
        let reply = self.engine.command(volume, CommandBody::Request(request));
        match (reply.outcome, mishap) {
            (_, Some(_)) => Err(VfsError::Unknown("lost after".into())),
            (Outcome::Done(success), None) => Ok(success),
            (Outcome::Refused(refusal), None) => Err(refusal.into()),
            (Outcome::NotExecuted(why), None) => panic!("{why:?}"),
        }
    }
}

impl TwinSession {
    fn ask_for(
        &self,
        wish: LockWish,
        wait: Option<u64>,
    ) -> Result<(LockState, SessionId), VfsError> {
        let LockWish {
            ino,
            kind,
            owner,
            pid,
            range,
            mode,
        } = wish;
        let request = Operation::Lock(LockRequest {
            ino,
            kind,
            owner,
            pid,
            range,
            mode,
            wait,
        });
        let session = self.wire.lock().session;
        match self.run_in(Some(session), Caller::root(), request)? {
            Success::Locked { state, .. } => Ok((state, session)),
            other => panic!("{other:?}"),
        }
    }

    async fn wait_for(
        &self,
        wish: LockWish,
        mut give_up: BoxFuture<'static, ()>,
    ) -> Result<LockEnd, VfsError> {
        static TICKETS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let ticket = TICKETS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut applied = self.engine.applied.subscribe();
        loop {
            let seen = *applied.borrow_and_update();
            let (state, session) = self.ask_for(wish, Some(ticket))?;
            match state {
                LockState::Granted => return Ok(LockEnd::Granted(session)),
                LockState::Deadlock => return Ok(LockEnd::Deadlock),
                LockState::Conflict => return Ok(LockEnd::Conflict),
                LockState::Waiting => {}
            }
            tokio::select! {
                changed = applied.wait_for(|count| *count > seen) => {
                    changed.expect("an engine");
                }
                () = &mut give_up => {
                    let cancel = Operation::CancelLock {
                        kind: wish.kind,
                        owner: wish.owner,
                        ticket,
                    };
                    return match self.run(Caller::root(), cancel)? {
                        Success::LockCancelled { waited: false } => match self.ask_for(wish, None)? {
                            (LockState::Granted, session) => Ok(LockEnd::Granted(session)),
                            _ => Ok(LockEnd::Cancelled),
                        },
                        _ => Ok(LockEnd::Cancelled),
                    };
                }
            }
        }
    }
}

impl MetaApi for TwinSession {
    fn execute_in(
        &self,
        session: SessionId,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>> {
        async move {
            let _open = self.gate.read().await;
            self.run_in(Some(session), caller, operation)
        }
        .boxed()
    }

    fn session(&self) -> SessionId {
        self.wire.lock().session
    }

    fn lock(
        &self,
        wish: LockWish,
        give_up: Option<BoxFuture<'static, ()>>,
    ) -> BoxFuture<'_, Result<LockEnd, VfsError>> {
        async move {
            let Some(give_up) = give_up else {
                return Ok(match self.ask_for(wish, None)? {
                    (LockState::Granted, session) => LockEnd::Granted(session),
                    (LockState::Deadlock, _) => LockEnd::Deadlock,
                    _ => LockEnd::Conflict,
                });
            };
            self.wait_for(wish, give_up).await
        }
        .boxed()
    }

    fn unlock(&self, given: UnlockRequest) -> BoxFuture<'_, Result<(), VfsError>> {
        async move { self.run(Caller::root(), Operation::Unlock(given)).map(drop) }.boxed()
    }

    fn get_lock(&self, wish: LockWish) -> BoxFuture<'_, Result<Option<HeldLock>, VfsError>> {
        let owner = LockOwner {
            session: self.session(),
            kind: wish.kind,
            number: wish.owner,
        };
        let asked = QueryBody::GetLock(GetLock {
            ino: wish.ino,
            owner,
            range: wish.range,
            mode: wish.mode,
        });
        async move {
            match self.query(Caller::root(), asked).await? {
                Answer::Lock(held) => Ok(held),
                other => panic!("{other:?}"),
            }
        }
        .boxed()
    }

    fn execute(
        &self,
        caller: Caller,
        operation: Operation,
    ) -> BoxFuture<'_, Result<Success, VfsError>> {
        async move {
            let _open = self.pass(&self.gate).await;
            let _may_change = self.pass(&self.changing).await;
            self.run(caller, operation)
        }
        .boxed()
    }

    fn query(&self, caller: Caller, body: QueryBody) -> BoxFuture<'_, Result<Answer, VfsError>> {
        async move {
            let _open = self.pass(&self.gate).await;
            let query = Query {
                volume: self.engine.volume(),
                caller,
                body,
            };
            match self.engine.ask(&query) {
                Ok((_, answer)) => Ok(answer),
                Err(Stop::Refused(refusal)) => Err(refusal.into()),
                Err(Stop::Fatal(fatal)) => panic!("{fatal}"),
            }
        }
        .boxed()
    }

    fn epochs(&self) -> BoxFuture<'_, Result<Vec<(Epoch, ClusterId)>, VfsError>> {
        async move { Ok(self.engine.info().epochs) }.boxed()
    }

    fn status(&self) -> MetaStatus {
        MetaStatus {
            leader: Some("twin".to_owned()),
            connected: true,
            session: self.wire.lock().session,
            ..MetaStatus::default()
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            self.closes
                .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let _open = self.closing.read().await;
        }
        .boxed()
    }
}

/// Deletes what no name and none of the mounts holds, as a leader does.
pub(crate) async fn reap(engine: &Engine, mounts: &[&Vfs]) {
    let orphans = match engine.query(QueryBody::Orphans {
        after: Ino(0),
        count_max: 1000,
    }) {
        Answer::Inodes(orphans) => orphans,
        other => panic!("{other:?}"),
    };
    let mut held = Vec::new();
    for mount in mounts {
        held.extend(mount.held(&orphans).await);
    }
    for ino in orphans.into_iter().filter(|ino| !held.contains(ino)) {
        let body = CommandBody::Reap {
            ino,
            rows_max: 1000,
        };
        let reply = engine.command(engine.volume(), body);
        assert!(matches!(reply.outcome, Outcome::Done(_)), "{reply:?}");
    }
}

/// Options with small bounds, so that small tests reach them.
pub(crate) fn options() -> VfsOptions {
    VfsOptions {
        block_bytes: BLOCK_BYTES,
        ..VfsOptions::default()
    }
}

pub(crate) fn slices(engine: &Engine, store: Arc<dyn ObjectStore>) -> SliceStore {
    let info = engine.info();
    let keys = VolumeKeys {
        uuid: info.uuid,
        epochs: info.epochs,
    };
    // A failure is told at once.
    let limits = Limits {
        retry_for: std::time::Duration::ZERO,
        ..Limits::default()
    };
    SliceStore::new(store, keys, info.block_bytes, limits)
}

/// A mount on the engine over a store that all mounts share.
pub(crate) fn mount(
    engine: &Arc<Engine>,
    store: &Arc<dyn ObjectStore>,
    options: VfsOptions,
) -> (Vfs, Arc<TwinSession>) {
    let session = TwinSession::open(engine);
    let slices = slices(engine, Arc::clone(store));
    (Vfs::open(session.clone(), slices, options), session)
}

pub(crate) fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(Memory::default())
}
