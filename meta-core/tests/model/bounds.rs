//! What users can make grow ends in a refusal, never in a damaged or endless engine.

use crate::engine::Engine;
use meta_core::attr::Caller;
use meta_core::command::{
    CommandBody, Commit, Create, Existing, Fallocate, FallocateMode, NewNode, NewSlice, Operation,
    RenameMode, SetAttr, XattrMode,
};
use meta_core::ids::{ChunkIndex, Ino, Level};
use meta_core::key::{self, Table};
use meta_core::kv::{Family, Overlay};
use meta_core::limits::{
    CHUNK_BYTES, COMMIT_SLICES_MAX, CUTS_MAX, DEPTH_MAX, FALLOCATE_CHUNKS_MAX, FILE_BYTES_MAX,
    FRAME_BYTES, HOLES_MAX, LINKS_MAX, MAINTENANCE_ROWS_MAX, MIRROR_BYTES_MAX, XATTR_BYTES_MAX,
};
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal, Success};
use meta_core::query::{Answer, QueryBody, SliceCursor};
use meta_core::row::{Inode, Row as _};

fn create(engine: &mut Engine, parent: Ino, name: &str, node: NewNode) -> Ino {
    let create = Operation::Create(Create {
        parent,
        name: Name::new(name).expect("a valid name"),
        mode: 0o777,
        node,
        masked: 0,
        existing: Existing::Refuse,
    });
    match engine.request(&Caller::root(), create).1 {
        Outcome::Done(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    }
}

fn truncate(engine: &mut Engine, ino: Ino, length: u64) -> Outcome {
    let change = Operation::SetAttr(SetAttr {
        ino,
        length: Some(length),
        ..SetAttr::default()
    });
    engine.request(&Caller::root(), change).1
}

fn write(engine: &mut Engine, caller: &Caller, ino: Ino, at: u32, len: u32) {
    let slice = NewSlice {
        chunk: ChunkIndex(0),
        at,
        id: engine.slice(),
        len,
        frame_crcs: vec![0],
    };
    let commit = Operation::Commit(Commit {
        ino,
        slices: vec![slice],
        mtime: None,
    });
    let outcome = engine.request(caller, commit).1;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
}

#[test]
fn more_bytes_than_can_be_counted_are_no_space() {
    let mut engine = Engine::new();
    // Sparse files: 2^7 of 2^57 bytes are one too many for 64 bits.
    for n in 0..127 {
        let ino = create(&mut engine, Ino::ROOT, &format!("f{n}"), NewNode::Regular);
        let outcome = truncate(&mut engine, ino, FILE_BYTES_MAX);
        assert!(matches!(outcome, Outcome::Done(_)), "{n}: {outcome:?}");
    }
    let last = create(&mut engine, Ino::ROOT, "last", NewNode::Regular);
    let outcome = truncate(&mut engine, last, FILE_BYTES_MAX);
    assert_eq!(outcome, Outcome::Refused(Refusal::NoSpace));
    let broken = meta_core::check::check(&engine.kv, engine.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
}

/// Lets a file or directory have so many names, as its row counts them.
fn set_links(engine: &mut Engine, ino: Ino, nlink: u32) {
    let key = key::by_ino(engine.volume, Table::Inode, ino);
    let bytes = engine.kv.rows(Family::State).get(&key).expect("a row");
    let mut row = Inode::decode(&key, bytes).expect("sound");
    row.nlink = nlink;
    let mut overlay = Overlay::new(&engine.kv);
    overlay.put(Family::State, key.clone(), row.encode(&key));
    let writes = overlay.into_writes();
    engine.kv.write(writes);
}

#[test]
fn more_names_than_can_be_counted_are_refused() {
    let mut engine = Engine::new();
    let name = |text: &str| Name::new(text).expect("a valid name");
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    set_links(&mut engine, ino, LINKS_MAX - 1);
    for (text, fits) in [("last", true), ("more", false)] {
        let link = Operation::Link {
            ino,
            parent: Ino::ROOT,
            name: name(text),
        };
        match engine.request(&Caller::root(), link).1 {
            Outcome::Done(Success::Entry { attr, .. }) if fits => assert_eq!(attr.nlink, LINKS_MAX),
            outcome => assert_eq!(
                (outcome, fits),
                (Outcome::Refused(Refusal::TooManyLinks), false)
            ),
        }
    }
    // Each directory in it is a name of a directory.
    let parent = create(&mut engine, Ino::ROOT, "d", NewNode::Directory);
    create(&mut engine, Ino::ROOT, "moved", NewNode::Directory);
    set_links(&mut engine, parent, LINKS_MAX - 1);
    create(&mut engine, parent, "last", NewNode::Directory);
    let rename = Operation::Rename {
        parent: Ino::ROOT,
        name: name("moved"),
        new_parent: parent,
        new_name: name("moved"),
        mode: RenameMode::Replace,
    };
    let outcome = engine.request(&Caller::root(), rename).1;
    assert_eq!(outcome, Outcome::Refused(Refusal::TooManyLinks));
    create(&mut engine, parent, "a file", NewNode::Regular);
}

#[test]
fn what_is_too_deep_is_refused() {
    // From level 4 on, directories cannot come to be this deep.
    let mut engine = Engine::at_level(Level(3));
    let mut deepest = Ino::ROOT;
    for _ in 0..=DEPTH_MAX {
        deepest = create(&mut engine, deepest, "d", NewNode::Directory);
    }
    create(&mut engine, Ino::ROOT, "moved", NewNode::Directory);
    let name = |text: &str| Name::new(text).expect("a valid name");
    let rename = Operation::Rename {
        parent: Ino::ROOT,
        name: name("moved"),
        new_parent: deepest,
        new_name: name("moved"),
        mode: RenameMode::Replace,
    };
    let outcome = engine.request(&Caller::root(), rename).1;
    assert_eq!(outcome, Outcome::Refused(Refusal::LimitReached));
    let asked = engine.ask(&Caller::root(), QueryBody::PathOf { ino: deepest });
    assert!(asked.is_err(), "{asked:?}");
}

#[test]
fn truncations_that_nobody_trims_stay_few() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    for n in 1..500_u32 {
        // Longer each time, so that no truncation makes an earlier one needless.
        write(&mut engine, &Caller::root(), ino, n * 10, 100);
        let outcome = truncate(&mut engine, ino, u64::from(n) * 10 + 5);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    let rows = engine.kv.rows(Family::State).keys();
    let cuts = rows.filter(|key| key.get(4) == Some(&(Table::Cut as u8)));
    assert!(cuts.count() <= CUTS_MAX + 1);
}

/// A mirror takes a record in one command, which is bounded.
#[test]
fn cutting_the_largest_slices_makes_no_record_too_large_for_a_mirror() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "large", NewNode::Regular);
    let (len, frames) = (CHUNK_BYTES, CHUNK_BYTES / u64::from(FRAME_BYTES));
    let (len, frames) = (
        u32::try_from(len).expect("it fits"),
        usize::try_from(frames),
    );
    let frame_crcs = vec![u32::MAX; frames.expect("it fits")];
    let all = (0..4 * MAINTENANCE_ROWS_MAX).collect::<Vec<_>>();
    for some in all.chunks(COMMIT_SLICES_MAX) {
        let slices = some.iter().map(|_| NewSlice {
            chunk: ChunkIndex(0),
            at: 0,
            id: engine.slice(),
            len,
            frame_crcs: frame_crcs.clone(),
        });
        let slices = slices.collect();
        let mtime = None;
        let commit = Operation::Commit(Commit { ino, slices, mtime });
        let outcome = engine.request(&Caller::root(), commit).1;
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    let before = engine.codec.record_bytes_max();
    let outcome = truncate(&mut engine, ino, CHUNK_BYTES - 1);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let trim = CommandBody::Trim {
        ino,
        rows_max: MAINTENANCE_ROWS_MAX,
    };
    let step = |engine: &mut Engine| engine.run(trim.clone()).outcome;
    let done = (0..all.len()).find(|_| {
        let outcome = step(&mut engine);
        !matches!(
            outcome,
            Outcome::Done(Success::Maintained { more: true, .. })
        )
    });
    assert!(done.is_some_and(|steps| steps > 2), "{done:?}");
    let largest = engine.codec.record_bytes_max();
    assert!(largest > before, "the slices were not cut");
    assert!(largest <= 2 * MIRROR_BYTES_MAX, "{largest}");
}

#[test]
fn attributes_of_a_file_are_bounded_together() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    let mut taken = 0;
    let refused = (0..100).find_map(|n| {
        let set = Operation::SetXattr {
            ino,
            name: format!("user.{n}").into_bytes(),
            value: vec![1; 60_000],
            mode: XattrMode::Set,
        };
        match engine.request(&Caller::root(), set).1 {
            Outcome::Done(_) => {
                taken += 60_000;
                None
            }
            Outcome::Refused(refusal) => Some(refusal),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(refused, Some(Refusal::NoSpace));
    assert!(taken <= XATTR_BYTES_MAX && taken > XATTR_BYTES_MAX / 2);
}

#[test]
fn the_capabilities_of_a_program_go_with_its_bytes_and_its_owner() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "program", NewNode::Regular);
    let stranger = Caller {
        uid: 1000,
        gid: 1000,
        groups: Vec::new(),
    };
    let name = || b"security.capability".to_vec();
    let set = || Operation::SetXattr {
        ino,
        name: name(),
        value: vec![1],
        mode: XattrMode::Set,
    };
    let has = |engine: &Engine| {
        let body = QueryBody::GetXattr { ino, name: name() };
        engine.ask(&Caller::root(), body).is_ok()
    };
    let root = Caller::root();
    let owner = || {
        Operation::SetAttr(SetAttr {
            ino,
            uid: Some(5),
            ..SetAttr::default()
        })
    };
    engine.request(&root, set());
    assert!(has(&engine));
    write(&mut engine, &root, ino, 0, 10);
    assert!(!has(&engine), "after a write");
    engine.request(&root, set());
    truncate(&mut engine, ino, 3);
    assert!(!has(&engine), "after a truncation");
    engine.request(&root, set());
    engine.request(&root, owner());
    assert!(!has(&engine), "after a change of the owner");
    // The kernel removes it in the name of whoever writes.
    engine.request(&root, set());
    let remove = Operation::RemoveXattr { ino, name: name() };
    let outcome = engine.request(&stranger, remove).1;
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let set = engine.request(&stranger, set()).1;
    assert_eq!(set, Outcome::Refused(Refusal::NotPermitted));
}

#[test]
fn nobody_takes_hold_of_a_file_that_has_lost_its_names() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    let unlink = Operation::Unlink {
        parent: Ino::ROOT,
        name: Name::new("f").expect("a valid name"),
    };
    engine.request(&Caller::root(), unlink);
    let open = QueryBody::Open {
        ino,
        read: true,
        write: false,
    };
    assert_eq!(engine.ask(&Caller::root(), open), Err(Refusal::Stale));
    assert!(engine.attr(ino).is_ok(), "who holds it still sees it");
}

/// Each truncation begins the work on its chunk anew, and one step is less than a chunk of so many
/// slices.
#[test]
fn truncations_of_a_chunk_of_many_slices_stay_few() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    for n in 1..4 * MAINTENANCE_ROWS_MAX {
        write(&mut engine, &Caller::root(), ino, n * 10, 100);
        let outcome = truncate(&mut engine, ino, u64::from(n) * 10 + 5);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    let rows = engine.kv.rows(Family::State).keys();
    let cuts = rows.filter(|key| key.get(4) == Some(&(Table::Cut as u8)));
    let cuts = cuts.count();
    assert!(cuts <= 6 * CUTS_MAX, "{cuts}");
}

fn dig(engine: &mut Engine, ino: Ino, offset: u64, len: u64) -> Outcome {
    let asked = Operation::Fallocate(Fallocate {
        ino,
        offset,
        len,
        mode: FallocateMode::Punch,
    });
    engine.request(&Caller::root(), asked).1
}

pub(crate) fn rows_of(engine: &Engine, table: Table) -> usize {
    let rows = engine.kv.rows(Family::State).keys();
    rows.filter(|key| key.get(4) == Some(&(table as u8)))
        .count()
}

/// Holes that the slices cannot tell have rows, and these are bounded in each chunk; who takes the bytes
/// away around them takes the rows away too.
#[test]
fn a_chunk_has_only_so_many_holes() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    write(&mut engine, &Caller::root(), ino, 0, FRAME_BYTES);
    let places = (0..).map(|n| 10 + n * 20).take(HOLES_MAX);
    for offset in places {
        let outcome = dig(&mut engine, ino, offset, 5);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    }
    assert_eq!(rows_of(&engine, Table::Hole), HOLES_MAX);
    let before = engine.kv.clone();
    let refused = Outcome::Refused(Refusal::LimitReached);
    assert_eq!(
        dig(&mut engine, ino, u64::from(FRAME_BYTES) - 9, 5),
        refused
    );
    let rows = [&before, &engine.kv].map(|kv| kv.rows(Family::Changelog).len());
    assert_eq!(rows[0], rows[1], "what is refused changes nothing");
    let whole = dig(&mut engine, ino, 0, CHUNK_BYTES);
    assert!(matches!(whole, Outcome::Done(_)), "{whole:?}");
    assert_eq!(rows_of(&engine, Table::Hole), 0);
    assert_eq!(rows_of(&engine, Table::Slice), 0);
}

/// A long range is done with in several commands, of a bounded number of chunks each; chunks without
/// data cost nothing.
#[test]
fn a_long_hole_is_made_in_bounded_steps() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    let chunks = u32::try_from(FALLOCATE_CHUNKS_MAX).expect("few") + 1;
    for chunk in 0..chunks {
        let slice = NewSlice {
            chunk: ChunkIndex(chunk * 1000),
            at: 0,
            id: engine.slice(),
            len: 100,
            frame_crcs: vec![0],
        };
        let (slices, mtime) = (vec![slice], None);
        let outcome = engine.request(
            &Caller::root(),
            Operation::Commit(Commit { ino, slices, mtime }),
        );
        assert!(matches!(outcome.1, Outcome::Done(_)), "{outcome:?}");
    }
    truncate(&mut engine, ino, FILE_BYTES_MAX);
    let mut at = 50;
    let mut steps = 0;
    while at < FILE_BYTES_MAX {
        match dig(&mut engine, ino, at, FILE_BYTES_MAX - at) {
            Outcome::Done(Success::Fallocated { next, .. }) if next > at => at = next,
            other => panic!("{other:?} at {at}"),
        }
        steps += 1;
    }
    assert_eq!(steps, 2);
    assert_eq!(
        rows_of(&engine, Table::Slice),
        1,
        "the first one's 50 bytes"
    );
    assert_eq!(
        dig(&mut engine, ino, FILE_BYTES_MAX, 1),
        Outcome::Refused(Refusal::FileTooLarge)
    );
}

/// Slices that are too many for one command stay, hidden by a row.
#[test]
fn a_hole_over_very_many_slices_hides_them_all() {
    let mut engine = Engine::new();
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    for n in 0..MAINTENANCE_ROWS_MAX + 10 {
        write(&mut engine, &Caller::root(), ino, n * 10, 10);
    }
    let outcome = dig(&mut engine, ino, 0, CHUNK_BYTES);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let body = QueryBody::ReadSlices {
        ino,
        from: SliceCursor::default(),
        end: ChunkIndex(1),
    };
    match engine.ask(&Caller::root(), body) {
        Ok(Answer::Slices { slices, .. }) => assert_eq!(slices, Vec::new()),
        other => panic!("{other:?}"),
    }
    assert_eq!(rows_of(&engine, Table::Slice), 10);
    let volume = engine.volume;
    let broken = meta_core::check::check(&engine.kv, volume);
    assert_eq!(broken.expect("sound"), Vec::<String>::new());
}

/// Of a volume that others may read who do not know holes, nothing is asked that they could not read.
#[test]
fn below_level_2_there_are_no_holes_and_no_times_of_birth() {
    let mut engine = Engine::at_level(Level(1));
    let ino = create(&mut engine, Ino::ROOT, "f", NewNode::Regular);
    write(&mut engine, &Caller::root(), ino, 0, 100);
    assert_eq!(
        dig(&mut engine, ino, 0, 10),
        Outcome::Refused(Refusal::NotSupported)
    );
    assert_eq!(engine.attr(ino).expect("a file").btime, None);
    engine.run(CommandBody::RaiseLevel { level: Level(2) });
    let later = create(&mut engine, Ino::ROOT, "g", NewNode::Regular);
    let attr = engine.attr(later).expect("a file");
    assert_eq!(attr.btime, Some(attr.ctime));
    truncate(&mut engine, later, 1);
    let after = engine.attr(later).expect("a file");
    assert!(after.btime == attr.btime && after.ctime > attr.ctime);
    let outcome = dig(&mut engine, ino, 0, 10);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(engine.attr(ino).expect("a file").btime, None);
}
