//! The engine beside a plain model of a file system, over random calls; and what holds for any
//! sequence of commands: records tell all, batches do not matter, a second sending changes nothing.

mod acl;
mod bounds;
mod codec;
mod driver;
mod engine;
mod filesystem;
mod listing;
mod locks;
mod operation;
mod paths;
mod quota;
mod references;
mod trash;

use driver::Driver;
use engine::Engine;
use meta_core::changelog::{Record, SealedRecord};
use meta_core::codec::Codec as _;
use meta_core::command::CommandBody;
use meta_core::digest::{Digest, row_hash};
use meta_core::ids::{Level, Seq, VolumeId};
use meta_core::key::{FIRST_LOCAL_TAG, split};
use meta_core::kv::{Family, MemKv};
use meta_core::limits::LEVEL_MAX;
use meta_core::read;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use std::collections::{BTreeMap, BTreeSet};

/// Replicated rows by table and ids.
type Rows = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

fn replicated(kv: &MemKv, volume: VolumeId) -> Rows {
    let rows = kv.rows(Family::State).iter();
    rows.filter_map(|(key, row)| match split(key) {
        Some((of, table, ids)) if of == volume && table < FIRST_LOCAL_TAG => {
            Some(((table, ids.to_vec()), row.clone()))
        }
        _ => None,
    })
    .collect()
}

fn digest(rows: &Rows) -> u128 {
    let mut digest = Digest::default();
    rows.iter()
        .for_each(|((table, ids), row)| digest.add(row_hash(*table, ids, row)));
    digest.0
}

/// Makes a record's changes, each of a row that must be as the record says.
fn follow(rows: &mut Rows, record: &Record) {
    for change in &record.changes {
        let key = (change.table, change.key.clone());
        let old = rows.get(&key).map(|row| row_hash(key.0, &key.1, row));
        assert_eq!(old, change.old_hash, "record {}", record.seq);
        assert_ne!(rows.get(&key), change.new.as_ref(), "a change of nothing");
        match &change.new {
            Some(row) => rows.insert(key, row.clone()),
            None => rows.remove(&key),
        };
    }
}

/// What a copy holds that saw nothing but the records.
fn from_records(driver: &Driver) -> Rows {
    let engine = &driver.engine;
    let records = read::records(&engine.kv, engine.volume, Seq(1), usize::MAX);
    let mut rows = Rows::new();
    let mut previous = 0;
    for (index, (seq, SealedRecord { crc, body })) in (1..).zip(records.expect("sound")) {
        let record = engine.codec.decode_record(&body).expect("a record");
        assert_eq!((seq, record.seq), (Seq(index), Seq(index)), "dense");
        assert_eq!(record.previous_crc, previous, "chained");
        previous = crc;
        follow(&mut rows, &record);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_a_plain_file_system(calls in operation::calls(100)) {
        Driver::new().run(&calls);
    }

    #[test]
    fn limits_are_kept_as_a_plain_count_says(calls in operation::quota_calls(100)) {
        Driver::with_quotas().run(&calls);
    }

    #[test]
    fn with_a_trash_it_agrees_as_well(calls in operation::trash_calls(100)) {
        Driver::with_trash().run(&calls);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn records_alone_give_the_same_rows_and_digest(calls in operation::calls(100)) {
        let mut driver = Driver::new();
        driver.run(&calls);
        let rows = from_records(&driver);
        prop_assert_eq!(format!("{:032x}", digest(&rows)), driver.engine.stat().digest);
        prop_assert_eq!(rows, replicated(&driver.engine.kv, driver.engine.volume));
    }

    #[test]
    fn totals_are_right_while_files_are_still_counted(
        before in operation::trash_calls(60),
        calls in operation::counted_calls(60),
    ) {
        let mut driver = Driver::on(Engine::at_level(Level(3)));
        driver.model.keeps = true;
        driver.run(&before);
        driver.engine.run(CommandBody::RaiseLevel { level: LEVEL_MAX });
        driver.run(&calls);
        while driver.maintain(CommandBody::CountFiles { files_max: 5 }) {}
        driver.run(&[]);
    }

    #[test]
    fn records_alone_tell_the_totals(calls in operation::quota_calls(100)) {
        let mut driver = Driver::with_quotas();
        driver.run(&calls);
        let rows = from_records(&driver);
        prop_assert_eq!(rows, replicated(&driver.engine.kv, driver.engine.volume));
    }

    #[test]
    fn records_alone_tell_the_trash(calls in operation::trash_calls(100)) {
        let mut driver = Driver::with_trash();
        driver.run(&calls);
        let rows = from_records(&driver);
        prop_assert_eq!(rows, replicated(&driver.engine.kv, driver.engine.volume));
    }

    #[test]
    fn the_size_of_batches_changes_nothing(calls in operation::calls(60), size in 2..40_usize) {
        let mut driver = Driver::new();
        driver.run(&calls);
        let (commands, replies): (Vec<_>, Vec<_>) = driver.engine.log.iter().cloned().unzip();
        let mut kv = MemKv::default();
        let mut again = Vec::new();
        for batch in commands.chunks(size) {
            again.extend(engine::apply(&mut kv, &driver.engine.codec, batch));
        }
        prop_assert!(again == replies, "a reply differs");
        prop_assert!(kv == driver.engine.kv, "a row differs");
    }

    #[test]
    fn a_request_sent_twice_is_as_one_sent_once(calls in operation::calls(60)) {
        let mut once = Driver::new();
        let mut twice = Driver::new();
        twice.engine.sends_twice = true;
        once.run(&calls);
        twice.run(&calls);
        // Stamps differ, because the clock of this test counts sendings.
        let tokens = [&once, &twice].map(|driver| driver.engine.stat().token);
        prop_assert_eq!(tokens[0], tokens[1]);
    }

    #[test]
    fn time_never_goes_back(calls in operation::calls(40)) {
        let mut driver = Driver::new();
        driver.run(&calls);
        let changed = driver.engine.log.windows(2).filter(|pair| pair[0].1.token < pair[1].1.token);
        let mut last = None;
        for pair in changed {
            let stamp = Some(pair[1].1.stamp);
            prop_assert!(stamp > last, "{stamp:?} after {last:?}");
            last = stamp;
        }
    }
}

/// Agreement says little about what never happened.
#[test]
fn random_calls_meet_what_they_should() {
    let mut runner = TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _run in 0..400 {
        let calls = operation::calls(100).new_tree(&mut runner).expect("calls");
        let mut driver = Driver::new();
        driver.run(&calls.current());
        seen.extend(driver.seen);
        let calls = operation::trash_calls(100)
            .new_tree(&mut runner)
            .expect("calls");
        let mut driver = Driver::with_trash();
        driver.run(&calls.current());
        seen.extend(driver.seen);
        let calls = operation::quota_calls(100)
            .new_tree(&mut runner)
            .expect("calls");
        let mut driver = Driver::with_quotas();
        driver.run(&calls.current());
        seen.extend(driver.seen);
    }
    let expected = [
        "Access ok",
        "Chmod EPERM ok",
        "Chown EDQUOT EPERM ok",
        "Compact nothing ok",
        "Copy EDQUOT EFBIG EINVAL EISDIR ESTALE ok",
        "Create EDQUOT ENOSPC EACCES EEXIST EISDIR ENAMETOOLONG ENOENT ENOTDIR EPERM ESTALE ok",
        "GetXattr EACCES ENODATA EOPNOTSUPP ok",
        "Hole EDQUOT EFBIG EINVAL EISDIR ESTALE ok",
        "Link EACCES EEXIST ENOENT ENOTDIR EPERM ok",
        "List ENOTDIR ESTALE ok",
        "Lookup EACCES ENOENT ENOTDIR ok",
        "Open EACCES EISDIR ESTALE ok",
        "Reap ok",
        "EmptyTrash EPERM ok",
        "PurgeTrash ok",
        "Restore EDQUOT EACCES EEXIST ENOENT EPERM ESTALE ok",
        "SetTrash ok",
        "SetQuota EINVAL ENOENT EPERM ESTALE ENOTDIR ok",
        "Remove EACCES EISDIR ENOENT ENOTDIR ENOTEMPTY EPERM ok",
        "RemoveMany EACCES ENOENT ENOTDIR ENOTEMPTY EPERM ESTALE ok",
        "RemoveXattr EACCES ENODATA EPERM ok",
        "Rename EDQUOT EACCES EEXIST EINVAL EISDIR ENOENT ENOTDIR ENOTEMPTY EPERM ok",
        "SetXattr EACCES EEXIST ENAMETOOLONG ENODATA EOPNOTSUPP EPERM ok",
        "Touch EACCES EPERM ok",
        "Trim ok",
        "Truncate EDQUOT ENOSPC EACCES EFBIG EINVAL EISDIR ESTALE ok",
        "Grow EACCES EFBIG EINVAL EISDIR ESTALE ok",
        "SetAcl EACCES EINVAL EOPNOTSUPP EPERM ESTALE ok",
        "Write EDQUOT ENOSPC EFBIG EINVAL EISDIR ESTALE ok",
    ];
    for line in expected {
        let (kind, ends) = line.split_once(' ').expect("a kind and its ends");
        for end in ends.split(' ') {
            assert!(
                seen.contains(&format!("{kind} {end}")),
                "no {kind} ended with {end}"
            );
        }
    }
}
