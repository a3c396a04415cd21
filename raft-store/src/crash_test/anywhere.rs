//! Damage at random places of a whole store: each is refused, or changes nothing that is read.

use super::{copy_tree, open, try_open};
use crate::state::View;
use crate::testing::{Row, append, apply, history};
use crate::types::{Entry, Vote};
use meta_core::kv::{Family, KvRead as _};
use meta_core::outcome::Fatal;
use openraft::storage::{
    RaftLogReader as _, RaftLogStorage as _, RaftSnapshotBuilder as _, RaftStateMachine as _,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// `make proof` asks for more.
const DAMAGES: u64 = 100;
const DAMAGES_VARIABLE: &str = "CURLEW_DAMAGES";
const ENTRIES: u64 = 120;
/// Applied and flushed; the rest is only in the log.
const FLUSHED: u64 = 90;

/// A store with a log, table files, a snapshot and a purged beginning.
async fn whole() -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.log.save_vote(&Vote::new(3, 1)).await.unwrap();
    let entries = history(ENTRIES);
    for entry in &entries {
        append(&mut store.log, vec![entry.clone()]).await.unwrap();
    }
    for part in entries[..FLUSHED as usize].chunks(30) {
        apply(&mut store.machine, part.to_vec()).await.unwrap();
    }
    let builder = store.machine.try_create_snapshot_builder(true).await;
    builder.unwrap().build_snapshot().await.unwrap();
    store.log.purge(entries[39].log_id).await.unwrap();
    drop(store);
    // Opening writes what was recovered into table files.
    drop(open(dir.path()));
    dir
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all_files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Turns a bit over, or cuts the file off. Says what it did.
fn damage(dir: &Path, rng: &mut StdRng) -> String {
    let files = all_files(dir);
    let path = &files[rng.random_range(0..files.len())];
    let mut bytes = fs::read(path).unwrap();
    // Most of a file of the log has never been written.
    let written = bytes.iter().rposition(|byte| *byte != 0);
    let at = rng.random_range(0..written.map_or(bytes.len(), |last| last + 1));
    let name = path.strip_prefix(dir).unwrap().display().to_string();
    let what = if rng.random_bool(0.7) {
        bytes[at] ^= 1 << rng.random_range(0..8);
        "a flipped bit"
    } else {
        bytes.truncate(at);
        "cut off"
    };
    fs::write(path, bytes).unwrap();
    format!("{name}: {what} at {at}")
}

/// As the tests' own, for rows that may not be readable.
fn all_rows(view: &View<'_>) -> Result<Vec<Row>, Fatal> {
    let mut rows = Vec::new();
    for family in [Family::State, Family::Changelog] {
        view.scan(family, &[], &[0xff; 16], &mut |key, value| {
            rows.push((family, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
    }
    Ok(rows)
}

/// The log, and the rows once all of it is applied; an error if the store refuses anywhere.
async fn read(dir: &Path) -> Result<(Vec<Entry>, Option<Vote>, Vec<Row>), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let mut store = try_open(dir).map_err(|error| told(&error))?;
    let mut reader = store.log.reader();
    let vote = reader.read_vote().await.map_err(|error| told(&error))?;
    let entries = reader.try_get_log_entries(..).await;
    let entries = entries.map_err(|error| told(&error))?;
    let applied = store.reader.applied().map_or(0, |id| id.index + 1);
    let rest = entries.iter().filter(|entry| entry.log_id.index >= applied);
    let rest: Vec<Entry> = rest.cloned().collect();
    if rest
        .first()
        .is_some_and(|entry| entry.log_id.index != applied)
    {
        return Err("the log begins behind the state".to_owned());
    }
    apply(&mut store.machine, rest)
        .await
        .map_err(|error| told(&error))?;
    let all = store.reader.with_view(all_rows);
    let all = all.and_then(|all| all).map_err(|error| told(&error))?;
    match store.poison.reason() {
        Some(reason) => Err(reason),
        None => Ok((entries, vote, all)),
    }
}

/// Found by 1,000 damages: a flipped bit in the type of a record, and RocksDB never came to an end of
/// opening its files.
#[tokio::test]
async fn a_record_that_the_database_would_read_for_ever_is_refused() {
    const HEAD_BYTES: usize = 7;
    let clean = whole().await;
    let manifest = |path: &PathBuf| path.to_string_lossy().contains("/MANIFEST-");
    let files: Vec<PathBuf> = all_files(clean.path())
        .into_iter()
        .filter(manifest)
        .collect();
    assert!(!files.is_empty(), "the state's");
    let mut refused = 0;
    for file in files {
        let name = file.strip_prefix(clean.path()).unwrap();
        if name.starts_with("snapshots") {
            continue;
        }
        let damaged = TempDir::new().unwrap();
        copy_tree(clean.path(), damaged.path());
        let path = damaged.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        // A whole record becomes a whole record of a recycled file.
        let second = HEAD_BYTES + usize::from(u16::from_le_bytes([bytes[4], bytes[5]]));
        assert_eq!(bytes[second + 6], 1);
        bytes[second + 6] ^= 4;
        fs::write(&path, bytes).unwrap();
        let why = try_open(damaged.path())
            .err()
            .map(|error| error.to_string());
        let why = why.unwrap_or_default();
        assert!(why.contains("never written"), "{}: {why}", name.display());
        refused += 1;
    }
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn damage_anywhere_is_refused_or_changes_nothing() {
    let count = std::env::var(DAMAGES_VARIABLE);
    let count = count.map_or(DAMAGES, |text| text.parse().unwrap());
    let clean = whole().await;
    let copy = TempDir::new().unwrap();
    copy_tree(clean.path(), copy.path());
    let expected = read(copy.path()).await.unwrap();
    let (mut refused, mut harmless) = (0, 0);
    for seed in 0..count {
        let mut rng = StdRng::seed_from_u64(seed);
        let damaged = TempDir::new().unwrap();
        copy_tree(clean.path(), damaged.path());
        let what = damage(damaged.path(), &mut rng);
        match read(damaged.path()).await {
            Err(_) => refused += 1,
            Ok(found) if found == expected => harmless += 1,
            Ok(_) => panic!("seed {seed}: {what}: something else is read"),
        }
    }
    println!("{count} damages: {refused} refused, {harmless} without effect");
    assert!(refused > count / 5, "{refused}");
}
