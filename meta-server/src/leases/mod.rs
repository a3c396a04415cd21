//! Leases: what clients may answer from their caches.
//!
//! A lease is on a file: its attributes, and, if it is a directory, its names and the absence of
//! all others. Before a change of leased files is proposed, everybody else who holds them is asked
//! to forget them ([`Leases::begin`]); who does not answer loses all leases when their time is over. From
//! before that question until the change is applied the files are *latched*: no lease is given on
//! them. Leases are this leader's memory alone. A new leader lets changes begin once every session
//! has come to it, with an empty cache, or one time to live has passed.
//!
//! Why nobody reads what is old: a holder counts its time from before it asks, and its question is
//! answered only when no other can have been elected yet: a majority confirmed the leader since, or
//! the leader's own lease says so (`leader_lease.rs`). So every lease of a deposed leader is over one
//! time to live after its successor was elected.

mod table;
mod touched;

pub(crate) use table::{Own, Way};

use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::node::Core;
use meta_core::command::Command;
use meta_core::ids::{Ino, SessionId, VolumeId};
use meta_core::outcome::Fatal;
use meta_core::seeded::{Bug, has};
use parking_lot::Mutex;
use proto::limits::LEASE_TTL;
use proto::v1;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use table::{Ask, Key, Table};
use tokio::sync::Notify;
use tokio::time::Instant;
use touched::{Entry, Touched};

/// How long leases of an earlier leader may live, from when this node was elected: clocks of two
/// machines may go a twentieth apart.
const LONGEST: Duration =
    LEASE_TTL.saturating_add(Duration::from_millis((LEASE_TTL.as_millis() / 20) as u64));
/// How long a change waits until changes may begin, beyond the time of a lease.
const OPENING_EXTRA: Duration = Duration::from_secs(2);

/// The leases of a node, while it leads.
pub(crate) struct Leases {
    table: Mutex<Table>,
    /// Changes may begin, or an unseen one ended.
    changed: Notify,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

/// A change under way. It ends when this is dropped, which must not be before it is certain that
/// the change is applied, or never will be by this leader.
#[derive(Debug, Default)]
pub(crate) struct Change {
    _underway: Option<Underway>,
}

impl Change {
    fn of(underway: Underway) -> Self {
        Self {
            _underway: Some(underway),
        }
    }
}

#[derive(Debug)]
struct Underway {
    leases: Arc<Leases>,
    seen: bool,
    entries: Vec<Entry>,
    keys: Vec<Key>,
    contended: bool,
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut table = self.leases.table.lock();
        if self.seen {
            table.seen -= 1;
        } else {
            table.unseen -= 1;
            // A view taken before it ended may not show it.
            table.forget();
        }
        table.unlatch(&self.keys, self.contended, Instant::now());
        for entry in &self.entries {
            table.give_name(entry);
        }
        let wake = !self.seen && table.unseen == 0 && table.seen > 0;
        drop(table);
        if wake {
            self.leases.changed.notify_waiters();
        }
    }
}

impl Leases {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::new(Table::new(LEASE_TTL)),
            changed: Notify::new(),
            metrics,
        })
    }

    /// This node leads from now on, or does not lead any more.
    pub(crate) fn reset(&self, term: Option<u64>) {
        self.table.lock().reset(term);
        self.changed.notify_waiters();
    }

    /// Nobody holds leases of an earlier leader any more.
    pub(crate) fn open(&self, term: u64) {
        let mut table = self.table.lock();
        if table.term == Some(term) {
            table.open = true;
        }
        drop(table);
        self.changed.notify_waiters();
    }

    /// Says whether leases are given: not while a node is a member that does not know of them.
    pub(crate) fn set_granting(&self, term: u64, granting: bool) {
        let mut table = self.table.lock();
        if table.term == Some(term) {
            table.granting = granting;
        }
    }

    /// Looks after sessions that are gone.
    pub(crate) fn sweep(&self) {
        let mut table = self.table.lock();
        table.sweep(Instant::now());
        let leases = table.leases();
        drop(table);
        self.metrics
            .leases
            .set(i64::try_from(leases).unwrap_or(i64::MAX));
    }

    /// What must be known before a view is taken whose content may be leased.
    pub(crate) fn last_event(&self, term: u64) -> Option<u64> {
        let table = self.table.lock();
        (table.term == Some(term)).then(|| table.last_event())
    }

    /// Leases on what an answer shows that was read from a view taken after [`Self::last_event`].
    pub(crate) fn grant(
        self: &Arc<Self>,
        term: u64,
        session: SessionId,
        volume: VolumeId,
        way: &Way,
        seen: u64,
        inos: &[Ino],
    ) -> Option<v1::LeaseGrant> {
        let mut table = self.table.lock();
        if table.term != Some(term) {
            return None;
        }
        let (grant, evicted) = table.grant(session, volume, way, seen, inos, Instant::now())?;
        drop(table);
        if let Some(ask) = evicted {
            let leases = Arc::clone(self);
            tokio::spawn(async move { leases.settle(ask).await });
        }
        Some(grant)
    }

    /// Whether a session has a lease on a file that nobody is about to change: whoever is from now on
    /// asks it, and whoever was before is done.
    pub(crate) fn holds_quietly(&self, session: SessionId, volume: VolumeId, ino: Ino) -> bool {
        self.table.lock().holds_quietly(session, (volume, ino))
    }

    /// A session's answer to a recall.
    pub(crate) fn recalled(&self, answer: &v1::Recalled, stream: u64) {
        self.table.lock().recalled(answer, stream);
    }

    /// More time for a session's leases. When it was asked no other leader can have been elected yet: a
    /// majority confirmed this one since, or its lease says so.
    pub(crate) fn renew(&self, term: u64, ask: v1::RenewLease) -> v1::LeaseRenewed {
        let mut table = self.table.lock();
        if table.term == Some(term) {
            table.renew(ask, Instant::now())
        } else {
            v1::LeaseRenewed::default()
        }
    }

    /// The volume that a session has leases on files of.
    pub(crate) fn volume_of(&self, session: SessionId) -> Option<VolumeId> {
        self.table.lock().volume_of(session)
    }

    /// A session said that it is over.
    pub(crate) fn end(&self, session: SessionId) {
        self.table.lock().end(session);
    }

    /// Makes way for a change: returns when nobody caches what it changes.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        core: &Core,
        command: &Command,
        own: Own<'_>,
    ) -> Result<Change, Failure> {
        let mut touched = Touched::of(command);
        if touched.is_nothing() {
            return Ok(Change::default());
        }
        let seen = self.open_now(core).await?;
        let mut change = Underway {
            leases: Arc::clone(self),
            seen,
            entries: Vec::new(),
            keys: Vec::new(),
            contended: false,
        };
        if !seen || has(Bug::LeaseNotRecalled) {
            return Ok(Change::of(change));
        }
        self.take_names(&mut touched, &mut change).await;
        if touched.resolves {
            self.unseen_are_over().await;
            let found = core.reader.with_view(|view| {
                let found = change.entries.iter().map(|entry| {
                    meta_core::read::leads_to(view, entry.volume, entry.parent, &entry.name)
                });
                found.collect::<Result<Vec<_>, Fatal>>()
            });
            let found = found.and_then(|found| found);
            let found = found.map_err(|fatal| core.fatal(&fatal))?;
            touched.inos.extend(found.into_iter().flatten());
        }
        touched.dedup();
        let keys: Vec<Key> = touched.inos.iter().map(|i| (command.volume, *i)).collect();
        let asks = {
            let mut table = self.table.lock();
            table.latch(&keys);
            change.keys = keys;
            let now = Instant::now();
            table.recall(&change.keys, &change.entries, touched.guards, &own, now)
        };
        change.contended = asks.iter().any(|ask| ask.session != own.session);
        if !has(Bug::RecallNotAwaited) {
            futures::future::join_all(asks.into_iter().map(|ask| self.settle(ask))).await;
        }
        Ok(Change::of(change))
    }

    /// Waits until changes may begin. Says whether this one has to be looked at: not while nobody
    /// holds a lease.
    async fn open_now(&self, core: &Core) -> Result<bool, Failure> {
        let limit = Instant::now() + LONGEST + OPENING_EXTRA;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let term = core.leading_term();
            {
                let mut table = self.table.lock();
                if table.open && term.is_some() && table.term == term {
                    let seen = table.has_lessees() || table.seen > 0;
                    if seen {
                        table.seen += 1;
                    } else {
                        table.unseen += 1;
                    }
                    return Ok(seen);
                }
            }
            core.check_leading()?;
            if tokio::time::timeout_at(limit, changed).await.is_err() {
                return Err(Failure::unavailable(
                    "this leader has not taken over from its predecessor yet",
                ));
            }
        }
    }

    async fn take_names(&self, touched: &mut Touched, change: &mut Underway) {
        touched.sort();
        for entry in touched.entries.drain(..) {
            let waiting = self.table.lock().take_name(&entry);
            if let Some(waiting) = waiting {
                let mut given = Given {
                    leases: self,
                    entry: Some((entry, waiting)),
                };
                if let Some(entry) = given.wait().await {
                    change.entries.push(entry);
                }
            } else {
                change.entries.push(entry);
            }
        }
    }

    /// Waits for changes that began before anybody held a lease: they have names that nobody
    /// knows of.
    async fn unseen_are_over(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.table.lock().unseen == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Asks a holder, and waits until it has answered or its leases are over.
    async fn settle(&self, ask: Ask) {
        let Ask {
            session,
            number,
            out,
            frame,
            mut answer,
        } = ask;
        self.metrics.lease_recalls.inc();
        let sending = async {
            if let Some(out) = out.upgrade() {
                // A stream that has ended answers nothing: the time decides.
                let _ended = out.send(frame.into()).await;
            }
            (&mut answer).await
        };
        let mut sending = std::pin::pin!(sending);
        let mut over = false;
        loop {
            let Some(until) = self.table.lock().owed_until(session, number) else {
                return;
            };
            if !over {
                match tokio::time::timeout_at(until, &mut sending).await {
                    Ok(Ok(())) => return,
                    // The leases ended without an answer, with the leadership or the stream.
                    Ok(Err(_ended)) => over = true,
                    Err(_elapsed) => {}
                }
            } else {
                tokio::time::sleep_until(until).await;
            }
            let mut table = self.table.lock();
            // Its time may have been prolonged meanwhile.
            if table
                .owed_until(session, number)
                .is_some_and(|until| until <= Instant::now())
            {
                table.end(session);
                drop(table);
                self.metrics.lease_timeouts.inc();
                tracing::info!(%session, "a session did not answer a recall; its leases are over");
            }
        }
    }
}

/// A name that is waited for: passed on if the wait is given up.
struct Given<'l> {
    leases: &'l Leases,
    entry: Option<(Entry, tokio::sync::oneshot::Receiver<()>)>,
}

impl Given<'_> {
    async fn wait(&mut self) -> Option<Entry> {
        let (_, waiting) = self.entry.as_mut()?;
        // The sender is dropped only with the table.
        let _given = waiting.await;
        self.entry.take().map(|(entry, _)| entry)
    }
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        if let Some((entry, mut waiting)) = self.entry.take() {
            waiting.close();
            if waiting.try_recv().is_ok() {
                self.leases.table.lock().give_name(&entry);
            }
        }
    }
}

/// Waits until all sessions that exist have come to this leader, at most until leases of an
/// earlier one are over; then keeps the leases until the leadership ends.
pub(crate) async fn keep(core: Arc<Core>, term: u64, since: Instant) {
    let until = since + LONGEST;
    let waited = tokio::time::timeout_at(until, all_attached(&core, term)).await;
    if waited.is_err() {
        tracing::info!(
            term,
            "a session has not come to this leader; its leases are over"
        );
    }
    // Only a leader that has applied what its predecessors have committed may resolve names.
    confirmed(&core).await;
    core.leases.open(term);
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        core.leases.set_granting(term, core.all_know_leases());
        core.leases.sweep();
    }
}

/// Between two looks at who is there.
const ROUND: Duration = Duration::from_millis(500);
/// Between two tries to be confirmed.
const RETRY: Duration = Duration::from_millis(50);

/// Waits until a majority has confirmed this leader. It is asked again and again: nothing tells when
/// it will answer.
pub(crate) async fn confirmed(core: &Core) {
    while let Err(failure) = core.reads.pass().await {
        tracing::debug!(%failure, "no majority has confirmed this leader yet");
        tokio::time::sleep(RETRY).await;
    }
}

async fn all_attached(core: &Arc<Core>, term: u64) {
    confirmed(core).await;
    let existing = match crate::leader::listing::sessions(core, VolumeId::CLUSTER).await {
        Ok(sessions) => sessions,
        Err(failure) => {
            // The node stops. If it does not, the time decides.
            tracing::debug!(%failure, "the sessions are not known");
            return std::future::pending().await;
        }
    };
    let mut clean = Instant::now();
    let mut missing: HashSet<SessionId> = existing.into_iter().map(|s| s.id).collect();
    loop {
        let mut attached = std::pin::pin!(core.sessions.attached());
        attached.as_mut().enable();
        missing.retain(|session| match core.sessions.came_in(*session, term) {
            Some(since) => {
                clean = clean.max(since);
                false
            }
            None => true,
        });
        if missing.is_empty() {
            return tokio::time::sleep_until(clean).await;
        }
        attached.await;
    }
}
