//! The engine over maps in memory, with one volume and one session.

use crate::codec::TextCodec;
use meta_core::attr::{Attr, Caller, Timestamp};
use meta_core::command::{Command, CommandBody, CreateVolume, Operation, Request};
use meta_core::ids::{Ino, Level, SessionId, SliceId, SlotIndex, Uuid, VolumeId};
use meta_core::kv::{MemKv, Overlay};
use meta_core::limits::LEVEL_MAX;
use meta_core::outcome::{Outcome, Refusal, Reply, Stop, Success};
use meta_core::query::{Answer, Query, QueryBody, VolumeStat};
use meta_core::{machine, read};

const SLICES: u32 = 256;

pub(crate) struct Engine {
    pub(crate) kv: MemKv,
    pub(crate) codec: TextCodec,
    pub(crate) volume: VolumeId,
    session: SessionId,
    sequence: u64,
    clock: i64,
    granted: Vec<SliceId>,
    /// Everything that was applied, and its reply.
    pub(crate) log: Vec<(Command, Reply)>,
    /// Sends each request of a session a second time.
    pub(crate) sends_twice: bool,
    pub(crate) level: Level,
}

impl Engine {
    /// What is removed is deleted at once.
    pub(crate) fn new() -> Self {
        let mut engine = Self::at_level(LEVEL_MAX);
        engine.run(CommandBody::SetOptions {
            caller: Caller::root(),
            trash_seconds: 0,
        });
        engine
    }

    pub(crate) fn at_level(level: Level) -> Self {
        let mut engine = Self {
            kv: MemKv::default(),
            codec: TextCodec::default(),
            volume: VolumeId::CLUSTER,
            session: SessionId(0),
            sequence: 0,
            clock: 1000,
            granted: Vec::new(),
            log: Vec::new(),
            sends_twice: false,
            level: Level(1),
        };
        let cluster = Uuid([1; 16]);
        engine.run(CommandBody::InitCluster { cluster });
        let create = CreateVolume {
            name: "model".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: Vec::new(),
        };
        match engine.run(CommandBody::CreateVolume(create)).outcome {
            Outcome::Done(Success::Volume(id)) => engine.volume = id,
            other => panic!("{other:?}"),
        }
        engine.run(CommandBody::RaiseLevel { level });
        let open = CommandBody::OpenSession {
            nonce: 1,
            slots: 1,
            info: Vec::new(),
        };
        match engine.run(open).outcome {
            Outcome::Done(Success::Session(id)) => engine.session = id,
            other => panic!("{other:?}"),
        }
        engine
    }

    pub(crate) fn clock(&self) -> i64 {
        self.clock
    }

    pub(crate) fn run(&mut self, body: CommandBody) -> Reply {
        self.clock += 1;
        if let CommandBody::RaiseLevel { level } = body {
            self.level = level;
        }
        // Now and then a leader's clock is behind that of the one before.
        let behind = if self.clock % 7 == 0 { 5 } else { 0 };
        let command = Command {
            volume: self.volume,
            stamp: Timestamp {
                seconds: self.clock - behind,
                nanos: 0,
            },
            read_level: Level(0),
            body,
        };
        let reply = apply(&mut self.kv, &self.codec, std::slice::from_ref(&command));
        let reply = reply.into_iter().next().expect("one reply");
        self.log.push((command, reply.clone()));
        reply
    }

    /// An operation of the session.
    pub(crate) fn request(
        &mut self,
        caller: &Caller,
        operation: Operation,
    ) -> (Timestamp, Outcome) {
        self.sequence += 1;
        let body = CommandBody::Request(Request {
            session: self.session,
            slot: SlotIndex(0),
            sequence: self.sequence,
            caller: caller.clone(),
            operation,
        });
        let reply = self.run(body.clone());
        if self.sends_twice {
            let before = self.kv.clone();
            assert_eq!(self.run(body), reply, "the second answer is another");
            assert!(self.kv == before, "the second sending changed something");
        }
        (reply.stamp, reply.outcome)
    }

    pub(crate) fn slice(&mut self) -> SliceId {
        if self.granted.is_empty() {
            let grant = Operation::GrantSlices { count: SLICES };
            match self.request(&Caller::root(), grant).1 {
                Outcome::Done(Success::Granted { first, count }) => {
                    let ids = (0..u64::from(count)).rev();
                    self.granted.extend(ids.map(|n| SliceId(first.0 + n)));
                }
                other => panic!("{other:?}"),
            }
        }
        self.granted.pop().expect("some were granted")
    }

    pub(crate) fn ask(&self, caller: &Caller, body: QueryBody) -> Result<Answer, Refusal> {
        let query = Query {
            volume: self.volume,
            caller: caller.clone(),
            body,
        };
        match read::answer(&self.kv, &query) {
            Ok((_, answer)) => Ok(answer),
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Fatal(fatal)) => panic!("{fatal}"),
        }
    }

    pub(crate) fn attr(&self, ino: Ino) -> Result<Attr, Refusal> {
        match self.ask(&Caller::root(), QueryBody::GetAttr { ino })? {
            Answer::Attr(attr) => Ok(attr),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn stat(&self) -> VolumeStat {
        match self.ask(&Caller::root(), QueryBody::StatVolume) {
            Ok(Answer::Stat(stat)) => stat,
            other => panic!("{other:?}"),
        }
    }
}

/// Applies commands as one batch, as a node does between two writes of its store.
pub(crate) fn apply(kv: &mut MemKv, codec: &TextCodec, commands: &[Command]) -> Vec<Reply> {
    let mut pending = Overlay::new(&*kv);
    let replies = commands
        .iter()
        .map(|command| machine::apply(&mut pending, codec, command).expect("a sound store"))
        .collect();
    let writes = pending.into_writes();
    kv.write(writes);
    replies
}
