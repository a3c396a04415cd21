//! Reads at the nearest member of the cluster, whether it leads or not.
//!
//! A follower asks the leader how far it must be before it answers, so its answers are as
//! linearizable as the leader's own. What it cannot answer in time the leader answers, and it is
//! counted. Writes never come here, and nothing that is answered here is leased.

mod choice;

use crate::backoff::Backoff;
use crate::link::Link;
use crate::members::Members;
use choice::Chosen;
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Answer, Query};
use meta_core::seeded::{Bug, has};
use parking_lot::Mutex;
use proto::convert::Convert as _;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A member that has not answered in this time is not waited for any longer. It has less for its
/// question to the leader.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Members come and go, and ways get longer and shorter: how often all are looked at again.
const CHOOSE_EVERY: Duration = Duration::from_secs(30);
/// Between two choices where the chosen one failed.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A member that was read from for so long was a good choice.
const GOOD_CHOICE: Duration = Duration::from_secs(10);
/// A member that is left for a nearer one may still answer what it was asked.
const LEAVE_AFTER: Duration = ANSWER_LIMIT;

/// How often queries were answered where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NearestCounts {
    /// By the nearest member.
    pub served: u64,
    /// By the leader, because that member had not applied enough in time.
    pub behind: u64,
    /// By the leader, because there was no such member, it did not answer, it could not ask the
    /// leader, or it is of an earlier version that does not know the question.
    pub unavailable: u64,
}

/// Which member is read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NearestStatus {
    /// Its number and address, while there is a stream to it.
    pub node: Option<(u64, String)>,
    /// The way there and back, as it was measured.
    pub round_trip: Option<Duration>,
    /// How often queries were answered where.
    pub counts: NearestCounts,
}

type Read = (Token, Result<Answer, Refusal>);

/// Why the member does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Declined {
    Behind,
    Unavailable,
}

/// What the choice of a member is followed by.
enum Next {
    /// Another look at all members.
    Look,
    /// The same, and this one failed.
    Leave,
    /// Nothing: the session is over.
    End,
}

/// The way to the nearest member. Its task ends when it is dropped.
#[derive(Debug)]
pub(super) struct NearestRoute {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    chosen: Mutex<Option<Chosen>>,
    /// The chosen member failed.
    failed: Notify,
    served: AtomicU64,
    behind: AtomicU64,
    unavailable: AtomicU64,
    stop: CancellationToken,
}

impl NearestRoute {
    /// Starts looking at the members behind `addrs`, and does so again when `leaders` changes.
    pub(super) fn start(addrs: &[String], leaders: watch::Receiver<Option<String>>) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            chosen: Mutex::new(None),
            failed: Notify::new(),
            served: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
            stop: stop.clone(),
        });
        tokio::spawn(Arc::clone(&shared).run(Members::new(addrs), leaders));
        Self {
            shared,
            _stop: stop.drop_guard(),
        }
    }

    pub(super) fn stop(&self) {
        self.shared.stop.cancel();
    }

    pub(super) fn status(&self) -> NearestStatus {
        let shared = &self.shared;
        let chosen = shared.chosen();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        NearestStatus {
            node: chosen
                .as_ref()
                .map(|chosen| (chosen.node, chosen.link.addr().to_owned())),
            round_trip: chosen.map(|chosen| chosen.round_trip),
            counts: NearestCounts {
                served: count(&shared.served),
                behind: count(&shared.behind),
                unavailable: count(&shared.unavailable),
            },
        }
    }

    /// Asks the nearest member. `None` is counted, and is the leader's to answer.
    pub(super) async fn ask(&self, query: &Query, seen: Token) -> Option<Read> {
        let shared = &self.shared;
        let (counter, read) = match shared.try_ask(query, seen).await {
            Ok(read) => (&shared.served, Some(read)),
            Err(Declined::Behind) => (&shared.behind, None),
            Err(Declined::Unavailable) => (&shared.unavailable, None),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        read
    }
}

impl Shared {
    /// The member that is read from, if there is a stream to it.
    fn chosen(&self) -> Option<Chosen> {
        let chosen = self.chosen.lock().clone();
        chosen.filter(|chosen| !chosen.link.is_broken())
    }

    async fn try_ask(&self, query: &Query, seen: Token) -> Result<Read, Declined> {
        let chosen = self.chosen().ok_or(Declined::Unavailable)?;
        // One of an earlier version is as good as before for what it knows.
        if !chosen.link.knows(&query.body) {
            return Err(Declined::Unavailable);
        }
        let asked = ask(&chosen.link, query, seen).await;
        if asked.is_err() {
            self.give_up(&chosen);
        }
        asked
    }

    /// Nothing more is asked of a member that could not answer, until all were looked at again.
    fn give_up(&self, failed: &Chosen) {
        let mut chosen = self.chosen.lock();
        if chosen
            .as_ref()
            .is_some_and(|chosen| chosen.link.id() == failed.link.id())
        {
            *chosen = None;
            self.failed.notify_one();
        }
    }

    async fn run(self: Arc<Self>, members: Members, leaders: watch::Receiver<Option<String>>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.keep_choosing(members, leaders) => {}
            () = stop.cancelled() => {}
        }
        if let Some(chosen) = self.chosen.lock().take() {
            chosen.link.leave("the client is done", None);
        }
    }

    async fn keep_choosing(
        &self,
        mut members: Members,
        mut leaders: watch::Receiver<Option<String>>,
    ) {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let mut failed: Option<u64> = None;
        loop {
            leaders.borrow_and_update();
            let before = self.chosen();
            let found = members.choose(before.as_ref(), failed).await;
            self.change(before, found.clone());
            let (since, pause) = (Instant::now(), backoff.grow());
            let next = self.next(found.as_ref(), &mut leaders, pause).await;
            if since.elapsed() >= GOOD_CHOICE {
                backoff.reset();
            }
            failed = None;
            match next {
                Next::End => return,
                Next::Look => {}
                Next::Leave => {
                    failed = found.as_ref().map(|chosen| chosen.node);
                    self.change(found, None);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Waits until there is a reason to look at all members again.
    async fn next(
        &self,
        found: Option<&Chosen>,
        leaders: &mut watch::Receiver<Option<String>>,
        pause: Duration,
    ) -> Next {
        let Some(chosen) = found else {
            return tokio::select! {
                changed = leaders.changed() => changed.map_or(Next::End, |()| Next::Look),
                () = tokio::time::sleep(pause) => Next::Look,
            };
        };
        tokio::select! {
            changed = leaders.changed() => changed.map_or(Next::End, |()| Next::Look),
            () = chosen.link.broken() => Next::Leave,
            // It may have been one before.
            () = self.failed.notified() => match *self.chosen.lock() {
                None => Next::Leave,
                Some(_) => Next::Look,
            },
            () = tokio::time::sleep(CHOOSE_EVERY) => Next::Look,
        }
    }

    /// Reads at another member from now on.
    fn change(&self, before: Option<Chosen>, found: Option<Chosen>) {
        *self.chosen.lock() = found.clone();
        let Some(before) = before else { return };
        if found.is_some_and(|found| found.link.id() == before.link.id()) {
            return;
        }
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(LEAVE_AFTER) => {}
                () = stop.cancelled() => {}
            }
            before.link.leave("another member is nearer", None);
        });
    }
}

async fn ask(link: &Link, query: &Query, seen: Token) -> Result<Read, Declined> {
    let frame = Ask::NearestQuery(v1::NearestQuery {
        query: Some(v1::Query::from(query)),
    });
    let sent = AtomicBool::new(false);
    let asking = link.call(frame, &sent);
    let told = tokio::time::timeout(ANSWER_LIMIT, asking).await;
    let told = told.map_err(|_elapsed| Declined::Unavailable)?;
    match told.map_err(|_ended| Declined::Unavailable)? {
        Tell::Answer(answer) => {
            let (token, result) = answer.convert().map_err(|_error| Declined::Unavailable)?;
            // A promise of the protocol that is cheap to hold the member to.
            if token < seen && !has(Bug::FollowerDoesNotAsk) {
                return Err(Declined::Behind);
            }
            Ok((token, result))
        }
        Tell::Failure(failure) if failure.kind() == v1::FailureKind::Behind => {
            Err(Declined::Behind)
        }
        _ => Err(Declined::Unavailable),
    }
}
