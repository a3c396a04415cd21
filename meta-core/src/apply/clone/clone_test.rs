#[path = "world_test.rs"]
mod world;

use super::*;
use crate::attr::{FileKind, Timestamp};
use crate::command::{
    CommandBody, Commit, CopyRange, Create, Existing, Fallocate, FallocateMode, NewNode, NewSlice,
    Operation, RenameMode, SetAttr, SetTime, XattrMode,
};
use crate::ids::{ChunkIndex, SliceId};
use crate::outcome::Outcome;
use crate::query::{Answer, QueryBody};
use crate::quota::{Limit, Subject};
use world::{USER, World, name, user};

/// Numbers that look random, from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, of: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("a number") % of
    }
}

#[test]
fn a_small_tree_is_there_at_once_and_equals_its_source() {
    let mut world = World::new();
    let top = world.planted(30);
    let asked = World::asked(top, Ino::ROOT, "copy", 1024);
    let done = world.root(Operation::Clone(asked));
    let Success::Cloning { job, done: true } = done else {
        panic!("{done:?}");
    };
    assert_eq!(world.tree(top), world.tree(job));
    world.check();
    let before = world.counters();
    assert_eq!(world.end(job), CloneState::Attached);
    world.check();
    // Both can go, and then nothing is left of the slices.
    world.root(Operation::SetAttr(SetAttr {
        ino: job,
        mode: Some(0o700),
        ..SetAttr::default()
    }));
    assert_eq!(before.inodes, world.counters().inodes);
}

#[test]
fn below_the_level_nothing_is_cloned() {
    let mut world = World::at(Level(LEVEL.0 - 1));
    let top = world.directory(Ino::ROOT, "source");
    let asked = World::asked(top, Ino::ROOT, "copy", 1024);
    assert_eq!(
        world.try_root(Operation::Clone(asked)),
        Err(Refusal::NotSupported)
    );
}

/// A name of the source: its directory, itself, and its file.
type Spot = (Ino, String, Ino);

/// The directories of the source, and its other files.
fn spots(world: &World, top: Ino) -> (Vec<Spot>, Vec<Spot>) {
    let mut places = vec![(Ino::ROOT, "source".to_owned(), top)];
    let mut files = Vec::new();
    let mut at = 0;
    while let Some((_, _, ino)) = places.get(at).cloned() {
        for entry in world.entries(ino) {
            let text = String::from_utf8_lossy(entry.name.as_bytes()).into_owned();
            match entry.attr.map(|attr| attr.kind) {
                Some(FileKind::Directory) => places.push((ino, text, entry.ino)),
                _ => files.push((ino, text, entry.ino)),
            }
        }
        at += 1;
    }
    (places, files)
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("small")
}

fn renamed(from: (Ino, &str), to: (Ino, &str), mode: RenameMode) -> Operation {
    Operation::Rename {
        parent: from.0,
        name: name(from.1),
        new_parent: to.0,
        new_name: name(to.1),
        mode,
    }
}

/// A change of the source that a dice chooses; many are refused.
fn disturb(world: &mut World, dice: &mut Dice, top: Ino) {
    let (places, files) = spots(world, top);
    let place = places[dice.roll(places.len())].clone();
    let Some(file) = files.get(dice.roll(files.len().max(1))).cloned() else {
        return;
    };
    let new = format!("n{}", dice.roll(40));
    let choice = dice.roll(14);
    let operation = if choice < 7 {
        let other = files[dice.roll(files.len())].clone();
        change_of_names(dice, choice, (&place, &file, &other), &new)
    } else {
        change_of_files(world, dice, choice, (&place, &file), &new)
    };
    if place.2 == top && matches!(operation, Some(Operation::Rmdir { .. })) {
        return;
    }
    if let Some(operation) = operation {
        let _refused = world.try_root(operation);
    }
}

fn change_of_names(
    dice: &mut Dice,
    choice: usize,
    (place, file, other): (&Spot, &Spot, &Spot),
    new: &str,
) -> Option<Operation> {
    let from = (file.0, file.1.as_str());
    Some(match choice {
        0 | 1 => Operation::Create(Create {
            parent: place.2,
            name: name(new),
            mode: 0o640,
            masked: 0,
            node: if dice.roll(3) == 0 {
                NewNode::Directory
            } else {
                NewNode::Regular
            },
            existing: Existing::Refuse,
        }),
        2 => Operation::Unlink {
            parent: file.0,
            name: name(&file.1),
        },
        3 => renamed(from, (place.2, new), RenameMode::Replace),
        4 => {
            let mode = if dice.roll(2) == 0 {
                RenameMode::Exchange
            } else {
                RenameMode::Replace
            };
            renamed(from, (other.0, &other.1), mode)
        }
        5 => Operation::Link {
            ino: file.2,
            parent: place.2,
            name: name(new),
        },
        // In its own directory: it stays where it is.
        _ if place.0 != Ino::ROOT => {
            renamed((place.0, &place.1), (place.0, new), RenameMode::NoReplace)
        }
        _ => return None,
    })
}

fn change_of_files(
    world: &mut World,
    dice: &mut Dice,
    choice: usize,
    (place, file): (&Spot, &Spot),
    new: &str,
) -> Option<Operation> {
    let ino = file.2;
    Some(match choice {
        7 | 8 => {
            let kind = world.answer(QueryBody::GetAttr { ino });
            if matches!(kind, Answer::Attr(attr) if attr.kind == FileKind::Regular) {
                let (chunk, at) = (small(dice.roll(3)), small(dice.roll(100_000)));
                world.write(ino, chunk, at, 1 + small(dice.roll(90_000)));
            }
            return None;
        }
        9 => {
            let length = Some(u64::from(small(dice.roll(150_000))));
            let _refused = world.try_root(Operation::SetAttr(SetAttr {
                ino,
                length,
                ..SetAttr::default()
            }));
            if dice.roll(2) == 0 {
                world.done(CommandBody::Trim { ino, rows_max: 3 });
            }
            return None;
        }
        10 => Operation::Fallocate(Fallocate {
            ino,
            offset: u64::from(small(dice.roll(100_000))),
            len: 20_000,
            mode: FallocateMode::Punch,
        }),
        11 if dice.roll(3) == 0 => Operation::RemoveXattr {
            ino: place.2,
            name: b"user.b".to_vec(),
        },
        11 => Operation::SetXattr {
            ino: place.2,
            name: b"user.b".to_vec(),
            value: new.as_bytes().to_vec(),
            mode: XattrMode::Set,
        },
        12 => Operation::SetAttr(SetAttr {
            ino,
            uid: Some(USER + 1),
            mtime: Some(SetTime::Now),
            ..SetAttr::default()
        }),
        _ => Operation::Rmdir {
            parent: place.0,
            name: name(&place.1),
        },
    })
}

#[test]
fn what_changes_meanwhile_is_in_the_copy_or_not_as_at_one_moment() {
    for seed in 0..100 {
        let mut world = World::new();
        let mut dice = Dice(seed);
        if seed % 2 == 0 {
            world.done(CommandBody::SetOptions {
                caller: Caller::root(),
                trash_seconds: 0,
            });
        }
        let top = world.planted(40);
        let job = world.begin(top, Ino::ROOT, "copy", 1);
        let mut steps = 0;
        loop {
            for _ in 0..dice.roll(4) {
                disturb(&mut world, &mut dice, top);
            }
            if steps % 16 == 0 {
                world.check();
                world.reap();
                let listed = world.entries(Ino::ROOT);
                assert!(listed.iter().all(|entry| entry.name != name("copy")));
            }
            let rows_max = 1 + small(dice.roll(9));
            if !world.copy_step(job, rows_max) {
                // While whoever caches the target is asked, things go on.
                for _ in 0..dice.roll(3) {
                    disturb(&mut world, &mut dice, top);
                }
                world.attach_step(job, 1024);
            }
            steps += 1;
            let status = world.status(job).expect("it is told of");
            if status.state == CloneState::Attached {
                break;
            }
            assert_eq!(status.state, CloneState::Copying, "seed {seed}");
            assert!(steps < 10_000, "it does not end");
        }
        world.check();
        let root = world.status(job).map(|status| status.job);
        assert_eq!(root, Some(job));
        assert_eq!(world.tree(top), world.tree(job), "seed {seed}");
        assert_eq!(world.end(job), CloneState::Attached);
        world.reap();
        world.check();
    }
}

#[test]
fn a_directory_that_moves_makes_it_begin_again_and_at_last_give_up() {
    let mut world = World::new();
    let top = world.planted(20);
    let aside = world.directory(top, "aside");
    let below = world.inside(top, "below");
    let mut place = (top, "below");
    let before = world.counters();
    let job = world.begin(top, Ino::ROOT, "copy", 1);
    for round in 0..=crate::limits::CLONE_RESTARTS_MAX {
        while !world.is_copied(job, below) {
            world.step(job, 5);
        }
        let to = if round % 2 == 0 {
            (aside, "moved")
        } else {
            (top, "below")
        };
        world.root(Operation::Rename {
            parent: place.0,
            name: name(place.1),
            new_parent: to.0,
            new_name: name(to.1),
            mode: RenameMode::NoReplace,
        });
        place = to;
        world.check();
    }
    assert_eq!(world.end(job), CloneState::Failed(Refusal::Busy));
    world.check();
    world.reap();
    world.check();
    let after = world.counters();
    assert_eq!((after.inodes, after.bytes), (before.inodes, before.bytes));
    assert_eq!(
        (after.pending_slices, after.clones),
        (before.pending_slices, 0)
    );

    // One move alone does no harm.
    let job = world.begin(top, Ino::ROOT, "copy", 1);
    while !world.is_copied(job, below) {
        world.step(job, 5);
    }
    world.root(Operation::Rename {
        parent: place.0,
        name: name(place.1),
        new_parent: aside,
        new_name: name("third"),
        mode: RenameMode::NoReplace,
    });
    assert_eq!(world.end(job), CloneState::Attached);
    world.check();
    let copy = world.inside(Ino::ROOT, "copy");
    assert_eq!(world.tree(top), world.tree(copy));
}

#[test]
fn what_fails_leaves_nothing_and_says_why() {
    let mut world = World::new();
    let top = world.planted(20);
    let target = world.directory(Ino::ROOT, "target");
    let before = world.counters();
    let expect = |world: &mut World, job: Ino, why: Refusal| {
        assert_eq!(world.end(job), CloneState::Failed(why));
        world.reap();
        world.check();
        let after = world.counters();
        assert_eq!((after.inodes, after.bytes), (before.inodes, before.bytes));
    };
    // The name is taken meanwhile.
    let job = world.begin(top, target, "copy", 1);
    let taken = world.file(target, "copy");
    assert_eq!(world.end(job), CloneState::Failed(Refusal::Exists));
    assert!(taken > top);
    world.root(Operation::Unlink {
        parent: target,
        name: name("copy"),
    });
    world.done(CommandBody::PurgeTrash {
        before: Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        },
        files_max: 100,
    });
    // Somebody gave it up.
    let job = world.begin(top, target, "copy", 1);
    world.step(job, 9);
    assert_eq!(
        world.ask(user(), Operation::CancelClone { job }),
        Err(Refusal::NotPermitted)
    );
    world.root(Operation::CancelClone { job });
    expect(&mut world, job, Refusal::Cancelled);
    // The directory is full.
    let subject = Subject::Directory(target);
    world.done(CommandBody::SetQuota {
        caller: Caller::root(),
        subject,
        limit: Limit {
            bytes: None,
            inodes: Some(5),
        },
    });
    let job = world.begin(top, target, "copy", 1);
    expect(&mut world, job, Refusal::OverQuota);
    world.done(CommandBody::SetQuota {
        caller: Caller::root(),
        subject,
        limit: Limit::NONE,
    });
    // So is the volume.
    world.done(CommandBody::SetQuota {
        caller: Caller::root(),
        subject: Subject::Volume,
        limit: Limit {
            bytes: None,
            inodes: Some(before.inodes + 10),
        },
    });
    let job = world.begin(top, target, "copy", 1);
    expect(&mut world, job, Refusal::NoSpace);
}

#[test]
fn who_may_not_read_all_of_it_copies_nothing() {
    let mut world = World::new();
    let top = world.planted(10);
    let open = world.directory(Ino::ROOT, "open");
    world.root(Operation::SetAttr(SetAttr {
        ino: open,
        mode: Some(0o777),
        ..SetAttr::default()
    }));
    let asked = |preserve| CloneTree {
        preserve,
        ..World::asked(top, open, "copy", 1024)
    };
    // What is another's cannot be made so by a user.
    let kept = world.ask(user(), Operation::Clone(asked(true)));
    assert_eq!(kept, Err(Refusal::NotPermitted));
    let done = world.ask(user(), Operation::Clone(asked(false)));
    let Ok(Success::Cloning { job, done: true }) = done else {
        panic!("{done:?}");
    };
    for entry in world.entries(job) {
        let attr = entry.attr.expect("attributes");
        assert_eq!((attr.uid, attr.gid), (USER, USER));
        assert!(attr.kind == FileKind::Symlink || attr.mode == 0o755);
    }
    let private = world.file(top, "private");
    world.root(Operation::SetAttr(SetAttr {
        ino: private,
        mode: Some(0o600),
        ..SetAttr::default()
    }));
    let asked = CloneTree {
        preserve: false,
        ..World::asked(top, open, "other", 1024)
    };
    let refused = world.ask(user(), Operation::Clone(asked));
    assert_eq!(refused, Err(Refusal::AccessDenied));
    world.check();
}

#[test]
fn a_copy_does_not_come_to_lie_in_its_source() {
    let mut world = World::new();
    let top = world.planted(3);
    let inside = world.directory(top, "inside");
    for parent in [top, inside] {
        let asked = World::asked(top, parent, "copy", 1024);
        let refused = world.try_root(Operation::Clone(asked));
        assert_eq!(refused, Err(Refusal::InvalidArgument));
    }
    // Nor by the target's being moved there.
    let target = world.directory(Ino::ROOT, "target");
    let job = world.begin(top, target, "copy", 1);
    world.root(Operation::Rename {
        parent: Ino::ROOT,
        name: name("target"),
        new_parent: top,
        new_name: name("target"),
        mode: RenameMode::NoReplace,
    });
    assert_eq!(world.end(job), CloneState::Failed(Refusal::InvalidArgument));
    world.reap();
    world.check();
}

#[test]
fn all_there_is_is_cloned_into_itself_as_it_was_before() {
    let mut world = World::new();
    let top = world.planted(30);
    let place = world.directory(Ino::ROOT, "copies");
    let job = world.begin(Ino::ROOT, place, "first", 3);
    let later = world.file(top, "later");
    world.write(later, 0, 0, 70_000);
    while world.copy_step(job, 3) {}
    let before = world.tree(Ino::ROOT);
    world.attach_step(job, 1024);
    assert_eq!(world.end(job), CloneState::Attached);
    assert_eq!(world.tree(job), before);
    assert_eq!(world.inside(place, "first"), job);
    world.check();
}

/// What somebody who knows a file's number, and may do everything, can do with names in it and with its own.
fn meddling_with_names(ino: Ino, seen: Ino) -> Vec<Operation> {
    let create = |node| {
        Operation::Create(Create {
            parent: ino,
            name: name("made"),
            mode: 0o777,
            masked: 0,
            node,
            existing: Existing::Refuse,
        })
    };
    vec![
        Operation::Link {
            ino,
            parent: seen,
            name: name("out"),
        },
        create(NewNode::Regular),
        create(NewNode::Directory),
        Operation::Unlink {
            parent: ino,
            name: name("linked"),
        },
        Operation::Rmdir {
            parent: ino,
            name: name("below"),
        },
        Operation::RemoveEntries {
            parent: ino,
            names: vec![name("linked")],
            skip_trash: true,
        },
        renamed((ino, "linked"), (seen, "out"), RenameMode::Replace),
        renamed((Ino::ROOT, "seen"), (ino, "in"), RenameMode::Replace),
    ]
}

/// The same, and what can be done with what it is.
fn meddling(world: &mut World, ino: Ino, seen: Ino) -> Vec<Operation> {
    let slice = match world.root(Operation::GrantSlices { count: 1 }) {
        Success::Granted { first, .. } => first.0,
        other => panic!("{other:?}"),
    };
    let set = SetAttr {
        ino,
        mode: Some(0o777),
        length: Some(0),
        ..SetAttr::default()
    };
    let copied = |from: Ino, to: Ino| CopyRange {
        from,
        offset: 0,
        to,
        to_offset: 0,
        len: 10,
    };
    let commit = Commit {
        ino,
        slices: vec![NewSlice {
            chunk: ChunkIndex(0),
            at: 0,
            id: SliceId(slice),
            len: 10,
            frame_crcs: vec![7],
        }],
        mtime: None,
    };
    let mut all = meddling_with_names(ino, seen);
    all.extend([
        Operation::SetAttr(set),
        Operation::Commit(commit),
        Operation::CopyRange(copied(ino, ino)),
        Operation::Fallocate(Fallocate {
            ino,
            offset: 0,
            len: 100,
            mode: FallocateMode::Punch,
        }),
        Operation::SetXattr {
            ino,
            name: b"user.a".to_vec(),
            value: vec![9],
            mode: XattrMode::Set,
        },
        Operation::RemoveXattr {
            ino,
            name: b"user.a".to_vec(),
        },
        Operation::Accessed {
            files: vec![(ino, Timestamp::default())],
        },
        Operation::Clone(World::asked(ino, seen, "out", 1)),
        Operation::Clone(World::asked(seen, ino, "in", 1)),
    ]);
    all
}

/// What is asked about a file by its number.
fn questions(ino: Ino) -> Vec<QueryBody> {
    vec![
        QueryBody::PathOf { ino },
        QueryBody::GetAttr { ino },
        QueryBody::Lookup {
            parent: ino,
            name: name("below"),
        },
        QueryBody::Usage(Subject::Directory(ino)),
        QueryBody::Space { ino },
        QueryBody::ListXattr { ino },
    ]
}

#[test]
fn nobody_changes_what_nobody_sees() {
    let mut world = World::new();
    let seen = world.directory(Ino::ROOT, "seen");
    let limit = Limit {
        bytes: Some(1 << 40),
        inodes: None,
    };
    world.done(CommandBody::SetQuota {
        caller: Caller::root(),
        subject: Subject::Directory(seen),
        limit,
    });
    let top = world.planted(30);
    for ended in [true, false] {
        let job = world.begin(top, Ino::ROOT, "copy", 1);
        while world.copy_step(job, 7) {}
        let mut hidden: Vec<Ino> = world.entries(job).iter().map(|entry| entry.ino).collect();
        hidden.push(job);
        if ended {
            world.root(Operation::CancelClone { job });
        }
        let before = (world.counters(), world.tree(job));
        for ino in hidden {
            for operation in meddling(&mut world, ino, seen) {
                let told = format!("{operation:?}");
                assert_eq!(world.try_root(operation), Err(Refusal::Stale), "{told}");
            }
            let quota = CommandBody::SetQuota {
                caller: Caller::root(),
                subject: Subject::Directory(ino),
                limit,
            };
            assert!(matches!(world.run(quota), Outcome::Refused(_)));
            for question in questions(ino) {
                world.try_answer(question);
            }
        }
        let slices = before.0.next_slice;
        let after = crate::row::Counters {
            next_slice: slices,
            ..world.counters()
        };
        assert_eq!((after, world.tree(job)), before);
        world.check();
        let state = world.end(job);
        assert_eq!(ended, state == CloneState::Failed(Refusal::Cancelled));
        world.reap();
        world.check();
        assert!(world.entries(seen).is_empty());
        assert_eq!(world.counters().clones, 0);
    }
    // Once it is seen, it is like any other.
    let copy = world.inside(Ino::ROOT, "copy");
    world.file(copy, "made");
    assert!(world.entries(seen).is_empty());
    world.check();
}

#[test]
fn one_file_is_cloned_too_and_slices_go_with_the_last_that_shows_them() {
    let mut world = World::new();
    world.done(CommandBody::SetOptions {
        caller: Caller::root(),
        trash_seconds: 0,
    });
    let file = world.file(Ino::ROOT, "file");
    world.write(file, 0, 0, 100_000);
    let asked = World::asked(file, Ino::ROOT, "copy", 1024);
    let done = world.root(Operation::Clone(asked));
    let Success::Cloning { job, done: true } = done else {
        panic!("{done:?}");
    };
    assert_eq!(world.slices(file), world.slices(job));
    world.check();
    for (text, pending) in [("file", 0), ("copy", 1)] {
        world.root(Operation::Unlink {
            parent: Ino::ROOT,
            name: name(text),
        });
        world.reap();
        world.check();
        assert_eq!(world.counters().pending_slices, pending);
    }
    assert_eq!(world.end(job), CloneState::Attached);
    world.clock += ENDED_CLONE_SECONDS;
    world.step(job, 1);
    assert_eq!(world.status(job), None);
}

#[test]
fn two_clones_of_one_tree_and_one_into_the_source_of_another() {
    let mut world = World::new();
    let top = world.planted(30);
    let other = world.directory(Ino::ROOT, "elsewhere");
    for number in 0..10 {
        world.file(other, &format!("e{number}"));
    }
    let jobs = [
        world.begin(top, Ino::ROOT, "one", 1),
        world.begin(top, Ino::ROOT, "two", 1),
        world.begin(other, top, "other", 1),
    ];
    let mut left: Vec<Ino> = jobs.to_vec();
    let mut dice = Dice(7);
    while !left.is_empty() {
        let job = left[dice.roll(left.len())];
        world.step(job, 5);
        if world.status(job).expect("told").state == CloneState::Attached {
            left.retain(|one| *one != job);
            if job != jobs[2] {
                assert_eq!(world.tree(top), world.tree(job));
            }
        }
        world.check();
    }
}

#[test]
fn a_source_that_is_removed_ends_it() {
    let mut world = World::new();
    let top = world.directory(Ino::ROOT, "source");
    for number in 0..10 {
        world.file(top, &format!("f{number}"));
    }
    let job = world.begin(top, Ino::ROOT, "copy", 1);
    world.step(job, 3);
    for number in 0..10 {
        world.root(Operation::Unlink {
            parent: top,
            name: name(&format!("f{number}")),
        });
    }
    world.root(Operation::Rmdir {
        parent: Ino::ROOT,
        name: name("source"),
    });
    assert_eq!(world.end(job), CloneState::Failed(Refusal::NotFound));
    world.reap();
    world.check();
}
