//! Damage is found, and told from a write that never ended. A failed write stops the store.

use super::{copy_tree, files_with, flip, image, open, try_open, try_open_with};
use crate::error::StoreError;
use crate::log::{Change, Durability, Ends, FileLog, Tip, entry_key};
use crate::testing::{append, append_later, apply, history, id, opaque, parts};
use crate::types::{Entry, Vote};
use meta_core::failpoint::Point;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const ACKNOWLEDGED: u64 = 20;

fn entries(range: std::ops::Range<u64>) -> Vec<Entry> {
    range
        .map(|index| opaque(1, index, vec![index as u8; 100]))
        .collect()
}

/// A directory whose log has entries 0 to 19 in one write each, and no state.
async fn acknowledged() -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.log.save_vote(&Vote::new(1, 1)).await.unwrap();
    for entry in entries(0..ACKNOWLEDGED) {
        append(&mut store.log, vec![entry]).await.unwrap();
    }
    image(dir.path())
}

/// The file that the entries are in, and where what was written into it ends.
fn log_file(dir: &Path) -> (PathBuf, usize) {
    let written = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map(|last| last + 1)
    };
    let mut found = files_with(&dir.join("log"), "slot-")
        .into_iter()
        .filter_map(|path| written(&path).map(|end| (path, end)));
    let file = found.next().unwrap();
    assert!(found.next().is_none(), "one file is enough");
    file
}

async fn read_all(dir: &Path) -> Result<Vec<Entry>, StoreError> {
    let store = try_open(dir)?;
    Ok(store.log.reader().try_get_log_entries(..).await.unwrap())
}

#[tokio::test]
async fn a_flipped_byte_anywhere_in_the_log_is_found() {
    let clean = acknowledged().await;
    let expected = entries(0..ACKNOWLEDGED);
    let (_, length) = log_file(clean.path());
    let mut refused = 0;
    for at in (0..length).step_by(29) {
        let damaged = image(clean.path());
        flip(&log_file(damaged.path()).0, at);
        match read_all(damaged.path()).await {
            Ok(read) => assert_eq!(read, expected, "byte {at} changed what is read"),
            Err(StoreError::Damaged { .. }) => refused += 1,
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 10, "{refused}");
}

#[tokio::test]
async fn acknowledged_entries_that_are_cut_off_are_missed() {
    let clean = acknowledged().await;
    let (_, length) = log_file(clean.path());
    for cut in [1, 3, 60, 200, 1000, length] {
        let damaged = image(clean.path());
        let (file, _) = log_file(damaged.path());
        fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len((length - cut) as u64)
            .unwrap();
        let opened = read_all(damaged.path()).await;
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "cut {cut}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn a_write_that_never_ended_is_dropped() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    for entry in entries(0..ACKNOWLEDGED) {
        append(&mut store.log, vec![entry]).await.unwrap();
    }
    let before = image(dir.path());
    append(&mut store.log, entries(ACKNOWLEDGED..ACKNOWLEDGED + 2))
        .await
        .unwrap();
    let after = image(dir.path());
    let (_, short) = log_file(before.path());
    let (file, long) = log_file(after.path());
    let (old, new) = (
        fs::read(log_file(before.path()).0).unwrap(),
        fs::read(file).unwrap(),
    );
    assert!(long > short && new[..short] == old[..short]);
    for end in short..long {
        let torn = image(before.path());
        let mixed = [&new[..end], &old[end..]].concat();
        fs::write(log_file(torn.path()).0, mixed).unwrap();
        let read = read_all(torn.path()).await.unwrap();
        assert_eq!(read, entries(0..ACKNOWLEDGED), "torn at {end}");
    }
}

fn delete_entry(dir: &Path, index: u64) {
    let files = FileLog::open(&dir.join("log"), 0, 16 << 10).unwrap();
    let gone = Change::DeleteRange(entry_key(0, index), entry_key(0, index + 1));
    // The hint goes on to say what had been there.
    let tip = Tip {
        last: Some(id(1, ACKNOWLEDGED - 1)),
        vote_term: 1,
    };
    let ends = Ends {
        lowest: tip,
        after: tip,
    };
    files.write(&[gone], Durability::Now, ends).unwrap();
}

#[tokio::test]
async fn a_missing_entry_is_found_wherever_it_was() {
    let clean = acknowledged().await;
    for index in [0, 7, ACKNOWLEDGED - 1] {
        let damaged = image(clean.path());
        delete_entry(damaged.path(), index);
        let opened = read_all(damaged.path()).await;
        assert!(
            matches!(opened, Err(StoreError::Damaged { .. })),
            "{index}: {opened:?}"
        );
    }
}

#[tokio::test]
async fn a_lost_vote_is_missed() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.log.save_vote(&Vote::new(4, 1)).await.unwrap();
    let old = image(dir.path());
    store.log.save_vote(&Vote::new(5, 1)).await.unwrap();
    drop(store);
    let mixed = TempDir::new().unwrap();
    copy_tree(old.path(), mixed.path());
    fs::copy(dir.path().join("log.hint"), mixed.path().join("log.hint")).unwrap();
    let error = try_open(mixed.path()).unwrap_err();
    assert!(error.to_string().contains("term 5"), "{error}");
}

#[tokio::test]
async fn a_failed_log_write_stops_the_store() {
    let dir = TempDir::new().unwrap();
    let parts = parts();
    let mut store = try_open_with(dir.path(), &parts).unwrap();
    append(&mut store.log, entries(0..5)).await.unwrap();
    let mut once = true;
    parts.faults.watch(move |point| {
        if point == Point::LogWrite && std::mem::take(&mut once) {
            return Err(io::Error::other("injected"));
        }
        Ok(())
    });
    let failed = append_later(&mut store.log, entries(5..6))
        .await
        .unwrap()
        .await
        .unwrap();
    assert!(failed.unwrap_err().to_string().contains("injected"));
    assert!(store.poison.wait().await.contains("injected"));
    // The fault is gone, and still nothing is written or read.
    assert!(append_later(&mut store.log, entries(6..7)).await.is_err());
    assert!(store.log.save_vote(&Vote::new(9, 1)).await.is_err());
    assert!(store.log.save_committed(None).await.is_err());
    assert!(store.log.truncate_after(None).await.is_err());
    assert!(store.log.reader().try_get_log_entries(0..2).await.is_err());
    assert!(store.reader.with_view(|_| ()).is_err());
    assert!(apply(&mut store.machine, history(1)).await.is_err());
    drop(store);
    assert_eq!(read_all(dir.path()).await.unwrap(), entries(0..5));
}

#[tokio::test]
async fn a_failed_state_write_stops_the_store() {
    let dir = TempDir::new().unwrap();
    let parts = parts();
    let mut store = try_open_with(dir.path(), &parts).unwrap();
    apply(&mut store.machine, history(5)).await.unwrap();
    parts.faults.watch(|point| match point {
        Point::StateWrite => Err(io::Error::other("injected")),
        _ => Ok(()),
    });
    let next = history(7)[5..].to_vec();
    assert!(
        apply(&mut store.machine, next)
            .await
            .unwrap_err()
            .to_string()
            .contains("injected")
    );
    assert_eq!(store.reader.applied(), Some(id(1, 4)));
    assert!(store.poison.reason().unwrap().contains("injected"));
    assert!(append_later(&mut store.log, entries(0..1)).await.is_err());
}

#[tokio::test]
async fn a_command_that_cannot_be_read_stops_the_store() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut machine = store.machine;
    assert!(
        apply(&mut machine, vec![opaque(1, 0, vec![1, 2, 3])])
            .await
            .is_err()
    );
    assert!(
        store
            .poison
            .reason()
            .unwrap()
            .contains("cannot be understood")
    );
}

#[tokio::test]
async fn an_entry_out_of_order_stops_the_store() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let mut machine = store.machine;
    apply(&mut machine, history(3)).await.unwrap();
    assert!(apply(&mut machine, history(6)[4..].to_vec()).await.is_err());
    assert!(store.poison.reason().unwrap().contains("order of the log"));
}

#[tokio::test]
async fn a_damaged_pointer_or_missing_state_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let damaged = image(dir.path());
    flip(&damaged.path().join("state/CURRENT"), 16);
    assert!(matches!(
        try_open(damaged.path()),
        Err(StoreError::Damaged { .. })
    ));
    let damaged = image(dir.path());
    fs::remove_dir_all(damaged.path().join("state/gen-0000000001")).unwrap();
    assert!(matches!(
        try_open(damaged.path()),
        Err(StoreError::Damaged { .. })
    ));
}
