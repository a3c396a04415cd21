//! One stream to one node: many calls under way, answered in any order.
//!
//! A link breaks once and for all: when the stream ends, when somebody leaves it (the node does
//! not lead any more), or when calls wait and nothing at all is heard for two seconds. Then every
//! call under way ends with [`Ended::Lost`], and whoever made it decides what that means.

use crate::leases::LeaseCache;
use crate::lock_waits::LockWaits;
use meta_core::query::QueryBody;
use parking_lot::Mutex;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

/// Calls under way on one stream. Below the server's window of 256, so that a question whether it
/// runs is always read.
const CALLS_MAX: usize = 224;
/// Frames that wait for the network.
pub(crate) const FRAMES_AHEAD: usize = 256;
/// The id of questions whether the leader runs.
const PING: u64 = u64::MAX;
const TICK: Duration = Duration::from_millis(250);
/// Silent ticks, while calls wait, after which the leader is asked whether it runs. Ticks are
/// counted, not time: after a pause of this process, what was received meanwhile is read first.
const PING_AFTER_TICKS: u32 = 2;
/// Silent ticks, while calls wait, after which the link is left.
const LEAVE_AFTER_TICKS: u32 = 8;
/// How long a leader may go on saying that it cannot serve: it may have been replaced without
/// having heard of it.
const UNAVAILABLE_LIMIT: Duration = Duration::from_millis(1500);

/// A question of the server, with the link to answer it on.
pub(crate) type Asked = (Arc<Link>, v1::AskHeld);

/// Who is told of what a leader says by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hears {
    /// What the session caches, if it does.
    pub(crate) leases: Option<Arc<LeaseCache>>,
    /// Its requests for locks that wait.
    pub(crate) locks: Option<Arc<LockWaits>>,
}

/// What greeting a node left open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) addr: String,
    pub(crate) out: mpsc::Sender<v1::ClientFrame>,
    pub(crate) inbound: Streaming<v1::ServerFrame>,
    /// Ends the outgoing half.
    pub(crate) broken: CancellationToken,
    pub(crate) channel: Channel,
    pub(crate) features: u64,
}

static LINKS: AtomicU64 = AtomicU64::new(0);

/// Why a call got no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// It never left.
    NotSent,
    /// It left, and the answer is lost.
    Lost,
}

/// A stream to a node that said it leads, or to any that answers some queries.
#[derive(Debug)]
pub(crate) struct Link {
    addr: String,
    /// Whether it is left when the node says that it does not lead.
    to_leader: bool,
    /// Of this link, unlike any other of this process.
    id: u64,
    /// What the node offers: bits of `v1::Feature`.
    features: u64,
    /// What was answered on it under leases, if the session caches.
    leases: Option<Arc<LeaseCache>>,
    locks: Option<Arc<LockWaits>>,
    out: mpsc::Sender<v1::ClientFrame>,
    calls: Mutex<Calls>,
    window: Semaphore,
    silent_ticks: AtomicU32,
    answers: AtomicU64,
    broken: CancellationToken,
    left: Mutex<Left>,
    /// Since when it only says that it cannot serve.
    unavailable: Mutex<Option<Instant>>,
    /// The connection lives as long as the link.
    channel: Channel,
}

#[derive(Debug, Default)]
struct Calls {
    last_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Tell>>,
    closed: bool,
}

/// How a link was left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Left {
    pub(crate) why: String,
    /// Who leads instead, if the node said so.
    pub(crate) hint: Option<String>,
}

impl Link {
    /// Starts the tasks of an open stream to a leader. They end with the link.
    pub(crate) fn start(opened: Opened, asked: mpsc::Sender<Asked>, hears: Hears) -> Arc<Self> {
        Self::start_to(opened, true, asked, hears)
    }

    /// The same to a node that need not lead: it asks nothing.
    pub(crate) fn start_to_member(opened: Opened) -> Arc<Self> {
        let (asked, _nobody) = mpsc::channel(1);
        Self::start_to(opened, false, asked, Hears::default())
    }

    fn start_to(
        opened: Opened,
        to_leader: bool,
        asked: mpsc::Sender<Asked>,
        hears: Hears,
    ) -> Arc<Self> {
        let Hears { leases, locks } = hears;
        let Opened {
            addr,
            out,
            inbound,
            broken,
            channel,
            features,
        } = opened;
        let id = LINKS.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(leases) = &leases {
            leases.attach(id);
        }
        let link = Arc::new(Self {
            addr,
            to_leader,
            id,
            features,
            leases,
            locks,
            out,
            calls: Mutex::default(),
            window: Semaphore::new(CALLS_MAX),
            silent_ticks: AtomicU32::new(0),
            answers: AtomicU64::new(0),
            broken,
            left: Mutex::default(),
            unavailable: Mutex::default(),
            channel,
        });
        tokio::spawn(read(Arc::clone(&link), inbound, asked));
        tokio::spawn(watch(Arc::clone(&link)));
        link
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Whether the node gives leases to this session.
    pub(crate) fn leases(&self) -> bool {
        self.leases.is_some() && self.features & v1::Feature::Leases as u64 != 0
    }

    /// Whether the node answers such questions: one of an earlier version may not know them.
    pub(crate) fn knows(&self, body: &QueryBody) -> bool {
        let needed = match body {
            QueryBody::Resolve(_) | QueryBody::GetAttrs { .. } => v1::Feature::Paths as u64,
            QueryBody::GetLock(_) => v1::Feature::Locks as u64,
            QueryBody::Trash(_) => v1::Feature::Trash as u64,
            QueryBody::Usage(_)
            | QueryBody::Amounts { .. }
            | QueryBody::Limits { .. }
            | QueryBody::Space { .. } => v1::Feature::Quotas as u64,
            QueryBody::Clones => v1::Feature::Clones as u64,
            QueryBody::Compactable { .. } | QueryBody::PlanCompaction { .. } => {
                v1::Feature::Compaction as u64
            }
            _ => 0,
        };
        self.features & needed == needed
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    /// The connection that the stream is on.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Waits until the link is broken.
    pub(crate) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_cancelled()
    }

    /// Requests and queries answered so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Why it is broken.
    pub(crate) fn left(&self) -> Left {
        self.left.lock().clone()
    }

    /// Breaks the link. The first reason stands.
    pub(crate) fn leave(&self, why: &str, hint: Option<String>) {
        let mut calls = self.calls.lock();
        if !calls.closed {
            calls.closed = true;
            // First of all: the next leader waits for nobody who has come to it.
            if let Some(leases) = &self.leases {
                leases.detach(self.id);
            }
            tracing::debug!(addr = self.addr, why, hint, "leaving the stream");
            *self.left.lock() = Left {
                why: why.to_owned(),
                hint,
            };
            calls.waiting.clear();
        }
        drop(calls);
        self.broken.cancel();
    }

    /// Asks, and waits for the answer as long as the link stands. `sent` says whether the question
    /// has left, for a caller who stops waiting.
    pub(crate) async fn call(&self, body: Ask, sent: &AtomicBool) -> Result<Tell, Ended> {
        let permit = tokio::select! {
            biased;
            () = self.broken.cancelled() => return Err(Ended::NotSent),
            permit = self.window.acquire() => permit.map_err(|_closed| Ended::NotSent)?,
        };
        let answer = self.call_unbounded(body, sent).await;
        drop(permit);
        answer
    }

    /// As [`Self::call`], beside the bound on calls: for what must get through.
    pub(crate) async fn call_unbounded(&self, body: Ask, sent: &AtomicBool) -> Result<Tell, Ended> {
        // Room first: from then on nothing can come between the registration and the sending.
        let room = tokio::select! {
            biased;
            () = self.broken.cancelled() => return Err(Ended::NotSent),
            room = self.out.reserve() => room.map_err(|_closed| Ended::NotSent)?,
        };
        let (waiting, answer) = self.register().ok_or(Ended::NotSent)?;
        room.send(v1::ClientFrame {
            id: waiting.id,
            body: Some(body),
        });
        sent.store(true, Ordering::Relaxed);
        answer.await.map_err(|_dropped| Ended::Lost)
    }

    /// Sends what is not answered.
    pub(crate) async fn tell(&self, body: Ask) -> Result<(), Ended> {
        tokio::select! {
            biased;
            () = self.broken.cancelled() => Err(Ended::NotSent),
            sent = self.out.send(v1::ClientFrame { id: 0, body: Some(body) }) => {
                sent.map_err(|_closed| Ended::NotSent)
            }
        }
    }

    /// The leader said that it cannot serve.
    pub(crate) fn unavailable(&self) {
        let since = *self.unavailable.lock().get_or_insert_with(Instant::now);
        if since.elapsed() >= UNAVAILABLE_LIMIT {
            self.leave("the leader cannot serve", None);
        }
    }

    fn register(&self) -> Option<(Waiting<'_>, oneshot::Receiver<Tell>)> {
        let (sender, answer) = oneshot::channel();
        let mut calls = self.calls.lock();
        if calls.closed {
            return None;
        }
        calls.last_id += 1;
        let id = calls.last_id;
        calls.waiting.insert(id, sender);
        Some((Waiting { link: self, id }, answer))
    }

    fn answered(&self, id: u64, body: Tell) {
        if id == PING {
            // Any answer tells that the node runs.
            if let Tell::Failure(failure) = body
                && self.to_leader
            {
                let hint = Some(failure.leader_addr).filter(|addr| !addr.is_empty());
                self.leave(&failure.message, hint);
            }
            return;
        }
        if matches!(
            body,
            Tell::Reply(_) | Tell::LeasedReply(_) | Tell::Answer(_) | Tell::LeasedAnswer(_)
        ) {
            self.answers.fetch_add(1, Ordering::Relaxed);
            *self.unavailable.lock() = None;
        }
        // Nobody waits if the caller was dropped.
        if let Some(sender) = self.calls.lock().waiting.remove(&id) {
            let _dropped = sender.send(body);
        }
    }

    /// One tick of the watch. What it finds is told to the node or ends the link.
    fn tick(&self) {
        if self.calls.lock().waiting.is_empty() {
            self.silent_ticks.store(0, Ordering::Relaxed);
            return;
        }
        let silent = self.silent_ticks.fetch_add(1, Ordering::Relaxed) + 1;
        if silent == PING_AFTER_TICKS {
            let body = Some(Ask::KeepAlive(v1::KeepAlive { session: 0 }));
            // Without room the frames before it are the question.
            let _full = self.out.try_send(v1::ClientFrame { id: PING, body });
        } else if silent > LEAVE_AFTER_TICKS {
            self.leave("the leader is silent", None);
        }
    }
}

/// A call that waits; its place is freed when it is dropped.
struct Waiting<'l> {
    link: &'l Link,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.link.calls.lock().waiting.remove(&self.id);
    }
}

/// Hands answers to those who wait, until the stream ends.
async fn read(
    link: Arc<Link>,
    mut inbound: Streaming<v1::ServerFrame>,
    asked: mpsc::Sender<Asked>,
) {
    loop {
        let message = tokio::select! {
            biased;
            () = link.broken.cancelled() => return,
            message = inbound.message() => message,
        };
        let frame = match message {
            Ok(Some(frame)) => frame,
            Ok(None) => return link.leave("the node ended the stream", None),
            Err(status) => return link.leave(&format!("the stream broke: {status}"), None),
        };
        link.silent_ticks.store(0, Ordering::Relaxed);
        match frame.body {
            Some(Tell::AskHeld(ask)) => {
                // With too many questions waiting, the node asks again later.
                let _full = asked.try_send((Arc::clone(&link), ask));
            }
            Some(Tell::Recall(recall)) => {
                if let Some(leases) = &link.leases {
                    leases.recall(&link, recall);
                }
            }
            Some(Tell::LocksWoken(woken)) => {
                if let Some(locks) = &link.locks {
                    locks.woken(woken);
                }
            }
            Some(body) => link.answered(frame.id, body),
            None => tracing::debug!(id = frame.id, "a frame of a later version is skipped"),
        }
    }
}

async fn watch(link: Arc<Link>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = link.broken.cancelled() => return,
            _tick = ticks.tick() => link.tick(),
        }
    }
}
