//! When a leader may answer reads without asking the others whether it still leads.
//!
//! A majority that took in what the leader sent at `t0` elects nobody else before an election timeout
//! from then, as one of its members would have to vote for it. So until a part of that time is over
//! the leader knows that it is the only one. openraft keeps `t0`, forgets it with each term, and
//! answers no read any more once leadership is being handed over; this module says how old `t0` may
//! be. That rests, beside clocks that run about equally fast (`docs/SEMANTICS.md`), on this:
//!
//! - a node that was started has forgotten what it took in, so it neither votes nor stands for
//!   election for longer than that ([`LeaderLease::is_quarantined`]), and one that stops in order
//!   ends only when nobody relies on it any more ([`LeaderLease::owed`]), as it may be started
//!   without the option;
//! - each member says with every answer to its leader for how long it keeps to that, and the
//!   shortest time of those that answered counts: one of an earlier build, or without the option,
//!   says nothing;
//! - a leader's clock stands still while its machine is suspended: nothing from before counts then.
//!
//! While the membership changes, openraft asks for majorities of both sets of voters. Whoever is
//! elected meanwhile needs a majority of the earlier one, or has the joint membership in its log and
//! needs both. There is one exception: who is the only voter in its own log elects itself at once,
//! however lately it heard a leader. So a leader that is being taken out does not end that change
//! (`node/members.rs`), and has no lease from when it begins (`reads.rs`).

use crate::clock::{Suspended, WallClock};
use meta_core::seeded::{Bug, has};
use parking_lot::Mutex;
use raft_store::NodeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Of the shortest promise: clocks may run so much apart, and a little more.
const LEASE_PERCENT: u32 = 60;
/// Of a node's own promise, from its start.
const QUARANTINE_PERCENT: u32 = 120;
/// Shorter suspensions count as none: two clocks cannot be read at one instant, and the part of the
/// promise that is not used is longer, as no promise is shorter than 100 ms (`config`).
const SUSPENDED_UNSEEN: Duration = Duration::from_millis(10);

/// One node's lease as a leader, and what it owes those of others.
pub(crate) struct LeaderLease {
    promise: Option<Duration>,
    started: Instant,
    clock: Arc<dyn WallClock>,
    heard: Mutex<Heard>,
    /// When this node last told a leader its promise.
    given: Mutex<Option<Instant>>,
}

/// What counts in one term.
struct Heard {
    term: Option<u64>,
    /// Nothing that was sent before counts.
    since: Instant,
    /// How long the machine had been suspended then, at least.
    suspended: Duration,
    /// When each peer's newest answer was asked for, and what it promised.
    promises: BTreeMap<NodeId, (Instant, Duration)>,
}

impl Heard {
    fn begin(term: Option<u64>, now: Instant, suspended: Suspended) -> Self {
        Self {
            term,
            since: now,
            suspended: suspended.least,
            promises: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for LeaderLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaderLease")
            .field("promise", &self.promise)
            .finish_non_exhaustive()
    }
}

impl LeaderLease {
    /// For a node that starts now. Its promise, if it makes one, is its election timeout.
    pub(crate) fn new(promise: Option<Duration>, clock: Arc<dyn WallClock>) -> Self {
        let now = Instant::now();
        let heard = Heard::begin(None, now, clock.suspended());
        Self {
            promise,
            started: now,
            clock,
            heard: Mutex::new(heard),
            given: Mutex::new(None),
        }
    }

    /// For how long this node elects nobody after it heard its leader; zero if it does not promise
    /// anything.
    pub(crate) fn promised(&self) -> Duration {
        self.promise.unwrap_or(Duration::ZERO)
    }

    /// This node took in what a leader sent, and is about to answer.
    pub(crate) fn give(&self) {
        if self.promise.is_some() {
            *self.given.lock() = Some(Instant::now());
        }
    }

    /// For how long a leader may still rely on what this node took in.
    pub(crate) fn owed(&self) -> Duration {
        let given = *self.given.lock();
        given.map_or(Duration::ZERO, |at| {
            self.promised().saturating_sub(at.elapsed())
        })
    }

    /// How long a node that was started neither votes nor stands for election.
    pub(crate) fn quarantine(&self) -> Option<Duration> {
        let promise = self.promise.filter(|_| !has(Bug::StartedNodeVotes))?;
        Some(promise * QUARANTINE_PERCENT / 100)
    }

    /// Whether this node was started so lately that others may rely on what it has forgotten.
    pub(crate) fn is_quarantined(&self) -> bool {
        !self.quarantine_left().is_zero()
    }

    /// How long that goes on.
    pub(crate) fn quarantine_left(&self) -> Duration {
        let quarantine = self.quarantine().unwrap_or(Duration::ZERO);
        quarantine.saturating_sub(self.started.elapsed())
    }

    /// A peer answered what was sent at `sent`, and said what it promises. To be told before Raft
    /// counts the answer.
    pub(crate) fn observe(&self, peer: NodeId, sent: Instant, promised: Duration) {
        if self.promise.is_none() {
            return;
        }
        let mut heard = self.heard.lock();
        let is_newest = |heard: &Heard| {
            let known = heard.promises.get(&peer);
            known.is_none_or(|(newest, _)| *newest <= sent)
        };
        if sent >= heard.since && is_newest(&heard) {
            heard.promises.insert(peer, (sent, promised));
        }
    }

    /// How old may be what a majority took in for a read in `term`, which is to be looked for at
    /// `asked` or later, to rely on it; zero if the majority must be asked anew.
    pub(crate) fn age_max(&self, term: Option<u64>, asked: Instant) -> Duration {
        if self.promise.is_none() || term.is_none() {
            return Duration::ZERO;
        }
        // A suspension in between is seen the next time.
        let suspended = self.clock.suspended();
        self.age_max_at(term, asked, Instant::now(), suspended)
    }

    fn age_max_at(
        &self,
        term: Option<u64>,
        asked: Instant,
        now: Instant,
        suspended: Suspended,
    ) -> Duration {
        let mut heard = self.heard.lock();
        let slept = suspended.most > heard.suspended + SUSPENDED_UNSEEN;
        if heard.term != term || slept {
            *heard = Heard::begin(term, now, suspended);
        }
        let usable = |promise: Duration| promise * LEASE_PERCENT / 100;
        let longest = usable(self.promised());
        let ages = heard.promises.values().filter_map(|(sent, promised)| {
            // What is older no read relies on, whoever answered.
            let counts = asked.saturating_duration_since(*sent) <= longest;
            counts.then(|| usable(*promised))
        });
        let age = ages.fold(longest, Duration::min);
        age.min(asked.saturating_duration_since(heard.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const TERM: Option<u64> = Some(3);

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// The machine was suspended for so long before.
    fn slept(least: u64, most: u64) -> Suspended {
        Suspended {
            least: ms(least),
            most: ms(most),
        }
    }

    const AWAKE: Suspended = Suspended {
        least: Duration::ZERO,
        most: Duration::ZERO,
    };

    fn age_max(lease: &LeaderLease, term: Option<u64>, now: Instant, slept: Suspended) -> Duration {
        lease.age_max_at(term, now, now, slept)
    }

    /// A leader that promises 1 s itself, and when its term began.
    fn leader() -> (LeaderLease, Instant) {
        let lease = LeaderLease::new(Some(ms(1000)), Arc::new(SystemClock));
        let begin = Instant::now();
        assert_eq!(age_max(&lease, TERM, begin, AWAKE), ms(0), "at the begin");
        (lease, begin)
    }

    #[test]
    fn without_the_option_a_majority_is_asked_for_every_read() {
        let lease = LeaderLease::new(None, Arc::new(SystemClock));
        lease.observe(2, Instant::now(), ms(1000));
        assert_eq!(lease.age_max(TERM, Instant::now()), ms(0));
        assert_eq!((lease.promised(), lease.quarantine()), (ms(0), None));
        assert!(!lease.is_quarantined());
    }

    #[test]
    fn a_node_that_does_not_lead_has_no_lease() {
        let (lease, _begin) = leader();
        assert_eq!(lease.age_max(None, Instant::now()), ms(0));
    }

    #[test]
    fn a_lease_is_a_part_of_the_shortest_promise() {
        let (lease, begin) = leader();
        let sent = |at| begin + ms(4800) + ms(at);
        let age = |at| age_max(&lease, TERM, begin + at, AWAKE);
        assert_eq!(age(ms(5000)), ms(600));
        lease.observe(2, sent(0), ms(2000));
        lease.observe(3, sent(0), ms(500));
        assert_eq!(age(ms(5000)), ms(300));
        lease.observe(3, sent(2), ms(0));
        assert_eq!(age(ms(5000)), ms(0), "one does not promise anything");
        lease.observe(3, sent(1), ms(500));
        assert_eq!(age(ms(5000)), ms(0), "it had answered that before");
        lease.observe(3, sent(3), ms(800));
        assert_eq!(age(ms(5000)), ms(480));
    }

    #[test]
    fn a_member_that_is_silent_does_not_count() {
        let (lease, begin) = leader();
        let age = |at| age_max(&lease, TERM, begin + at, AWAKE);
        lease.observe(3, begin + ms(2000), ms(0));
        assert_eq!(age(ms(2600)), ms(0));
        assert_eq!(age(ms(2601)), ms(600));
    }

    #[test]
    fn what_was_sent_before_a_term_began_does_not_count_in_it() {
        let (lease, begin) = leader();
        assert_eq!(age_max(&lease, TERM, begin + ms(50), AWAKE), ms(50));
        let next = begin + ms(9000);
        assert_eq!(age_max(&lease, Some(4), next, AWAKE), ms(0));
        lease.observe(2, next - ms(1), ms(0));
        let later = age_max(&lease, Some(4), next + ms(599), AWAKE);
        assert_eq!(later, ms(599), "the answer was to an earlier question");
    }

    #[test]
    fn a_second_look_sees_what_came_after_the_first() {
        let (lease, begin) = leader();
        let asked = begin + ms(5000);
        assert_eq!(age_max(&lease, TERM, asked, AWAKE), ms(600));
        lease.observe(2, asked - ms(500), ms(200));
        let look = |now, slept| lease.age_max_at(TERM, asked, now, slept);
        assert_eq!(look(asked + ms(900), AWAKE), ms(120), "however late");
        assert_eq!(look(asked + ms(900), slept(50, 50)), ms(0));
        let next = age_max(&lease, TERM, asked + ms(950), slept(50, 50));
        assert_eq!(next, ms(50), "since the suspension was seen");
    }

    #[test]
    fn a_suspension_of_the_machine_ends_the_lease() {
        let (lease, begin) = leader();
        let age = |at, suspended| age_max(&lease, TERM, begin + at, suspended);
        assert_eq!(
            age(ms(5000), slept(0, 9)),
            ms(600),
            "the clocks say no more"
        );
        assert_eq!(age(ms(5000), slept(700, 700)), ms(0));
        assert_eq!(age(ms(5020), slept(700, 700)), ms(20));
        assert_eq!(age(ms(9000), slept(700, 700)), ms(600));
        assert_eq!(age(ms(9000), slept(890, 900)), ms(0), "once more");
    }

    #[test]
    fn a_node_that_was_started_is_quarantined_for_longer_than_its_promise() {
        let lease = LeaderLease::new(Some(ms(60_000)), Arc::new(SystemClock));
        assert_eq!(lease.quarantine(), Some(ms(72_000)));
        assert!(lease.is_quarantined());
        assert!(lease.quarantine_left() <= ms(72_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_owes_what_is_left_of_its_promise() {
        let lease = LeaderLease::new(Some(ms(1000)), Arc::new(SystemClock));
        assert_eq!(lease.owed(), ms(0), "it has promised nothing to anybody");
        for _ in 0..2 {
            lease.give();
            assert_eq!(lease.owed(), ms(1000));
            tokio::time::advance(ms(300)).await;
            assert_eq!(lease.owed(), ms(700));
        }
        tokio::time::advance(ms(701)).await;
        assert_eq!(lease.owed(), ms(0));
        assert_eq!(lease.quarantine_left(), ms(0), "of 1.2 s");
        let without = LeaderLease::new(None, Arc::new(SystemClock));
        without.give();
        assert_eq!(without.owed(), ms(0));
    }

    #[test]
    fn the_machine_was_not_suspended_between_two_looks_of_a_test() {
        let (one, other) = (SystemClock.suspended(), SystemClock.suspended());
        assert!(one.least <= one.most && one.least <= other.most);
        assert!(other.least <= other.most && other.least <= one.most + SUSPENDED_UNSEEN);
    }
}
