//! Several writers over a few sessions, and the check of all that they were told.

use super::{Watch, Writer, Written, appended, names};
use crate::wait;
use anyhow::{Context, Result, bail};
use meta_client::{MetaSession, MetaUrl, SessionOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Writers that run.
#[derive(Debug)]
pub struct Crew {
    watch: Arc<Watch>,
    sessions: Vec<MetaSession>,
    writers: Vec<JoinHandle<Written>>,
}

/// What a check saw.
#[derive(Clone, Copy, Default, Debug)]
pub struct Checked {
    /// Operations that were acknowledged.
    pub acknowledged: u64,
    /// Operations whose end is unknown.
    pub unknown: usize,
    /// Names that are there.
    pub names: usize,
    /// Appends that are there.
    pub appends: usize,
}

impl Crew {
    /// Starts `writers` writers on `url`, spread over `sessions` sessions.
    ///
    /// # Errors
    /// When a session cannot be opened, or a writer cannot make its directory.
    pub async fn begin(url: &str, sessions: usize, writers: usize, seed: u64) -> Result<Self> {
        let mut opened = Vec::new();
        for _ in 0..sessions.max(1) {
            opened.push(open(url).await?);
        }
        Self::begin_over(opened, writers, seed).await
    }

    /// Starts `writers` writers over sessions that are open, and that it closes.
    ///
    /// # Errors
    /// When a writer cannot make its directory.
    pub async fn begin_over(opened: Vec<MetaSession>, writers: usize, seed: u64) -> Result<Self> {
        let watch = Arc::new(Watch::default());
        let mut running = Vec::new();
        for index in 0..writers {
            let session = opened[index % opened.len()].clone();
            let own_seed = seed.wrapping_add(index as u64);
            let name = format!("writer-{seed:x}-{index}");
            let writer = Writer::begin(session, Arc::clone(&watch), &name, own_seed).await?;
            running.push(tokio::spawn(writer.run()));
        }
        Ok(Self {
            watch,
            sessions: opened,
            writers: running,
        })
    }

    /// Operations acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.watch.acknowledged()
    }

    /// Waits until `more` more operations were acknowledged.
    ///
    /// # Errors
    /// When they were not within `within`.
    pub async fn progress(&self, more: u64, within: Duration) -> Result<()> {
        let begin = self.acknowledged();
        wait::until("writers to be answered", within, async || {
            let now = self.acknowledged();
            if self.writers.iter().all(JoinHandle::is_finished) {
                bail!("every writer has stopped after a wrong answer");
            }
            let enough = now >= begin + more;
            Ok(if enough {
                Ok(())
            } else {
                Err(format!("{} of {more}", now - begin))
            })
        })
        .await
    }

    /// Ends the writers, each after the answer that it waits for, and closes their sessions.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn stop(self, within: Duration) -> Result<Vec<Written>> {
        self.watch.stop();
        let mut all = Vec::new();
        for writer in self.writers {
            let ended = tokio::time::timeout(within, writer).await;
            all.push(ended.context("a writer waits for an answer for ever")??);
        }
        for session in self.sessions {
            session.close().await;
        }
        Ok(all)
    }
}

async fn open(url: &str) -> Result<MetaSession> {
    let url: MetaUrl = url.parse().context("a META-URL of our own")?;
    MetaSession::open(&url, SessionOptions::default())
        .await
        .context("cannot open a session")
}

/// Reads everything back through a new session, and compares.
///
/// # Errors
/// When it cannot be read. What is wrong comes as a list of at most 20 problems.
pub async fn check(url: &str, written: &[Written]) -> Result<Result<Checked, Vec<String>>> {
    let session = open(url).await?;
    let mut problems = Vec::new();
    let mut checked = Checked::default();
    for writer in written {
        let ledger = &writer.ledger;
        problems.extend(ledger.violations.iter().cloned());
        let found = names(&session, writer.dir).await?;
        problems.extend(ledger.check_names(&found));
        let (slices, length) = appended(&session, writer.log).await?;
        problems.extend(ledger.check_appended(&slices, length));
        checked.acknowledged += ledger.acknowledged;
        checked.unknown += ledger.unknown.len() + ledger.appended_unknown.len();
        checked.names += found.len();
        checked.appends += slices.len();
    }
    session.close().await;
    problems.truncate(20);
    Ok(if problems.is_empty() {
        Ok(checked)
    } else {
        Err(problems)
    })
}
