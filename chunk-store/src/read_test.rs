use super::*;
use crate::object::{Failing, Fault, Memory, ObjectStore, Step};
use crate::{Limits, SliceStore, VolumeKeys};
use meta_core::ids::{ChunkIndex, Epoch, SliceOrder, Uuid};
use std::sync::Arc;

const FRAME: usize = FRAME_BYTES as usize;
const BLOCK: u32 = 4 * FRAME_BYTES;

struct Bench {
    store: Arc<Failing<Memory>>,
    slices: SliceStore,
    slice: Slice,
    data: Vec<u8>,
}

impl Bench {
    /// A slice of ten and a half frames in three blocks, and an empty cache.
    async fn new(limits: Limits) -> Self {
        let store = Arc::new(Failing::new(Memory::default()));
        let keys = VolumeKeys {
            uuid: Uuid([1; 16]),
            epochs: vec![(Epoch(0), Uuid([2; 16]))],
        };
        let slices = SliceStore::new(store.clone(), keys, BLOCK, limits);
        let data: Vec<u8> = (0..10 * FRAME + FRAME / 2)
            .map(|at| (at / 251 + at) as u8)
            .collect();
        let mut upload = slices.upload(SliceId(5));
        upload.push(data.clone().into()).await.expect("pushed");
        let done = upload.finish().await.expect("stored");
        let slice = Slice {
            chunk: ChunkIndex(0),
            order: SliceOrder(0),
            id: SliceId(5),
            size: done.len,
            off: 0,
            len: done.len,
            at: 0,
            frame_crcs: done.frame_crcs,
        };
        Self {
            store,
            slices,
            slice,
            data,
        }
    }

    async fn expect(&self, off: usize, len: usize) {
        let read = self.read(off, len).await.expect("read");
        assert!(read == self.data[off..off + len], "{len} bytes at {off}");
    }

    async fn read(&self, off: usize, len: usize) -> Result<Bytes, ChunkError> {
        self.slices.read(&self.slice, off as u32, len as u32).await
    }

    async fn key(&self, block: usize) -> String {
        let listed = self.store.inner().list("", "", 9).await.expect("listed");
        listed[block].0.clone()
    }
}

fn limits() -> Limits {
    Limits {
        retry_for: Duration::from_millis(200),
        ..Limits::default()
    }
}

#[tokio::test]
async fn a_range_asks_once_per_block_and_only_for_its_frames() {
    let bench = Bench::new(limits()).await;
    bench.expect(FRAME + 1, FRAME).await;
    assert_eq!(bench.store.count(Step::Get), 1);
    assert!(bench.slices.memory_bytes() < 3 * u64::from(FRAME_BYTES));
    // Frames 1 and 2 are there: the rest of the first block is two runs.
    bench.expect(0, bench.data.len()).await;
    assert_eq!(bench.store.count(Step::Get), 5);
    bench.expect(0, bench.data.len()).await;
    assert_eq!(bench.store.count(Step::Get), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_same_frames_share_one_request() {
    let bench = Arc::new(Bench::new(limits()).await);
    let slow = Fault::Delay(Duration::from_millis(50));
    bench.store.always(Step::Get, slow);
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..16 {
        let bench = Arc::clone(&bench);
        readers.spawn(async move { bench.expect(reader, 2 * FRAME).await });
    }
    readers.join_all().await;
    // Frames 0 to 2; which reader comes first decides how they are asked for.
    assert!(bench.store.count(Step::Get) <= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_hands_its_turn_on() {
    let bench = Arc::new(Bench::new(limits()).await);
    let never = Fault::Delay(Duration::from_secs(3600));
    bench.store.script(Step::Get, [never]);
    let first = Arc::clone(&bench);
    let first = tokio::spawn(async move { first.expect(0, 3 * FRAME).await });
    while bench.store.count(Step::Get) == 0 {
        tokio::task::yield_now().await;
    }
    let second = Arc::clone(&bench);
    let second = tokio::spawn(async move { second.expect(FRAME, 3 * FRAME).await });
    first.abort();
    let done = tokio::time::timeout(Duration::from_secs(20), second).await;
    done.expect("in time").expect("read");
}

#[tokio::test]
async fn damage_is_told_with_the_name_of_the_object() {
    let bench = Bench::new(limits()).await;
    let key = bench.key(1).await;
    let flip = |bytes: &mut Vec<u8>| bytes[FRAME + 7] ^= 4;
    assert!(bench.store.inner().tamper(&key, flip));
    let damaged = ChunkError::Damaged {
        key: key.clone(),
        slice: 5,
        frame: 5,
    };
    // Bytes before the damage are not given out either when their run holds the damage.
    assert_eq!(bench.read(4 * FRAME, 2 * FRAME).await, Err(damaged.clone()));
    assert!(damaged.to_string().contains(&key), "{damaged}");
    assert_eq!(bench.store.count(Step::Get), 2, "it is read once more");
    // Its neighbours are sound, and it stays damaged.
    bench.expect(4 * FRAME, FRAME).await;
    bench.expect(6 * FRAME, 2 * FRAME).await;
    assert_eq!(bench.read(5 * FRAME + 9, 1).await, Err(damaged));
    bench.store.inner().tamper(&key, flip);
    bench.expect(0, bench.data.len()).await;
}

#[tokio::test]
async fn one_bad_answer_is_forgiven() {
    let bench = Bench::new(limits()).await;
    for fault in [Fault::FlipBit, Fault::Short, Fault::Fail, Fault::LoseAnswer] {
        let bench = Bench::new(limits()).await;
        bench.store.script(Step::Get, [fault]);
        bench.expect(0, bench.data.len()).await;
        assert_eq!(bench.store.count(Step::Get), 4, "{fault:?}");
    }
    bench
        .store
        .script(Step::Get, [Fault::Fail, Fault::FlipBit, Fault::Fail]);
    bench.expect(0, FRAME).await;
}

#[tokio::test]
async fn missing_and_short_blocks_are_told_by_name() {
    let bench = Bench::new(limits()).await;
    let keys = [bench.key(0).await, bench.key(2).await];
    bench.store.delete(&keys[0]).await.expect("deleted");
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(FRAME);
    assert!(bench.store.inner().tamper(&keys[1], cut));
    let missing = ObjectError::Missing {
        key: keys[0].clone(),
    };
    assert_eq!(bench.read(0, 1).await, Err(missing.into()));
    let short = ObjectError::Short {
        key: keys[1].clone(),
        wanted: 2 * u64::from(FRAME_BYTES),
        have: u64::from(FRAME_BYTES),
    };
    assert_eq!(bench.read(9 * FRAME, 1).await, Err(short.into()));
    bench.expect(8 * FRAME, FRAME).await;
}

#[tokio::test]
async fn a_store_that_keeps_failing_is_given_up() {
    let bench = Bench::new(limits()).await;
    bench.store.always(Step::Get, Fault::Fail);
    match bench.read(0, 1).await {
        Err(ChunkError::GaveUp { attempts, last }) => {
            assert!(attempts > 1 && last.may_pass(), "{attempts} {last:?}");
        }
        other => panic!("{other:?}"),
    }
    bench.store.always(Step::Get, Fault::None);
    bench.expect(0, 1).await;
}

#[tokio::test]
async fn memory_stays_within_its_bound() {
    for memory_bytes in [0, 1, 3 * FRAME] {
        let bench = Bench::new(Limits {
            memory_bytes,
            ..limits()
        })
        .await;
        for off in (0..bench.data.len()).step_by(FRAME / 2) {
            bench
                .expect(off, (bench.data.len() - off).min(2 * FRAME))
                .await;
            assert!(bench.slices.memory_bytes() <= memory_bytes as u64);
        }
    }
}

#[tokio::test]
async fn rows_that_contradict_themselves_are_refused() {
    let bench = Bench::new(limits()).await;
    let size = bench.slice.size;
    for (off, len) in [(0, size + 1), (size, 1), (u32::MAX, 2), (1, u32::MAX)] {
        let read = bench.slices.read(&bench.slice, off, len).await;
        assert!(matches!(read, Err(ChunkError::BadSlice { slice: 5, .. })));
    }
    bench.expect(size as usize, 0).await;
    let mut slice = bench.slice.clone();
    slice.frame_crcs.pop();
    let read = bench.slices.read(&slice, 0, 1).await;
    assert!(matches!(read, Err(ChunkError::BadSlice { .. })));
    // An epoch that the volume never had.
    let mut slice = bench.slice.clone();
    slice.id = SliceId(1 << 60);
    let read = bench.slices.read(&slice, 0, 1).await;
    assert!(matches!(read, Err(ChunkError::BadSlice { .. })));
}

#[test]
fn runs_break_where_a_frame_is_missing() {
    let runs = neighbours(vec![(1, ()), (2, ()), (4, ()), (7, ()), (8, ())]);
    let firsts: Vec<_> = runs.iter().map(|run| (run[0].0, run.len())).collect();
    assert_eq!(firsts, [(1, 2), (4, 1), (7, 2)]);
}
