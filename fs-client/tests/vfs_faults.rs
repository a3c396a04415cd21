//! What becomes of written data when something fails.

mod limits;
mod twin;

use async_trait::async_trait;
use bytes::Bytes;
use chunk_store::{Memory, ObjectError, ObjectStore};
use fs_client::vfs::{HandleId, OpenHow, Vfs, VfsError, VfsOptions, WriteHow};
use meta_core::attr::Caller;
use meta_core::command::CommandBody;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal, Success};
use meta_core::quota::{Limit, Subject};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::RwLock;
use twin::{Mishap, ROOT};

/// A store that can be told to fail, to be full, to damage what is read, and to hold puts back.
#[derive(Debug, Default)]
struct Switch {
    inner: Memory,
    failing: AtomicBool,
    full: AtomicBool,
    flipping: AtomicBool,
    puts: AtomicU64,
    gate: RwLock<()>,
}

#[async_trait]
impl ObjectStore for Switch {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        let _open = self.gate.read().await;
        self.puts.fetch_add(1, SeqCst);
        if self.failing.load(SeqCst) {
            return Err(ObjectError::Failed {
                action: "put",
                key: key.to_owned(),
                why: "told to fail".to_owned(),
            });
        }
        if self.full.load(SeqCst) {
            let key = key.to_owned();
            return Err(ObjectError::NoSpace { key });
        }
        self.inner.put(key, data).await
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        self.inner.put_file(key, file).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        let data = self.inner.get(key, range).await?;
        if !self.flipping.load(SeqCst) {
            return Ok(data);
        }
        let mut data = data.to_vec();
        data[0] ^= 1;
        Ok(data.into())
    }

    async fn head(&self, key: &str) -> Result<Option<u64>, ObjectError> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), ObjectError> {
        self.inner.delete(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: &str,
        count_max: usize,
    ) -> Result<Vec<(String, u64)>, ObjectError> {
        self.inner.list(prefix, after, count_max).await
    }
}

struct Bench {
    engine: Arc<twin::Engine>,
    store: Arc<Switch>,
    vfs: Vfs,
    session: Arc<twin::TwinSession>,
}

impl Bench {
    fn new(options: VfsOptions) -> Self {
        let engine = twin::Engine::new();
        let store = Arc::new(Switch::default());
        let shared: Arc<dyn ObjectStore> = store.clone();
        let (vfs, session) = twin::mount(&engine, &shared, options);
        Self {
            engine,
            store,
            vfs,
            session,
        }
    }

    async fn create(&self, name: &str) -> (Ino, HandleId) {
        self.create_in(Ino::ROOT, name).await
    }

    async fn create_in(&self, parent: Ino, name: &str) -> (Ino, HandleId) {
        let name = Name::new(name).expect("a name");
        let create = self.vfs.create(&ROOT, parent, name, 0o644, both());
        let opened = create.await.expect("a file");
        (opened.attr.ino, opened.handle)
    }

    async fn write(&self, handle: HandleId, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        let data = Bytes::copy_from_slice(data);
        let how = WriteHow::default();
        self.vfs.write(handle, &ROOT, offset, data, how).await
    }

    async fn append(&self, handle: HandleId, data: &[u8]) -> Result<(), VfsError> {
        let data = Bytes::copy_from_slice(data);
        let how = WriteHow {
            append: true,
            sync: false,
        };
        self.vfs.write(handle, &ROOT, 0, data, how).await
    }

    /// What another mount reads of a file.
    async fn stored(&self, ino: Ino) -> Vec<u8> {
        let shared: Arc<dyn ObjectStore> = self.store.clone();
        let (other, _) = twin::mount(&self.engine, &shared, twin::options());
        let opened = other.open_file(&ROOT, ino, both()).await.expect("open");
        let read = other.read(opened.handle, 0, 64 << 20).await;
        read.expect("a read").to_vec()
    }

    /// Limits bytes, and counts until that holds.
    fn limit(&self, subject: Subject, bytes: u64) {
        let set = CommandBody::SetQuota {
            caller: Caller::root(),
            subject,
            limit: Limit {
                bytes: Some(bytes),
                inodes: None,
            },
        };
        let volume = self.engine.volume();
        let set = self.engine.command(volume, set).outcome;
        assert_eq!(set, Outcome::Done(Success::Done));
        let count = CommandBody::CountFiles { files_max: 256 };
        while let Outcome::Done(Success::Maintained { more: true, .. }) =
            self.engine.command(volume, count.clone()).outcome
        {}
    }

    async fn open(&self, ino: Ino) -> HandleId {
        let open = self.vfs.open_file(&ROOT, ino, both());
        open.await.expect("a handle").handle
    }
}

fn both() -> OpenHow {
    OpenHow {
        read: true,
        write: true,
        ..OpenHow::default()
    }
}

/// Bytes of which no two pieces look alike.
fn pattern(len: u32) -> Vec<u8> {
    let bytes = (0..len).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
    bytes.collect()
}

fn is_storage(result: Result<(), VfsError>) -> bool {
    matches!(result, Err(VfsError::Storage(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_is_told_to_every_handle_once() {
    let bench = Bench::new(twin::options());
    let (ino, first) = bench.create("file").await;
    let second = bench.open(ino).await;
    bench.write(first, 0, b"kept").await.expect("a write");
    bench.vfs.fsync(first).await.expect("fsync");
    bench.store.failing.store(true, SeqCst);
    bench.write(first, 0, b"lost").await.expect("taken in");
    bench.write(first, 4, b"lost too").await.expect("taken in");
    assert!(is_storage(bench.vfs.fsync(first).await));
    bench.vfs.fsync(first).await.expect("told once");
    for _copy in 0..2 {
        let told = bench.vfs.flush(second).await;
        assert!(is_storage(told), "each close of a copy tells as well");
    }
    let told = bench.vfs.fsync(second).await;
    assert!(is_storage(told), "no close takes it from fsync");
    bench.vfs.fsync(second).await.expect("told once");
    bench.vfs.flush(second).await.expect("told once");
    // A handle opened after everybody was told starts afresh.
    let third = bench.open(ino).await;
    bench.vfs.fsync(third).await.expect("nothing to tell");
    // What could not be stored is gone, and the way is free again.
    assert_eq!(
        &bench.vfs.read(first, 0, 100).await.expect("a read")[..],
        b"kept"
    );
    assert_eq!(bench.vfs.pending_bytes(), 0);
    assert!(bench.vfs.stats().last_error().is_some());
    bench.store.failing.store(false, SeqCst);
    bench.write(first, 4, b" again").await.expect("a write");
    bench.vfs.fsync(first).await.expect("fsync");
    assert_eq!(
        &bench.vfs.read(second, 0, 100).await.expect("a read")[..],
        b"kept again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_nobody_was_told_waits_for_the_next_handle() {
    let bench = Bench::new(twin::options());
    let (ino, first) = bench.create("file").await;
    bench.store.failing.store(true, SeqCst);
    bench.write(first, 0, b"lost").await.expect("taken in");
    // The flush runs in the background and fails.
    assert!(bench.vfs.flush_all().await.is_err());
    let second = bench.open(ino).await;
    assert!(is_storage(bench.vfs.fsync(second).await));
    assert!(is_storage(bench.vfs.flush(first).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_only_a_close_was_told_waits_for_the_next_handle() {
    let bench = Bench::new(twin::options());
    let (ino, first) = bench.create("file").await;
    bench.store.failing.store(true, SeqCst);
    bench.write(first, 0, b"lost").await.expect("taken in");
    assert!(is_storage(bench.vfs.flush(first).await));
    let second = bench.open(ino).await;
    assert!(is_storage(bench.vfs.flush(second).await));
    // Nor is it told to whoever unmounts that all is well.
    assert!(bench.vfs.stored().is_err());
    assert!(is_storage(bench.vfs.fsync(second).await));
    assert!(bench.vfs.stored().is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronous_write_tells_its_own_failure() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    bench.store.failing.store(true, SeqCst);
    let how = WriteHow {
        append: false,
        sync: true,
    };
    let data = Bytes::from_static(b"lost");
    let write = bench.vfs.write(handle, &ROOT, 0, data, how);
    assert!(is_storage(write.await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_is_told_as_such() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    bench.store.full.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    let told = bench.vfs.fsync(handle).await;
    assert_eq!(told, Err(VfsError::Refused(Refusal::NoSpace)));
    bench.store.full.store(false, SeqCst);
    bench.write(handle, 0, b"kept").await.expect("a write");
    bench.vfs.fsync(handle).await.expect("space was given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_is_told_to_the_reader() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"whole").await.expect("a write");
    bench.vfs.flush(handle).await.expect("close");
    bench.store.flipping.store(true, SeqCst);
    let shared: Arc<dyn ObjectStore> = bench.store.clone();
    let (reader, _) = twin::mount(&bench.engine, &shared, twin::options());
    let opened = reader.open_file(&ROOT, ino, both()).await.expect("open");
    let told = reader.read(opened.handle, 0, 5).await;
    assert!(
        matches!(&told, Err(VfsError::Storage(why)) if why.contains("damaged")),
        "{told:?}"
    );
    bench.store.flipping.store(false, SeqCst);
    let read = reader.read(opened.handle, 0, 5).await;
    assert_eq!(&read.expect("a read")[..], b"whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_holds_a_prefix_of_its_writes_when_one_fails() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    let closed = bench.store.gate.write().await;
    for index in 0..20 {
        // Every other one elsewhere, so that none continues the one before.
        bench
            .write(handle, index * 100, &[1; 10])
            .await
            .expect("taken in");
    }
    bench.store.failing.store(true, SeqCst);
    drop(closed);
    assert!(is_storage(bench.vfs.fsync(handle).await));
    let attr = bench.vfs.get_attr(&ROOT, ino).await.expect("attributes");
    assert_eq!(attr.length, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_behind_an_untold_loss_is_refused() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("log").await;
    let other = bench.open(ino).await;
    bench.append(handle, b"first,").await.expect("taken in");
    bench.vfs.fsync(handle).await.expect("fsync");
    bench.store.failing.store(true, SeqCst);
    bench.append(handle, b"lost,").await.expect("taken in");
    assert!(bench.vfs.flush_all().await.is_err());
    bench.store.failing.store(false, SeqCst);
    // Neither writer goes on behind what it does not know to be lost.
    assert!(is_storage(bench.append(handle, b"second,").await));
    assert!(is_storage(bench.append(other, b"second,").await));
    bench.append(handle, b"third").await.expect("told once");
    bench.vfs.fsync(handle).await.expect("fsync");
    let read = bench.vfs.read(other, 0, 100).await.expect("a read");
    assert_eq!(&read[..], b"first,third");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_what_was_lost_are_not_valid_at_the_next_open() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"kept").await.expect("a write");
    bench.vfs.fsync(handle).await.expect("fsync");
    let reopen = || bench.vfs.open_file(&ROOT, ino, both());
    reopen().await.expect("a handle");
    assert!(reopen().await.expect("a handle").pages_valid);
    bench.store.failing.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    assert!(is_storage(bench.vfs.fsync(handle).await));
    assert!(!reopen().await.expect("a handle").pages_valid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_grant_costs_ids_and_no_data() {
    let bench = Bench::new(twin::options());
    for mishap in [Mishap::DoneUnknown, Mishap::LostUnknown] {
        bench.session.grant_mishap(mishap);
    }
    let (_, handle) = bench.create("file").await;
    bench.write(handle, 0, b"kept").await.expect("a write");
    bench.vfs.fsync(handle).await.expect("granted again");
    let read = bench.vfs.read(handle, 0, 10).await.expect("a read");
    assert_eq!(&read[..], b"kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_ids_cost_a_second_upload_and_no_data() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    bench.write(handle, 0, b"before").await.expect("a write");
    bench.vfs.fsync(handle).await.expect("fsync");
    let closed = bench.session.gate.write().await;
    bench
        .write(handle, 100, b"uploaded under ids of the old session")
        .await
        .expect("a write");
    bench.write(handle, 0, b"BEFORE").await.expect("a write");
    bench.session.renew();
    drop(closed);
    bench.vfs.fsync(handle).await.expect("fsync");
    let read = bench.vfs.read(handle, 0, 106).await.expect("a read");
    assert_eq!((&read[..6], &read[100..]), (&b"BEFORE"[..], &b"upload"[..]));
    bench.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_commit_is_repeated_and_an_unknown_append_is_told() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    for mishap in [Mishap::DoneUnknown, Mishap::LostUnknown] {
        bench.session.mishap(mishap);
        bench.write(handle, 0, b"placed").await.expect("a write");
        bench.vfs.fsync(handle).await.expect("repeated");
        assert_eq!(
            &bench.vfs.read(handle, 0, 10).await.expect("a read")[..],
            b"placed"
        );
    }
    bench.session.mishap(Mishap::DoneUnknown);
    bench.append(handle, b"+").await.expect("taken in");
    let told = bench.vfs.fsync(handle).await;
    assert!(matches!(told, Err(VfsError::Unknown(_))), "{told:?}");
    let attr = bench
        .vfs
        .get_attr(&ROOT, bench.vfs.ino_of(handle).expect("open"));
    assert_eq!(
        attr.await.expect("attributes").length,
        7,
        "it was done, once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_data_stays_within_its_bound() {
    let bound = 4 << 20;
    let bench = Bench::new(VfsOptions {
        dirty_bytes_max: bound,
        ..twin::options()
    });
    let (_, handle) = bench.create("file").await;
    let closed = bench.store.gate.write().await;
    let (vfs, piece) = (bench.vfs.clone(), Bytes::from(vec![7; 1 << 20]));
    let writer = tokio::spawn(async move {
        for index in 0..16 {
            let how = WriteHow::default();
            let write = vfs.write(handle, &ROOT, index << 20, piece.clone(), how);
            write.await.expect("a write");
        }
    });
    // The writer fills what it may, then waits as long as nothing is stored.
    let full = async {
        while bench.vfs.pending_bytes() < bound as u64 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), full)
        .await
        .expect("a full buffer");
    assert!(!writer.is_finished());
    assert!(bench.vfs.pending_bytes() <= bound as u64);
    drop(closed);
    writer.await.expect("the writer");
    bench.vfs.fsync(handle).await.expect("fsync");
    let read = bench
        .vfs
        .read(handle, 15 << 20, 1 << 21)
        .await
        .expect("a read");
    assert!(read.len() == 1 << 20 && read.iter().all(|byte| *byte == 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_data_is_flushed_without_being_asked_for() {
    let bench = Bench::new(VfsOptions {
        flush_idle: Duration::from_millis(1),
        ..twin::options()
    });
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"idle").await.expect("a write");
    let flushed = async {
        while bench.vfs.pending_bytes() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), flushed)
        .await
        .expect("a flush");
    let shared: Arc<dyn ObjectStore> = bench.store.clone();
    let (other, _) = twin::mount(&bench.engine, &shared, twin::options());
    let opened = other
        .open_file(&ROOT, ino, both())
        .await
        .expect("the other mount");
    assert_eq!(
        &other.read(opened.handle, 0, 10).await.expect("a read")[..],
        b"idle"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn small_writes_in_many_places_are_committed_together() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    for index in (0..50).rev() {
        bench
            .write(handle, index * 1000, &[9; 10])
            .await
            .expect("a write");
    }
    bench.vfs.fsync(handle).await.expect("fsync");
    assert!(
        bench.session.commits() <= 2,
        "{} commits",
        bench.session.commits()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_flushes_and_tells_what_was_lost() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"kept").await.expect("a write");
    bench.vfs.shutdown().await.expect("everything is stored");
    let shared: Arc<dyn ObjectStore> = bench.store.clone();
    let (other, _) = twin::mount(&bench.engine, &shared, twin::options());
    let opened = other
        .open_file(&ROOT, ino, both())
        .await
        .expect("the other mount");
    assert_eq!(
        &other.read(opened.handle, 0, 10).await.expect("a read")[..],
        b"kept"
    );
    bench.store.failing.store(true, SeqCst);
    let data = Bytes::from_static(b"lost");
    let how = WriteHow::default();
    let write = other.write(opened.handle, &ROOT, 0, data, how);
    write.await.expect("taken in");
    assert!(is_storage(other.shutdown().await));
}

/// Waits until a condition of the bench holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let held = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), held).await;
    waited.expect(what);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_nobody_was_told_before_the_file_was_let_go_fails_the_shutdown() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.store.failing.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    // As a memory map does it: no close comes after the write.
    bench.vfs.release(handle);
    until("the file to be let go", async || {
        bench.vfs.held(&[ino]).await.is_empty()
    })
    .await;
    assert_eq!(bench.vfs.pending_bytes(), 0);
    bench.store.failing.store(false, SeqCst);
    let (_, other) = bench.create("other").await;
    bench.write(other, 0, b"kept").await.expect("a write");
    bench.vfs.fsync(other).await.expect("stored");
    assert!(is_storage(bench.vfs.shutdown().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_in_an_open_file_that_no_handle_was_told_fails_the_shutdown() {
    let bench = Bench::new(VfsOptions {
        flush_idle: Duration::from_millis(1),
        ..twin::options()
    });
    let (_, handle) = bench.create("file").await;
    bench.store.failing.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    until("the flush to fail", async || bench.vfs.pending_bytes() == 0).await;
    bench.store.failing.store(false, SeqCst);
    assert!(is_storage(bench.vfs.stored()));
    assert!(is_storage(bench.vfs.shutdown().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_a_handle_was_told_does_not_fail_the_shutdown() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.store.failing.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    assert!(is_storage(bench.vfs.fsync(handle).await));
    bench.vfs.release(handle);
    assert!(bench.vfs.held(&[ino]).await.is_empty());
    bench.vfs.shutdown().await.expect("its writer knows");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_fails_the_shutdown_although_the_last_close_was_told() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    let other = bench.open(ino).await;
    bench.store.failing.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    assert!(is_storage(bench.vfs.flush(handle).await), "a copy's close");
    assert!(is_storage(bench.vfs.stored()), "the handle may be asked");
    assert!(is_storage(bench.vfs.flush(handle).await), "the last close");
    bench.vfs.release(handle);
    assert!(
        is_storage(bench.vfs.stored()),
        "its writer may not have looked"
    );
    bench.vfs.release(other);
    assert!(is_storage(bench.vfs.shutdown().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_after_the_last_close_fails_the_shutdown() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"kept").await.expect("a write");
    bench.vfs.flush(handle).await.expect("the last close");
    // As a memory map does it, for which the handle outlives its descriptors.
    bench.store.failing.store(true, SeqCst);
    bench.write(handle, 0, b"lost").await.expect("taken in");
    assert!(bench.vfs.flush_all().await.is_err());
    bench.vfs.release(handle);
    assert!(bench.vfs.held(&[ino]).await.is_empty());
    assert!(is_storage(bench.vfs.shutdown().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_not_stored() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    bench.vfs.stored().expect("nothing was written");
    bench.write(handle, 0, b"waits").await.expect("taken in");
    assert_eq!(bench.vfs.stored(), Err(VfsError::Unstored(5)));
    bench.vfs.fsync(handle).await.expect("stored");
    bench.vfs.stored().expect("nothing waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_the_session_ends_fails_the_shutdown() {
    let bench = Bench::new(twin::options());
    let (_, handle) = bench.create("file").await;
    let closing = bench.session.closing.write().await;
    let vfs = bench.vfs.clone();
    let ending = tokio::spawn(async move { vfs.shutdown().await });
    until("the session to be closed", async || {
        bench.session.closes.load(SeqCst) == 1
    })
    .await;
    bench.write(handle, 0, b"late").await.expect("taken in");
    drop(closing);
    let told = ending.await.expect("the shutdown");
    assert_eq!(told, Err(VfsError::Unstored(4)));
}
