use super::*;
use crate::apply::quota::Delta;
use crate::attr::{Caller, Timestamp};
use crate::command::{
    Command, CommandBody, Create, CreateVolume, Existing, NewNode, Operation, RenameMode, Request,
};
use crate::ids::{Level, SessionId, SlotIndex, Uuid, VolumeId};
use crate::kv::{Family, MemKv, Overlay, Visit};
use crate::limits::TOTALS_DEPTH_MAX;
use crate::name::Name;
use crate::outcome::{Outcome, Success};
use crate::testing::ListCodec;
use crate::{check, key, machine};
use std::cell::RefCell;

/// Rows in memory that count how often each is asked for.
#[derive(Default)]
struct Counted {
    kv: MemKv,
    reads: RefCell<BTreeMap<Vec<u8>, usize>>,
}

impl KvRead for Counted {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Fatal> {
        *self.reads.borrow_mut().entry(key.to_vec()).or_default() += 1;
        self.kv.get(family, key)
    }

    fn scan(
        &self,
        family: Family,
        begin: &[u8],
        end: &[u8],
        visit: &mut Visit<'_>,
    ) -> Result<(), Fatal> {
        self.kv.scan(family, begin, end, visit)
    }
}

/// A volume with a session.
struct World {
    store: Counted,
    codec: ListCodec,
    volume: VolumeId,
    session: SessionId,
    sequence: u64,
    clock: i64,
}

impl World {
    fn at(level: Level) -> Self {
        let mut world = Self {
            store: Counted::default(),
            codec: ListCodec::default(),
            volume: VolumeId::CLUSTER,
            session: SessionId(0),
            sequence: 0,
            clock: 0,
        };
        let cluster = Uuid([1; 16]);
        world.run(CommandBody::InitCluster { cluster });
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        match world.run(CommandBody::CreateVolume(create)) {
            Success::Volume(id) => world.volume = id,
            other => panic!("{other:?}"),
        }
        world.run(CommandBody::RaiseLevel { level });
        let open = CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        };
        match world.run(open) {
            Success::Session(id) => world.session = id,
            other => panic!("{other:?}"),
        }
        world
    }

    /// Runs a command, and counts its reads alone.
    fn run(&mut self, body: CommandBody) -> Success {
        self.clock += 1;
        self.store.reads.borrow_mut().clear();
        let command = Command {
            volume: self.volume,
            stamp: Timestamp {
                seconds: self.clock,
                nanos: 0,
            },
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&self.store);
        let reply = machine::apply(&mut pending, &self.codec, &command).expect("a sound store");
        let writes = pending.into_writes();
        self.store.kv.write(writes);
        match reply.outcome {
            Outcome::Done(success) => success,
            other => panic!("{other:?}"),
        }
    }

    fn request(&mut self, operation: Operation) -> Success {
        self.sequence += 1;
        self.run(CommandBody::Request(Request {
            session: self.session,
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller: Caller::root(),
            operation,
        }))
    }

    fn make(&mut self, parent: Ino, text: &str, node: NewNode) -> Ino {
        let create = Operation::Create(Create {
            parent,
            name: name(text),
            mode: 0o755,
            masked: 0,
            node,
            existing: Existing::Refuse,
        });
        match self.request(create) {
            Success::Entry { attr, .. } => attr.ino,
            other => panic!("{other:?}"),
        }
    }

    fn directory(&mut self, parent: Ino, text: &str) -> Ino {
        self.make(parent, text, NewNode::Directory)
    }

    /// Directories in one another, so many below the root, which is the first.
    fn nested(&mut self, count: usize) -> Vec<Ino> {
        let mut nested = vec![Ino::ROOT];
        let mut at = Ino::ROOT;
        for _ in 0..count {
            at = self.directory(at, "d");
            nested.push(at);
        }
        nested
    }

    /// How often the last command asked the store for the totals of directories.
    fn reads<const N: usize>(&self, inos: [Ino; N]) -> [usize; N] {
        let reads = self.store.reads.borrow();
        inos.map(|ino| {
            let read = reads.get(&key::directory_totals(self.volume, ino));
            read.copied().unwrap_or(0)
        })
    }

    fn tables(&self) -> Tables<'_, MemKv> {
        Tables::new(&self.store.kv, self.volume)
    }

    fn is_sound(&self) {
        let broken = check::check(&self.store.kv, self.volume).expect("a sound store");
        assert_eq!(broken, Vec::<String>::new());
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn is_too_deep(walked: Result<usize, Stop>) -> bool {
    matches!(walked, Err(Stop::Refused(Refusal::LimitReached)))
}

#[test]
fn a_command_reads_each_row_of_totals_to_change_it_and_for_its_hash() {
    let mut world = World::at(Level(4));
    let a = world.directory(Ino::ROOT, "a");
    let b = world.directory(a, "b");
    world.make(b, "first", NewNode::Regular);
    let all = [Ino::ROOT, a, b];
    world.make(b, "second", NewNode::Regular);
    assert_eq!(world.reads(all), [2; 3]);
    let unlink = Operation::Unlink {
        parent: b,
        name: name("second"),
    };
    world.request(unlink);
    assert_eq!(world.reads(all), [2; 3]);
    world.is_sound();
}

#[test]
fn a_move_reads_what_lies_above_both_places_once_and_leaves_it() {
    let mut world = World::at(Level(4));
    let above = world.directory(Ino::ROOT, "above");
    let [from, to] = ["from", "to"].map(|name| world.directory(above, name));
    for dir in [from, to] {
        world.make(dir, "file", NewNode::Regular);
    }
    let rename = Operation::Rename {
        parent: from,
        name: name("file"),
        new_parent: to,
        new_name: name("moved"),
        mode: RenameMode::Replace,
    };
    world.request(rename);
    assert_eq!(world.reads([Ino::ROOT, above, from, to]), [1, 1, 2, 2]);
    world.is_sound();
}

#[test]
fn counting_reads_each_directory_once_however_many_files_lie_below_it() {
    let mut world = World::at(Level(3));
    // Few enough for one command.
    let nested = world.nested(100);
    world.run(CommandBody::RaiseLevel { level: Level(4) });
    let counted = world.run(CommandBody::CountFiles {
        files_max: u32::MAX,
    });
    let rows = 101;
    assert_eq!(counted, Success::Maintained { rows, more: true });
    let (empty, others) = nested.split_last().expect("directories");
    assert_eq!(world.reads([*empty]), [0], "nothing lies below it");
    for ino in others {
        assert_eq!(world.reads([*ino]), [2], "{ino}");
    }
    world.is_sound();
}

#[test]
fn what_is_too_deep_is_refused_also_where_it_meets_what_was_read() {
    let mut world = World::at(Level(4));
    let nested = world.nested(5);
    let deepest = nested[5];
    let beside = world.directory(nested[3], "beside");
    let below = world.directory(deepest, "below");
    let tables = world.tables();
    assert!(is_too_deep(Above::default().walk(tables, deepest, 5)));
    let mut above = Above::default();
    assert!(matches!(above.walk(tables, deepest, 6), Ok(6)));
    assert!(is_too_deep(above.walk(tables, below, 6)));
    assert!(matches!(above.walk(tables, beside, 6), Ok(5)));
    assert!(matches!(above.walk(tables, beside, 6), Ok(5)), "again");
    assert_eq!(above.len(), 7, "what was refused was not taken in");
    assert!(matches!(above.walk(tables, below, 7), Ok(7)));
}

#[test]
fn what_changes_at_several_places_changes_all_above_them_by_the_sum() {
    let mut world = World::at(Level(4));
    let trunk = world.directory(Ino::ROOT, "trunk");
    let [left, right] = ["left", "right"].map(|name| world.directory(trunk, name));
    let leaf = world.directory(left, "leaf");
    let mut above = Above::default();
    let changes = [(trunk, 1), (leaf, 10), (right, -4), (left, 100)];
    for (place, files) in changes {
        let walked = above.walk(world.tables(), place, TOTALS_DEPTH_MAX);
        walked.expect("not deep");
        let all = Delta {
            files,
            ..Delta::default()
        };
        let change = Change {
            all,
            unasked: Delta::default(),
        };
        above.add(place, change).expect("it was walked from");
    }
    above.rise().expect("all were read");
    let sums = [Ino::ROOT, trunk, left, right, leaf].map(|ino| {
        let directory = above.directories.get(&ino).expect("it was read");
        directory.change.all.files
    });
    assert_eq!(sums, [107, 107, 110, -4, 10]);
}
