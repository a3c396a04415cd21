//! The views that are kept: the rows as they were right after a mark, so that copies of a volume
//! can be compared while they go on. One goes when newer marks push it out.

use super::lasting::LastingView;
use super::reader::View;
use super::store::State;
use meta_core::ids::VolumeId;
use meta_core::outcome::Token;
use parking_lot::Mutex;
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

impl MarkedViews {
    /// Keeps a view of the state as it is. Called by the one thread that changes it, and returns
    /// when the view is taken.
    pub(crate) fn keep(&self, state: &Arc<State>, volume: VolumeId, mark: Token) {
        let view = match LastingView::take(state) {
            Ok(view) => view,
            // Only the comparison at this mark fails, and says so.
            Err(error) => return tracing::warn!(%error, "no view of a mark"),
        };
        let mut views = self.views.lock();
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
