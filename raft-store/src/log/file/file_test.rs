//! What the files give back, after any end of a process or of the power.

use super::*;
use crate::fault::Faults;
use crate::log::{LogDisk, LogShared, LogStore, PurgeGate};
use crate::poison::Poison;
use crate::testing::{append, id, opaque};
use crate::types::{Entry, LogId, Vote};
use crate::workers::Workers;
use openraft::storage::{RaftLogReader as _, RaftLogStorage as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// Small, so that files are used again and again.
const SMALL_BYTES: u64 = 4096;

fn try_open(dir: &Path) -> Result<LogStore, StoreError> {
    let files = FileLog::open(&dir.join("log"), 0, SMALL_BYTES)?;
    let disk = LogDisk::Files(Box::new(files));
    // Without a tail everything is read from the files.
    let shared = LogShared::load(disk, 0, 0, Poison::default(), Faults::default())?;
    LogStore::new(Arc::new(shared), 1 << 20, PurgeGate::Open, Workers::Threads)
}

fn open(dir: &Path) -> LogStore {
    try_open(dir).unwrap()
}

fn entry(term: u64, index: u64) -> Entry {
    opaque(
        term,
        index,
        vec![(term * 7 + index) as u8; 100 + index as usize % 60],
    )
}

fn entries(range: Range<u64>) -> Vec<Entry> {
    range.map(|index| entry(1, index)).collect()
}

async fn all(log: &LogStore) -> Vec<Entry> {
    log.reader().try_get_log_entries(..).await.unwrap()
}

fn copy(from: &Path, to: &Path) {
    crate::testing::copy_tree(from, to);
}

fn image(dir: &Path) -> TempDir {
    let image = TempDir::new().unwrap();
    copy(dir, image.path());
    image
}

fn slots(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir.join("log")).unwrap();
    let mut found: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.to_string_lossy().contains("slot-"));
    found.sort();
    found
}

#[tokio::test]
async fn files_are_used_again_and_give_back_what_is_left() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    log.save_vote(&Vote::new(1, 1)).await.unwrap();
    let mut most = 0;
    for index in 0..1000 {
        append(&mut log, vec![entry(1, index)]).await.unwrap();
        if index % 50 == 49 {
            log.purge(id(1, index - 20)).await.unwrap();
        }
        if index % 70 == 69 {
            most = most.max(slots(dir.path()).len());
            drop(log);
            log = open(dir.path());
            let purged = log.get_log_state().await.unwrap().last_purged_log_id;
            let first = purged.map_or(0, |id: LogId| id.index + 1);
            assert_eq!(all(&log).await, entries(first..index + 1));
            assert_eq!(
                log.reader().read_vote().await.unwrap(),
                Some(Vote::new(1, 1))
            );
        }
    }
    // About 70 entries of 200 bytes, 4 free files, and those that one more round frees.
    assert!(most < 20, "{most}");
}

#[tokio::test]
async fn a_round_larger_than_a_file_is_kept() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    for index in 0..3 {
        append(&mut log, vec![opaque(1, index, vec![3; 20_000])])
            .await
            .unwrap();
    }
    append(&mut log, vec![entry(1, 3)]).await.unwrap();
    drop(log);
    let mut log = open(dir.path());
    assert_eq!(all(&log).await.len(), 4);
    log.purge(id(1, 3)).await.unwrap();
    for index in 4..100 {
        append(&mut log, vec![entry(1, index)]).await.unwrap();
        log.purge(id(1, index - 1)).await.unwrap();
    }
    let long = |path: &PathBuf| fs::metadata(path).unwrap().len() > SMALL_BYTES;
    assert_eq!(
        slots(dir.path()).iter().filter(|path| long(path)).count(),
        0
    );
}

#[tokio::test]
async fn what_is_cut_off_stays_away() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    append(&mut log, entries(0..40)).await.unwrap();
    log.truncate_after(Some(id(1, 9))).await.unwrap();
    assert_eq!(all(&open(image(dir.path()).path())).await, entries(0..10));
    append(&mut log, vec![entry(2, 10)]).await.unwrap();
    let expected = [entries(0..10), vec![entry(2, 10)]].concat();
    assert_eq!(all(&log).await, expected);
    assert_eq!(all(&open(image(dir.path()).path())).await, expected);
}

#[tokio::test]
async fn a_reader_keeps_what_it_looks_at() {
    let dir = TempDir::new().unwrap();
    let files = FileLog::open(dir.path(), 0, SMALL_BYTES).unwrap();
    let ends = Ends::default();
    let key = |index| crate::log::entry_key(0, index);
    let value = |index: u64| vec![index as u8; 300];
    let put = |index| Change::Put(key(index), value(index));
    for index in 0..20 {
        files.write(&[put(index)], Durability::Now, ends).unwrap();
    }
    let before = files.snapshot();
    for index in 20..200 {
        let changes = [Change::DeleteRange(key(0), key(index - 3)), put(index)];
        files.write(&changes, Durability::Now, ends).unwrap();
    }
    let found = |rows: &FileLogSnapshot| {
        let mut found = Vec::new();
        rows.scan(&key(0), &key(1000), &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    };
    let expected = |range: Range<u64>| range.map(|at| (key(at), value(at))).collect::<Vec<_>>();
    assert_eq!(found(&before), expected(0..20));
    assert_eq!(found(&files.snapshot()), expected(196..200));
}

#[test]
fn a_second_opener_is_kept_out() {
    let dir = TempDir::new().unwrap();
    let _first = FileLog::open(dir.path(), 0, SMALL_BYTES).unwrap();
    let second = FileLog::open(dir.path(), 0, SMALL_BYTES);
    assert!(
        matches!(second, Err(StoreError::Locked { .. })),
        "{second:?}"
    );
}

/// A copy of a directory, with other bytes in one of its files.
fn with_a_flipped_byte(clean: &Path, file: &Path, at: usize) -> TempDir {
    let damaged = image(clean);
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 0x10;
    let name = file.file_name().unwrap();
    fs::write(damaged.path().join("log").join(name), bytes).unwrap();
    damaged
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_found_or_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    for index in 0..60 {
        append(&mut log, vec![entry(1, index)]).await.unwrap();
    }
    log.purge(id(1, 20)).await.unwrap();
    append(&mut log, entries(60..64)).await.unwrap();
    let clean = image(dir.path());
    let mut refused = 0;
    for path in slots(clean.path()) {
        for at in (0..fs::metadata(&path).unwrap().len() as usize).step_by(61) {
            let damaged = with_a_flipped_byte(clean.path(), &path, at);
            match try_open(damaged.path()) {
                Ok(log) => assert_eq!(all(&log).await, entries(21..64), "{path:?} {at}"),
                Err(StoreError::Damaged { .. }) => refused += 1,
                Err(other) => panic!("{path:?} {at}: {other}"),
            }
        }
    }
    assert!(refused > 50, "{refused}");
    fs::remove_file(clean.path().join("log/salt")).unwrap();
    assert!(try_open(clean.path()).is_err());
}

/// The hint is of no help after a power failure: what the files say alone must be enough for all but
/// the last round.
#[tokio::test]
async fn without_the_hint_all_but_the_last_round_are_missed() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    for index in 0..40 {
        append(&mut log, vec![entry(1, index)]).await.unwrap();
    }
    fs::remove_file(dir.path().join("log.hint")).unwrap();
    let clean = image(dir.path());
    for path in slots(clean.path()) {
        for at in (0..fs::metadata(&path).unwrap().len() as usize).step_by(47) {
            let damaged = with_a_flipped_byte(clean.path(), &path, at);
            if let Ok(log) = try_open(damaged.path()) {
                let found = all(&log).await;
                assert!(found.len() >= 39, "{path:?} {at}: {}", found.len());
                assert_eq!(found, entries(0..found.len() as u64));
            }
        }
    }
}

fn sectors(rng: &mut StdRng, before: Vec<u8>, now: &[u8]) -> Vec<u8> {
    const SECTOR_BYTES: usize = 512;
    let mut mixed = before;
    mixed.resize(now.len(), 0);
    for at in (0..now.len()).step_by(SECTOR_BYTES) {
        let end = (at + SECTOR_BYTES).min(now.len());
        if rng.random_bool(0.5) {
            mixed[at..end].copy_from_slice(&now[at..end]);
        }
    }
    mixed
}

/// When a sync failed, and the process ended, the system gives back what is not on the disk.
#[tokio::test]
async fn what_a_start_found_is_written_again_before_it_counts() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    append(&mut log, entries(0..10)).await.unwrap();
    drop(log);
    let file = slots(dir.path()).remove(0);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let opened = File::options().write(true).open(&file).unwrap();
    opened.set_modified(old).unwrap();
    let before = fs::read(&file).unwrap();
    drop(open(dir.path()));
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_ne!(fs::metadata(&file).unwrap().modified().unwrap(), old);
}

#[tokio::test]
async fn what_the_hint_says_is_on_the_disk_when_the_log_rests() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    append(&mut log, entries(0..10)).await.unwrap();
    let shared = log.shared();
    let synced = |path: &Path| Hint::open(path).unwrap().tip();
    assert!(shared.disk.is_unsettled(), "it was written a moment ago");
    let begin = Instant::now();
    while shared.disk.is_unsettled() {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "it never settles"
        );
        std::thread::yield_now();
    }
    assert!(shared.poison.reason().is_none());
    assert_eq!(synced(&dir.path().join("log.hint")).last, Some(id(1, 9)));
}

#[tokio::test]
async fn files_that_hold_nothing_any_more_are_given_back_soon() {
    let dir = TempDir::new().unwrap();
    let mut log = open(dir.path());
    for index in 0..400 {
        append(&mut log, vec![entry(1, index)]).await.unwrap();
    }
    let (before, bytes) = (slots(dir.path()).len(), log.shared().disk.bytes());
    log.purge(id(1, 398)).await.unwrap();
    // It begins a file, though the one before has room.
    append(&mut log, vec![entry(1, 400)]).await.unwrap();
    let (after, left) = (slots(dir.path()).len(), log.shared().disk.bytes());
    assert!(before > 15 && after < 10, "{before}, {after}");
    assert!(bytes > 60_000 && left < 10_000, "{bytes}, {left}");
}

/// What a log holds: by index, how often it was written.
type Model = BTreeMap<u64, u64>;

fn value(index: u64, times: u64) -> Vec<u8> {
    vec![(index * 31 + times) as u8; 100 + (index * 7 % 90) as usize]
}

/// Some entries more, fewer at the begin, or others at the end.
fn change(rng: &mut StdRng, model: &mut Model) -> Vec<Change> {
    let key = |index| crate::log::entry_key(0, index);
    let (first, last) = match (model.first_key_value(), model.last_key_value()) {
        (Some((first, _)), Some((last, _))) => (*first, *last),
        _ => (0, 0),
    };
    let mut changes = Vec::new();
    let mut next = if model.is_empty() { 0 } else { last + 1 };
    let mut times = 0;
    match rng.random_range(0..10) {
        // The newest one stays, so that the next index is known.
        0 if last > first => {
            let upto = rng.random_range(first..last);
            changes.push(Change::DeleteRange(key(0), key(upto + 1)));
            model.retain(|index, _| *index > upto);
        }
        1 if last > first => {
            next = rng.random_range(first + 1..=last);
            times = model.get(&next).map_or(0, |times| times + 1);
            changes.push(Change::DeleteRange(key(next), key(u64::MAX)));
            model.retain(|index, _| *index < next);
        }
        _ => {}
    }
    for index in next..next + rng.random_range(1..4) {
        changes.push(Change::Put(key(index), value(index, times)));
        model.insert(index, times);
    }
    changes
}

fn held(files: &FileLog) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (begin, end) = (
        crate::log::entry_key(0, 0),
        crate::log::entry_key(0, u64::MAX),
    );
    let mut held = Vec::new();
    let rows = files.snapshot();
    rows.scan(&begin, &end, &mut |key, value| {
        held.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    })
    .unwrap();
    held
}

fn rows_of(model: &Model) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = model.iter();
    rows.map(|(index, times)| (crate::log::entry_key(0, *index), value(*index, *times)))
        .collect()
}

/// Writes rounds, and gives what the power leaves of the last ones: any of their sectors. Says what
/// the log may hold then.
fn lose_power(dir: &Path, rng: &mut StdRng, file_bytes: u64, model: &mut Model) -> Vec<Model> {
    let ends = Ends::default();
    let files = FileLog::open(&dir.join("log"), 0, file_bytes).unwrap();
    let file = || files.writer.lock().slot.name();
    for _ in 0..rng.random_range(0..30) {
        let changes = change(rng, model);
        files.write(&changes, Durability::Now, ends).unwrap();
    }
    let mut synced = image(dir);
    let mut possible = vec![model.clone()];
    for _ in 0..rng.random_range(1..4) {
        let changes = change(rng, model);
        files.write(&changes, Durability::Later, ends).unwrap();
        possible.push(model.clone());
        let writer = files.writer.lock();
        if writer.synced == writer.end {
            synced = image(dir);
            possible = vec![model.clone()];
        }
    }
    let before = file();
    // A round that was to be synced as well, and nobody was told.
    if rng.random_bool(0.5) {
        let mut changes = Vec::new();
        for _ in 0..rng.random_range(1..12) {
            changes.extend(change(rng, model));
        }
        let last = possible.last().cloned().unwrap();
        files.write(&changes, Durability::Now, ends).unwrap();
        if file() != before {
            // It needed a new file, before which the old one was synced.
            possible = vec![last];
        }
        possible.push(model.clone());
    }
    let whole = (file() != before).then_some(before);
    drop(files);
    for path in slots(synced.path()) {
        let name = path.file_name().unwrap();
        // What the round that was under way had removed was not gone yet.
        if !dir.join("log").join(name).exists() {
            fs::copy(&path, dir.join("log").join(name)).unwrap();
        }
    }
    for path in slots(dir) {
        let name = path.file_name().unwrap();
        if whole.as_deref() == name.to_str() {
            continue;
        }
        let before = fs::read(synced.path().join("log").join(name)).unwrap_or_default();
        let mixed = sectors(rng, before, &fs::read(&path).unwrap());
        fs::write(&path, mixed).unwrap();
    }
    possible
}

#[test]
fn after_any_loss_of_power_the_log_is_that_of_a_synced_round_or_a_later_one() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let dir = TempDir::new().unwrap();
        let file_bytes = SMALL_BYTES * rng.random_range(1..6);
        let mut model = Model::new();
        // A log that lost its power lives on and loses it again.
        for life in 0..5 {
            let possible = lose_power(dir.path(), &mut rng, file_bytes, &mut model);
            let files = FileLog::open(&dir.path().join("log"), 0, file_bytes);
            let files = files.unwrap_or_else(|error| panic!("seed {seed}, {life}: {error}"));
            let found = held(&files);
            let of = possible.iter().find(|model| rows_of(model) == found);
            let told = || {
                let indexes = |model: &Model| model.keys().copied().collect::<Vec<_>>();
                let found = found.iter().map(|(key, _)| key[11]).collect::<Vec<_>>();
                let possible = possible.iter().map(indexes).collect::<Vec<_>>();
                format!("seed {seed}, {life}: {found:?} of {possible:?}")
            };
            model = of.unwrap_or_else(|| panic!("{}", told())).clone();
        }
    }
}
