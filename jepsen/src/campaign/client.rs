//! One client: a session of its own, calls one after the other, and what came of each.

use crate::history::{End, Entry, History};
use anyhow::{Context, Result};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::command::Operation;
use meta_client::meta_core::outcome::Success;
use meta_client::meta_core::query::{Answer, QueryBody};
use meta_client::{ClientError, MetaSession, MetaUrl, SessionOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a client tries before it gives up on a call.
const RETRY_FOR: Duration = Duration::from_secs(4);

/// How a call ended, before it has a time.
pub(super) enum Ended<R> {
    Ok(R),
    Fail,
    Unknown,
    /// An answer that no right engine gives.
    Wrong(String),
}

/// What all clients of a run share.
#[derive(Debug)]
pub(super) struct Shared<C, R> {
    pub(super) history: History<C, R>,
    next_process: AtomicU64,
}

impl<C, R> Shared<C, R> {
    pub(super) fn new() -> Self {
        Self {
            history: History::begin(),
            next_process: AtomicU64::new(0),
        }
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Client<C, R> {
    session: MetaSession,
    shared: Arc<Shared<C, R>>,
    process: u64,
}

/// A session that gives up on a call after a while, so that a history has unknown ends too.
pub(super) async fn open(url: &str) -> Result<MetaSession> {
    let url: MetaUrl = url.parse().context("a META-URL of our own")?;
    let options = SessionOptions {
        retry_for: Some(RETRY_FOR),
        ..SessionOptions::default()
    };
    MetaSession::open(&url, options)
        .await
        .context("cannot open a session")
}

impl<C: Clone, R> Client<C, R> {
    pub(super) async fn connect(url: &str, shared: &Arc<Shared<C, R>>) -> Result<Self> {
        let process = shared.next_process.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            session: open(url).await?,
            shared: Arc::clone(shared),
            process,
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.shared.history.now()
    }

    /// Puts a call into the history. A wrong answer comes back as the problem that it is.
    pub(super) fn record(&mut self, call: C, invoked: u64, ended: Ended<R>) -> Option<String> {
        let at = self.now();
        let (end, problem) = match ended {
            Ended::Ok(result) => (End::Ok { at, result }, None),
            Ended::Fail => (End::Fail { at }, None),
            Ended::Unknown => (End::Unknown { at }, None),
            Ended::Wrong(problem) => (End::Unknown { at }, Some(problem)),
        };
        let unknown = matches!(end, End::Unknown { .. });
        self.shared.history.add(Entry {
            process: self.process,
            call,
            invoked,
            end,
        });
        if unknown {
            self.process = self.shared.next_process.fetch_add(1, Ordering::Relaxed);
        }
        problem
    }

    /// Executes an operation. A refusal is for the caller to judge.
    pub(super) async fn execute(&self, operation: Operation) -> Result<Success, ClientError> {
        self.session.execute(Caller::root(), operation).await
    }

    pub(super) async fn query(&self, body: QueryBody) -> Result<Answer, ClientError> {
        self.session.query(Caller::root(), body).await
    }

    pub(super) fn session(&self) -> &MetaSession {
        &self.session
    }

    pub(super) async fn close(self) {
        self.session.close().await;
    }
}
