//! A client: one session, one call at a time, on few names, so that clients meet.

use crate::history::{Asked, Call, Recorder, Told};
use crate::ledger::Ledger;
use meta_client::{ClientError, MetaSession, MetaUrl, MirrorOptions, ReadFrom, SessionOptions};
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{
    Append, AppendSlice, CopyRange, Create, Existing, Fallocate, FallocateMode, NewNode, Operation,
    RenameMode, SetAttr, SetTime, XattrMode,
};
use meta_core::ids::{ChunkIndex, DentryNumber, Ino, SliceId};
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::path::{Access, Links, Resolve};
use meta_core::query::{Answer, QueryBody, SliceCursor};
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Names in each directory.
const NAMES: usize = 5;
/// Files that a client remembers.
const KNOWN_MAX: usize = 12;
/// How long a call is tried.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long a session may take to open.
const OPEN_FOR: Duration = Duration::from_secs(5);

/// What a client does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// Reads and writes.
    Both,
    /// Only reads, and often: nothing ever makes it leave a leader that others have left, as long as
    /// that one answers.
    Reader,
    /// Looks for the leader anew after a few calls, so that it finds a new one while others are
    /// still with the one before.
    Visitor,
}

impl Role {
    fn of(number: usize) -> Self {
        [Self::Both, Self::Reader, Self::Visitor][number % 3]
    }

    /// Longest pause between two calls.
    fn pause_ms(self) -> u64 {
        match self {
            Self::Both | Self::Visitor => 40,
            Self::Reader => 20,
        }
    }

    /// Calls of a session, about.
    fn calls(self) -> u32 {
        match self {
            Self::Both | Self::Reader => 400,
            Self::Visitor => 12,
        }
    }

    /// How many of a session's queries are the last one once more. Some never ask anything else:
    /// nothing but a lease tells them of what others do.
    fn repeats(self, rng: &mut StdRng) -> f64 {
        match self {
            Self::Both | Self::Visitor => 0.2,
            Self::Reader if rng.random_bool(0.3) => 1.0,
            Self::Reader => 0.5,
        }
    }

    /// How many of its calls change something.
    fn writes(self) -> f64 {
        match self {
            Self::Both | Self::Visitor => 0.55,
            Self::Reader => 0.0,
        }
    }
}

/// Whether a client changes nothing.
pub(crate) fn only_reads(number: usize) -> bool {
    Role::of(number) == Role::Reader
}

/// What a client works with.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) number: usize,
    pub(crate) url: String,
    /// Where it reads, if not at the origin.
    pub(crate) mirror: Option<String>,
    pub(crate) recorder: Recorder,
    /// Of the origin.
    pub(crate) ledger: Ledger,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) seed: u64,
}

/// What a session has seen.
#[derive(Default)]
struct Seen {
    /// The session's number.
    session: u64,
    dirs: Vec<Ino>,
    files: Vec<Ino>,
    slices: Vec<SliceId>,
    /// The last query.
    last: Option<QueryBody>,
}

impl Seen {
    fn note(list: &mut Vec<Ino>, ino: Ino) {
        if !list.contains(&ino) {
            list.push(ino);
            if list.len() > KNOWN_MAX {
                list.remove(0);
            }
        }
    }
}

impl Client {
    /// Calls until it is told to stop.
    pub(crate) async fn run(self) {
        use rand::SeedableRng as _;
        let mut rng = StdRng::seed_from_u64(self.seed);
        let role = Role::of(self.number);
        while !self.stopped() {
            let Ok(session) = self.open().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let number = self.recorder.event();
            let mut seen = Seen {
                session: number,
                ..Seen::default()
            };
            let repeats = role.repeats(&mut rng);
            let calls = rng.random_range(role.calls() / 2..role.calls() * 2);
            for _ in 0..calls {
                if self.stopped() {
                    break;
                }
                if rng.random_bool(role.writes()) {
                    let operation = operation(&mut rng, &mut seen);
                    self.execute(&session, operation, &mut seen).await;
                } else {
                    // Asked again and again, as caches are for.
                    let again = seen.last.take().filter(|_| rng.random_bool(repeats));
                    let body = again.unwrap_or_else(|| query(&mut rng, &seen));
                    seen.last = Some(body.clone());
                    self.query(&session, body, &mut seen).await;
                }
                let pause = rng.random_range(0..=role.pause_ms());
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            let status = session.status();
            if let Some(leases) = status.leases {
                self.recorder.add_cached(leases.hits, leases.recalls);
            }
            if let Some(nearest) = status.nearest {
                self.recorder.add_nearest(nearest.counts);
            }
            // One that just goes away is expired by the leader.
            if rng.random_bool(0.7) {
                session.close().await;
            }
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn open(&self) -> Result<MetaSession, ClientError> {
        let url = |text: &str| -> Result<MetaUrl, ClientError> {
            text.parse()
                .map_err(|error| ClientError::Unknown(format!("{text}: {error}")))
        };
        let mirror = match &self.mirror {
            Some(mirror) => Some(MirrorOptions {
                url: url(mirror)?,
                wait: Duration::from_millis(200),
            }),
            None => None,
        };
        // Half of them cache under leases, and half of the others read at the nearest member.
        let is_nearest = self.seed % 4 == 1 && mirror.is_none();
        let options = SessionOptions {
            retry_for: Some(RETRY_FOR),
            open_for: OPEN_FOR,
            leases: self.seed.is_multiple_of(2),
            read_from: if is_nearest {
                ReadFrom::Nearest
            } else {
                ReadFrom::Leader
            },
            mirror,
            ..SessionOptions::default()
        };
        MetaSession::open(&url(&self.url)?, options).await
    }

    async fn execute(&self, session: &MetaSession, operation: Operation, seen: &mut Seen) {
        let tag = self.recorder.tag();
        let caller = Caller {
            groups: vec![tag],
            ..Caller::root()
        };
        let invoked = self.recorder.event();
        let result = session.execute(caller, operation.clone()).await;
        if let Ok(success) = &result {
            learn(seen, success);
        }
        let asked = Asked::Operation(tag, operation);
        self.add(seen.session, asked, invoked, Told::operation(result));
    }

    async fn query(&self, session: &MetaSession, body: QueryBody, seen: &mut Seen) {
        let invoked = self.recorder.event();
        let result = session.query(Caller::root(), body.clone()).await;
        if let Ok(Answer::Attr(attr)) = &result {
            Seen::note(&mut seen.files, attr.ino);
        }
        self.add(
            seen.session,
            Asked::Query(body),
            invoked,
            Told::query(result),
        );
    }

    fn add(&self, session: u64, asked: Asked, invoked: u64, told: Told) {
        self.recorder.add(Call {
            client: self.number,
            session,
            at_mirror: self.mirror.is_some(),
            asked,
            invoked,
            ended: self.recorder.event(),
            ceiling: self.ledger.highest(),
            told,
        });
    }
}

fn learn(seen: &mut Seen, success: &Success) {
    match success {
        Success::Entry { attr, .. } if attr.kind == meta_core::attr::FileKind::Directory => {
            Seen::note(&mut seen.dirs, attr.ino);
        }
        Success::Entry { attr, .. } => Seen::note(&mut seen.files, attr.ino),
        Success::Granted { first, count } => {
            for number in 0..u64::from(*count) {
                seen.slices.push(SliceId(first.0 + number));
            }
        }
        _ => {}
    }
}

fn name(rng: &mut StdRng) -> Name {
    let text = format!("n{}", rng.random_range(0..NAMES));
    Name::new(text).unwrap_or_else(|refusal| unreachable!("a name of ours: {refusal}"))
}

fn dir(rng: &mut StdRng, seen: &Seen) -> Ino {
    let known = seen.dirs.choose(rng).copied();
    match known {
        Some(dir) if rng.random_bool(0.4) => dir,
        _ => Ino::ROOT,
    }
}

fn file(rng: &mut StdRng, seen: &Seen) -> Ino {
    seen.files.choose(rng).copied().unwrap_or(Ino::ROOT)
}

fn operation(rng: &mut StdRng, seen: &mut Seen) -> Operation {
    match rng.random_range(0..24) {
        0..6 => create(rng, seen),
        6..9 => Operation::Unlink {
            parent: dir(rng, seen),
            name: name(rng),
        },
        9 => Operation::Rmdir {
            parent: dir(rng, seen),
            name: name(rng),
        },
        10..13 => Operation::Rename {
            parent: dir(rng, seen),
            name: name(rng),
            new_parent: dir(rng, seen),
            new_name: name(rng),
            mode: [
                RenameMode::Replace,
                RenameMode::NoReplace,
                RenameMode::Exchange,
            ][rng.random_range(0..3)],
        },
        13 => Operation::Link {
            ino: file(rng, seen),
            parent: dir(rng, seen),
            name: name(rng),
        },
        14..16 => Operation::SetAttr(set_attr(rng, seen)),
        16 => Operation::SetXattr {
            ino: file(rng, seen),
            name: b"user.a".to_vec(),
            value: rng.random_range(0..1_000_000_u32).to_string().into_bytes(),
            mode: XattrMode::Set,
        },
        17 => Operation::RemoveXattr {
            ino: file(rng, seen),
            name: b"user.a".to_vec(),
        },
        18 => Operation::Fallocate(Fallocate {
            ino: file(rng, seen),
            offset: rng.random_range(0..100_000),
            len: rng.random_range(1..50_000),
            mode: [FallocateMode::Punch, FallocateMode::Zero][rng.random_range(0..2)],
        }),
        19..21 => Operation::CopyRange(CopyRange {
            from: file(rng, seen),
            offset: rng.random_range(0..50_000),
            to: file(rng, seen),
            to_offset: rng.random_range(0..100_000),
            len: rng.random_range(1..100_000),
        }),
        21 => {
            let at = Timestamp {
                seconds: rng.random_range(0..4_000_000_000_i64),
                nanos: 0,
            };
            let files = vec![(file(rng, seen), at)];
            Operation::Accessed { files }
        }
        _ => append(rng, seen),
    }
}

fn create(rng: &mut StdRng, seen: &Seen) -> Operation {
    let node = match rng.random_range(0..8) {
        0 | 1 => NewNode::Directory,
        2 => NewNode::Symlink {
            target: b"n0".to_vec(),
        },
        _ => NewNode::Regular,
    };
    let open = rng.random_bool(0.3) && node == NewNode::Regular;
    let existing = if open {
        Existing::Open {
            read: true,
            write: true,
        }
    } else {
        Existing::Refuse
    };
    Operation::Create(Create {
        parent: dir(rng, seen),
        name: name(rng),
        mode: 0o755,
        node,
        masked: 0,
        existing,
    })
}

fn set_attr(rng: &mut StdRng, seen: &Seen) -> SetAttr {
    let ino = file(rng, seen);
    let blank = SetAttr {
        ino,
        ..SetAttr::default()
    };
    match rng.random_range(0..3) {
        0 => SetAttr {
            length: Some(rng.random_range(0..200_000)),
            ..blank
        },
        1 => SetAttr {
            mode: Some(rng.random_range(0..0o1000)),
            ..blank
        },
        _ => SetAttr {
            mtime: Some(SetTime::At(Timestamp {
                seconds: rng.random_range(0..1_000_000),
                nanos: 7,
            })),
            ..blank
        },
    }
}

/// Bytes that nobody uploaded: the engine takes a client's word for it.
fn append(rng: &mut StdRng, seen: &mut Seen) -> Operation {
    let Some(id) = seen.slices.pop() else {
        return Operation::GrantSlices { count: 8 };
    };
    Operation::Append(Append {
        ino: file(rng, seen),
        slices: vec![AppendSlice {
            id,
            len: rng.random_range(1..60_000),
            frame_crcs: vec![rng.random()],
        }],
    })
}

/// Some of the names are there, some are symlinks, and some lead up again.
fn resolve(rng: &mut StdRng, seen: &Seen) -> Resolve {
    let components = (0..rng.random_range(1..5)).map(|_| match rng.random_range(0..8) {
        0 => "..".to_owned(),
        _ => name(rng).to_string(),
    });
    let path = components.collect::<Vec<_>>().join("/");
    let links = [Links::Stop, Links::Above, Links::All];
    Resolve {
        from: dir(rng, seen),
        path: path.into_bytes(),
        links: links[rng.random_range(0..links.len())],
        open: rng.random_bool(0.3).then_some(Access {
            read: true,
            write: false,
        }),
    }
}

fn query(rng: &mut StdRng, seen: &Seen) -> QueryBody {
    match rng.random_range(0..12) {
        10 => QueryBody::Resolve(resolve(rng, seen)),
        11 => QueryBody::GetAttrs {
            inos: (0..4).map(|_| file(rng, seen)).collect(),
        },
        0..4 => QueryBody::Lookup {
            parent: dir(rng, seen),
            name: name(rng),
        },
        4..6 => QueryBody::GetAttr {
            ino: file(rng, seen),
        },
        6 | 7 => QueryBody::ReadDir {
            ino: dir(rng, seen),
            after: DentryNumber(0),
            entries_max: 100,
            with_attrs: true,
        },
        8 => QueryBody::GetXattr {
            ino: file(rng, seen),
            name: b"user.a".to_vec(),
        },
        _ => QueryBody::ReadSlices {
            ino: file(rng, seen),
            from: SliceCursor::default(),
            end: ChunkIndex(1),
        },
    }
}
