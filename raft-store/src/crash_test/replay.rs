//! The log gives back what the state lost.

use super::{image, open, try_open};
use crate::error::StoreError;
use crate::testing::{append, append_later, apply, blank, history, id, opaque, rows, volumes};
use crate::types::Vote;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftStateMachine, StorageHelper};
use tempfile::TempDir;

#[tokio::test]
async fn a_store_comes_back_as_it_was_closed() {
    let dir = TempDir::new().unwrap();
    let before = {
        let mut store = open(dir.path());
        store
            .log
            .save_vote(&Vote::new_committed(3, 1))
            .await
            .unwrap();
        append(&mut store.log, history(10)).await.unwrap();
        apply(&mut store.machine, history(8)).await.unwrap();
        store.log.save_committed(Some(id(1, 7))).await.unwrap();
        assert_eq!(volumes(&store.reader), 6);
        rows(&store.reader)
    };
    let mut store = open(dir.path());
    assert_eq!(
        store.log.reader().read_vote().await.unwrap(),
        Some(Vote::new_committed(3, 1))
    );
    assert_eq!(store.log.read_committed().await.unwrap(), Some(id(1, 7)));
    assert_eq!(
        store.log.get_log_state().await.unwrap().last_log_id,
        Some(id(1, 9))
    );
    assert_eq!(
        store.log.reader().try_get_log_entries(0..10).await.unwrap(),
        history(10)
    );
    let (applied, membership) = store.machine.applied_state().await.unwrap();
    assert_eq!(
        (applied, membership.log_id()),
        (Some(id(1, 7)), &Some(id(1, 0)))
    );
    assert_eq!(rows(&store.reader), before);
}

#[tokio::test]
async fn after_a_kill_committed_entries_are_applied_again() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    append(&mut store.log, history(60)).await.unwrap();
    store
        .log
        .save_vote(&Vote::new_committed(1, 1))
        .await
        .unwrap();
    apply(&mut store.machine, history(40)).await.unwrap();
    store.log.save_committed(Some(id(1, 39))).await.unwrap();
    store
        .log
        .save_vote(&Vote::new_committed(1, 1))
        .await
        .unwrap();
    let before = rows(&store.reader);

    let killed = image(dir.path());
    let mut again = open(killed.path());
    let (applied, _) = again.machine.applied_state().await.unwrap();
    assert_eq!(applied, None, "nothing was flushed");
    let mut helper = StorageHelper::new(&mut again.log, &mut again.machine).with_id(1);
    helper.get_initial_state().await.unwrap();
    let log = again.log.get_log_state().await.unwrap();
    assert_eq!(log.last_log_id, Some(id(1, 59)));
    assert_eq!(again.reader.applied(), Some(id(1, 39)));
    assert_eq!(rows(&again.reader), before);
}

#[tokio::test]
async fn a_purge_flushes_the_state_first() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    append(&mut store.log, history(100)).await.unwrap();
    apply(&mut store.machine, history(50)).await.unwrap();
    assert_eq!(store.reader.stats().unwrap().flushed, None);

    let refused = store.log.purge(id(1, 60)).await.unwrap_err();
    assert!(refused.to_string().contains("only"), "{refused}");
    assert_eq!(
        store.log.get_log_state().await.unwrap().last_purged_log_id,
        None
    );

    store.log.purge(id(1, 40)).await.unwrap();
    let stats = store.reader.stats().unwrap();
    assert_eq!(
        (stats.flushed, stats.log_purged),
        (Some(id(1, 49)), Some(id(1, 40)))
    );
    assert_eq!(stats.log_entries, 59);
    assert!(stats.free_bytes.unwrap() > 0 && stats.log_bytes > 0 && stats.state_bytes > 0);

    let killed = image(dir.path());
    let again = open(killed.path());
    assert_eq!(again.reader.applied(), Some(id(1, 49)));
    assert_eq!(
        again.log.reader().try_get_log_entries(..).await.unwrap(),
        history(100)[41..]
    );
    assert_eq!(volumes(&again.reader), 48);
}

#[tokio::test]
async fn a_state_behind_a_purged_log_is_damage() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    append(&mut store.log, history(20)).await.unwrap();
    let young = image(dir.path());
    apply(&mut store.machine, history(20)).await.unwrap();
    store.log.purge(id(1, 10)).await.unwrap();

    let swapped = image(dir.path());
    std::fs::remove_dir_all(swapped.path().join("state")).unwrap();
    assert!(matches!(
        try_open(swapped.path()),
        Err(StoreError::Damaged { .. })
    ));
    super::copy_tree(&young.path().join("state"), &swapped.path().join("state"));
    assert!(matches!(
        try_open(swapped.path()),
        Err(StoreError::Damaged { what: "state", .. })
    ));
}

#[tokio::test]
async fn a_second_opening_is_kept_out() {
    let dir = TempDir::new().unwrap();
    let _store = open(dir.path());
    let error = try_open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"));
}

#[tokio::test]
async fn a_cut_log_grows_again_with_other_entries() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    append(&mut store.log, history(30)).await.unwrap();
    store.log.truncate_after(Some(id(1, 19))).await.unwrap();
    let newer: Vec<_> = (20..25).map(|index| blank(2, index)).collect();
    append(&mut store.log, newer.clone()).await.unwrap();
    let expected = [history(20), newer].concat();
    assert_eq!(
        store.log.reader().try_get_log_entries(..).await.unwrap(),
        expected
    );
    let killed = image(dir.path());
    let again = open(killed.path());
    assert_eq!(
        again.log.reader().try_get_log_entries(..).await.unwrap(),
        expected
    );
}

#[tokio::test]
async fn entries_can_be_read_before_they_are_flushed() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let mut reader = store.log.reader();
    let mut waiting = Vec::new();
    for index in 0..200u64 {
        let entry = opaque(1, index, vec![7; 1000]);
        waiting.push(append_later(&mut store.log, vec![entry]).await.unwrap());
        let read = reader.try_get_log_entries(0..=index).await.unwrap();
        assert_eq!(read.len() as u64, index + 1);
        assert_eq!(read.last().unwrap().log_id, id(1, index));
    }
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_bounded_read_gives_some_from_the_start() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    for index in 0..24u64 {
        append(&mut store.log, vec![opaque(1, index, vec![7; 1 << 20])])
            .await
            .unwrap();
    }
    let mut reader = store.log.reader();
    let some = reader.limited_get_log_entries(2, 24).await.unwrap();
    assert!((2..20).contains(&some.len()), "{}", some.len());
    assert_eq!(some[0].log_id, id(1, 2));
    assert_eq!(
        reader.limited_get_log_entries(23, 24).await.unwrap().len(),
        1
    );
    let all = futures::StreamExt::count(reader.entries_stream(0..24).await).await;
    assert_eq!(all, 24);
}
