//! Puts commands into the log: the only way in.
//!
//! Before a command is submitted, everything that speaks against it is a failure that means *not
//! executed*. Once it is submitted, anything but its reply means *unknown*: it may still commit.

use crate::clock::{self, ClockCheck, WallClock};
use crate::failure::{self, Failure};
use crate::generations::Generations;
use crate::leases::Change;
use crate::metrics::Metrics;
use crate::node::{Raft, has_majority, other_members};
use crate::space::SpaceWatch;
use meta_core::codec::Codec;
use meta_core::command::{Command, CommandBody};
use meta_core::failpoint::{self, Point};
use meta_core::ids::Level;
use meta_core::limits::LEVEL_UNSAID;
use meta_core::outcome::{Outcome, Reply};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver as _;
use proto::limits::COMMAND_BYTES_MAX;
use raft_store::{Applied, CommandBytes, NodeId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Commands in flight together, in KiB.
const IN_FLIGHT_KIB_MAX: usize = 64 << 10;
/// Of them, what only the leader's own duties may use, so that a flood of clients cannot stop the
/// deletion of what they delete.
const DUTIES_KIB: usize = 4 << 10;
/// How often a waiting command looks whether this node still leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// No reply is waited for longer.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Submits commands.
pub(crate) struct Proposer {
    raft: Raft,
    codec: Arc<dyn Codec>,
    parts: ProposerParts,
    clients_kib: Semaphore,
    duties_kib: Semaphore,
}

/// What a proposer looks at before it submits.
pub(crate) struct ProposerParts {
    /// This node.
    pub(crate) own: NodeId,
    pub(crate) wall: Arc<dyn WallClock>,
    pub(crate) clock: Arc<ClockCheck>,
    pub(crate) space: Arc<SpaceWatch>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) generations: Arc<Generations>,
    /// Without an answer of most voters for so long nothing is waited for.
    pub(crate) majority_limit: Duration,
}

impl fmt::Debug for Proposer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proposer").finish_non_exhaustive()
    }
}

/// On whose behalf a command is proposed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// A client or an administrator.
    Client,
    /// The leader itself.
    Duty,
}

impl Proposer {
    pub(crate) fn new(raft: Raft, codec: Arc<dyn Codec>, parts: ProposerParts) -> Self {
        Self {
            raft,
            codec,
            parts,
            clients_kib: Semaphore::new(IN_FLIGHT_KIB_MAX - DUTIES_KIB),
            duties_kib: Semaphore::new(DUTIES_KIB),
        }
    }

    /// Stamps a command, submits it and waits for its reply. The caller has checked that
    /// this node leads. `held` is dropped when it is certain how the command ended, which may be
    /// later than the answer.
    pub(crate) async fn propose(
        &self,
        origin: Origin,
        command: Command,
        held: Change,
    ) -> Result<Reply, Failure> {
        let started = Instant::now();
        let replied = self.propose_inner(origin, command, held).await;
        self.parts
            .metrics
            .proposal_seconds
            .observe(started.elapsed().as_secs_f64());
        self.parts.metrics.proposal(match &replied {
            Ok(reply) => match reply.outcome {
                Outcome::Done(_) => "done",
                Outcome::Refused(_) => "refused",
                Outcome::NotExecuted(_) => "not_executed",
            },
            Err(failure) => failure.label(),
        });
        replied
    }

    async fn propose_inner(
        &self,
        origin: Origin,
        mut command: Command,
        held: Change,
    ) -> Result<Reply, Failure> {
        self.check_clock()?;
        self.parts.space.admit(&command)?;
        command.stamp = clock::timestamp(self.parts.wall.now());
        command.read_level = self.read_level(&command.body);
        let bytes = self.codec.encode_command(&command);
        if bytes.len() > COMMAND_BYTES_MAX {
            return Err(Failure::bad_request(format!(
                "a command of {} bytes is over the limit of {COMMAND_BYTES_MAX}",
                bytes.len()
            )));
        }
        let kib = match origin {
            Origin::Client => &self.clients_kib,
            Origin::Duty => &self.duties_kib,
        };
        // At most 4 MiB were admitted, so the number of KiB fits.
        let needed = u32::try_from(bytes.len() / 1024 + 1).unwrap_or(u32::MAX);
        let Ok(_in_flight) = kib.try_acquire_many(needed) else {
            return Err(Failure::overloaded("too many commands are in flight"));
        };
        self.parts.metrics.proposals_in_flight.inc();
        failpoint::pass(Point::Propose);
        let replied = self.submit(bytes, held).await;
        failpoint::pass(Point::Proposed);
        self.parts.metrics.proposals_in_flight.dec();
        replied
    }

    /// What a command that takes in rows of elsewhere is to say of them.
    fn read_level(&self, body: &CommandBody) -> Level {
        if !matches!(
            body,
            CommandBody::Mirror(_) | CommandBody::EndRestore { .. }
        ) {
            return Level(0);
        }
        let level = self
            .parts
            .generations
            .level_read(&other_members(&self.raft, self.parts.own));
        if level > LEVEL_UNSAID {
            level
        } else {
            Level(0)
        }
    }

    async fn submit(&self, bytes: Vec<u8>, held: Change) -> Result<Reply, Failure> {
        let deadline = Instant::now() + REPLY_TIMEOUT;
        let term = leading_term(&self.raft);
        let raft = self.raft.clone();
        let writing = async move { raft.client_write(CommandBytes(bytes.into())).await };
        let mut writing = Box::pin(writing);
        let why = loop {
            match tokio::time::timeout(LOOK_INTERVAL, &mut writing).await {
                Ok(Ok(written)) => return reply(written.data),
                Ok(Err(error)) => return Err(failure::of_write(error)),
                Err(_elapsed) if leading_term(&self.raft) != term => {
                    break "this node lost its leadership meanwhile";
                }
                Err(_elapsed) if !has_majority(&self.raft, self.parts.majority_limit) => {
                    break "this node lost touch with most of the others meanwhile";
                }
                Err(_elapsed) if Instant::now() >= deadline => {
                    break "a majority did not answer in time";
                }
                Err(_elapsed) => {}
            }
        };
        tokio::spawn(async move {
            // It may be applied yet: until then nobody may cache what it changes.
            let _ended = writing.await;
            drop(held);
        });
        Err(Failure::unknown(why))
    }

    fn check_clock(&self) -> Result<(), Failure> {
        let peers = || self.raft.voter_ids().count().saturating_sub(1);
        if self.parts.clock.is_off(peers) {
            return Err(Failure::unavailable(
                "the leader's clock is more than a second off the clocks of its peers; \
                 leadership is given away",
            ));
        }
        Ok(())
    }
}

/// The term that this node leads in.
pub(crate) fn leading_term(raft: &Raft) -> Option<u64> {
    let watched = raft.server_metrics();
    let metrics = watched.borrow_watched();
    (metrics.state == ServerState::Leader).then_some(metrics.vote.leader_id.term)
}

fn reply(applied: Applied) -> Result<Reply, Failure> {
    match applied {
        Applied::Reply(reply) => Ok(reply),
        Applied::Nothing => Err(Failure::unknown("the command was applied without a reply")),
    }
}

/// Whether a client may send such a command. The rest is decided in the server.
pub(crate) fn clients_may_send(body: &CommandBody) -> bool {
    match body {
        CommandBody::CreateVolume(_)
        | CommandBody::OpenSession { .. }
        | CommandBody::CloseSession { .. }
        | CommandBody::Request(_)
        | CommandBody::Mark
        | CommandBody::NoteFollower { .. }
        | CommandBody::SetOptions { .. }
        | CommandBody::SetQuota { .. }
        | CommandBody::CreateMirror(_)
        // A volume that is being restored is nobody's yet, and no other one takes them.
        | CommandBody::BeginRestore(_)
        | CommandBody::RestoreRows(_)
        | CommandBody::EndRestore { .. } => true,
        CommandBody::InitCluster { .. }
        | CommandBody::ExpireSessions { .. }
        | CommandBody::Reap { .. }
        | CommandBody::ReapFiles { .. }
        | CommandBody::PurgeTrash { .. }
        | CommandBody::CountFiles { .. }
        | CommandBody::CloneStep { .. }
        | CommandBody::Trim { .. }
        | CommandBody::TrimChangelog { .. }
        | CommandBody::RaiseLevel { .. }
        | CommandBody::Recovered
        | CommandBody::Mirror(_) => false,
    }
}
