//! Lets commands in that all members read, as soon as the leader has heard that of each: the next leader
//! then goes on with them although one that has died since cannot be heard.

use crate::node::Core;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks, until all are heard.
const INTERVAL: Duration = Duration::from_millis(200);

/// Looks until everything that this version knows is let in, or the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        // Only who leads indeed knows the members.
        if core.reads.pass().await.is_ok() && core.let_in_what_all_read() {
            return;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
