//! Slices through every store: what was pushed is what is read, or an error says why not.

use bytes::Bytes;
use chunk_store::{
    ChunkError, Failing, Limits, LocalDir, Memory, ObjectStore, SliceStore, VolumeKeys,
};
use meta_core::ids::{ChunkIndex, Epoch, SliceId, SliceOrder, Uuid};
use meta_core::query::Slice;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn slices(store: Arc<dyn ObjectStore>, block_bytes: u32, memory_bytes: usize) -> SliceStore {
    let keys = VolumeKeys {
        uuid: Uuid([1; 16]),
        epochs: vec![(Epoch(0), Uuid([2; 16]))],
    };
    let limits = Limits {
        uploads: 3,
        downloads: 3,
        memory_bytes,
        retry_for: Duration::from_secs(20),
        ..Limits::default()
    };
    SliceStore::new(store, keys, block_bytes, limits)
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n / 251 + n) as u8 ^ seed).collect()
}

async fn upload(
    slices: &SliceStore,
    id: u64,
    data: &[u8],
    step: usize,
) -> Result<Slice, ChunkError> {
    let mut upload = slices.upload(SliceId(id));
    for part in data.chunks(step) {
        upload.push(Bytes::copy_from_slice(part)).await?;
    }
    let done = upload.finish().await?;
    Ok(Slice {
        chunk: ChunkIndex(0),
        order: SliceOrder(0),
        id: SliceId(id),
        size: done.len,
        off: 0,
        len: done.len,
        at: 0,
        frame_crcs: done.frame_crcs,
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn len_and_ranges() -> impl Strategy<Value = (usize, Vec<(usize, usize)>)> {
    // Lengths close to the borders of frames and blocks are the interesting ones.
    let near = (1usize..10, -2i64..3)
        .prop_map(|(frames, by)| usize::try_from(frames as i64 * 65_536 + by).expect("above zero"));
    let len = prop_oneof![1usize..600_000, near];
    len.prop_flat_map(|len| {
        let range = (0..=len).prop_flat_map(move |off| (Just(off), 0..=len - off));
        (Just(len), prop::collection::vec(range, 1..8))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_range_of_a_slice_reads_as_it_was_pushed(
        (len, ranges) in len_and_ranges(),
        step in prop::sample::select(vec![777usize, 65_536, 100_000, 1 << 20]),
        block in prop::sample::select(vec![65_536u32, 131_072, 4 << 20]),
        memory in prop::sample::select(vec![0usize, 150_000, 16 << 20]),
        seed in any::<u64>(),
    ) {
        run(async {
            // Every fifth operation fails, comes back damaged, or loses its answer.
            let store = Failing::seeded(Memory::default(), seed, 20);
            let slices = slices(Arc::new(store), block, memory);
            let data = pattern(len, 7);
            let slice = upload(&slices, 1, &data, step).await.expect("stored");
            let mut readers = tokio::task::JoinSet::new();
            for (off, count) in ranges {
                let (slices, slice) = (slices.clone(), slice.clone());
                let expected = Bytes::copy_from_slice(&data[off..off + count]);
                readers.spawn(async move {
                    match slices.read(&slice, off as u32, count as u32).await {
                        Ok(read) => assert!(read == expected, "{count} bytes at {off}"),
                        // Two bad answers in a row are believed; wrong bytes never come out.
                        Err(ChunkError::Damaged { .. } | ChunkError::Object(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                });
            }
            while let Some(done) = readers.join_next().await {
                done.expect("a reader");
            }
        });
    }
}

#[test]
fn a_directory_keeps_slices_across_a_reopen() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = pattern(9_000_000, 1);
    run(async {
        let open = || Arc::new(LocalDir::open(dir.path()).expect("opens"));
        let slice = upload(&slices(open(), 4 << 20, 0), 5, &data, 100_000).await;
        let slice = slice.expect("stored");
        let store = open();
        let again = slices(store.clone(), 4 << 20, 16 << 20);
        let read = again.read(&slice, 0, slice.size).await.expect("read");
        assert!(read == data);
        let keys = store.list("", "", 10).await.expect("listed");
        let sizes: Vec<u64> = keys.iter().map(|(_, size)| *size).collect();
        assert_eq!(sizes, [4 << 20, 4 << 20, 9_000_000 - (8 << 20)]);
        // The same slice again, as after a lost answer.
        let same = upload(&again, 5, &data, 1 << 20).await.expect("the same");
        assert_eq!(same, slice);
    });
}
