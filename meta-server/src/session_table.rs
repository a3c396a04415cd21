//! When each session was last heard of, on the leader's monotonic clock.
//!
//! Which sessions exist is replicated; when they were heard is not, and dies with a leadership. A
//! new leader gives each session a full time to live. The table also knows on which stream a
//! session lives, so that the leader can ask it something.

use crate::answers::{Out, WeakOut};
use crate::leases::Way;
use meta_core::ids::{SessionId, VolumeId};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Sessions in the table: those that exist, and some that were named and do not.
const ENTRIES_MAX: usize = 2 * meta_core::limits::SESSIONS_MAX;

/// A client's stream, as the table sees it.
#[derive(Debug)]
pub(crate) struct StreamLink {
    /// What the server sends on it. Weak, so that the table does not keep a stream open.
    out: WeakOut,
    born: Instant,
    heard_ms: AtomicU64,
    /// Of this stream, unlike any other of this process.
    number: u64,
    knows_acls: AtomicBool,
}

static STREAMS: AtomicU64 = AtomicU64::new(0);

impl StreamLink {
    pub(crate) fn new(out: &Out) -> Arc<Self> {
        let out = out.downgrade();
        Arc::new(Self {
            out,
            born: Instant::now(),
            heard_ms: AtomicU64::new(0),
            number: STREAMS.fetch_add(1, Ordering::Relaxed) + 1,
            knows_acls: AtomicBool::new(false),
        })
    }

    /// The client said something.
    pub(crate) fn heard(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.store(ms, Ordering::Relaxed);
    }

    /// The client said whether it knows what an ACL means.
    pub(crate) fn set_knows_acls(&self, knows: bool) {
        self.knows_acls.store(knows, Ordering::Relaxed);
    }

    /// Whether it does. Nobody does before it says so.
    pub(crate) fn knows_acls(&self) -> bool {
        self.knows_acls.load(Ordering::Relaxed)
    }

    fn last_heard(&self) -> Instant {
        self.born + Duration::from_millis(self.heard_ms.load(Ordering::Relaxed))
    }

    /// This stream, as leases need it.
    pub(crate) fn way(&self) -> Way {
        Way {
            stream: self.number,
            knows_acls: self.knows_acls(),
            out: self.out.clone(),
        }
    }

    /// The way to the client, while it is connected.
    pub(crate) fn out(&self) -> Option<Out> {
        self.out.upgrade().filter(|out| !out.is_closed())
    }
}

/// How a session came to this leader.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Came {
    /// The term that this node led in.
    pub(crate) term: u64,
    /// From when on nothing is shown of what it was given under leases of another leader.
    pub(crate) clean: Instant,
}

#[derive(Debug)]
struct Entry {
    /// Known once the session was seen among those that exist.
    volume: Option<VolumeId>,
    heard: Instant,
    link: Option<Arc<StreamLink>>,
    /// The leadership of this node that it came to last.
    came: Option<Came>,
    /// Sweeps in a row that did not find the session.
    missed: u8,
}

impl Entry {
    fn last_heard(&self) -> Instant {
        self.link
            .as_ref()
            .map_or(self.heard, |link| self.heard.max(link.last_heard()))
    }
}

/// The sessions of one cluster.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    entries: Mutex<HashMap<SessionId, Entry>>,
    came: Notify,
}

impl SessionTable {
    /// A session lives on a stream from now on, and came while this node led. False if the table
    /// is full.
    pub(crate) fn attach(
        &self,
        session: SessionId,
        link: &Arc<StreamLink>,
        came: Option<Came>,
    ) -> bool {
        let taken = self.take_in(session, link, came);
        self.came.notify_waiters();
        taken
    }

    /// Since when, if a session came while this node led in `term`, nothing is shown of what it was
    /// given before.
    pub(crate) fn came_in(&self, session: SessionId, term: u64) -> Option<Instant> {
        let entries = self.entries.lock();
        let came = entries.get(&session)?.came?;
        (came.term == term).then_some(came.clean)
    }

    /// The next session comes.
    pub(crate) fn attached(&self) -> tokio::sync::futures::Notified<'_> {
        self.came.notified()
    }

    fn take_in(&self, session: SessionId, link: &Arc<StreamLink>, came: Option<Came>) -> bool {
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get_mut(&session) {
            entry.heard = now;
            entry.link = Some(Arc::clone(link));
            // The first word counts: a session that came once has nothing of earlier leaders.
            let known = entry
                .came
                .filter(|known| came.is_none_or(|came| came.term == known.term));
            entry.came = known.or(came);
            return true;
        }
        if entries.len() >= ENTRIES_MAX {
            return false;
        }
        let link = Some(Arc::clone(link));
        entries.insert(
            session,
            Entry {
                volume: None,
                heard: now,
                link,
                came,
                missed: 0,
            },
        );
        true
    }

    /// Whether the session is known to exist.
    pub(crate) fn exists(&self, session: SessionId) -> bool {
        self.entries
            .lock()
            .get(&session)
            .is_some_and(|entry| entry.volume.is_some())
    }

    /// Sessions in the table.
    pub(crate) fn len(&self) -> usize {
        self.entries.lock().len()
    }

    /// This node became leader at `now`: whoever was silent until then starts anew.
    pub(crate) fn restart(&self, now: Instant) {
        for entry in self.entries.lock().values_mut() {
            entry.heard = entry.heard.max(now);
        }
    }

    /// Takes in which sessions exist.
    pub(crate) fn sweep(&self, existing: &HashMap<SessionId, VolumeId>, now: Instant) {
        let mut entries = self.entries.lock();
        for (session, volume) in existing {
            let entry = entries.entry(*session).or_insert(Entry {
                volume: None,
                heard: now,
                link: None,
                came: None,
                missed: 0,
            });
            entry.volume = Some(*volume);
            entry.missed = 0;
        }
        entries.retain(|session, entry| {
            if existing.contains_key(session) {
                return true;
            }
            // One that was opened while the list was read gets a second chance.
            entry.missed += 1;
            entry.missed < 2 && entry.link.as_ref().is_some_and(|link| link.out().is_some())
        });
    }

    /// The sessions that were silent for `ttl`, at most `count_max`.
    pub(crate) fn silent(
        &self,
        ttl: Duration,
        now: Instant,
        count_max: usize,
    ) -> Vec<(VolumeId, SessionId)> {
        let entries = self.entries.lock();
        let silent = entries.iter().filter_map(|(session, entry)| {
            let quiet = now.saturating_duration_since(entry.last_heard());
            entry
                .volume
                .filter(|_| quiet >= ttl)
                .map(|volume| (volume, *session))
        });
        silent.take(count_max).collect()
    }

    /// The way to the client of a session, if it is connected.
    pub(crate) fn out(&self, session: SessionId) -> Option<Out> {
        self.entries.lock().get(&session)?.link.as_ref()?.out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    const TTL: Duration = Duration::from_secs(60);

    fn existing(sessions: &[u64]) -> HashMap<SessionId, VolumeId> {
        sessions
            .iter()
            .map(|id| (SessionId(*id), VolumeId(1)))
            .collect()
    }

    #[test]
    fn a_silent_session_is_found_after_its_time_and_not_before() {
        let table = SessionTable::default();
        let start = Instant::now();
        table.sweep(&existing(&[1]), start);
        assert!(table.silent(TTL, start + TTL / 2, 9).is_empty());
        assert_eq!(
            table.silent(TTL, start + TTL, 9),
            vec![(VolumeId(1), SessionId(1))]
        );
        assert!(table.silent(TTL, start + TTL, 0).is_empty());
    }

    #[test]
    fn a_new_leader_gives_a_full_time() {
        let table = SessionTable::default();
        let start = Instant::now();
        table.sweep(&existing(&[1]), start);
        table.restart(start + TTL);
        assert!(table.silent(TTL, start + TTL + TTL / 2, 9).is_empty());
        assert_eq!(table.silent(TTL, start + TTL + TTL, 9).len(), 1);
    }

    #[test]
    fn a_stream_that_speaks_keeps_its_sessions() {
        let table = SessionTable::default();
        let (out, answers) = mpsc::channel(1);
        let link = StreamLink::new(&out);
        assert!(table.attach(SessionId(1), &link, None));
        let start = Instant::now();
        table.sweep(&existing(&[1]), start);
        link.heard_ms.store(90_000, Ordering::Relaxed);
        assert!(table.silent(TTL, start + TTL + TTL / 2, 9).is_empty());
        assert!(table.out(SessionId(1)).is_some());
        drop(answers);
        assert!(table.out(SessionId(1)).is_none(), "the stream is gone");
    }

    #[test]
    fn a_session_that_does_not_exist_leaves_with_the_second_sweep() {
        let table = SessionTable::default();
        let (out, _answers) = mpsc::channel(1);
        let link = StreamLink::new(&out);
        assert!(table.attach(SessionId(5), &link, None));
        assert!(!table.exists(SessionId(5)));
        table.sweep(&existing(&[]), Instant::now());
        assert_eq!(table.len(), 1);
        table.sweep(&existing(&[5]), Instant::now());
        assert!(table.exists(SessionId(5)), "it was opened meanwhile");
        table.sweep(&existing(&[]), Instant::now());
        table.sweep(&existing(&[]), Instant::now());
        assert_eq!(table.len(), 0);
    }
}
