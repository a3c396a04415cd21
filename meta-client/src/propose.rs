//! Sending until answered: commands in their slot again and again, across leaders, and queries.
//!
//! The one rule: once a sending may have been executed (its answer was lost, or the leader does
//! not know), the request is in doubt, and only a reply ends the doubt. Failures that promise "not
//! executed" speak of their own sending alone.

use crate::backoff::Backoff;
use crate::deadline::Deadline;
use crate::error::{ClientError, Failure};
use crate::lead::{Lead, Mood};
use crate::leases::{Granted, Told};
use crate::link::{Ended, Link};
use bytes::Bytes;
use meta_core::command::Command;
use meta_core::ids::SessionId;
use meta_core::outcome::{Refusal, Reply, Token};
use meta_core::query::{Answer, Query};
use meta_core::seeded::{Bug, has};
use proto::convert::Convert as _;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use proto::{codec, v1};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::Instant;

/// Between two sendings.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// A leader that runs but answers nothing for so long is left: it may be cut off from its peers.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a request in doubt is resent to a node without room for it.
const NO_SPACE_PATIENCE: Duration = Duration::from_secs(30);

/// How long one sending waits for a copy to reach a state; then it is sent again.
const REACH_TURN: Duration = Duration::from_millis(300);

/// How a command ended.
#[derive(Debug)]
pub(crate) enum Proposed {
    /// Answered.
    Reply {
        /// The outcome.
        reply: Reply,
        /// What can be cached, if this is the only sending that was executed.
        told: Option<Box<Told>>,
        /// Whether a sending before the answered one may have been executed too.
        in_doubt: bool,
    },
    /// No sending was executed, and none will be.
    NotRun(ClientError),
    /// A sending may have been executed, or may be yet.
    InDoubt(String),
}

/// An answer or a refusal, with the state it was read from.
pub(crate) type Answered = (Token, Result<Answer, Refusal>);

/// What to do after a sending.
enum Next {
    End(Proposed),
    Again(Failure),
}

struct Proposing {
    deadline: Deadline,
    session: SessionId,
    in_doubt: bool,
    no_space: Option<Deadline>,
}

impl Lead {
    /// Sends a command until it is answered, the deadline is over, or the failure is final. The
    /// command must be one that is executed once however often it is sent.
    pub(crate) async fn propose(
        &self,
        command: &Command,
        deadline: Deadline,
        mood: Mood,
    ) -> Proposed {
        let own = (SessionId(0), Vec::new());
        self.propose_own(command, own, deadline, mood).await
    }

    /// The same, for a session that answers nothing from its cache of some files meanwhile.
    pub(crate) async fn propose_own(
        &self,
        command: &Command,
        (session, dropped): (SessionId, Vec<u64>),
        deadline: Deadline,
        mood: Mood,
    ) -> Proposed {
        let command: Bytes = codec::encode_command(command).into();
        let mut proposing = Proposing {
            deadline,
            session,
            in_doubt: false,
            no_space: None,
        };
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            let link = match self.link(deadline, mood).await {
                Ok(link) => link,
                Err(failure) => return proposing.end(failure),
            };
            let command = command.clone();
            let body = if link.leases() {
                Ask::LeasedExecute(v1::LeasedExecute {
                    command,
                    dropped: dropped.clone(),
                    leased_reply: session != SessionId(0),
                })
            } else {
                Ask::Execute(command)
            };
            let last = match proposing.send(&link, body).await {
                Next::End(end) => return end,
                Next::Again(failure) => failure,
            };
            self.count_retry();
            if !backoff.pause(deadline).await {
                return proposing.end(last);
            }
        }
    }

    /// Asks until it is answered, the deadline is over, or the failure is final.
    pub(crate) async fn ask(
        &self,
        query: &Query,
        deadline: Deadline,
        mood: Mood,
    ) -> Result<(Token, Result<Answer, Refusal>), Failure> {
        let message = v1::Query::from(query);
        let body = asker(query, |_link| Ask::Query(message.clone()));
        let (answer, _) = self.ask_body(body, None, deadline, mood).await?;
        Ok(answer)
    }

    /// Asks for an answer that the session may cache.
    pub(crate) async fn ask_leased(
        &self,
        query: &Query,
        session: SessionId,
        deadline: Deadline,
    ) -> Result<(Answered, Option<Granted>), Failure> {
        let message = v1::Query::from(query);
        let body = asker(query, |link| {
            let query = message.clone();
            if link.leases() {
                Ask::LeasedQuery(v1::LeasedQuery {
                    query: Some(query),
                    session: session.0,
                })
            } else {
                Ask::Query(query)
            }
        });
        self.ask_body(body, Some(session), deadline, Mood::Steady)
            .await
    }

    /// Asks for an answer from a state that includes `at_least`, until there is one.
    pub(crate) async fn ask_at_least(
        &self,
        query: &Query,
        at_least: Token,
        deadline: Deadline,
    ) -> Result<(Token, Result<Answer, Refusal>), Failure> {
        let body = Ask::MirrorQuery(v1::MirrorQuery {
            query: Some(v1::Query::from(query)),
            at_least: Some(at_least.into()),
            wait_ms: u32::try_from(REACH_TURN.as_millis()).unwrap_or(u32::MAX),
        });
        let body = asker(query, |_link| body.clone());
        let (answer, _) = self.ask_body(body, None, deadline, Mood::Steady).await?;
        Ok(answer)
    }

    async fn ask_body(
        &self,
        body: impl Fn(&Link) -> Result<Ask, Failure>,
        session: Option<SessionId>,
        deadline: Deadline,
        mood: Mood,
    ) -> Result<(Answered, Option<Granted>), Failure> {
        let bad = |error: proto::ConvertError| Failure::BadReply(error.to_string());
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        let mut behind = None;
        loop {
            let link = self.link(deadline, mood).await?;
            let asked = Instant::now();
            let last = match call(&link, body(&link)?, deadline).await {
                Ok(Tell::Answer(answer)) => return Ok((answer.convert().map_err(bad)?, None)),
                Ok(Tell::LeasedAnswer(leased)) => {
                    let answer = leased.answer.ok_or_else(unexpected)?;
                    let grant = session.zip(leased.grant);
                    let granted = grant.map(|(session, grant)| Granted {
                        grant,
                        link: link.id(),
                        session,
                        asked,
                    });
                    return Ok((answer.convert().map_err(bad)?, granted));
                }
                Ok(Tell::Failure(failure)) => match after_failure(&link, failure) {
                    Verdict::Again(failure) | Verdict::MayHaveRun(failure) => failure,
                    Verdict::NoSpace => Failure::Overloaded("the node's disk is full".into()),
                    Verdict::Final(failure) => return Err(failure),
                },
                Ok(_) => return Err(unexpected()),
                Err(_ended) => lost(&link),
            };
            if matches!(last, Failure::Behind(_)) {
                behind = Some(last.clone());
            }
            self.count_retry();
            if !backoff.pause(deadline).await {
                // That it is behind says more than that the last question was cut short.
                return Err(behind.unwrap_or(last));
            }
        }
    }
}

impl Proposing {
    async fn send(&mut self, link: &Link, body: Ask) -> Next {
        let asked = Instant::now();
        match call(link, body, self.deadline).await {
            Ok(Tell::Reply(bytes)) => self.replied(&bytes, None),
            Ok(Tell::LeasedReply(leased)) => {
                let granted = leased.grant.map(|grant| Granted {
                    grant,
                    link: link.id(),
                    session: self.session,
                    asked,
                });
                let directories = leased.directories.into_iter();
                let told = Told {
                    granted,
                    // One that this version does not understand is not cached.
                    directories: directories.filter_map(|attr| attr.convert().ok()).collect(),
                };
                self.replied(&leased.reply, Some(Box::new(told)))
            }
            Ok(Tell::Failure(failure)) => match after_failure(link, failure) {
                Verdict::Again(failure) => Next::Again(failure),
                Verdict::MayHaveRun(failure) => {
                    self.in_doubt = true;
                    Next::Again(failure)
                }
                Verdict::NoSpace => self.no_space(),
                Verdict::Final(failure) => Next::End(self.end(failure)),
            },
            Ok(_) => Next::End(Proposed::InDoubt(unexpected().to_string())),
            Err(Ended::NotSent) => Next::Again(lost(link)),
            Err(Ended::Lost) => {
                self.in_doubt = true;
                Next::Again(lost(link))
            }
        }
    }

    /// The reply to a sending that may repeat an earlier one tells of that one's time.
    fn replied(&self, bytes: &[u8], told: Option<Box<Told>>) -> Next {
        Next::End(match codec::decode_reply(bytes) {
            Ok(reply) => Proposed::Reply {
                reply,
                told: told.filter(|_| !self.in_doubt),
                in_doubt: self.in_doubt,
            },
            Err(error) => Proposed::InDoubt(error.to_string()),
        })
    }

    fn no_space(&mut self) -> Next {
        if !self.in_doubt {
            return Next::End(Proposed::NotRun(Refusal::NoSpace.into()));
        }
        let until = *self
            .no_space
            .get_or_insert(Deadline::after(Some(NO_SPACE_PATIENCE)));
        let failure = Failure::Overloaded("the node's disk is full".into());
        if until.is_over() {
            Next::End(self.end(failure))
        } else {
            Next::Again(failure)
        }
    }

    fn end(&self, failure: Failure) -> Proposed {
        if self.in_doubt && !has(Bug::LostAnswerFails) {
            Proposed::InDoubt(failure.to_string())
        } else {
            Proposed::NotRun(failure.into())
        }
    }
}

/// Makes the frame for a question. A node that does not know it would say so: it need not be asked.
fn asker(query: &Query, frame: impl Fn(&Link) -> Ask) -> impl Fn(&Link) -> Result<Ask, Failure> {
    move |link| {
        if link.knows(&query.body) {
            return Ok(frame(link));
        }
        let addr = link.addr();
        let why = format!("{addr} runs an earlier version, which does not know the question");
        Err(Failure::BadRequest(why))
    }
}

/// A call with bounded patience, both the caller's and ours with a leader that does not answer.
async fn call(link: &Link, body: Ask, deadline: Deadline) -> Result<Tell, Ended> {
    let sent = AtomicBool::new(false);
    {
        let mut work = std::pin::pin!(link.call(body, &sent));
        loop {
            let answered = link.answers();
            if let Some(answer) = deadline.within(PATIENCE).bound(&mut work).await {
                return answer;
            }
            if deadline.is_over() {
                break;
            }
            // While others are answered this one is only slow.
            if link.answers() == answered {
                link.leave("the leader runs but does not answer requests", None);
                break;
            }
        }
    }
    Err(if sent.into_inner() {
        Ended::Lost
    } else {
        Ended::NotSent
    })
}

/// What a failure tells about its own sending.
enum Verdict {
    /// Not executed: send again.
    Again(Failure),
    /// May have been executed: send again.
    MayHaveRun(Failure),
    /// Not executed for want of room.
    NoSpace,
    /// Not executed, and sending again does not help.
    Final(Failure),
}

fn after_failure(link: &Link, failure: v1::Failure) -> Verdict {
    let kind = failure.kind();
    let v1::Failure {
        leader_addr,
        message,
        ..
    } = failure;
    match kind {
        v1::FailureKind::NotLeader => {
            let hint = Some(leader_addr).filter(|addr| !addr.is_empty());
            link.leave("the node does not lead any more", hint);
            Verdict::Again(Failure::NoLeader(message))
        }
        v1::FailureKind::Unavailable => {
            link.unavailable();
            Verdict::Again(Failure::NoLeader(message))
        }
        v1::FailureKind::Overloaded => Verdict::Again(Failure::Overloaded(message)),
        v1::FailureKind::Behind => Verdict::Again(Failure::Behind(message)),
        v1::FailureKind::Unknown => {
            // One whose Raft is gone says nothing else.
            link.unavailable();
            Verdict::MayHaveRun(Failure::TimedOut(message))
        }
        v1::FailureKind::NoSpace => Verdict::NoSpace,
        v1::FailureKind::UnsupportedVersion => Verdict::Final(Failure::VersionMismatch(message)),
        v1::FailureKind::BadRequest => Verdict::Final(Failure::BadRequest(message)),
        v1::FailureKind::NotInitialised => Verdict::Final(Failure::NotInitialised),
        // A kind of a later version promises nothing.
        v1::FailureKind::Unspecified => Verdict::MayHaveRun(Failure::BadReply(message)),
    }
}

fn lost(link: &Link) -> Failure {
    let why = link.left().why;
    let why = if why.is_empty() {
        "no answer in time".to_owned()
    } else {
        why
    };
    Failure::TimedOut(format!("{}: {why}", link.addr()))
}

fn unexpected() -> Failure {
    Failure::BadReply("an answer of another kind than the question".into())
}
