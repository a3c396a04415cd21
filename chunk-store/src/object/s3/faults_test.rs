//! A bad network and a bad store: every fault is survived by trying again or told by its kind, and
//! no wrong bytes ever come out.

use super::testing::{Fault, Proxy, Server, store_at, store_with};
use super::*;
use crate::object::Step;
use crate::{ChunkError, Limits, SliceStore, VolumeKeys};
use meta_core::ids::{ChunkIndex, Epoch, SliceId, SliceOrder, Uuid};
use meta_core::query::Slice;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;
use testing::{ACCESS_KEY, BUCKET, SECRET_KEY};

const STEPS: [Step; 5] = [Step::Put, Step::Get, Step::Head, Step::Delete, Step::List];
/// Short ones, for faults that wait.
const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    silence: Duration::from_millis(400),
    attempt: Duration::from_millis(800),
};

async fn proxied(timeouts: Timeouts) -> (Server, Proxy, S3Store) {
    let server = Server::start().await;
    let proxy = Proxy::start(server.addr()).await;
    let keys = [ACCESS_KEY, SECRET_KEY];
    let store = store_with(proxy.addr(), BUCKET, keys, timeouts);
    (server, proxy, store)
}

/// One operation on an object of ten bytes, checked as far as it says that it worked.
async fn operate(store: &S3Store, step: Step, key: &str) -> Result<(), ObjectError> {
    let data = Bytes::from_static(b"0123456789");
    match step {
        Step::Put => store.put(key, data).await,
        Step::Get => {
            let read = store.get(key, 2..9).await?;
            assert_eq!(read, "2345678", "no wrong bytes");
            Ok(())
        }
        Step::Head => {
            assert_eq!(store.head(key).await?, Some(10));
            Ok(())
        }
        Step::Delete => store.delete(key).await,
        Step::List => {
            let listed = store.list(key, "", 9).await?;
            assert_eq!(listed, [(key.to_owned(), 10)]);
            Ok(())
        }
    }
}

async fn meets(fault: Fault, step: Step, timeouts: Timeouts) {
    let (server, proxy, store) = proxied(timeouts).await;
    let key = "a/b";
    if step != Step::Put {
        operate(&store, Step::Put, key).await.expect("put");
    }
    proxy.script(step, [fault]);
    let first = operate(&store, step, key).await;
    // Without a body of the request there is nothing to flip.
    let harmless = fault == Fault::FlipRequest && step != Step::Put;
    match &first {
        Ok(()) => assert!(harmless, "{fault:?} on {step:?} was not noticed"),
        Err(error) => assert!(error.may_pass(), "{fault:?} on {step:?}: {error}"),
    }
    assert_eq!(
        operate(&store, step, key).await,
        Ok(()),
        "{fault:?} on {step:?}, again after {first:?}"
    );
    let there = std::fs::read(server.file(key)).ok();
    let expected = (step != Step::Delete).then(|| b"0123456789".to_vec());
    assert_eq!(there, expected, "{fault:?} on {step:?}");
}

#[tokio::test]
async fn every_fault_is_told_as_one_that_may_pass_and_the_next_attempt_works() {
    for step in STEPS {
        for fault in Fault::QUICK {
            meets(fault, step, Timeouts::default()).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_falls_silent_is_given_up_in_time() {
    let mut cases = tokio::task::JoinSet::new();
    for step in STEPS {
        for fault in Fault::SLOW {
            cases.spawn(meets(fault, step, SHORT));
        }
    }
    while let Some(case) = cases.join_next().await {
        case.expect("a case");
    }
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_found_again_and_another_content_is_a_conflict() {
    let (_server, proxy, store) = proxied(Timeouts::default()).await;
    proxy.script(Step::Put, [Fault::ResetAfter]);
    assert!(operate(&store, Step::Put, "k").await.is_err());
    operate(&store, Step::Put, "k").await.expect("the same");
    for other in ["0123456780", "longer than it was", ""] {
        let put = store.put("k", Bytes::from_static(other.as_bytes())).await;
        let conflict = ObjectError::Conflict {
            key: "k".to_owned(),
        };
        assert_eq!(put, Err(conflict));
    }
    operate(&store, Step::Get, "k").await.expect("unchanged");
}

#[tokio::test]
async fn an_upload_in_parts_survives_faults_of_its_requests() {
    let bytes: Vec<u8> = (0..(33 << 20)).map(|at: usize| (at % 253) as u8).collect();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("written");
    let file = Arc::new(file);
    // A beginning, three parts and an end, and looks at what is there.
    for seed in 0..12 {
        let (server, proxy, store) = proxied(Timeouts::default()).await;
        proxy.seed(seed, 30, &Fault::QUICK);
        let put = store.put_file("a/b", Arc::clone(&file)).await;
        assert_eq!(put, Ok(()), "seed {seed}");
        let there = std::fs::read(server.file("a/b")).expect("a file");
        assert!(there == bytes, "seed {seed}");
    }
}

#[tokio::test]
async fn an_upload_in_parts_that_is_refused_leaves_no_object() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(40 << 20).expect("a length");
    let file = Arc::new(file);
    let mut refused = 0;
    for seed in 0..12 {
        let (server, proxy, store) = proxied(Timeouts::default()).await;
        proxy.seed(seed, 30, &[Fault::Answer(403, "AccessDenied")]);
        match store.put_file("a/b", Arc::clone(&file)).await {
            Ok(()) => continue,
            Err(ObjectError::Refused { .. }) => refused += 1,
            Err(other) => panic!("seed {seed}: {other}"),
        }
        assert!(!server.file("a/b").exists(), "seed {seed}");
        proxy.seed(seed, 0, &[]);
        let again = store.put_file("a/b", Arc::clone(&file)).await;
        assert_eq!(again, Ok(()), "seed {seed}, the next time");
    }
    assert!(refused > 2, "{refused} of 12");
}

#[tokio::test]
async fn a_store_that_knows_no_conditions_is_asked_without_them() {
    let (_server, proxy, store) = proxied(Timeouts::default()).await;
    proxy.refuse_conditions();
    for (key, requests) in [("a", 2), ("b", 3), ("a", 4)] {
        operate(&store, Step::Put, key).await.expect("put");
        assert_eq!(proxy.count(Step::Put), requests, "{key}");
    }
    operate(&store, Step::Get, "a").await.expect("read");
}

#[tokio::test]
async fn a_full_store_is_told_by_its_name() {
    let (_server, proxy, store) = proxied(Timeouts::default()).await;
    for fault in [
        Fault::Plain(507),
        Fault::Answer(403, "QuotaExceeded"),
        Fault::Answer(507, "XMinioStorageFull"),
    ] {
        proxy.script(Step::Put, [fault]);
        let full = ObjectError::NoSpace {
            key: "k".to_owned(),
        };
        assert_eq!(operate(&store, Step::Put, "k").await, Err(full));
    }
}

#[tokio::test]
async fn refused_keys_are_told_at_once_and_never_shown() {
    let server = Server::start().await;
    let cases = [
        ([ACCESS_KEY, "hush-hush"], "correct SECRET_KEY"),
        (["hush-hush", SECRET_KEY], "correct ACCESS_KEY"),
    ];
    for (keys, words) in cases {
        let store = store_with(server.addr(), BUCKET, keys, Timeouts::default());
        for step in STEPS {
            let error = operate(&store, step, "k").await.expect_err("refused");
            assert!(!error.may_pass(), "{step:?}: {error}");
            // The answer to a HEAD has no words.
            let words = if step == Step::Head {
                "grant it"
            } else {
                words
            };
            assert!(error.to_string().contains(words), "{step:?}: {error}");
            assert!(!format!("{error} {error:?} {store:?}").contains("hush"));
        }
        let error = crate::check_store(&store).await.expect_err("refused");
        assert_eq!(error.step, "put");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_by_every_operation() {
    let server = Server::start().await;
    let store = store_at(server.addr(), "elsewhere");
    for step in STEPS {
        let error = operate(&store, step, "k").await.expect_err("no bucket");
        let words = format!(
            "bucket elsewhere at http://{} does not exist",
            server.addr()
        );
        assert!(error.to_string().contains(&words), "{step:?}: {error}");
        assert!(!error.may_pass(), "{step:?}");
    }
    let error = crate::check_store(&store).await.expect_err("no bucket");
    assert!(error.to_string().contains("make it"), "{error}");
}

#[tokio::test]
async fn the_check_names_the_step_that_is_not_allowed() {
    let (server, proxy, store) = proxied(Timeouts::default()).await;
    crate::check_store(&store).await.expect("sound");
    for (step, named) in [
        (Step::Put, "put"),
        (Step::Get, "get"),
        (Step::List, "list"),
        (Step::Delete, "delete"),
    ] {
        proxy.always(step, Some(Fault::Answer(403, "AccessDenied")));
        let error = crate::check_store(&store).await.expect_err("it fails");
        assert_eq!(error.step, named);
        assert!(error.to_string().contains("no right to do this"), "{error}");
        proxy.always(step, None);
    }
    let left = server.store().list("", "", 9).await.expect("listed");
    assert_eq!(left.len(), 1, "only what could not be deleted");
}

/// A port on which nobody listens.
async fn nobody() -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    listener
        .and_then(|listener| listener.local_addr())
        .expect("a port")
}

#[tokio::test]
async fn a_store_that_is_not_there_may_come_back() {
    let store = store_at(nobody().await, BUCKET);
    for step in STEPS {
        let error = operate(&store, step, "k").await.expect_err("nobody");
        assert!(error.may_pass(), "{step:?}: {error}");
        assert!(error.to_string().contains("refused"), "{step:?}: {error}");
    }
}

fn slices(store: S3Store, retry_for: Duration) -> SliceStore {
    let keys = VolumeKeys {
        uuid: Uuid([1; 16]),
        epochs: vec![(Epoch(0), Uuid([2; 16]))],
    };
    let limits = Limits {
        uploads: 4,
        downloads: 4,
        memory_bytes: 0,
        retry_for,
        ..Limits::default()
    };
    SliceStore::new(Arc::new(store), keys, 131_072, limits)
}

async fn upload(slices: &SliceStore, data: &Bytes) -> Result<Slice, ChunkError> {
    let mut upload = slices.upload(SliceId(1));
    upload.push(data.clone()).await?;
    let done = upload.finish().await?;
    Ok(Slice {
        chunk: ChunkIndex(0),
        order: SliceOrder(0),
        id: SliceId(1),
        size: done.len,
        off: 0,
        len: done.len,
        at: 0,
        frame_crcs: done.frame_crcs,
    })
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n / 251 + n) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_survive_a_bad_network_and_wrong_bytes_never_come_out() {
    let data = pattern(1_000_000);
    let mut faults = Fault::QUICK.to_vec();
    faults.extend([Fault::FlipAnswer, Fault::HoldAfter, Fault::HoldMiddle]);
    let (mut read, mut damaged) = (0, 0);
    for seed in 0..6 {
        let (_server, proxy, store) = proxied(SHORT).await;
        proxy.seed(seed, 25, &faults);
        let slices = slices(store, Duration::from_secs(60));
        let slice = upload(&slices, &data).await.expect("stored");
        for (off, len) in [
            (0, 1_000_000),
            (65_000, 2000),
            (999_999, 1),
            (131_071, 500_000),
        ] {
            match slices.read(&slice, off, len).await {
                Ok(bytes) => {
                    let (begin, end) = (off as usize, (off + len) as usize);
                    assert!(bytes == data[begin..end], "{len} bytes at {off}");
                    read += 1;
                }
                // Two bad answers in a row are believed.
                Err(ChunkError::Damaged { .. }) => damaged += 1,
                Err(other) => panic!("seed {seed}: {other}"),
            }
        }
    }
    assert!(read > 4 * damaged, "{read} reads, {damaged} damaged");
}

#[tokio::test]
async fn one_retry_budget_bounds_an_upload_and_a_read() {
    let (_server, proxy, store) = proxied(Timeouts::default()).await;
    let data = pattern(1000);
    let slices = slices(store, Duration::from_millis(300));
    proxy.always(Step::Put, Some(Fault::Answer(503, "SlowDown")));
    let error = upload(&slices, &data).await.expect_err("it never works");
    let ChunkError::GaveUp { attempts, last } = error else {
        panic!("{error}");
    };
    assert_eq!(
        proxy.count(Step::Put),
        u64::from(attempts),
        "nobody else retries"
    );
    assert!(
        attempts > 2 && last.to_string().contains("SlowDown"),
        "{last}"
    );
    proxy.always(Step::Put, None);
    let slice = upload(&slices, &data).await.expect("stored");
    proxy.always(Step::Get, Some(Fault::Truncate));
    let error = slices.read(&slice, 0, 1000).await.expect_err("never whole");
    assert!(matches!(error, ChunkError::GaveUp { attempts, .. }
        if proxy.count(Step::Get) == u64::from(attempts)));
    proxy.always(Step::Get, Some(Fault::FlipAnswer));
    let error = slices.read(&slice, 0, 1000).await.expect_err("damaged");
    assert!(matches!(error, ChunkError::Damaged { .. }));
    proxy.always(Step::Get, None);
    assert_eq!(slices.read(&slice, 0, 1000).await, Ok(data));
}
