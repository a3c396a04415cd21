//! What all clones of a session share.

use super::ConnectionStatus;
use super::era::Era;
use super::held::{self, HeldInodes, QUESTIONS_AHEAD};
use super::keeper;
use super::mirror::{self, MirrorRoute};
use super::nearest::NearestRoute;
use crate::deadline::Deadline;
use crate::error::{ClientError, Failure};
use crate::lead::{Lead, Mood};
use crate::leases::{LeaseCache, Told, renew_all};
use crate::link::Hears;
use crate::lock_waits::LockWaits;
use crate::options::{ReadFrom, SessionOptions};
use crate::precheck;
use crate::propose::Proposed;
use crate::slots::Slot;
use crate::url::MetaUrl;
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{Command, CommandBody, Operation, Request};
use meta_core::ids::{Level, SessionId, VolumeId};
use meta_core::limits;
use meta_core::outcome::{NotExecuted, Outcome, Refusal, Success, Token};
use meta_core::query::{Answer, Query, QueryBody, VolumeInfo};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Sessions that one operation tries before it gives up.
const ERAS_MAX: usize = 4;
/// How long a closing session waits for its operations, and then for the cluster's answer.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// How long the origin is asked before the mirror is asked again: one of them may come back.
const ORIGIN_TURN: Duration = Duration::from_secs(2);

/// A session's parts.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) lead: Lead,
    mirror: Option<MirrorRoute>,
    nearest: Option<NearestRoute>,
    pub(super) volume: VolumeInfo,
    pub(super) options: SessionOptions,
    pub(super) eras: watch::Sender<Arc<Era>>,
    pub(super) holder: RwLock<Option<Arc<dyn HeldInodes>>>,
    pub(super) ttl_ms: AtomicU64,
    /// Ends every task of the session.
    pub(crate) stop: CancellationToken,
    /// No operation begins any more.
    pub(super) closing: CancellationToken,
    token: Mutex<Token>,
    queries: Semaphore,
    /// What may be answered from memory.
    pub(crate) leases: Option<Arc<LeaseCache>>,
    /// Requests for locks that wait.
    pub(super) lock_waits: Arc<LockWaits>,
    reopened: AtomicU64,
}

/// What an operation gave, what it leased, and the session that it was done in.
type Executed = (Success, Option<Box<Told>>, SessionId);

/// How an attempt in one era ended.
enum Attempt {
    Ended(Result<Executed, ClientError>),
    /// Certainly not executed; the next era may.
    NextEra(String),
}

impl Inner {
    pub(super) async fn open(
        url: &MetaUrl,
        options: SessionOptions,
    ) -> Result<Arc<Self>, ClientError> {
        check_options(&options)?;
        let deadline = Deadline::after(Some(options.open_for));
        let (asking, asked) = mpsc::channel(QUESTIONS_AHEAD);
        // A mirror changes without asking, and a follower has no leases to give.
        let is_nearest = options.read_from == ReadFrom::Nearest;
        let caches = options.leases && options.mirror.is_none() && !is_nearest;
        let leases = caches.then(Arc::<LeaseCache>::default);
        let lock_waits = Arc::<LockWaits>::default();
        let hears = Hears {
            leases: leases.clone(),
            locks: Some(Arc::clone(&lock_waits)),
        };
        let lead = Lead::start(&url.addrs, asking, hears);
        let volume = find(&lead, &url.volume, deadline, Mood::Opening).await?;
        let (era, token) = open_era(&lead, volume.id, &options, deadline, Mood::Opening).await?;
        lead.attach(era.id.0);
        let mirror = options
            .mirror
            .as_ref()
            .map(|options| MirrorRoute::start(options, volume.uuid));
        let nearest = is_nearest.then(|| NearestRoute::start(&url.addrs, lead.leaders()));
        let stop = CancellationToken::new();
        let inner = Arc::new(Self {
            lead,
            mirror,
            nearest,
            volume,
            eras: watch::Sender::new(era),
            holder: RwLock::new(None),
            ttl_ms: AtomicU64::new(0),
            // Whoever waits for a slot is told also when the last handle is dropped.
            closing: stop.child_token(),
            stop,
            // Whatever was there before the session is seen by it, also at a mirror.
            token: Mutex::new(token),
            queries: Semaphore::new(options.queries as usize),
            leases,
            lock_waits,
            reopened: AtomicU64::new(0),
            options,
        });
        tokio::spawn(keeper::keep(Arc::clone(&inner)));
        if inner.leases.is_some() {
            tokio::spawn(renew_all(Arc::clone(&inner)));
        }
        tokio::spawn(held::answer_all(Arc::clone(&inner), asked));
        Ok(inner)
    }

    pub(super) async fn volume_now(&self) -> Result<VolumeInfo, ClientError> {
        find(&self.lead, &self.volume.name, self.deadline(), Mood::Steady).await
    }

    pub(super) fn era(&self) -> Arc<Era> {
        Arc::clone(&self.eras.borrow())
    }

    pub(crate) fn session_id(&self) -> SessionId {
        self.era().id
    }

    pub(super) fn token(&self) -> Token {
        *self.token.lock()
    }

    fn saw(&self, token: Token) {
        let mut highest = self.token.lock();
        *highest = token.max(*highest);
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.options.retry_for)
    }

    pub(super) async fn execute(
        &self,
        only: Option<SessionId>,
        caller: Caller,
        operation: Operation,
    ) -> Result<Success, ClientError> {
        let Some(leases) = &self.leases else {
            let done = self.execute_in(only, caller, operation, &[]).await;
            return done.map(|(success, ..)| success);
        };
        let own = leases.change(&operation);
        match self
            .execute_in(only, caller, operation, &own.dropped())
            .await
        {
            Ok((success, told, _)) => {
                // Leases of a session that ended meanwhile are over.
                let told = told.filter(|told| told.is_of(self.session_id()));
                own.done(&success, told.map(|told| *told));
                Ok(success)
            }
            Err(error) => {
                if matches!(error, ClientError::Unknown(_)) {
                    own.in_doubt();
                }
                Err(error)
            }
        }
    }

    /// `only`: the session, if it may be done in no other. `dropped`: files of which nothing is answered
    /// from memory meanwhile.
    pub(super) async fn execute_in(
        &self,
        only: Option<SessionId>,
        caller: Caller,
        operation: Operation,
        dropped: &[u64],
    ) -> Result<Executed, ClientError> {
        let deadline = self.deadline();
        let mut request = Request {
            session: SessionId(0),
            slot: meta_core::ids::SlotIndex(0),
            sequence: 0,
            caller,
            operation,
        };
        let mut why = String::from("another session was opened");
        for _ in 0..ERAS_MAX {
            let (era, slot) = self.slot(deadline).await?;
            if only.is_some_and(|only| only != era.id) {
                slot.unused();
                break;
            }
            request.session = era.id;
            request.slot = slot.index;
            request.sequence = slot.sequence;
            let stamp = Timestamp::default();
            let body = CommandBody::Request(request);
            let command = Command {
                volume: self.volume.id,
                stamp,
                read_level: Level(0),
                body,
            };
            match self.attempt(&era, slot, &command, dropped, deadline).await {
                Attempt::Ended(result) => return result,
                Attempt::NextEra(reason) => why = reason,
            }
            let CommandBody::Request(back) = command.body else {
                break;
            };
            request = back;
        }
        Err(Failure::SessionLost(why).into())
    }

    /// A free slot of the current session, whichever that is when one is free.
    async fn slot(&self, deadline: Deadline) -> Result<(Arc<Era>, Slot), ClientError> {
        let mut eras = self.eras.subscribe();
        let wait = async {
            loop {
                let era = Arc::clone(&eras.borrow_and_update());
                if let Some(slot) = era.slots.take().await {
                    return Some((era, slot));
                }
                eras.changed().await.ok()?;
            }
        };
        let closed = || ClientError::Failed(Failure::Closed);
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(closed()),
            taken = deadline.bound(wait) => match taken {
                Some(taken) => taken.ok_or_else(closed),
                None => {
                    let busy = "every slot of the session is in use".to_owned();
                    Err(self.lead.trouble().unwrap_or(Failure::TimedOut(busy)).into())
                }
            },
        }
    }

    async fn attempt(
        &self,
        era: &Era,
        slot: Slot,
        command: &Command,
        dropped: &[u64],
        deadline: Deadline,
    ) -> Attempt {
        let own = (era.id, dropped.to_vec());
        let proposed = self
            .lead
            .propose_own(command, own, deadline, Mood::Steady)
            .await;
        let (reply, told, in_doubt) = match proposed {
            Proposed::Reply {
                reply,
                told,
                in_doubt,
            } => (reply, told, in_doubt),
            Proposed::NotRun(error) => {
                slot.unused();
                return Attempt::Ended(Err(error));
            }
            Proposed::InDoubt(why) => return in_doubt_in(era, slot, why),
        };
        self.saw(reply.token);
        let not_executed = match reply.outcome {
            Outcome::Done(success) => {
                slot.answered();
                return Attempt::Ended(Ok((success, told, era.id)));
            }
            Outcome::Refused(refusal) => {
                slot.answered();
                return Attempt::Ended(Err(refusal.into()));
            }
            Outcome::NotExecuted(why) => why,
        };
        let why = match not_executed {
            NotExecuted::UnknownSession => format!("the cluster lost session {}", era.id),
            NotExecuted::SlotMisordered { last } => format!(
                "slot {} of session {} is at {last}, not before {}",
                slot.index, era.id, slot.sequence
            ),
            NotExecuted::WrongVolume => format!("session {} is of another volume", era.id),
        };
        // Whatever the reason, this session's slots cannot be relied on any more.
        era.end(&why);
        if in_doubt {
            Attempt::Ended(Err(ClientError::Unknown(why)))
        } else {
            Attempt::NextEra(why)
        }
    }

    pub(super) async fn query(
        &self,
        caller: Caller,
        body: QueryBody,
    ) -> Result<Answer, ClientError> {
        let body = precheck::query(&caller, body)?;
        if self.closing.is_cancelled() {
            return Err(Failure::Closed.into());
        }
        if let Some(leases) = &self.leases
            && let Some(answer) = leases.answer(&caller, &body)
        {
            return Ok(answer?);
        }
        let deadline = self.deadline();
        let permit = match deadline.bound(self.queries.acquire()).await {
            Some(Ok(permit)) => permit,
            Some(Err(_closed)) => return Err(Failure::Closed.into()),
            None => return Err(Failure::TimedOut("too many queries wait".into()).into()),
        };
        let query = Query {
            volume: self.volume.id,
            caller,
            body,
        };
        let (token, result) = self.read(&query, deadline).await?;
        drop(permit);
        self.saw(token);
        Ok(result?)
    }

    /// An answer of the mirror or the nearest member, if one of them is read from and it can, else of
    /// the origin's leader. With a mirror, an opening to write is the origin's to answer while it
    /// can: its mode may have changed since, and the file may be gone.
    async fn read(
        &self,
        query: &Query,
        deadline: Deadline,
    ) -> Result<(Token, Result<Answer, Refusal>), ClientError> {
        if matches!(query.body, QueryBody::GetLock(_)) {
            // Locks are the origin's, and its leader's answer is the newest.
            return self.read_origin(query, deadline).await;
        }
        if let Some(nearest) = &self.nearest
            && let Some(read) = nearest.ask(query, self.token()).await
        {
            return Ok(read);
        }
        let Some(route) = &self.mirror else {
            return self.read_origin(query, deadline).await;
        };
        let mut origin_first = matches!(query.body, QueryBody::Open { write: true, .. });
        loop {
            let at_least = self.token();
            if !std::mem::take(&mut origin_first)
                && let Some(read) = route.ask(&query.caller, &query.body, at_least).await
            {
                return Ok(read);
            }
            let turn = deadline.within(ORIGIN_TURN);
            match self.lead.ask(query, turn, Mood::Steady).await {
                Ok(read) => return Ok(read),
                Err(failure) => {
                    let error = ClientError::Failed(failure);
                    if self.closing.is_cancelled() || !mirror::may_pass(&error) {
                        return Err(error);
                    }
                    if route.is_too_old_for(&query.body) {
                        // It knows the simple questions that this one can be put as.
                        let why = "the mirror runs an earlier version, and the origin is away";
                        return Err(Failure::BadRequest(format!("{why}: {error}")).into());
                    }
                    if deadline.is_over() {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The leader's answer, which is cached as far as it gives leases for it.
    async fn read_origin(
        &self,
        query: &Query,
        deadline: Deadline,
    ) -> Result<(Token, Result<Answer, Refusal>), ClientError> {
        let Some(leases) = &self.leases else {
            return Ok(self.lead.ask(query, deadline, Mood::Steady).await?);
        };
        let begun = leases.begin();
        let session = self.session_id();
        let (answered, granted) = self.lead.ask_leased(query, session, deadline).await?;
        if let Some(granted) = granted
            && granted.session == self.session_id()
        {
            leases.learn(begun, &query.body, &answered.1, granted);
        }
        Ok(answered)
    }

    /// Opens the next era; the keeper alone does so.
    pub(super) async fn reopen(&self, deadline: Deadline) -> Result<(), ClientError> {
        let (volume, mood) = (self.volume.id, Mood::Steady);
        let (era, token) = open_era(&self.lead, volume, &self.options, deadline, mood).await?;
        self.saw(token);
        self.lead.attach(era.id.0);
        if let Some(leases) = &self.leases {
            leases.begin_anew();
        }
        self.reopened.fetch_add(1, Ordering::Relaxed);
        tracing::info!(session = era.id.0, "a new session is open");
        self.eras.send_replace(era);
        Ok(())
    }

    /// Ends a session in the cluster. Its slots are fenced by that, so nothing of it can be
    /// executed later.
    pub(super) async fn close_era(&self, session: SessionId) {
        let command = Command {
            volume: self.volume.id,
            stamp: Timestamp::default(),
            read_level: Level(0),
            body: CommandBody::CloseSession { session },
        };
        let deadline = Deadline::after(Some(CLOSE_WAIT));
        match self.lead.propose(&command, deadline, Mood::Steady).await {
            Proposed::Reply { .. } => {}
            // It expires by its silence.
            Proposed::NotRun(error) => tracing::debug!(%error, "a session was not closed"),
            Proposed::InDoubt(why) => tracing::debug!(why, "a session may not be closed"),
        }
    }

    pub(super) async fn close(&self) {
        if self.closing.is_cancelled() {
            return self.stop.cancelled().await;
        }
        self.closing.cancel();
        let era = self.era();
        let idle = era.slots.idle();
        if tokio::time::timeout(CLOSE_WAIT, idle).await.is_err() {
            tracing::warn!("the session is closed with operations in flight");
        }
        if let Some(leases) = &self.leases {
            leases.begin_anew();
        }
        self.close_era(era.id).await;
        self.give_up();
        self.lead.stop();
        if let Some(mirror) = &self.mirror {
            mirror.stop();
        }
        if let Some(nearest) = &self.nearest {
            nearest.stop();
        }
    }

    /// Nothing can be done any more; whoever waits is told.
    pub(super) fn give_up(&self) {
        self.closing.cancel();
        self.queries.close();
        self.stop.cancel();
    }

    pub(super) fn status(&self) -> ConnectionStatus {
        let era = self.era();
        let leader = self.lead.addr();
        let ttl_ms = self.ttl_ms.load(Ordering::Relaxed);
        let nearest = self.nearest.as_ref().map(NearestRoute::status);
        let elsewhere = nearest.as_ref().map_or(0, |nearest| nearest.counts.served);
        ConnectionStatus {
            connected: leader.is_some(),
            leader,
            trouble: self.lead.trouble().map(|failure| failure.to_string()),
            session: era.id,
            session_ttl: Some(Duration::from_millis(ttl_ms)).filter(|ttl| !ttl.is_zero()),
            sessions_reopened: self.reopened.load(Ordering::Relaxed),
            streams: self.lead.links(),
            answered: self.lead.answered() + elsewhere,
            retries: self.lead.retries(),
            operations_in_flight: era.slots.in_use(),
            lock_waits: self.lock_waits.len(),
            token: self.token(),
            mirror: self.mirror.as_ref().map(MirrorRoute::status),
            nearest,
            leases: self.leases.as_ref().map(|leases| leases.status()),
        }
    }
}

/// The slot's request may still be executed: the slot is dropped as it is, and with too many of
/// those, the session.
fn in_doubt_in(era: &Era, slot: Slot, why: String) -> Attempt {
    drop(slot);
    if era.slots.is_worn_out() {
        era.end("too many of its slots are in doubt");
    }
    Attempt::Ended(Err(ClientError::Unknown(why)))
}

fn check_options(options: &SessionOptions) -> Result<(), ClientError> {
    let slots = (1..=limits::SLOTS_PER_SESSION_MAX).contains(&options.slots);
    let info = options.info.len() <= limits::SESSION_INFO_BYTES_MAX;
    if options.mirror.is_some() && options.read_from == ReadFrom::Nearest {
        let why = "a session reads at a mirror or at the nearest member, not at both".to_owned();
        return Err(Failure::BadRequest(why).into());
    }
    if slots && info && options.queries > 0 {
        return Ok(());
    }
    let why = format!(
        "a session has 1 to {} slots, at least one query and up to {} bytes of info",
        limits::SLOTS_PER_SESSION_MAX,
        limits::SESSION_INFO_BYTES_MAX
    );
    Err(Failure::BadRequest(why).into())
}

async fn find(
    lead: &Lead,
    name: &str,
    deadline: Deadline,
    mood: Mood,
) -> Result<VolumeInfo, ClientError> {
    let (volume, caller) = (VolumeId::CLUSTER, Caller::root());
    let body = precheck::query(
        &caller,
        QueryBody::FindVolume {
            name: name.to_owned(),
        },
    )?;
    let (_token, result) = lead
        .ask(
            &Query {
                volume,
                caller,
                body,
            },
            deadline,
            mood,
        )
        .await?;
    match result? {
        Answer::Volume(info) => Ok(info),
        _ => Err(Failure::BadReply("an answer to another question".into()).into()),
    }
}

async fn open_era(
    lead: &Lead,
    volume: VolumeId,
    options: &SessionOptions,
    deadline: Deadline,
    mood: Mood,
) -> Result<(Arc<Era>, Token), ClientError> {
    let (slots, info) = (options.slots, options.info.clone());
    let body = CommandBody::OpenSession {
        nonce: rand::random(),
        slots,
        info,
    };
    let command = Command {
        volume,
        stamp: Timestamp::default(),
        read_level: Level(0),
        body,
    };
    match lead.propose(&command, deadline, mood).await {
        Proposed::Reply { reply, .. } => match reply.outcome {
            Outcome::Done(Success::Session(id)) => Ok((Era::new(id, slots), reply.token)),
            Outcome::Refused(refusal) => Err(refusal.into()),
            other => Err(Failure::BadReply(format!("{other:?}")).into()),
        },
        Proposed::NotRun(error) => Err(error),
        // A session that may have been opened is never used, and expires.
        Proposed::InDoubt(why) => Err(Failure::TimedOut(why).into()),
    }
}

/// Refusals that a later try to open a session may not meet.
pub(super) fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(refusal) => {
            matches!(refusal, Refusal::LimitReached | Refusal::NoSpace)
        }
        ClientError::Failed(Failure::Closed) => false,
        ClientError::Failed(_) | ClientError::Unknown(_) => true,
    }
}
