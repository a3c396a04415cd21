//! Old records of the changelog, and how they go.

use super::*;
use crate::ids::{Epoch, Level, Seq};
use crate::kv::{KvRead, Visit};

#[test]
fn old_records_are_dropped_and_the_chain_goes_on() {
    let mut world = World::new();
    for text in ["a", "b", "c"] {
        world.make(Ino::ROOT, text, NewNode::Regular);
    }
    let step = world.done(CommandBody::TrimChangelog { keep_from: Seq(3) });
    assert_eq!(
        step,
        Success::Maintained {
            rows: 2,
            more: false
        }
    );
    let records = read::records(&world.kv, world.volume, Seq(0), 9).expect("sound");
    assert_eq!(records.first().map(|(seq, _)| seq.0), Some(3));
    world.make(Ino::ROOT, "d", NewNode::Regular);
}

/// Rows of which the records before one may not be looked at.
struct NoneBefore<'a>(&'a MemKv, Vec<u8>);

impl KvRead for NoneBefore<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        self.0.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        assert!(family == Family::State || begin >= self.1.as_slice());
        self.0.scan(family, begin, end, visit)
    }
}

/// A node with ten million files looked through all records that it had dropped before, each time
/// that it dropped more, and answered nobody meanwhile: its store passes by what was deleted.
#[test]
fn records_that_were_dropped_are_not_looked_through_again() {
    let mut world = World::new();
    for text in ["a", "b", "c"] {
        world.make(Ino::ROOT, text, NewNode::Regular);
    }
    let trim = |keep_from| CommandBody::TrimChangelog {
        keep_from: Seq(keep_from),
    };
    world.done(trim(3));
    let command = Command {
        volume: world.volume,
        stamp: Timestamp::default(),
        read_level: Level(0),
        body: trim(4),
    };
    let first = key::record(world.volume, Epoch(0), Seq(3));
    let rows = NoneBefore(&world.kv, first.clone());
    let mut pending = Overlay::new(&rows);
    apply(&mut pending, &world.codec, &command).expect("a sound store");
    let gone = pending.into_writes().remove(&(Family::Changelog, first));
    assert_eq!(gone, Some(None));
}
