use super::*;
use crate::attr::Caller;
use crate::command::{Command, CommandBody, CreateVolume, Operation, Request};
use crate::ids::{Epoch, Level, Seq, SlotIndex, Uuid, VolumeId};
use crate::kv::{MemKv, Overlay};
use crate::machine;
use crate::outcome::{NotExecuted, Outcome, Reply, Token};
use crate::query::{Answer, Query, QueryBody};
use crate::read;
use crate::task::{AtWork, BackupStatus};
use crate::testing::ListCodec;
use proptest::prelude::*;
use std::collections::BTreeMap;

const HOUR_MS: u64 = 3_600_000;
const SECOND: i128 = 1_000_000_000;

/// A volume that was made at second 1000, with sessions.
struct World {
    kv: MemKv,
    codec: ListCodec,
    volume: VolumeId,
    now: Timestamp,
    sequences: BTreeMap<SessionId, u64>,
    nonce: u128,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            kv: MemKv::default(),
            codec: ListCodec::default(),
            volume: VolumeId::CLUSTER,
            now: Timestamp {
                seconds: 1000,
                nanos: 0,
            },
            sequences: BTreeMap::new(),
            nonce: 0,
        };
        world.run(CommandBody::InitCluster {
            cluster: Uuid([1; 16]),
        });
        let create = CreateVolume {
            name: "vol".to_owned(),
            uuid: Uuid([2; 16]),
            block_bytes: 4 << 20,
            storage: b"{}".to_vec(),
        };
        match world.run(CommandBody::CreateVolume(create)).outcome {
            Outcome::Done(Success::Volume(id)) => world.volume = id,
            other => panic!("{other:?}"),
        }
        world
    }

    /// Applies at the world's time, which it moves on by as little as there is.
    fn run(&mut self, body: CommandBody) -> Reply {
        let command = Command {
            volume: self.volume,
            stamp: self.now,
            read_level: Level(0),
            body,
        };
        let mut pending = Overlay::new(&self.kv);
        let reply = machine::apply(&mut pending, &self.codec, &command).expect("a sound store");
        let writes = pending.into_writes();
        self.kv.write(writes);
        reply
    }

    fn open(&mut self) -> SessionId {
        self.nonce += 1;
        let body = CommandBody::OpenSession {
            nonce: self.nonce,
            slots: 1,
            info: Vec::new(),
        };
        match self.run(body).outcome {
            Outcome::Done(Success::Session(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn expire(&mut self, session: SessionId) {
        let sessions = vec![session];
        self.run(CommandBody::ExpireSessions { sessions });
    }

    fn pass(&mut self, ms: u64) {
        self.now = add_ms(self.now, ms);
    }

    fn request(&mut self, session: SessionId, operation: Operation) -> Outcome {
        let sequence = self.sequences.entry(session).or_default();
        *sequence += 1;
        let request = Request {
            session,
            slot: SlotIndex(0),
            sequence: *sequence,
            caller: Caller::root(),
            operation,
        };
        self.run(CommandBody::Request(request)).outcome
    }

    fn claim(&mut self, session: SessionId, interval_ms: u64) -> Claim {
        let task = Task::Backup;
        match self.request(session, Operation::ClaimTask { task, interval_ms }) {
            Outcome::Done(Success::Claimed(claim)) => claim,
            other => panic!("{other:?}"),
        }
    }

    fn finish(&mut self, session: SessionId, name: &str) -> Outcome {
        let operation = Operation::FinishBackup(made(name));
        self.request(session, operation)
    }

    fn release(&mut self, session: SessionId) -> Outcome {
        self.request(session, Operation::ReleaseTask { task: Task::Backup })
    }

    fn status(&self) -> BackupStatus {
        let query = Query {
            volume: self.volume,
            caller: Caller::root(),
            body: QueryBody::Backup,
        };
        match read::answer(&self.kv, &query) {
            Ok((_, Answer::Backup(status))) => status,
            other => panic!("{other:?}"),
        }
    }

    fn token(&self) -> Token {
        read::token(&self.kv, self.volume).expect("a sound store")
    }
}

fn made(name: &str) -> NewBackup {
    NewBackup {
        token: Token {
            epoch: Epoch(0),
            seq: Seq(7),
        },
        bytes: 1000,
        name: name.to_owned(),
    }
}

fn given(claim: Claim) -> bool {
    matches!(claim, Claim::Given { .. })
}

#[test]
fn a_backup_is_due_an_interval_after_the_volume_was_made_and_after_the_last_one() {
    let mut world = World::new();
    let session = world.open();
    let Claim::NotDue { retry_ms } = world.claim(session, HOUR_MS) else {
        panic!("due at once");
    };
    assert!(retry_ms <= HOUR_MS && retry_ms > HOUR_MS - 10, "{retry_ms}");
    assert_eq!(world.status(), BackupStatus::default());
    world.pass(retry_ms);
    let claim = world.claim(session, HOUR_MS);
    let Claim::Given { at, lease_ms } = claim else {
        panic!("{claim:?}");
    };
    assert_eq!(lease_ms, TASK_LEASE_MS);
    let at_work = Some(AtWork { session, since: at });
    assert_eq!(world.status().at_work, at_work);
    let before = world.token();
    assert_eq!(world.finish(session, "one"), Outcome::Done(Success::Done));
    // None of this is a change of the volume.
    assert_eq!(world.token(), before);
    let status = world.status();
    assert_eq!(status.at_work, None);
    assert_eq!(status.last.expect("a backup").made, made("one"));
    // Whoever wants them more often gets more.
    world.pass(10_000);
    let later = world.claim(session, HOUR_MS);
    assert!(matches!(later, Claim::NotDue { retry_ms } if retry_ms <= HOUR_MS - 10_000));
    assert!(given(world.claim(session, 10_000)));
}

#[test]
fn one_session_at_a_time_does_a_backup_and_the_end_of_a_session_ends_its_claim() {
    let mut world = World::new();
    let (one, other) = (world.open(), world.open());
    world.pass(HOUR_MS);
    assert!(given(world.claim(one, HOUR_MS)));
    let held = world.claim(other, HOUR_MS);
    assert!(matches!(held, Claim::Held { retry_ms } if retry_ms <= TASK_LEASE_MS));
    // What is not its own it cannot finish, and cannot give back.
    let lost = Outcome::Refused(Refusal::ClaimLost);
    assert_eq!(world.finish(other, "x"), lost);
    assert_eq!(world.release(other), Outcome::Done(Success::Done));
    assert!(matches!(world.claim(other, HOUR_MS), Claim::Held { .. }));
    world.expire(one);
    assert_eq!(world.status().at_work, None);
    assert!(given(world.claim(other, HOUR_MS)));
    // The one that died does not come back.
    let gone = Outcome::NotExecuted(NotExecuted::UnknownSession);
    assert_eq!(world.finish(one, "x"), gone);
    assert_eq!(world.finish(other, "y"), Outcome::Done(Success::Done));
    assert_eq!(world.status().last.expect("a backup").made, made("y"));
}

#[test]
fn a_claim_that_is_not_renewed_is_taken_over_and_one_that_is_renewed_is_not() {
    let mut world = World::new();
    let (one, other) = (world.open(), world.open());
    world.pass(HOUR_MS);
    assert!(given(world.claim(one, HOUR_MS)));
    for _ in 0..10 {
        world.pass(TASK_LEASE_MS / 2);
        assert!(given(world.claim(one, HOUR_MS)), "it is at it still");
        assert!(matches!(world.claim(other, HOUR_MS), Claim::Held { .. }));
    }
    world.pass(TASK_LEASE_MS + 1);
    assert!(given(world.claim(other, HOUR_MS)));
    assert!(matches!(world.claim(one, HOUR_MS), Claim::Held { .. }));
    assert_eq!(
        world.finish(one, "late"),
        Outcome::Refused(Refusal::ClaimLost)
    );
    assert_eq!(world.finish(other, "good"), Outcome::Done(Success::Done));
    assert_eq!(
        world.finish(other, "twice"),
        Outcome::Refused(Refusal::ClaimLost)
    );
}

#[test]
fn what_was_given_back_is_given_to_the_next_at_once() {
    let mut world = World::new();
    let (one, other) = (world.open(), world.open());
    world.pass(HOUR_MS);
    assert!(given(world.claim(one, HOUR_MS)));
    assert_eq!(world.release(one), Outcome::Done(Success::Done));
    assert!(given(world.claim(other, HOUR_MS)));
    assert_eq!(world.status().last, None);
}

#[test]
fn arguments_that_make_no_sense_are_refused_and_large_ones_are_not() {
    let mut world = World::new();
    let session = world.open();
    let task = Task::Backup;
    let invalid = Outcome::Refused(Refusal::InvalidArgument);
    let never = Operation::ClaimTask {
        task,
        interval_ms: 0,
    };
    assert_eq!(world.request(session, never), invalid);
    assert!(matches!(
        world.claim(session, u64::MAX),
        Claim::NotDue { .. }
    ));
    world.pass(1000);
    assert!(given(world.claim(session, 1)));
    for name in [String::new(), "n".repeat(BACKUP_NAME_BYTES_MAX + 1)] {
        assert_eq!(world.finish(session, &name), invalid);
    }
    let longest = "n".repeat(BACKUP_NAME_BYTES_MAX);
    let done = Outcome::Done(Success::Done);
    assert_eq!(world.finish(session, &longest), done);
    assert_eq!(world.status().last.expect("one").made.name, longest);
}

#[test]
fn times_are_added_up_and_taken_apart() {
    let at = |seconds, nanos| Timestamp { seconds, nanos };
    assert_eq!(add_ms(at(1, 999_999_999), 1), at(2, 999_999));
    assert_eq!(add_ms(at(1, 0), 2500), at(3, 500_000_000));
    assert_eq!(add_ms(at(i64::MAX, 5), u64::MAX).seconds, i64::MAX);
    assert_eq!(ms_between(at(1, 0), at(1, 1)), 1);
    assert_eq!(ms_between(at(1, 0), at(2, 500_000_000)), 1500);
    assert_eq!(ms_between(at(2, 0), at(1, 0)), 0);
    assert_eq!(ms_between(at(i64::MIN, 0), at(i64::MAX, 0)), u64::MAX);
}

/// What a step of the model does.
#[derive(Clone, Debug)]
enum Step {
    Claim(usize, u64),
    Release(usize),
    Finish(usize),
    Reopen(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = || 0..3_usize;
    prop_oneof![
        6 => (who(), 1..4_u64).prop_map(|(who, hours)| Step::Claim(who, hours * 10_000)),
        1 => who().prop_map(Step::Release),
        2 => who().prop_map(Step::Finish),
        1 => who().prop_map(Step::Reopen),
        4 => (1..90_000_u64).prop_map(Step::Pass),
    ]
}

/// The same as plain as can be: who has it until when, and when it was done last.
#[derive(Default)]
struct Model {
    holder: Option<(SessionId, i128)>,
    done: i128,
}

impl Model {
    /// Whether a session is given the task.
    fn claim(&mut self, session: SessionId, interval_ms: u64, now: i128) -> bool {
        let due = now >= self.done + i128::from(interval_ms) * (SECOND / 1000);
        let given = match self.holder {
            Some((holder, _)) if holder == session => true,
            Some((_, until)) if until > now => false,
            _ => due,
        };
        if given {
            let until = now + i128::from(TASK_LEASE_MS) * (SECOND / 1000);
            self.holder = Some((session, until));
        }
        given
    }

    fn end(&mut self, session: SessionId) -> bool {
        let own = self.holder.is_some_and(|(holder, _)| holder == session);
        if own {
            self.holder = None;
        }
        own
    }
}

proptest! {
    #[test]
    fn sessions_are_given_a_task_as_a_plain_model_says(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        let mut sessions: Vec<SessionId> = (0..3).map(|_| world.open()).collect();
        let mut model = Model { holder: None, done: 1000 * SECOND };
        for step in steps {
            // So that no stamp is raised to be later than the last change.
            world.pass(1);
            let now = world.now.as_nanos();
            match step {
                Step::Claim(who, interval_ms) => {
                    let session = sessions[who];
                    let claim = world.claim(session, interval_ms);
                    prop_assert_eq!(given(claim), model.claim(session, interval_ms, now));
                    match claim {
                        Claim::Given { at, .. } => prop_assert_eq!(at.as_nanos(), now),
                        Claim::Held { retry_ms } | Claim::NotDue { retry_ms } => {
                            prop_assert!(retry_ms > 0, "it would ask at once");
                        }
                    }
                }
                Step::Release(who) => {
                    world.release(sessions[who]);
                    model.end(sessions[who]);
                }
                Step::Finish(who) => {
                    let done = world.finish(sessions[who], "n") == Outcome::Done(Success::Done);
                    prop_assert_eq!(done, model.end(sessions[who]));
                    if done {
                        model.done = now;
                    }
                }
                Step::Reopen(who) => {
                    world.expire(sessions[who]);
                    model.end(sessions[who]);
                    sessions[who] = world.open();
                }
                Step::Pass(ms) => world.pass(ms),
            }
            let at_work = world.status().at_work.map(|at_work| at_work.session);
            prop_assert_eq!(at_work, model.holder.map(|(holder, _)| holder));
        }
    }
}
