//! Which member is the nearest.

use crate::deadline::Deadline;
use crate::hunt::meet;
use crate::link::Link;
use crate::members::{MEMBERS_MAX, Members};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::Instant;

/// Ways there and back that are measured; the shortest counts.
const SAMPLES: usize = 3;
/// One of them is waited for so long.
const SAMPLE_LIMIT: Duration = Duration::from_secs(1);
/// How long others are waited for once the way to one is measured.
const GRACE: Duration = Duration::from_millis(300);
/// Ways that differ by no more than this are equally long: a follower is then taken, so that the
/// leader has less to do.
const TIE: Duration = Duration::from_micros(300);

/// A member that is read from.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    pub(super) node: u64,
    pub(super) round_trip: Duration,
    pub(super) link: Arc<Link>,
}

/// A member that was met.
#[derive(Debug)]
struct Met {
    node: u64,
    leads: bool,
    round_trip: Duration,
    visit: Visit,
}

/// A stream that is left again unless it is kept.
#[derive(Debug)]
struct Visit(Option<Arc<Link>>);

impl Visit {
    fn keep(mut self) -> Option<Arc<Link>> {
        self.0.take()
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(link) = self.0.take() {
            link.leave("it was only measured", None);
        }
    }
}

/// What a choice is made by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Candidate {
    node: u64,
    leads: bool,
    round_trip: Duration,
}

impl Members {
    /// Measures the ways to all members and takes the nearest, which may be the one from before.
    /// One that has failed is taken only if there is no other.
    pub(super) async fn choose(
        &mut self,
        before: Option<&Chosen>,
        failed: Option<u64>,
    ) -> Option<Chosen> {
        let mut met = measure(self.addrs()).await;
        let candidates: Vec<_> = met.iter().map(Met::candidate).collect();
        let current = before.map(|before| before.node);
        let random = rand::random_range(0..MEMBERS_MAX);
        let at = pick(&candidates, current, failed, random)?;
        let taken = met.swap_remove(at);
        drop(met);
        if let Some(link) = &taken.visit.0 {
            self.learn(link).await;
        }
        let (node, round_trip) = (taken.node, taken.round_trip);
        let link = match before {
            // Questions are under way on its stream.
            Some(before) if before.node == node && !before.link.is_broken() => {
                Arc::clone(&before.link)
            }
            _ => taken.visit.keep()?,
        };
        tracing::debug!(addr = link.addr(), "the nearest member is chosen");
        Some(Chosen {
            node,
            round_trip,
            link,
        })
    }
}

impl Met {
    fn candidate(&self) -> Candidate {
        Candidate {
            node: self.node,
            leads: self.leads,
            round_trip: self.round_trip,
        }
    }
}

/// Meets all at once. Whoever takes much longer than the first is not the nearest.
async fn measure(addrs: Vec<String>) -> Vec<Met> {
    let mut meeting: FuturesUnordered<_> = addrs.into_iter().map(meet_one).collect();
    let mut met: Vec<Met> = Vec::new();
    let mut until = Deadline::after(None);
    while let Some(Some(found)) = until.bound(meeting.next()).await {
        let Some(found) = found else { continue };
        until = until.within(GRACE);
        // Two addresses may lead to one node.
        if met.iter().all(|known| known.node != found.node) {
            met.push(found);
        }
    }
    met
}

async fn meet_one(addr: String) -> Option<Met> {
    let (opened, hello) = meet(&addr).await.ok()?;
    // One of an earlier build answers only as a leader.
    if hello.features & v1::Feature::Nearest as u64 == 0 {
        return None;
    }
    let link = Link::start_to_member(opened);
    let visit = Visit(Some(Arc::clone(&link)));
    Some(Met {
        node: hello.node_id,
        leads: hello.leading,
        round_trip: round_trip(&link).await?,
        visit,
    })
}

/// The shortest way there and back of a few.
async fn round_trip(link: &Link) -> Option<Duration> {
    let mut shortest: Option<Duration> = None;
    for _ in 0..SAMPLES {
        let begin = Instant::now();
        let sent = AtomicBool::new(false);
        // A node that does not lead answers it with a failure, and just as fast.
        let alive = Ask::KeepAlive(v1::KeepAlive { session: 0 });
        let answering = link.call_unbounded(alive, &sent);
        let answered = tokio::time::timeout(SAMPLE_LIMIT, answering).await;
        let _alive_or_not_leading = answered.ok()?.ok()?;
        let took = begin.elapsed();
        shortest = Some(shortest.map_or(took, |shortest| shortest.min(took)));
    }
    shortest
}

/// The place of the nearest candidate. Of those that are equally near it is a follower if there is
/// one, the current one before others, else one at random, so that clients spread over them.
fn pick(
    candidates: &[Candidate],
    current: Option<u64>,
    failed: Option<u64>,
    random: usize,
) -> Option<usize> {
    let all = || candidates.iter().enumerate();
    let whole = all().filter(|(_, candidate)| Some(candidate.node) != failed);
    let mut near: Vec<_> = whole.collect();
    if near.is_empty() {
        near = all().collect();
    }
    let shortest = near
        .iter()
        .map(|(_, candidate)| candidate.round_trip)
        .min()?;
    let tie = TIE.max(shortest / 2);
    near.retain(|(_, candidate)| candidate.round_trip <= shortest + tie);
    let follows = near.iter().any(|(_, candidate)| !candidate.leads);
    near.retain(|(_, candidate)| !(follows && candidate.leads));
    near.sort_unstable_by_key(|(_, candidate)| candidate.node);
    let kept = near
        .iter()
        .find(|(_, candidate)| Some(candidate.node) == current);
    let taken = kept.or_else(|| near.get(random % near.len()));
    taken.map(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn candidates<const N: usize>(all: [(u64, u64, bool); N]) -> Vec<Candidate> {
        let all = all.into_iter();
        all.map(|(node, us, leads)| Candidate {
            node,
            leads,
            round_trip: Duration::from_micros(us),
        })
        .collect()
    }

    #[test]
    fn the_nearest_is_taken_whether_it_leads_or_not() {
        let all = candidates([(1, 9_000, false), (2, 1_000, true), (3, 4_000, false)]);
        assert_eq!(pick(&all, None, None, 0), Some(1));
        let all = candidates([(1, 9_000, true), (2, 4_000, false), (3, 1_000, false)]);
        assert_eq!(pick(&all, Some(2), None, 0), Some(2));
        assert_eq!(pick(&[], None, None, 0), None);
    }

    #[test]
    fn of_those_that_are_equally_near_a_follower_is_taken_and_the_current_one_kept() {
        let all = candidates([
            (1, 100, true),
            (2, 210, false),
            (3, 320, false),
            (4, 900, false),
        ]);
        let taken: HashSet<_> = (0..9)
            .map(|random| pick(&all, None, None, random))
            .collect();
        assert_eq!(taken, HashSet::from([Some(1), Some(2)]), "clients spread");
        assert_eq!(pick(&all, Some(3), None, 0), Some(2));
        assert_eq!(pick(&all, Some(1), None, 0), Some(1), "it leads by now");
    }

    #[test]
    fn one_that_has_failed_is_the_last_choice() {
        let all = candidates([(1, 5_000, true), (2, 100, false)]);
        assert_eq!(pick(&all, None, Some(2), 0), Some(0));
        assert_eq!(
            pick(&all[1..], None, Some(2), 0),
            Some(0),
            "there is no other"
        );
    }
}
