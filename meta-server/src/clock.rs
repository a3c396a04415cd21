//! The wall clock, and whether the peers agree with it.
//!
//! A leader stamps every change with its wall clock, so a clock that is far off would write wrong
//! times for ever. Each Raft round trip brings the peer's clock along; a leader that most peers
//! disagree with stops proposing and gives leadership away. Nothing else depends on wall clocks.

use meta_core::attr::Timestamp;
use parking_lot::Mutex;
use raft_store::NodeId;
use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fmt::Debug;
#[cfg(feature = "rocksdb")]
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Looks at the clocks for one answer how long the machine was suspended.
const LOOKS_MAX: usize = 3;
/// An answer so exact needs no other look.
const LOOK_GOOD: Duration = Duration::from_millis(1);
/// How far a clock may be off.
const SKEW_MAX: Duration = Duration::from_secs(1);
/// A round trip longer than this says nothing about clocks.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(500);
/// A sample older than this is forgotten.
const SAMPLE_AGE_MAX: Duration = Duration::from_secs(10);

/// Tells the time of day.
pub trait WallClock: Send + Sync + Debug {
    /// Time since 1970.
    fn now(&self) -> Duration;

    /// How long the machine was suspended since it was started.
    fn suspended(&self) -> Suspended {
        suspended()
    }
}

/// How long a machine was suspended, as far as can be known: the time that its monotonic clock, by
/// which all waiting is done, does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Suspended {
    /// At least so long.
    pub least: Duration,
    /// At most so long: two clocks cannot be read at one instant.
    pub most: Duration,
}

/// Looks until nothing came between the clocks, or often enough.
fn suspended() -> Suspended {
    let mut best = look();
    for _ in 1..LOOKS_MAX {
        if best.most - best.least < LOOK_GOOD {
            break;
        }
        let next = look();
        if next.most - next.least < best.most - best.least {
            best = next;
        }
    }
    best
}

fn look() -> Suspended {
    let read = |clock| {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    let before = read(ClockId::Monotonic);
    let boot = read(ClockId::Boottime);
    let after = read(ClockId::Monotonic);
    Suspended {
        least: boot.saturating_sub(after),
        most: boot.saturating_sub(before),
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> Duration {
        // A clock before 1970 is so far off that the peers will say so.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
    }
}

/// The clock of a node's process. In the build for tests, which has the feature `failpoints`, it can be
/// set wrong: by as many milliseconds as stand in the file that `CURLEW_CLOCK` names.
#[cfg(feature = "rocksdb")]
pub(crate) fn of_process() -> Arc<dyn WallClock> {
    #[cfg(feature = "failpoints")]
    if let Some(path) = std::env::var_os("CURLEW_CLOCK") {
        return Arc::new(wrong::WrongClock(path.into()));
    }
    Arc::new(SystemClock)
}

#[cfg(all(feature = "rocksdb", feature = "failpoints"))]
mod wrong {
    use super::{SystemClock, WallClock};
    use std::path::PathBuf;
    use std::time::Duration;

    /// The machine's clock, as far off as a file says.
    #[derive(Debug)]
    pub(super) struct WrongClock(pub(super) PathBuf);

    impl WallClock for WrongClock {
        fn now(&self) -> Duration {
            let right = SystemClock.now();
            let text = std::fs::read_to_string(&self.0).unwrap_or_default();
            // A file that is just being written says nothing.
            let off: i64 = text.trim().parse().unwrap_or(0);
            let by = Duration::from_millis(off.unsigned_abs());
            if off < 0 {
                right.saturating_sub(by)
            } else {
                right + by
            }
        }
    }
}

/// A clock's reading as it goes into a command.
pub(crate) fn timestamp(now: Duration) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
        nanos: now.subsec_nanos(),
    }
}

/// A clock's reading as it travels between nodes.
pub(crate) fn nanoseconds(now: Duration) -> u64 {
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// The newest reading of one peer's clock.
#[derive(Clone, Copy, Debug)]
struct Sample {
    taken: Instant,
    /// Peer's clock less ours, at least this far from zero.
    apart: Duration,
}

/// What the peers' clocks say about ours.
#[derive(Debug, Default)]
pub(crate) struct ClockCheck {
    samples: Mutex<BTreeMap<NodeId, Sample>>,
}

impl ClockCheck {
    /// Takes in one round trip: our clock before and after it, and the peer's in between.
    pub(crate) fn observe(&self, peer: NodeId, sent: Duration, received: Duration, theirs: u64) {
        let round_trip = received.saturating_sub(sent);
        if round_trip > ROUND_TRIP_MAX || theirs == 0 {
            return;
        }
        let theirs = Duration::from_nanos(theirs);
        // The peer answered at some moment between the two; only what is outside is skew.
        let apart = if theirs < sent {
            sent - theirs
        } else {
            theirs.saturating_sub(received)
        };
        self.samples.lock().insert(
            peer,
            Sample {
                taken: Instant::now(),
                apart,
            },
        );
    }

    /// The largest distance to any peer's clock that was heard lately.
    pub(crate) fn largest(&self) -> Duration {
        let apart = self.fresh(Instant::now(), |fresh| {
            fresh.map(|sample| sample.apart).max()
        });
        apart.unwrap_or(Duration::ZERO)
    }

    /// Whether our clock is off: more than half of all peers say so, or more of those that were heard
    /// lately than agree with it, ourselves among them. Who is not heard may be dead: a leader needs
    /// no more than a bare majority of nodes.
    pub(crate) fn is_off(&self, peers: impl FnOnce() -> usize) -> bool {
        self.is_off_at(Instant::now(), peers)
    }

    fn is_off_at(&self, now: Instant, peers: impl FnOnce() -> usize) -> bool {
        let (agree, differ) = self.voices(now);
        differ > 0 && (differ > agree + 1 || differ * 2 > peers())
    }

    /// Whether our clock is right, as far as can be known: most of the nodes agree with it. What
    /// cannot be taken back must not be done by a clock that is only not known to be wrong.
    pub(crate) fn is_confirmed(&self, peers: usize) -> bool {
        let (agree, _) = self.voices(Instant::now());
        (agree + 1) * 2 > peers + 1
    }

    /// How many peers agree with our clock, and how many differ from it.
    fn voices(&self, now: Instant) -> (usize, usize) {
        self.fresh(now, |fresh| {
            fresh.fold((0, 0), |(agree, differ), sample| {
                let differs = usize::from(sample.apart > SKEW_MAX);
                (agree + 1 - differs, differ + differs)
            })
        })
    }

    fn fresh<R>(
        &self,
        now: Instant,
        see: impl FnOnce(&mut dyn Iterator<Item = &Sample>) -> R,
    ) -> R {
        let age = |sample: &&Sample| now.saturating_duration_since(sample.taken);
        let samples = self.samples.lock();
        let mut fresh = samples
            .values()
            .filter(|sample| age(sample) <= SAMPLE_AGE_MAX);
        see(&mut fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn observe(check: &ClockCheck, peer: NodeId, theirs: Duration) {
        check.observe(peer, ms(100_000), ms(100_010), nanoseconds(theirs));
    }

    #[test]
    fn a_clock_is_off_only_when_most_peers_say_so() {
        let check = ClockCheck::default();
        assert!(!check.is_off(|| 2), "nobody was heard");
        observe(&check, 2, ms(103_000));
        assert!(!check.is_off(|| 2), "one of two is no majority");
        assert!(check.largest() > ms(2900));
        observe(&check, 3, ms(97_000));
        assert!(check.is_off(|| 2), "behind counts like ahead");
        observe(&check, 3, ms(100_900));
        assert!(!check.is_off(|| 2), "under a second is in order");
    }

    #[test]
    fn a_clock_is_off_when_all_who_are_heard_say_so_and_the_others_are_dead() {
        let check = ClockCheck::default();
        observe(&check, 2, ms(3_700_000));
        assert!(!check.is_off(|| 4), "one against one");
        observe(&check, 3, ms(3_700_000));
        assert!(
            check.is_off(|| 4),
            "two of five are dead, and the two others agree"
        );
        observe(&check, 4, ms(100_000));
        assert!(!check.is_off(|| 4), "two against two");
    }

    #[test]
    fn a_clock_is_confirmed_only_when_most_nodes_agree() {
        let check = ClockCheck::default();
        assert!(check.is_confirmed(0), "there is no other");
        assert!(!check.is_confirmed(2), "nobody was heard");
        observe(&check, 2, ms(3_700_000));
        assert!(!check.is_confirmed(2), "one against one");
        observe(&check, 3, ms(100_500));
        assert!(check.is_confirmed(2), "two of three");
        assert!(!check.is_confirmed(4), "two of five");
    }

    #[test]
    fn a_single_node_has_nobody_to_disagree() {
        assert!(!ClockCheck::default().is_off(|| 0));
    }

    #[test]
    fn a_slow_round_trip_says_nothing() {
        let check = ClockCheck::default();
        check.observe(2, ms(100_000), ms(101_000), nanoseconds(ms(200_000)));
        assert!(!check.is_off(|| 1));
        check.observe(2, ms(100_000), ms(100_001), 0);
        assert!(
            !check.is_off(|| 1),
            "a peer that tells no time is not asked"
        );
    }

    #[test]
    fn old_samples_are_forgotten() {
        let check = ClockCheck::default();
        observe(&check, 2, ms(200_000));
        assert!(check.is_off(|| 1));
        assert!(!check.is_off_at(Instant::now() + ms(11_000), || 1));
    }
}
