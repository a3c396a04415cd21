//! The task that keeps leases alive.

use crate::session::Inner;
use proto::limits::LEASE_TTL;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::time::MissedTickBehavior;

/// Between two renewals: two of them may be lost.
const PERIOD: Duration = Duration::from_millis((LEASE_TTL.as_millis() / 4) as u64);
/// Leases that nothing was answered from for so many periods are let go: about ten minutes.
const IDLE_MAX: u32 = 1200;

/// Renews until the session is closed.
pub(crate) async fn renew_all(inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds(&inner) => {}
        () = expiries(&inner) => {}
    }
}

/// Ends leases whose time is over while a renewal waits for its answer.
async fn expiries(inner: &Inner) {
    let Some(cache) = &inner.leases else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(PERIOD / 4);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        cache.expire();
    }
}

async fn rounds(inner: &Inner) {
    let Some(cache) = &inner.leases else { return };
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut hits, mut idle) = (0, 0);
    loop {
        ticks.tick().await;
        let Some((link_id, generation)) = cache.leases() else {
            continue;
        };
        let now_hits = cache.status().hits;
        idle = if now_hits == hits { idle + 1 } else { 0 };
        hits = now_hits;
        if idle > IDLE_MAX {
            continue;
        }
        let Some(link) = inner.lead.current() else {
            continue;
        };
        if link.id() != link_id {
            continue;
        }
        let asked = cache.ask();
        let body = Ask::RenewLease(v1::RenewLease {
            session: inner.session_id().0,
            generation,
            totals: true,
        });
        let sent = AtomicBool::new(false);
        let call = link.call_unbounded(body, &sent);
        if let Ok(Ok(answer)) = tokio::time::timeout(LEASE_TTL, call).await {
            match answer {
                Tell::LeaseRenewed(renewed) => cache.renewed(link_id, asked, generation, renewed),
                Tell::Failure(failure) if failure.kind() == v1::FailureKind::NotLeader => {
                    let hint = Some(failure.leader_addr).filter(|addr| !addr.is_empty());
                    link.leave("the node does not lead any more", hint);
                }
                // The next one may be answered; until then the leases run out.
                _ => {}
            }
        }
    }
}
