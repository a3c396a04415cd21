//! The views that are kept: the rows as they were right after a mark, so that copies of a volume
//! can be compared while they go on. One goes when newer marks push it out.

use super::lasting::LastingView;
use super::reader::View;
use super::store::State;
use meta_core::ids::VolumeId;
use meta_core::outcome::Token;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Views at once: each keeps RocksDB from dropping what was replaced since.
const VIEWS_MAX: usize = 4;
/// The views that are kept.
#[derive(Default)]
pub(crate) struct MarkedViews {
    views: Mutex<Views>,
}

#[derive(Default)]
struct Views {
    made: u64,
    by_mark: BTreeMap<(VolumeId, Token), (u64, LastingView)>,
}

impl fmt::Debug for MarkedViews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.views.lock().by_mark.len();
        f.debug_struct("MarkedViews")
            .field("count", &count)
            .finish()
    }
}

/// A mark that is being applied: until its view is kept, whoever asks for one waits.
pub(crate) struct Marking<'v>(MutexGuard<'v, Views>);

impl Marking<'_> {
    /// Keeps a view of the state as it is. Called by the one thread that changes it, and returns
    /// when the view is taken.
    pub(crate) fn keep(self, state: &Arc<State>, volume: VolumeId, mark: Token) {
        let view = match LastingView::take(state) {
            Ok(view) => view,
            // Only the comparison at this mark fails, and says so.
            Err(error) => return tracing::warn!(%error, "no view of a mark"),
        };
        let mut views = self.0;
        views.made += 1;
        let number = views.made;
        views.by_mark.insert((volume, mark), (number, view));
        while views.by_mark.len() > VIEWS_MAX {
            let oldest = views.by_mark.iter().min_by_key(|(_, (number, _))| *number);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                return;
            };
            views.by_mark.remove(&oldest);
        }
    }
}

impl MarkedViews {
    /// Begins before the mark is written: from then on anybody can see that it is applied, and ask
    /// for its view, which is not there yet.
    pub(crate) fn marking(&self) -> Marking<'_> {
        Marking(self.views.lock())
    }

    /// Calls `read` with the view of a mark; `None` if it is not, or not any more, there.
    pub(crate) async fn read<R: Send + 'static>(
        &self,
        volume: VolumeId,
        mark: Token,
        read: impl FnOnce(&View<'_>) -> R + Send + 'static,
    ) -> Option<R> {
        let view = self.views.lock().by_mark.get(&(volume, mark))?.1.clone();
        view.read(read).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open_memory_with;
    use crate::testing::parts;
    use meta_core::ids::{Epoch, Seq};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Found when a mirror was compared as soon as it had applied the mark, on a machine that was busy:
    /// the rows were said to be kept no more.
    #[test]
    fn who_asks_while_a_mark_is_applied_waits_for_its_view() {
        static ASKED: AtomicBool = AtomicBool::new(false);
        let store = open_memory_with(&parts()).unwrap();
        let state = Arc::clone(&store.reader.state);
        let mark = Token {
            epoch: Epoch(0),
            seq: Seq(7),
        };
        let marking = state.marked().marking();
        let asking = Arc::clone(&state);
        let asker = std::thread::spawn(move || {
            ASKED.store(true, Ordering::SeqCst);
            let found = asking.marked().read(VolumeId(3), mark, |_rows| ());
            futures::executor::block_on(found)
        });
        while !ASKED.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        marking.keep(&state, VolumeId(3), mark);
        assert_eq!(asker.join().unwrap(), Some(()));
        let other = state.marked().read(VolumeId(4), mark, |_rows| ());
        assert_eq!(futures::executor::block_on(other), None);
    }
}
