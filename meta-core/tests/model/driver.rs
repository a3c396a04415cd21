//! Does each call on the engine and on the model, and compares what comes of it.

use crate::acl::{self, Entry};
use crate::engine::Engine;
use crate::filesystem::{Before, Byte, Change, Errno, FileSystem, Id, New, Node, Over};
use crate::operation::{Op, Pick, callers, names, xattr_names};
use crate::quota::Limits;
use crate::references::Moved;
use meta_core::attr::{Caller, FileKind, Timestamp};
use meta_core::check;
use meta_core::command::{
    Append, AppendSlice, CommandBody, Commit, Create, Existing, Fallocate, FallocateMode, NewNode,
    NewSlice, Operation, RenameMode, SetAttr, SetTime, XattrMode,
};
use meta_core::ids::{ChunkIndex, DentryNumber, Ino, Level};
use meta_core::limits::CHUNK_BYTES;
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal, Removal, Success};
use meta_core::query::{Answer, QueryBody, SliceCursor};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) struct Driver {
    pub(crate) engine: Engine,
    pub(crate) model: FileSystem,
    /// The engine's name of each node of the model.
    pub(crate) inos: Vec<Ino>,
    /// What was seen: kind of call and how it ended.
    pub(crate) seen: BTreeSet<String>,
    /// What is limited, if anything may be.
    pub(crate) limits: Option<Limits>,
    /// What bytes of slices that compaction wrote were before.
    pub(crate) moved: Moved,
}

/// What the engine's refusals are called elsewhere.
pub(crate) fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::NotFound => "ENOENT",
        Refusal::Exists => "EEXIST",
        Refusal::NotDirectory => "ENOTDIR",
        Refusal::IsDirectory => "EISDIR",
        Refusal::NotEmpty => "ENOTEMPTY",
        Refusal::AccessDenied => "EACCES",
        Refusal::NotPermitted => "EPERM",
        Refusal::NameTooLong => "ENAMETOOLONG",
        Refusal::InvalidArgument => "EINVAL",
        Refusal::NotSupported => "EOPNOTSUPP",
        Refusal::FileTooLarge => "EFBIG",
        Refusal::NoAttribute => "ENODATA",
        Refusal::AttributeTooLarge => "E2BIG",
        Refusal::Stale => "ESTALE",
        Refusal::OverQuota => "EDQUOT",
        Refusal::NoSpace => "ENOSPC",
        other => panic!("{other:?} is no answer to a call"),
    }
}

pub(crate) fn name(index: usize) -> Vec<u8> {
    names().swap_remove(index)
}

pub(crate) fn checked(index: usize) -> Name {
    Name::new(name(index)).expect("a valid name")
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self::on(Engine::new())
    }

    pub(crate) fn on(engine: Engine) -> Self {
        let root = engine.attr(Ino::ROOT).expect("a root");
        Self {
            engine,
            model: FileSystem::new(root.mtime),
            inos: vec![Ino::ROOT],
            seen: BTreeSet::new(),
            limits: None,
            moved: Moved::new(),
        }
    }

    pub(crate) fn run(&mut self, calls: &[(usize, Op)]) {
        for (index, (caller, op)) in calls.iter().enumerate() {
            let caller = callers().swap_remove(*caller);
            self.model.spares = self.engine.level < Level(6);
            let before = self.model.clone();
            let ended = self.call(&caller, op);
            let ended = self.limited(op, before, ended);
            let kind = format!("{op:?}");
            let kind: String = kind.chars().take_while(|c| c.is_alphanumeric()).collect();
            self.seen.insert(format!("{kind} {ended}"));
            if index % 20 == 19 {
                self.compare();
            }
        }
        self.compare();
    }

    pub(crate) fn pick(&self, pick: &Pick) -> Id {
        pick.index(self.inos.len())
    }

    /// Directories are picked more often than chance would have it.
    pub(crate) fn pick_dir(&self, pick: &Pick) -> Id {
        let is_dir = |id: &Id| self.model.nodes[*id].kind == FileKind::Directory;
        let dirs: Vec<Id> = (0..self.inos.len()).filter(is_dir).collect();
        // Not one eighth in a row: those would always be the oldest files.
        if pick.index(64).is_multiple_of(8) {
            self.pick(pick)
        } else {
            *pick.get(&dirs)
        }
    }

    fn call(&mut self, caller: &Caller, op: &Op) -> Errno {
        match op {
            Op::Create { .. } => self.create(caller, op),
            Op::RemoveMany {
                dir,
                names,
                skip_trash,
            } => self.remove_many(caller, dir, names, *skip_trash),
            Op::Restore(..) | Op::EmptyTrash(_) | Op::PurgeTrash { .. } | Op::SetTrash(_) => {
                self.trash(caller, op)
            }
            Op::Link { .. } | Op::Remove { .. } | Op::Rename { .. } => self.rename(caller, op),
            Op::Chmod(file, mode) => self.set_attr(
                caller,
                file,
                &Change {
                    mode: Some(*mode),
                    ..Change::default()
                },
            ),
            Op::Chown(file, uid, gid) => self.set_attr(
                caller,
                file,
                &Change {
                    uid: *uid,
                    gid: *gid,
                    ..Change::default()
                },
            ),
            Op::Truncate(file, size) => self.set_attr(
                caller,
                file,
                &Change {
                    size: Some(*size),
                    ..Change::default()
                },
            ),
            Op::Grow(file, size) => self.set_attr(
                caller,
                file,
                &Change {
                    size: Some(*size),
                    grow: true,
                    ..Change::default()
                },
            ),
            Op::Touch(file, at) => self.touch(caller, file, *at),
            Op::Write(file, offset, len) => self.write(caller, file, *offset, *len),
            Op::Hole(file, offset, len, zero) => self.hole(caller, file, (*offset, *len), *zero),
            Op::Copy(_) | Op::Compact(..) | Op::Access(..) => self.references(caller, op),
            Op::SetXattr(..) | Op::RemoveXattr(..) => self.change_xattr(caller, op),
            Op::SetAcl(file, default, entries) => {
                self.set_acl(caller, file, *default, entries.as_deref())
            }
            Op::GetXattr(..) | Op::Open(..) | Op::Lookup(..) => self.ask(caller, op),
            Op::List { dir, page } => self.list(dir, *page),
            Op::Reap { rows } => self.reap(*rows),
            Op::Trim { rows } => self.trim(*rows),
            Op::SetQuota(..) => self.set_quota(caller, op),
            Op::CountFiles(files_max) => {
                let files_max = *files_max;
                self.maintain(CommandBody::CountFiles { files_max });
                "ok"
            }
        }
    }

    fn touch(&mut self, caller: &Caller, file: &Pick, at: Option<u8>) -> Errno {
        let at = at.map(|at| Timestamp {
            seconds: i64::from(at) - 100,
            nanos: 5,
        });
        let change = Change {
            mtime: Some(at),
            ..Change::default()
        };
        self.set_attr(caller, file, &change)
    }

    /// Compares how a call ended on both sides.
    pub(crate) fn agree<E, M>(
        op: &dyn std::fmt::Debug,
        engine: &Result<E, Errno>,
        model: &Result<M, Errno>,
    ) -> Errno {
        let engine = engine.as_ref().err().copied().unwrap_or("ok");
        let model = model.as_ref().err().copied().unwrap_or("ok");
        if model == "ok" && matches!(engine, "EDQUOT" | "ENOSPC") {
            // Whether a limit stands behind it is looked at when the call has ended.
            return engine;
        }
        assert_eq!(engine, model, "the engine and the model differ: {op:?}");
        engine
    }

    pub(crate) fn operate(
        &mut self,
        caller: &Caller,
        operation: Operation,
    ) -> (Timestamp, Result<Success, Errno>) {
        let (stamp, outcome) = self.engine.request(caller, operation);
        let ended = match outcome {
            Outcome::Done(success) => Ok(success),
            Outcome::Refused(refusal) => Err(errno(refusal)),
            Outcome::NotExecuted(why) => panic!("{why:?}"),
        };
        (stamp, ended)
    }

    fn create(&mut self, caller: &Caller, op: &Op) -> Errno {
        let Op::Create {
            dir,
            name: index,
            new,
            mode,
            umask,
            open,
        } = op
        else {
            unreachable!("called for a create");
        };
        let dir = self.pick_dir(dir);
        let node = match new.clone() {
            New::File => NewNode::Regular,
            New::Dir => NewNode::Directory,
            New::Symlink(target) => NewNode::Symlink { target },
            New::Special(kind, rdev) => NewNode::Special { kind, rdev },
        };
        let existing = match *open {
            None => Existing::Refuse,
            Some((read, write)) => Existing::Open { read, write },
        };
        let create = Operation::Create(Create {
            parent: self.inos[dir],
            name: checked(*index),
            mode: *mode & !*umask,
            masked: *mode & *umask & 0o777,
            node,
            existing,
        });
        let (now, engine) = self.operate(caller, create);
        let place = (dir, &*name(*index));
        let model = self
            .model
            .create(place, new, (*mode, *umask), *open, caller, now);
        if let (Ok(Success::Entry { attr, created }), Ok((id, made))) = (&engine, &model) {
            assert_eq!(created, made, "{op:?}");
            if *made {
                self.inos.push(attr.ino);
            }
            assert_eq!(self.inos[*id], attr.ino, "{op:?}");
        }
        Self::agree(op, &engine, &model)
    }

    fn rename(&mut self, caller: &Caller, op: &Op) -> Errno {
        match op {
            Op::Link {
                file,
                dir,
                name: index,
            } => {
                let (file, dir) = (self.pick(file), self.pick_dir(dir));
                let link = Operation::Link {
                    ino: self.inos[file],
                    parent: self.inos[dir],
                    name: checked(*index),
                };
                let (now, engine) = self.operate(caller, link);
                let model = self.model.link(file, dir, &name(*index), caller, now);
                Self::agree(op, &engine, &model)
            }
            Op::Remove {
                dir,
                name: index,
                rmdir,
            } => {
                let dir = self.pick_dir(dir);
                let (parent, removed) = (self.inos[dir], checked(*index));
                let remove = if *rmdir {
                    Operation::Rmdir {
                        parent,
                        name: removed,
                    }
                } else {
                    Operation::Unlink {
                        parent,
                        name: removed,
                    }
                };
                let (now, engine) = self.operate(caller, remove);
                let model = self.model.remove(dir, &name(*index), *rmdir, caller, now);
                if let (Ok(Success::Removed { ino, nlink }), Ok(id)) = (&engine, &model) {
                    let node = &self.model.nodes[*id];
                    assert_eq!((*ino, *nlink), (self.inos[*id], node.nlink), "{op:?}");
                }
                Self::agree(op, &engine, &model)
            }
            Op::Rename { from, to, over } => {
                let (old, new) = (self.pick_dir(&from.0), self.pick_dir(&to.0));
                let rename = Operation::Rename {
                    parent: self.inos[old],
                    name: checked(from.1),
                    new_parent: self.inos[new],
                    new_name: checked(to.1),
                    mode: match over {
                        Over::Replace => RenameMode::Replace,
                        Over::Refuse => RenameMode::NoReplace,
                        Over::Exchange => RenameMode::Exchange,
                    },
                };
                let (now, engine) = self.operate(caller, rename);
                let (from, to) = ((old, &*name(from.1)), (new, &*name(to.1)));
                let model = self.model.rename(from, to, *over, caller, now);
                if let (Ok(Success::Renamed { replaced, .. }), Ok(lost)) = (&engine, &model) {
                    let lost = lost.map(|id| (self.inos[id], self.model.nodes[id].nlink));
                    assert_eq!(*replaced, lost, "{op:?}");
                }
                Self::agree(op, &engine, &model)
            }
            other => unreachable!("{other:?} moves no name"),
        }
    }

    fn remove_many(
        &mut self,
        caller: &Caller,
        dir: &Pick,
        indices: &[usize],
        skip_trash: bool,
    ) -> Errno {
        let dir = self.pick_dir(dir);
        let remove = Operation::RemoveEntries {
            parent: self.inos[dir],
            names: indices.iter().map(|index| checked(*index)).collect(),
            skip_trash,
        };
        let (now, engine) = self.operate(caller, remove);
        let names: Vec<Vec<u8>> = indices.iter().map(|index| name(*index)).collect();
        let model = self.model.remove_many(dir, &names, skip_trash, caller, now);
        let op = (dir, indices);
        let ended = Self::agree(&op, &engine, &model);
        let (Ok(Success::RemovedEntries(removals)), Ok(each)) = (engine, model) else {
            return ended;
        };
        assert_eq!(removals.len(), each.len(), "{op:?}");
        let each = removals.into_iter().zip(each).map(|(removal, model)| {
            let engine = match removal {
                Removal::Removed { nlink } => Ok(nlink),
                Removal::Refused(refusal) => Err(errno(refusal)),
            };
            assert_eq!(engine.ok(), model.ok(), "names left: {op:?}");
            Self::agree(&op, &engine, &model)
        });
        // Of many ends one that is not good says more.
        each.fold("ok", |ended, next| if ended == "ok" { next } else { ended })
    }

    fn set_attr(&mut self, caller: &Caller, file: &Pick, change: &Change) -> Errno {
        let file = self.pick(file);
        let time = |at: Option<Timestamp>| at.map_or(SetTime::Now, SetTime::At);
        let set = Operation::SetAttr(SetAttr {
            ino: self.inos[file],
            mode: change.mode,
            uid: change.uid,
            gid: change.gid,
            length: change.size,
            grow_only: change.grow,
            mtime: change.mtime.map(time),
            atime: change.mtime.filter(Option::is_none).map(time),
            ..SetAttr::default()
        });
        let (now, engine) = self.operate(caller, set);
        let model = self.model.set_attr(file, change, caller, now);
        Self::agree(change, &engine, &model)
    }

    fn write(&mut self, caller: &Caller, file: &Pick, offset: Option<u64>, len: u32) -> Errno {
        let file = self.pick(file);
        let (ino, op) = (self.inos[file], (offset, len));
        let mut pieces = Vec::new();
        let operation = match offset {
            None => {
                let id = self.engine.slice();
                pieces.push((id.0, len));
                let frame_crcs = vec![7];
                let slices = vec![AppendSlice {
                    id,
                    len,
                    frame_crcs,
                }];
                Operation::Append(Append { ino, slices })
            }
            Some(offset) => {
                let mut slices = Vec::new();
                let (mut begin, end) = (offset, offset + u64::from(len));
                while begin < end {
                    let border = (begin / CHUNK_BYTES + 1) * CHUNK_BYTES;
                    let len = (end.min(border) - begin) as u32;
                    let id = self.engine.slice();
                    pieces.push((id.0, len));
                    slices.push(NewSlice {
                        chunk: ChunkIndex((begin / CHUNK_BYTES) as u32),
                        at: (begin % CHUNK_BYTES) as u32,
                        id,
                        len,
                        frame_crcs: vec![7],
                    });
                    begin += u64::from(len);
                }
                let mtime = None;
                Operation::Commit(Commit { ino, slices, mtime })
            }
        };
        let (now, engine) = self.operate(caller, operation);
        let before = self.model.nodes[file].clone();
        let model = self.model.write(file, offset, &pieces, caller, now);
        if model.is_err() {
            self.model.nodes[file] = before;
        }
        if let (Ok(Success::Appended { offset, .. }), Ok(place)) = (&engine, &model) {
            assert_eq!(offset, place, "{op:?}");
        }
        Self::agree(&op, &engine, &model)
    }

    fn hole(
        &mut self,
        caller: &Caller,
        file: &Pick,
        (offset, len): (u64, u64),
        zero: bool,
    ) -> Errno {
        let file = self.pick(file);
        let ino = self.inos[file];
        let mode = if zero {
            FallocateMode::Zero
        } else {
            FallocateMode::Punch
        };
        let (now, engine) = self.operate(
            caller,
            Operation::Fallocate(Fallocate {
                ino,
                offset,
                len,
                mode,
            }),
        );
        let model = self.model.hole(file, (offset, len), zero, caller, now);
        if let Ok(Success::Fallocated { next, .. }) = &engine {
            assert_eq!(*next, offset + len, "few slices are done with at once");
        }
        Self::agree(&(offset, len, zero), &engine, &model)
    }

    fn change_xattr(&mut self, caller: &Caller, op: &Op) -> Errno {
        let (file, index) = match op {
            Op::SetXattr(file, index, ..) | Op::RemoveXattr(file, index) => (file, *index),
            other => unreachable!("{other:?} changes no attribute"),
        };
        let file = self.pick(file);
        let (ino, attribute) = (self.inos[file], xattr_names().swap_remove(index));
        let name = attribute.clone();
        match op {
            Op::SetXattr(_, _, value, before) => {
                let value = vec![*value];
                let mode = match before {
                    Before::Any => XattrMode::Set,
                    Before::Absent => XattrMode::Create,
                    Before::Present => XattrMode::Replace,
                };
                let set = Operation::SetXattr {
                    ino,
                    name,
                    value: value.clone(),
                    mode,
                };
                let (now, engine) = self.operate(caller, set);
                let pair = (&*attribute, value);
                let model = self.model.set_xattr(file, pair, *before, caller, now);
                Self::agree(op, &engine, &model)
            }
            _ => {
                let remove = Operation::RemoveXattr { ino, name };
                let (now, engine) = self.operate(caller, remove);
                let model = self.model.remove_xattr(file, &attribute, caller, now);
                Self::agree(op, &engine, &model)
            }
        }
    }

    fn set_acl(
        &mut self,
        caller: &Caller,
        file: &Pick,
        default: bool,
        entries: Option<&[Entry]>,
    ) -> Errno {
        let file = self.pick(file);
        let ino = self.inos[file];
        let name = if default { acl::DEFAULT } else { acl::ACCESS };
        let operation = match entries {
            Some(entries) => Operation::SetXattr {
                ino,
                name: name.to_vec(),
                value: acl::written(entries),
                mode: XattrMode::Set,
            },
            None => Operation::RemoveXattr {
                ino,
                name: name.to_vec(),
            },
        };
        let (now, engine) = self.operate(caller, operation);
        let model = self.model.set_acl(file, default, entries, caller, now);
        Self::agree(&(default, entries), &engine, &model)
    }

    fn ask(&mut self, caller: &Caller, op: &Op) -> Errno {
        match op {
            Op::GetXattr(file, index) => {
                let file = self.pick(file);
                let name = xattr_names().swap_remove(*index);
                let model = self.model.get_xattr(file, &name, caller);
                let ino = self.inos[file];
                let engine = self.engine.ask(caller, QueryBody::GetXattr { ino, name });
                if let (Ok(Answer::Bytes(found)), Ok(value)) = (&engine, &model) {
                    assert_eq!(found, value, "{op:?}");
                }
                Self::agree(op, &engine.map_err(errno), &model)
            }
            Op::Open(file, read, write) => {
                let file = self.pick(file);
                let (ino, read, write) = (self.inos[file], *read, *write);
                let engine = self
                    .engine
                    .ask(caller, QueryBody::Open { ino, read, write });
                let model = self.model.open(file, read, write, caller);
                Self::agree(op, &engine.map_err(errno), &model)
            }
            Op::Lookup(dir, index) => {
                let dir = self.pick_dir(dir);
                let body = QueryBody::Lookup {
                    parent: self.inos[dir],
                    name: checked(*index),
                };
                let engine = self.engine.ask(caller, body);
                let model = self.model.lookup(dir, &name(*index), caller);
                if let (Ok(Answer::Attr(attr)), Ok(id)) = (&engine, &model) {
                    assert_eq!(attr.ino, self.inos[*id], "{op:?}");
                }
                Self::agree(op, &engine.map_err(errno), &model)
            }
            other => unreachable!("{other:?} is no question"),
        }
    }

    fn entries(&self, ino: Ino, page: u32) -> Result<BTreeMap<Vec<u8>, Ino>, Refusal> {
        let mut found = BTreeMap::new();
        let mut after = DentryNumber(0);
        loop {
            let body = QueryBody::ReadDir {
                ino,
                after,
                entries_max: page,
                with_attrs: true,
            };
            let Answer::Entries { entries, end, .. } = self.engine.ask(&Caller::root(), body)?
            else {
                panic!("a listing is answered by something else");
            };
            for entry in entries {
                assert!(entry.number > after, "numbers rise");
                after = entry.number;
                assert_eq!(entry.attr, self.engine.attr(entry.ino).ok());
                let known = found.insert(entry.name.as_bytes().to_vec(), entry.ino);
                assert_eq!(known, None, "a name came twice");
            }
            if end {
                return Ok(found);
            }
        }
    }

    fn list(&self, dir: &Pick, page: u32) -> Errno {
        let dir = self.pick_dir(dir);
        let node = &self.model.nodes[dir];
        let model = match node.kind {
            _ if node.gone => Err("ESTALE"),
            FileKind::Directory => Ok(()),
            _ => Err("ENOTDIR"),
        };
        let engine = self.entries(self.inos[dir], page);
        if let Ok(entries) = &engine {
            assert_eq!(*entries, self.expected_entries(node));
        }
        Self::agree(&dir, &engine.map_err(errno), &model)
    }

    fn expected_entries(&self, node: &Node) -> BTreeMap<Vec<u8>, Ino> {
        let entries = node.entries.iter();
        entries
            .map(|(name, id)| (name.clone(), self.inos[*id]))
            .collect()
    }

    /// Of every other time all files with one command.
    fn reap(&mut self, rows_max: u32) -> Errno {
        // What is in the trash is asked for, too, and stays.
        let gone = |id: &usize| self.model.nodes[*id].nlink == 0 && !self.model.nodes[*id].gone;
        let ids: Vec<usize> = (0..self.inos.len()).filter(gone).collect();
        let inos: Vec<Ino> = ids.iter().map(|id| self.inos[*id]).collect();
        let ways: Vec<CommandBody> = if self.inos.len().is_multiple_of(2) {
            vec![CommandBody::ReapFiles { inos, rows_max }]
        } else {
            let one = |ino| CommandBody::Reap { ino, rows_max };
            inos.into_iter().map(one).collect()
        };
        for body in ways {
            while self.maintain(body.clone()) {}
        }
        ids.into_iter().for_each(|id| self.model.reap(id));
        "ok"
    }

    /// One step for each file that has something to trim.
    fn trim(&mut self, rows_max: u32) -> Errno {
        let body = QueryBody::Cuts {
            after: Ino(0),
            count_max: u32::MAX,
        };
        let Ok(Answer::Inodes(cut)) = self.engine.ask(&Caller::root(), body) else {
            panic!("truncated files are not told");
        };
        for ino in cut {
            self.maintain(CommandBody::Trim { ino, rows_max });
        }
        "ok"
    }

    pub(crate) fn maintain(&mut self, body: CommandBody) -> bool {
        match self.engine.run(body).outcome {
            Outcome::Done(Success::Maintained { more, .. }) => more,
            other => panic!("{other:?}"),
        }
    }

    /// Compares the whole tree.
    fn compare(&self) {
        for (id, node) in self.model.nodes.iter().enumerate() {
            let ino = self.inos[id];
            let attr = match self.engine.attr(ino) {
                Err(refusal) => {
                    assert!(node.gone && refusal == Refusal::Stale, "{ino}: {refusal}");
                    continue;
                }
                Ok(attr) => attr,
            };
            assert!(!node.gone, "{ino} is still there");
            let seen = (attr.kind, attr.mode, attr.uid, attr.gid, attr.rdev);
            assert_eq!(seen, (node.kind, node.mode, node.uid, node.gid, node.rdev));
            assert_eq!(attr.nlink, node.nlink, "{ino}: {node:?}");
            let times = (attr.atime, attr.mtime, attr.ctime);
            assert_eq!(
                times,
                (node.atime, node.mtime, node.ctime),
                "{ino}: {node:?}"
            );
            self.compare_content(ino, node, attr.length);
            self.compare_xattrs(ino, node);
        }
        let stat = self.engine.stat();
        let totals = (stat.inodes, stat.bytes, stat.orphans);
        assert_eq!(totals, self.model.totals());
        self.compare_trash();
        self.compare_quotas();
        let broken = check::check(&self.engine.kv, self.engine.volume).expect("a sound store");
        assert_eq!(broken, Vec::<String>::new());
    }

    fn compare_content(&self, ino: Ino, node: &Node, length: u64) {
        let root = Caller::root();
        match node.kind {
            FileKind::Regular => {
                assert_eq!(length, node.size, "{ino}: {node:?}");
                assert_eq!(self.bytes(ino, length), node.bytes, "{ino}");
            }
            FileKind::Directory => {
                assert_eq!(length, node.entries.len() as u64);
                let entries = self.entries(ino, 3).expect("a directory");
                assert_eq!(entries, self.expected_entries(node), "{ino}");
            }
            FileKind::Symlink => {
                let target = self.engine.ask(&root, QueryBody::ReadLink { ino });
                assert_eq!(target, Ok(Answer::Bytes(node.target.clone())));
            }
            _ => assert_eq!(length, 0),
        }
    }

    /// What a reader sees: later slices over earlier ones.
    fn bytes(&self, ino: Ino, length: u64) -> BTreeMap<u64, Byte> {
        let mut bytes = BTreeMap::new();
        let mut from = Some(SliceCursor::default());
        while let Some(cursor) = from {
            let body = QueryBody::ReadSlices {
                ino,
                from: cursor,
                end: ChunkIndex(u32::MAX),
            };
            let Ok(Answer::Slices { slices, next, .. }) = self.engine.ask(&Caller::root(), body)
            else {
                panic!("slices are not told");
            };
            for slice in slices {
                let begin = u64::from(slice.chunk.0) * CHUNK_BYTES + u64::from(slice.at);
                let placed = (0..slice.len).map(|n| (begin + u64::from(n), slice.off + n));
                bytes.extend(placed.map(|(place, at)| {
                    let byte = (slice.id.0, at);
                    (place, self.moved.get(&byte).copied().unwrap_or(byte))
                }));
            }
            from = next;
        }
        let _behind = bytes.split_off(&length);
        bytes
    }

    fn compare_xattrs(&self, ino: Ino, node: &Node) {
        let root = Caller::root();
        let Ok(Answer::Names(mut found)) = self.engine.ask(&root, QueryBody::ListXattr { ino })
        else {
            panic!("attributes are not listed");
        };
        found.sort();
        let expected: Vec<Vec<u8>> = node.xattrs.keys().cloned().collect();
        assert_eq!(found, expected, "{ino}");
        for name in [acl::ACCESS, acl::DEFAULT] {
            let name = name.to_vec();
            let expected = node.xattrs.get(&name).cloned();
            let found = self.engine.ask(&root, QueryBody::GetXattr { ino, name });
            let expected = expected.map(Answer::Bytes).ok_or(Refusal::NoAttribute);
            let is_link = node.kind == FileKind::Symlink;
            let expected = if is_link {
                Err(Refusal::NotSupported)
            } else {
                expected
            };
            assert_eq!(found, expected, "{ino}");
        }
    }
}
