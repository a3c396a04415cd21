//! Ranges that are copied, slices that become fewer, and times of access.

use crate::driver::Driver;
use crate::engine::Engine;
use crate::filesystem::{Byte, Errno, FileSystem, Id, SIZE_MAX};
use crate::operation::{Op, Pick};
use meta_core::attr::{Caller, FileKind, Timestamp};
use meta_core::chunk::resolve;
use meta_core::command::{CopyRange, NewSlice, Operation};
use meta_core::compaction::{Compact, Effort, runs, seen};
use meta_core::ids::{ChunkIndex, Ino, Level, SliceOrder};
use meta_core::limits::{CHUNK_BYTES, COMPACT_LOOK_EVERY};
use meta_core::outcome::{Outcome, Refusal, Success};
use meta_core::query::{Answer, QueryBody, Slice};
use std::collections::BTreeMap;

/// Two ranges of equal length: file and offset of each.
#[derive(Clone, Debug)]
pub(crate) struct Ranges {
    pub(crate) from: (Pick, u64),
    pub(crate) to: (Pick, u64),
    pub(crate) len: u64,
}

/// What bytes of slices that compaction wrote were before.
pub(crate) type Moved = BTreeMap<Byte, Byte>;

impl FileSystem {
    /// Bytes of one file become those of another one. Says how many.
    pub(crate) fn copy(
        &mut self,
        from: (Id, u64),
        to: (Id, u64),
        len: u64,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<u64, Errno> {
        for id in [from.0, to.0] {
            match self.there(id)?.kind {
                FileKind::Regular => {}
                FileKind::Directory => return Err("EISDIR"),
                _ => return Err("EINVAL"),
            }
        }
        if len == 0 {
            return Err("EINVAL");
        }
        let copied = len.min(self.nodes[from.0].size.saturating_sub(from.1));
        if copied > 0 && to.1 >= SIZE_MAX {
            return Err("EFBIG");
        }
        let copied = copied.min(SIZE_MAX.saturating_sub(to.1));
        if from.0 == to.0 && from.1.abs_diff(to.1) < len {
            return Err("EINVAL");
        }
        let source = self.nodes[from.0].bytes.range(from.1..from.1 + copied);
        let source: Vec<(u64, Byte)> = source.map(|(at, byte)| (at - from.1, *byte)).collect();
        let spares = self.spares;
        let node = &mut self.nodes[to.0];
        if copied > 0 {
            let end = to.1 + copied;
            node.bytes.retain(|at, _| *at < to.1 || *at >= end);
            let placed = source.into_iter().map(|(at, byte)| (to.1 + at, byte));
            node.bytes.extend(placed);
            node.size = node.size.max(end);
            node.changed(now);
            if caller.uid != 0 {
                node.lose_privilege(caller, spares);
            }
        }
        Ok(copied)
    }
}

impl Driver {
    pub(crate) fn references(&mut self, caller: &Caller, op: &Op) -> Errno {
        match op {
            _ if self.engine.level < Level(5) => "EOPNOTSUPP",
            Op::Copy(ranges) => self.copy(caller, ranges),
            Op::Compact(file, all) => self.compact(file, *all),
            Op::Access(file, at) => self.access(file, *at),
            other => unreachable!("{other:?} has nothing to do with slices"),
        }
    }

    fn copy(&mut self, caller: &Caller, ranges: &Ranges) -> Errno {
        let (from, to) = (self.pick(&ranges.from.0), self.pick(&ranges.to.0));
        let mut asked = CopyRange {
            from: self.inos[from],
            offset: ranges.from.1,
            to: self.inos[to],
            to_offset: ranges.to.1,
            len: ranges.len,
        };
        // A file that is copied in itself may grow by it.
        let length = self.model.nodes[from].size;
        let mut all = 0;
        let (now, engine) = loop {
            let (now, ended) = self.operate(caller, Operation::CopyRange(asked));
            let Ok(Success::Copied { len, .. }) = &ended else {
                break (now, ended);
            };
            all += len;
            asked.offset += len;
            asked.to_offset += len;
            asked.len -= len;
            if asked.len == 0 || asked.offset >= length || asked.to_offset == SIZE_MAX {
                break (now, ended);
            }
            assert!(*len > 0, "a copy goes on");
        };
        let before = self.model.clone();
        let places = ((from, ranges.from.1), (to, ranges.to.1));
        let model = self.model.copy(places.0, places.1, ranges.len, caller, now);
        if let (Ok(_), Ok(len)) = (&engine, &model) {
            assert_eq!(all, *len, "{ranges:?}");
        }
        if engine.is_err() {
            // What is refused may still be due to a limit, which the caller of this looks at.
            assert_eq!(all, 0, "a copy that was refused half-way: {ranges:?}");
        }
        if model.is_err() {
            self.model = before;
        }
        Self::agree(ranges, &engine, &model)
    }

    /// Compacts all chunks of a file that has written bytes.
    fn compact(&mut self, file: &Pick, all: bool) -> Errno {
        let file = self.pick(file);
        let node = &self.model.nodes[file];
        if node.gone || node.kind != FileKind::Regular {
            return "nothing";
        }
        let mut chunks: Vec<u32> = node
            .bytes
            .keys()
            .map(|at| u32::try_from(at / CHUNK_BYTES).expect("a chunk"))
            .collect();
        chunks.dedup();
        let effort = if all { Effort::All } else { Effort::Enough };
        let mut ended = "nothing";
        for chunk in chunks {
            while compact_once(self, self.inos[file], ChunkIndex(chunk), effort) {
                ended = "ok";
            }
        }
        ended
    }

    fn access(&mut self, file: &Pick, at: Option<u8>) -> Errno {
        let file = self.pick(file);
        let seconds = at.map_or(self.engine.clock() + 100, i64::from);
        let at = Timestamp { seconds, nanos: 7 };
        let files = vec![(self.inos[file], at)];
        let (now, engine) = self.operate(&Caller::root(), Operation::Accessed { files });
        assert!(engine.is_ok(), "{engine:?}");
        let node = &mut self.model.nodes[file];
        if !node.gone {
            node.atime = node.atime.max(at.min(now));
        }
        "ok"
    }
}

pub(crate) fn plan(engine: &Engine, ino: Ino, chunk: ChunkIndex, effort: Effort) -> Vec<Slice> {
    let body = QueryBody::PlanCompaction { ino, chunk, effort };
    match engine.ask(&Caller::root(), body) {
        Ok(Answer::Compaction(slices)) => slices,
        other => panic!("{other:?}"),
    }
}

/// The new slices for old ones, and what their bytes were.
fn rewritten(engine: &mut Engine, old: &[Slice]) -> (Vec<NewSlice>, Moved) {
    let (mut new, mut moved) = (Vec::new(), Moved::new());
    for run in runs(old.iter().map(|slice| slice.at..slice.at + slice.len)) {
        let id = engine.slice();
        for piece in resolve(old, run.clone()) {
            let (index, off) = piece.data.expect("a run has no gap");
            for byte in 0..piece.len {
                let from = (old[index].id.0, off + byte);
                moved.insert((id.0, piece.at - run.start + byte), from);
            }
        }
        let len = run.end - run.start;
        new.push(NewSlice {
            chunk: old[0].chunk,
            at: run.start,
            id,
            len,
            frame_crcs: vec![9; len.div_ceil(64 << 10) as usize],
        });
    }
    (new, moved)
}

/// Whether there was something to compact.
fn compact_once(driver: &mut Driver, ino: Ino, chunk: ChunkIndex, effort: Effort) -> bool {
    let old = plan(&driver.engine, ino, chunk, effort);
    let (Some(first), Some(last)) = (old.first(), old.last()) else {
        return false;
    };
    let (first, last) = (first.order, last.order);
    let (slices, moved) = rewritten(&mut driver.engine, &old);
    assert!(slices.len() < old.len(), "fewer than before");
    let right = Compact {
        ino,
        chunk,
        first,
        last,
        seen: seen(&old),
        slices,
    };
    let wrong = Compact {
        seen: seen(&old[1..]),
        ..right.clone()
    };
    for (asked, expected) in [(wrong, Some(Refusal::Changed)), (right, None)] {
        let (_, ended) = driver
            .engine
            .request(&Caller::root(), Operation::Compact(asked));
        match ended {
            Outcome::Done(Success::Done) => assert_eq!(expected, None),
            Outcome::Refused(refusal) => assert_eq!(Some(refusal), expected),
            other => panic!("{other:?}"),
        }
    }
    let moved = moved.into_iter().map(|(new, old)| {
        let old = driver.moved.get(&old).copied().unwrap_or(old);
        (new, old)
    });
    let moved: Vec<(Byte, Byte)> = moved.collect();
    driver.moved.extend(moved);
    true
}

/// A file with so many slices of 10 bytes, one after the other.
fn appended(driver: &mut Driver, count: u64) -> Ino {
    use meta_core::command::{Append, AppendSlice, Create, Existing, NewNode};
    let create = Operation::Create(Create {
        parent: Ino::ROOT,
        name: crate::driver::checked(0),
        mode: 0o644,
        masked: 0,
        node: NewNode::Regular,
        existing: Existing::Refuse,
    });
    let ino = match driver.operate(&Caller::root(), create).1 {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    };
    for _ in 0..count {
        let slices = vec![AppendSlice {
            id: driver.engine.slice(),
            len: 10,
            frame_crcs: vec![7],
        }];
        let appended = Operation::Append(Append { ino, slices });
        let (_, ended) = driver.operate(&Caller::root(), appended);
        assert!(ended.is_ok(), "{ended:?}");
    }
    ino
}

fn marks(engine: &Engine) -> Vec<(Ino, ChunkIndex)> {
    let body = QueryBody::Compactable {
        after: (Ino(0), ChunkIndex(0)),
        count_max: 100,
    };
    match engine.ask(&Caller::root(), body) {
        Ok(Answer::Chunks(chunks)) => chunks,
        other => panic!("{other:?}"),
    }
}

fn request(driver: &mut Driver, operation: Operation) -> Outcome {
    driver.engine.request(&Caller::root(), operation).1
}

#[test]
fn a_chunk_with_many_slices_is_told_until_nothing_can_be_made_better() {
    let mut driver = Driver::new();
    let ino = appended(&mut driver, COMPACT_LOOK_EVERY - 1);
    assert_eq!(marks(&driver.engine), []);
    let other = Operation::Accessed {
        files: vec![(ino, Timestamp::default())],
    };
    request(&mut driver, other);
    assert_eq!(marks(&driver.engine), [], "no slice came");
    let name = crate::driver::checked(0);
    let unlink = Operation::Unlink {
        parent: Ino::ROOT,
        name,
    };
    request(&mut driver, unlink);
    let ino = appended(&mut driver, COMPACT_LOOK_EVERY);
    let chunk = ChunkIndex(0);
    assert_eq!(marks(&driver.engine), [(ino, chunk)]);
    while compact_once(&mut driver, ino, chunk, Effort::Enough) {}
    assert_eq!(marks(&driver.engine), [(ino, chunk)], "until it is said");
    let nothing = Compact {
        ino,
        chunk,
        first: SliceOrder(0),
        last: SliceOrder(0),
        seen: 0,
        slices: Vec::new(),
    };
    let ended = request(&mut driver, Operation::Compact(nothing));
    assert!(matches!(ended, Outcome::Done(Success::Done)), "{ended:?}");
    assert_eq!(marks(&driver.engine), []);
}

#[test]
fn only_what_covers_the_same_bytes_takes_the_place_of_slices() {
    let mut driver = Driver::new();
    let ino = appended(&mut driver, 20);
    let chunk = ChunkIndex(0);
    let old = plan(&driver.engine, ino, chunk, Effort::All);
    assert_eq!(old.len(), 20);
    let part = |driver: &mut Driver, at: u32, len: u32| NewSlice {
        chunk,
        at,
        id: driver.engine.slice(),
        len,
        frame_crcs: vec![7],
    };
    let asked = |slices| Compact {
        ino,
        chunk,
        first: old[0].order,
        last: old[19].order,
        seen: seen(&old),
        slices,
    };
    let whole = part(&mut driver, 0, 200);
    let short = part(&mut driver, 0, 199);
    let long = part(&mut driver, 0, 201);
    let over = vec![part(&mut driver, 0, 150), part(&mut driver, 100, 100)];
    let gap = vec![part(&mut driver, 0, 100), part(&mut driver, 110, 90)];
    let elsewhere = NewSlice {
        chunk: ChunkIndex(1),
        ..whole.clone()
    };
    let many: Vec<NewSlice> = (0..20).map(|at| part(&mut driver, at * 10, 10)).collect();
    // The first gets the lower order, and covers the highest.
    let low = vec![part(&mut driver, 100, 100), part(&mut driver, 0, 100)];
    for slices in [
        vec![short],
        vec![long],
        over,
        gap,
        vec![elsewhere],
        many,
        low,
    ] {
        let ended = request(&mut driver, Operation::Compact(asked(slices)));
        assert_eq!(ended, Outcome::Refused(Refusal::InvalidArgument));
    }
    let stranger = Caller {
        uid: 1,
        gid: 1,
        groups: Vec::new(),
    };
    let ask = Operation::Compact(asked(vec![whole.clone()]));
    let (_, ended) = driver.engine.request(&stranger, ask.clone());
    assert_eq!(ended, Outcome::Refused(Refusal::NotPermitted));
    assert_eq!(
        request(&mut driver, ask.clone()),
        Outcome::Done(Success::Done)
    );
    let ended = request(&mut driver, ask);
    assert_eq!(ended, Outcome::Refused(Refusal::Changed), "it was done");
}

#[test]
fn a_write_meanwhile_stays_above_what_was_compacted() {
    let mut driver = Driver::new();
    let ino = appended(&mut driver, 20);
    let chunk = ChunkIndex(0);
    let old = plan(&driver.engine, ino, chunk, Effort::All);
    let (slices, _) = rewritten(&mut driver.engine, &old);
    let asked = Compact {
        ino,
        chunk,
        first: old[0].order,
        last: old[19].order,
        seen: seen(&old),
        slices,
    };
    let id = driver.engine.slice();
    let write = Operation::Commit(meta_core::command::Commit {
        ino,
        slices: vec![NewSlice {
            chunk,
            at: 95,
            id,
            len: 10,
            frame_crcs: vec![7],
        }],
        mtime: None,
    });
    assert!(matches!(request(&mut driver, write), Outcome::Done(_)));
    let compact = Operation::Compact(asked);
    assert_eq!(request(&mut driver, compact), Outcome::Done(Success::Done));
    let body = QueryBody::ReadSlices {
        ino,
        from: meta_core::query::SliceCursor::default(),
        end: ChunkIndex(1),
    };
    let Ok(Answer::Slices { slices, .. }) = driver.engine.ask(&Caller::root(), body) else {
        panic!("slices are not told");
    };
    let ids: Vec<u64> = slices.iter().map(|slice| slice.id.0).collect();
    assert_eq!((ids.len(), ids[1]), (2, id.0), "the later write is on top");
}

#[test]
fn a_truncation_meanwhile_cuts_what_was_compacted() {
    let mut driver = Driver::new();
    let ino = appended(&mut driver, 20);
    let chunk = ChunkIndex(0);
    let old = plan(&driver.engine, ino, chunk, Effort::All);
    let (slices, _) = rewritten(&mut driver.engine, &old);
    let asked = Compact {
        ino,
        chunk,
        first: old[0].order,
        last: old[19].order,
        seen: seen(&old),
        slices,
    };
    let cut = meta_core::command::SetAttr {
        ino,
        length: Some(50),
        ..Default::default()
    };
    assert!(matches!(
        request(&mut driver, Operation::SetAttr(cut)),
        Outcome::Done(_)
    ));
    // The truncation lies above all of them: what is behind it is cut off the new one, too.
    let compact = Operation::Compact(asked);
    assert_eq!(request(&mut driver, compact), Outcome::Done(Success::Done));
    let body = QueryBody::ReadSlices {
        ino,
        from: meta_core::query::SliceCursor::default(),
        end: ChunkIndex(1),
    };
    let Ok(Answer::Slices { slices, .. }) = driver.engine.ask(&Caller::root(), body) else {
        panic!("slices are not told");
    };
    let shown: Vec<(u32, u32)> = slices.iter().map(|slice| (slice.at, slice.len)).collect();
    assert_eq!(shown, [(0, 50)]);
}

/// A range with very many slices is copied in steps, and shared by both sides to the end.
#[test]
fn a_copy_of_many_slices_goes_in_bounded_steps() {
    let mut driver = Driver::new();
    let ino = appended(&mut driver, 3000);
    let create = Operation::Create(meta_core::command::Create {
        parent: Ino::ROOT,
        name: crate::driver::checked(1),
        mode: 0o644,
        masked: 0,
        node: meta_core::command::NewNode::Regular,
        existing: meta_core::command::Existing::Refuse,
    });
    let to = match driver.operate(&Caller::root(), create).1 {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    };
    let mut steps = Vec::new();
    let mut done = 0;
    while done < 30_000 {
        let asked = CopyRange {
            from: ino,
            offset: done,
            to,
            to_offset: done,
            len: 40_000 - done,
        };
        match request(&mut driver, Operation::CopyRange(asked)) {
            Outcome::Done(Success::Copied { len, .. }) => {
                steps.push(len);
                done += len;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(steps, [10_240, 10_240, 9520]);
    let shared =
        |engine: &Engine| crate::bounds::rows_of(engine, meta_core::key::Table::SharedSlice);
    assert_eq!(shared(&driver.engine), 3000);
    let unlink = |index| Operation::Unlink {
        parent: Ino::ROOT,
        name: crate::driver::checked(index),
    };
    for (index, gone) in [(0, ino), (1, to)] {
        assert!(matches!(
            request(&mut driver, unlink(index)),
            Outcome::Done(_)
        ));
        let pending = driver.engine.stat().pending_delete_slices;
        assert_eq!(pending, 0, "the other one shows them");
        let body = meta_core::command::CommandBody::Reap {
            ino: gone,
            rows_max: 1000,
        };
        while driver.maintain(body.clone()) {}
        let broken = meta_core::check::check(&driver.engine.kv, driver.engine.volume);
        assert_eq!(broken.expect("a sound store"), Vec::<String>::new());
    }
    let stat = driver.engine.stat();
    assert_eq!(
        (stat.pending_delete_slices, stat.pending_delete_bytes),
        (3000, 30_000)
    );
    assert_eq!(shared(&driver.engine), 0);
}

/// Of a volume that others may read who do not know shared slices, nothing is asked that they could not read.
#[test]
fn what_shows_nothing_counts_for_how_much_is_copied_at_once() {
    for (level, whole) in [(Level(5), true), (Level(6), false)] {
        let mut driver = Driver::on(Engine::at_level(level));
        let source = appended(&mut driver, 1);
        let copy = |driver: &mut Driver, offset, to_offset, len| {
            let asked = CopyRange {
                from: source,
                offset,
                to: source,
                to_offset,
                len,
            };
            match request(driver, Operation::CopyRange(asked)) {
                Outcome::Done(Success::Copied { len, .. }) => len,
                other => panic!("{other:?}"),
            }
        };
        // In each of three chunks one byte over and over, of which one row shows.
        for chunk in 1..4 {
            for _ in 0..1400 {
                assert_eq!(copy(&mut driver, 0, chunk * CHUNK_BYTES + 9000, 1), 1);
            }
        }
        let first = CHUNK_BYTES + 9000;
        let asked = 2 * CHUNK_BYTES + 1;
        let copied = copy(&mut driver, first, 8 * CHUNK_BYTES, asked);
        assert_eq!(copied == asked, whole, "{level:?}: {copied}");
        assert!(copied > 0);
    }
}

#[test]
fn below_level_5_slices_are_not_shared() {
    let mut driver = Driver::on(Engine::at_level(Level(4)));
    let ino = appended(&mut driver, 2 * COMPACT_LOOK_EVERY);
    assert_eq!(marks(&driver.engine), []);
    let old = plan(&driver.engine, ino, ChunkIndex(0), Effort::All);
    let (slices, _) = rewritten(&mut driver.engine, &old);
    let operations = [
        Operation::CopyRange(CopyRange {
            from: ino,
            offset: 0,
            to: ino,
            to_offset: 100,
            len: 10,
        }),
        Operation::Compact(Compact {
            ino,
            chunk: ChunkIndex(0),
            first: old[0].order,
            last: old[old.len() - 1].order,
            seen: seen(&old),
            slices,
        }),
        Operation::Accessed {
            files: vec![(ino, Timestamp::default())],
        },
    ];
    for operation in operations {
        let ended = request(&mut driver, operation);
        assert_eq!(ended, Outcome::Refused(Refusal::NotSupported));
    }
}
