//! Lets commands in that all members read, as soon as the leader has heard that of each: the next leader
//! then goes on with them although one that has died since cannot be heard.

use crate::leases::confirmed;
use crate::node::Core;
use std::sync::Arc;

/// Looks until everything that this version knows is let in, or the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    let mut changes = core.generations.watch();
    loop {
        changes.see();
        // Only who leads indeed knows the members.
        confirmed(&core).await;
        if core.let_in_what_all_read() {
            return;
        }
        changes.next().await;
    }
}
