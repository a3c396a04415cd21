//! A volume in memory, and what the tests of clones do with it and see of it.

use super::super::*;
use crate::attr::{FileKind, Timestamp};
use crate::check;
use crate::command::{
    Command, CommandBody, Commit, Create, CreateVolume, Existing, NewNode, NewSlice, Operation,
    Request, SetAttr, XattrMode,
};
use crate::ids::{ChunkIndex, SessionId, SliceId, SlotIndex, Uuid, VolumeId};
use crate::kv::{MemKv, Overlay};
use crate::limits::LEVEL_MAX;
use crate::machine;
use crate::name::Name;
use crate::outcome::Outcome;
use crate::query::{Answer, CloneStatus, DirEntry, Query, QueryBody, SliceCursor};
use crate::read;
use crate::testing::ListCodec;
use std::collections::BTreeMap;

pub(super) const USER: u32 = 1000;

/// A volume with a session.
pub(super) struct World {
    pub(super) kv: MemKv,
    pub(super) codec: ListCodec,
    pub(super) volume: VolumeId,
    pub(super) session: SessionId,
    pub(super) sequence: u64,
    pub(super) clock: i64,
    pub(super) slices: u64,
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub(super) fn user() -> Caller {
    Caller {
        uid: USER,
        gid: USER,
        groups: vec![USER],
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::at(LEVEL_MAX)
    }

    pub(super) fn at(level: Level) -> Self {
        let mut world = Self {
            kv: MemKv::default(),
            codec: ListCodec::default(),
            volume: VolumeId::CLUSTER,
            session: SessionId(0),
            sequence: 0,
            clock: 0,
            slices: 0,
        };
        let cluster = Uuid([1; 16]);
        world.done(CommandBody::InitCluster { cluster });
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        match world.done(CommandBody::CreateVolume(create)) {
            Success::Volume(id) => world.volume = id,
            other => panic!("{other:?}"),
        }
        world.done(CommandBody::RaiseLevel { level });
        let open = CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        };
        match world.done(open) {
            Success::Session(id) => world.session = id,
            other => panic!("{other:?}"),
        }
        world
    }

    pub(super) fn run(&mut self, body: CommandBody) -> Outcome {
        self.clock += 1;
        let command = Command {
            volume: self.volume,
            stamp: Timestamp {
                seconds: self.clock,
                nanos: 0,
            },
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&self.kv);
        let reply = machine::apply(&mut pending, &self.codec, &command).expect("a sound store");
        let writes = pending.into_writes();
        self.kv.write(writes);
        reply.outcome
    }

    pub(super) fn done(&mut self, body: CommandBody) -> Success {
        match self.run(body) {
            Outcome::Done(success) => success,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn ask(&mut self, caller: Caller, operation: Operation) -> Result<Success, Refusal> {
        self.sequence += 1;
        let request = Request {
            session: self.session,
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller,
            operation,
        };
        match self.run(CommandBody::Request(request)) {
            Outcome::Done(success) => Ok(success),
            Outcome::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn try_root(&mut self, operation: Operation) -> Result<Success, Refusal> {
        self.ask(Caller::root(), operation)
    }

    pub(super) fn root(&mut self, operation: Operation) -> Success {
        self.try_root(operation).expect("done")
    }

    pub(super) fn make(&mut self, parent: Ino, text: &str, node: NewNode) -> Ino {
        let create = Operation::Create(Create {
            parent,
            name: name(text),
            mode: 0o755,
            masked: 0,
            node,
            existing: Existing::Refuse,
        });
        match self.root(create) {
            Success::Entry { attr, .. } => attr.ino,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn directory(&mut self, parent: Ino, text: &str) -> Ino {
        self.make(parent, text, NewNode::Directory)
    }

    pub(super) fn file(&mut self, parent: Ino, text: &str) -> Ino {
        self.make(parent, text, NewNode::Regular)
    }

    pub(super) fn write(&mut self, ino: Ino, chunk: u32, at: u32, len: u32) {
        let id = match self.root(Operation::GrantSlices { count: 1 }) {
            Success::Granted { first, .. } => first,
            other => panic!("{other:?}"),
        };
        self.slices += 1;
        self.root(Operation::Commit(Commit {
            ino,
            slices: vec![NewSlice {
                chunk: ChunkIndex(chunk),
                at,
                id: SliceId(id.0),
                len,
                frame_crcs: vec![7; len.div_ceil(1 << 16) as usize],
            }],
            mtime: None,
        }));
    }

    pub(super) fn asked(source: Ino, parent: Ino, text: &str, rows_max: u32) -> CloneTree {
        CloneTree {
            source,
            parent,
            name: name(text),
            preserve: true,
            umask: 0o022,
            rows_max,
        }
    }

    /// Begins to clone, a few rows at a time.
    pub(super) fn begin(&mut self, source: Ino, parent: Ino, text: &str, rows_max: u32) -> Ino {
        let asked = Self::asked(source, parent, text, rows_max);
        match self.root(Operation::Clone(asked)) {
            Success::Cloning { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }

    /// As a leader does. Says whether more is left.
    pub(super) fn step(&mut self, job: Ino, rows_max: u32) -> bool {
        self.copy_step(job, rows_max) || self.attach_step(job, rows_max)
    }

    /// Copies rows. Says whether some are left.
    pub(super) fn copy_step(&mut self, job: Ino, rows_max: u32) -> bool {
        self.any_step(job, rows_max, None)
    }

    /// Copies rows, and attaches it if none are left.
    pub(super) fn attach_step(&mut self, job: Ino, rows_max: u32) -> bool {
        match self.status(job) {
            Some(status) => self.any_step(job, rows_max, Some((status.parent, status.name))),
            None => false,
        }
    }

    fn any_step(&mut self, job: Ino, rows_max: u32, attach: Option<(Ino, Name)>) -> bool {
        let body = CommandBody::CloneStep {
            job,
            rows_max,
            copies: true,
            attach,
        };
        match self.done(body) {
            Success::Maintained { more, .. } => more,
            other => panic!("{other:?}"),
        }
    }

    /// Steps until nothing is left to do, and how it ended.
    pub(super) fn end(&mut self, job: Ino) -> CloneState {
        for _ in 0..100_000 {
            self.step(job, 64);
            let status = self.status(job).expect("it is told of");
            if !status.is_at_work {
                return status.state;
            }
        }
        panic!("a clone does not end");
    }

    pub(super) fn answer(&self, body: QueryBody) -> Answer {
        let query = Query {
            volume: self.volume,
            caller: Caller::root(),
            body,
        };
        read::answer(&self.kv, &query).expect("an answer").1
    }

    /// An answer or a refusal, but no damage.
    pub(super) fn try_answer(&self, body: QueryBody) {
        let told = format!("{body:?}");
        let query = Query {
            volume: self.volume,
            caller: Caller::root(),
            body,
        };
        let answer = read::answer(&self.kv, &query);
        assert!(!matches!(answer, Err(Stop::Fatal(_))), "{told}");
    }

    pub(super) fn inside(&self, parent: Ino, text: &str) -> Ino {
        let listed = self.entries(parent);
        let found = listed.iter().find(|entry| entry.name == name(text));
        found.expect("a name").ino
    }

    pub(super) fn is_copied(&self, job: Ino, source: Ino) -> bool {
        let row_key = key::of_cloned(self.volume, key::CLONE_COPY, job, source);
        let copy: Option<InoRef> = Tables::new(&self.kv, self.volume)
            .row(&row_key)
            .expect("rows");
        let copies = self.status(job).expect("told").state == CloneState::Copying;
        copies && copy.is_some()
    }

    pub(super) fn status(&self, job: Ino) -> Option<CloneStatus> {
        match self.answer(QueryBody::Clones) {
            Answer::Clones(clones) => clones.into_iter().find(|status| status.job == job),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn entries(&self, ino: Ino) -> Vec<DirEntry> {
        let mut entries = Vec::new();
        let mut after = DentryNumber(0);
        loop {
            let body = QueryBody::ReadDir {
                ino,
                after,
                entries_max: 1000,
                with_attrs: true,
            };
            match self.answer(body) {
                Answer::Entries {
                    entries: page, end, ..
                } => {
                    after = page.last().map_or(after, |entry| entry.number);
                    entries.extend(page);
                    if end {
                        return entries;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(super) fn slices(&self, ino: Ino) -> Vec<(u32, u64, u64, u32, u32, u32)> {
        let body = QueryBody::ReadSlices {
            ino,
            from: SliceCursor {
                chunk: ChunkIndex(0),
                order: crate::ids::SliceOrder(0),
            },
            end: ChunkIndex(100),
        };
        match self.answer(body) {
            Answer::Slices { slices, next, .. } => {
                assert!(next.is_none());
                let fields = slices.iter().map(|slice| {
                    (
                        slice.chunk.0,
                        slice.order.0,
                        slice.id.0,
                        slice.off,
                        slice.len,
                        slice.at,
                    )
                });
                fields.collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// What is below a directory: of each path what can be seen, with a number for the file that is the same
    /// for all its names, and none that differs between a tree and its copy.
    pub(super) fn tree(&self, top: Ino) -> BTreeMap<String, String> {
        let mut seen = BTreeMap::new();
        let mut files: BTreeMap<Ino, usize> = BTreeMap::new();
        let mut left = vec![(String::new(), top)];
        while let Some((path, ino)) = left.pop() {
            for entry in self.entries(ino) {
                let text = String::from_utf8_lossy(entry.name.as_bytes()).into_owned();
                let below = format!("{path}/{text}");
                let count = files.len();
                let file = *files.entry(entry.ino).or_insert(count);
                let attr = entry.attr.expect("attributes");
                let mut told = format!(
                    "{} {file} {:?} {:o} {} {} {} {} {:?} {:?}",
                    entry.number.0,
                    attr.kind,
                    attr.mode,
                    attr.uid,
                    attr.gid,
                    attr.rdev,
                    attr.length,
                    attr.atime,
                    attr.mtime
                );
                if attr.kind == FileKind::Directory {
                    told += &format!(" {}", attr.nlink);
                    left.push((below.clone(), entry.ino));
                }
                if attr.kind == FileKind::Symlink {
                    told += &format!(" {:?}", self.answer(QueryBody::ReadLink { ino: entry.ino }));
                }
                if attr.kind == FileKind::Regular {
                    told += &format!(" {:?}", self.slices(entry.ino));
                }
                let ino = entry.ino;
                if let Answer::Names(names) = self.answer(QueryBody::ListXattr { ino }) {
                    for name in names {
                        let value = self.answer(QueryBody::GetXattr { ino, name });
                        told += &format!(" {value:?}");
                    }
                }
                seen.insert(below, told);
            }
        }
        seen
    }

    pub(super) fn check(&self) {
        let found = check::check(&self.kv, self.volume).expect("a sound store");
        assert_eq!(found, Vec::<String>::new());
    }

    /// Deletes what has no name, as a leader does once nobody holds it.
    pub(super) fn reap(&mut self) {
        loop {
            let body = QueryBody::Orphans {
                after: Ino(0),
                count_max: 100,
            };
            let orphans = match self.answer(body) {
                Answer::Inodes(inos) => inos,
                other => panic!("{other:?}"),
            };
            if orphans.is_empty() {
                return;
            }
            for ino in orphans {
                self.done(CommandBody::Reap {
                    ino,
                    rows_max: 1000,
                });
            }
        }
    }

    pub(super) fn counters(&self) -> crate::row::Counters {
        Tables::new(&self.kv, self.volume)
            .counters()
            .expect("counters")
    }

    /// A tree with a bit of everything, and its top.
    pub(super) fn planted(&mut self, files: usize) -> Ino {
        let top = self.directory(Ino::ROOT, "source");
        let below = self.directory(top, "below");
        self.directory(below, "empty");
        for number in 0..files {
            let parent = if number % 3 == 0 { below } else { top };
            let ino = self.file(parent, &format!("f{number}"));
            if number % 5 == 0 {
                self.write(ino, 0, 0, 100_000);
                self.write(ino, 1, 10, 70_000);
            }
            if number % 7 == 0 {
                self.root(Operation::SetXattr {
                    ino,
                    name: b"user.a".to_vec(),
                    value: vec![1, 2],
                    mode: XattrMode::Set,
                });
            }
        }
        let target = b"to".to_vec();
        self.make(top, "symlink", NewNode::Symlink { target });
        let first = self.file(top, "linked");
        self.root(Operation::Link {
            ino: first,
            parent: below,
            name: name("again"),
        });
        self.write(first, 0, 0, 200_000);
        self.root(Operation::SetAttr(SetAttr {
            ino: first,
            length: Some(150_000),
            ..SetAttr::default()
        }));
        top
    }
}
