use super::*;
use crate::apply::mirror::tests::Side;
use crate::command::CommandBody;
use crate::ids::{Ino, Uuid, id_counter, id_epoch};
use crate::kv::MemKv;
use crate::testing::ListCodec;
use crate::{check, read};
use std::sync::Arc;

fn begin_restore(name: &str, head: &read::SnapshotHead) -> BeginRestore {
    BeginRestore {
        name: name.to_owned(),
        uuid: Uuid([2; 16]),
        origin: Uuid([1; 16]),
        storage: b"{}".to_vec(),
        snapshot: head.token,
        record_crc: head.record_crc,
    }
}

/// Sends all rows of a volume, a few at a time, as often as that is asked for.
fn send(from: &MemKv, volume: VolumeId, to: &mut Side) {
    let mut after = Vec::new();
    loop {
        let page = read::snapshot_page(from, volume, &after, 3, usize::MAX);
        let page = page.expect("a sound store");
        let rows = LoadRows {
            after,
            through: page.through.clone(),
            rows: page.rows,
        };
        while let Success::Maintained { more: true, .. } =
            to.done(CommandBody::RestoreRows(rows.clone()))
        {}
        after = page.through;
        if after.as_slice() >= [FIRST_LOCAL_TAG].as_slice() {
            return;
        }
    }
}

/// A cluster beside the origin's, where a dump is loaded as `back`.
fn restored(origin: &Side, codec: &Arc<ListCodec>) -> Side {
    let mut side = Side::new(Uuid([9; 16]), codec);
    let head = origin.head();
    side.volume = side.made(CommandBody::BeginRestore(begin_restore("back", &head)));
    send(&origin.kv, origin.volume, &mut side);
    let (stamp, digest) = (head.stamp, head.digest);
    side.made(CommandBody::EndRestore { stamp, digest });
    side
}

fn written(codec: &Arc<ListCodec>) -> Side {
    let mut origin = Side::origin(codec);
    for n in 0..40 {
        origin.create(&format!("f{n}"));
    }
    for n in 0..10 {
        origin.unlink(&format!("f{n}"));
    }
    origin
}

#[test]
fn a_restored_volume_is_an_origin_in_a_new_epoch() {
    let codec = Arc::new(ListCodec::default());
    let origin = written(&codec);
    let mut side = restored(&origin, &codec);
    let broken = check::check(&side.kv, side.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
    let (old, new) = (origin.head().token, side.head().token);
    assert_eq!((new.epoch.0, new.seq.0), (old.epoch.0 + 1, old.seq.0 + 1));
    let records = side.records(0);
    let record = codec.decode_record(&records[0].body).expect("a record");
    assert_eq!(records.len(), 1);
    assert_eq!(record.cluster, Uuid([9; 16]));
    assert_eq!(record.previous_crc, origin.head().record_crc);
    // All that was there is there as it was, beside the epoch that was opened.
    let rows = side.rows();
    let missing = origin.rows().into_iter().filter(|row| !rows.contains(row));
    let missing: Vec<u8> = missing.map(|(key, _)| key[0]).collect();
    assert_eq!(missing, [0_u8; 0]);
    let open = CommandBody::OpenSession {
        nonce: 7,
        slots: 1,
        info: Vec::new(),
    };
    side.done(open);
    side.create("new");
    let broken = check::check(&side.kv, side.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn ids_of_two_restorations_of_one_dump_differ() {
    let codec = Arc::new(ListCodec::default());
    let origin = written(&codec);
    let next = |seconds| {
        let mut side = Side::new(Uuid([9; 16]), &codec);
        side.clock = IDS_BEGIN + seconds;
        let head = origin.head();
        side.volume = side.made(CommandBody::BeginRestore(begin_restore("back", &head)));
        send(&origin.kv, origin.volume, &mut side);
        let (stamp, digest) = (head.stamp, head.digest);
        side.made(CommandBody::EndRestore { stamp, digest });
        let counters = Tables::new(&side.kv, side.volume).counters();
        counters.expect("a sound store").next_slice
    };
    let (first, second) = (next(1000), next(2000));
    assert!(
        second >= first + (1000 << IDS_PER_SECOND_BITS),
        "{first} {second}"
    );
    assert!(id_counter(Ino::ROOT.0) < first && id_epoch(Ino::ROOT.0).0 == 0);
}

#[test]
fn what_is_not_whole_or_differs_is_refused_and_can_be_sent_again() {
    let codec = Arc::new(ListCodec::default());
    let origin = written(&codec);
    let head = origin.head();
    let (stamp, digest) = (head.stamp, head.digest);
    let end = |digest| CommandBody::EndRestore { stamp, digest };
    let mut side = Side::new(Uuid([9; 16]), &codec);
    let begin = CommandBody::BeginRestore(begin_restore("back", &head));
    side.volume = side.made(begin.clone());
    let refused = |side: &mut Side, body| match side.run(body).outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut side, end(digest)), Refusal::InvalidArgument);
    send(&origin.kv, origin.volume, &mut side);
    assert_eq!(
        refused(&mut side, end(digest ^ 1)),
        Refusal::InvalidArgument
    );
    // A row that was damaged, or is none of the volume's own.
    assert_eq!(side.made(begin), side.volume);
    let rows = LoadRows {
        after: Vec::new(),
        through: vec![FIRST_LOCAL_TAG],
        rows: vec![(vec![Table::Counters as u8], vec![1, 2, 3])],
    };
    let damaged = refused(&mut side, CommandBody::RestoreRows(rows));
    assert_eq!(damaged, Refusal::InvalidArgument);
    // Nobody reads or writes it meanwhile, and nobody follows for it.
    let open = CommandBody::OpenSession {
        nonce: 7,
        slots: 1,
        info: Vec::new(),
    };
    assert_eq!(refused(&mut side, open), Refusal::Mirror);
    assert_eq!(read::mirrors(&side.kv).expect("a sound store"), []);
    assert_eq!(side.state(), MirrorState::Restoring);
    send(&origin.kv, origin.volume, &mut side);
    side.made(end(digest));
    assert_eq!(refused(&mut side, end(digest)), Refusal::InvalidArgument);
}

#[test]
fn a_dump_of_a_level_that_not_all_members_read_is_refused() {
    let codec = Arc::new(ListCodec::default());
    let mut origin = written(&codec);
    origin.done(CommandBody::RaiseLevel { level: Level(2) });
    let head = origin.head();
    let (stamp, digest) = (head.stamp, head.digest);
    let mut side = Side::new(Uuid([9; 16]), &codec);
    side.volume = side.made(CommandBody::BeginRestore(begin_restore("back", &head)));
    send(&origin.kv, origin.volume, &mut side);
    side.read_level = Level(1);
    let outcome = side.run(CommandBody::EndRestore { stamp, digest }).outcome;
    assert_eq!(outcome, Outcome::Refused(Refusal::NotSupported));
    side.read_level = Level(2);
    side.made(CommandBody::EndRestore { stamp, digest });
}

#[test]
fn only_a_volume_that_is_being_restored_takes_rows() {
    let codec = Arc::new(ListCodec::default());
    let mut origin = written(&codec);
    let head = origin.head();
    let rows = LoadRows {
        after: Vec::new(),
        through: vec![FIRST_LOCAL_TAG],
        rows: Vec::new(),
    };
    let before = origin.rows();
    let outcome = origin.run(CommandBody::RestoreRows(rows)).outcome;
    assert_eq!(outcome, Outcome::Refused(Refusal::InvalidArgument));
    assert_eq!(origin.rows(), before);
    // A name that is taken, by whatever.
    let outcome = origin.run(CommandBody::BeginRestore(begin_restore("vol", &head)));
    assert_eq!(outcome.outcome, Outcome::Refused(Refusal::VolumeExists));
    // A volume that the cluster has under another name.
    let outcome = origin.run(CommandBody::BeginRestore(begin_restore("back", &head)));
    assert_eq!(outcome.outcome, Outcome::Refused(Refusal::VolumeExists));
}
