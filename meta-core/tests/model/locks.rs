//! Locks beside a plain model of what Linux does: who has which byte, and who waits.

use crate::engine::Engine;
use meta_core::attr::Caller;
use meta_core::check;
use meta_core::command::{CommandBody, Create, Existing, NewNode, Operation, Request};
use meta_core::ids::{Ino, SessionId, SlotIndex};
use meta_core::key;
use meta_core::kv::Family;
use meta_core::lock::{
    GetLock, LockDomain, LockKind, LockMode, LockOwner, LockRange, LockRequest, LockState,
    UnlockRequest, Woken,
};
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Success};
use meta_core::query::{Answer, QueryBody};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SESSIONS: usize = 3;
const FILES: usize = 2;
const BYTES: u64 = 8;

/// What is done, by indices of session, file and owner.
#[derive(Clone, Debug)]
enum Call {
    Lock(Wanted, bool),
    Unlock(Wanted),
    /// Of one that waits, by its place among all that do.
    Cancel(usize),
    /// Asks how one stands that waits.
    Again(usize),
    End(usize),
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    session: usize,
    file: usize,
    kind: LockKind,
    owner: u64,
    first: u64,
    last: u64,
    mode: LockMode,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let kinds = vec![
        LockKind::Posix,
        LockKind::Posix,
        LockKind::Ofd,
        LockKind::Flock,
    ];
    let modes = vec![LockMode::Shared, LockMode::Exclusive];
    (
        (0..SESSIONS, 0..FILES, 1..3_u64, 0..BYTES, 0..BYTES),
        prop::sample::select(kinds),
        prop::sample::select(modes),
    )
        .prop_map(|((session, file, owner, one, other), kind, mode)| Wanted {
            session,
            file,
            kind,
            owner,
            first: one.min(other),
            last: one.max(other),
            mode,
        })
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        8 => (wanted(), any::<bool>()).prop_map(|(wanted, waits)| Call::Lock(wanted, waits)),
        4 => wanted().prop_map(Call::Unlock),
        1 => any::<usize>().prop_map(Call::Cancel),
        1 => any::<usize>().prop_map(Call::Again),
        1 => (0..SESSIONS).prop_map(Call::End),
    ];
    prop::collection::vec(call, 1..60)
}

type Place = (usize, LockDomain);

/// A request that waits.
#[derive(Clone, Debug)]
struct Waits {
    place: Place,
    owner: LockOwner,
    ticket: u64,
    wanted: Wanted,
}

/// Byte by byte.
#[derive(Default)]
struct Model {
    held: BTreeMap<(Place, u64), BTreeMap<LockOwner, LockMode>>,
    /// In the order in which they came.
    queue: Vec<Waits>,
}

fn bytes(wanted: &Wanted) -> std::ops::RangeInclusive<u64> {
    match wanted.kind {
        LockKind::Flock => 0..=BYTES - 1,
        _ => wanted.first..=wanted.last,
    }
}

impl Model {
    /// Who is in the way.
    fn in_the_way(&self, place: Place, owner: LockOwner, wanted: &Wanted) -> BTreeSet<LockOwner> {
        let mut found = BTreeSet::new();
        for byte in bytes(wanted) {
            for (other, mode) in self.held.get(&(place, byte)).into_iter().flatten() {
                let excludes = LockMode::Exclusive;
                if *other != owner && (*mode == excludes || wanted.mode == excludes) {
                    found.insert(*other);
                }
            }
        }
        found
    }

    fn set(&mut self, place: Place, owner: LockOwner, wanted: &Wanted) {
        for byte in bytes(wanted) {
            let held = self.held.entry((place, byte)).or_default();
            held.insert(owner, wanted.mode);
        }
    }

    fn clear(&mut self, place: Place, owner: LockOwner, wanted: &Wanted) {
        for byte in bytes(wanted) {
            if let Some(held) = self.held.get_mut(&(place, byte)) {
                held.remove(&owner);
            }
        }
    }

    /// Whether `owner` waits, over however many others, for itself.
    fn is_deadlock(&self, place: Place, owner: LockOwner, wanted: &Wanted) -> bool {
        if owner.kind != LockKind::Posix {
            return false;
        }
        let mut reached = self.in_the_way(place, owner, wanted);
        loop {
            let known = reached.len();
            for waits in &self.queue {
                if reached.contains(&waits.owner) && waits.owner.kind == LockKind::Posix {
                    let more = self.in_the_way(waits.place, waits.owner, &waits.wanted);
                    reached.extend(more.iter().filter(|other| other.kind == LockKind::Posix));
                }
            }
            if reached.len() == known {
                return reached.contains(&owner);
            }
        }
    }

    /// Serves who can be served; gives up who waits for itself.
    fn settle(&mut self, places: &BTreeSet<Place>) -> Vec<Woken> {
        let mut woken = Vec::new();
        for place in places {
            loop {
                let before = woken.len();
                for waits in self.queue.clone() {
                    let free = self
                        .in_the_way(*place, waits.owner, &waits.wanted)
                        .is_empty();
                    if waits.place == *place && free {
                        self.set(*place, waits.owner, &waits.wanted);
                        self.take(&waits);
                        woken.push(told(&waits, true));
                    }
                }
                if woken.len() == before {
                    break;
                }
            }
            for waits in self.queue.clone() {
                if waits.place == *place && self.is_deadlock(*place, waits.owner, &waits.wanted) {
                    self.take(&waits);
                    woken.push(told(&waits, false));
                }
            }
        }
        woken
    }

    fn take(&mut self, gone: &Waits) {
        let is_it = |waits: &Waits| waits.owner == gone.owner && waits.ticket == gone.ticket;
        self.queue.retain(|waits| !is_it(waits));
    }

    fn state(&self) -> Vec<(Place, u64, LockOwner, LockMode)> {
        let each = self.held.iter().flat_map(|((place, byte), held)| {
            let held = held.iter();
            held.map(|(owner, mode)| (*place, *byte, *owner, *mode))
        });
        each.collect()
    }
}

fn told(waits: &Waits, granted: bool) -> Woken {
    Woken {
        session: waits.owner.session,
        ticket: waits.ticket,
        granted,
    }
}

/// Both side by side.
struct Pair {
    engine: Engine,
    model: Model,
    sessions: Vec<(SessionId, u64)>,
    files: Vec<Ino>,
    nonce: u128,
    ticket: u64,
    seen: BTreeSet<String>,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            engine: Engine::new(),
            model: Model::default(),
            sessions: Vec::new(),
            files: Vec::new(),
            nonce: 100,
            ticket: 0,
            seen: BTreeSet::new(),
        };
        for number in 0..FILES {
            let create = Create {
                parent: Ino::ROOT,
                name: Name::new(format!("f{number}").into_bytes()).expect("a name"),
                mode: 0o644,
                node: NewNode::Regular,
                masked: 0,
                existing: Existing::Refuse,
            };
            let made = pair
                .engine
                .request(&Caller::root(), Operation::Create(create));
            match made.1 {
                Outcome::Done(Success::Entry { attr, .. }) => pair.files.push(attr.ino),
                other => panic!("{other:?}"),
            }
        }
        for _session in 0..SESSIONS {
            let session = pair.open();
            pair.sessions.push((session, 0));
        }
        pair
    }

    fn open(&mut self) -> SessionId {
        self.nonce += 1;
        let open = CommandBody::OpenSession {
            nonce: self.nonce,
            slots: 1,
            info: Vec::new(),
        };
        match self.engine.run(open).outcome {
            Outcome::Done(Success::Session(session)) => session,
            other => panic!("{other:?}"),
        }
    }

    fn request(&mut self, index: usize, operation: Operation) -> Success {
        let (session, sequence) = &mut self.sessions[index];
        *sequence += 1;
        let request = Request {
            session: *session,
            slot: SlotIndex(0),
            sequence: *sequence,
            caller: Caller::root(),
            operation,
        };
        match self.engine.run(CommandBody::Request(request)).outcome {
            Outcome::Done(success) => success,
            other => panic!("{other:?}"),
        }
    }

    fn owner(&self, wanted: &Wanted) -> LockOwner {
        LockOwner {
            session: self.sessions[wanted.session].0,
            kind: wanted.kind,
            number: wanted.owner,
        }
    }

    fn run(&mut self, call: &Call) {
        match call {
            Call::Lock(wanted, waits) => {
                self.ticket += 1;
                let ticket = waits.then_some(self.ticket);
                self.lock(wanted, ticket);
            }
            Call::Unlock(wanted) => self.unlock(wanted),
            Call::Cancel(index) => self.cancel(*index),
            Call::Again(index) => {
                if let Some(waits) = self.waits(*index) {
                    self.lock(&waits.wanted, Some(waits.ticket));
                }
            }
            Call::End(session) => self.end(*session),
        }
        self.compare();
    }

    fn waits(&self, index: usize) -> Option<Waits> {
        let count = self.model.queue.len();
        let queue = &self.model.queue;
        (count > 0).then(|| queue[index % count].clone())
    }

    fn lock(&mut self, wanted: &Wanted, ticket: Option<u64>) {
        let (owner, place) = (self.owner(wanted), (wanted.file, wanted.kind.domain()));
        let operation = Operation::Lock(LockRequest {
            ino: self.files[wanted.file],
            kind: wanted.kind,
            owner: wanted.owner,
            pid: 1,
            range: LockRange {
                first: wanted.first,
                last: wanted.last,
            },
            mode: wanted.mode,
            wait: ticket,
        });
        let done = self.request(wanted.session, operation);
        let model = &mut self.model;
        let before = model.state();
        let own = model
            .held
            .get(&(place, 0))
            .and_then(|held| held.get(&owner));
        if wanted.kind == LockKind::Flock && own != Some(&wanted.mode) {
            model.clear(place, owner, wanted);
        }
        let waits = ticket.map(|ticket| Waits {
            place,
            owner,
            ticket,
            wanted: *wanted,
        });
        let known = |waits: &Waits, model: &Model| {
            let same = |other: &Waits| other.owner == owner && other.ticket == waits.ticket;
            model.queue.iter().any(same)
        };
        let state = if model.in_the_way(place, owner, wanted).is_empty() {
            model.set(place, owner, wanted);
            LockState::Granted
        } else {
            match &waits {
                None => LockState::Conflict,
                Some(waits) if model.is_deadlock(place, owner, wanted) => {
                    model.take(waits);
                    LockState::Deadlock
                }
                Some(waits) => {
                    if !known(waits, model) {
                        model.queue.push(waits.clone());
                    }
                    LockState::Waiting
                }
            }
        };
        let mut woken = Vec::new();
        if model.state() != before {
            woken = model.settle(&BTreeSet::from([place]));
        }
        self.seen.insert(format!("{:?} {state:?}", wanted.kind));
        self.saw(&woken);
        assert_eq!(done, Success::Locked { state, woken }, "{wanted:?}");
    }

    fn saw(&mut self, woken: &[Woken]) {
        let each = woken.iter().map(|woken| format!("woken {}", woken.granted));
        self.seen.extend(each);
    }

    fn unlock(&mut self, wanted: &Wanted) {
        let (owner, place) = (self.owner(wanted), (wanted.file, wanted.kind.domain()));
        let operation = Operation::Unlock(UnlockRequest {
            ino: self.files[wanted.file],
            kind: wanted.kind,
            owner: wanted.owner,
            range: LockRange {
                first: wanted.first,
                last: wanted.last,
            },
        });
        let done = self.request(wanted.session, operation);
        let before = self.model.state();
        self.model.clear(place, owner, wanted);
        let mut woken = Vec::new();
        if self.model.state() != before {
            woken = self.model.settle(&BTreeSet::from([place]));
        }
        self.saw(&woken);
        assert_eq!(done, Success::Unlocked(woken), "{wanted:?}");
    }

    fn cancel(&mut self, index: usize) {
        let Some(waits) = self.waits(index) else {
            return;
        };
        let cancel = Operation::CancelLock {
            kind: waits.owner.kind,
            owner: waits.owner.number,
            ticket: waits.ticket,
        };
        let done = self.request(waits.wanted.session, cancel);
        assert_eq!(done, Success::LockCancelled { waited: true });
        self.model.take(&waits);
    }

    fn end(&mut self, index: usize) {
        let session = self.sessions[index].0;
        let ended = self
            .engine
            .run(CommandBody::CloseSession { session })
            .outcome;
        self.model
            .queue
            .retain(|waits| waits.owner.session != session);
        let mut places = BTreeSet::new();
        for ((place, _), held) in &mut self.model.held {
            let before = held.len();
            held.retain(|owner, _| owner.session != session);
            if held.len() < before {
                places.insert(*place);
            }
        }
        // The engine goes through files as their numbers rise, as these do.
        let woken = self.model.settle(&places);
        self.saw(&woken);
        let expected = match woken.is_empty() {
            true => Success::Maintained {
                rows: 1,
                more: false,
            },
            false => Success::Unlocked(woken),
        };
        assert_eq!(ended, Outcome::Done(expected));
        self.sessions[index] = (self.open(), 0);
    }

    /// Every byte is whose the model says, in as few rows as that takes; and all rules hold.
    fn compare(&self) {
        let broken = check::check(&self.engine.kv, self.engine.volume).expect("a sound store");
        assert_eq!(broken, Vec::<String>::new());
        let stranger = |kind| LockOwner {
            session: SessionId(0),
            kind,
            number: 0,
        };
        let mut runs = BTreeMap::new();
        for (file, ino) in self.files.iter().enumerate() {
            for kind in [LockKind::Posix, LockKind::Flock] {
                let place = (file, kind.domain());
                for byte in 0..BYTES {
                    let held = self.model.held.get(&(place, byte));
                    for mode in [LockMode::Shared, LockMode::Exclusive] {
                        let excludes = |other: &LockMode| {
                            mode == LockMode::Exclusive || *other == LockMode::Exclusive
                        };
                        let expected = held.is_some_and(|held| held.values().any(excludes));
                        let asked = GetLock {
                            ino: *ino,
                            owner: stranger(kind),
                            range: LockRange {
                                first: byte,
                                last: byte,
                            },
                            mode,
                        };
                        let answer = self.engine.ask(&Caller::root(), QueryBody::GetLock(asked));
                        let Ok(Answer::Lock(found)) = answer else {
                            panic!("{answer:?}");
                        };
                        assert_eq!(found.is_some(), expected, "{place:?} {byte} {mode:?}");
                    }
                }
                runs.insert(
                    key::locks(self.engine.volume, *ino, kind.domain()),
                    self.runs(place),
                );
            }
        }
        for (prefix, expected) in runs {
            let rows = self.engine.kv.rows(Family::State).keys();
            let found = rows.filter(|key| key.starts_with(&prefix)).count();
            assert_eq!(found, expected, "rows of {prefix:?}");
        }
    }

    /// How many locks the bytes of a place make.
    fn runs(&self, place: Place) -> usize {
        let at = |byte: u64| self.model.held.get(&(place, byte));
        let begins = |byte: u64, owner: &LockOwner, mode: &LockMode| {
            let before = byte.checked_sub(1).and_then(at);
            before.and_then(|held| held.get(owner)) != Some(mode)
        };
        let begun = (0..BYTES).flat_map(|byte| {
            let held = at(byte).into_iter().flatten();
            held.filter(move |(owner, mode)| begins(byte, owner, mode))
        });
        begun.count()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn locks_are_as_on_linux(calls in calls()) {
        let mut pair = Pair::new();
        for call in &calls {
            pair.run(call);
        }
    }
}

/// Agreement says little about what never happened.
#[test]
fn random_locks_meet_what_they_should() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = BTreeSet::new();
    for _run in 0..100 {
        let calls = calls().new_tree(&mut runner).expect("calls").current();
        let mut pair = Pair::new();
        calls.iter().for_each(|call| pair.run(call));
        seen.extend(pair.seen);
    }
    let expected = [
        "Posix Granted",
        "Posix Conflict",
        "Posix Waiting",
        "Posix Deadlock",
        "Ofd Granted",
        "Ofd Conflict",
        "Ofd Waiting",
        "Flock Granted",
        "Flock Conflict",
        "Flock Waiting",
        "woken true",
        "woken false",
    ];
    for line in expected {
        assert!(seen.contains(line), "never: {line}");
    }
}
