//! Random calls. Names, callers and files come from small pools, so that calls meet each other.

use crate::acl::{Entry, entries};
use crate::filesystem::{Before, New, Over};
use crate::references::Ranges;
use meta_core::attr::{Caller, FileKind};
use proptest::prelude::*;

/// A file, as a place in the list of all that were ever made.
pub(crate) type Pick = prop::sample::Index;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create {
        dir: Pick,
        name: usize,
        new: New,
        mode: u32,
        umask: u32,
        open: Option<(bool, bool)>,
    },
    Link {
        file: Pick,
        dir: Pick,
        name: usize,
    },
    Remove {
        dir: Pick,
        name: usize,
        rmdir: bool,
    },
    /// Several names of one directory, some of them perhaps twice.
    RemoveMany {
        dir: Pick,
        names: Vec<usize>,
        skip_trash: bool,
    },
    Rename {
        from: (Pick, usize),
        to: (Pick, usize),
        over: Over,
    },
    Chmod(Pick, u32),
    Chown(Pick, Option<u32>, Option<u32>),
    Truncate(Pick, u64),
    /// Makes a file at least so long.
    Grow(Pick, u64),
    /// Seconds, or now.
    Touch(Pick, Option<u8>),
    /// Offset (none: the end) and length.
    Write(Pick, Option<u64>, u32),
    /// Offset, length, and whether the file gets as long.
    Hole(Pick, u64, u64, bool),
    /// Makes a range of a file what a range of a file is.
    Copy(Ranges),
    /// Makes slices of a file fewer; all that can be, or where it pays.
    Compact(Pick, bool),
    /// Tells that a file was read: seconds, or later than now.
    Access(Pick, Option<u8>),
    SetXattr(Pick, usize, u8, Before),
    RemoveXattr(Pick, usize),
    GetXattr(Pick, usize),
    /// Access or default, and entries as they are encoded; none to remove it.
    SetAcl(Pick, bool, Option<Vec<Entry>>),
    Open(Pick, bool, bool),
    Lookup(Pick, usize),
    List {
        dir: Pick,
        page: u32,
    },
    /// Deletes what has no name.
    Reap {
        rows: u32,
    },
    /// Gives a file of the trash a name in a directory.
    Restore(Pick, Pick, usize),
    EmptyTrash(Pick),
    /// What was removed longer ago than that, in seconds, goes.
    PurgeTrash {
        kept: u8,
        files_max: u32,
    },
    SetTrash(bool),
    /// What it is about (volume, user, group, else a directory), blocks of 4 KiB and files.
    SetQuota(u8, Pick, Option<u64>, Option<u64>),
    /// Takes some files into the totals.
    CountFiles(u32),
    /// Trims what lies behind truncations.
    Trim {
        rows: u32,
    },
}

pub(crate) fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = ["a", "b", "c", "d"].map(Vec::from).to_vec();
    names.push(vec![b'n'; 255]);
    names.push(vec![0xff, 0x01]);
    names
}

pub(crate) fn xattr_names() -> Vec<Vec<u8>> {
    let names = ["user.a", "user.b", "trusted.t", "security.s", "system.x"];
    let mut names: Vec<Vec<u8>> = names.map(Vec::from).to_vec();
    names.push([b"user.".to_vec(), vec![b'x'; 251]].concat());
    names
}

/// The superuser, an owner with a second group, a member of that group, and a stranger.
pub(crate) fn callers() -> Vec<Caller> {
    let caller = |uid, gid, groups: &[u32]| Caller {
        uid,
        gid,
        groups: groups.to_vec(),
    };
    vec![
        caller(0, 0, &[]),
        caller(1000, 100, &[200, 300]),
        caller(1001, 200, &[]),
        caller(1002, 400, &[]),
    ]
}

const CHUNK: u64 = 64 << 20;

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => 0..3000_u64,
        2 => CHUNK - 100..CHUNK + 100,
        1 => Just(crate::filesystem::SIZE_MAX - 50),
        1 => Just(crate::filesystem::SIZE_MAX + 7),
    ]
}

fn hole_len() -> impl Strategy<Value = u64> {
    prop_oneof![10 => 1..400_u64, 1 => Just(0), 1 => CHUNK - 50..2 * CHUNK, 1 => Just(1 << 40)]
}

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => Just(0o755),
        3 => Just(0o777),
        2 => Just(0o1777),
        1 => Just(0o2775),
        1 => Just(0o6755),
        2 => 0..0o10000_u32,
    ]
}

fn new_node() -> impl Strategy<Value = New> {
    let special = prop::sample::select(vec![
        (FileKind::Fifo, 0),
        (FileKind::Socket, 0),
        (FileKind::CharDevice, 0x105),
        (FileKind::BlockDevice, 0x800),
    ]);
    prop_oneof![
        5 => Just(New::File),
        6 => Just(New::Dir),
        1 => prop::sample::select(vec![1_usize, 30, 4095, 4096]).prop_map(|n| New::Symlink(vec![b't'; n])),
        1 => special.prop_map(|(kind, rdev)| New::Special(kind, rdev)),
    ]
}

fn id() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(prop::sample::select(vec![0, 100, 200, 400, 1000, 1001]))
}

fn naming() -> impl Strategy<Value = Op> {
    let name = || 0..names().len();
    let pick = any::<Pick>;
    let over = || {
        prop::sample::select(vec![
            Over::Replace,
            Over::Replace,
            Over::Refuse,
            Over::Exchange,
        ])
    };
    let open = prop::option::of(any::<(bool, bool)>());
    let umask = prop::sample::select(vec![0o022, 0, 0o077, 0o027, 0o777]);
    prop_oneof![
        8 => (pick(), name(), new_node(), (mode(), umask), open).prop_map(
            |(dir, name, new, (mode, umask), open)| Op::Create { dir, name, new, mode, umask, open },
        ),
        2 => (pick(), pick(), name()).prop_map(|(file, dir, name)| Op::Link { file, dir, name }),
        4 => (pick(), name(), any::<bool>())
            .prop_map(|(dir, name, rmdir)| Op::Remove { dir, name, rmdir }),
        2 => (pick(), prop::collection::vec(name(), 1..6), prop::bool::weighted(0.2))
            .prop_map(|(dir, names, skip_trash)| Op::RemoveMany { dir, names, skip_trash }),
        6 => (pick(), name(), pick(), name(), over())
            .prop_map(|(a, b, c, d, over)| Op::Rename { from: (a, b), to: (c, d), over }),
        2 => (pick(), name()).prop_map(|(dir, name)| Op::Lookup(dir, name)),
        1 => (pick(), 1..4_u32).prop_map(|(dir, page)| Op::List { dir, page }),
    ]
}

fn filing() -> impl Strategy<Value = Op> {
    let pick = any::<Pick>;
    let xattr = || 0..xattr_names().len();
    let before = prop::sample::select(vec![Before::Any, Before::Absent, Before::Present]);
    prop_oneof![
        2 => (pick(), mode()).prop_map(|(file, mode)| Op::Chmod(file, mode)),
        2 => (pick(), id(), id()).prop_map(|(file, uid, gid)| Op::Chown(file, uid, gid)),
        3 => (pick(), offset()).prop_map(|(file, size)| Op::Truncate(file, size)),
        2 => (pick(), offset()).prop_map(|(file, size)| Op::Grow(file, size)),
        1 => (pick(), prop::option::of(any::<u8>())).prop_map(|(file, at)| Op::Touch(file, at)),
        6 => (pick(), prop::option::of(offset()), 1..200_u32)
            .prop_map(|(file, at, len)| Op::Write(file, at, len)),
        3 => (pick(), offset(), hole_len(), any::<bool>())
            .prop_map(|(file, at, len, zero)| Op::Hole(file, at, len, zero)),
        4 => ((pick(), offset()), (pick(), offset()), hole_len())
            .prop_map(|(from, to, len)| Op::Copy(Ranges { from, to, len })),
        2 => (pick(), any::<bool>()).prop_map(|(file, all)| Op::Compact(file, all)),
        1 => (pick(), prop::option::of(any::<u8>())).prop_map(|(file, at)| Op::Access(file, at)),
        2 => (pick(), xattr(), any::<u8>(), before)
            .prop_map(|(file, name, value, before)| Op::SetXattr(file, name, value, before)),
        1 => (pick(), xattr()).prop_map(|(file, name)| Op::RemoveXattr(file, name)),
        2 => (pick(), xattr()).prop_map(|(file, name)| Op::GetXattr(file, name)),
        5 => (pick(), any::<bool>(), prop::option::weighted(0.8, entries()))
            .prop_map(|(file, default, acl)| Op::SetAcl(file, default, acl)),
        4 => (pick(), any::<bool>(), any::<bool>()).prop_map(|(file, r, w)| Op::Open(file, r, w)),
        1 => prop_oneof![1..3_u32, Just(1000)].prop_map(|rows| Op::Reap { rows }),
        1 => prop_oneof![1..3_u32, Just(1000)].prop_map(|rows| Op::Trim { rows }),
    ]
}

fn trashing() -> impl Strategy<Value = Op> {
    let pick = any::<Pick>;
    let name = 0..names().len();
    prop_oneof![
        8 => (pick(), pick(), name).prop_map(|(file, dir, name)| Op::Restore(file, dir, name)),
        1 => pick().prop_map(Op::EmptyTrash),
        1 => (0..60_u8, prop_oneof![1..3_u32, Just(1000)])
            .prop_map(|(kept, files_max)| Op::PurgeTrash { kept, files_max }),
        1 => prop::bool::weighted(0.7).prop_map(Op::SetTrash),
    ]
}

/// Calls of a volume with a trash.
pub(crate) fn trash_calls(count: usize) -> impl Strategy<Value = Vec<(usize, Op)>> {
    let caller = prop_oneof![5 => Just(0_usize), 3 => 1..callers().len()];
    let op = prop_oneof![5 => naming(), 3 => filing(), 2 => trashing()];
    prop::collection::vec((caller, op), count)
}

fn limiting() -> impl Strategy<Value = Op> {
    let blocks = prop::option::weighted(0.6, prop_oneof![4 => 0..5_u64, 1 => Just(20_000)]);
    let inodes = prop::option::weighted(0.5, 0..9_u64);
    let subject = prop_oneof![1 => Just(0_u8), 4 => Just(1), 4 => Just(2), 5 => Just(3)];
    (subject, any::<Pick>(), blocks, inodes)
        .prop_map(|(kind, pick, blocks, inodes)| Op::SetQuota(kind, pick, blocks, inodes))
}

/// Calls of a volume with limits. There files have one name each: the model does not know which is the first.
pub(crate) fn quota_calls(count: usize) -> impl Strategy<Value = Vec<(usize, Op)>> {
    let caller = prop_oneof![5 => Just(0_usize), 3 => 1..callers().len()];
    let one_name = naming().prop_map(|op| match op {
        Op::Link { dir, name, .. } => Op::Lookup(dir, name),
        op => op,
    });
    let op = prop_oneof![5 => one_name, 5 => filing(), 1 => trashing(), 2 => limiting()];
    prop::collection::vec((caller, op), count)
}

/// Calls of a volume whose files are counted meanwhile.
pub(crate) fn counted_calls(count: usize) -> impl Strategy<Value = Vec<(usize, Op)>> {
    let caller = prop_oneof![5 => Just(0_usize), 3 => 1..callers().len()];
    let counting = (1..4_u32).prop_map(Op::CountFiles);
    let op = prop_oneof![5 => naming(), 3 => filing(), 1 => trashing(), 1 => counting];
    prop::collection::vec((caller, op), count)
}

/// Calls, each with its caller.
pub(crate) fn calls(count: usize) -> impl Strategy<Value = Vec<(usize, Op)>> {
    let caller = prop_oneof![5 => Just(0_usize), 3 => 1..callers().len()];
    let op = prop_oneof![5 => naming(), 4 => filing()];
    prop::collection::vec((caller, op), count)
}
