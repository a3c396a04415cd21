//! Asks sessions which files without names they still hold open, and collects the answers.

use crate::session_table::SessionTable;
use meta_core::ids::{Ino, SessionId};
use parking_lot::Mutex;
use proto::v1;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a session may take to answer. It settles its opens in flight first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

type Waiting = HashMap<(u64, SessionId), oneshot::Sender<Vec<Ino>>>;

/// The questions that are under way.
#[derive(Debug, Default)]
pub(crate) struct HeldRounds {
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

impl HeldRounds {
    /// Takes in an answer; one that nobody waits for is dropped.
    pub(crate) fn answer(&self, held: v1::HeldInodes) {
        let waiting = self
            .waiting
            .lock()
            .remove(&(held.round, SessionId(held.session)));
        if let Some(waiting) = waiting {
            // The round may have ended.
            let _late = waiting.send(held.inos.into_iter().map(Ino).collect());
        }
    }

    /// Those of `inos` that none of the sessions holds. `None` if a session did not say: it may
    /// hold any of them, until it answers or expires.
    pub(crate) async fn unheld(
        &self,
        table: &SessionTable,
        sessions: &[SessionId],
        inos: &[Ino],
    ) -> Option<BTreeSet<Ino>> {
        let round = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        let asked = sessions
            .iter()
            .map(|session| self.ask(table, round, *session, inos));
        let all = futures::future::join_all(asked);
        let answers = all.await.into_iter().collect::<Option<Vec<_>>>()?;
        let mut unheld: BTreeSet<Ino> = inos.iter().copied().collect();
        for held in answers.into_iter().flatten() {
            unheld.remove(&held);
        }
        Some(unheld)
    }

    async fn ask(
        &self,
        table: &SessionTable,
        round: u64,
        session: SessionId,
        inos: &[Ino],
    ) -> Option<Vec<Ino>> {
        let out = table.out(session)?;
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert((round, session), sender);
        let inos = inos.iter().map(|ino| ino.0).collect();
        let body = v1::AskHeld {
            round,
            session: session.0,
            inos,
        };
        let frame = v1::ServerFrame {
            id: 0,
            body: Some(v1::server_frame::Body::AskHeld(body)),
        };
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, async {
            out.send(frame.into()).await.ok()?;
            answer.await.ok()
        });
        let answered = answered.await.ok().flatten();
        self.waiting.lock().remove(&(round, session));
        answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answers::Outgoing;
    use crate::session_table::StreamLink;
    use std::sync::Arc;
    use tokio::sync::mpsc;

    /// A client that answers one question with what it holds.
    fn client(rounds: &Arc<HeldRounds>, mut frames: mpsc::Receiver<Outgoing>, held: u64) {
        let rounds = Arc::clone(rounds);
        tokio::spawn(async move {
            let frame = frames.recv().await.unwrap().into_frame();
            let Some(v1::server_frame::Body::AskHeld(asked)) = frame.body else {
                panic!("a question was expected");
            };
            let inos = asked.inos.into_iter().filter(|ino| *ino == held).collect();
            rounds.answer(v1::HeldInodes {
                round: asked.round,
                session: asked.session,
                inos,
            });
            frames.recv().await
        });
    }

    #[tokio::test]
    async fn what_one_session_holds_is_not_free() {
        let rounds = Arc::new(HeldRounds::default());
        let table = SessionTable::default();
        let mut outs = Vec::new();
        for (session, held) in [(1, 10), (2, 11)] {
            let (out, frames) = mpsc::channel(4);
            table.attach(SessionId(session), &StreamLink::new(&out), None);
            client(&rounds, frames, held);
            outs.push(out);
        }
        let sessions = [SessionId(1), SessionId(2)];
        let inos = [Ino(10), Ino(11), Ino(12)];
        let unheld = rounds.unheld(&table, &sessions, &inos).await.unwrap();
        assert_eq!(unheld.into_iter().collect::<Vec<_>>(), vec![Ino(12)]);
        assert!(rounds.waiting.lock().is_empty());
    }

    #[tokio::test]
    async fn a_session_that_is_not_connected_may_hold_all() {
        let rounds = HeldRounds::default();
        let table = SessionTable::default();
        assert_eq!(
            rounds.unheld(&table, &[SessionId(1)], &[Ino(10)]).await,
            None
        );
        let alone = rounds.unheld(&table, &[], &[Ino(10)]).await.unwrap();
        assert_eq!(alone.len(), 1, "without sessions nothing is held");
    }
}
