//! What a cluster remembers: sessions, slots, what was executed how often.

use meta_core::attr::{Attr, Caller, FileKind, Timestamp};
use meta_core::command::{Command, CommandBody, Operation, Request};
use meta_core::ids::{ChunkIndex, Epoch, Ino, Level, Seq, SessionId, Uuid, VolumeId};
use meta_core::name::Name;
use meta_core::outcome::{NotExecuted, Outcome, Refusal, Reply, Success, Token};
use meta_core::path::Walk;
use meta_core::query::{Answer, Query, QueryBody, SessionInfo, VolumeInfo};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};

/// The state that all nodes of a fake cluster share.
#[derive(Debug, Default)]
pub(crate) struct Model(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    seq: u64,
    last_session: u64,
    sessions: BTreeMap<u64, HashMap<u32, (u64, Reply)>>,
    nonces: HashMap<u128, u64>,
    /// How often each (session, slot, sequence) was executed.
    executed: HashMap<(u64, u32, u64), u32>,
    /// How often each operation, told apart by its name, was executed.
    done: HashMap<Vec<u8>, u32>,
    volumes: Vec<VolumeInfo>,
    seen: Seen,
}

/// What nodes saw of clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Signs of life of sessions, by session.
    pub(crate) alive: HashMap<u64, u32>,
    /// Questions whether the node runs.
    pub(crate) pings: u32,
    /// Hellos received.
    pub(crate) hellos: u32,
    /// Sessions that hellos named.
    pub(crate) attached: Vec<u64>,
    /// Answers about open files.
    pub(crate) held: Vec<(u64, u64, Vec<u64>)>,
    /// Requests received, executed or not.
    pub(crate) requests: u32,
    /// Queries received.
    pub(crate) queries: u32,
}

/// An operation that the model tells apart from others.
pub(crate) fn operation(text: &str) -> Operation {
    Operation::Unlink {
        parent: Ino::ROOT,
        name: Name::new(text).expect("a name"),
    }
}

fn volume(id: u32, name: &str, uuid: Uuid) -> VolumeInfo {
    VolumeInfo {
        id: VolumeId(id),
        name: name.to_owned(),
        uuid,
        opened_by: Uuid([1; 16]),
        epochs: vec![(Epoch(0), Uuid([1; 16]))],
        block_bytes: 4 << 20,
        level: Level(1),
        storage: b"{}".to_vec(),
    }
}

impl Model {
    pub(crate) fn see(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().seen);
    }

    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().seen.clone()
    }

    /// Forgets a session, as its expiry does.
    pub(crate) fn expire(&self, session: SessionId) {
        assert!(
            self.0.lock().sessions.remove(&session.0).is_some(),
            "no such session"
        );
    }

    pub(crate) fn has_session(&self, session: SessionId) -> bool {
        self.0.lock().sessions.contains_key(&session.0)
    }

    pub(crate) fn session_count(&self) -> usize {
        self.0.lock().sessions.len()
    }

    /// How often the operation of that name was executed.
    pub(crate) fn times_done(&self, text: &str) -> u32 {
        self.0
            .lock()
            .done
            .get(text.as_bytes())
            .copied()
            .unwrap_or(0)
    }

    /// Operations executed.
    pub(crate) fn total_done(&self) -> u32 {
        self.0.lock().done.values().sum()
    }

    /// No (session, slot, sequence) was executed twice.
    pub(crate) fn check_exactly_once(&self) {
        for (key, times) in &self.0.lock().executed {
            assert_eq!(*times, 1, "{key:?}");
        }
    }

    /// The last sequences of a session's slots.
    pub(crate) fn sequences(&self, session: SessionId) -> BTreeMap<u32, u64> {
        let state = self.0.lock();
        let slots = state.sessions.get(&session.0).expect("a session");
        slots
            .iter()
            .map(|(slot, (sequence, _reply))| (*slot, *sequence))
            .collect()
    }

    pub(crate) fn apply(&self, command: &Command) -> Reply {
        let mut state = self.0.lock();
        match &command.body {
            CommandBody::Request(request) => state.request(request),
            CommandBody::OpenSession { nonce, .. } => {
                let id = state.open_session(*nonce);
                state.reply(Outcome::Done(Success::Session(SessionId(id))))
            }
            CommandBody::CloseSession { session } => {
                let outcome = match state.sessions.remove(&session.0) {
                    Some(_slots) => Outcome::Done(Success::Done),
                    None => Outcome::NotExecuted(NotExecuted::UnknownSession),
                };
                state.reply(outcome)
            }
            CommandBody::CreateVolume(create) => {
                let outcome = state.create_volume(&create.name, create.uuid);
                state.reply(outcome)
            }
            other => panic!("clients do not send {other:?}"),
        }
    }

    pub(crate) fn answer(&self, query: &Query) -> (Token, Result<Answer, Refusal>) {
        let state = self.0.lock();
        let result = match &query.body {
            QueryBody::FindVolume { name } if name == "vol" => {
                Ok(Answer::Volume(volume(7, "vol", Uuid([7; 16]))))
            }
            QueryBody::FindVolume { name } => {
                let found = state.volumes.iter().find(|volume| volume.name == *name);
                found
                    .cloned()
                    .map(Answer::Volume)
                    .ok_or(Refusal::UnknownVolume)
            }
            QueryBody::Volumes { after, .. } => {
                let later = state.volumes.iter().filter(|volume| volume.id > *after);
                Ok(Answer::Volumes(later.take(2).cloned().collect()))
            }
            QueryBody::Sessions { after, .. } => {
                let later = state.sessions.keys().filter(|id| **id > after.0).take(2);
                Ok(Answer::Sessions(
                    later.map(|id| session_info(*id)).collect(),
                ))
            }
            QueryBody::ReadLink { ino } => Ok(Answer::Bytes(ino.0.to_be_bytes().to_vec())),
            QueryBody::ReadSlices {
                end: ChunkIndex(0), ..
            } => Err(Refusal::InvalidArgument),
            body => files(&query.caller, body),
        };
        (state.token(), result)
    }
}

/// Directories without end: in each, every name but "missing" leads to the inode after it. What is
/// below 100 or above 200 is gone.
fn files(caller: &Caller, body: &QueryBody) -> Result<Answer, Refusal> {
    let there = |ino: Ino| (100..=200).contains(&ino.0);
    match body {
        QueryBody::Lookup { parent, name } => {
            let next = Ino(parent.0 + 1);
            let found = there(*parent) && there(next) && name.as_bytes() != b"missing";
            found
                .then(|| Answer::Attr(directory(next)))
                .ok_or(Refusal::NotFound)
        }
        QueryBody::GetAttr { ino } if there(*ino) => Ok(Answer::Attr(directory(*ino))),
        QueryBody::GetAttrs { inos } => {
            let each = inos.iter().map(|ino| {
                let attr = there(*ino).then(|| directory(*ino));
                attr.ok_or(Refusal::NotFound)
            });
            Ok(Answer::Attrs(each.collect()))
        }
        QueryBody::Resolve(asked) if there(asked.from) => {
            let mut walk = Walk::new(caller, directory(asked.from), asked);
            while let Some(question) = walk.question() {
                walk.answer(files(caller, &question)).expect("its answer");
            }
            Ok(Answer::Resolved(walk.found()))
        }
        _ => Err(Refusal::NotFound),
    }
}

fn directory(ino: Ino) -> Attr {
    Attr {
        ino,
        kind: FileKind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        rdev: 0,
        nlink: 2,
        length: 1,
        atime: Timestamp::default(),
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        parent: Ino(ino.0 - 1),
        btime: None,
        access_acl: false,
        default_acl: false,
    }
}

fn session_info(id: u64) -> SessionInfo {
    let (id, opened) = (SessionId(id), Timestamp::default());
    SessionInfo {
        id,
        volume: VolumeId(7),
        opened,
        info: Vec::new(),
    }
}

impl State {
    fn token(&self) -> Token {
        Token {
            epoch: Epoch(0),
            seq: Seq(self.seq),
        }
    }

    fn reply(&self, outcome: Outcome) -> Reply {
        Reply {
            token: self.token(),
            stamp: Timestamp::default(),
            outcome,
        }
    }

    fn open_session(&mut self, nonce: u128) -> u64 {
        if let Some(id) = self.nonces.get(&nonce) {
            return *id;
        }
        self.last_session += 1;
        self.nonces.insert(nonce, self.last_session);
        self.sessions.insert(self.last_session, HashMap::new());
        self.last_session
    }

    fn create_volume(&mut self, name: &str, uuid: Uuid) -> Outcome {
        if self.volumes.iter().any(|volume| volume.name == name) {
            return Outcome::Refused(Refusal::VolumeExists);
        }
        let id = 10 + u32::try_from(self.volumes.len()).expect("few volumes");
        self.volumes.push(volume(id, name, uuid));
        Outcome::Done(Success::Volume(VolumeId(id)))
    }

    fn request(&mut self, request: &Request) -> Reply {
        let Some(slots) = self.sessions.get(&request.session.0) else {
            return self.reply(Outcome::NotExecuted(NotExecuted::UnknownSession));
        };
        let last = slots.get(&request.slot.0);
        match last {
            Some((sequence, reply)) if *sequence == request.sequence => return reply.clone(),
            _ => {}
        }
        let last = last.map_or(0, |(sequence, _reply)| *sequence);
        if request.sequence != last + 1 {
            return self.reply(Outcome::NotExecuted(NotExecuted::SlotMisordered { last }));
        }
        let reply = self.run(&request.operation);
        let key = (request.session.0, request.slot.0, request.sequence);
        *self.executed.entry(key).or_default() += 1;
        let slots = self
            .sessions
            .get_mut(&request.session.0)
            .expect("looked up above");
        slots.insert(request.slot.0, (request.sequence, reply.clone()));
        reply
    }

    /// Names that begin with "refuse" are refused; the answer to others tells their turn.
    fn run(&mut self, operation: &Operation) -> Reply {
        let Operation::Unlink { name, .. } = operation else {
            panic!("not of these tests")
        };
        *self.done.entry(name.as_bytes().to_vec()).or_default() += 1;
        if name.as_bytes().starts_with(b"refuse") {
            return self.reply(Outcome::Refused(Refusal::NotEmpty));
        }
        self.seq += 1;
        self.reply(Outcome::Done(Success::Removed {
            ino: Ino(self.seq),
            nlink: 0,
        }))
    }
}
