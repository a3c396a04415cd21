//! The trash: what the plain model says of it, and the calls on both sides.

use crate::driver::{Driver, checked, errno, name};
use crate::engine::Engine;
use crate::filesystem::{Errno, FileSystem, Id};
use crate::operation::{Op, Pick};
use meta_core::attr::{Caller, FileKind, Timestamp};
use meta_core::command::{CommandBody, Create, Existing, NewNode, Operation, SetAttr};
use meta_core::ids::{Ino, Level};
use meta_core::limits::{FILE_BYTES_MAX, LEVEL_MAX, TRASH_ENTRIES_MAX};
use meta_core::outcome::{Outcome, Refusal, Removal, Success};
use meta_core::query::{Answer, AskTrash, QueryBody, TrashEntry};

impl FileSystem {
    pub(crate) fn restore(
        &mut self,
        id: Id,
        (dir, name): (Id, &[u8]),
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Result<(), Errno>, Errno> {
        self.search(dir, caller)?;
        self.may_add(dir, caller)?;
        let node = &self.nodes[id];
        if node.trashed.is_none() {
            return Ok(Err("ENOENT"));
        }
        if !node.owned_by(caller) {
            return Ok(Err("EPERM"));
        }
        if self.nodes[dir].entries.contains_key(name) {
            return Ok(Err("EEXIST"));
        }
        let node = &mut self.nodes[id];
        node.trashed = None;
        node.nlink = 1 + u32::from(node.kind == FileKind::Directory);
        node.ctime = now;
        self.enter(dir, name, id, now);
        Ok(Ok(()))
    }

    /// What was removed before that is only kept by who holds it.
    fn purge(&mut self, before: Timestamp) {
        for node in &mut self.nodes {
            node.trashed = node.trashed.take().filter(|(at, ..)| *at >= before);
        }
    }

    fn empty(&mut self, id: Id, caller: &Caller) -> Result<(), Errno> {
        if caller.uid != 0 {
            return Err("EPERM");
        }
        self.nodes[id].trashed = None;
        Ok(())
    }

    /// The trash of a directory: by name, the latest first.
    fn trash_of(&self, dir: Id) -> Vec<(Vec<u8>, Timestamp, Id)> {
        let nodes = self.nodes.iter().enumerate();
        let mut found: Vec<_> = nodes
            .filter_map(|(id, node)| {
                let (at, of, name) = node.trashed.clone()?;
                (of == dir).then_some((name, at, id))
            })
            .collect();
        found.sort_by(|one, other| (&one.0, other.1, one.2).cmp(&(&other.0, one.1, other.2)));
        found
    }

    fn trash_totals(&self) -> (u64, u64) {
        let trashed = || self.nodes.iter().filter(|node| node.trashed.is_some());
        let regular = trashed().filter(|node| node.kind == FileKind::Regular);
        let bytes = regular.map(|node| node.size.div_ceil(4096) * 4096).sum();
        (trashed().count() as u64, bytes)
    }
}

impl Driver {
    /// On a volume with a trash.
    pub(crate) fn with_trash() -> Self {
        let mut driver = Self::on(Engine::at_level(LEVEL_MAX));
        driver.model.keeps = true;
        driver
    }

    /// Files in the trash are picked more often than chance would have it.
    fn pick_trashed(&self, pick: &Pick) -> Id {
        let trashed = |id: &Id| self.model.nodes[*id].trashed.is_some();
        let ids: Vec<Id> = (0..self.inos.len()).filter(trashed).collect();
        if ids.is_empty() || pick.index(64).is_multiple_of(8) {
            self.pick(pick)
        } else {
            *pick.get(&ids)
        }
    }

    pub(crate) fn trash(&mut self, caller: &Caller, op: &Op) -> Errno {
        match op {
            Op::Restore(file, dir, index) => {
                let (file, dir) = (self.pick_trashed(file), self.pick_dir(dir));
                let restore = Operation::Restore {
                    parent: self.inos[dir],
                    files: vec![(self.inos[file], checked(*index))],
                };
                let (now, engine) = self.operate(caller, restore);
                let place = (dir, &*name(*index));
                let model = self.model.restore(file, place, caller, now);
                let engine = engine.and_then(|success| match success {
                    Success::Restored(ends) => ends[0].map_or(Ok(()), |why| Err(errno(why))),
                    other => panic!("{other:?}"),
                });
                Self::agree(op, &engine, &model.and_then(|each| each))
            }
            Op::EmptyTrash(file) => {
                let file = self.pick_trashed(file);
                let inos = vec![self.inos[file]];
                let (_, engine) = self.operate(caller, Operation::EmptyTrash { inos });
                let model = self.model.empty(file, caller);
                Self::agree(op, &engine, &model)
            }
            Op::PurgeTrash { kept, files_max } => {
                let before = Timestamp {
                    seconds: self.engine.clock() - i64::from(*kept),
                    nanos: 0,
                };
                let files_max = *files_max;
                while self.maintain(CommandBody::PurgeTrash { before, files_max }) {}
                self.model.purge(before);
                "ok"
            }
            Op::SetTrash(on) => {
                let trash_seconds = u64::from(*on) * 60;
                let set = CommandBody::SetOptions {
                    caller: Caller::root(),
                    trash_seconds,
                };
                match self.engine.run(set).outcome {
                    Outcome::Done(Success::Done) => {
                        self.model.keeps = *on;
                        "ok"
                    }
                    // Below level 3 there is none.
                    Outcome::Refused(Refusal::NotSupported) => "EOPNOTSUPP",
                    other => panic!("{other:?}"),
                }
            }
            other => unreachable!("{other:?} is not of the trash"),
        }
    }

    /// Compares the whole trash.
    pub(crate) fn compare_trash(&self) {
        for id in 0..self.inos.len() {
            let node = &self.model.nodes[id];
            if node.kind != FileKind::Directory || node.gone {
                continue;
            }
            let found = listed(&self.engine, self.inos[id], 2);
            let found: Vec<_> = found
                .into_iter()
                .map(|entry| {
                    assert_eq!(
                        entry.attr,
                        self.engine.attr(entry.attr.ino).expect("a file")
                    );
                    let name = entry.name.as_bytes().to_vec();
                    (name, entry.removed, entry.attr.ino)
                })
                .collect();
            let expected = self.model.trash_of(id).into_iter();
            let expected: Vec<_> = expected
                .map(|(name, at, id)| (name, at, self.inos[id]))
                .collect();
            assert_eq!(found, expected);
        }
        let stat = self.engine.stat().trash.unwrap_or_default();
        assert_eq!((stat.inodes, stat.bytes), self.model.trash_totals());
        let trashed = self
            .model
            .nodes
            .iter()
            .filter_map(|node| node.trashed.as_ref());
        assert_eq!(stat.oldest, trashed.map(|(at, ..)| *at).min());
    }
}

/// All that was removed from a directory.
fn listed(engine: &Engine, parent: Ino, count_max: u32) -> Vec<TrashEntry> {
    let mut found: Vec<TrashEntry> = Vec::new();
    loop {
        let asked = AskTrash::Of {
            parent,
            name: None,
            after: found.last().map(TrashEntry::cursor),
            count_max,
        };
        match engine.ask(&Caller::root(), QueryBody::Trash(asked)) {
            Ok(Answer::Trash { entries, end }) => {
                assert!(entries.len() <= count_max as usize);
                assert!(end || !entries.is_empty(), "a page brings something");
                found.extend(entries);
                if end {
                    return found;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn make(engine: &mut Engine, caller: &Caller, parent: Ino, text: &str, node: NewNode) -> Ino {
    let create = Operation::Create(Create {
        parent,
        name: named(text),
        mode: 0o755,
        node,
        existing: Existing::Refuse,
        masked: 0,
    });
    match engine.request(caller, create).1 {
        Outcome::Done(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    }
}

fn named(text: &str) -> meta_core::name::Name {
    meta_core::name::Name::new(text).expect("a name")
}

fn user(uid: u32) -> Caller {
    Caller {
        uid,
        gid: uid,
        groups: Vec::new(),
    }
}

fn remove(engine: &mut Engine, parent: Ino, names: &[String], skip_trash: bool) {
    let operation = Operation::RemoveEntries {
        parent,
        names: names.iter().map(|text| named(text)).collect(),
        skip_trash,
    };
    match engine.request(&Caller::root(), operation).1 {
        Outcome::Done(Success::RemovedEntries(ends)) => {
            let gone = |end: &Removal| *end == Removal::Removed { nlink: 0 };
            assert!(ends.iter().all(gone), "{ends:?}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn below_level_3_there_is_no_trash() {
    let mut engine = Engine::at_level(Level(2));
    let root = Caller::root();
    let file = make(&mut engine, &root, Ino::ROOT, "a", NewNode::Regular);
    remove(&mut engine, Ino::ROOT, &["a".to_owned()], false);
    assert_eq!((engine.stat().orphans, engine.stat().trash), (1, None));
    let restore = Operation::Restore {
        parent: Ino::ROOT,
        files: vec![(file, named("a"))],
    };
    let none = vec![Some(Refusal::NotFound)];
    assert_eq!(
        engine.request(&root, restore).1,
        Outcome::Done(Success::Restored(none))
    );
    let set = CommandBody::SetOptions {
        caller: Caller::root(),
        trash_seconds: 60,
    };
    let refused = Outcome::Refused(Refusal::NotSupported);
    assert_eq!(engine.run(set).outcome, refused);
    engine.run(CommandBody::RaiseLevel { level: Level(3) });
    let stat = engine.stat().trash.expect("a trash");
    assert_eq!((stat.seconds, stat.inodes), (86_400, 0), "a day");
    make(&mut engine, &root, Ino::ROOT, "b", NewNode::Regular);
    remove(&mut engine, Ino::ROOT, &["b".to_owned()], false);
    assert_eq!(engine.stat().orphans, 1, "the one from before");
    assert_eq!(engine.stat().trash.map(|trash| trash.inodes), Some(1));
}

#[test]
fn a_purge_takes_the_oldest_first_in_bounded_steps() {
    let mut engine = Engine::at_level(Level(3));
    let root = Caller::root();
    let count = TRASH_ENTRIES_MAX + 44;
    let names: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    for text in &names {
        make(&mut engine, &root, Ino::ROOT, text, NewNode::Regular);
    }
    let (first, rest) = names.split_at(100);
    remove(&mut engine, Ino::ROOT, first, false);
    let between = Timestamp {
        seconds: engine.clock() + 8,
        nanos: 0,
    };
    while engine.stat().trash.is_some() && engine.clock() < between.seconds + 8 {
        engine.run(CommandBody::Mark);
    }
    remove(&mut engine, Ino::ROOT, rest, false);
    let mut purge = |seconds, files_max| {
        let before = Timestamp { seconds, nanos: 0 };
        let reply = engine.run(CommandBody::PurgeTrash { before, files_max });
        match reply.outcome {
            Outcome::Done(Success::Maintained { rows, more }) => (rows, more),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(purge(0, 1), (0, false), "nothing is so old");
    assert_eq!(purge(between.seconds, 60), (60, true));
    assert_eq!(purge(between.seconds, 60), (40, false));
    // However many are asked for, a step is bounded.
    assert_eq!(purge(i64::MAX, u32::MAX), (200, false));
    assert_eq!(engine.stat().orphans, count as u64);
    let stat = engine.stat().trash.expect("a trash");
    assert_eq!((stat.inodes, stat.oldest), (0, None));
}

#[test]
fn who_owns_a_file_restores_it_where_it_may_write() {
    let mut engine = Engine::at_level(Level(3));
    let (owner, other) = (user(1000), user(1001));
    let dir = make(&mut engine, &owner, Ino::ROOT, "dir", NewNode::Directory);
    let file = make(&mut engine, &owner, dir, "file", NewNode::Regular);
    remove(&mut engine, dir, &["file".to_owned()], false);
    let restore = |parent, text: &str| Operation::Restore {
        parent,
        files: vec![(file, named(text))],
    };
    let refused = |why| Outcome::Done(Success::Restored(vec![Some(why)]));
    // Its own directory is the owner's alone to write, another's is not.
    let (_, end) = engine.request(&other, restore(dir, "file"));
    assert_eq!(end, Outcome::Refused(Refusal::AccessDenied));
    let (_, end) = engine.request(&other, restore(Ino::ROOT, "mine"));
    assert_eq!(end, refused(Refusal::NotPermitted));
    make(&mut engine, &owner, dir, "file", NewNode::Regular);
    let (_, end) = engine.request(&owner, restore(dir, "file"));
    assert_eq!(end, refused(Refusal::Exists));
    let (_, end) = engine.request(&owner, restore(dir, "file.1"));
    assert_eq!(end, Outcome::Done(Success::Restored(vec![None])));
    let attr = engine.attr(file).expect("it is back");
    assert_eq!((attr.nlink, attr.parent), (1, dir));
    // What is in a directory that others may not read, they are not told.
    let asked = QueryBody::Trash(AskTrash::File(file));
    assert_eq!(engine.ask(&owner, asked.clone()), Err(Refusal::NotFound));
    remove(&mut engine, dir, &["file.1".to_owned()], false);
    assert_eq!(
        engine.ask(&other, asked.clone()),
        Err(Refusal::NotPermitted)
    );
    assert!(matches!(
        engine.ask(&owner, asked),
        Ok(Answer::Trash { .. })
    ));
    let lock = Operation::SetAttr(SetAttr {
        ino: dir,
        mode: Some(0o700),
        ..Default::default()
    });
    engine.request(&owner, lock);
    let list = QueryBody::Trash(AskTrash::Of {
        parent: dir,
        name: None,
        after: None,
        count_max: 9,
    });
    assert_eq!(engine.ask(&other, list.clone()), Err(Refusal::AccessDenied));
    assert!(matches!(engine.ask(&owner, list), Ok(Answer::Trash { .. })));
}

#[test]
fn a_tree_that_was_removed_comes_back_from_its_top() {
    let mut engine = Engine::at_level(Level(3));
    let root = Caller::root();
    let top = make(&mut engine, &root, Ino::ROOT, "top", NewNode::Directory);
    let inner = make(&mut engine, &root, top, "inner", NewNode::Directory);
    let file = make(&mut engine, &root, inner, "file", NewNode::Regular);
    let way = [(inner, "file"), (top, "inner"), (Ino::ROOT, "top")];
    for (parent, text) in way {
        remove(&mut engine, parent, &[text.to_owned()], false);
    }
    let restore = |parent, ino, text: &str| Operation::Restore {
        parent,
        files: vec![(ino, named(text))],
    };
    // Nothing comes back into what is itself removed.
    let (_, end) = engine.request(&root, restore(top, inner, "inner"));
    assert_eq!(end, Outcome::Refused(Refusal::NotFound));
    let back = [
        (Ino::ROOT, top, "top"),
        (top, inner, "inner"),
        (inner, file, "file"),
    ];
    for (parent, ino, text) in back {
        let (_, end) = engine.request(&root, restore(parent, ino, text));
        assert_eq!(end, Outcome::Done(Success::Restored(vec![None])));
    }
    assert_eq!(engine.attr(Ino::ROOT).expect("a root").nlink, 3);
    assert_eq!(engine.attr(top).expect("it is back").nlink, 3);
    let broken = meta_core::check::check(&engine.kv, engine.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
    assert_eq!(engine.stat().trash.map(|trash| trash.inodes), Some(0));
}

#[test]
fn only_root_goes_past_the_trash_or_empties_it() {
    let mut engine = Engine::at_level(Level(3));
    let owner = user(1000);
    let file = make(&mut engine, &owner, Ino::ROOT, "a", NewNode::Regular);
    let skip = Operation::RemoveEntries {
        parent: Ino::ROOT,
        names: vec![named("a")],
        skip_trash: true,
    };
    let refused = Outcome::Refused(Refusal::NotPermitted);
    assert_eq!(engine.request(&owner, skip.clone()).1, refused);
    assert_eq!(engine.attr(file).expect("it is there").nlink, 1);
    engine.request(&Caller::root(), skip);
    assert_eq!(engine.stat().orphans, 1);
    let kept = make(&mut engine, &owner, Ino::ROOT, "b", NewNode::Regular);
    remove(&mut engine, Ino::ROOT, &["b".to_owned()], false);
    let inos = vec![file, kept, Ino(9999)];
    let empty = Operation::EmptyTrash { inos };
    assert_eq!(engine.request(&owner, empty.clone()).1, refused);
    let (rows, more) = (1, false);
    let set = |caller| CommandBody::SetOptions {
        caller,
        trash_seconds: 0,
    };
    assert_eq!(engine.run(set(owner.clone())).outcome, refused);
    let emptied = Outcome::Done(Success::Maintained { rows, more });
    assert_eq!(engine.request(&Caller::root(), empty).1, emptied);
    assert_eq!(engine.stat().orphans, 2);
}

#[test]
fn the_bytes_in_the_trash_cannot_be_made_to_overflow() {
    let mut engine = Engine::at_level(Level(3));
    let root = Caller::root();
    let longest = |ino| {
        Operation::SetAttr(SetAttr {
            ino,
            length: Some(FILE_BYTES_MAX),
            ..SetAttr::default()
        })
    };
    // As many as can be counted are in the trash; of one more, which is open, nothing can be.
    let most = u64::MAX / FILE_BYTES_MAX;
    for number in 0..=most {
        let text = number.to_string();
        let ino = make(&mut engine, &root, Ino::ROOT, &text, NewNode::Regular);
        if number < most {
            let (_, end) = engine.request(&root, longest(ino));
            assert!(matches!(end, Outcome::Done(_)), "{end:?}");
        }
        remove(&mut engine, Ino::ROOT, &[text], false);
        if number == most {
            let (_, end) = engine.request(&root, longest(ino));
            assert_eq!(end, Outcome::Refused(Refusal::NoSpace));
        }
    }
    let broken = meta_core::check::check(&engine.kv, engine.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_command_on_the_trash_is_bounded() {
    let mut engine = Engine::at_level(Level(3));
    let root = Caller::root();
    let invalid = Outcome::Refused(Refusal::InvalidArgument);
    for count in [0, TRASH_ENTRIES_MAX + 1] {
        let files = (0..count).map(|at| (Ino(at as u64 + 9), named("a")));
        let parent = Ino::ROOT;
        let restore = Operation::Restore {
            parent,
            files: files.clone().collect(),
        };
        assert_eq!(engine.request(&root, restore).1, invalid);
        let inos = files.map(|(ino, _)| ino).collect();
        let empty = Operation::EmptyTrash { inos };
        assert_eq!(engine.request(&root, empty).1, invalid);
    }
    let trash_seconds = meta_core::limits::TRASH_SECONDS_MAX + 1;
    let set = CommandBody::SetOptions {
        caller: Caller::root(),
        trash_seconds,
    };
    assert_eq!(engine.run(set).outcome, invalid);
}
