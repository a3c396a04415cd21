use super::*;
use crate::object::{Failing, Fault, Memory, ObjectStore, Step};
use crate::{Limits, SliceStore, VolumeKeys};
use async_trait::async_trait;
use meta_core::ids::{Epoch, Uuid, pack_id};
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::sync::Semaphore;

const BLOCK: usize = 65_536;

fn keys() -> VolumeKeys {
    VolumeKeys {
        uuid: Uuid([0xab; 16]),
        epochs: vec![(Epoch(0), Uuid([1; 16])), (Epoch(2), Uuid([0xcd; 16]))],
    }
}

fn slices(store: Arc<dyn ObjectStore>) -> SliceStore {
    let limits = Limits {
        uploads: 3,
        retry_for: Duration::from_millis(300),
        ..Limits::default()
    };
    SliceStore::new(store, keys(), BLOCK as u32, limits)
}

async fn upload(slices: &SliceStore, id: SliceId, parts: &[Bytes]) -> Result<Uploaded, ChunkError> {
    let mut upload = slices.upload(id);
    for part in parts {
        upload.push(part.clone()).await?;
    }
    upload.finish().await
}

#[tokio::test]
async fn the_blocks_of_a_slice_are_frozen() {
    let store = Arc::new(Memory::default());
    let id = SliceId(pack_id(Epoch(2), 3, 4_005_006));
    let data: Vec<u8> = (0..2 * BLOCK + 10).map(|at| (at % 251) as u8).collect();
    let parts: Vec<_> = data.chunks(50_000).map(Bytes::copy_from_slice).collect();
    let slices = SliceStore::new(store.clone(), keys(), 2 * BLOCK as u32, Limits::default());
    let done = upload(&slices, id, &parts).await.expect("stored");
    let crcs = [0x7faa_50d3, 0xd4bc_c23b, 0x2849_a83c];
    assert_eq!(done.frame_crcs, crcs);
    assert_eq!(done.len, 131_082);
    let place = "abababab-abab-abab-abab-abababababab/2-cdcdcdcd/3/4/4005";
    let names = [("4005006_0_131072", 131_072), ("4005006_1_10", 10)];
    let names = names.map(|(name, len)| (format!("{place}/{name}"), len));
    assert_eq!(store.list("", "", 9).await.expect("listed"), names);
    // A block is its bytes and nothing else.
    let stored = store.get(&names[0].0, 0..131_072).await.expect("read");
    assert!(stored == data[..131_072]);
    let stored = store.get(&names[1].0, 0..10).await.expect("read");
    assert!(stored == data[131_072..]);
}

#[tokio::test]
async fn how_bytes_are_pushed_does_not_matter() {
    let data = Bytes::from(
        (0..5 * BLOCK + 77)
            .map(|at| (at / 3) as u8)
            .collect::<Vec<_>>(),
    );
    let mut expected = None;
    for step in [1 << 20, BLOCK, BLOCK - 1, BLOCK + 1, 1000] {
        let store = Arc::new(Memory::default());
        let parts: Vec<_> = (0..data.len())
            .step_by(step)
            .map(|at| data.slice(at..(at + step).min(data.len())))
            .collect();
        let done = upload(&slices(store.clone()), SliceId(1), &parts).await;
        let listed = store.list("", "", 99).await.expect("listed");
        let found = (done.expect("stored"), listed);
        assert_eq!(*expected.get_or_insert_with(|| found.clone()), found);
    }
}

#[tokio::test]
async fn a_put_that_fails_is_tried_again() {
    let store = Arc::new(Failing::new(Memory::default()));
    let slow = Fault::Delay(Duration::from_millis(1));
    store.script(
        Step::Put,
        [Fault::Fail, Fault::LoseAnswer, slow, Fault::Fail],
    );
    let data = Bytes::from(vec![7; 5 * BLOCK]);
    let done = upload(&slices(store.clone()), SliceId(1), &[data]).await;
    assert_eq!(done.expect("stored").len as usize, 5 * BLOCK);
    assert_eq!(store.count(Step::Put), 8);
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_given_up_within_the_budget() {
    let store = Arc::new(Failing::new(Memory::default()));
    store.always(Step::Put, Fault::Fail);
    let slices = slices(store);
    let data = [Bytes::from(vec![7; 9 * BLOCK])];
    let work = upload(&slices, SliceId(1), &data);
    let done = tokio::time::timeout(Duration::from_secs(20), work).await;
    match done.expect("in time") {
        Err(ChunkError::GaveUp { attempts, last }) => {
            assert!(attempts > 1 && last.may_pass(), "{attempts} {last:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_store_is_told_at_once() {
    let store = Arc::new(Failing::new(Memory::default()));
    store.always(Step::Put, Fault::NoSpace);
    let slices = slices(store.clone());
    let data = Bytes::from(vec![7; BLOCK]);
    let full = upload(&slices, SliceId(1), &[data]).await;
    let full = full.expect_err("full");
    assert!(matches!(
        &full,
        ChunkError::Object(ObjectError::NoSpace { .. })
    ));
    assert_eq!(store.count(Step::Put), 1);
}

#[tokio::test]
async fn an_error_ends_an_upload_and_stays() {
    let store = Arc::new(Failing::new(Memory::default()));
    store.nth(Step::Put, 1, Fault::NoSpace);
    let slices = slices(store.clone());
    let mut upload = slices.upload(SliceId(1));
    let data = Bytes::from(vec![7; BLOCK]);
    let first = loop {
        if let Err(error) = upload.push(data.clone()).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(upload.push(data).await, Err(first.clone()));
    assert_eq!(upload.finish().await, Err(first));
}

#[tokio::test]
async fn lengths_out_of_bounds_and_unknown_epochs_are_refused() {
    let slices = slices(Arc::new(Memory::default()));
    assert_eq!(
        upload(&slices, SliceId(1), &[]).await,
        Err(ChunkError::BadLength)
    );
    let chunk = Bytes::from(vec![0; CHUNK_BYTES as usize]);
    let one = Bytes::from_static(b"x");
    let parts = [chunk, one.clone()];
    let whole = upload(&slices, SliceId(1), &parts[..1]).await;
    assert_eq!(u64::from(whole.expect("a whole chunk").len), CHUNK_BYTES);
    let over = upload(&slices, SliceId(2), &parts).await;
    assert_eq!(over, Err(ChunkError::BadLength));
    let unknown = upload(&slices, SliceId(pack_id(Epoch(1), 0, 1)), &[one]).await;
    assert!(matches!(unknown, Err(ChunkError::BadSlice { .. })));
}

/// Puts wait at a gate; counts how many wait at most.
#[derive(Debug)]
struct Gate {
    inner: Memory,
    open: Semaphore,
    waiting: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::default(),
            open: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }
}

/// Counts down when its put ends or is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put(&self, key: &str, data: Bytes) -> Result<(), ObjectError> {
        let now = self.waiting.fetch_add(1, SeqCst) + 1;
        let _counted = Waiting(&self.waiting);
        self.most.fetch_max(now, SeqCst);
        let _passed = self.open.acquire().await.expect("open");
        self.inner.put(key, data).await
    }

    async fn put_file(&self, key: &str, file: Arc<File>) -> Result<(), ObjectError> {
        self.inner.put_file(key, file).await
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Bytes, ObjectError> {
        self.inner.get(key, range).await
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

async fn until(what: impl Fn() -> bool) {
    let waited = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waited).await;
    waited.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_uploads_of_a_volume_share_one_bound() {
    let store = Gate::new();
    let slices = slices(store.clone());
    let mut uploads = JoinSet::new();
    for id in 1..=4 {
        let slices = slices.clone();
        let data = Bytes::from(vec![7; 6 * BLOCK]);
        uploads.spawn(async move { upload(&slices, SliceId(id), &[data]).await });
    }
    until(|| store.waiting.load(SeqCst) == 3).await;
    store.open.add_permits(100);
    for done in uploads.join_all().await {
        done.expect("stored");
    }
    assert_eq!(store.most.load(SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_upload_stops_and_frees_its_place() {
    let store = Gate::new();
    let slices = slices(store.clone());
    let mut stopped = slices.upload(SliceId(1));
    let three = Bytes::from(vec![7; 3 * BLOCK]);
    stopped.push(three).await.expect("three are under way");
    until(|| store.waiting.load(SeqCst) == 3).await;
    drop(stopped);
    until(|| store.waiting.load(SeqCst) == 0).await;
    store.open.add_permits(100);
    let one = Bytes::from(vec![8; BLOCK]);
    let done = upload(&slices, SliceId(2), &[one]).await;
    done.expect("there is room");
    let listed = store.list("", "", 9).await.expect("listed");
    assert_eq!(listed.len(), 1, "{listed:?}");
}
