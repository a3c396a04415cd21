//! Building and installing a snapshot, interrupted at each step.

use super::snapshot::{build, send};
use super::{copy_tree, open, try_open_with};
use crate::testing::{apply, history, parts, rows};
use meta_core::failpoint::Point;
use openraft::storage::{RaftSnapshotBuilder, RaftStateMachine};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

const BUILD_STEPS: [Point; 3] = [
    Point::SnapshotCheckpoint,
    Point::SnapshotManifest,
    Point::SnapshotComplete,
];
const INSTALL_STEPS: [Point; 5] = [
    Point::InstallVerified,
    Point::InstallCopied,
    Point::InstallOpened,
    Point::InstallCurrent,
    Point::InstallSwapped,
];

type Images = Arc<Mutex<BTreeMap<Point, PathBuf>>>;

/// Copies the directory at each step.
fn photographer(dir: &Path, album: &Path) -> (Images, impl FnMut(Point) -> io::Result<()> + use<>) {
    let images = Images::default();
    let taken = Arc::clone(&images);
    let (dir, album) = (dir.to_path_buf(), album.to_path_buf());
    let hook = move |point: Point| {
        if matches!(point, Point::LogWrite | Point::StateWrite) {
            return Ok(());
        }
        let image = album.join(point.name());
        copy_tree(&dir, &image);
        taken.lock().insert(point, image);
        Ok(())
    };
    (images, hook)
}

fn count(dir: &Path, name: &str) -> usize {
    fs::read_dir(dir.join(name)).unwrap().count()
}

#[tokio::test]
async fn a_crash_in_an_install_leaves_the_old_state_or_the_new() {
    let dirs: Vec<_> = (0..3).map(|_| TempDir::new().unwrap()).collect();
    let mut from = open(dirs[0].path());
    apply(&mut from.machine, history(100)).await.unwrap();
    let built = build(&mut from).await;
    let new = rows(&from.reader);

    let parts = parts();
    let mut to = try_open_with(dirs[1].path(), &parts).unwrap();
    apply(&mut to.machine, history(5)).await.unwrap();
    // A snapshot flushes the state, so that a crash does not take it back.
    drop(build(&mut to).await);
    let old = rows(&to.reader);
    let received = send(&built, &to).unwrap();
    let (images, hook) = photographer(dirs[1].path(), dirs[2].path());
    parts.faults.watch(hook);
    to.machine
        .install_snapshot(&built.meta(), received)
        .await
        .unwrap();
    assert_eq!(rows(&to.reader), new);
    drop(to);

    let images = images.lock().clone();
    assert_eq!(images.len(), INSTALL_STEPS.len());
    for (step, image) in images.iter() {
        let mut store = open(image);
        let expected = if matches!(*step, Point::InstallCurrent | Point::InstallSwapped) {
            &new
        } else {
            &old
        };
        assert_eq!(&rows(&store.reader), expected, "{step:?}");
        assert_eq!(
            count(image, "state"),
            2,
            "{step:?}: CURRENT and one generation"
        );
        assert!(count(image, "snapshots") <= 1, "{step:?}");
        apply(&mut store.machine, vec![]).await.unwrap();
        assert_eq!(store.poison.reason(), None);
    }
}

#[tokio::test]
async fn an_install_that_fails_before_the_switch_changes_nothing() {
    for (step, fatal) in INSTALL_STEPS
        .into_iter()
        .zip([false, false, false, true, true])
    {
        let dirs: Vec<_> = (0..2).map(|_| TempDir::new().unwrap()).collect();
        let mut from = open(dirs[0].path());
        apply(&mut from.machine, history(20)).await.unwrap();
        let built = build(&mut from).await;
        let parts = parts();
        let mut to = try_open_with(dirs[1].path(), &parts).unwrap();
        apply(&mut to.machine, history(5)).await.unwrap();
        let old = rows(&to.reader);
        parts.faults.watch(move |point| match point == step {
            true => Err(io::Error::other("injected")),
            false => Ok(()),
        });
        let received = send(&built, &to).unwrap();
        assert!(
            to.machine
                .install_snapshot(&built.meta(), received)
                .await
                .is_err(),
            "{step:?}"
        );
        assert_eq!(to.poison.reason().is_some(), fatal, "{step:?}");
        if !fatal {
            assert_eq!(rows(&to.reader), old, "{step:?}");
            assert_eq!(count(dirs[1].path(), "state"), 2, "{step:?}");
            apply(&mut to.machine, history(6)[5..].to_vec())
                .await
                .unwrap();
        }
        drop(to);
        let new = rows(&from.reader);
        let again = rows(&open(dirs[1].path()).reader);
        if fatal {
            assert_eq!(again, new, "{step:?}");
        }
    }
}

#[tokio::test]
async fn a_crash_while_building_leaves_no_half_snapshot() {
    let dirs: Vec<_> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    let parts = parts();
    let mut store = try_open_with(dirs[0].path(), &parts).unwrap();
    apply(&mut store.machine, history(20)).await.unwrap();
    let (images, hook) = photographer(dirs[0].path(), dirs[1].path());
    parts.faults.watch(hook);
    let built = build(&mut store).await;
    let expected = rows(&store.reader);
    let images = images.lock().clone();
    assert_eq!(images.len(), BUILD_STEPS.len());
    for (step, image) in images.iter() {
        let mut again = open(image);
        assert_eq!(rows(&again.reader), expected, "{step:?}");
        let found = again.machine.get_current_snapshot().await.unwrap();
        assert_eq!(
            found.is_some(),
            *step == Point::SnapshotComplete,
            "{step:?}"
        );
        if let Some(found) = found {
            assert_eq!(found.meta, built.meta());
            assert!(found.snapshot.chunks(1 << 20).all(|chunk| chunk.is_ok()));
        } else {
            assert_eq!(count(image, "snapshots"), 0, "{step:?}");
        }
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_built_stops_the_store() {
    let dir = TempDir::new().unwrap();
    let parts = parts();
    let mut store = try_open_with(dir.path(), &parts).unwrap();
    apply(&mut store.machine, history(5)).await.unwrap();
    parts.faults.watch(|_| Err(io::Error::other("injected")));
    let mut builder = store
        .machine
        .try_create_snapshot_builder(true)
        .await
        .unwrap();
    assert!(builder.build_snapshot().await.is_err());
    assert!(store.poison.reason().is_some());
    assert_eq!(count(dir.path(), "snapshots"), 0);
}
