//! What every store must do.

use super::*;

fn data(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// Each store, empty; the directory and the server live as long as the test.
async fn stores() -> (Vec<Arc<dyn ObjectStore>>, (tempfile::TempDir, s3::Server)) {
    let dir = tempfile::tempdir().expect("a directory");
    let local = LocalDir::open(dir.path()).expect("opens");
    let failing = Failing::new(Arc::new(Memory::default()));
    let server = s3::Server::start().await;
    let stores: Vec<Arc<dyn ObjectStore>> = vec![
        Arc::new(Memory::default()),
        Arc::new(local),
        Arc::new(failing),
        Arc::new(server.store()),
    ];
    (stores, (dir, server))
}

#[tokio::test]
async fn what_was_put_is_read_by_range() {
    let (stores, _alive) = stores().await;
    for store in stores {
        store.put("a/b/c", data("0123456789")).await.expect("put");
        for (range, expected) in [
            (0..10, "0123456789"),
            (3..5, "34"),
            (9..10, "9"),
            (4..4, ""),
        ] {
            let read = store.get("a/b/c", range).await.expect("read");
            assert_eq!(read, expected.as_bytes(), "{store:?}");
        }
        assert_eq!(store.head("a/b/c").await, Ok(Some(10)));
        for absent in ["a", "a/b", "a/b/c/d", "a/b/d"] {
            assert_eq!(store.head(absent).await, Ok(None), "{store:?} {absent}");
        }
    }
}

#[tokio::test]
async fn missing_and_short_objects_are_told_by_name() {
    let (stores, _alive) = stores().await;
    for store in stores {
        store.put("short", data("0123")).await.expect("put");
        let short = ObjectError::Short {
            key: "short".to_owned(),
            wanted: 5,
            have: 4,
        };
        assert_eq!(store.get("short", 2..5).await, Err(short));
        let missing = ObjectError::Missing {
            key: "none".to_owned(),
        };
        assert_eq!(store.get("none", 0..1).await, Err(missing));
    }
}

#[tokio::test]
async fn an_equal_put_is_fine_and_another_content_is_refused() {
    let (stores, _alive) = stores().await;
    for store in stores {
        for _ in 0..3 {
            store.put("a/x", data("one")).await.expect("the same again");
        }
        for other in ["two", "longer", ""] {
            let conflict = ObjectError::Conflict {
                key: "a/x".to_owned(),
            };
            assert_eq!(store.put("a/x", data(other)).await, Err(conflict));
        }
        assert_eq!(store.get("a/x", 0..3).await, Ok(data("one")));
    }
}

/// A file without a name that holds `bytes`.
fn file_of(bytes: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().expect("a file");
    std::io::Write::write_all(&mut file, bytes).expect("written");
    Arc::new(file)
}

#[tokio::test]
async fn a_file_is_stored_as_its_bytes_are_and_replaces_nothing() {
    let (stores, _alive) = stores().await;
    for store in stores {
        // The last one goes up in parts, where a store has those.
        for len in [0, 10, 3_000_001, (16 << 20) + 5] {
            let bytes: Vec<u8> = (0..len).map(|at: usize| (at % 251) as u8).collect();
            let key = format!("a/{len}");
            let file = file_of(&bytes);
            for _ in 0..2 {
                let put = store.put_file(&key, Arc::clone(&file)).await;
                put.unwrap_or_else(|error| panic!("{store:?}: {error}"));
            }
            let read = store.get(&key, 0..len as u64).await.expect("read");
            assert!(read == bytes, "{store:?} {len}");
            let mut other = bytes.clone();
            match other.last_mut() {
                Some(last) => *last ^= 1,
                None => other.push(1),
            }
            let conflict = Err(ObjectError::Conflict { key: key.clone() });
            assert_eq!(store.put_file(&key, file_of(&other)).await, conflict);
            other.push(1);
            assert_eq!(store.put_file(&key, file_of(&other)).await, conflict);
            let read = store.get(&key, 0..len as u64).await.expect("read");
            assert!(read == bytes, "{store:?} {len} was replaced");
        }
        let bad = store.put_file("../x", file_of(b"x")).await;
        assert!(matches!(bad, Err(ObjectError::BadKey { .. })));
    }
}

#[tokio::test]
async fn deleting_what_is_not_there_is_fine() {
    let (stores, _alive) = stores().await;
    for store in stores {
        store.put("a/x", data("one")).await.expect("put");
        for key in ["a/x", "a/x", "never/there"] {
            store.delete(key).await.expect("deleted");
        }
        assert_eq!(store.head("a/x").await, Ok(None));
        store.put("a/x", data("two")).await.expect("a new object");
    }
}

#[tokio::test]
async fn keys_that_could_leave_the_store_are_refused_by_every_operation() {
    let (stores, _alive) = stores().await;
    for store in stores {
        for key in ["../x", "/x", "a/../../x", ".hidden", "a\0b", ""] {
            let refused = Err(ObjectError::BadKey {
                key: key.to_owned(),
            });
            assert_eq!(store.put(key, data("x")).await, refused);
            assert_eq!(store.delete(key).await, refused);
            assert_eq!(store.get(key, 0..1).await.map(|_| ()), refused);
            assert_eq!(store.head(key).await.map(|_| ()), refused);
        }
    }
}

#[tokio::test]
async fn pages_of_a_list_are_in_key_order_and_complete() {
    // A dash sorts before a slash and a digit after it: directories must not sort by bare name.
    let keys = [
        "a", "a-b", "a/b", "a/b-c/d", "a/b/c", "a/b0", "a0", "b/1", "b/10", "b/2",
    ];
    // A file and a directory cannot share a name, so not all of them fit one directory.
    let keys = keys.map(|key| {
        if key == "a" || key == "a/b" {
            format!("{key}.")
        } else {
            key.into()
        }
    });
    let (stores, _alive) = stores().await;
    for store in stores {
        for key in &keys {
            store.put(key, Bytes::from(key.clone())).await.expect("put");
        }
        for prefix in ["", "a", "a/", "a/b", "a/b/", "b/1", "c", "zz/"] {
            let mut expected: Vec<_> = keys
                .iter()
                .filter(|key| key.starts_with(prefix))
                .map(|key| (key.clone(), key.len() as u64))
                .collect();
            expected.sort_unstable();
            for page in 1..=keys.len() + 1 {
                let listed = list_all(store.as_ref(), prefix, page).await;
                assert_eq!(listed, expected, "{prefix:?} by {page} from {store:?}");
            }
        }
        assert_eq!(store.list("", "", 0).await, Ok(Vec::new()));
        assert_eq!(
            store.list("a", "a/zzz", 1).await.expect("listed")[0].0,
            "a0"
        );
    }
}

async fn list_all(store: &dyn ObjectStore, prefix: &str, page: usize) -> Vec<(String, u64)> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let listed = store.list(prefix, &after, page).await.expect("listed");
        let ended = listed.len() < page;
        if let Some((last, _)) = listed.last() {
            after.clone_from(last);
        }
        all.extend(listed);
        if ended {
            return all;
        }
    }
}

#[tokio::test]
async fn faults_come_as_scripted_and_the_same_seed_gives_the_same_faults() {
    let store = Failing::new(Memory::default());
    store.nth(Step::Put, 3, Fault::LoseAnswer);
    let mut told = Vec::new();
    for key in ["a", "b", "c", "d"] {
        told.push(store.put(key, data("x")).await.is_ok());
    }
    assert_eq!(told, [true, true, false, true]);
    assert_eq!(
        store.head("c").await,
        Ok(Some(1)),
        "only its answer was lost"
    );
    store.always(Step::Get, Fault::NoSpace);
    assert!(store.get("a", 0..1).await.is_err() && store.get("a", 0..1).await.is_err());
    store.always(Step::Get, Fault::None);
    store.script(Step::Get, [Fault::FlipBit, Fault::Short]);
    assert_eq!(store.get("a", 0..1).await, Ok(data("y")));
    assert_eq!(store.get("a", 0..1).await, Ok(data("")));
    assert_eq!(store.get("a", 0..1).await, Ok(data("x")));
    assert_eq!((store.count(Step::Put), store.count(Step::Get)), (4, 5));

    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let store = Failing::seeded(Memory::default(), seed, 50);
        let mut told = Vec::new();
        for _ in 0..64 {
            told.push(store.put("k", data("x")).await.is_ok());
        }
        runs.push(told);
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false));
}
