//! What files add up to and may: what the plain model says of it, and the calls on both sides.

use crate::driver::Driver;
use crate::engine::Engine;
use crate::filesystem::{Errno, FileSystem, Id, ROOT};
use crate::operation::{Op, Pick};
use meta_core::attr::{Caller, FileKind};
use meta_core::command::{CommandBody, Create, Existing, NewNode, Operation, RenameMode, SetAttr};
use meta_core::ids::{Ino, Level};
use meta_core::limits::TOTALS_DEPTH_MAX;
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal, Success};
use meta_core::query::{Answer, QueryBody};
use meta_core::quota::{Amount, Limit, Room, Space, Subject, Usage};
use std::collections::BTreeMap;

/// What can have a limit, in the model's words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Of {
    Volume,
    Directory(Id),
    User(u32),
    Group(u32),
}

/// Limits by what they limit: of bytes and of files.
pub(crate) type Limits = BTreeMap<Of, (Option<u64>, Option<u64>)>;

impl FileSystem {
    /// The directory that holds each file's name. No file has more than one here.
    fn homes(&self) -> BTreeMap<Id, Id> {
        let dirs = self.nodes.iter().enumerate();
        let entries = dirs.flat_map(|(dir, node)| node.entries.values().map(move |id| (*id, dir)));
        entries.collect()
    }

    /// What something adds up to: files, directories, bytes.
    fn amount(&self, of: Of) -> (u64, u64, u64) {
        let homes = self.homes();
        let is_in = |id: Id| {
            let node = &self.nodes[id];
            let home = homes.get(&id).copied();
            match of {
                Of::Volume => !node.gone,
                Of::User(uid) => home.is_some() && node.uid == uid,
                Of::Group(gid) => home.is_some() && node.gid == gid,
                Of::Directory(dir) => {
                    let mut at = home;
                    while at.is_some_and(|at| at != dir && at != ROOT) {
                        at = at.and_then(|at| homes.get(&at).copied());
                    }
                    at == Some(dir)
                }
            }
        };
        let mut amount = (0, 0, 0);
        for id in (0..self.nodes.len()).filter(|id| is_in(*id)) {
            match self.nodes[id].kind {
                FileKind::Directory => amount.1 += 1,
                FileKind::Regular => {
                    amount.0 += 1;
                    amount.2 += self.nodes[id].size.div_ceil(4096) * 4096;
                }
                _ => amount.0 += 1,
            }
        }
        amount
    }

    /// How a call fails that came to this from `before`, if it went past a limit.
    fn past(&self, before: &Self, limits: &Limits) -> Vec<Errno> {
        let grown = |from: u64, to: u64, limit: Option<u64>| {
            to > from && limit.is_some_and(|limit| to > limit)
        };
        let broken = limits.iter().filter(|(of, (bytes, inodes))| {
            let (from, to) = (before.amount(**of), self.amount(**of));
            grown(from.2, to.2, *bytes) || grown(from.0 + from.1, to.0 + to.1, *inodes)
        });
        broken
            .map(|(of, _)| match of {
                Of::Volume => "ENOSPC",
                _ => "EDQUOT",
            })
            .collect()
    }
}

impl Driver {
    /// On a volume of level 4 with a trash.
    pub(crate) fn with_quotas() -> Self {
        let mut driver = Self::with_trash();
        driver.limits = Some(Limits::new());
        driver
    }

    /// A call of which the model has done all but look at the limits: looks at them, and takes it back if
    /// the engine refused it for one.
    pub(crate) fn limited(&mut self, op: &Op, before: FileSystem, ended: Errno) -> Errno {
        let Some(limits) = &self.limits else {
            assert!(!matches!(ended, "EDQUOT" | "ENOSPC"), "without limits");
            return ended;
        };
        let past = self.model.past(&before, limits);
        if ended == "EDQUOT" || ended == "ENOSPC" {
            assert!(past.contains(&ended), "{op:?}: {ended}, and not {past:?}");
            self.model = before;
        } else {
            assert_eq!(past, Vec::<Errno>::new(), "{op:?} went past a limit");
        }
        // The limit of a directory goes with it.
        let nodes = &self.model.nodes;
        if let Some(limits) = &mut self.limits {
            limits.retain(|of, _| !matches!(of, Of::Directory(id) if nodes[*id].nlink == 0));
        }
        ended
    }

    fn subject(&self, of: Of) -> Subject {
        match of {
            Of::Volume => Subject::Volume,
            Of::Directory(id) => Subject::Directory(self.inos[id]),
            Of::User(uid) => Subject::User(uid),
            Of::Group(gid) => Subject::Group(gid),
        }
    }

    fn pick_subject(&self, kind: u8, pick: &Pick) -> Of {
        let one = |ids: [u32; 4]| ids[pick.index(ids.len())];
        match kind {
            0 => Of::Volume,
            1 => Of::User(one([0, 1000, 1001, 1002])),
            2 => Of::Group(one([0, 100, 200, 400])),
            _ => Of::Directory(self.pick_dir(pick)),
        }
    }

    pub(crate) fn set_quota(&mut self, caller: &Caller, op: &Op) -> Errno {
        let Op::SetQuota(kind, pick, bytes, inodes) = op else {
            unreachable!("called to set a limit");
        };
        let of = self.pick_subject(*kind, pick);
        let bytes = bytes.map(|blocks| blocks * 4096);
        let body = CommandBody::SetQuota {
            caller: caller.clone(),
            subject: self.subject(of),
            limit: Limit {
                bytes,
                inodes: *inodes,
            },
        };
        let engine = match self.engine.run(body).outcome {
            Outcome::Done(Success::Done) => Ok(()),
            Outcome::Refused(refusal) => Err(crate::driver::errno(refusal)),
            other => panic!("{other:?}"),
        };
        let model = match of {
            _ if caller.uid != 0 => Err("EPERM"),
            Of::Directory(ROOT) => Err("EINVAL"),
            Of::Directory(id) if self.model.nodes[id].gone => Err("ESTALE"),
            Of::Directory(id) if self.model.nodes[id].kind != FileKind::Directory => Err("ENOTDIR"),
            Of::Directory(id) if self.model.nodes[id].nlink == 0 => Err("ENOENT"),
            _ => Ok(()),
        };
        let ended = Self::agree(op, &engine, &model);
        if let (Some(limits), "ok") = (&mut self.limits, ended) {
            limits.remove(&of);
            if (bytes, *inodes) != (None, None) {
                limits.insert(of, (bytes, *inodes));
            }
        }
        // Limits of owners are looked at once all files are counted.
        while self.maintain(CommandBody::CountFiles { files_max: 3 }) {}
        ended
    }

    /// Compares what everything adds up to.
    pub(crate) fn compare_quotas(&self) {
        let Some(limits) = &self.limits else {
            return;
        };
        for (of, (bytes, inodes)) in limits {
            let found = usage(&self.engine, self.subject(*of));
            let amount = self.model.amount(*of);
            assert_eq!(found.amount.inodes(), amount.0 + amount.1, "{of:?}");
            assert_eq!(found.amount.bytes, amount.2, "{of:?}");
            assert_eq!((found.limit.bytes, found.limit.inodes), (*bytes, *inodes));
            assert!(found.is_counted);
        }
        for id in 0..self.model.nodes.len() {
            let node = &self.model.nodes[id];
            if node.kind == FileKind::Directory && !node.gone && node.nlink > 0 {
                let (files, directories, bytes) = self.model.amount(Of::Directory(id));
                let amount = Amount {
                    files,
                    directories,
                    bytes,
                };
                assert_eq!(amounts(&self.engine, self.inos[id]), Ok(amount));
                self.compare_space(id, limits);
            }
        }
        let listed: BTreeMap<Subject, Limit> = listed(&self.engine);
        let expected = limits.iter().map(|(of, (bytes, inodes))| {
            let limit = Limit {
                bytes: *bytes,
                inodes: *inodes,
            };
            (self.subject(*of), limit)
        });
        assert_eq!(listed, expected.collect());
    }

    /// The narrowest limit at a directory.
    fn compare_space(&self, id: Id, limits: &Limits) {
        let homes = self.model.homes();
        let above = std::iter::successors(Some(id), |id| homes.get(id).copied());
        let places = above.map(Of::Directory).chain([Of::Volume]);
        let here = places.filter_map(|of| Some((self.model.amount(of), limits.get(&of)?)));
        let (mut bytes, mut inodes) = (None, None);
        for ((files, directories, used), (bytes_max, inodes_max)) in here {
            let least = |left: &mut Option<u64>, limit: Option<u64>, used: u64| {
                let here = limit.map(|limit| limit.saturating_sub(used));
                *left = left.iter().copied().chain(here).min();
            };
            least(&mut bytes, *bytes_max, used);
            least(&mut inodes, *inodes_max, files + directories);
        }
        let body = QueryBody::Space { ino: self.inos[id] };
        let Ok(Answer::Space(Space {
            bytes: found_bytes,
            inodes: found_inodes,
        })) = self.engine.ask(&Caller::root(), body)
        else {
            panic!("space is not told");
        };
        let left = |room: Option<Room>| room.map(|room| room.left());
        assert_eq!((left(found_bytes), left(found_inodes)), (bytes, inodes));
    }
}

fn usage(engine: &Engine, subject: Subject) -> Usage {
    match engine.ask(&Caller::root(), QueryBody::Usage(subject)) {
        Ok(Answer::Usage(usage)) => usage,
        other => panic!("{other:?}"),
    }
}

fn amounts(engine: &Engine, ino: Ino) -> Result<Amount, Refusal> {
    match engine.ask(&Caller::root(), QueryBody::Amounts { inos: vec![ino] })? {
        Answer::Amounts(amounts) => amounts[0],
        other => panic!("{other:?}"),
    }
}

/// All limits, page by page.
fn listed(engine: &Engine) -> BTreeMap<Subject, Limit> {
    let mut found = BTreeMap::new();
    let mut after = None;
    loop {
        let count_max = 2;
        let body = QueryBody::Limits { after, count_max };
        let Ok(Answer::Limits { limits, end }) = engine.ask(&Caller::root(), body) else {
            panic!("limits are not told");
        };
        for usage in limits {
            assert!(after < Some(usage.subject), "they rise");
            after = Some(usage.subject);
            found.insert(usage.subject, usage.limit);
        }
        if end {
            return found;
        }
    }
}

fn make(engine: &mut Engine, parent: Ino, text: &str, node: NewNode) -> Result<Ino, Refusal> {
    let create = Operation::Create(Create {
        parent,
        name: Name::new(text).expect("a name"),
        mode: 0o755,
        masked: 0,
        node,
        existing: Existing::Refuse,
    });
    match engine.request(&Caller::root(), create).1 {
        Outcome::Done(Success::Entry { attr, .. }) => Ok(attr.ino),
        Outcome::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn done(engine: &mut Engine, operation: Operation) -> Result<(), Refusal> {
    match engine.request(&Caller::root(), operation).1 {
        Outcome::Done(_) => Ok(()),
        Outcome::Refused(refusal) => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn limit(engine: &mut Engine, subject: Subject, bytes: Option<u64>, inodes: Option<u64>) {
    let body = CommandBody::SetQuota {
        caller: Caller::root(),
        subject,
        limit: Limit { bytes, inodes },
    };
    let ended = engine.run(body).outcome;
    assert_eq!(ended, Outcome::Done(Success::Done));
}

fn is_sound(engine: &Engine) {
    let broken = meta_core::check::check(&engine.kv, engine.volume).expect("a sound store");
    assert_eq!(broken, Vec::<String>::new());
}

fn grow(ino: Ino, length: u64) -> Operation {
    Operation::SetAttr(SetAttr {
        ino,
        length: Some(length),
        ..SetAttr::default()
    })
}

fn rename(from: (Ino, &str), to: (Ino, &str)) -> Operation {
    Operation::Rename {
        parent: from.0,
        name: Name::new(from.1).expect("a name"),
        new_parent: to.0,
        new_name: Name::new(to.1).expect("a name"),
        mode: RenameMode::Replace,
    }
}

fn link(ino: Ino, parent: Ino, name: &str) -> Operation {
    let name = Name::new(name).expect("a name");
    Operation::Link { ino, parent, name }
}

fn unlink(parent: Ino, name: &str) -> Operation {
    let name = Name::new(name).expect("a name");
    Operation::Unlink { parent, name }
}

#[test]
fn the_smallest_limit_above_a_file_holds_to_the_byte() {
    let mut engine = Engine::new();
    let outer = make(&mut engine, Ino::ROOT, "outer", NewNode::Directory).expect("made");
    let inner = make(&mut engine, outer, "inner", NewNode::Directory).expect("made");
    let file = make(&mut engine, inner, "file", NewNode::Regular).expect("made");
    limit(&mut engine, Subject::Directory(outer), Some(8192), None);
    limit(
        &mut engine,
        Subject::Directory(inner),
        Some(1 << 20),
        Some(1),
    );
    assert_eq!(done(&mut engine, grow(file, 8192)), Ok(()));
    // One byte more is one block more.
    assert_eq!(done(&mut engine, grow(file, 8193)), Err(Refusal::OverQuota));
    let second = make(&mut engine, inner, "second", NewNode::Regular);
    assert_eq!(second, Err(Refusal::OverQuota));
    // What is moved in counts as what is made there; within, nothing comes to it.
    let beside = make(&mut engine, outer, "beside", NewNode::Regular).expect("made");
    let moved = rename((outer, "beside"), (inner, "beside"));
    assert_eq!(done(&mut engine, moved), Err(Refusal::OverQuota));
    let within = rename((inner, "file"), (inner, "renamed"));
    assert_eq!(done(&mut engine, within), Ok(()));
    // Over another one of the same directory.
    let over = rename((outer, "beside"), (inner, "renamed"));
    assert_eq!(done(&mut engine, over), Ok(()));
    assert_eq!(done(&mut engine, grow(beside, 8192)), Ok(()));
    assert_eq!(
        done(&mut engine, grow(beside, 0)),
        Ok(()),
        "less is no matter"
    );
    is_sound(&engine);
}

#[test]
fn a_limit_below_what_is_used_only_stops_more() {
    let mut engine = Engine::new();
    let dir = make(&mut engine, Ino::ROOT, "dir", NewNode::Directory).expect("made");
    let file = make(&mut engine, dir, "file", NewNode::Regular).expect("made");
    assert_eq!(done(&mut engine, grow(file, 1 << 20)), Ok(()));
    limit(&mut engine, Subject::Directory(dir), Some(4096), None);
    limit(&mut engine, Subject::Volume, Some(4096), None);
    assert_eq!(done(&mut engine, grow(file, 1 << 19)), Ok(()));
    assert_eq!(
        done(&mut engine, grow(file, (1 << 19) + 1)),
        Err(Refusal::NoSpace)
    );
    limit(&mut engine, Subject::Volume, None, None);
    assert_eq!(
        done(&mut engine, grow(file, (1 << 19) + 1)),
        Err(Refusal::OverQuota)
    );
    assert_eq!(done(&mut engine, unlink(dir, "file")), Ok(()));
    is_sound(&engine);
}

#[test]
fn a_file_counts_where_its_first_name_is() {
    let mut engine = Engine::new();
    let dirs = ["one", "two"]
        .map(|name| make(&mut engine, Ino::ROOT, name, NewNode::Directory).expect("made"));
    let [one, two] = dirs;
    let file = make(&mut engine, one, "file", NewNode::Regular).expect("made");
    assert_eq!(done(&mut engine, grow(file, 4096)), Ok(()));
    assert_eq!(done(&mut engine, link(file, two, "other")), Ok(()));
    let bytes = |engine: &Engine| dirs.map(|dir| amounts(engine, dir).expect("told").bytes);
    assert_eq!(bytes(&engine), [4096, 0]);
    // Where other limits hold it gets no further name, by whatever way.
    limit(&mut engine, Subject::Directory(two), Some(1 << 20), None);
    let further = done(&mut engine, link(file, two, "third"));
    assert_eq!(further, Err(Refusal::CrossesQuota));
    let three = make(&mut engine, Ino::ROOT, "three", NewNode::Directory).expect("made");
    assert_eq!(done(&mut engine, link(file, three, "third")), Ok(()));
    let into = rename((three, "third"), (two, "third"));
    assert_eq!(done(&mut engine, into), Err(Refusal::CrossesQuota));
    // Nor does its first name leave the others behind. Where the same limits hold, both may go anywhere.
    let inner = make(&mut engine, two, "inner", NewNode::Directory).expect("made");
    let own = make(&mut engine, two, "own", NewNode::Regular).expect("made");
    assert_eq!(done(&mut engine, link(own, inner, "own")), Ok(()));
    let out = rename((two, "own"), (Ino::ROOT, "own"));
    assert_eq!(done(&mut engine, out), Err(Refusal::CrossesQuota));
    let swap = Operation::Rename {
        parent: two,
        name: Name::new("own").expect("a name"),
        new_parent: three,
        new_name: Name::new("third").expect("a name"),
        mode: RenameMode::Exchange,
    };
    assert_eq!(done(&mut engine, swap), Err(Refusal::CrossesQuota));
    let within = rename((two, "own"), (inner, "again"));
    assert_eq!(done(&mut engine, within), Ok(()));
    for name in ["own", "again"] {
        assert_eq!(done(&mut engine, unlink(inner, name)), Ok(()));
    }
    // Its first name goes: it counts where the next one is, past a limit, too, for what is removed is removed.
    limit(&mut engine, Subject::Directory(two), Some(0), None);
    assert_eq!(done(&mut engine, unlink(one, "file")), Ok(()));
    assert_eq!(bytes(&engine), [0, 4096]);
    assert_eq!(done(&mut engine, grow(file, 4097)), Err(Refusal::OverQuota));
    is_sound(&engine);
}

#[test]
fn owners_are_limited_wherever_their_files_are() {
    let mut engine = Engine::new();
    let file = make(&mut engine, Ino::ROOT, "file", NewNode::Regular).expect("made");
    assert_eq!(done(&mut engine, grow(file, 8192)), Ok(()));
    limit(&mut engine, Subject::User(7), Some(8191), None);
    limit(&mut engine, Subject::Group(8), None, Some(0));
    let body = CommandBody::CountFiles { files_max: 1 };
    let mut steps = 0;
    while let Outcome::Done(Success::Maintained { more: true, .. }) =
        engine.run(body.clone()).outcome
    {
        steps += 1;
        is_sound(&engine);
    }
    assert!(steps > 1, "{steps}");
    let give = |uid, gid| {
        Operation::SetAttr(SetAttr {
            ino: file,
            uid,
            gid,
            ..SetAttr::default()
        })
    };
    assert_eq!(
        done(&mut engine, give(Some(7), None)),
        Err(Refusal::OverQuota)
    );
    assert_eq!(
        done(&mut engine, give(None, Some(8))),
        Err(Refusal::OverQuota)
    );
    limit(&mut engine, Subject::User(7), Some(8192), None);
    assert_eq!(done(&mut engine, give(Some(7), None)), Ok(()));
    assert_eq!(done(&mut engine, grow(file, 8193)), Err(Refusal::OverQuota));
    let asked = |caller: u32, subject| {
        let caller = Caller {
            uid: caller,
            gid: 9,
            groups: vec![],
        };
        engine.ask(&caller, QueryBody::Usage(subject)).is_ok()
    };
    assert!(asked(7, Subject::User(7)) && asked(7, Subject::Group(9)));
    assert!(!asked(6, Subject::User(7)) && !asked(6, Subject::Group(8)));
    is_sound(&engine);
}

#[test]
fn what_is_removed_frees_its_directory_and_not_the_volume() {
    let mut engine = Engine::at_level(Level(4));
    let dir = make(&mut engine, Ino::ROOT, "dir", NewNode::Directory).expect("made");
    let file = make(&mut engine, dir, "file", NewNode::Regular).expect("made");
    limit(&mut engine, Subject::Directory(dir), Some(4096), Some(1));
    limit(&mut engine, Subject::Volume, Some(8192), None);
    assert_eq!(done(&mut engine, grow(file, 4096)), Ok(()));
    assert_eq!(done(&mut engine, unlink(dir, "file")), Ok(()));
    let second = make(&mut engine, dir, "file", NewNode::Regular).expect("there is room");
    assert_eq!(done(&mut engine, grow(second, 4096)), Ok(()));
    // The first one is in the trash, where it takes of the volume's room, and comes back if there is some.
    let third = make(&mut engine, Ino::ROOT, "third", NewNode::Regular).expect("made");
    assert_eq!(done(&mut engine, grow(third, 1)), Err(Refusal::NoSpace));
    let back = |parent| Operation::Restore {
        parent,
        files: vec![(file, Name::new("back").expect("a name"))],
    };
    assert_eq!(done(&mut engine, back(dir)), Err(Refusal::OverQuota));
    assert_eq!(done(&mut engine, back(Ino::ROOT)), Ok(()));
    is_sound(&engine);
}

#[test]
fn below_level_4_nothing_is_counted() {
    let mut engine = Engine::at_level(Level(3));
    let dir = make(&mut engine, Ino::ROOT, "dir", NewNode::Directory).expect("made");
    let body = CommandBody::SetQuota {
        caller: Caller::root(),
        subject: Subject::Directory(dir),
        limit: Limit::NONE,
    };
    let refused = Outcome::Refused(Refusal::NotSupported);
    assert_eq!(engine.run(body).outcome, refused);
    assert_eq!(amounts(&engine, dir), Err(Refusal::NotSupported));
    engine.run(CommandBody::RaiseLevel { level: Level(4) });
    // It is not empty: its files are counted one after the other.
    assert_eq!(amounts(&engine, dir), Err(Refusal::BeingCounted));
    while let Outcome::Done(Success::Maintained { more: true, .. }) =
        engine.run(CommandBody::CountFiles { files_max: 1 }).outcome
    {}
    let all = Amount {
        directories: 1,
        ..Amount::default()
    };
    assert_eq!(amounts(&engine, Ino::ROOT), Ok(all));
    is_sound(&engine);
}

#[test]
fn directories_of_before_are_counted_however_deep_they_are() {
    let mut engine = Engine::at_level(Level(3));
    let depth = TOTALS_DEPTH_MAX + 200;
    let mut at = Ino::ROOT;
    for _ in 0..depth {
        at = make(&mut engine, at, "d", NewNode::Directory).expect("made");
    }
    engine.run(CommandBody::RaiseLevel { level: Level(4) });
    let body = CommandBody::CountFiles {
        files_max: u32::MAX,
    };
    let mut steps = 0;
    while let Outcome::Done(Success::Maintained { more: true, .. }) =
        engine.run(body.clone()).outcome
    {
        steps += 1;
    }
    // Where directories are deep, few are counted at once.
    assert!(steps > depth / 256, "{steps}");
    let all = amounts(&engine, Ino::ROOT).expect("counted");
    assert_eq!(all.directories, depth as u64);
    is_sound(&engine);
}

#[test]
fn directories_that_are_too_deep_cannot_be_changed_but_moved() {
    let mut engine = Engine::new();
    let mut dirs = vec![Ino::ROOT];
    let mut at = Ino::ROOT;
    for _ in 1..TOTALS_DEPTH_MAX {
        at = make(&mut engine, at, "d", NewNode::Directory).expect("made");
        dirs.push(at);
    }
    let file = make(&mut engine, at, "f", NewNode::Regular).expect("made");
    let deeper = make(&mut engine, at, "d", NewNode::Directory).expect("made");
    let refused = make(&mut engine, deeper, "d", NewNode::Directory);
    assert_eq!(refused, Err(Refusal::LimitReached));
    // Nor a further name, where the file could not count once its first one went.
    let shared = make(&mut engine, Ino::ROOT, "shared", NewNode::Regular).expect("made");
    let further = done(&mut engine, link(shared, deeper, "shared"));
    assert_eq!(further, Err(Refusal::LimitReached));
    // A tree comes deeper with what it lies in.
    let beside = make(&mut engine, Ino::ROOT, "beside", NewNode::Directory).expect("made");
    let under = make(&mut engine, beside, "under", NewNode::Directory).expect("made");
    let down = rename((Ino::ROOT, "d"), (under, "d"));
    assert_eq!(done(&mut engine, down), Ok(()));
    assert_eq!(
        done(&mut engine, grow(file, 4096)),
        Err(Refusal::LimitReached)
    );
    assert_eq!(
        done(&mut engine, unlink(at, "f")),
        Err(Refusal::LimitReached)
    );
    let up = rename((under, "d"), (Ino::ROOT, "d"));
    assert_eq!(done(&mut engine, up), Ok(()));
    assert_eq!(done(&mut engine, grow(file, 4096)), Ok(()));
    assert_eq!(done(&mut engine, unlink(at, "f")), Ok(()));
    is_sound(&engine);
}
