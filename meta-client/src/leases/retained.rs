//! What was known under leases that ended with their stream. A new leader is asked for the attributes of
//! these files with one question: where they are what they were, so is everything else.
//!
//! Every change of a file, of its extended attributes or of a directory's names raises its ctime, and all
//! changes of one epoch of a volume have different times. Another epoch may give a time again, so what
//! was known in one is worth nothing in the next.

use super::events::Moment;
use super::file::File;
use super::{Granted, LeaseCache, State};
use crate::deadline::Deadline;
use crate::session::Inner;
use meta_core::attr::{Attr, Caller};
use meta_core::ids::{Epoch, Ino};
use meta_core::limits::GET_ATTRS_MAX;
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Answer, Query, QueryBody};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Files that are kept so: those of one question, as a leader that is new is asked by all its clients at
/// once.
const RETAINED_MAX: usize = GET_ATTRS_MAX;
/// Between two questions whether leases are given again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a new leader may take to give leases. Later, nobody waits for what was known.
const PATIENCE: Duration = Duration::from_secs(30);

/// Files as they were when the leases on them ended.
#[derive(Debug, Default)]
pub(super) struct Retained {
    files: HashMap<Ino, File>,
    /// Nothing of it was learnt in a later one.
    epoch: Epoch,
}

impl State {
    /// Keeps what was of use and is known exactly, directories first: with one of them all its names are
    /// known again.
    pub(super) fn retain(&mut self, epoch: Epoch) {
        if self.files.is_empty() {
            return;
        }
        let files = std::mem::take(&mut self.files).into_iter();
        let worth = |file: &File| file.used && file.attr().is_some_and(|attr| attr.nlink > 0);
        let mut files: Vec<(Ino, File)> = files.filter(|(_, file)| worth(file)).collect();
        if files.len() > RETAINED_MAX {
            files.sort_by_key(|(_, file)| !file.is_directory());
            files.truncate(RETAINED_MAX);
        }
        for (_, file) in &mut files {
            file.let_go();
        }
        let files = files.into_iter().collect();
        self.retained = Retained { files, epoch };
    }

    /// A file is as it was, or not, as an answer says to a question that began at `begun`.
    fn confirm(&mut self, begun: Moment, attr: &Attr) {
        let retained = self.retained.files.remove(&attr.ino);
        self.learn_attr(begun, attr);
        if let Some(file) = retained
            && file.attr() == Some(attr)
            && self.events.file_is_quiet(attr.ino, begun)
        {
            // What was learnt of it meanwhile is no more than that, or is asked for once more.
            self.with(attr.ino, |known| *known = file);
        }
    }
}

impl LeaseCache {
    /// Files that are worth a question, and the epoch in which its answer counts.
    fn retained(&self) -> Option<(Vec<Ino>, Epoch)> {
        let state = self.state.lock();
        let inos: Vec<Ino> = state.retained.files.keys().copied().collect();
        (state.link.is_some() && !inos.is_empty()).then_some((inos, state.retained.epoch))
    }

    fn link(&self) -> Option<u64> {
        self.state.lock().link
    }

    /// Nobody asks any more, unless for what was known on this stream, which broke meanwhile.
    fn forget_retained(&self, link: Option<u64>) {
        let mut state = self.state.lock();
        if state.link == link {
            state.retained = Retained::default();
        }
    }

    pub(super) fn confirm(
        &self,
        begun: Moment,
        (token, answer): &(Token, Result<Answer, Refusal>),
        granted: &Granted,
    ) {
        let Ok(Answer::Attrs(each)) = answer else {
            return;
        };
        let mut state = self.state.lock();
        let is_current = state.admit(granted) && state.events.remembers(begun);
        if !is_current || token.epoch != state.retained.epoch {
            return;
        }
        let refused: HashSet<u64> = granted.grant.refused.iter().copied().collect();
        for attr in each.iter().flatten() {
            if attr.nlink > 0 && !refused.contains(&attr.ino.0) {
                state.confirm(begun, attr);
            }
        }
        state.bound();
    }
}

/// Asks after each loss of leases, until the session is closed.
pub(crate) async fn confirm_all(inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    let Some(cache) = inner.leases.clone() else {
        return;
    };
    let rounds = async {
        loop {
            cache.attached.notified().await;
            let link = cache.link();
            let _too_late = tokio::time::timeout(PATIENCE, round(&inner, &cache)).await;
            cache.forget_retained(link);
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds => {}
    }
}

/// Asks for all that was known, as soon as leases are given. Whatever fails ends it: then each file is
/// asked for when somebody wants it.
async fn round(inner: &Inner, cache: &LeaseCache) {
    let Some((inos, epoch)) = cache.retained() else {
        return;
    };
    let mut pause = PAUSE_FIRST;
    // With one first, until it comes with a lease.
    while let Some(leased) = ask(inner, cache, &inos[..1], epoch).await {
        if leased {
            ask(inner, cache, &inos, epoch).await;
            return;
        }
        tokio::time::sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// Says whether the answer came with leases; `None` if there is none that counts.
async fn ask(inner: &Inner, cache: &LeaseCache, inos: &[Ino], epoch: Epoch) -> Option<bool> {
    let begun = cache.begin();
    let query = Query {
        volume: inner.volume().id,
        caller: Caller::root(),
        body: QueryBody::GetAttrs {
            inos: inos.to_vec(),
        },
    };
    let session = inner.session_id();
    let deadline = Deadline::after(Some(PATIENCE));
    let asked = inner.lead.ask_leased(&query, session, deadline).await;
    let (answered, granted) = asked.ok()?;
    if answered.0.epoch != epoch || session != inner.session_id() {
        return None;
    }
    let granted = granted.filter(|granted| granted.session == session);
    if let Some(granted) = &granted {
        cache.confirm(begun, &answered, granted);
    }
    Some(granted.is_some())
}

#[cfg(test)]
#[path = "retained_test.rs"]
mod tests;
