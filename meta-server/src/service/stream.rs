//! One client's stream: frames in, answers out, in whatever order they are ready.
//!
//! Each frame is answered in a task of its own. At most [`WINDOW`] are under way; then the next
//! frame is not read, and the client's HTTP/2 window closes. A stream has no state that outlives
//! it: sessions, slots and their replies are replicated.

use crate::answers::{Outbox, Room};
use crate::failure::{Failure, FailureKind};
use crate::leases::{Own, Way};
use crate::node::{Answered, Core};
use crate::proposer::{Origin, clients_may_send};
use crate::session_table::Came;
use crate::session_table::StreamLink;
use meta_core::acl::AclKind;
use meta_core::command::{CommandBody, Operation};
use meta_core::ids::{SessionId, VolumeId};
use meta_core::outcome::{Outcome, Removal, Success, Token};
use meta_core::query::{Answer, Query, QueryBody};
use proto::convert::Convert as _;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use proto::{codec, limits};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;

/// A copy that is behind is not waited for any longer, whatever the client says.
const BEHIND_WAIT_MAX: Duration = Duration::from_secs(30);
/// Frames of one client under way.
const WINDOW: usize = 256;
/// Names of a page that is not large.
const SMALL_PAGE: u32 = 256;
/// A client says hello in this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Sessions that live on one stream.
const SESSIONS_MAX: usize = limits::HELLO_SESSIONS_MAX;

/// One client.
pub(super) struct ClientStream {
    core: Arc<Core>,
    link: Arc<StreamLink>,
    outbox: Outbox,
    window: Arc<Semaphore>,
    tasks: TaskTracker,
    attached: HashSet<SessionId>,
    /// How its sessions come to this leader.
    came: Option<Came>,
}

impl ClientStream {
    pub(super) fn new(core: Arc<Core>, outbox: Outbox, tasks: TaskTracker) -> Self {
        let link = StreamLink::new(outbox.out());
        let window = Arc::new(Semaphore::new(WINDOW));
        Self {
            core,
            link,
            outbox,
            window,
            tasks,
            attached: HashSet::new(),
            came: None,
        }
    }

    /// Serves until the client leaves, breaks the protocol, takes no answers, or the node stops.
    pub(super) async fn run(
        mut self,
        mut frames: Streaming<v1::ClientFrame>,
        stop: CancellationToken,
    ) {
        self.core.metrics.streams.inc();
        let outbox = self.outbox.clone();
        tokio::select! {
            () = self.serve(&mut frames) => {}
            () = outbox.stuck() => {
                self.core.metrics.streams_stuck.inc();
                tracing::warn!("a client that takes no answers is left");
            }
            () = stop.cancelled() => {}
        }
        self.core.metrics.streams.dec();
    }

    async fn serve(&mut self, frames: &mut Streaming<v1::ClientFrame>) {
        let greeted = tokio::time::timeout(HELLO_TIMEOUT, frames.message()).await;
        let Ok(Ok(Some(first))) = greeted else { return };
        if !self.greet(first).await {
            return;
        }
        // An error is the client's end of the connection: there is nobody to tell.
        while let Ok(Some(frame)) = frames.message().await {
            self.link.heard();
            // The window is never closed.
            let Ok(permit) = Arc::clone(&self.window).acquire_owned().await else {
                return;
            };
            let Some((id, work)) = self.accept(frame).await else {
                continue;
            };
            let core = Arc::clone(&self.core);
            let outbox = self.outbox.clone();
            self.tasks.spawn(async move {
                let (body, room) = work.answer(&core, &outbox).await;
                let body = Some(body);
                outbox.send(v1::ServerFrame { id, body }, room).await;
                drop(permit);
            });
        }
    }

    /// Answers the first frame. False if the two sides cannot speak.
    async fn greet(&mut self, first: v1::ClientFrame) -> bool {
        let Some(Ask::Hello(hello)) = first.body else {
            self.tell(
                first.id,
                failed(Failure::bad_request("a stream begins with a hello")),
            )
            .await;
            return false;
        };
        let version = hello.max_version.min(limits::STREAM_VERSION_MAX);
        if version < hello.min_version.max(limits::STREAM_VERSION_MIN) {
            let message = format!(
                "this node speaks versions {} to {}, the client {} to {}",
                limits::STREAM_VERSION_MIN,
                limits::STREAM_VERSION_MAX,
                hello.min_version,
                hello.max_version
            );
            let failure = Failure::new(FailureKind::UnsupportedVersion, message);
            self.tell(first.id, failed(failure)).await;
            return false;
        }
        if hello.sessions.len() > SESSIONS_MAX {
            let message = format!("a hello names at most {SESSIONS_MAX} sessions");
            self.tell(first.id, failed(Failure::bad_request(message)))
                .await;
            return false;
        }
        let knows_acls = hello.features & v1::Feature::Acls as u64 != 0;
        self.link.set_knows_acls(knows_acls);
        // Only a hello says so: a stream that outlives a leadership may bring what was given in it.
        let shown = Duration::from_millis(u64::from(hello.shown_ms)).min(limits::LEASE_TTL);
        let clean = Instant::now() + shown;
        let term = self.core.leading_term();
        self.came = term.map(|term| Came { term, clean });
        for session in hello.sessions {
            self.attach(SessionId(session));
        }
        let lead = self.core.lead();
        let reply = v1::HelloReply {
            version,
            node_id: self.core.config.node_id,
            leading: lead.leads && self.core.has_majority(),
            leader_hint: lead.leader.map(|(_, addr)| addr).unwrap_or_default(),
            features: v1::Feature::Leases as u64
                | v1::Feature::Nearest as u64
                | v1::Feature::Paths as u64
                | v1::Feature::Locks as u64
                | v1::Feature::Trash as u64
                | v1::Feature::Quotas as u64
                | v1::Feature::Compaction as u64
                | v1::Feature::Clones as u64,
        };
        self.tell(first.id, Tell::Hello(reply)).await
    }

    async fn tell(&self, id: u64, body: Tell) -> bool {
        let body = Some(body);
        let frame = v1::ServerFrame { id, body };
        self.outbox.out().send(frame.into()).await.is_ok()
    }

    /// Reads a frame. What needs no work of its own is dealt with here.
    async fn accept(&mut self, frame: v1::ClientFrame) -> Option<(u64, Work)> {
        let id = frame.id;
        let work = match frame.body {
            Some(Ask::Execute(command)) => self.accept_command(v1::LeasedExecute {
                command,
                ..v1::LeasedExecute::default()
            }),
            Some(Ask::LeasedExecute(leased)) => self.accept_command(leased),
            Some(Ask::LeasedQuery(leased)) => self.accept_leased_query(leased),
            Some(Ask::RenewLease(renew)) => Ok(Work::Renew(renew)),
            Some(Ask::Recalled(recalled)) => {
                self.accept_recalled(&recalled);
                return None;
            }
            Some(Ask::Query(query)) => accept_query(Some(query)).map(Work::Query),
            Some(Ask::NearestQuery(asked)) => accept_query(asked.query).map(Work::NearestQuery),
            Some(Ask::MirrorQuery(query)) => accept_mirror_query(query),
            Some(Ask::Held(held)) => {
                self.accept_held(held);
                return None;
            }
            Some(Ask::KeepAlive(alive)) => {
                // Each time: a hello of the same session that was given up may have come later, and
                // taken the session to a stream that nobody reads.
                self.attach_anew(SessionId(alive.session));
                Ok(Work::KeepAlive(SessionId(alive.session)))
            }
            Some(Ask::Hello(_)) => Err(Failure::bad_request("a second hello")),
            None => Err(Failure::bad_request(
                "a frame of a kind that is unknown here",
            )),
        };
        match work {
            Ok(work) => Some((id, work)),
            Err(failure) => {
                self.tell(id, failed(failure)).await;
                None
            }
        }
    }

    fn accept_leased_query(&self, leased: v1::LeasedQuery) -> Result<Work, Failure> {
        let query = accept_query(leased.query)?;
        let way = self.link.way();
        Ok(Work::LeasedQuery {
            query,
            session: SessionId(leased.session),
            way,
        })
    }

    /// The answer to a recall; too long an answer is none.
    fn accept_recalled(&self, recalled: &v1::Recalled) {
        if recalled.released.len() <= limits::RECALLED_FILES_MAX {
            self.core.leases.recalled(recalled, self.link.way().stream);
        }
    }

    fn accept_command(&mut self, message: v1::LeasedExecute) -> Result<Work, Failure> {
        let v1::LeasedExecute {
            command: bytes,
            mut dropped,
            leased_reply,
        } = message;
        if bytes.len() > limits::CLIENT_COMMAND_BYTES_MAX {
            let message = format!(
                "a command of {} bytes is over the limit of {}",
                bytes.len(),
                limits::CLIENT_COMMAND_BYTES_MAX
            );
            return Err(Failure::bad_request(message));
        }
        let taken = self.core.budget.take_in(bytes.len())?;
        let command = codec::decode_command(&bytes)
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        if !clients_may_send(&command.body) {
            return Err(Failure::bad_request(
                "clients do not send commands of this kind",
            ));
        }
        let session = match &command.body {
            CommandBody::Request(request) => request.session,
            _ => SessionId(0),
        };
        self.attach(session);
        if dropped.len() > limits::DROPPED_FILES_MAX {
            return Err(Failure::bad_request("a command that drops too many files"));
        }
        if !self.link.knows_acls() && sets_acl(&command.body) {
            // What it has cached itself it is to forget too, and the lease with it.
            dropped.clear();
        }
        Ok(Work::Execute {
            command,
            session,
            way: self.link.way(),
            dropped,
            leased_reply,
            taken,
        })
    }

    /// The answer to a question of this node; too long an answer is none.
    fn accept_held(&self, held: v1::HeldInodes) {
        if held.inos.len() <= limits::HELD_INODES_MAX {
            self.core.held.answer(held);
        }
    }

    /// The session lives on this stream from now on, unless that was said before.
    fn attach(&mut self, session: SessionId) {
        if !self.attached.contains(&session) {
            self.attach_anew(session);
        }
    }

    fn attach_anew(&mut self, session: SessionId) {
        if session.0 == 0 {
            return;
        }
        // Only a memory of what was done: with too many it begins afresh.
        if self.attached.len() >= SESSIONS_MAX {
            self.attached.clear();
        }
        if self.core.sessions.attach(session, &self.link, self.came) {
            self.attached.insert(session);
        }
    }
}

/// Whether a command gives a file an ACL, or takes it away.
fn sets_acl(body: &CommandBody) -> bool {
    let CommandBody::Request(request) = body else {
        return false;
    };
    match &request.operation {
        Operation::SetXattr { name, .. } | Operation::RemoveXattr { name, .. } => {
            AclKind::of(name).is_some()
        }
        _ => false,
    }
}

fn missing(what: &str) -> Failure {
    Failure::bad_request(format!("a query without {what}"))
}

fn bad(error: &proto::ConvertError) -> Failure {
    Failure::bad_request(error.to_string())
}

fn accept_query(query: Option<v1::Query>) -> Result<Query, Failure> {
    let query = query.ok_or_else(|| missing("a question"))?;
    query.convert().map_err(|error| bad(&error))
}

fn accept_mirror_query(message: v1::MirrorQuery) -> Result<Work, Failure> {
    let query = accept_query(message.query)?;
    let at_least = message.at_least.ok_or_else(|| missing("a token"))?;
    let wait = Duration::from_millis(u64::from(message.wait_ms)).min(BEHIND_WAIT_MAX);
    Ok(Work::MirrorQuery {
        query,
        at_least: at_least.convert().map_err(|error| bad(&error))?,
        wait,
    })
}

/// What one frame asks for.
enum Work {
    MirrorQuery {
        query: Query,
        at_least: Token,
        wait: Duration,
    },
    Execute {
        command: meta_core::command::Command,
        session: SessionId,
        way: Way,
        dropped: Vec<u64>,
        leased_reply: bool,
        /// Its share of what the node takes in at once.
        taken: OwnedSemaphorePermit,
    },
    LeasedQuery {
        query: Query,
        session: SessionId,
        way: Way,
    },
    Renew(v1::RenewLease),
    Query(Query),
    NearestQuery(Query),
    KeepAlive(SessionId),
}

/// Whether an answer may take megabytes.
fn may_be_large(body: &QueryBody) -> bool {
    match body {
        QueryBody::ReadDir { entries_max, .. } => *entries_max > SMALL_PAGE,
        QueryBody::GetAttrs { inos } => inos.len() > SMALL_PAGE as usize,
        QueryBody::Resolve(asked) => !asked.is_short(),
        QueryBody::ReadSlices { .. }
        | QueryBody::Sessions { .. }
        | QueryBody::Volumes { .. }
        | QueryBody::Orphans { .. }
        | QueryBody::Cuts { .. }
        | QueryBody::Trash(_)
        | QueryBody::Amounts { .. }
        | QueryBody::Limits { .. }
        | QueryBody::Compactable { .. }
        | QueryBody::PlanCompaction { .. }
        | QueryBody::PathOf { .. } => true,
        QueryBody::Lookup { .. }
        | QueryBody::GetAttr { .. }
        | QueryBody::Open { .. }
        | QueryBody::ReadLink { .. }
        | QueryBody::GetXattr { .. }
        | QueryBody::ListXattr { .. }
        | QueryBody::StatVolume
        | QueryBody::Clones
        | QueryBody::Followers
        | QueryBody::Backup
        | QueryBody::GetLock(_)
        | QueryBody::Usage(_)
        | QueryBody::Space { .. }
        | QueryBody::FindVolume { .. } => false,
    }
}

impl Work {
    /// The answer, with the room that it takes if it may be large.
    async fn answer(self, core: &Arc<Core>, outbox: &Outbox) -> (Tell, Option<Room>) {
        let large = match &self {
            Self::Query(query)
            | Self::NearestQuery(query)
            | Self::LeasedQuery { query, .. }
            | Self::MirrorQuery { query, .. } => may_be_large(&query.body),
            Self::Execute { .. } | Self::Renew(_) | Self::KeepAlive(_) => false,
        };
        let room = match large {
            true => outbox.room(&core.budget).await.map(Some),
            false => Ok(None),
        };
        match room {
            Ok(room) => (self.run(core).await, room),
            Err(failure) => (failed(failure), None),
        }
    }

    async fn run(self, core: &Arc<Core>) -> Tell {
        let told = match self {
            Self::Execute {
                command,
                session,
                way,
                dropped,
                leased_reply,
                taken,
            } => {
                let own = Own {
                    session,
                    stream: way.stream,
                    dropped: &dropped,
                };
                let way = leased_reply.then_some(way);
                let executed = execute(core, command, own, way).await;
                drop(taken);
                executed
            }
            Self::LeasedQuery {
                query,
                session,
                way,
            } => core
                .leased_query(query, session, &way)
                .await
                .map(Tell::LeasedAnswer),
            Self::Renew(renew) => core.renew_lease(renew).await.map(Tell::LeaseRenewed),
            Self::Query(query) => core.query(query).await.map(answer),
            Self::NearestQuery(query) => core.query_nearest(query).await.map(answer),
            Self::MirrorQuery {
                query,
                at_least,
                wait,
            } => core.query_at_least(query, at_least, wait).await.map(answer),
            Self::KeepAlive(session) => keep_alive(core, session).await.map(Tell::Alive),
        };
        told.unwrap_or_else(failed)
    }
}

fn answer((token, result): Answered) -> Tell {
    let result = result.as_ref().map_err(|refusal| *refusal);
    Tell::Answer(proto::convert::query_answer(token, result))
}

fn failed(failure: Failure) -> Tell {
    Tell::Failure(failure.into_message())
}

async fn execute(
    core: &Core,
    command: meta_core::command::Command,
    own: Own<'_>,
    way: Option<Way>,
) -> Result<Tell, Failure> {
    core.check_leading()?;
    if core.check_initialised().is_err() {
        // Only a leader that has applied everything may say so.
        core.reads.pass().await?;
        core.check_initialised()?;
    }
    core.check_generation(&command)?;
    let making = way.and_then(|way| core.making(&command, own.session, way));
    let makes_mirror = matches!(command.body, CommandBody::CreateMirror(_));
    // A first limit of an owner has all files counted for theirs.
    let limits = matches!(command.body, CommandBody::SetQuota { .. });
    let makes_volume = matches!(
        command.body,
        CommandBody::CreateVolume(_) | CommandBody::EndRestore { .. }
    );
    let clones = match &command.body {
        CommandBody::Request(request) => matches!(
            request.operation,
            Operation::Clone(_) | Operation::CancelClone { .. }
        ),
        _ => false,
    };
    let change = core.leases.begin(core, &command, own).await?;
    let closes = match &command.body {
        CommandBody::CloseSession { session } => Some(*session),
        _ => None,
    };
    let proposed = core.proposer.propose(Origin::Client, command, change);
    let reply = proposed.await?;
    if let Some(session) = closes {
        core.leases.end(session);
    }
    core.tell_woken(&reply);
    if makes_mirror {
        core.mirror_made.notify_one();
    }
    if makes_volume {
        core.volume_made.notify_one();
    }
    if limits {
        core.to_count.notify_one();
    }
    if clones {
        core.to_clone.notify_one();
    }
    if made_orphan(&reply.outcome) {
        core.orphan_made.notify_one();
    }
    let bytes = codec::encode_reply(&reply);
    Ok(match making {
        Some(making) => Tell::LeasedReply(core.made(making, &reply, bytes)),
        None => Tell::Reply(bytes.into()),
    })
}

/// Whether a file lost its last name.
fn made_orphan(outcome: &Outcome) -> bool {
    let Outcome::Done(success) = outcome else {
        return false;
    };
    match success {
        Success::Removed { nlink, .. } => *nlink == 0,
        Success::Renamed { replaced, .. } => replaced.is_some_and(|(_, nlink)| nlink == 0),
        Success::RemovedEntries(removals) => removals.contains(&Removal::Removed { nlink: 0 }),
        // What left the trash for good.
        Success::Maintained { rows, .. } => *rows > 0,
        _ => false,
    }
}

/// Tells a client that its leader runs, and whether its session is gone.
async fn keep_alive(core: &Arc<Core>, session: SessionId) -> Result<v1::SessionAlive, Failure> {
    core.check_leading()?;
    let lost = session.0 != 0 && !core.sessions.exists(session) && !exists(core, session).await?;
    let ttl_ms = u32::try_from(core.config.session_ttl.as_millis()).unwrap_or(u32::MAX);
    Ok(v1::SessionAlive { ttl_ms, lost })
}

/// Looks a session up. A deposed leader must not call a session lost that it has never heard of,
/// so this is a linearizable read.
async fn exists(core: &Arc<Core>, session: SessionId) -> Result<bool, Failure> {
    core.reads.pass().await?;
    let Some(before) = session.0.checked_sub(1) else {
        return Ok(false);
    };
    let body = QueryBody::Sessions {
        after: SessionId(before),
        count_max: 1,
    };
    match core.ask(VolumeId::CLUSTER, body).await? {
        Answer::Sessions(found) => Ok(found.first().is_some_and(|first| first.id == session)),
        _ => Err(Failure::unavailable(
            "the answer to a look for a session is of another kind",
        )),
    }
}
