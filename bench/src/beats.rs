//! One writer without a pause, and when it was answered.

use crate::files::create;
use anyhow::{Context, Result};
use jepsen::wait;
use meta_client::MetaSession;
use meta_core::command::NewNode;
use meta_core::ids::Ino;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);
/// Answers in a row before a pause counts as over.
const STEADY: usize = 20;

/// When the writer was answered.
#[derive(Debug, Default)]
pub(crate) struct Beats {
    stop: AtomicBool,
    answered: Mutex<Vec<Instant>>,
}

impl Beats {
    fn count(&self) -> usize {
        self.with(|answered| answered.len())
    }

    fn with<R>(&self, read: impl FnOnce(&mut Vec<Instant>) -> R) -> R {
        let answered = self.answered.lock();
        read(&mut answered.unwrap_or_else(PoisonError::into_inner))
    }

    /// The longest time between two answers, from the last one before `since`.
    pub(crate) fn longest_gap(&self, since: Instant) -> Duration {
        self.gaps(since).into_iter().max().unwrap_or_default()
    }

    /// The times between two answers, from the last one before `since`.
    pub(crate) fn gaps(&self, since: Instant) -> Vec<Duration> {
        self.with(|answered| {
            let begin = answered.partition_point(|at| *at < since).saturating_sub(1);
            let pairs = answered[begin..].windows(2);
            pairs.map(|pair| pair[1] - pair[0]).collect()
        })
    }

    /// Waits until there were some more answers.
    pub(crate) async fn steady(&self) -> Result<()> {
        self.more(STEADY).await
    }

    /// Waits for so many more answers.
    pub(crate) async fn more(&self, enough: usize) -> Result<()> {
        let begin = self.count();
        wait::until("the writer to be answered", PATIENCE, async || {
            let more = self.count() - begin;
            Ok(if more >= enough {
                Ok(())
            } else {
                Err(format!("{more} answers"))
            })
        })
        .await
    }
}

/// A task that creates one name after the other in the root.
#[derive(Debug)]
pub(crate) struct Writer {
    beats: Arc<Beats>,
    task: JoinHandle<Result<u64>>,
}

impl Writer {
    pub(crate) fn begin(session: MetaSession) -> Self {
        Self::begin_at(session, 0)
    }

    /// Goes on where another one ended.
    pub(crate) fn begin_at(session: MetaSession, number: u64) -> Self {
        let beats = Arc::new(Beats::default());
        let task = tokio::spawn(write(session, Arc::clone(&beats), number));
        Self { beats, task }
    }

    pub(crate) fn beats(&self) -> &Beats {
        &self.beats
    }

    /// Ends it, and gives how many names there are.
    pub(crate) async fn end(self) -> Result<u64> {
        self.beats.stop.store(true, Ordering::Relaxed);
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .context("the writer hangs")??
    }
}

/// Creates one name after the other, until told to stop.
async fn write(session: MetaSession, beats: Arc<Beats>, mut number: u64) -> Result<u64> {
    while !beats.stop.load(Ordering::Relaxed) {
        create(&session, Ino::ROOT, &format!("f{number}"), NewNode::Regular).await?;
        beats.with(|answered| answered.push(Instant::now()));
        number += 1;
    }
    Ok(number)
}
