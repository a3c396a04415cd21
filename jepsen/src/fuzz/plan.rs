//! Makes plans. A plan follows from its seed.

use super::choices::{FAR, GIDS, LENGTHS, MODES, NAMES, PLACES, STRANGE, TARGETS, UIDS, XATTRS};
use super::op::{Act, Hold, LockKind, Name, Op, PROCESSES, Phase, Step, When, Whence, XattrAct};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;

/// Where files of a mount end.
const FILE_END: i64 = 1 << 57;
/// Handles of a process in the common part, and of those apart.
const SLOTS: u8 = 4;

/// What a plan is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aim {
    /// One mount beside another file system.
    Beside,
    /// Two mounts of a volume beside another file system.
    Pair,
}

/// A plan of so many operations.
pub(super) fn plan(seed: u64, operations: usize, aim: Aim) -> Vec<Phase> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut maker = Maker {
        capabilities: rng.random_ratio(1, 2),
        rng,
        handles: Vec::new(),
        guesses: BTreeMap::new(),
        prefix: String::new(),
        first_slot: 0,
        aim,
    };
    let mut phases = Vec::new();
    let mut made = 0;
    while made < operations {
        let (phase, count) = match (maker.chance(1, 25), aim) {
            (false, _) => (Phase::Ordered(maker.step()), 1),
            (true, Aim::Beside) => maker.apart(),
            (true, Aim::Pair) => maker.race(),
        };
        made += count;
        phases.push(phase);
    }
    phases
}

struct Maker {
    rng: StdRng,
    /// Whether programs get capabilities. The kernel takes them away before it asks a mount to write behind
    /// 2^57 bytes, which is refused, and ext4 refuses first: such places are for other plans.
    capabilities: bool,
    /// What processes have opened.
    handles: Vec<(usize, u8)>,
    /// What may be there, so that not nearly all operations fail.
    guesses: BTreeMap<String, char>,
    /// The directory that the names are in.
    prefix: String,
    first_slot: u8,
    aim: Aim,
}

impl Maker {
    fn chance(&mut self, of: u32, out_of: u32) -> bool {
        self.rng.random_ratio(of, out_of)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())]
    }

    fn path(&mut self) -> String {
        let mut path = self.one(&NAMES).to_owned();
        while path.len() < 5 && self.chance(2, 5) {
            path = format!("{path}/{}", self.one(&NAMES));
        }
        path
    }

    /// A path of which most are of one of these kinds; `-` for one that is not there.
    fn find(&mut self, kinds: &str) -> Name {
        let path = if self.chance(1, 25) {
            self.one(&STRANGE).to_owned()
        } else {
            let known: Vec<&String> = self
                .guesses
                .iter()
                .filter(|(_, kind)| **kind != '-' && kinds.contains(**kind))
                .map(|(path, _)| path)
                .collect();
            if !known.is_empty() && (!kinds.contains('-') || self.rng.random_ratio(1, 2)) {
                let path = known[self.rng.random_range(0..known.len())];
                return Name(format!("{}{path}", self.prefix));
            }
            let mut path = self.path();
            for _try in 0..6 {
                let kind = self.guesses.get(&path).copied().unwrap_or('-');
                let parent = path.rsplit_once('/').map(|(parent, _)| parent);
                let reachable =
                    parent.is_none_or(|parent| matches!(self.guesses.get(parent), Some('d' | 'l')));
                if kinds.contains(kind) && reachable {
                    break;
                }
                path = self.path();
            }
            path
        };
        Name(format!("{}{path}", self.prefix))
    }

    fn guess(&mut self, path: &Name, kind: char) {
        if let Some(path) = path.0.strip_prefix(&self.prefix) {
            self.guesses.insert(path.to_owned(), kind);
        }
    }

    /// A user, a group, or both: to name neither is left out.
    fn owners(&mut self) -> (Option<u32>, Option<u32>) {
        match self.rng.random_range(0..3) {
            0 => (Some(self.one(&UIDS)), None),
            1 => (None, Some(self.one(&GIDS))),
            _ => (Some(self.one(&UIDS)), Some(self.one(&GIDS))),
        }
    }

    fn mode(&mut self) -> u32 {
        if self.chance(1, 8) {
            self.rng.random_range(0..0o10000)
        } else {
            self.one(&MODES)
        }
    }

    fn length(&mut self) -> usize {
        if self.chance(1, 60) {
            (1 << 20) + 4_097
        } else {
            self.one(&LENGTHS)
        }
    }

    fn place(&mut self) -> i64 {
        if self.chance(1, 30) {
            let far = self.one(&FAR);
            if self.capabilities && far >= FILE_END {
                PLACES[0]
            } else {
                far
            }
        } else {
            self.one(&PLACES)
        }
    }

    fn fill(&mut self) -> u8 {
        self.rng.random()
    }

    fn slot(&mut self) -> u8 {
        self.first_slot + self.rng.random_range(0..SLOTS)
    }

    fn when(&mut self) -> When {
        match self.rng.random_range(0..6) {
            0 => When::Now,
            1 => When::Omit,
            _ => {
                let seconds = [
                    0,
                    1,
                    -1,
                    1_000_000_000,
                    -2_000_000_000,
                    4_102_444_800,
                    15_000_000_000,
                ];
                let nanos = if self.chance(1, 20) {
                    1_000_000_000
                } else {
                    self.one(&[0, 1, 999_999_999, 123_456_789])
                };
                When::At(self.one(&seconds), nanos)
            }
        }
    }

    fn step(&mut self) -> Step {
        // Root does half: others are refused so often.
        let mut process = if self.chance(1, 2) {
            self.rng.random_range(0..2)
        } else {
            self.rng.random_range(2..PROCESSES.len())
        };
        let mut op = self.op();
        let held = (!self.handles.is_empty() && self.chance(9, 10))
            .then(|| self.rng.random_range(0..self.handles.len()));
        let held = held.map(|number| (number, self.handles[number]));
        match (&mut op, held) {
            (Op::Open { slot, .. }, _) => self.handles.push((process, *slot)),
            (Op::Close { slot }, Some((number, held))) => {
                (process, *slot) = held;
                self.handles.swap_remove(number);
            }
            (Op::On { slot, .. }, Some((_, held))) => (process, *slot) = held,
            (Op::Copy { from, to, .. }, Some((_, held))) => {
                (process, *from) = held;
                let mut own = self.handles.iter().filter(|other| other.0 == process);
                *to = own.next_back().map_or(*to, |(_, slot)| *slot);
            }
            _ => {}
        }
        Step {
            process,
            mount: self.rng.random_range(0..2),
            timed: self.chance(1, 4),
            op,
        }
    }

    /// Several processes, each in a directory of its own.
    fn apart(&mut self) -> (Phase, usize) {
        let mut steps = Vec::new();
        for process in 0..PROCESSES.len() {
            let guesses = std::mem::take(&mut self.guesses);
            self.prefix = format!("own{process}/");
            self.first_slot = SLOTS;
            for _number in 0..3 {
                let op = self.op();
                let mut names = op.paths().into_iter().map(|name| &name.0);
                // A target or a strange path could lead out of the directory.
                let inside = |name: &String| name.starts_with(&self.prefix) && !name.contains("..");
                // Only one after the other it is known of which names nothing is moved.
                let whiteout = matches!(op, Op::Rename { flags, .. } if flags & 4 != 0);
                if names.all(inside) && !whiteout {
                    steps.push(Step {
                        process,
                        mount: 0,
                        timed: false,
                        op,
                    });
                }
            }
            self.guesses = guesses;
        }
        self.prefix = String::new();
        self.first_slot = 0;
        let count = steps.len();
        (Phase::Apart(steps), count.max(1))
    }

    /// Two changes of the same names, each of which is one call of the engine.
    fn race(&mut self) -> (Phase, usize) {
        let guesses = self.guesses.clone();
        // What is open is closed before.
        self.handles.clear();
        // Few names, so that they meet.
        let name = self.find("fdl-");
        let mut change = |mount: usize| {
            let other = self.find("fdl-");
            let (path, mode) = (name.clone(), self.mode());
            let flags = self.one(&[0, 0, 1, 2]);
            let op = match self.rng.random_range(0..11) {
                0 => Op::Mkdir { path, mode },
                1 => Op::Rmdir { path },
                2 => Op::Unlink { path },
                3 => Op::Rename {
                    from: path,
                    to: other,
                    flags,
                },
                4 => Op::Rename {
                    from: other,
                    to: path,
                    flags,
                },
                5 => Op::Link {
                    from: path,
                    to: other,
                    follow: false,
                },
                6 => Op::Link {
                    from: other,
                    to: path,
                    follow: false,
                },
                7 => Op::Symlink {
                    target: Name("nowhere".to_owned()),
                    path,
                },
                8 => Op::Store {
                    path,
                    flags: libc::O_CREAT | libc::O_EXCL | libc::O_WRONLY,
                    at: 0,
                    length: 0,
                    fill: 0,
                },
                9 => Op::Chmod { path, mode },
                _ => {
                    let act = XattrAct::Set(self.one(&[1, 10]), libc::XATTR_CREATE.cast_unsigned());
                    let name = Name("user.a".to_owned());
                    Op::Xattr {
                        path,
                        follow: false,
                        name,
                        act,
                    }
                }
            };
            Step {
                // Each mount has a process, and both may do everything.
                process: mount,
                mount,
                timed: false,
                op,
            }
        };
        let phase = Phase::Race(change(0), change(1));
        self.guesses = guesses;
        (phase, 2)
    }

    fn op(&mut self) -> Op {
        match self.rng.random_range(0..100) {
            0..45 => self.change(),
            45..58 => self.look(),
            58..70 if self.aim == Aim::Beside => self.open(),
            58..64 => self.open_to_share(),
            64..74 if self.aim == Aim::Pair => self.store(),
            70..74 => self.store(),
            74..78 => Op::Close { slot: self.slot() },
            78..80 if self.aim == Aim::Beside => Op::Copy {
                from: self.slot(),
                from_at: self
                    .chance(1, 2)
                    .then(|| self.one(&PLACES[..9]).cast_unsigned()),
                to: self.slot(),
                to_at: self
                    .chance(1, 2)
                    .then(|| self.one(&PLACES[..9]).cast_unsigned()),
                length: self.length(),
            },
            _ => {
                let slot = self.slot();
                let act = match self.aim {
                    Aim::Beside => self.act(),
                    Aim::Pair => self.shared_act(),
                };
                Op::On { slot, act }
            }
        }
    }

    fn change(&mut self) -> Op {
        match self.rng.random_range(0..45) {
            0..7 => {
                let (path, mode) = (self.find("-"), self.mode() | 0o700);
                self.guess(&path, 'd');
                Op::Mkdir { path, mode }
            }
            7..10 => {
                let path = self.find("d");
                self.guess(&path, '-');
                Op::Rmdir { path }
            }
            10..14 => {
                let path = self.find("flp");
                self.guess(&path, '-');
                Op::Unlink { path }
            }
            14..20 => self.rename(),
            20..24 => {
                let (from, to, follow) = (self.find("flp"), self.find("-"), self.chance(1, 3));
                self.guess(&to, 'f');
                Op::Link { from, to, follow }
            }
            24..27 => {
                let (target, path) = (Name(self.one(&TARGETS).to_owned()), self.find("-"));
                self.guess(&path, 'l');
                Op::Symlink { target, path }
            }
            27..29 => self.node(),
            _ => self.attributes(),
        }
    }

    fn rename(&mut self) -> Op {
        let kinds = self.one(&["f", "d", "l", "fdlp"]);
        let to = if self.chance(1, 2) { "-" } else { kinds };
        let (from, to) = (self.find(kinds), self.find(to));
        let flags = self.one(&[0, 0, 0, 1, 2, 3, 4, 8]);
        let moved = from.0.strip_prefix(&self.prefix).unwrap_or_default();
        if let Some(kind) = self.guesses.get(moved).copied() {
            self.guess(&to, kind);
            if flags != 2 {
                self.guess(&from, '-');
            }
        }
        Op::Rename { from, to, flags }
    }

    fn node(&mut self) -> Op {
        let kinds = [
            libc::S_IFIFO,
            libc::S_IFSOCK,
            libc::S_IFCHR,
            libc::S_IFBLK,
            libc::S_IFREG,
            libc::S_IFDIR,
        ];
        let kind = match self.one(&kinds) {
            // Those at one end of a fifo do not meet those of another mount.
            libc::S_IFIFO if self.aim == Aim::Pair => libc::S_IFSOCK,
            kind => kind,
        };
        let path = self.find("-");
        self.guess(&path, if kind == libc::S_IFREG { 'f' } else { 'p' });
        let device = if matches!(kind, libc::S_IFCHR | libc::S_IFBLK) {
            0x103
        } else {
            0
        };
        Op::Mknod {
            path,
            mode: kind | self.mode(),
            device,
        }
    }

    fn attributes(&mut self) -> Op {
        let path = self.find("fdlp");
        let follow = self.chance(2, 3);
        match self.rng.random_range(0..16) {
            0..4 => Op::Chmod {
                path,
                mode: self.mode(),
            },
            4..7 => {
                let (uid, gid) = self.owners();
                Op::Chown {
                    path,
                    uid,
                    gid,
                    follow,
                }
            }
            7..10 => {
                let (atime, mtime) = (self.when(), self.when());
                Op::Utimes {
                    path,
                    atime,
                    mtime,
                    follow,
                }
            }
            10..12 => Op::Truncate {
                path: self.find("fl"),
                length: self.place(),
            },
            _ => {
                let mut name = self.one(&XATTRS);
                if name == "security.capability" && !self.capabilities {
                    name = XATTRS[0];
                }
                let name = Name(name.to_owned());
                let act = if self.chance(1, 4) {
                    XattrAct::Remove
                } else {
                    let length = self.one(&[0, 1, 10, 300, 1_000, 5_000, 65_536, 65_537]);
                    XattrAct::Set(length, self.one(&[0, 0, 0, 1, 2]))
                };
                Op::Xattr {
                    path,
                    follow,
                    name,
                    act,
                }
            }
        }
    }

    fn look(&mut self) -> Op {
        let path = self.find("fdlp");
        match self.rng.random_range(0..13) {
            0..2 => Op::Stat {
                path,
                follow: self.chance(1, 2),
            },
            2 => Op::Statfs { path },
            3..5 => Op::List {
                path: self.find("d"),
            },
            5..8 => Op::ReadAll {
                path: self.find("f"),
            },
            8 => Op::Readlink {
                path: self.find("l"),
            },
            9 => Op::Access {
                path,
                mode: self.rng.random_range(0..8),
            },
            _ => {
                let (follow, name) = (self.chance(1, 2), Name(self.one(&XATTRS).to_owned()));
                let room = self.one(&[0, 1, 10, 1_000, 65_536]);
                let act = if self.chance(1, 3) {
                    XattrAct::List(room)
                } else {
                    XattrAct::Get(room)
                };
                Op::Xattr {
                    path,
                    follow,
                    name,
                    act,
                }
            }
        }
    }

    fn flags(&mut self) -> i32 {
        let mut flags = self.one(&[libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR, libc::O_RDWR]);
        for (flag, out_of) in [
            (libc::O_CREAT, 2),
            (libc::O_EXCL, 8),
            (libc::O_TRUNC, 6),
            (libc::O_APPEND, 5),
            (libc::O_DIRECT, 10),
            (libc::O_SYNC, 10),
            (libc::O_DSYNC, 10),
            (libc::O_NOFOLLOW, 10),
            (libc::O_DIRECTORY, 15),
            (libc::O_NOATIME, 30),
        ] {
            if self.chance(1, out_of) {
                flags |= flag;
            }
        }
        // Where direct appends go is seldom aligned.
        if flags & libc::O_APPEND != 0 {
            flags &= !libc::O_DIRECT;
        }
        flags
    }

    fn open(&mut self) -> Op {
        let flags = self.flags();
        let wanted = match flags {
            flags if flags & libc::O_CREAT != 0 => "-f",
            flags if flags & libc::O_ACCMODE == libc::O_RDONLY => "fdlp",
            _ => "flp",
        };
        let path = self.find(wanted);
        if flags & libc::O_CREAT != 0 {
            self.guess(&path, 'f');
        }
        Op::Open {
            slot: self.slot(),
            path,
            flags,
            mode: self.mode(),
        }
    }

    /// What stays open while the other mount changes it.
    fn open_to_share(&mut self) -> Op {
        let ways = [
            libc::O_RDONLY,
            libc::O_RDONLY,
            libc::O_RDONLY | libc::O_NOFOLLOW,
            libc::O_RDONLY | libc::O_DIRECTORY,
            libc::O_RDWR,
            libc::O_RDWR | libc::O_SYNC,
            libc::O_RDWR | libc::O_DSYNC,
            libc::O_RDWR | libc::O_DIRECT,
            libc::O_RDWR | libc::O_APPEND,
        ];
        let flags = self.one(&ways);
        let wanted = if flags & libc::O_ACCMODE == libc::O_RDONLY {
            "fd"
        } else {
            "f"
        };
        Op::Open {
            slot: self.slot(),
            path: self.find(wanted),
            flags,
            mode: 0,
        }
    }

    fn store(&mut self) -> Op {
        let mut flags = libc::O_WRONLY;
        for (flag, out_of) in [
            (libc::O_CREAT, 2),
            (libc::O_EXCL, 8),
            (libc::O_TRUNC, 4),
            (libc::O_APPEND, 4),
            (libc::O_SYNC, 10),
        ] {
            if self.chance(1, out_of) {
                flags |= flag;
            }
        }
        let path = self.find(if flags & libc::O_CREAT != 0 {
            "-f"
        } else {
            "fl"
        });
        if flags & libc::O_CREAT != 0 {
            self.guess(&path, 'f');
        }
        Op::Store {
            path,
            flags,
            at: self.place(),
            length: self.length(),
            fill: self.fill(),
        }
    }

    fn act(&mut self) -> Act {
        let (at, length, fill) = (self.place(), self.length(), self.fill());
        match self.rng.random_range(0..40) {
            0..4 => Act::Read { length },
            4..9 => Act::Write { length, fill },
            9..12 => Act::ReadAt { at, length },
            12..16 => Act::WriteAt { at, length, fill },
            16..18 => Act::Truncate { length: at },
            18..22 => {
                let all = [
                    Whence::Start,
                    Whence::Current,
                    Whence::End,
                    Whence::Data,
                    Whence::Hole,
                ];
                Act::Seek {
                    at,
                    whence: self.one(&all),
                }
            }
            22..24 => {
                let length = if self.chance(1, 10) {
                    self.one(&FAR)
                } else {
                    length as i64
                };
                let length = length.min(1 << 20);
                // Also modes that not every file system has: see `run::is_offered`.
                let mode = self.one(&[0, 0, 0, 1, 3, 16, 17, 8, 32, 64, 128, 2]);
                Act::Fallocate {
                    mode,
                    at: at.min(1 << 30),
                    length,
                }
            }
            24..27 => Act::Map {
                at: at.clamp(0, 1 << 20),
                length,
                fill,
            },
            27..29 => Act::Sync {
                data_only: self.chance(1, 2),
            },
            29..33 => {
                let kinds = [
                    LockKind::Flock,
                    LockKind::Record,
                    LockKind::Description,
                    LockKind::Ask,
                ];
                let holds = [Hold::Shared, Hold::Exclusive, Hold::Unlock];
                let (at, length) = (self.one(&[0, 10, 100, -1]), self.one(&[0, 10, 50, -5]));
                Act::Lock {
                    kind: self.one(&kinds),
                    hold: self.one(&holds),
                    at,
                    length,
                }
            }
            _ => self.quiet_act(),
        }
    }

    /// What is done to a file that is open at both mounts: half of it reads.
    fn shared_act(&mut self) -> Act {
        let (at, length, fill) = (self.place(), self.length(), self.fill());
        match self.rng.random_range(0..20) {
            0..4 => Act::ReadAt { at, length },
            4..6 => Act::Read { length },
            6..9 => Act::WriteAt { at, length, fill },
            9 => Act::Write { length, fill },
            10 => Act::Truncate { length: at },
            11 => Act::Map {
                at: at.clamp(0, 1 << 20),
                length,
                fill,
            },
            12 => Act::Fallocate {
                mode: self.one(&[0, 3, 16, 17]),
                at: at.min(1 << 30),
                length: length as i64,
            },
            _ => self.quiet_act(),
        }
    }

    /// What does not write data.
    fn quiet_act(&mut self) -> Act {
        match self.rng.random_range(0..12) {
            0..2 => Act::Stat,
            2 => Act::Chmod { mode: self.mode() },
            3 => {
                let (uid, gid) = self.owners();
                Act::Chown { uid, gid }
            }
            4 => Act::Utimes {
                atime: self.when(),
                mtime: self.when(),
            },
            5..9 => Act::Entries {
                count: self.one(&[0, 0, 1, 2, 3]),
            },
            9 => Act::Back {
                to: self.rng.random_range(0..4),
            },
            _ => Act::ReadAt {
                at: self.one(&PLACES),
                length: self.length(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_plan_follows_from_its_seed_and_holds_operations_of_every_kind() {
        for aim in [Aim::Beside, Aim::Pair] {
            assert_eq!(plan(7, 200, aim), plan(7, 200, aim));
            assert_ne!(plan(7, 200, aim), plan(8, 200, aim));
            let steps = plan(1, 5_000, aim)
                .into_iter()
                .flat_map(|phase| match phase {
                    Phase::Ordered(step) => vec![step],
                    Phase::Apart(steps) => steps,
                    Phase::Race(one, other) => vec![one, other],
                });
            let kinds: BTreeSet<String> = steps.map(|step| step.op.kind()).collect();
            let wanted = if aim == Aim::Beside { 38 } else { 27 };
            assert!(kinds.len() >= wanted, "{aim:?}: {}: {kinds:?}", kinds.len());
        }
    }
}
