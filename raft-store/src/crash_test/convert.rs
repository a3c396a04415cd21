//! A log database, as builds left it that knew no files, becomes files at the first start, or is
//! refused and left as it is.

use super::{files_with, flip, image, options};
use crate::bare::{self, LogKind};
use crate::error::StoreError;
use crate::log::LogStore;
use crate::testing::{append, id, opaque};
use crate::types::{Entry, Vote};
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

fn entries(range: Range<u64>) -> Vec<Entry> {
    range
        .map(|index| opaque(1, index, vec![index as u8; 100]))
        .collect()
}

fn open_log(dir: &Path, kind: LogKind) -> Result<LogStore, StoreError> {
    bare::open_log(&options(dir), kind)
}

/// What an earlier build left: a vote for term 4, entries 10 to 39 behind those that were purged.
/// Some rows are in table files, some in a write-ahead file.
async fn earlier() -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut log = open_log(dir.path(), LogKind::Database).unwrap();
    log.save_vote(&Vote::new(4, 1)).await.unwrap();
    append(&mut log, entries(0..20)).await.unwrap();
    log.purge(id(1, 9)).await.unwrap();
    drop(log);
    // Opening writes what was recovered into a table file.
    let mut log = open_log(dir.path(), LogKind::Database).unwrap();
    log.save_committed(Some(id(1, 37))).await.unwrap();
    for entry in entries(20..40) {
        append(&mut log, vec![entry]).await.unwrap();
    }
    drop(log);
    dir
}

fn of_database(dir: &Path) -> Vec<PathBuf> {
    let parts = ["MANIFEST-", "OPTIONS-", ".log", ".sst", "IDENTITY"];
    let found = parts.map(|part| files_with(&dir.join("log"), part));
    found.concat()
}

/// Opens the log as a node does, and looks whether all is there.
async fn opened(dir: &Path) -> Result<LogStore, StoreError> {
    let mut log = open_log(dir, LogKind::Files)?;
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(id(1, 9)));
    assert_eq!(state.last_log_id, Some(id(1, 39)));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 37)));
    let mut reader = log.reader();
    assert_eq!(reader.read_vote().await.unwrap(), Some(Vote::new(4, 1)));
    let read = reader.try_get_log_entries(..).await.unwrap();
    assert_eq!(read, entries(10..40));
    Ok(log)
}

#[tokio::test]
async fn a_log_database_becomes_files() {
    let dir = earlier().await;
    assert!(of_database(dir.path()).len() >= 4);
    drop(opened(dir.path()).await.unwrap());
    assert_eq!(of_database(dir.path()), Vec::<PathBuf>::new());
    let mut log = opened(dir.path()).await.unwrap();
    append(&mut log, entries(40..41)).await.unwrap();
    drop(log);
    let log = open_log(dir.path(), LogKind::Files).unwrap();
    let read = log.reader().try_get_log_entries(..).await.unwrap();
    assert_eq!(read, entries(10..41));
}

#[tokio::test]
async fn a_build_that_knows_no_files_refuses_them_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut log = open_log(dir.path(), LogKind::Files).unwrap();
    append(&mut log, entries(0..3)).await.unwrap();
    drop(log);
    let refused = open_log(dir.path(), LogKind::Database);
    assert!(refused.is_err());
    let log = open_log(dir.path(), LogKind::Files).unwrap();
    let read = log.reader().try_get_log_entries(..).await.unwrap();
    assert_eq!(read, entries(0..3));
}

#[tokio::test]
async fn a_change_to_files_that_was_cut_short_begins_anew() {
    let dir = earlier().await;
    // As it would be at any moment before the directory is the files': with files of a log that counts for nothing.
    let other = TempDir::new().unwrap();
    let mut log = open_log(other.path(), LogKind::Files).unwrap();
    log.save_vote(&Vote::new(9, 1)).await.unwrap();
    append(&mut log, entries(0..3)).await.unwrap();
    drop(log);
    for path in files_with(&other.path().join("log"), "s") {
        let name = path.file_name().unwrap();
        fs::copy(&path, dir.path().join("log").join(name)).unwrap();
    }
    assert!(dir.path().join("log/salt").exists());
    drop(opened(dir.path()).await.unwrap());
}

#[tokio::test]
async fn a_change_to_files_that_was_not_tidied_up_is() {
    let dir = earlier().await;
    let before = image(dir.path());
    drop(opened(dir.path()).await.unwrap());
    for path in of_database(before.path()) {
        let name = path.file_name().unwrap();
        fs::copy(&path, dir.path().join("log").join(name)).unwrap();
    }
    drop(opened(dir.path()).await.unwrap());
    assert_eq!(of_database(dir.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_damaged_log_database_is_refused_and_stays_as_it_is() {
    let clean = earlier().await;
    let (mut refused, mut harmless) = (0, 0);
    for path in of_database(clean.path()) {
        let name = path.strip_prefix(clean.path()).unwrap();
        let length = fs::metadata(&path).unwrap().len() as usize;
        for at in (0..length).step_by(61) {
            let damaged = image(clean.path());
            flip(&damaged.path().join(name), at);
            match opened(damaged.path()).await {
                Ok(_) => harmless += 1,
                Err(_) => {
                    refused += 1;
                    assert!(!of_database(damaged.path()).is_empty(), "{name:?} {at}");
                    let left = files_with(&damaged.path().join("log"), "slot-");
                    assert!(left.is_empty(), "{name:?} {at}: {left:?}");
                    // It is refused again, and not taken for an empty log.
                    assert!(opened(damaged.path()).await.is_err(), "{name:?} {at}");
                }
            }
        }
    }
    assert!(refused > 40, "{refused} refused, {harmless} without effect");
}

#[tokio::test]
async fn a_log_database_that_was_cut_off_is_refused() {
    let dir = earlier().await;
    let mut files = of_database(dir.path());
    files.retain(|path| path.extension().is_some_and(|ending| ending == "log"));
    files.sort();
    let file = files.pop().unwrap();
    let length = fs::metadata(&file).unwrap().len();
    let cut = fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(length - 3).unwrap();
    let error = opened(dir.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(!of_database(dir.path()).is_empty());
    let again = opened(dir.path()).await.unwrap_err();
    assert!(matches!(again, StoreError::Damaged { .. }), "{again}");
}

const CHILD_DIR: &str = "CURLEW_TEST_EARLIER_DIR";

/// Not a test of its own: an earlier build, which says whether it has the log, and keeps it until its
/// input ends.
#[test]
fn child_opens_the_database() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let opened = open_log(Path::new(&dir), LogKind::Database);
    match &opened {
        Ok(_) => println!("it is open"),
        Err(StoreError::Locked { .. }) => println!("it is locked"),
        Err(other) => println!("it is refused: {other}"),
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Starts an earlier build on a directory. Gives what it said, too.
fn earlier_build(dir: &Path) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash_test::convert::child_opens_the_database"])
        .arg("--nocapture")
        .env(CHILD_DIR, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| {
        let line = line.unwrap();
        line.starts_with("it is").then_some(line)
    });
    (child, said.unwrap())
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[tokio::test]
async fn an_earlier_build_and_this_one_keep_each_other_out() {
    let dir = earlier().await;
    let (child, said) = earlier_build(dir.path());
    assert_eq!(said, "it is open");
    let refused = open_log(dir.path(), LogKind::Files).unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    end(child);
    // The conversion opens and closes RocksDB on the way, which lets go of its lock.
    let log = opened(dir.path()).await.unwrap();
    let (child, said) = earlier_build(dir.path());
    assert_eq!(said, "it is locked");
    end(child);
    drop(log);
    let (child, said) = earlier_build(dir.path());
    assert!(said.starts_with("it is refused"), "{said}");
    end(child);
    drop(opened(dir.path()).await.unwrap());
}
