//! Views that stay: the rows as they were right after a mark, so that copies of a volume can be
//! compared while they go on.
//!
//! A view belongs to a thread of its own, because it borrows the database. The thread ends when
//! its view was not asked for a while, or when newer marks push it out.

use super::reader::View;
use super::store::State;
use meta_core::ids::VolumeId;
use meta_core::outcome::Token;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Views at once: each keeps RocksDB from dropping what was replaced since.
const VIEWS_MAX: usize = 4;
/// A view that nobody asks for so long goes.
const IDLE: Duration = Duration::from_secs(120);
/// Questions that wait for one view.
const QUEUE: usize = 64;

type Question = Box<dyn FnOnce(&View<'_>) + Send>;

/// The views that are kept.
#[derive(Default)]
pub(crate) struct MarkedViews {
    views: Mutex<Views>,
}

#[derive(Default)]
struct Views {
    made: u64,
    by_mark: BTreeMap<(VolumeId, Token), (u64, mpsc::SyncSender<Question>)>,
}

impl fmt::Debug for MarkedViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.views.lock().by_mark.len();
        f.debug_struct("MarkedViews")
            .field("count", &count)
            .finish()
    }
}

impl MarkedViews {
    /// Keeps a view of the state as it is. Called by the one thread that changes it, and returns
    /// when the view is taken.
    pub(crate) fn keep(&self, state: &Arc<State>, volume: VolumeId, mark: Token) {
        let (questions, asked) = mpsc::sync_channel::<Question>(QUEUE);
        let (taken, ready) = mpsc::channel();
        let state = Arc::clone(state);
        let spawned = thread::Builder::new()
            .name(String::from("marked-view"))
            .spawn(move || {
                let read = state.with_lasting_view(|view| {
                    // The other side only waits for it.
                    let _waits = taken.send(());
                    while let Ok(question) = asked.recv_timeout(IDLE) {
                        question(view);
                    }
                });
                if let Err(error) = read {
                    tracing::warn!(%error, "no view of a mark");
                }
            });
        if let Err(error) = spawned {
            // Only the comparison at this mark fails, and says so.
            tracing::warn!(%error, "no thread for the view of a mark");
            return;
        }
        if ready.recv().is_err() {
            return;
        }
        let mut views = self.views.lock();
        views.made += 1;
        let number = views.made;
        views.by_mark.insert((volume, mark), (number, questions));
        while views.by_mark.len() > VIEWS_MAX {
            let oldest = views.by_mark.iter().min_by_key(|(_, (number, _))| *number);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                return;
            };
            views.by_mark.remove(&oldest);
        }
    }

    /// Calls `read` with the view of a mark; `None` if it is not, or not any more, there.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        volume: VolumeId,
        mark: Token,
        read: impl FnOnce(&View<'_>) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |view| {
            // Whoever asked may have gone.
            let _gone = answer.send(read(view));
        });
        let key = (volume, mark);
        let asked = {
            let mut views = self.views.lock();
            let (_, questions) = views.by_mark.get(&key)?;
            let sent = questions.try_send(question);
            if matches!(sent, Err(mpsc::TrySendError::Disconnected(_))) {
                views.by_mark.remove(&key);
            }
            sent.is_ok()
        };
        if !asked {
            return None;
        }
        answered.await.ok()
    }
}
