//! The cluster's question which unlinked files are still open here.

use super::inner::Inner;
use crate::link::Asked;
use meta_core::ids::Ino;
use proto::limits::HELD_INODES_MAX;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Questions that wait for their answer; with more, the leader asks again later.
pub(super) const QUESTIONS_AHEAD: usize = 16;
/// The time for one answer. None is given after it: the leader then lets the files live.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Knows which files are open.
#[tonic::async_trait]
pub trait HeldInodes: Send + Sync + Debug + 'static {
    /// Those of `asked` that are open, or that an operation under way now may still open. It must
    /// wait for such operations to be settled rather than leave one of them out.
    async fn held(&self, asked: &[Ino]) -> Vec<Ino>;
}

/// Answers questions until the session ends.
pub(super) async fn answer_all(inner: Arc<Inner>, mut asked: mpsc::Receiver<Asked>) {
    let stop = inner.stop.clone();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = asked.recv() => next,
        };
        let Some((link, ask)) = next else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            () = link.broken() => {}
            answered = tokio::time::timeout(ANSWER_LIMIT, answer(&inner, ask)) => {
                match answered {
                    // If the link broke meanwhile, the next leader asks for itself.
                    Ok(held) => drop(link.tell(Ask::Held(held)).await),
                    Err(_elapsed) => tracing::warn!("open files were not told in time"),
                }
            }
        }
    }
}

async fn answer(inner: &Inner, ask: v1::AskHeld) -> v1::HeldInodes {
    let v1::AskHeld {
        round,
        session,
        mut inos,
    } = ask;
    inos.truncate(HELD_INODES_MAX);
    let asked: Vec<Ino> = inos.into_iter().map(Ino).collect();
    let holder = inner.holder.read().clone();
    let mut held = match holder {
        Some(holder) => holder.held(&asked).await,
        None => Vec::new(),
    };
    // More than was asked for is no answer that the leader takes.
    let asked: HashSet<Ino> = asked.into_iter().collect();
    held.retain(|ino| asked.contains(ino));
    held.truncate(HELD_INODES_MAX);
    v1::HeldInodes {
        round,
        session,
        inos: held.into_iter().map(|ino| ino.0).collect(),
    }
}
