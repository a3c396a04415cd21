//! The leader, whoever it is: a task keeps a stream to it and looks for the next one when the
//! stream breaks.

use crate::deadline::Deadline;
use crate::error::Failure;
use crate::hunt::{GREETING_LIMIT, Round};
use crate::link::{Asked, Hears, Left, Link};
use crate::members::Members;
use crate::pace::Pace;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a round waits for the slower nodes: longer each time, for far or busy ones.
const GRACE: Duration = Duration::from_millis(300);

/// How often the leader is asked who belongs to the cluster: whoever is elected next may be one that came
/// later than this client.
const LEARN_EVERY: Duration = Duration::from_secs(10);

/// Where the search is.
#[derive(Clone, Debug)]
enum State {
    Found(Arc<Link>),
    /// With what the last round heard.
    Hunting(Option<Failure>),
    Stopped,
}

/// Whether a failure that time alone does not heal ends the wait for a leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mood {
    /// The first contact: such a failure is told at once.
    Opening,
    /// Later: nodes may be upgraded or restored under us.
    Steady,
}

/// A way to the leader. Its task ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Lead {
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    addrs: Vec<String>,
    state: watch::Sender<State>,
    /// The address of the last leader that was found.
    found: watch::Sender<Option<String>>,
    /// What the next hello attaches; 0 for none.
    session: AtomicU64,
    links: AtomicU64,
    retries: AtomicU64,
    /// On streams that are gone.
    answered: AtomicU64,
    hears: Hears,
    stop: CancellationToken,
}

impl Lead {
    /// Starts looking. `hears` is told of every stream, and what the leader says by itself. Its questions
    /// go to `asked`.
    pub(crate) fn start(addrs: &[String], asked: mpsc::Sender<Asked>, hears: Hears) -> Self {
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            addrs: addrs.to_vec(),
            state: watch::Sender::new(State::Hunting(None)),
            found: watch::Sender::new(None),
            session: AtomicU64::new(0),
            links: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            hears,
            stop: stop.clone(),
        });
        tokio::spawn(Arc::clone(&shared).run(asked));
        Self {
            shared,
            _stop: stop.drop_guard(),
        }
    }

    /// The stream to the leader, as soon as there is one.
    pub(crate) async fn link(&self, deadline: Deadline, mood: Mood) -> Result<Arc<Link>, Failure> {
        let mut states = self.shared.state.subscribe();
        let ended = |state: &State| match state {
            State::Found(link) => !link.is_broken(),
            State::Hunting(Some(Failure::NotInitialised | Failure::VersionMismatch(_))) => {
                mood == Mood::Opening
            }
            State::Hunting(_) => false,
            State::Stopped => true,
        };
        let found = match deadline.bound(states.wait_for(ended)).await {
            Some(Ok(state)) => state.clone(),
            Some(Err(_stopped)) => State::Stopped,
            None => return Err(self.trouble().unwrap_or_else(no_time)),
        };
        match found {
            State::Found(link) => Ok(link),
            State::Hunting(failure) => Err(failure.unwrap_or_else(no_time)),
            State::Stopped => Err(Failure::Closed),
        }
    }

    /// The stream to the leader, if there is one now.
    pub(crate) fn current(&self) -> Option<Arc<Link>> {
        match &*self.shared.state.borrow() {
            State::Found(link) if !link.is_broken() => Some(Arc::clone(link)),
            _ => None,
        }
    }

    /// What the last round of the search heard, while there is no leader.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        match &*self.shared.state.borrow() {
            State::Hunting(failure) => failure.clone(),
            State::Found(_) | State::Stopped => None,
        }
    }

    /// The leader's address, while there is a stream to it.
    pub(crate) fn addr(&self) -> Option<String> {
        match &*self.shared.state.borrow() {
            State::Found(link) if !link.is_broken() => Some(link.addr().to_owned()),
            _ => None,
        }
    }

    /// The address of the last leader that was found; it changes when another one is.
    pub(crate) fn leaders(&self) -> watch::Receiver<Option<String>> {
        self.shared.found.subscribe()
    }

    /// The session that lives on the streams to come.
    pub(crate) fn attach(&self, session: u64) {
        self.shared.session.store(session, Ordering::Relaxed);
    }

    /// Streams opened so far.
    pub(crate) fn links(&self) -> u64 {
        self.shared.links.load(Ordering::Relaxed)
    }

    /// Something was sent again.
    pub(crate) fn count_retry(&self) {
        self.shared.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests and queries answered so far, on all streams.
    pub(crate) fn answered(&self) -> u64 {
        let now = self.current().map_or(0, |link| link.answers());
        self.shared.answered.load(Ordering::Relaxed) + now
    }

    /// Requests and queries sent again so far.
    pub(crate) fn retries(&self) -> u64 {
        self.shared.retries.load(Ordering::Relaxed)
    }

    /// Ends the search and the stream; waiters are told.
    pub(crate) fn stop(&self) {
        self.shared.stop.cancel();
    }
}

fn no_time() -> Failure {
    Failure::TimedOut("the search for the leader has not ended".into())
}

/// Keeps to know who belongs to the cluster. Does not end.
async fn learn_all(members: &mut Members, link: &Link) {
    let mut ticks = tokio::time::interval(LEARN_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        members.learn(link).await;
    }
}

impl Shared {
    async fn run(self: Arc<Self>, asked: mpsc::Sender<Asked>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.search(&asked) => {}
            () = stop.cancelled() => {}
        }
        if let State::Found(link) = self.state.send_replace(State::Stopped) {
            link.leave("the client is done", None);
        }
    }

    fn shown(&self) -> Duration {
        let leases = self.hears.leases.as_ref();
        leases.map_or(Duration::ZERO, |leases| leases.shown_for())
    }

    async fn search(&self, asked: &mpsc::Sender<Asked>) {
        let mut left: Option<(String, Left)> = None;
        let mut pace = Pace::default();
        let mut members = Members::new(&self.addrs);
        loop {
            let addrs = members.addrs();
            let (node, how) = left.take().unzip();
            let round = Round {
                addrs: &addrs,
                hint: how.and_then(|how| how.hint),
                left: node,
                shown: self.shown(),
                session: self.session.load(Ordering::Relaxed),
                grace: GREETING_LIMIT.min(GRACE.saturating_mul(pace.round())),
            };
            let pause = match round.run().await {
                Ok(opened) => {
                    let link = Link::start(opened, asked.clone(), self.hears.clone());
                    self.links.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(addr = link.addr(), "the leader is found");
                    self.state.send_replace(State::Found(Arc::clone(&link)));
                    self.found.send_if_modified(|found| {
                        let before = found.replace(link.addr().to_owned());
                        before.as_deref() != Some(link.addr())
                    });
                    let since = tokio::time::Instant::now();
                    tokio::select! {
                        () = link.broken() => {}
                        () = learn_all(&mut members, &link) => {}
                    }
                    self.answered.fetch_add(link.answers(), Ordering::Relaxed);
                    let how = link.left();
                    tracing::info!(addr = link.addr(), why = how.why, "the leader is left");
                    self.state.send_replace(State::Hunting(None));
                    left = Some((link.addr().to_owned(), how));
                    pace.left(since.elapsed())
                }
                Err(failure) => {
                    tracing::debug!(%failure, "no leader is found");
                    self.state.send_replace(State::Hunting(Some(failure)));
                    pace.missed()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }
}
