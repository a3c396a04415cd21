//! Snapshots are taken while writes go on, sent, and installed.

use super::{files, flip, open};
use crate::error::StoreError;
use crate::snapshot::{SnapshotFiles, SnapshotReceiver};
use crate::state::AppliedState;
use crate::store::{Store, open_memory_with};
use crate::testing::{all_rows, append, apply, history, id, membership, parts, rows, volumes};
use openraft::storage::{RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine};
use std::fs;
use tempfile::TempDir;

pub(super) async fn build(store: &mut Store) -> SnapshotFiles {
    let mut builder = store
        .machine
        .try_create_snapshot_builder(true)
        .await
        .unwrap();
    builder.build_snapshot().await.unwrap().snapshot
}

pub(super) fn send(files: &SnapshotFiles, to: &Store) -> Result<SnapshotFiles, StoreError> {
    let mut receiver = SnapshotReceiver::begin(&to.reader)?;
    for chunk in files.chunks(64 << 10) {
        receiver.push(chunk.map_err(|error| StoreError::Snapshot(error.to_string()))?)?;
    }
    receiver.finish()
}

#[tokio::test]
async fn a_snapshot_sent_in_chunks_makes_an_equal_state() {
    let (from_dir, to_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut from = open(from_dir.path());
    apply(&mut from.machine, history(300)).await.unwrap();
    let built = build(&mut from).await;
    assert_eq!(built.meta().last_log_id, Some(id(1, 299)));
    assert_eq!(built.meta().last_membership.log_id(), &Some(id(1, 0)));

    let mut to = open(to_dir.path());
    apply(&mut to.machine, history(5)).await.unwrap();
    let received = send(&built, &to).unwrap();
    to.machine
        .install_snapshot(&built.meta(), received)
        .await
        .unwrap();
    assert_eq!(to.reader.applied(), Some(id(1, 299)));
    assert_eq!(rows(&to.reader), rows(&from.reader));
    let current = to.machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, built.meta());

    // Writes go on, and a restart finds the new state.
    apply(&mut to.machine, history(310)[300..].to_vec())
        .await
        .unwrap();
    drop((to, current));
    let mut again = open(to_dir.path());
    assert_eq!(again.reader.applied(), Some(id(1, 309)));
    assert_eq!(volumes(&again.reader), 308);
    assert!(
        again
            .machine
            .get_current_snapshot()
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_one_moment_while_writes_go_on() {
    let (from_dir, to_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut from = open(from_dir.path());
    apply(&mut from.machine, history(50)).await.unwrap();
    let mut builder = from
        .machine
        .try_create_snapshot_builder(true)
        .await
        .unwrap();
    let building = tokio::spawn(async move {
        let mut built = Vec::new();
        for _ in 0..4 {
            built.push(builder.build_snapshot().await.unwrap().snapshot);
        }
        built
    });
    let mut applied = 50;
    while !building.is_finished() {
        let next = history(applied + 10)[usize::try_from(applied).unwrap()..].to_vec();
        apply(&mut from.machine, next).await.unwrap();
        applied += 10;
    }
    for built in building.await.unwrap() {
        let at = built.meta().last_log_id.unwrap().index;
        let mut to = open(&to_dir.path().join(at.to_string()));
        let mut expected = open_memory_with(&parts()).unwrap();
        apply(&mut expected.machine, history(at + 1)).await.unwrap();
        to.machine
            .install_snapshot(&built.meta(), built)
            .await
            .unwrap();
        assert_eq!(rows(&to.reader), rows(&expected.reader), "at {at}");
    }
}

#[tokio::test]
async fn an_old_snapshot_goes_when_its_last_reader_has() {
    let dir = TempDir::new().unwrap();
    let count = || fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    let mut store = open(dir.path());
    apply(&mut store.machine, history(5)).await.unwrap();
    let first = build(&mut store).await;
    apply(&mut store.machine, history(9)[5..].to_vec())
        .await
        .unwrap();
    let mut reading = first.chunks(4 << 10);
    drop(first);
    let second = build(&mut store).await;
    assert_eq!(count(), 2, "the first is still being read");
    assert!(reading.all(|chunk| chunk.is_ok()));
    drop(reading);
    assert_eq!(count(), 1);
    drop(second);
    assert_eq!(count(), 1, "the current one stays");
}

#[tokio::test]
async fn leftovers_are_removed_at_start() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    apply(&mut store.machine, history(5)).await.unwrap();
    let kept = build(&mut store).await.meta();
    drop(store);
    for stray in [
        "snapshots/building-7",
        "snapshots/incoming-8",
        "snapshots/snapshot-9",
        "state/gen-2",
    ] {
        fs::create_dir(dir.path().join(stray)).unwrap();
        fs::write(dir.path().join(stray).join("x"), b"x").unwrap();
    }
    let mut store = open(dir.path());
    assert_eq!(
        fs::read_dir(dir.path().join("snapshots")).unwrap().count(),
        1
    );
    assert_eq!(
        fs::read_dir(dir.path().join("state")).unwrap().count(),
        2,
        "CURRENT and gen-1"
    );
    assert_eq!(
        store
            .machine
            .get_current_snapshot()
            .await
            .unwrap()
            .unwrap()
            .meta,
        kept
    );
    let next = store.reader.state.receive().unwrap();
    drop(next);
    assert_eq!(
        fs::read_dir(dir.path().join("snapshots")).unwrap().count(),
        1
    );
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_and_changes_nothing() {
    let (from_dir, to_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut from = open(from_dir.path());
    apply(&mut from.machine, history(300)).await.unwrap();
    let built = build(&mut from).await;
    let mut to = open(to_dir.path());
    apply(&mut to.machine, history(5)).await.unwrap();
    let before = rows(&to.reader);

    let received = send(&built, &to).unwrap();
    let table = files(received.dir().unwrap().path(), ".sst").pop().unwrap();
    flip(&table, 100);
    let error = to
        .machine
        .install_snapshot(&built.meta(), received)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");

    let received = send(&built, &to).unwrap();
    let mut other = built.meta();
    other.last_log_id = Some(id(2, 299));
    let error = to
        .machine
        .install_snapshot(&other, received)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("was announced"), "{error}");

    assert_eq!(rows(&to.reader), before);
    assert_eq!(to.poison.reason(), None);
    assert_eq!(
        fs::read_dir(to_dir.path().join("snapshots"))
            .unwrap()
            .count(),
        0
    );
    apply(&mut to.machine, history(6)[5..].to_vec())
        .await
        .unwrap();

    // A sender notices before it has sent the file whole.
    let table = files(built.dir().unwrap().path(), ".sst").pop().unwrap();
    flip(&table, 100);
    assert!(built.chunks(64 << 10).any(|chunk| chunk.is_err()));
}

#[tokio::test]
async fn a_view_stays_while_the_state_is_replaced() {
    let (from_dir, to_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut from = open(from_dir.path());
    apply(&mut from.machine, history(50)).await.unwrap();
    let built = build(&mut from).await;
    let mut to = open(to_dir.path());
    apply(&mut to.machine, history(5)).await.unwrap();
    let before = rows(&to.reader);
    let reader = to.reader.clone();
    let (entered, inside) = tokio::sync::oneshot::channel();
    let (installed, wait) = std::sync::mpsc::channel::<()>();
    let viewing = std::thread::spawn(move || {
        reader.with_view(|view| {
            entered.send(()).unwrap();
            wait.recv().unwrap();
            all_rows(view)
        })
    });
    inside.await.unwrap();
    to.machine
        .install_snapshot(&built.meta(), built.clone())
        .await
        .unwrap();
    assert_eq!(to.reader.applied(), Some(id(1, 49)));
    installed.send(()).unwrap();
    assert_eq!(viewing.join().unwrap().unwrap(), before);
    assert_eq!(
        fs::read_dir(to_dir.path().join("state")).unwrap().count(),
        2
    );
}

#[tokio::test]
async fn a_log_behind_an_installed_snapshot_is_purged_to_it() {
    let (from_dir, to_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut from = open(from_dir.path());
    apply(&mut from.machine, history(50)).await.unwrap();
    let built = build(&mut from).await;
    let mut to = open(to_dir.path());
    append(&mut to.log, history(5)).await.unwrap();
    to.machine
        .install_snapshot(&built.meta(), built.clone())
        .await
        .unwrap();
    to.log.purge(id(1, 49)).await.unwrap();
    append(&mut to.log, history(60)[50..].to_vec())
        .await
        .unwrap();
    drop(to);
    let again = open(to_dir.path());
    let stats = again.reader.stats().unwrap();
    assert_eq!(
        (stats.log_purged, stats.log_last),
        (Some(id(1, 49)), Some(id(1, 59)))
    );
}

#[tokio::test]
async fn the_store_in_memory_takes_and_installs_snapshots() {
    let mut from = open_memory_with(&parts()).unwrap();
    apply(&mut from.machine, history(30)).await.unwrap();
    apply(
        &mut from.machine,
        vec![membership(2, 30, &[(1, "a:1"), (2, "b:2")])],
    )
    .await
    .unwrap();
    let built = build(&mut from).await;
    let mut to = open_memory_with(&parts()).unwrap();
    let received = send(&built, &to).unwrap();
    to.machine
        .install_snapshot(&built.meta(), received)
        .await
        .unwrap();
    assert_eq!(rows(&to.reader), rows(&from.reader));
    let position = to
        .reader
        .with_view(|view| AppliedState::read(view))
        .unwrap()
        .unwrap();
    assert_eq!(position.membership.log_id(), &Some(id(2, 30)));
    // A store on a disk does not take it.
    let dir = TempDir::new().unwrap();
    let mut disk = open(dir.path());
    let refused = disk
        .machine
        .install_snapshot(&built.meta(), built.clone())
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("RocksDB"), "{refused}");
}
