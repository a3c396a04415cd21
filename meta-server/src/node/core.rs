//! What all parts of a running node share.

use crate::answers::Budget;
use crate::changelog::followers::Followers;
use crate::clock::{ClockCheck, WallClock};
use crate::config::NodeConfig;
use crate::failure::{Failure, FailureKind};
use crate::generations::{self, Generations, Unread};
use crate::leader::held::HeldRounds;
use crate::leader_lease::LeaderLease;
use crate::leases::Leases;
use crate::metrics::{Metrics, MirrorNumbers, gauge};
use crate::mirror::board::MirrorBoard;
use crate::network::Channels;
use crate::proposer::{Proposer, leading_term};
use crate::reads::Reads;
use crate::session_table::SessionTable;
use crate::space::SpaceWatch;
use meta_core::attr::Caller;
use meta_core::command::{Command, CommandBody};
use meta_core::ids::{ClusterId, Level, VolumeId};
use meta_core::kv::KvRead;
use meta_core::outcome::{Fatal, MirrorState, Refusal, Stop, Token};
use meta_core::query::{Answer, Query, QueryBody};
use meta_core::seeded::{Bug, has};
use openraft::async_runtime::{Instant as _, WatchReceiver as _};
use openraft::{LogIdOptionExt as _, ServerState};
use parking_lot::Mutex;
use raft_store::{Incarnation, NodeId, Poison, StateMachine, StateReader, TypeConfig, View};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

/// openraft with our types.
pub(crate) type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// A leader that most voters have not answered for so many leases may not lead any more.
pub(crate) const MAJORITY_TIMEOUTS: u32 = 2;
/// Pages of listings that are read at a time, each on a blocking thread.
const LISTINGS_MAX: usize = 16;

/// Everything that the services and the leader's duties need.
pub(crate) struct Core {
    pub(crate) config: NodeConfig,
    /// Of this node's data.
    pub(crate) incarnation: Incarnation,
    pub(crate) raft: Raft,
    pub(crate) reader: StateReader,
    pub(crate) poison: Poison,
    pub(crate) channels: Arc<Channels>,
    pub(crate) wall: Arc<dyn WallClock>,
    pub(crate) clock: Arc<ClockCheck>,
    pub(crate) space: Arc<SpaceWatch>,
    pub(crate) generations: Arc<Generations>,
    /// Of this node as a leader, and what it owes those of others.
    pub(crate) leader_lease: Arc<LeaderLease>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reads: Reads,
    pub(crate) proposer: Proposer,
    pub(crate) sessions: SessionTable,
    pub(crate) held: HeldRounds,
    pub(crate) leases: Arc<Leases>,
    /// A file lost its last name.
    pub(crate) orphan_made: Notify,
    /// A volume has files to count, or may have.
    pub(crate) to_count: Notify,
    /// A copy of a directory was begun, or given up.
    pub(crate) to_clone: Notify,
    /// A volume that follows another cluster was made.
    pub(crate) mirror_made: Notify,
    pub(crate) mirrors: MirrorBoard,
    /// A volume was made.
    pub(crate) volume_made: Notify,
    /// Mirrors of volumes here.
    pub(crate) followers: Followers,
    pub(super) ready: AtomicBool,
    pub(super) cluster: Mutex<Option<ClusterId>>,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) listings: Semaphore,
    pub(crate) budget: Budget,
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("node_id", &self.config.node_id)
            .finish_non_exhaustive()
    }
}

/// Who leads, as this node knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lead {
    /// The current term.
    pub(crate) term: u64,
    /// Whether this node leads.
    pub(crate) leads: bool,
    /// The leader and its address.
    pub(crate) leader: Option<(NodeId, String)>,
    /// Whether this node knows of any member.
    pub(crate) has_members: bool,
    /// What the node is.
    pub(crate) state: ServerState,
}

/// Whether most of the voters answered a leader within `limit`. One that was elected just now has
/// asked nobody yet.
pub(crate) fn has_majority(raft: &Raft, limit: Duration) -> bool {
    let watched = raft.data_metrics();
    let answered = watched.borrow_watched().last_quorum_acked;
    // A voter that is alone asks nobody.
    answered.is_none_or(|at| at.elapsed() < limit) || raft.voter_ids().count() < 2
}

pub(super) fn listings() -> Semaphore {
    Semaphore::new(LISTINGS_MAX)
}

/// All members but `own`.
pub(crate) fn other_members(raft: &Raft, own: NodeId) -> Vec<NodeId> {
    let watched = raft.metrics();
    let metrics = watched.borrow_watched();
    let nodes = metrics.membership_config.membership().nodes();
    nodes.map(|(id, _)| *id).filter(|id| *id != own).collect()
}

impl Core {
    /// Who leads.
    pub(crate) fn lead(&self) -> Lead {
        let watched = self.raft.server_metrics();
        let metrics = watched.borrow_watched();
        let membership = metrics.membership_config.membership();
        let leader = metrics.current_leader.map(|id| {
            let addr = membership.get_node(&id).map(|node| node.addr.clone());
            (id, addr.unwrap_or_default())
        });
        Lead {
            term: metrics.vote.leader_id.term,
            leads: metrics.state == ServerState::Leader,
            leader,
            has_members: membership.voter_ids().next().is_some(),
            state: metrics.state,
        }
    }

    /// Why this node does not take requests, unless it leads.
    pub(crate) fn check_leading(&self) -> Result<(), Failure> {
        // Asked for every request: who leads does not look up by which address.
        let leads = self.raft.server_metrics().borrow_watched().state == ServerState::Leader;
        if leads && self.has_majority() {
            return Ok(());
        }
        let lead = self.lead();
        if lead.leads {
            let message = "this node has lost touch with most of the others";
            return Err(Failure::new(FailureKind::NotLeader(None), message));
        }
        if !lead.has_members {
            return Err(Failure::not_initialised());
        }
        let addr = lead
            .leader
            .map(|(_, addr)| addr)
            .filter(|addr| !addr.is_empty());
        let message = match &addr {
            Some(addr) => format!("this node does not lead; {addr} does"),
            None => "no leader is known yet".to_owned(),
        };
        Err(Failure::new(FailureKind::NotLeader(addr), message))
    }

    /// The term that this node leads in.
    pub(crate) fn leading_term(&self) -> Option<u64> {
        leading_term(&self.raft)
    }

    /// Whether every member waits, as leader, for leases of another.
    pub(crate) fn all_know_leases(&self) -> bool {
        let known = self.generations.check(&self.others(), generations::LEASES);
        known.is_ok()
    }

    /// The cluster's identity, if it has one as far as this node has applied.
    pub(crate) fn cluster_id(&self) -> Result<Option<ClusterId>, Failure> {
        if let Some(known) = *self.cluster.lock() {
            return Ok(Some(known));
        }
        let read = self
            .reader
            .with_view(|view| meta_core::read::is_initialised(view));
        let found = read
            .and_then(|found| found)
            .map_err(|fatal| self.fatal(&fatal))?;
        *self.cluster.lock() = found;
        Ok(found)
    }

    /// Refuses a command that a member may not be able to read. Where commands about tasks were
    /// applied before, all could read these, and one that is away now does not stop them; one that
    /// says that it is older does.
    pub(crate) fn check_generation(&self, command: &Command) -> Result<(), Failure> {
        let generation = generations::of(&command.body);
        // Nearly every command: nothing is looked at for it.
        if generation == generations::FIRST {
            return Ok(());
        }
        let unread = match self.generations.check(&self.others(), generation) {
            Ok(()) => return Ok(()),
            Err(unread) => unread,
        };
        let is_away = matches!(unread, Unread::NotHeard(_));
        if is_away && generation == generations::TASKS && self.had_tasks()? {
            return Ok(());
        }
        let message = format!("not every metadata node is known to understand this yet: {unread}");
        Err(Failure::bad_request(message))
    }

    /// Whether every member is known to read commands of this kind.
    pub(crate) fn reads_generation_of(&self, body: &CommandBody) -> bool {
        let generation = generations::of(body);
        self.generations.check(&self.others(), generation).is_ok()
    }

    /// Lets in commands that every member reads, and says whether that is all there are.
    pub(crate) fn let_in_what_all_read(&self) -> bool {
        self.generations.let_in_what_all_read(&self.others())
    }

    /// Takes in what a member says of it. A stranger may be of another cluster.
    pub(crate) fn learn_let_in(&self, sender: NodeId, generation: u32) {
        if generation > self.generations.let_in() && self.others().contains(&sender) {
            self.generations.learn_let_in(generation);
        }
    }

    /// The level up to which every member reads records.
    pub(crate) fn level_read(&self) -> Level {
        self.generations.level_read(&self.others())
    }

    /// The generation of commands that a node must read to become a member.
    pub(super) fn needed_generation(&self) -> Result<u32, Failure> {
        let had_tasks = self.had_tasks()?;
        Ok(self.generations.needed(&self.others(), had_tasks))
    }

    /// All members but this node.
    fn others(&self) -> Vec<NodeId> {
        other_members(&self.raft, self.config.node_id)
    }

    /// Whether there are rows of commands about tasks.
    fn had_tasks(&self) -> Result<bool, Failure> {
        let read = self.reader.with_view(|view| generations::had_tasks(view));
        read.and_then(|found| found)
            .map_err(|fatal| self.fatal(&fatal))
    }

    /// Refuses to serve before the cluster has its identity.
    pub(crate) fn check_initialised(&self) -> Result<(), Failure> {
        match self.cluster_id()? {
            Some(_) => Ok(()),
            None => Err(Failure::not_initialised()),
        }
    }

    /// Answers a client's query from a state that is recent enough.
    pub(crate) async fn query(self: &Arc<Self>, query: Query) -> QueryResult {
        let answered = self.query_inner(query).await;
        self.metrics.query(match &answered {
            Ok((_, Ok(_))) => "answered",
            Ok((_, Err(_))) => "refused",
            Err(failure) => failure.label(),
        });
        answered
    }

    async fn query_inner(self: &Arc<Self>, query: Query) -> QueryResult {
        self.check_leading()?;
        if !has(Bug::StaleRead) {
            self.reads.pass().await?;
        }
        self.check_initialised()?;
        self.answer(query).await
    }

    /// Answers a query that any member may answer, as this node leads or not.
    pub(crate) async fn query_nearest(self: &Arc<Self>, query: Query) -> QueryResult {
        if self.check_leading().is_ok() {
            return self.query(query).await;
        }
        let answered = self.query_following(query).await;
        self.metrics.query(match &answered {
            Ok((_, Ok(_))) => "answered_following",
            Ok((_, Err(_))) => "refused",
            Err(failure) => failure.label(),
        });
        answered
    }

    async fn query_following(self: &Arc<Self>, query: Query) -> QueryResult {
        if !has(Bug::FollowerDoesNotAsk) {
            self.reads.pass_following().await?;
        }
        self.check_initialised()?;
        self.answer(query).await
    }

    /// Answers from a state that includes `at_least`, as soon as this node has applied so much.
    /// Nothing is confirmed with a majority: who asks knows what it must see.
    pub(crate) async fn query_at_least(
        self: &Arc<Self>,
        query: Query,
        at_least: Token,
        wait: Duration,
    ) -> QueryResult {
        let answered = self.query_at_least_inner(query, at_least, wait).await;
        self.metrics.query(match &answered {
            Ok((_, Ok(_))) => "answered",
            Ok((_, Err(_))) => "refused",
            Err(failure) => failure.label(),
        });
        answered
    }

    async fn query_at_least_inner(
        self: &Arc<Self>,
        query: Query,
        at_least: Token,
        wait: Duration,
    ) -> QueryResult {
        self.check_initialised()?;
        let mut changes = self.reader.changes();
        let waiting = async {
            loop {
                changes.borrow_and_update();
                let place = self.mirror_place(query.volume)?;
                // What stands still for ever is not read, though it may hold enough: nobody would
                // see that it does, nor, where a row differed, that it is wrong.
                if !place.goes_on {
                    return Err(behind(place.token));
                }
                if place.token >= at_least || has(Bug::MirrorIgnoresToken) {
                    return Ok(());
                }
                if changes.changed().await.is_err() {
                    return Err(Failure::unavailable("the node is stopping"));
                }
            }
        };
        match tokio::time::timeout(wait, waiting).await {
            Ok(reached) => reached?,
            Err(_elapsed) => return Err(behind(self.mirror_place(query.volume)?.token)),
        }
        self.answer(query).await
    }

    fn mirror_place(&self, volume: VolumeId) -> Result<Reached, Failure> {
        let read = self.reader.with_view(|view| {
            let mirror = meta_core::read::mirror_place(view, volume)?;
            Ok(Reached {
                token: meta_core::read::token(view, volume)?,
                goes_on: mirror.is_none_or(|place| place.summary.state == MirrorState::Following),
            })
        });
        read.and_then(|place| place)
            .map_err(|fatal| self.fatal(&fatal))
    }

    /// Answers from this node's state as it is.
    pub(crate) async fn answer(self: &Arc<Self>, query: Query) -> QueryResult {
        if is_point(&query.body) {
            return self.answer_here(&query);
        }
        self.offloaded(move |core| core.answer_here(&query)).await
    }

    /// Does what reads many rows, on a thread for it.
    pub(super) async fn offloaded<R: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> Result<R, Failure> + Send + 'static,
    ) -> Result<R, Failure> {
        // The semaphore is never closed.
        let permit = self.listings.acquire().await;
        let core = Arc::clone(self);
        let answered = raft_store::offload(move || read(&core)).await;
        drop(permit);
        answered.unwrap_or_else(|error| Err(Failure::unavailable(error.to_string())))
    }

    fn answer_here(&self, query: &Query) -> QueryResult {
        let read = self.reader.with_view(|view| answer_from(view, query));
        read.and_then(|answered| answered)
            .map_err(|fatal| self.fatal(&fatal))
    }

    /// Two answers from one view.
    pub(super) fn answer_both(
        &self,
        one: &Query,
        other: &Query,
    ) -> Result<(Answered, Answered), Failure> {
        self.answer_and(one, |view, _| answer_from(view, other))
    }

    /// An answer, and what else is read from its view.
    pub(super) fn answer_and<R>(
        &self,
        query: &Query,
        more: impl FnOnce(&View<'_>, &Result<Answer, Refusal>) -> Result<R, Fatal>,
    ) -> Result<(Answered, R), Failure> {
        let read = self.reader.with_view(|view| {
            let answered = answer_from(view, query)?;
            let more = more(view, &answered.1)?;
            Ok((answered, more))
        });
        read.and_then(|answered| answered)
            .map_err(|fatal| self.fatal(&fatal))
    }

    /// A question of the node itself, answered from its state as it is.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        volume: VolumeId,
        body: QueryBody,
    ) -> Result<Answer, Failure> {
        let query = Query {
            volume,
            caller: Caller::root(),
            body,
        };
        match self.answer(query).await? {
            (_, Ok(answer)) => Ok(answer),
            (_, Err(refusal)) => Err(Failure::unavailable(refusal.to_string())),
        }
    }

    /// The store cannot be trusted any more: the node stops.
    pub(crate) fn fatal(&self, fatal: &Fatal) -> Failure {
        self.fail(fatal.to_string());
        Failure::unavailable("the node stops: its store failed")
    }

    /// Makes the node stop with a failure. The first reason is kept.
    pub(crate) fn fail(&self, reason: String) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            if first {
                tracing::error!(%reason, "the node fails");
                *failed = Some(reason);
            }
            first
        });
    }

    /// Why the node fails, if it does.
    pub(crate) fn failure(&self) -> Option<String> {
        self.poison
            .reason()
            .or_else(|| self.failed.borrow().clone())
    }

    /// Whether most of the voters answered lately, if this node leads. The others may have another
    /// leader if they did not, and who waits here waits in vain.
    pub(crate) fn has_majority(&self) -> bool {
        has_majority(&self.raft, self.lease() * MAJORITY_TIMEOUTS)
    }

    /// How long a follower that hears its leader elects no other.
    fn lease(&self) -> Duration {
        Duration::from_millis(self.config.raft.election_max_ms)
    }

    /// How many other voters there are.
    pub(crate) fn peers(&self) -> usize {
        let own = self.config.node_id;
        self.raft.voter_ids().filter(|id| *id != own).count()
    }

    /// Why the node is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Option<String> {
        if let Some(reason) = self.failure() {
            return Some(format!("failed: {reason}"));
        }
        if self.ready.load(Ordering::Acquire) {
            return None;
        }
        let lead = self.lead();
        Some(match (lead.has_members, lead.leader) {
            (true, Some(_)) if self.leader_lease.is_quarantined() => {
                "the node was started a moment ago, and takes part in no election yet".to_owned()
            }
            (false, _) => "the cluster is not initialised".to_owned(),
            (true, None) => "no leader is known".to_owned(),
            (true, Some((leader, _))) => format!("catching up with node {leader}"),
        })
    }

    /// Sets the gauges that are read from elsewhere.
    pub(crate) fn refresh_gauges(&self) {
        // A copy, because Raft waits for whoever reads.
        let raft = self.raft.metrics().borrow_watched().clone();
        let gauges = &self.metrics.raft;
        let index = |log_id: Option<u64>| gauge(log_id.unwrap_or(0));
        gauges
            .leading
            .set(i64::from(raft.state == ServerState::Leader));
        gauges.ready.set(i64::from(self.not_ready().is_none()));
        gauges.term.set(gauge(raft.current_term));
        gauges.last_log_index.set(index(raft.last_log_index));
        gauges
            .committed_index
            .set(index(raft.local_committed.index()));
        gauges.applied_index.set(index(raft.last_applied.index()));
        gauges.snapshot_index.set(index(raft.snapshot.index()));
        gauges.purged_index.set(index(raft.purged.index()));
        gauges.free_bytes.set(gauge(self.space.free_bytes()));
        gauges.reserve_bytes.set(gauge(self.space.reserve_bytes()));
        gauges
            .clock_apart_ms
            .set(i64::try_from(self.clock.largest().as_millis()).unwrap_or(i64::MAX));
        gauges
            .poisoned
            .set(i64::from(self.poison.reason().is_some()));
        self.refresh_mirrors();
        self.metrics
            .sessions
            .set(i64::try_from(self.sessions.len()).unwrap_or(i64::MAX));
    }

    fn refresh_mirrors(&self) {
        self.metrics.mirrors.clear();
        let read = self.reader.with_view(|view| meta_core::read::summary(view));
        let volumes = match read.and_then(|volumes| volumes) {
            Ok(volumes) => volumes,
            Err(fatal) => {
                // The node stops with it; the scrape shows what there is.
                let _stops = self.fatal(&fatal);
                return;
            }
        };
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for volume in volumes {
            let Some(mirror) = volume.mirror else {
                continue;
            };
            let now = Instant::now();
            let heard = self.mirrors.get(volume.id, volume.token.seq, now);
            let numbers = MirrorNumbers {
                watermark: volume.token.seq.0,
                following: mirror.state == MirrorState::Following,
                origin_seq: heard.origin.map(|seq| seq.0),
                lag_ms: heard.lag.map(ms),
            };
            self.metrics.mirrors.set(&volume.name, numbers);
        }
    }

    /// Waits until `wanted` holds for who leads, at most for `limit`.
    pub(crate) async fn wait_lead(
        &self,
        limit: Duration,
        wanted: impl Fn(&Lead) -> bool + Send,
    ) -> Option<Lead> {
        let mut changes = self.raft.server_metrics();
        let waiting = async {
            loop {
                let lead = self.lead();
                if wanted(&lead) {
                    return Some(lead);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(limit, waiting).await.unwrap_or(None)
    }
}

/// An answer or a refusal, with the state it was read from.
pub(crate) type Answered = (Token, Result<Answer, Refusal>);

/// The same, or a failure.
pub(crate) type QueryResult = Result<Answered, Failure>;

fn answer_from<K: KvRead>(view: &K, query: &Query) -> Result<Answered, Fatal> {
    // A refusal tells as much of the volume's state as an answer.
    let token = meta_core::read::token(view, query.volume)?;
    match meta_core::read::answer(view, query) {
        Ok((_, answer)) => Ok((token, Ok(answer))),
        Err(Stop::Refused(refusal)) => Ok((token, Err(refusal))),
        Err(Stop::Fatal(fatal)) => Err(fatal),
    }
}

/// How far a volume is here.
struct Reached {
    token: Token,
    /// Whether it gets any further by itself.
    goes_on: bool,
}

fn behind(token: Token) -> Failure {
    Failure::behind(format!(
        "this copy of the volume is at {}:{}",
        token.epoch, token.seq
    ))
}

/// Files that are read one after the other without leaving the thread.
const POINTS_MAX: usize = 16;

/// Whether a query reads a few rows only, so that it need not leave the thread it is on.
fn is_point(body: &QueryBody) -> bool {
    match body {
        QueryBody::Lookup { .. }
        | QueryBody::GetAttr { .. }
        | QueryBody::Open { .. }
        | QueryBody::ReadLink { .. }
        | QueryBody::GetXattr { .. }
        | QueryBody::Backup
        | QueryBody::FindVolume { .. } => true,
        QueryBody::GetAttrs { inos } => inos.len() <= POINTS_MAX,
        QueryBody::Resolve(asked) => asked.is_short(),
        // As many rows as directories are deep, or as are asked for.
        QueryBody::Usage(_)
        | QueryBody::Amounts { .. }
        | QueryBody::Limits { .. }
        | QueryBody::Space { .. }
        | QueryBody::Compactable { .. }
        | QueryBody::PlanCompaction { .. }
        // A file may have thousands of locks.
        | QueryBody::GetLock(_)
        | QueryBody::ReadDir { .. }
        | QueryBody::Clones
        | QueryBody::Followers
        | QueryBody::ReadSlices { .. }
        | QueryBody::ListXattr { .. }
        | QueryBody::StatVolume
        | QueryBody::PathOf { .. }
        | QueryBody::Orphans { .. }
        | QueryBody::Cuts { .. }
        | QueryBody::Trash(_)
        | QueryBody::Sessions { .. }
        | QueryBody::Volumes { .. } => false,
    }
}
