//! Gives leadership away when the peers say that this node's clock is off.

use crate::node::{Core, handover};
use std::sync::Arc;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_secs(1);
/// Between two attempts: the other nodes need time to take over, or to lose interest.
const PAUSE: Duration = Duration::from_secs(10);

/// Looks until the leadership ends.
pub(super) async fn run(core: Arc<Core>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if !core.clock.is_off(|| core.peers()) {
            continue;
        }
        tracing::error!(
            apart_ms = core.clock.largest().as_millis(),
            "this node's clock is more than a second off its peers' clocks: it takes no changes \
             and gives leadership away; set the clock, or run a time service"
        );
        handover::give_away(&core).await;
        tokio::time::sleep(PAUSE).await;
    }
}
