//! Reads at a mirror: a cluster nearby that follows the volume's origin.
//!
//! A session's queries carry the newest state that it has seen, and the mirror answers from a
//! state that includes it: so a session reads its own writes, and never goes back. What the mirror
//! cannot answer in time the origin answers, and it is counted. Writes never come here.

use crate::deadline::Deadline;
use crate::error::ClientError;
use crate::lead::Lead;
use crate::link::{Hears, Link};
use crate::options::MirrorOptions;
use meta_core::attr::Caller;
use meta_core::ids::{VolumeId, VolumeUuid};
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Answer, Query, QueryBody};
use meta_core::seeded::{Bug, has};
use parking_lot::Mutex;
use proto::convert::Convert as _;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a mirror gets beyond its time to catch up: the way there and back.
const ANSWER_SLACK: Duration = Duration::from_millis(300);
/// A mirror that cannot be read (it is being loaded, it is of another volume) is left alone so
/// long.
const UNUSABLE_PAUSE: Duration = Duration::from_secs(1);

/// A mirror that was behind is asked for what it has, without waiting, for so long.
const LAGGING_PAUSE: Duration = Duration::from_secs(1);

/// How often queries were answered where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MirrorCounts {
    /// By the mirror.
    pub served: u64,
    /// By the origin, because the mirror had not applied enough in time.
    pub behind: u64,
    /// By the origin, because the mirror did not answer, could not be read, or is of an earlier
    /// version that does not know the question.
    pub unavailable: u64,
}

/// How the way to the mirror is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MirrorRouteStatus {
    /// The node of the mirror that is read from, while there is a stream to it.
    pub leader: Option<String>,
    /// Why there is none, as far as it is known.
    pub trouble: Option<String>,
    /// How often queries were answered where.
    pub counts: MirrorCounts,
}

/// The volume's number at the mirror, once it is known.
#[derive(Clone, Debug, Default)]
enum Found {
    #[default]
    NotYet,
    /// As a node of the mirror said over this link: behind another one may be another cluster.
    At(VolumeId, Weak<Link>),
    /// Not to be asked before.
    Unusable(Instant, String),
}

/// The way to one mirror.
#[derive(Debug)]
pub(super) struct MirrorRoute {
    lead: Lead,
    name: String,
    uuid: VolumeUuid,
    wait: Duration,
    found: Mutex<Found>,
    /// The last answer was that the mirror is behind: it is not waited for until it has caught up,
    /// or until then.
    lagging: Mutex<Option<Instant>>,
    served: AtomicU64,
    behind: AtomicU64,
    unavailable: AtomicU64,
}

/// Why the mirror does not answer.
enum Declined {
    Behind,
    Unavailable,
}

type Read = (Token, Result<Answer, Refusal>);

impl MirrorRoute {
    /// Starts looking for the mirror's leader.
    pub(super) fn start(options: &MirrorOptions, uuid: VolumeUuid) -> Self {
        // It has no session, so it is asked nothing.
        let (asked, _nobody) = mpsc::channel(1);
        Self {
            lead: Lead::start(&options.url.addrs, asked, Hears::default()),
            name: options.url.volume.clone(),
            uuid,
            wait: options.wait,
            found: Mutex::default(),
            lagging: Mutex::default(),
            served: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            unavailable: AtomicU64::new(0),
        }
    }

    pub(super) fn stop(&self) {
        self.lead.stop();
    }

    pub(super) fn status(&self) -> MirrorRouteStatus {
        let of_found = match &*self.found.lock() {
            Found::Unusable(_, why) => Some(why.clone()),
            Found::NotYet | Found::At(..) => None,
        };
        let of_lead = self.lead.trouble().map(|failure| failure.to_string());
        MirrorRouteStatus {
            leader: self.lead.addr(),
            trouble: of_lead.or(of_found),
            counts: MirrorCounts {
                served: self.served.load(Ordering::Relaxed),
                behind: self.behind.load(Ordering::Relaxed),
                unavailable: self.unavailable.load(Ordering::Relaxed),
            },
        }
    }

    /// Whether the mirror can be reached, and is of an earlier version that does not know the question.
    pub(super) fn is_too_old_for(&self, body: &QueryBody) -> bool {
        self.lead.current().is_some_and(|link| !link.knows(body))
    }

    /// Asks the mirror for an answer from a state that includes `at_least`. `None` is counted, and
    /// is the origin's to answer.
    pub(super) async fn ask(
        &self,
        caller: &Caller,
        body: &QueryBody,
        at_least: Token,
    ) -> Option<Read> {
        let (counter, read) = match self.try_ask(caller, body, at_least).await {
            Ok(read) => (&self.served, Some(read)),
            Err(Declined::Behind) => (&self.behind, None),
            Err(Declined::Unavailable) => (&self.unavailable, None),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        read
    }

    async fn try_ask(
        &self,
        caller: &Caller,
        body: &QueryBody,
        at_least: Token,
    ) -> Result<Read, Declined> {
        let link = self.lead.current().ok_or(Declined::Unavailable)?;
        if !link.knows(body) {
            return Err(Declined::Unavailable);
        }
        let volume = self.volume(&link).await?;
        // Once it is known to lag, every read would wait in vain.
        let lagging = self
            .lagging
            .lock()
            .is_some_and(|until| Instant::now() < until);
        let wait = if lagging { Duration::ZERO } else { self.wait };
        let query = Query {
            volume,
            caller: caller.clone(),
            body: body.clone(),
        };
        let frame = Ask::MirrorQuery(v1::MirrorQuery {
            query: Some(v1::Query::from(&query)),
            at_least: Some(at_least.into()),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        });
        let told = self.call(&link, frame, wait + ANSWER_SLACK).await?;
        match told {
            Tell::Answer(answer) => {
                *self.lagging.lock() = None;
                let (token, result) = answer.convert().map_err(|_error| Declined::Unavailable)?;
                if result == Err(Refusal::MirrorLoading) || result == Err(Refusal::UnknownVolume) {
                    self.unusable("it is being loaded");
                    return Err(Declined::Unavailable);
                }
                // A promise of the protocol that is cheap to hold the mirror to.
                if token < at_least && !has(Bug::MirrorIgnoresToken) {
                    return Err(Declined::Behind);
                }
                Ok((token, result))
            }
            Tell::Failure(failure) if failure.kind() == v1::FailureKind::Behind => {
                self.lags();
                Err(Declined::Behind)
            }
            Tell::Failure(_) => {
                link.unavailable();
                Err(Declined::Unavailable)
            }
            _ => Err(Declined::Unavailable),
        }
    }

    async fn call(&self, link: &Link, frame: Ask, limit: Duration) -> Result<Tell, Declined> {
        let sent = AtomicBool::new(false);
        let called = Deadline::after(Some(limit)).bound(link.call(frame, &sent));
        match called.await {
            Some(Ok(told)) => Ok(told),
            Some(Err(_ended)) => Err(Declined::Unavailable),
            None => {
                // Silent as a whole it is left by its watch; with this one answer late it may be
                // only busy.
                link.unavailable();
                Err(Declined::Unavailable)
            }
        }
    }

    /// The volume's number at the mirror.
    async fn volume(&self, link: &Arc<Link>) -> Result<VolumeId, Declined> {
        match &*self.found.lock() {
            Found::At(volume, over) if std::ptr::eq(over.as_ptr(), &raw const **link) => {
                return Ok(*volume);
            }
            Found::Unusable(until, _) if Instant::now() < *until => {
                return Err(Declined::Unavailable);
            }
            Found::NotYet | Found::At(..) | Found::Unusable(..) => {}
        }
        let query = Query {
            volume: VolumeId::CLUSTER,
            caller: Caller::root(),
            body: QueryBody::FindVolume {
                name: self.name.clone(),
            },
        };
        let frame = Ask::Query(v1::Query::from(&query));
        let told = self.call(link, frame, self.wait + ANSWER_SLACK).await?;
        let Tell::Answer(answer) = told else {
            return Err(Declined::Unavailable);
        };
        let result = answer.convert().map_err(|_error| Declined::Unavailable)?.1;
        match result {
            Ok(Answer::Volume(info)) if info.uuid == self.uuid => {
                *self.found.lock() = Found::At(info.id, Arc::downgrade(link));
                Ok(info.id)
            }
            Ok(Answer::Volume(_)) => Err(self.unusable("it has another volume of this name")),
            Ok(_) => Err(Declined::Unavailable),
            Err(refusal) => Err(self.unusable(&refusal.to_string())),
        }
    }

    /// Waiting is given up for a while: not for as long as the mirror is read from seldom.
    fn lags(&self) {
        let mut lagging = self.lagging.lock();
        let now = Instant::now();
        if lagging.is_none_or(|until| until <= now) {
            *lagging = Some(now + LAGGING_PAUSE);
        }
    }

    fn unusable(&self, why: &str) -> Declined {
        let mut found = self.found.lock();
        let known = matches!(&*found, Found::Unusable(_, before) if before == why);
        if !known {
            tracing::warn!(
                volume = self.name,
                why,
                "the mirror cannot be read; the origin answers"
            );
        }
        *found = Found::Unusable(Instant::now() + UNUSABLE_PAUSE, why.to_owned());
        Declined::Unavailable
    }
}

/// Whether trying once more, at the mirror or at the origin, may help.
pub(super) fn may_pass(error: &ClientError) -> bool {
    use crate::error::Failure;
    matches!(
        error,
        ClientError::Failed(
            Failure::Unreachable(_)
                | Failure::NoLeader(_)
                | Failure::Overloaded(_)
                | Failure::TimedOut(_)
                | Failure::Behind(_)
        )
    )
}
