//! Compaction, by the workers of mounts and by itself: over the engine in this process, with a store that
//! fails as it is told.

mod twin;

use bytes::Bytes;
use chunk_store::{Failing, Fault, Memory, ObjectStore, Step};
use fs_client::vfs::{CompactError, Compacted, Compactor, HandleId, OpenHow, SeekFor, Stats, Vfs};
use fs_client::vfs::{VfsError, WriteHow};
use fs_client::worker::{DumpSource, Worker, WorkerParts};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use meta_client::DumpError;
use meta_core::command::{CommandBody, FallocateMode, SetAttr};
use meta_core::compaction::Effort;
use meta_core::ids::{ChunkIndex, Ino};
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Token};
use meta_core::query::{Answer, QueryBody, SliceCursor};
use std::fs::File as OsFile;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use twin::{Engine, ROOT, TwinSession};

const PATIENCE: Duration = Duration::from_secs(60);
/// Short, so that many looks are made soon.
const INTERVAL: Duration = Duration::from_millis(2);
const CHUNK: ChunkIndex = ChunkIndex(0);

/// No backup is due here.
#[derive(Debug)]
struct NoDumps;

impl DumpSource for NoDumps {
    fn dump(&self, _out: Arc<OsFile>) -> BoxFuture<'_, Result<Token, DumpError>> {
        futures::future::pending().boxed()
    }
}

/// Numbers that look random, and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (first, step) = (self.below(256) as u8, 1 + 2 * self.below(100) as u8);
        (0..len)
            .map(|at| first.wrapping_add(step.wrapping_mul(at as u8)) | 1)
            .collect()
    }
}

/// An engine and a bucket for any number of mounts.
struct World {
    engine: Arc<Engine>,
    store: Arc<Failing<Memory>>,
    ended: CancellationToken,
}

impl World {
    fn new() -> Self {
        Self {
            engine: Engine::new(),
            store: Arc::new(Failing::new(Memory::default())),
            ended: CancellationToken::new(),
        }
    }

    fn mount(&self) -> Mounted {
        let store: Arc<dyn ObjectStore> = Arc::clone(&self.store) as _;
        let (vfs, session) = twin::mount(&self.engine, &store, twin::options());
        Mounted { vfs, session }
    }

    /// What is worked with in a mount's session.
    fn work(&self, mount: &Mounted) -> Worker {
        let parts = WorkerParts {
            meta: Arc::clone(&mount.session) as _,
            store: Arc::clone(&self.store) as _,
            slices: twin::slices(&self.engine, Arc::clone(&self.store) as _),
            source: Arc::new(NoDumps),
            volume: self.engine.info().uuid,
            stats: Arc::clone(mount.vfs.stats()),
            backup_interval: None,
            compact_interval: INTERVAL,
        };
        Worker::start(parts, &self.ended)
    }

    fn compactor(&self, mount: &Mounted) -> Compactor {
        let slices = twin::slices(&self.engine, Arc::clone(&self.store) as _);
        let stats = Arc::<Stats>::default();
        Compactor::new(Arc::clone(&mount.session) as _, slices, stats)
    }

    /// How many slices show of a file.
    fn slices(&self, ino: Ino) -> usize {
        let asked = QueryBody::ReadSlices {
            ino,
            from: SliceCursor::default(),
            end: ChunkIndex(u32::MAX),
        };
        match self.engine.query(asked) {
            Answer::Slices {
                slices, next: None, ..
            } => slices.len(),
            other => panic!("{other:?}"),
        }
    }

    /// Chunks that the engine has marked.
    fn marks(&self) -> Vec<(Ino, ChunkIndex)> {
        let asked = QueryBody::Compactable {
            after: (Ino(0), ChunkIndex(0)),
            count_max: 100,
        };
        match self.engine.query(asked) {
            Answer::Chunks(chunks) => chunks,
            other => panic!("{other:?}"),
        }
    }

    /// All mounts that come later, and the engine, find the file to be this.
    async fn expect(&self, ino: Ino, model: &[u8]) {
        let mount = self.mount();
        let file = mount.open(ino).await;
        assert!(mount.read(&file).await == model, "another mount");
        self.engine.check();
    }
}

/// One mount.
struct Mounted {
    vfs: Vfs,
    session: Arc<TwinSession>,
}

/// An open file.
#[derive(Clone, Copy)]
struct File {
    ino: Ino,
    handle: HandleId,
}

fn both() -> OpenHow {
    OpenHow {
        read: true,
        write: true,
        ..OpenHow::default()
    }
}

impl Mounted {
    async fn create(&self, name: &str) -> File {
        let name = Name::new(name).expect("a name");
        let create = self.vfs.create(&ROOT, Ino::ROOT, name, 0o644, both());
        let opened = create.await.expect("a file");
        File {
            ino: opened.attr.ino,
            handle: opened.handle,
        }
    }

    async fn open(&self, ino: Ino) -> File {
        let opened = self.vfs.open_file(&ROOT, ino, both()).await;
        let handle = opened.expect("a handle").handle;
        File { ino, handle }
    }

    /// Writes, and waits until it is committed.
    async fn write(&self, file: &File, offset: u64, data: &[u8]) {
        self.put(file, offset, data, false).await;
    }

    async fn append(&self, file: &File, data: &[u8]) {
        self.put(file, 0, data, true).await;
    }

    async fn put(&self, file: &File, offset: u64, data: &[u8], append: bool) {
        let how = WriteHow {
            append,
            sync: false,
        };
        let data = Bytes::copy_from_slice(data);
        let written = self.vfs.write(file.handle, &ROOT, offset, data, how).await;
        written.expect("a write");
        self.vfs.fsync(file.handle).await.expect("fsync");
    }

    /// So many records at the end of a file, a slice each. Gives what the file holds then.
    async fn log(&self, file: &File, records: usize, len: usize) -> Vec<u8> {
        let mut random = Random(file.ino.0);
        let mut model = Vec::new();
        for _ in 0..records {
            let record = random.bytes(len);
            self.append(file, &record).await;
            model.extend(record);
        }
        model
    }

    async fn resize(&self, file: &File, length: u64) {
        let change = SetAttr {
            ino: file.ino,
            length: Some(length),
            by_handle: true,
            ..SetAttr::default()
        };
        self.vfs.set_attr(&ROOT, change).await.expect("a length");
    }

    async fn read(&self, file: &File) -> Vec<u8> {
        let read = self.vfs.read(file.handle, 0, 16 << 20).await;
        read.expect("a read").to_vec()
    }

    /// Where data lies, between holes.
    async fn data(&self, file: &File) -> Vec<(u64, u64)> {
        let (mut found, mut at) = (Vec::new(), 0);
        loop {
            match self.vfs.seek(file.handle, at, SeekFor::Data).await {
                Ok(begin) => {
                    let end = self.vfs.seek(file.handle, begin, SeekFor::Hole).await;
                    at = end.expect("an end");
                    found.push((begin, at));
                }
                Err(VfsError::NoData) => return found,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn compacted(&self) -> Compacted {
        self.vfs.stats().compactions().0
    }

    /// How often a chunk was left as it is.
    fn left(&self) -> u64 {
        self.vfs.stats().compactions().1
    }
}

fn put_into(model: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let begin = usize::try_from(offset).expect("small");
    let end = begin + data.len();
    if model.len() < end {
        model.resize(end, 0);
    }
    model[begin..end].copy_from_slice(data);
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_many_small_appends_gets_few_slices_and_reads_the_same() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("log").await;
    let model = mount.log(&file, 500, 100).await;
    assert_eq!(world.slices(file.ino), 500);
    assert_eq!(world.marks(), [(file.ino, CHUNK)]);
    // What this mount knows of the slices is what they were.
    assert!(mount.read(&file).await == model);
    let _worker = world.work(&mount);
    until("the worker", || world.marks().is_empty()).await;
    assert_eq!(world.slices(file.ino), 1);
    let expected = Compacted {
        chunks: 1,
        slices_before: 500,
        slices_after: 1,
        bytes: 50_000,
    };
    assert_eq!((mount.compacted(), mount.left()), (expected, 0));
    let text = mount.vfs.stats().text(&[]);
    for line in [
        "curlew_compacted_chunks_total 1\n",
        "curlew_compacted_slices_total 500\n",
        "curlew_compacted_slices_left_total 1\n",
        "curlew_compacted_bytes_total 50000\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(mount.read(&file).await == model);
    world.expect(file.ino, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_overwrites_are_compacted_to_what_they_show() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("file").await;
    let mut random = Random(7);
    // Longer than what is read at once.
    let mut model = random.bytes(2_500_000);
    mount.write(&file, 0, &model).await;
    for _ in 0..250 {
        let (offset, len) = (random.below(4_000_000), 1 + random.below(15_000));
        let data = random.bytes(len as usize);
        mount.write(&file, offset, &data).await;
        put_into(&mut model, offset, &data);
    }
    let before = mount.data(&file).await;
    let mut done = Compacted::default();
    let compactor = world.compactor(&mount);
    let compacted = compactor.compact(file.ino, CHUNK, Effort::All, &mut done);
    compacted.await.expect("compacted");
    assert_eq!(mount.data(&file).await, before);
    assert!(before.len() > 1, "{before:?}");
    assert_eq!(world.slices(file.ino), before.len());
    assert_eq!(done.slices_after, before.len() as u64);
    assert!(mount.read(&file).await == model);
    world.expect(file.ino, &model).await;
    let again = compactor.compact(file.ino, CHUNK, Effort::All, &mut done);
    assert_eq!(again.await, Ok(()));
    assert_eq!((done.chunks, done.slices_before), (1, 251));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn few_slices_are_left_alone_unless_all_is_asked_for() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("file").await;
    let model = mount.log(&file, 5, 1000).await;
    let compactor = world.compactor(&mount);
    let mut done = Compacted::default();
    for (effort, slices) in [(Effort::Enough, 5), (Effort::All, 1)] {
        let compacted = compactor.compact(file.ino, CHUNK, effort, &mut done);
        compacted.await.expect("compacted");
        assert_eq!(world.slices(file.ino), slices, "{effort:?}");
    }
    assert_eq!((done.slices_before, done.slices_after), (5, 1));
    world.expect(file.ino, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_that_go_on_while_a_file_is_compacted_are_not_lost() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("file").await;
    let _worker = world.work(&mount);
    let (mut random, mut model) = (Random(11), Vec::new());
    let (begin, mut writes) = (Instant::now(), 0);
    while writes < 300 || mount.compacted().chunks < 5 {
        assert!(begin.elapsed() < PATIENCE, "{:?}", mount.compacted());
        writes += 1;
        let len = 1 + random.below(2000) as usize;
        let data = random.bytes(len);
        if random.below(3) == 0 {
            mount.append(&file, &data).await;
            model.extend(&data);
        } else {
            let offset = random.below(300_000);
            mount.write(&file, offset, &data).await;
            put_into(&mut model, offset, &data);
        }
        if writes % 50 == 0 {
            assert!(mount.read(&file).await == model, "after {writes} writes");
        }
    }
    until("what is marked", || world.marks().is_empty()).await;
    assert!(world.slices(file.ino) < writes);
    assert_eq!(mount.left(), 0);
    assert!(mount.read(&file).await == model);
    world.expect(file.ino, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunk_that_cannot_be_read_is_left_as_it_is_and_holds_up_no_other() {
    let world = World::new();
    let mount = world.mount();
    let damaged = mount.create("damaged").await;
    let mut model = mount.log(&damaged, 1, 100).await;
    let prefix = format!("{}/", world.engine.info().uuid);
    let listed = world.store.inner().list(&prefix, "", 100).await;
    let keys = listed.expect("listed");
    let [(key, _)] = keys.as_slice() else {
        panic!("{keys:?}");
    };
    model.extend(mount.log(&damaged, 39, 100).await);
    let flip = || {
        let found = world.store.inner().tamper(key, |bytes| bytes[0] ^= 1);
        assert!(found, "{key}");
    };
    flip();
    let whole = mount.create("whole").await;
    let other_model = mount.log(&whole, 40, 100).await;
    let worker = world.work(&mount);
    until("the other", || world.slices(whole.ino) == 1).await;
    until("its mark", || world.marks() == [(damaged.ino, CHUNK)]).await;
    assert!(mount.left() >= 1);
    assert_eq!(world.slices(damaged.ino), 40);
    let read = mount.vfs.read(damaged.handle, 0, 4000).await;
    assert!(matches!(read, Err(VfsError::Storage(_))), "{read:?}");
    let rest = mount.vfs.read(damaged.handle, 100, 4000).await;
    assert!(rest.expect("the rest") == model[100..]);
    // It is tried again some time later.
    flip();
    until("the damaged one", || world.slices(damaged.ino) == 1).await;
    drop(worker);
    world.expect(damaged.ino, &model).await;
    world.expect(whole.ino, &other_model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_replaced_by_what_cannot_be_stored() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("file").await;
    let model = mount.log(&file, 40, 100).await;
    world.store.always(Step::Put, Fault::NoSpace);
    let compactor = world.compactor(&mount);
    let mut done = Compacted::default();
    let refused = compactor.compact(file.ino, CHUNK, Effort::Enough, &mut done);
    let refused = refused.await;
    assert!(
        matches!(refused, Err(CompactError::Unstored(_))),
        "{refused:?}"
    );
    let _worker = world.work(&mount);
    until("a failure", || mount.left() >= 1).await;
    assert_eq!((world.slices(file.ino), done.chunks), (40, 0));
    world.store.always(Step::Put, Fault::None);
    until("the worker", || world.marks().is_empty()).await;
    assert_eq!(world.slices(file.ino), 1);
    world.expect(file.ino, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_at_once_compact_what_both_mounts_write() {
    const RECORD: usize = 500;
    let world = World::new();
    let mounts = [world.mount(), world.mount()];
    let file = mounts[0].create("file").await;
    let other = mounts[1].open(file.ino).await;
    let _workers = mounts.each_ref().map(|mount| world.work(mount));
    let write = async |mount: &Mounted, file: File, own: u64| {
        let mut random = Random(own);
        let mut all = Vec::new();
        for number in 0..200 {
            let offset = (2 * number + own) * RECORD as u64;
            let data = random.bytes(RECORD);
            mount.write(&file, offset, &data).await;
            all.push((offset, data));
        }
        all
    };
    let (mine, others) = tokio::join!(write(&mounts[0], file, 0), write(&mounts[1], other, 1));
    let mut model = Vec::new();
    for (offset, data) in mine.iter().chain(&others) {
        put_into(&mut model, *offset, data);
    }
    until("what is marked", || world.marks().is_empty()).await;
    assert!(world.slices(file.ino) < 200, "{}", world.slices(file.ino));
    let chunks: u64 = mounts.iter().map(|mount| mount.compacted().chunks).sum();
    assert!(chunks >= 1);
    for mount in &mounts {
        let again = mount.open(file.ino).await;
        assert!(mount.read(&again).await == model);
    }
    world.expect(file.ino, &model).await;
}

/// A file is made shorter while its slices are written anew; what is behind its end stays away. Its rows may
/// be made shorter as well, and then nothing of what was planned is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncation_in_between_is_not_undone() {
    for is_trimmed in [false, true] {
        let world = World::new();
        let (mount, other) = (world.mount(), world.mount());
        let file = mount.create("file").await;
        let mut model = mount.log(&file, 40, 1000).await;
        let compactor = world.compactor(&other);
        let shut = other.session.changing.write().await;
        let work = tokio::spawn(async move {
            let mut done = Compacted::default();
            let compacted = compactor.compact(file.ino, CHUNK, Effort::All, &mut done);
            (compacted.await, done)
        });
        // It has its plan, and waits for ids.
        until("the compactor", || other.session.waiting() == 1).await;
        mount.resize(&file, 10_500).await;
        let trim = CommandBody::Trim {
            ino: file.ino,
            rows_max: 1000,
        };
        if is_trimmed {
            let trimmed = world.engine.command(world.engine.volume(), trim).outcome;
            assert!(matches!(trimmed, Outcome::Done(_)), "{trimmed:?}");
            assert_eq!(world.slices(file.ino), 11);
        }
        drop(shut);
        let (compacted, done) = work.await.expect("a compactor");
        assert_eq!(compacted, Ok(()));
        // What was stored for the first plan is not used if the rows are not what they were.
        let (before, puts) = if is_trimmed { (11, 42) } else { (40, 41) };
        assert_eq!((done.slices_before, done.slices_after), (before, 1));
        assert_eq!(world.store.count(Step::Put), puts);
        assert_eq!(world.slices(file.ino), 1);
        model.truncate(10_500);
        world.expect(file.ino, &model).await;
        mount.resize(&file, 40_000).await;
        model.resize(40_000, 0);
        assert!(mount.read(&file).await == model);
        world.expect(file.ino, &model).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_session_costs_a_second_upload_and_nothing_else() {
    let world = World::new();
    let mount = world.mount();
    let (first, file) = (mount.create("first").await, mount.create("file").await);
    mount.log(&first, 20, 100).await;
    let model = mount.log(&file, 20, 100).await;
    let other = world.mount();
    let compactor = world.compactor(&other);
    let mut done = Compacted::default();
    // From here on it has ids.
    let compacted = compactor.compact(first.ino, CHUNK, Effort::Enough, &mut done);
    compacted.await.expect("compacted");
    assert_eq!(world.store.count(Step::Put), 41);
    let shut = other.session.changing.write().await;
    let work = tokio::spawn(async move {
        let compacted = compactor.compact(file.ino, CHUNK, Effort::Enough, &mut done);
        (compacted.await, done)
    });
    until("the commit", || other.session.waiting() == 1).await;
    assert_eq!(world.store.count(Step::Put), 42);
    other.session.renew();
    drop(shut);
    let (compacted, done) = work.await.expect("a compactor");
    assert_eq!(compacted, Ok(()));
    assert_eq!((done.chunks, done.slices_after), (2, 2));
    assert_eq!(world.store.count(Step::Put), 43);
    assert_eq!(world.slices(file.ino), 1);
    world.expect(file.ino, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_stay_holes() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("file").await;
    let mut model = mount.log(&file, 40, 1000).await;
    let mut random = Random(3);
    for number in 0..40 {
        let (offset, data) = (100_000 + number * 1000, random.bytes(1000));
        mount.write(&file, offset, &data).await;
        put_into(&mut model, offset, &data);
    }
    let data = random.bytes(50_000);
    mount.write(&file, 200_000, &data).await;
    put_into(&mut model, 200_000, &data);
    // One that takes slices away, and one in the middle of a slice.
    for hole in [10_500..19_500, 210_000..220_000] {
        let (offset, len) = (hole.start as u64, hole.len() as u64);
        let punch = FallocateMode::Punch;
        let holed = mount
            .vfs
            .make_hole(file.handle, &ROOT, offset, len, punch)
            .await;
        holed.expect("a hole");
        model[hole].fill(0);
    }
    // Some of both is written again, which lies over the holes.
    for number in 0..40 {
        let begin = if number < 20 { 15_000 } else { 210_000 };
        let (offset, data) = (begin + number * 100, random.bytes(100));
        mount.write(&file, offset, &data).await;
        put_into(&mut model, offset, &data);
    }
    let before = mount.data(&file).await;
    let expected = [
        (0, 10_500),
        (15_000, 17_000),
        (19_500, 40_000),
        (100_000, 140_000),
        (200_000, 210_000),
        (212_000, 214_000),
        (220_000, 250_000),
    ];
    assert_eq!(before, expected);
    let slices = world.slices(file.ino);
    let mut done = Compacted::default();
    let compactor = world.compactor(&mount);
    let compacted = compactor.compact(file.ino, CHUNK, Effort::All, &mut done);
    compacted.await.expect("compacted");
    assert!(slices > 80, "{slices}");
    // As many as there are ranges: one slice shows on both sides of a hole.
    assert_eq!(world.slices(file.ino), expected.len());
    assert_eq!(mount.data(&file).await, expected);
    assert!(mount.read(&file).await == model);
    world.expect(file.ino, &model).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stops_in_the_middle_when_its_mount_ends() {
    let world = World::new();
    let mount = world.mount();
    let file = mount.create("file").await;
    let model = mount.log(&file, 40, 100).await;
    let users = Arc::strong_count(&world.store);
    // Nothing that is read comes while the test lasts.
    let long = Fault::Delay(Duration::from_secs(86_400));
    world.store.always(Step::Get, long);
    let _worker = world.work(&mount);
    until("a read", || world.store.count(Step::Get) >= 1).await;
    assert!(Arc::strong_count(&world.store) > users);
    world.ended.cancel();
    until("its end", || Arc::strong_count(&world.store) == users).await;
    world.store.always(Step::Get, Fault::None);
    assert_eq!(world.slices(file.ino), 40);
    world.expect(file.ino, &model).await;
}
