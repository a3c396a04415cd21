//! A child process appends and says what was flushed, until it is killed.

use super::open;
use crate::testing::{append_later, blank, opaque};
use crate::types::Entry;
use openraft::storage::RaftLogReader;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const CHILD_DIR: &str = "CURLEW_TEST_CHILD_DIR";
/// Entries whose flush is awaited together.
const WINDOW: u64 = 16;

fn entry(index: u64) -> Entry {
    match index % 5 {
        0 => blank(1, index),
        _ => opaque(
            1,
            index,
            index.to_be_bytes().repeat(1 + (index % 40) as usize),
        ),
    }
}

/// Not a test of its own: the body of the child, which never ends by itself.
#[tokio::test]
async fn child_appends_for_ever() {
    let Ok(dir) = std::env::var(CHILD_DIR) else {
        return;
    };
    let mut store = open(Path::new(&dir));
    let mut next = store
        .log
        .reader()
        .try_get_log_entries(..)
        .await
        .unwrap()
        .len() as u64;
    loop {
        let mut waiting = Vec::new();
        for index in next..next + WINDOW {
            waiting.push((
                index,
                append_later(&mut store.log, vec![entry(index)])
                    .await
                    .unwrap(),
            ));
        }
        for (index, flushed) in waiting {
            flushed.await.unwrap().unwrap();
            println!("flushed {index}");
            std::io::stdout().flush().unwrap();
        }
        next += WINDOW;
    }
}

/// Starts a child on `dir`, kills it when it has flushed `more` entries, and gives the last
/// index that it said it flushed.
fn run_and_kill(dir: &Path, more: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash_test::kill::child_appends_for_ever",
            "--nocapture",
        ])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = None;
    let mut seen = 0;
    for line in lines.by_ref() {
        // The last line may have been cut by the kill.
        let Some(index) = line.unwrap().strip_prefix("flushed ").map(str::to_owned) else {
            continue;
        };
        last = Some(index.parse().unwrap());
        seen += 1;
        if seen == more {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    last.expect("the child flushed something")
}

#[tokio::test]
async fn what_a_killed_process_said_it_flushed_is_there() {
    let dir = TempDir::new().unwrap();
    let mut flushed_before = 0;
    for round in 0..6 {
        let flushed = run_and_kill(dir.path(), 100 + 37 * round);
        assert!(flushed > flushed_before, "the log went back");
        flushed_before = flushed;
        let store = open(dir.path());
        let entries = store.log.reader().try_get_log_entries(..).await.unwrap();
        assert!(
            entries.len() as u64 > flushed,
            "{} entries, {flushed} flushed",
            entries.len()
        );
        for (index, found) in entries.iter().enumerate() {
            assert_eq!(*found, entry(index as u64));
        }
    }
}
