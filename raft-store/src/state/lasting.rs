//! A view that stays: the rows as they were at one moment, to be asked while writes go on.
//!
//! Over RocksDB it belongs to a thread of its own, because it borrows the database. The thread
//! ends with the view, or when nobody asked it for a while.

use super::reader::View;
use super::store::{Backend, State};
use meta_core::kv::MemKv;
use meta_core::outcome::Fatal;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// A view that nobody asks for so long goes: it keeps RocksDB from dropping what was replaced.
const IDLE: Duration = Duration::from_secs(120);
/// Questions that wait for one view.
const QUEUE: usize = 64;

type Question = Box<dyn FnOnce(&View<'_>) + Send>;

/// Rows as they were. Clones are the same view.
#[derive(Clone)]
pub struct LastingView(Kept);

#[derive(Clone)]
enum Kept {
    Thread(mpsc::SyncSender<Question>),
    Memory(Arc<MemKv>),
}

impl std::fmt::Debug for LastingView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastingView")
    }
}

impl LastingView {
    /// Takes the rows as they are; it is taken when this returns. Blocks for as long as it takes
    /// to start a thread.
    pub(crate) fn take(state: &Arc<State>) -> Result<Self, Fatal> {
        match state.backend() {
            #[cfg(feature = "rocksdb")]
            Backend::Rocks(_) => Self::on_a_thread(state),
            Backend::Memory(memory) => {
                let rows = memory.with_rows(Clone::clone);
                Ok(Self(Kept::Memory(Arc::new(rows))))
            }
        }
    }

    fn on_a_thread(state: &Arc<State>) -> Result<Self, Fatal> {
        let (questions, asked) = mpsc::sync_channel::<Question>(QUEUE);
        let (taken, ready) = mpsc::channel();
        let state = Arc::clone(state);
        let thread = thread::Builder::new().name(String::from("lasting-view"));
        let spawned = thread.spawn(move || {
            let read = state.with_view(|view| {
                // The other side only waits for it.
                let _waits = taken.send(());
                while let Ok(question) = asked.recv_timeout(IDLE) {
                    question(view);
                }
            });
            if let Err(error) = read {
                tracing::warn!(%error, "no view of the state");
            }
        });
        let failed = |what: String| Fatal::Store(format!("no view of the state: {what}"));
        spawned.map_err(|error| failed(error.to_string()))?;
        ready
            .recv()
            .map_err(|_closed| failed(String::from("the store has stopped")))?;
        Ok(Self(Kept::Thread(questions)))
    }

    /// Calls `read` with the rows; `None` if the view has gone, or too many ask it at once.
    pub async fn read<R: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> R + Send + 'static,
    ) -> Option<R> {
        let questions = match &self.0 {
            Kept::Memory(rows) => return Some(read(&View::memory(rows))),
            Kept::Thread(questions) => questions,
        };
        let (answer, answered) = oneshot::channel();
        let question: Question = Box::new(move |view| {
            // Whoever asked may have gone.
            let _gone = answer.send(read(view));
        });
        questions.try_send(question).ok()?;
        answered.await.ok()
    }
}
