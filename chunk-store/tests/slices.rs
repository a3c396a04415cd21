//! Slices through every store: what was pushed is what is read, or an error says why not.

use bytes::Bytes;
use chunk_store::{
    ChunkError, Failing, Fault, Limits, LocalDir, Memory, ObjectError, ObjectStore, SliceStore,
    StorageConfig, VolumeKeys, check_store, open_store,
};
use meta_core::ids::{ChunkIndex, Epoch, SliceId, SliceOrder, Uuid};
use meta_core::query::Slice;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn slices(store: Arc<dyn ObjectStore>, block_bytes: u32) -> SliceStore {
    let keys = VolumeKeys {
        uuid: Uuid([1; 16]),
        epochs: vec![(Epoch(0), Uuid([2; 16]))],
    };
    let limits = Limits {
        uploads: 3,
        retry_for: Duration::from_millis(300),
        ..Limits::default()
    };
    SliceStore::new(store, keys, block_bytes, limits)
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|n| (n / 251 + n) as u8 ^ seed).collect()
}

async fn upload(slices: &SliceStore, id: u64, data: &[u8]) -> Result<Slice, ChunkError> {
    let mut upload = slices.upload(SliceId(id));
    for part in data.chunks(100_000) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_range_of_a_slice_reads_as_it_was_pushed(
        len in 1usize..600_000,
        ranges in prop::collection::vec((0.0f64..1.0, 0.0f64..1.0), 1..8),
        block in prop::sample::select(vec![65_536u32, 131_072, 4 << 20]),
    ) {
        run(async {
            let slices = slices(Arc::new(Memory::default()), block);
            let data = pattern(len, 7);
            let slice = upload(&slices, 1, &data).await.expect("stored");
            for (from, share) in ranges {
                let off = ((len as f64) * from) as usize;
                let count = (((len - off) as f64) * share) as usize;
                let read = slices.read(&slice, off as u32, count as u32).await.expect("read");
                assert_eq!(&read[..], &data[off..off + count]);
            }
        });
    }
}

#[test]
fn a_directory_keeps_slices_across_a_reopen() {
    let dir = tempfile::tempdir().expect("a directory");
    let data = pattern(9_000_000, 1);
    run(async {
        let store = Arc::new(LocalDir::open(dir.path()).expect("opens"));
        let slice = upload(&slices(store, 4 << 20), 5, &data)
            .await
            .expect("stored");
        let store = Arc::new(LocalDir::open(dir.path()).expect("opens again"));
        let read = slices(store.clone(), 4 << 20)
            .read(&slice, 0, slice.size)
            .await;
        assert_eq!(&read.expect("read")[..], &data[..]);
        let keys = store.list("", "", 10).await.expect("listed");
        let sizes: Vec<u64> = keys.iter().map(|(_, size)| *size).collect();
        assert_eq!(sizes, [4 << 20, 4 << 20, 9_000_000 - (8 << 20)]);
        let rest = store.list("", &keys[0].0, 1).await.expect("listed");
        assert_eq!(rest, keys[1..2]);
        let left = std::fs::read_dir(dir.path().join(".tmp-writing"))
            .expect("there")
            .count();
        assert_eq!(left, 0);
    });
}

#[test]
fn damage_is_told_with_the_name_of_the_object() {
    run(async {
        let store = Arc::new(Memory::default());
        let slices = slices(store.clone(), 4 << 20);
        let slice = upload(&slices, 5, &pattern(200_000, 1))
            .await
            .expect("stored");
        let (key, _) = store.list("", "", 1).await.expect("listed").remove(0);
        assert!(store.tamper(&key, |bytes| bytes[70_000] ^= 4));
        match slices.read(&slice, 0, 10).await {
            Err(ChunkError::Damaged {
                key: named,
                frame: 1,
            }) => assert_eq!(named, key),
            other => panic!("{other:?}"),
        }
        assert!(store.tamper(&key, |bytes| bytes.truncate(10)));
        let short = slices.read(&slice, 0, 10).await.expect_err("too short");
        assert!(short.to_string().contains(&key), "{short}");
    });
}

#[test]
fn one_bad_transit_is_read_again() {
    run(async {
        let store = Arc::new(Failing::new(Memory::default()));
        let slices = slices(store.clone(), 4 << 20);
        let data = pattern(200_000, 1);
        let slice = upload(&slices, 5, &data).await.expect("stored");
        store.gets([Fault::FlipBit, Fault::None]);
        assert_eq!(
            &slices.read(&slice, 0, 200_000).await.expect("read")[..],
            &data[..]
        );
    });
}

#[test]
fn a_put_that_fails_is_tried_again_and_a_full_store_is_told() {
    run(async {
        let store = Arc::new(Failing::new(Memory::default()));
        let slices = slices(store.clone(), 65_536);
        store.puts([Fault::Fail, Fault::Fail, Fault::None]);
        upload(&slices, 1, &pattern(300_000, 1))
            .await
            .expect("stored in the end");
        store.puts([Fault::NoSpace]);
        let full = upload(&slices, 2, &pattern(300_000, 1))
            .await
            .expect_err("full");
        assert!(
            matches!(full, ChunkError::Object(ObjectError::NoSpace { .. })),
            "{full:?}"
        );
        store.puts([Fault::Fail]);
        let failed = upload(&slices, 3, &pattern(10, 1))
            .await
            .expect_err("the budget ends");
        assert!(
            matches!(failed, ChunkError::Object(ObjectError::Failed { .. })),
            "{failed:?}"
        );
    });
}

#[test]
fn keys_that_leave_the_store_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    run(async {
        let store = LocalDir::open(dir.path()).expect("opens");
        for key in ["../x", "/x", "a//b", "a/../b", "", ".tmp-x", "a\0b"] {
            let put = store.put(key, Bytes::from_static(b"x")).await;
            assert!(matches!(put, Err(ObjectError::BadKey { .. })), "{key:?}");
        }
        store
            .delete("not/there")
            .await
            .expect("deleting nothing is fine");
        assert_eq!(store.head("not/there").await.expect("asked"), None);
    });
}

#[test]
fn the_check_before_format_says_which_step_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = StorageConfig::File {
        root: dir.path().to_owned(),
    };
    let json = config.to_json().expect("json");
    let expected = format!(
        "{{\"kind\":\"file\",\"root\":\"{}\"}}",
        dir.path().display()
    );
    assert_eq!(String::from_utf8(json.clone()).expect("text"), expected);
    run(async {
        check_store(&open_store(&json).expect("opens"))
            .await
            .expect("sound");
        let failing = Failing::new(Memory::default());
        failing.gets([Fault::FlipBit]);
        let store: Arc<dyn ObjectStore> = Arc::new(failing);
        assert_eq!(
            check_store(&store).await.expect_err("flips bits").step,
            "get"
        );
    });
    assert!(open_store(b"{\"kind\":\"ftp\"}").is_err());
}
