use super::*;
use crate::apply::mirror::tests::Side;
use crate::check;
use crate::command::CommandBody;
use crate::ids::{Seq, SessionId, id_counter, id_epoch};
use crate::testing::ListCodec;
use std::sync::Arc;

fn next_ids(side: &Side) -> (u64, u64) {
    let counters = Tables::new(&side.kv, side.volume).counters();
    let counters = counters.expect("a sound store");
    (counters.next_ino, counters.next_slice)
}

#[test]
fn what_a_lost_majority_may_have_given_is_not_given_again() {
    let codec = Arc::new(ListCodec::default());
    let mut side = Side::origin(&codec);
    for n in 0..20 {
        side.create(&format!("f{n}"));
    }
    let before = side.head();
    side.done(CommandBody::Recovered);
    let after = side.head();
    assert_eq!(after.token.epoch.0, before.token.epoch.0 + 1);
    assert_eq!(after.token.seq.0, before.token.seq.0 + 1);
    // What mirrors and readers know goes on, and is told from what was lost.
    let records = side.records(before.token.seq.0);
    let record = codec.decode_record(&records[1].body).expect("a record");
    assert_eq!(
        (record.epoch, record.seq),
        (after.token.epoch, after.token.seq)
    );
    assert_eq!(record.previous_crc, before.record_crc);

    side.create("new");
    let rows = side.rows();
    let inos = rows.iter().filter(|(key, _)| key[0] == Table::Inode as u8);
    let inos = inos.map(|(key, _)| u64::from_be_bytes(key[1..9].try_into().expect("an ino")));
    let newest = inos.max().expect("files");
    assert_eq!(id_epoch(newest), after.token.epoch);
    assert_eq!(id_counter(newest) + 1, next_ids(&side).0);
    // A session that is opened now has no number that one of the lost suffix can have had.
    let open = CommandBody::OpenSession {
        nonce: 8,
        slots: 1,
        info: Vec::new(),
    };
    match side.done(open) {
        Success::Session(session) => assert!(session > SessionId(SESSIONS_SKIPPED), "{session:?}"),
        other => panic!("{other:?}"),
    }
    let broken = check::check(&side.kv, side.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn records_are_found_in_their_epochs_from_wherever_one_begins() {
    let codec = Arc::new(ListCodec::default());
    let mut side = Side::origin(&codec);
    for n in 0..3 {
        for m in 0..4 {
            side.create(&format!("f{n}-{m}"));
        }
        side.done(CommandBody::Recovered);
    }
    side.create("last");
    let last = side.head().token.seq.0;
    let first = crate::read::records(&side.kv, side.volume, Seq(0), 1).expect("a sound store");
    let first = first[0].0.0;
    for from in first..=last + 1 {
        let found = crate::read::records(&side.kv, side.volume, Seq(from), usize::MAX);
        let found: Vec<u64> = found
            .expect("sound")
            .into_iter()
            .map(|(seq, _)| seq.0)
            .collect();
        assert_eq!(found, (from..=last).collect::<Vec<_>>());
    }
}

#[test]
fn recovered_twice_from_two_copies_the_ids_differ() {
    let codec = Arc::new(ListCodec::default());
    let after = |seconds: i64| {
        let mut side = Side::origin(&codec);
        side.create("one");
        side.clock = 1_767_225_600 + seconds;
        side.done(CommandBody::Recovered);
        next_ids(&side)
    };
    let (first, second) = (after(1000), after(2000));
    assert!(second.0 >= first.0 + 1_000_000 && second.1 >= first.1 + 1_000_000);
}
