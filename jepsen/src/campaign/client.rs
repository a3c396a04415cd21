//! One client: a session of its own, calls one after the other, and what came of each.

use crate::history::{Codec, Process, Recorder};
use anyhow::{Context, Result};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::Operation;
use meta_client::meta_core::outcome::{Refusal, Success};
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{
    ClientError, Failure, MetaSession, MetaUrl, MirrorOptions, ReadFrom, SessionOptions,
};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The least time between the begins of two calls of a client. Under a lease an answer takes a
/// microsecond, and a history of millions of reads that nobody disturbed shows no more than one of
/// thousands: it only takes memory.
const PACE: Duration = Duration::from_millis(1);
/// How long a client tries before it gives up on a call.
const RETRY_FOR: Duration = Duration::from_secs(4);

/// How a call ended.
pub(super) enum Ended<O> {
    Ok(O),
    Fail,
    Unknown,
    /// An answer that no right engine gives.
    Wrong(String),
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    session: MetaSession,
    process: Process,
    pace: Interval,
}

/// A session that gives up on a call after a while, so that a history has unknown ends too.
pub(super) async fn open(url: &str) -> Result<MetaSession> {
    open_with(url, ReadFrom::Leader, None).await
}

async fn open_with(
    url: &str,
    read_from: ReadFrom,
    mirror: Option<MirrorOptions>,
) -> Result<MetaSession> {
    let url: MetaUrl = url.parse().context("a META-URL of our own")?;
    let options = SessionOptions {
        retry_for: Some(RETRY_FOR),
        leases: true,
        read_from,
        mirror,
        ..SessionOptions::default()
    };
    MetaSession::open(&url, options)
        .await
        .context("cannot open a session")
}

impl Client {
    pub(super) async fn connect(url: &str, recorder: &Recorder) -> Result<Self> {
        Ok(Self::new(open(url).await?, recorder))
    }

    /// One whose reads a member of its choice answers.
    pub(super) async fn connect_reading(
        url: &str,
        read_from: ReadFrom,
        recorder: &Recorder,
    ) -> Result<Self> {
        Ok(Self::new(open_with(url, read_from, None).await?, recorder))
    }

    /// One that reads at a mirror.
    pub(super) async fn connect_by_mirror(
        url: &str,
        mirror: MirrorOptions,
        recorder: &Recorder,
    ) -> Result<Self> {
        let session = open_with(url, ReadFrom::Leader, Some(mirror)).await?;
        Ok(Self::new(session, recorder))
    }

    fn new(session: MetaSession, recorder: &Recorder) -> Self {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            session,
            process: recorder.process(),
            pace,
        }
    }

    /// Makes a call and puts it into the history. A wrong answer comes back as the problem that it
    /// is.
    pub(super) async fn call<I: Codec>(
        &mut self,
        key: impl Into<String>,
        input: I,
        work: impl AsyncFnOnce(&MetaSession) -> Ended<I::Output>,
    ) -> Option<String> {
        self.pace.tick().await;
        let token = self.process.invoke(key, input);
        match work(&self.session).await {
            Ended::Ok(output) => token.ok(&output),
            Ended::Fail => token.fail("not done"),
            Ended::Unknown => token.info("the answer was lost"),
            Ended::Wrong(problem) => {
                token.info(problem.as_str());
                return Some(problem);
            }
        }
        None
    }

    /// Its session, for calls that no history is made of.
    pub(super) fn session(&self) -> &MetaSession {
        &self.session
    }

    pub(super) async fn close(self) {
        self.session.close().await;
    }
}

/// Executes an operation as root. A refusal is for the caller to judge, but for the one that comes
/// when disks are full.
pub(super) async fn execute(
    session: &MetaSession,
    operation: Operation,
) -> Result<Success, ClientError> {
    let done = session.execute(Caller::root(), operation).await;
    done.map_err(|error| match error {
        ClientError::Refused(Refusal::NoSpace) => {
            ClientError::Failed(Failure::Overloaded("no space".to_owned()))
        }
        other => other,
    })
}

/// Asks as root.
pub(super) async fn query(session: &MetaSession, body: QueryBody) -> Result<Answer, ClientError> {
    session.query(Caller::root(), body).await
}
