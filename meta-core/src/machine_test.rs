//! The engine's behaviour, one sentence per test. Random sequences are compared with a plain
//! model in `tests/`; what stands here is what a reader wants to see said once.

use super::*;
use crate::attr::{Attr, Caller, FileKind};
use crate::command::{
    Append, AppendSlice, Commit, Create, CreateVolume, Existing, NewNode, NewSlice, Operation,
    RenameMode, SetAttr,
};
use crate::ids::{ChunkIndex, DentryNumber, Ino, Level, SessionId, SliceId, SlotIndex, Uuid};
use crate::kv::Family;
use crate::kv::MemKv;
use crate::limits::REMOVE_ENTRIES_MAX;
use crate::name::Name;
use crate::outcome::Fatal;
use crate::outcome::Removal;
use crate::query::{Answer, Query, QueryBody, SliceCursor};
use crate::testing::ListCodec;
use crate::{check, read};

/// A volume with one session.
struct World {
    kv: MemKv,
    codec: ListCodec,
    volume: VolumeId,
    session: SessionId,
    sequence: u64,
    clock: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            kv: MemKv::default(),
            codec: ListCodec::default(),
            volume: VolumeId::CLUSTER,
            session: SessionId(0),
            sequence: 0,
            clock: 1_000,
        };
        world.done(CommandBody::InitCluster {
            cluster: Uuid([1; 16]),
        });
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: b"{}".to_vec(),
        };
        match world.done(CommandBody::CreateVolume(create)) {
            Success::Volume(id) => world.volume = id,
            other => panic!("{other:?}"),
        }
        let open = CommandBody::OpenSession {
            nonce: 7,
            slots: 4,
            info: b"{}".to_vec(),
        };
        match world.done(open) {
            Success::Session(id) => world.session = id,
            other => panic!("{other:?}"),
        }
        world
    }

    fn run(&mut self, body: CommandBody) -> Reply {
        self.clock += 1;
        let stamp = Timestamp {
            seconds: self.clock,
            nanos: 0,
        };
        let command = Command {
            volume: self.volume,
            stamp,
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&self.kv);
        let reply = apply(&mut pending, &self.codec, &command).expect("a sound store");
        let writes = pending.into_writes();
        self.kv.write(writes);
        if self.volume != VolumeId::CLUSTER {
            let broken = check::check(&self.kv, self.volume).expect("a sound store");
            assert_eq!(broken, Vec::<String>::new());
        }
        reply
    }

    fn done(&mut self, body: CommandBody) -> Success {
        match self.run(body).outcome {
            Outcome::Done(success) => success,
            other => panic!("{other:?}"),
        }
    }

    fn request(&mut self, caller: &Caller, operation: Operation) -> Outcome {
        self.sequence += 1;
        let request = Request {
            session: self.session,
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller: caller.clone(),
            operation,
        };
        self.run(CommandBody::Request(request)).outcome
    }

    fn ok(&mut self, operation: Operation) -> Success {
        match self.request(&Caller::root(), operation) {
            Outcome::Done(success) => success,
            other => panic!("{other:?}"),
        }
    }

    fn make(&mut self, parent: Ino, text: &str, node: NewNode) -> Ino {
        match self.ok(create(parent, text, node)) {
            Success::Entry {
                attr,
                created: true,
            } => attr.ino,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, body: QueryBody) -> Result<Answer, Stop> {
        let query = Query {
            volume: self.volume,
            caller: Caller::root(),
            body,
        };
        read::answer(&self.kv, &query).map(|(_, answer)| answer)
    }

    fn attr(&self, ino: Ino) -> Attr {
        match self.ask(QueryBody::GetAttr { ino }) {
            Ok(Answer::Attr(attr)) => attr,
            other => panic!("{other:?}"),
        }
    }

    fn names(&self, ino: Ino, after: DentryNumber, entries_max: u32) -> Vec<(u64, String)> {
        let body = QueryBody::ReadDir {
            ino,
            after,
            entries_max,
            with_attrs: true,
        };
        match self.ask(body) {
            Ok(Answer::Entries { entries, .. }) => entries
                .iter()
                .map(|entry| (entry.number.0, entry.name.to_string()))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn grant(&mut self, count: u32) -> SliceId {
        match self.ok(Operation::GrantSlices { count }) {
            Success::Granted { first, .. } => first,
            other => panic!("{other:?}"),
        }
    }

    /// (at, id, off, len) of the slices of a file.
    fn slices(&self, ino: Ino) -> Vec<(u32, u32, u64, u32, u32)> {
        let from = SliceCursor::default();
        match self.ask(QueryBody::ReadSlices {
            ino,
            from,
            end: ChunkIndex(u32::MAX),
        }) {
            Ok(Answer::Slices {
                slices, next: None, ..
            }) => slices
                .iter()
                .map(|s| (s.chunk.0, s.at, s.id.0, s.off, s.len))
                .collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a valid name")
}

fn create(parent: Ino, text: &str, node: NewNode) -> Operation {
    let existing = Existing::Refuse;
    Operation::Create(Create {
        parent,
        name: name(text),
        mode: 0o755,
        node,
        masked: 0,
        existing,
    })
}

fn rename(from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Operation {
    Operation::Rename {
        parent: from.0,
        name: name(from.1),
        new_parent: to.0,
        new_name: name(to.1),
        mode,
    }
}

fn unlink(parent: Ino, text: &str) -> Operation {
    Operation::Unlink {
        parent,
        name: name(text),
    }
}

fn commit(ino: Ino, chunk: u32, at: u32, id: SliceId, len: u32) -> Operation {
    let frame_crcs = vec![9; len.div_ceil(crate::limits::FRAME_BYTES) as usize];
    let slice = NewSlice {
        chunk: ChunkIndex(chunk),
        at,
        id,
        len,
        frame_crcs,
    };
    Operation::Commit(Commit {
        ino,
        slices: vec![slice],
        mtime: None,
    })
}

fn truncate(ino: Ino, length: u64) -> Operation {
    Operation::SetAttr(SetAttr {
        ino,
        length: Some(length),
        ..SetAttr::default()
    })
}

#[test]
fn a_file_is_created_found_and_removed() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    let lookup = QueryBody::Lookup {
        parent: Ino::ROOT,
        name: name("a"),
    };
    assert_eq!(
        world.ask(lookup.clone()).expect("found"),
        Answer::Attr(world.attr(ino))
    );
    let again = world.request(&Caller::root(), create(Ino::ROOT, "a", NewNode::Regular));
    assert_eq!(again, Outcome::Refused(Refusal::Exists));
    assert_eq!(
        world.ok(unlink(Ino::ROOT, "a")),
        Success::Removed { ino, nlink: 0 }
    );
    assert!(matches!(
        world.ask(lookup),
        Err(Stop::Refused(Refusal::NotFound))
    ));
}

#[test]
fn a_request_sent_twice_is_executed_once_and_answered_twice() {
    let mut world = World::new();
    let request = Request {
        session: world.session,
        slot: SlotIndex(1),
        sequence: 1,
        caller: Caller::root(),
        operation: create(Ino::ROOT, "a", NewNode::Regular),
    };
    let first = world.run(CommandBody::Request(request.clone()));
    let before = world.kv.clone();
    let second = world.run(CommandBody::Request(request.clone()));
    assert_eq!(first, second);
    assert_eq!(before, world.kv);
    let ahead = world.run(CommandBody::Request(Request {
        sequence: 3,
        ..request.clone()
    }));
    let misordered = NotExecuted::SlotMisordered { last: 1 };
    assert_eq!(ahead.outcome, Outcome::NotExecuted(misordered));
    let stranger = Request {
        session: SessionId(99),
        ..request
    };
    let reply = world.run(CommandBody::Request(stranger));
    assert_eq!(
        reply.outcome,
        Outcome::NotExecuted(NotExecuted::UnknownSession)
    );
}

fn remove_entries(parent: Ino, names: &[&str]) -> Operation {
    Operation::RemoveEntries {
        parent,
        names: names.iter().map(|text| name(text)).collect(),
        skip_trash: false,
    }
}

#[test]
fn names_are_removed_together_and_each_is_told() {
    let mut world = World::new();
    let dir = world.make(Ino::ROOT, "dir", NewNode::Directory);
    let file = world.make(dir, "file", NewNode::Regular);
    world.make(dir, "empty", NewNode::Directory);
    let full = world.make(dir, "full", NewNode::Directory);
    world.make(full, "x", NewNode::Regular);
    for text in ["one", "two"] {
        world.ok(Operation::Link {
            ino: file,
            parent: dir,
            name: name(text),
        });
    }
    let names = [
        "file", "gone", "empty", "full", "one", "file", "two", "never",
    ];
    let removed = |nlink| Removal::Removed { nlink };
    let expected = vec![
        removed(2),
        Removal::Refused(Refusal::NotFound),
        removed(0),
        Removal::Refused(Refusal::NotEmpty),
        removed(1),
        Removal::Refused(Refusal::NotFound),
        removed(0),
        Removal::Refused(Refusal::NotFound),
    ];
    let before = world.attr(dir);
    assert_eq!(
        world.ok(remove_entries(dir, &names)),
        Success::RemovedEntries(expected)
    );
    let after = world.attr(dir);
    assert_eq!((before.length, after.length), (5, 1));
    assert_eq!((before.nlink, after.nlink), (4, 3));
    assert!(after.mtime > before.mtime && after.ctime == after.mtime);
    assert_eq!(world.names(dir, DentryNumber(0), 9).len(), 1);
    match world.ask(QueryBody::StatVolume) {
        Ok(Answer::Stat(stat)) => assert_eq!(stat.orphans, 2, "the file and the directory"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_removed_together_are_one_change_and_nothing_removed_is_none() {
    let mut world = World::new();
    let names: Vec<String> = (0..REMOVE_ENTRIES_MAX + 1).map(|n| n.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for name in &names {
        world.make(Ino::ROOT, name, NewNode::Regular);
    }
    let request = |sequence, names: &[&str]| {
        CommandBody::Request(Request {
            session: SessionId(1),
            slot: SlotIndex(1),
            sequence,
            caller: Caller::root(),
            operation: remove_entries(Ino::ROOT, names),
        })
    };
    let invalid = Outcome::Refused(Refusal::InvalidArgument);
    let before = world.run(request(1, &names));
    assert_eq!(before.outcome, invalid, "one too many");
    assert_eq!(world.run(request(2, &[])).outcome, invalid);
    let all = request(3, &names[1..]);
    let reply = world.run(all.clone());
    assert_eq!(reply.token.seq.0, before.token.seq.0 + 1, "one record");
    let kv = world.kv.clone();
    assert_eq!(world.run(all), reply, "a second sending");
    assert!(world.kv == kv);
    let again = world.run(request(4, &names[1..]));
    assert_eq!(again.token, reply.token, "nothing changed");
    let missing = vec![Removal::Refused(Refusal::NotFound); REMOVE_ENTRIES_MAX];
    assert_eq!(
        again.outcome,
        Outcome::Done(Success::RemovedEntries(missing))
    );
    assert_eq!(world.attr(Ino::ROOT).length, 1);
}

#[test]
fn each_name_removed_together_needs_what_it_needs_alone() {
    let mut world = World::new();
    let user = |uid| Caller {
        uid,
        gid: uid,
        groups: Vec::new(),
    };
    let dir = world.make(Ino::ROOT, "dir", NewNode::Directory);
    let set = |mode, uid| {
        Operation::SetAttr(SetAttr {
            ino: dir,
            mode: Some(mode),
            uid: Some(uid),
            ..SetAttr::default()
        })
    };
    world.ok(set(0o1777, 0));
    for (uid, text) in [(1, "mine"), (2, "other")] {
        let made = world.request(&user(uid), create(dir, text, NewNode::Regular));
        assert!(matches!(made, Outcome::Done(_)), "{made:?}");
    }
    let both = || remove_entries(dir, &["other", "mine"]);
    // In a sticky directory what is somebody else's stays.
    let sticky = vec![
        Removal::Refused(Refusal::NotPermitted),
        Removal::Removed { nlink: 0 },
    ];
    assert_eq!(
        world.request(&user(1), both()),
        Outcome::Done(Success::RemovedEntries(sticky))
    );
    world.ok(set(0o755, 2));
    let denied = vec![
        Removal::Refused(Refusal::AccessDenied),
        Removal::Refused(Refusal::NotFound),
    ];
    assert_eq!(
        world.request(&user(1), both()),
        Outcome::Done(Success::RemovedEntries(denied))
    );
    // Who may not search it is not told what is there.
    world.ok(set(0o700, 2));
    assert_eq!(
        world.request(&user(1), both()),
        Outcome::Refused(Refusal::AccessDenied)
    );
    let done = world.request(&user(2), remove_entries(dir, &["other"]));
    let removed = vec![Removal::Removed { nlink: 0 }];
    assert_eq!(done, Outcome::Done(Success::RemovedEntries(removed)));
}

#[test]
fn many_files_are_reaped_together_in_bounded_steps() {
    let mut world = World::new();
    let names = ["a", "b", "c"];
    let inos = names.map(|name| world.make(Ino::ROOT, name, NewNode::Regular));
    let slices = world.grant(10);
    for (ino, at) in inos.into_iter().zip(0..) {
        let id = SliceId(slices.0 + at);
        world.ok(commit(ino, 0, 0, id, 100));
    }
    for name in names {
        world.ok(unlink(Ino::ROOT, name));
    }
    // One that is not there does not hold up the others.
    let inos = [vec![Ino(999)], inos.to_vec()].concat();
    let reap = |rows_max| CommandBody::ReapFiles {
        inos: inos.clone(),
        rows_max,
    };
    // A slice and an inode of the first, then the slice of the second.
    let maintained = |rows, more| Success::Maintained { rows, more };
    assert_eq!(world.done(reap(3)), maintained(3, true));
    assert_eq!(world.done(reap(1000)), maintained(3, false));
    assert_eq!(world.done(reap(1000)), maintained(0, false));
    match world.ask(QueryBody::StatVolume) {
        Ok(Answer::Stat(stat)) => {
            assert_eq!((stat.inodes, stat.bytes, stat.orphans), (1, 0, 0));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_cannot_be_reaped_does_not_hold_up_the_others() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    world.ok(unlink(Ino::ROOT, "a"));
    // Damage: a file without names that is not there.
    let damaged = Ino(500);
    let row = key::by_ino(world.volume, key::Table::Orphan, damaged);
    let bytes = crate::row::Blob::default().encode(&row);
    let damage = [((Family::State, row), Some(bytes))];
    world.kv.write(Writes::from(damage));
    let command = Command {
        volume: world.volume,
        stamp: Timestamp::default(),
        read_level: Level(0),
        body: CommandBody::ReapFiles {
            inos: vec![damaged, ino],
            rows_max: 10,
        },
    };
    let mut pending = Overlay::new(&world.kv);
    let reply = apply(&mut pending, &world.codec, &command).expect("a sound store");
    let (rows, more) = (1, false);
    assert_eq!(
        reply.outcome,
        Outcome::Done(Success::Maintained { rows, more })
    );
    let writes = pending.into_writes();
    world.kv.write(writes);
    assert!(matches!(
        world.ask(QueryBody::GetAttr { ino }),
        Err(Stop::Refused(Refusal::Stale))
    ));
}

#[test]
fn an_unlinked_file_lives_until_it_is_reaped() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    let id = world.grant(10);
    world.ok(commit(ino, 0, 0, id, 100));
    world.ok(unlink(Ino::ROOT, "a"));
    assert_eq!(world.attr(ino).nlink, 0);
    assert_eq!(world.slices(ino).len(), 1);
    let reap = CommandBody::Reap { ino, rows_max: 1 };
    assert_eq!(
        world.done(reap.clone()),
        Success::Maintained {
            rows: 1,
            more: true
        }
    );
    // A mirror's reader may still hold it: what has begun to go does not read as holes.
    let read = QueryBody::ReadSlices {
        ino,
        from: SliceCursor::default(),
        end: ChunkIndex(1),
    };
    assert!(matches!(
        world.ask(read),
        Err(Stop::Refused(Refusal::Stale))
    ));
    assert_eq!(
        world.done(reap),
        Success::Maintained {
            rows: 1,
            more: false
        }
    );
    assert!(matches!(
        world.ask(QueryBody::GetAttr { ino }),
        Err(Stop::Refused(Refusal::Stale))
    ));
    match world.ask(QueryBody::StatVolume) {
        Ok(Answer::Stat(stat)) => {
            assert_eq!((stat.inodes, stat.bytes, stat.orphans), (1, 0, 0));
            assert_eq!(
                (stat.pending_delete_slices, stat.pending_delete_bytes),
                (1, 100)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_slice_id_is_committed_once_and_only_under_a_grant() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    let id = world.grant(4);
    let revoked = Outcome::Refused(Refusal::GrantRevoked);
    for offset in [2, 0, 3, 1] {
        let id = SliceId(id.0 + offset);
        world.ok(commit(ino, 0, 0, id, 10));
        assert_eq!(
            world.request(&Caller::root(), commit(ino, 0, 0, id, 10)),
            revoked
        );
    }
    let beyond = commit(ino, 0, 0, SliceId(id.0 + 4), 10);
    assert_eq!(world.request(&Caller::root(), beyond), revoked);
}

#[test]
fn a_truncation_cuts_what_was_written_before_it_and_nothing_after() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    let id = world.grant(10);
    world.ok(commit(ino, 0, 0, id, 100));
    world.ok(commit(ino, 1, 0, SliceId(id.0 + 1), 50));
    world.ok(truncate(ino, 40));
    world.ok(truncate(ino, 1 << 30));
    world.ok(commit(ino, 0, 60, SliceId(id.0 + 2), 5));
    let expected = vec![(0, 0, id.0, 0, 40), (0, 60, id.0 + 2, 0, 5)];
    assert_eq!(world.slices(ino), expected);
    assert_eq!(world.attr(ino).length, 1 << 30);
    world.ok(truncate(ino, 62));
    let expected = vec![(0, 0, id.0, 0, 40), (0, 60, id.0 + 2, 0, 2)];
    assert_eq!(world.slices(ino), expected);
    let mut steps = 0;
    while let Success::Maintained { more: true, .. } =
        world.done(CommandBody::Trim { ino, rows_max: 1 })
    {
        assert_eq!(world.slices(ino), expected);
        steps += 1;
        assert!(steps < 10, "trimming ends");
    }
    assert_eq!(world.slices(ino), expected);
    assert_eq!(
        world
            .ask(QueryBody::Cuts {
                after: Ino(0),
                count_max: 9
            })
            .expect("answers"),
        Answer::Inodes(vec![])
    );
}

#[test]
fn an_append_goes_to_the_end_and_may_cross_a_chunk_border() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    let id = world.grant(10);
    let border = crate::limits::CHUNK_BYTES;
    world.ok(truncate(ino, border - 4));
    let slices = vec![AppendSlice {
        id,
        len: 10,
        frame_crcs: vec![1],
    }];
    match world.ok(Operation::Append(Append { ino, slices })) {
        Success::Appended { offset, attr } => {
            assert_eq!((offset, attr.length), (border - 4, border + 6));
        }
        other => panic!("{other:?}"),
    }
    let at = u32::try_from(border - 4).expect("fits");
    assert_eq!(
        world.slices(ino),
        vec![(0, at, id.0, 0, 4), (1, 0, id.0, 4, 6)]
    );
    world.ok(truncate(ino, border - 1));
    assert_eq!(world.slices(ino), vec![(0, at, id.0, 0, 3)]);
    world.done(CommandBody::Trim { ino, rows_max: 100 });
    assert_eq!(world.slices(ino), vec![(0, at, id.0, 0, 3)]);
    world.ok(unlink(Ino::ROOT, "a"));
    world.done(CommandBody::Reap { ino, rows_max: 100 });
    match world.ask(QueryBody::StatVolume) {
        Ok(Answer::Stat(stat)) => assert_eq!(stat.pending_delete_bytes, 10),
        other => panic!("{other:?}"),
    }
}

#[test]
fn renames_replace_swap_and_refuse_loops() {
    let mut world = World::new();
    let a = world.make(Ino::ROOT, "a", NewNode::Directory);
    let b = world.make(a, "b", NewNode::Directory);
    let file = world.make(b, "f", NewNode::Regular);
    let loops = rename((Ino::ROOT, "a"), (b, "x"), RenameMode::Replace);
    let refused = world.request(&Caller::root(), loops);
    assert_eq!(refused, Outcome::Refused(Refusal::InvalidArgument));
    world.ok(rename((b, "f"), (Ino::ROOT, "b"), RenameMode::Replace));
    world.ok(rename((Ino::ROOT, "b"), (a, "b"), RenameMode::Exchange));
    assert_eq!(world.attr(Ino::ROOT).nlink, 4);
    assert_eq!(world.attr(b).parent, Ino::ROOT);
    assert_eq!(world.attr(file).parent, a);
    let taken = rename((a, "b"), (Ino::ROOT, "b"), RenameMode::NoReplace);
    assert_eq!(
        world.request(&Caller::root(), taken),
        Outcome::Refused(Refusal::Exists)
    );
    let wrong = rename((a, "b"), (Ino::ROOT, "b"), RenameMode::Replace);
    assert_eq!(
        world.request(&Caller::root(), wrong),
        Outcome::Refused(Refusal::IsDirectory)
    );
    let path = world
        .ask(QueryBody::PathOf { ino: file })
        .expect("has a path");
    assert_eq!(path, Answer::Path(vec![name("a"), name("b")]));
}

#[test]
fn a_rename_keeps_listings_whole() {
    let mut world = World::new();
    for text in ["a", "b", "c"] {
        world.make(Ino::ROOT, text, NewNode::Regular);
    }
    let first = world.names(Ino::ROOT, DentryNumber(0), 1);
    assert_eq!(first, vec![(3, "a".to_owned())]);
    world.ok(rename(
        (Ino::ROOT, "a"),
        (Ino::ROOT, "z"),
        RenameMode::Replace,
    ));
    world.ok(rename(
        (Ino::ROOT, "c"),
        (Ino::ROOT, "b"),
        RenameMode::Replace,
    ));
    let rest = world.names(Ino::ROOT, DentryNumber(3), 10);
    assert_eq!(rest, vec![(4, "b".to_owned())]);
}

#[test]
fn a_file_with_two_names_keeps_one() {
    let mut world = World::new();
    let ino = world.make(Ino::ROOT, "a", NewNode::Regular);
    let inside = world.make(Ino::ROOT, "d", NewNode::Directory);
    let again = world.ok(Operation::Link {
        ino,
        parent: inside,
        name: name("b"),
    });
    assert!(matches!(
        again,
        Success::Entry {
            attr: Attr { nlink: 2, .. },
            ..
        }
    ));
    world.ok(unlink(Ino::ROOT, "a"));
    assert_eq!((world.attr(ino).nlink, world.attr(ino).parent), (1, inside));
    assert_eq!(world.attr(ino).kind, FileKind::Regular);
}

#[test]
fn supplementary_groups_count_and_the_sticky_bit_holds() {
    let mut world = World::new();
    let dir = world.make(Ino::ROOT, "d", NewNode::Directory);
    let change = SetAttr {
        ino: dir,
        mode: Some(0o1770),
        gid: Some(50),
        ..SetAttr::default()
    };
    world.ok(Operation::SetAttr(change));
    let member = Caller {
        uid: 1,
        gid: 1,
        groups: vec![50],
    };
    let other = Caller {
        uid: 2,
        gid: 2,
        groups: vec![50],
    };
    let stranger = Caller {
        uid: 3,
        gid: 3,
        groups: vec![],
    };
    let made = world.request(&member, create(dir, "f", NewNode::Regular));
    assert!(matches!(made, Outcome::Done(_)), "{made:?}");
    let denied = Outcome::Refused(Refusal::AccessDenied);
    assert_eq!(
        world.request(&stranger, create(dir, "g", NewNode::Regular)),
        denied
    );
    let sticky = Outcome::Refused(Refusal::NotPermitted);
    assert_eq!(world.request(&other, unlink(dir, "f")), sticky);
    assert!(matches!(
        world.request(&member, unlink(dir, "f")),
        Outcome::Done(_)
    ));
}

#[test]
fn a_closed_session_leaves_nothing_behind() {
    let mut world = World::new();
    let before = world.kv.rows(Family::State).len();
    let open = CommandBody::OpenSession {
        nonce: 8,
        slots: 2,
        info: Vec::new(),
    };
    let Success::Session(id) = world.done(open.clone()) else {
        panic!("a session")
    };
    assert_eq!(world.done(open), Success::Session(id));
    let session = std::mem::replace(&mut world.session, id);
    let sequence = std::mem::replace(&mut world.sequence, 0);
    world.grant(5);
    world.session = session;
    world.sequence = sequence;
    world.done(CommandBody::CloseSession { session: id });
    assert_eq!(world.kv.rows(Family::State).len(), before);
}

#[path = "machine_changelog_test.rs"]
mod changelog;
