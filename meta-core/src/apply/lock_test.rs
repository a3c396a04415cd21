use super::*;
use crate::attr::{Caller, Timestamp};
use crate::command::{
    Command, CommandBody, Create, CreateVolume, Existing, NewNode, Operation, Request,
};
use crate::ids::{Level, SlotIndex, Uuid, VolumeId};
use crate::kv::{MemKv, Overlay};
use crate::lock::GetLock;
use crate::name::Name;
use crate::outcome::{NotExecuted, Outcome, Reply};
use crate::query::{Answer, Query, QueryBody};
use crate::testing::ListCodec;
use crate::{check, machine, read};

use crate::lock::LockMode;
use LockMode::{Exclusive, Shared};

/// A volume with a file and sessions.
struct World {
    kv: MemKv,
    codec: ListCodec,
    volume: VolumeId,
    clock: i64,
    sequences: BTreeMap<SessionId, u64>,
    ino: Ino,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            kv: MemKv::default(),
            codec: ListCodec::default(),
            volume: VolumeId::CLUSTER,
            clock: 0,
            sequences: BTreeMap::new(),
            ino: Ino(0),
        };
        let cluster = Uuid([1; 16]);
        world.run(CommandBody::InitCluster { cluster });
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        match world.run(CommandBody::CreateVolume(create)).outcome {
            Outcome::Done(Success::Volume(id)) => world.volume = id,
            other => panic!("{other:?}"),
        }
        let first = world.session();
        world.ino = world.file(first, "file");
        world
    }

    fn run(&mut self, body: CommandBody) -> Reply {
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
        reply
    }

    fn session(&mut self) -> SessionId {
        let open = CommandBody::OpenSession {
            nonce: self.clock.unsigned_abs().into(),
            slots: 1,
            info: Vec::new(),
        };
        match self.run(open).outcome {
            Outcome::Done(Success::Session(session)) => session,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, session: SessionId, operation: Operation) -> Outcome {
        let sequence = self.sequences.entry(session).or_default();
        *sequence += 1;
        let request = Request {
            session,
            slot: SlotIndex(0),
            sequence: *sequence,
            caller: Caller::root(),
            operation,
        };
        let outcome = self.run(CommandBody::Request(request)).outcome;
        let broken = check::check(&self.kv, self.volume).expect("a sound store");
        assert_eq!(broken, Vec::<String>::new());
        outcome
    }

    fn file(&mut self, session: SessionId, name: &str) -> Ino {
        let create = Create {
            parent: Ino::ROOT,
            name: Name::new(name.as_bytes()).expect("a name"),
            mode: 0o644,
            node: NewNode::Regular,
            masked: 0,
            existing: Existing::Refuse,
        };
        match self.ask(session, Operation::Create(create)) {
            Outcome::Done(Success::Entry { attr, .. }) => attr.ino,
            other => panic!("{other:?}"),
        }
    }

    fn wanted(&self, kind: LockKind, owner: u64, mode: LockMode) -> LockRequest {
        LockRequest {
            ino: self.ino,
            kind,
            owner,
            pid: 7,
            range: LockRange { first: 0, last: 9 },
            mode,
            wait: None,
        }
    }

    fn lock(&mut self, session: SessionId, wanted: LockRequest) -> (LockState, Vec<Woken>) {
        match self.ask(session, Operation::Lock(wanted)) {
            Outcome::Done(Success::Locked { state, woken }) => (state, woken),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self, session: SessionId, wanted: LockRequest) -> LockState {
        let (state, woken) = self.lock(session, wanted);
        assert_eq!(woken, Vec::new());
        state
    }

    fn unlock(&mut self, session: SessionId, kind: LockKind, owner: u64) -> Vec<Woken> {
        let given = UnlockRequest {
            ino: self.ino,
            kind,
            owner,
            range: LockRange::WHOLE,
        };
        match self.ask(session, Operation::Unlock(given)) {
            Outcome::Done(Success::Unlocked(woken)) => woken,
            other => panic!("{other:?}"),
        }
    }

    fn holder(&self, owner: LockOwner, mode: LockMode) -> Option<HeldLock> {
        let body = QueryBody::GetLock(GetLock {
            ino: self.ino,
            owner,
            range: LockRange { first: 0, last: 9 },
            mode,
        });
        let query = Query {
            volume: self.volume,
            caller: Caller::root(),
            body,
        };
        match read::answer(&self.kv, &query).expect("answered").1 {
            Answer::Lock(held) => held,
            other => panic!("{other:?}"),
        }
    }

    /// Rows of locks and waiters.
    fn rows(&self) -> usize {
        let rows = self.kv.rows(crate::kv::Family::State).keys();
        let of_locks = rows.filter(|key| key.len() > 4 && matches!(key[4], 0x8a | 0x8b));
        of_locks.count()
    }
}

fn granted(session: SessionId, ticket: u64) -> Woken {
    Woken {
        session,
        ticket,
        granted: true,
    }
}

fn owner(session: SessionId, kind: LockKind, number: u64) -> LockOwner {
    LockOwner {
        session,
        kind,
        number,
    }
}

fn waiting(wanted: LockRequest, ticket: u64) -> LockRequest {
    LockRequest {
        wait: Some(ticket),
        ..wanted
    }
}

#[test]
fn who_waits_is_served_in_order_and_readers_together() {
    let mut world = World::new();
    let sessions: Vec<SessionId> = (0..4).map(|_| world.session()).collect();
    let write = world.wanted(LockKind::Posix, 1, Exclusive);
    let read = world.wanted(LockKind::Ofd, 1, Shared);
    assert_eq!(world.state(sessions[0], write.clone()), LockState::Granted);
    for (session, ticket) in [(1, 10), (2, 11)] {
        let state = world.state(sessions[session], waiting(read.clone(), ticket));
        assert_eq!(state, LockState::Waiting);
    }
    let last = waiting(write.clone(), 12);
    assert_eq!(world.state(sessions[3], last.clone()), LockState::Waiting);
    // Asking again keeps the place.
    assert_eq!(world.state(sessions[3], last.clone()), LockState::Waiting);
    assert_eq!(world.state(sessions[3], write), LockState::Conflict);
    let woken = world.unlock(sessions[0], LockKind::Posix, 1);
    let both = vec![granted(sessions[1], 10), granted(sessions[2], 11)];
    assert_eq!(woken, both);
    // Who asks again although it has the lock is told so.
    let again = world.state(sessions[1], waiting(read, 10));
    assert_eq!(again, LockState::Granted);
    assert_eq!(world.unlock(sessions[1], LockKind::Ofd, 1), Vec::new());
    let woken = world.unlock(sessions[2], LockKind::Ofd, 1);
    assert_eq!(woken, vec![granted(sessions[3], 12)]);
    let found = world.holder(owner(sessions[0], LockKind::Posix, 1), Shared);
    let found = found.expect("the last one has it");
    assert_eq!((found.owner.session, found.pid), (sessions[3], 7));
}

#[test]
fn a_lock_is_a_matter_of_its_cluster_alone() {
    let mut world = World::new();
    let session = world.session();
    let before = read::token(&world.kv, world.volume).expect("read");
    let write = world.wanted(LockKind::Posix, 1, Exclusive);
    assert_eq!(world.state(session, write), LockState::Granted);
    let after = read::token(&world.kv, world.volume).expect("read");
    assert_eq!(before, after, "no record tells of it");
    assert_eq!(world.rows(), 3);
    world.unlock(session, LockKind::Posix, 1);
    assert_eq!(world.rows(), 0);
}

#[test]
fn flocks_and_record_locks_know_nothing_of_each_other() {
    let mut world = World::new();
    let (one, other) = (world.session(), world.session());
    for kind in [LockKind::Flock, LockKind::Posix] {
        let write = world.wanted(kind, 1, Exclusive);
        assert_eq!(world.state(one, write), LockState::Granted);
    }
    let ofd = world.wanted(LockKind::Ofd, 1, Shared);
    assert_eq!(world.state(other, ofd.clone()), LockState::Conflict);
    // An open file is another owner than its process.
    assert_eq!(world.state(one, ofd), LockState::Conflict);
    world.unlock(one, LockKind::Posix, 1);
    let flock = world.wanted(LockKind::Flock, 1, Shared);
    assert_eq!(world.state(other, flock), LockState::Conflict);
}

#[test]
fn a_flock_that_cannot_be_changed_is_lost() {
    let mut world = World::new();
    let (one, other) = (world.session(), world.session());
    let read = world.wanted(LockKind::Flock, 1, Shared);
    for session in [one, other] {
        assert_eq!(world.state(session, read.clone()), LockState::Granted);
    }
    let write = world.wanted(LockKind::Flock, 1, Exclusive);
    assert_eq!(world.state(one, write.clone()), LockState::Conflict);
    let (state, _) = world.lock(other, write.clone());
    assert_eq!(state, LockState::Granted, "nobody has it beside this one");
    // One that waits to be changed lets others have it meanwhile.
    let state = world.state(one, waiting(read, 1));
    assert_eq!(state, LockState::Waiting);
    let shared = world.wanted(LockKind::Flock, 1, Shared);
    let (state, woken) = world.lock(other, shared);
    assert_eq!((state, woken), (LockState::Granted, vec![granted(one, 1)]));
    let (state, _) = world.lock(one, waiting(write, 2));
    assert_eq!(state, LockState::Waiting);
    let woken = world.unlock(other, LockKind::Flock, 1);
    assert_eq!(woken, vec![granted(one, 2)]);
}

#[test]
fn who_would_wait_for_itself_is_refused() {
    let mut world = World::new();
    let sessions: Vec<SessionId> = (0..3).map(|_| world.session()).collect();
    let at = |world: &World, kind, byte| LockRequest {
        range: LockRange {
            first: byte,
            last: byte,
        },
        ..world.wanted(kind, 1, Exclusive)
    };
    for (byte, session) in (0..).zip(&sessions) {
        let own = at(&world, LockKind::Posix, byte);
        assert_eq!(world.state(*session, own), LockState::Granted);
    }
    for byte in [0, 1] {
        let next = waiting(at(&world, LockKind::Posix, byte + 1), 5);
        let state = world.state(sessions[usize::try_from(byte).expect("small")], next);
        assert_eq!(state, LockState::Waiting);
    }
    let last = waiting(at(&world, LockKind::Posix, 0), 5);
    assert_eq!(world.state(sessions[2], last.clone()), LockState::Deadlock);
    let ofd = LockRequest {
        kind: LockKind::Ofd,
        ..last.clone()
    };
    // An open file may be another process's by now.
    assert_eq!(world.state(sessions[2], ofd), LockState::Waiting);
    let cancel = Operation::CancelLock {
        kind: LockKind::Posix,
        owner: 1,
        ticket: 5,
    };
    let waited = Outcome::Done(Success::LockCancelled { waited: true });
    assert_eq!(world.ask(sessions[1], cancel.clone()), waited);
    assert_eq!(world.state(sessions[2], last), LockState::Waiting);
    let again = Outcome::Done(Success::LockCancelled { waited: false });
    assert_eq!(world.ask(sessions[1], cancel), again);
}

#[test]
fn a_deadlock_that_a_grant_makes_is_found() {
    let mut world = World::new();
    let (one, two, three) = (world.session(), world.session(), world.session());
    let first = world.wanted(LockKind::Posix, 1, Exclusive);
    let other = world.file(one, "other");
    let second = LockRequest {
        ino: other,
        ..first.clone()
    };
    assert_eq!(world.state(one, first.clone()), LockState::Granted);
    assert_eq!(world.state(three, second.clone()), LockState::Granted);
    // Two threads of one process: one waits for the file that the other process has, one for the
    // first file, in front of that process.
    let threads = [waiting(second, 1), waiting(first.clone(), 2)];
    for request in threads {
        assert_eq!(world.state(two, request), LockState::Waiting);
    }
    assert_eq!(world.state(three, waiting(first, 3)), LockState::Waiting);
    let woken = world.unlock(one, LockKind::Posix, 1);
    let lost = Woken {
        session: three,
        ticket: 3,
        granted: false,
    };
    assert_eq!(woken, vec![granted(two, 2), lost]);
}

#[test]
fn a_session_that_ends_gives_back_all_it_has() {
    let mut world = World::new();
    let (one, two) = (world.session(), world.session());
    let write = world.wanted(LockKind::Posix, 1, Exclusive);
    let flock = world.wanted(LockKind::Flock, 2, Exclusive);
    for wanted in [&write, &flock] {
        assert_eq!(world.state(one, wanted.clone()), LockState::Granted);
    }
    for (wanted, ticket) in [(&write, 1), (&flock, 2)] {
        let state = world.state(two, waiting(wanted.clone(), ticket));
        assert_eq!(state, LockState::Waiting);
    }
    // One that waits itself is given nothing on the way.
    let three = world.session();
    let state = world.state(three, waiting(write, 1));
    assert_eq!(state, LockState::Waiting);
    let ended = world.run(CommandBody::ExpireSessions {
        sessions: vec![one, three],
    });
    let served = vec![granted(two, 1), granted(two, 2)];
    assert_eq!(ended.outcome, Outcome::Done(Success::Unlocked(served)));
    let closed = world.run(CommandBody::CloseSession { session: two });
    let nobody = Success::Maintained {
        rows: 1,
        more: false,
    };
    assert_eq!(closed.outcome, Outcome::Done(nobody));
    assert_eq!(world.rows(), 0);
}

#[test]
fn a_recovered_cluster_begins_without_locks_and_those_who_had_them() {
    let mut world = World::new();
    let (one, two) = (world.session(), world.session());
    let write = world.wanted(LockKind::Posix, 1, Exclusive);
    assert_eq!(world.state(one, write.clone()), LockState::Granted);
    let state = world.state(two, waiting(write.clone(), 1));
    assert_eq!(state, LockState::Waiting);
    world.run(CommandBody::Recovered);
    assert_eq!(world.rows(), 0);
    // What one of them was given may be lost, and the other's too.
    for session in [one, two] {
        let gone = Outcome::NotExecuted(NotExecuted::UnknownSession);
        assert_eq!(world.ask(session, Operation::Lock(write.clone())), gone);
    }
    let new = world.session();
    assert_eq!(world.state(new, write), LockState::Granted);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut world = World::new();
    let session = world.session();
    let write = world.wanted(LockKind::Posix, 1, Exclusive);
    let mut refused = |wanted: LockRequest, why: Refusal| {
        let outcome = world.ask(session, Operation::Lock(wanted));
        assert_eq!(outcome, Outcome::Refused(why));
    };
    let turned = LockRange { first: 1, last: 0 };
    let past = LockRange {
        first: 0,
        last: 1 << 63,
    };
    for range in [turned, past] {
        let wanted = LockRequest {
            range,
            ..write.clone()
        };
        refused(wanted, Refusal::InvalidArgument);
    }
    let nowhere = LockRequest {
        ino: Ino(99),
        ..write.clone()
    };
    refused(nowhere, Refusal::Stale);
    // A number stands for one request.
    let other = world.session();
    assert_eq!(world.state(other, write.clone()), LockState::Granted);
    let state = world.state(session, waiting(write.clone(), 1));
    assert_eq!(state, LockState::Waiting);
    let shared = waiting(world.wanted(LockKind::Posix, 1, Shared), 1);
    let outcome = world.ask(session, Operation::Lock(shared));
    assert_eq!(outcome, Outcome::Refused(Refusal::InvalidArgument));
}

#[test]
fn locks_are_bounded() {
    let mut world = World::new();
    let (one, two) = (world.session(), world.session());
    let at = |world: &World, byte: u64| LockRequest {
        range: LockRange {
            first: 2 * byte,
            last: 2 * byte,
        },
        ..world.wanted(LockKind::Posix, 1, Exclusive)
    };
    // Without the checks between, which look at all of them.
    let mut sequence = 0;
    for byte in 0..LOCKS_PER_FILE_MAX as u64 {
        sequence += 1;
        let request = Request {
            session: one,
            slot: SlotIndex(0),
            sequence,
            caller: Caller::root(),
            operation: Operation::Lock(at(&world, byte)),
        };
        let done = world.run(CommandBody::Request(request)).outcome;
        assert!(matches!(done, Outcome::Done(_)), "{done:?}");
    }
    world.sequences.insert(one, sequence);
    let more = at(&world, LOCKS_PER_FILE_MAX as u64);
    let refused = Outcome::Refused(Refusal::NoLocks);
    assert_eq!(world.ask(two, Operation::Lock(more.clone())), refused);
    let queued = waiting(at(&world, 0), 1);
    assert_eq!(world.ask(two, Operation::Lock(queued)), refused);
    // What does not add to them is done.
    let again = at(&world, 3);
    assert_eq!(world.state(one, again), LockState::Granted);
    world.unlock(one, LockKind::Posix, 1);
    assert_eq!(world.state(two, more), LockState::Granted);
}
