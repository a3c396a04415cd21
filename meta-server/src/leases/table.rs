//! Who may cache what: the leader's memory of leases.
//!
//! Every event of a file (a change begins or ends) has a number. A grant is given only if the file
//! had no event since before the view was taken that is about to be sent: so an answer that may be
//! cached shows all changes before it, and every change after it meets the lease.

use super::touched::Entry;
use crate::answers::WeakOut;
use meta_core::ids::{Ino, SessionId, VolumeId};
use meta_core::seeded::{Bug, has};
use proto::v1;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Leases of one session. With more, the oldest are recalled.
pub(super) const PER_SESSION_MAX: usize = 131_072;
/// Leases of one session that are granted while it is asked to give up older ones.
const PER_SESSION_SLACK: usize = 4096;
/// Leases of all sessions: about 150 bytes each.
const TOTAL_MAX: usize = 1 << 20;
/// Files whose last event is remembered.
const EVENTS_MAX: usize = 65_536;
/// How long a file is not leased after a change that had to ask somebody: several clients work with
/// it, and asking costs more than a cache saves.
const COOLING: Duration = Duration::from_millis(200);
/// Sessions asked to give up a lease do not get more time while they owe the answer for so long.
const OWING: Duration = Duration::from_millis(300);
/// Old leases given up in one go.
const EVICTED: usize = 256;

/// A file of a volume.
pub(super) type Key = (VolumeId, Ino);

/// The last event of a file.
#[derive(Debug, Default)]
struct Event {
    /// Changes under way.
    latched: u32,
    number: u64,
    cool_until: Option<Instant>,
}

/// What waits for a session's answer to a recall.
#[derive(Debug)]
struct Recalled {
    since: Instant,
    answered: oneshot::Sender<()>,
}

/// A session that holds leases.
#[derive(Debug)]
struct Lessee {
    volume: VolumeId,
    generation: u64,
    expires: Instant,
    /// The stream that the session lives on.
    stream: u64,
    /// Whether it knows that an ACL decides.
    knows_acls: bool,
    out: WeakOut,
    held: HashSet<Ino>,
    /// The same by age; what is not held any more is skipped.
    by_age: VecDeque<Ino>,
    recalls: HashMap<u64, Recalled>,
}

impl Lessee {
    /// More time for all leases, unless the session owes an answer. In milliseconds as the session
    /// counts it, which is from before it asked; this side waits longer by `margin`.
    fn extend(&mut self, now: Instant, ttl: Duration, margin: Duration) -> u32 {
        let owes = |recall: &Recalled| now.saturating_duration_since(recall.since) >= OWING;
        if self.recalls.values().any(owes) {
            return 0;
        }
        self.expires = self.expires.max(now + ttl + margin);
        u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX)
    }
}

impl Lessee {
    /// The files held longest. They stay held, and count as the newest, until the session answers.
    fn oldest(&mut self, count: usize) -> Vec<Ino> {
        let mut files = Vec::new();
        for _ in 0..self.by_age.len() {
            let Some(ino) = self.by_age.pop_front() else {
                break;
            };
            if self.held.contains(&ino) {
                self.by_age.push_back(ino);
                files.push(ino);
            }
            if files.len() == count {
                break;
            }
        }
        files
    }

    /// One more file.
    fn hold(&mut self, ino: Ino) {
        self.held.insert(ino);
        self.by_age.push_back(ino);
        // What was given up and taken again is there twice, or not held at all.
        if self.by_age.len() > 2 * self.held.len() + EVICTED {
            let mut known = HashSet::new();
            let held = &self.held;
            self.by_age
                .retain(|ino| held.contains(ino) && known.insert(*ino));
        }
    }
}

/// A session's stream, as leases need it.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Of this stream, unlike any other.
    pub(crate) stream: u64,
    /// Whether the client knows that mode bits do not decide alone about a file with an ACL.
    pub(crate) knows_acls: bool,
    /// What the server sends on it. Weak, so that leases do not keep a stream open.
    pub(crate) out: WeakOut,
}

/// Who makes a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'o> {
    pub(crate) session: SessionId,
    /// The stream that it came on. What the session said on an earlier one does not count for what
    /// it caches now.
    pub(crate) stream: u64,
    /// Files of which the session itself answers nothing from its cache until it is answered.
    pub(crate) dropped: &'o [u64],
}

/// A question to a holder that is to be sent, and its answer.
pub(super) struct Ask {
    pub(super) session: SessionId,
    pub(super) number: u64,
    pub(super) out: WeakOut,
    pub(super) frame: v1::ServerFrame,
    pub(super) answer: oneshot::Receiver<()>,
}

/// All leases of this leadership.
#[derive(Debug)]
pub(super) struct Table {
    ttl: Duration,
    margin: Duration,
    /// The leadership that they are of.
    pub(super) term: Option<u64>,
    /// Whether changes may begin: nobody holds leases of an earlier leader any more.
    pub(super) open: bool,
    /// Whether leases are given at all.
    pub(super) granting: bool,
    /// Changes under way that were not looked at, because nobody held a lease.
    pub(super) unseen: u32,
    /// Changes under way that were looked at.
    pub(super) seen: u32,
    last_event: u64,
    /// Events up to this one may be forgotten.
    forgotten: u64,
    events: HashMap<Key, Event>,
    holders: HashMap<Key, Vec<SessionId>>,
    lessees: HashMap<SessionId, Lessee>,
    total: usize,
    last_generation: u64,
    last_recall: u64,
    /// Names that a change under way has to itself, with who waits.
    names: HashMap<Entry, VecDeque<oneshot::Sender<()>>>,
}

impl Table {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            margin: ttl / 20,
            term: None,
            open: false,
            granting: false,
            unseen: 0,
            seen: 0,
            last_event: 0,
            forgotten: 0,
            events: HashMap::new(),
            holders: HashMap::new(),
            lessees: HashMap::new(),
            total: 0,
            // Unlike those of other leaders.
            last_generation: rand::random::<u64>() >> 16,
            last_recall: 0,
            names: HashMap::new(),
        }
    }

    /// Another leadership, or none: nothing of the last one counts.
    pub(super) fn reset(&mut self, term: Option<u64>) {
        self.term = term;
        self.open = false;
        self.granting = false;
        self.forget_events();
        self.holders.clear();
        // Whoever waits for an answer sees that the leadership is over.
        self.lessees.clear();
        self.total = 0;
    }

    pub(super) fn event(&mut self) -> u64 {
        self.last_event += 1;
        self.last_event
    }

    /// The last event so far: what a view taken later shows.
    pub(super) fn last_event(&self) -> u64 {
        self.last_event
    }

    fn forget_events(&mut self) {
        self.forgotten = self.event();
        self.events.retain(|_, event| event.latched > 0);
    }

    /// Views taken so far may not show what just ended.
    pub(super) fn forget(&mut self) {
        self.forget_events();
    }

    pub(super) fn has_lessees(&self) -> bool {
        !self.lessees.is_empty()
    }

    pub(super) fn leases(&self) -> usize {
        self.total
    }

    /// A name for one change alone; if it is taken, whoever holds it gives it to the receiver.
    pub(super) fn take_name(&mut self, entry: &Entry) -> Option<oneshot::Receiver<()>> {
        if let Some(waiting) = self.names.get_mut(entry) {
            let (sender, receiver) = oneshot::channel();
            waiting.push_back(sender);
            return Some(receiver);
        }
        self.names.insert(entry.clone(), VecDeque::new());
        None
    }

    /// The next one gets a name.
    pub(super) fn give_name(&mut self, entry: &Entry) {
        let Some(waiting) = self.names.get_mut(entry) else {
            return;
        };
        while let Some(next) = waiting.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        self.names.remove(entry);
    }

    /// A change of some files begins: no lease is given on them until it ends.
    pub(super) fn latch(&mut self, keys: &[Key]) {
        let number = self.event();
        for key in keys {
            let event = self.events.entry(*key).or_default();
            event.latched += 1;
            event.number = number;
        }
    }

    /// It ended. `contended`: somebody had to be asked.
    pub(super) fn unlatch(&mut self, keys: &[Key], contended: bool, now: Instant) {
        let number = self.event();
        for key in keys {
            if let Some(event) = self.events.get_mut(key) {
                event.latched = event.latched.saturating_sub(1);
                event.number = number;
                if contended {
                    event.cool_until = Some(now + COOLING);
                }
            }
        }
        if self.events.len() > EVENTS_MAX {
            self.forget_events();
        }
    }

    /// Whether a view taken after the event `seen` shows a file as it will stay until its holders
    /// are asked.
    fn may_lease(&self, key: Key, seen: u64, now: Instant) -> bool {
        if has(Bug::LeaseDuringChange) {
            return true;
        }
        self.events.get(&key).is_none_or(|event| {
            event.latched == 0
                && event.number <= seen
                && event.cool_until.is_none_or(|until| until <= now)
        })
    }

    /// Leases for what an answer shows, read from a view taken after the event `seen`; and what the
    /// session is asked to give up for them.
    pub(super) fn grant(
        &mut self,
        session: SessionId,
        volume: VolumeId,
        way: &Way,
        seen: u64,
        inos: &[Ino],
        now: Instant,
    ) -> Option<(v1::LeaseGrant, Option<Ask>)> {
        if !self.granting {
            return None;
        }
        // Before anything else: from now on changes are looked at.
        self.admit(session, volume, way, now);
        if self.unseen > 0 || seen < self.forgotten {
            return None;
        }
        let mut refused = Vec::new();
        for ino in inos {
            let key = (volume, *ino);
            if !self.may_lease(key, seen, now) || !self.hold(session, key) {
                refused.push(ino.0);
            }
        }
        let (ttl, margin) = (self.ttl, self.margin);
        let lessee = self.lessees.get_mut(&session)?;
        let grant = v1::LeaseGrant {
            generation: lessee.generation,
            ttl_ms: lessee.extend(now, ttl, margin),
            refused,
            ..v1::LeaseGrant::default()
        };
        Some((grant, self.evict(session, now)))
    }

    /// Makes sure that the session is known, with leases that are alive, on this stream.
    fn admit(&mut self, session: SessionId, volume: VolumeId, way: &Way, now: Instant) {
        let stale = |lessee: &Lessee| lessee.stream != way.stream || lessee.expires <= now;
        if self.lessees.get(&session).is_some_and(stale) {
            self.end(session);
        }
        if self.lessees.contains_key(&session) {
            return;
        }
        self.last_generation += 1;
        let lessee = Lessee {
            volume,
            generation: self.last_generation,
            expires: now + self.ttl + self.margin,
            stream: way.stream,
            knows_acls: way.knows_acls,
            out: way.out.clone(),
            held: HashSet::new(),
            by_age: VecDeque::new(),
            recalls: HashMap::new(),
        };
        self.lessees.insert(session, lessee);
    }

    /// Whether a session has a lease on a file that nobody is about to change.
    pub(super) fn holds_quietly(&self, session: SessionId, key: Key) -> bool {
        let lessee = self.lessees.get(&session);
        let holds =
            lessee.is_some_and(|lessee| lessee.volume == key.0 && lessee.held.contains(&key.1));
        let latched = self.events.get(&key).is_some_and(|event| event.latched > 0);
        holds && !latched && self.unseen == 0
    }

    fn hold(&mut self, session: SessionId, key: Key) -> bool {
        let Some(lessee) = self.lessees.get_mut(&session) else {
            return false;
        };
        if lessee.held.contains(&key.1) {
            return true;
        }
        let full = lessee.held.len() >= PER_SESSION_MAX + PER_SESSION_SLACK;
        if full || self.total >= TOTAL_MAX {
            return false;
        }
        lessee.hold(key.1);
        self.holders.entry(key).or_default().push(session);
        self.total += 1;
        true
    }

    /// Asks a session with too many leases, or the largest share of too many, for its oldest.
    fn evict(&mut self, session: SessionId, now: Instant) -> Option<Ask> {
        let crowded = self.total >= TOTAL_MAX - PER_SESSION_SLACK;
        let lessee = self.lessees.get_mut(&session)?;
        let full = lessee.held.len() > PER_SESSION_MAX;
        if !lessee.recalls.is_empty() || !(full || crowded) {
            return None;
        }
        let files = lessee.oldest(EVICTED).into_iter();
        let whole = |ino: Ino| v1::RecalledFile {
            ino: ino.0,
            all: true,
            names: Vec::new(),
        };
        let files = files.map(whole).collect();
        self.ask(session, files, now)
    }

    /// A question to a holder.
    fn ask(
        &mut self,
        session: SessionId,
        files: Vec<v1::RecalledFile>,
        now: Instant,
    ) -> Option<Ask> {
        let lessee = self.lessees.get_mut(&session)?;
        self.last_recall += 1;
        let number = self.last_recall;
        let (answered, answer) = oneshot::channel();
        let since = now;
        lessee.recalls.insert(number, Recalled { since, answered });
        let recall = v1::Recall {
            session: session.0,
            number,
            files,
        };
        Some(Ask {
            session,
            number,
            out: lessee.out.clone(),
            frame: v1::ServerFrame {
                id: 0,
                body: Some(v1::server_frame::Body::Recall(recall)),
            },
            answer,
        })
    }

    /// Questions to all who hold what changes; `own` needs none for what it has dropped itself. `guards`:
    /// the files may get an access ACL, and who would go by mode bits keeps nothing of them.
    pub(super) fn recall(
        &mut self,
        keys: &[Key],
        entries: &[Entry],
        guards: bool,
        own: &Own<'_>,
        now: Instant,
    ) -> Vec<Ask> {
        // By session, so that the order is always the same.
        let mut files: BTreeMap<SessionId, Vec<v1::RecalledFile>> = BTreeMap::new();
        for key in keys {
            for holder in self.holders.get(key).into_iter().flatten() {
                if *holder == own.session
                    && own.dropped.contains(&key.1.0)
                    && self.lives_on(*holder, own.stream)
                {
                    continue;
                }
                let lessee = self.lessees.get(holder);
                let knows_acls = lessee.is_some_and(|lessee| lessee.knows_acls);
                let names = entries.iter().filter(|entry| entry.parent == key.1);
                files.entry(*holder).or_default().push(v1::RecalledFile {
                    ino: key.1.0,
                    all: guards && !knows_acls,
                    names: names.map(|entry| entry.name.as_bytes().to_vec()).collect(),
                });
            }
        }
        let asked = files.into_iter();
        asked
            .filter_map(|(session, files)| self.ask(session, files, now))
            .collect()
    }

    fn lives_on(&self, session: SessionId, stream: u64) -> bool {
        let lessee = self.lessees.get(&session);
        lessee.is_some_and(|lessee| lessee.stream == stream)
    }

    /// A holder's answer.
    pub(super) fn recalled(&mut self, answer: &v1::Recalled, stream: u64) {
        let session = SessionId(answer.session);
        let Some(lessee) = self.lessees.get_mut(&session) else {
            return;
        };
        if lessee.stream != stream {
            return;
        }
        let Some(recall) = lessee.recalls.remove(&answer.number) else {
            return;
        };
        let volume = lessee.volume;
        for ino in &answer.released {
            self.release(session, (volume, Ino(*ino)));
        }
        // Whoever asked may have given up.
        let _given_up = recall.answered.send(());
    }

    fn release(&mut self, session: SessionId, key: Key) {
        let held = self.lessees.get_mut(&session);
        if held.is_some_and(|lessee| lessee.held.remove(&key.1)) {
            self.total -= 1;
            self.drop_holder(session, key);
        }
    }

    fn drop_holder(&mut self, session: SessionId, key: Key) {
        if let Some(holders) = self.holders.get_mut(&key) {
            holders.retain(|holder| *holder != session);
            if holders.is_empty() {
                self.holders.remove(&key);
            }
        }
    }

    /// More time for a session's leases.
    pub(super) fn renew(&mut self, ask: v1::RenewLease, now: Instant) -> v1::LeaseRenewed {
        let (ttl, margin) = (self.ttl, self.margin);
        let lessee = self.lessees.get_mut(&SessionId(ask.session));
        let alive =
            lessee.filter(|lessee| lessee.generation == ask.generation && lessee.expires > now);
        match alive {
            Some(lessee) => v1::LeaseRenewed {
                generation: lessee.generation,
                ttl_ms: lessee.extend(now, ttl, margin),
                totals: None,
            },
            None => v1::LeaseRenewed {
                generation: 0,
                ttl_ms: 0,
                totals: None,
            },
        }
    }

    pub(super) fn volume_of(&self, session: SessionId) -> Option<VolumeId> {
        self.lessees.get(&session).map(|lessee| lessee.volume)
    }

    /// Until when a session that owes the answer to a recall holds its leases, at most; `None` if
    /// it does not any more.
    pub(super) fn owed_until(&self, session: SessionId, number: u64) -> Option<Instant> {
        let lessee = self.lessees.get(&session)?;
        lessee
            .recalls
            .contains_key(&number)
            .then_some(lessee.expires)
    }

    /// A session's leases are over.
    pub(super) fn end(&mut self, session: SessionId) {
        let Some(lessee) = self.lessees.remove(&session) else {
            return;
        };
        self.total -= lessee.held.len();
        for ino in lessee.held {
            self.drop_holder(session, (lessee.volume, ino));
        }
    }

    /// Forgets sessions whose time is over, but for those that a change waits for.
    pub(super) fn sweep(&mut self, now: Instant) {
        let over = self.lessees.iter();
        let over = over.filter(|(_, lessee)| lessee.expires <= now && lessee.recalls.is_empty());
        let over: Vec<SessionId> = over.map(|(session, _)| *session).collect();
        for session in over {
            self.end(session);
        }
    }
}

#[cfg(test)]
#[path = "table_test.rs"]
mod tests;
