//! The task that keeps a session alive, and opens the next one when it is lost.

use super::era::Era;
use super::inner::{Inner, may_pass};
use crate::backoff::Backoff;
use crate::deadline::Deadline;
use crate::lead::Mood;
use proto::v1;
use proto::v1::client_frame::Body as Ask;
use proto::v1::server_frame::Body as Tell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Signs of life before the cluster has said how long a session lives.
const PERIOD_FIRST: Duration = Duration::from_secs(5);
/// Bounds on what the cluster says.
const PERIOD_MIN: Duration = Duration::from_millis(50);
const PERIOD_MAX: Duration = Duration::from_secs(20);
/// One try to open the next session.
const REOPEN_LIMIT: Duration = Duration::from_secs(30);

/// Runs until the session is closed.
pub(super) async fn keep(inner: Arc<Inner>) {
    let stop = inner.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = eras(&inner) => inner.give_up(),
    }
    inner.lead.stop();
}

async fn eras(inner: &Arc<Inner>) {
    loop {
        let era = inner.era();
        tokio::select! {
            () = era.over.cancelled() => {}
            () = live(inner, &era) => {}
        }
        // The next one first: between the two the cluster would know nobody who holds the files
        // that are open here and have no name.
        if !next_era(inner).await {
            return;
        }
        bury(inner, era);
    }
}

/// Sends signs of life until the cluster says that the session is lost.
async fn live(inner: &Inner, era: &Era) {
    loop {
        let period = match sign(inner, era).await {
            Some(Sign::Alive(ttl)) => (ttl / 3).clamp(PERIOD_MIN, PERIOD_MAX),
            Some(Sign::Lost) => return era.end("the cluster says that it is lost"),
            // The stream broke: the next one needs a sign at once.
            None => PERIOD_MIN,
        };
        tokio::time::sleep(period).await;
    }
}

enum Sign {
    Alive(Duration),
    Lost,
}

async fn sign(inner: &Inner, era: &Era) -> Option<Sign> {
    let link = inner
        .lead
        .link(Deadline::after(None), Mood::Steady)
        .await
        .ok()?;
    let body = Ask::KeepAlive(v1::KeepAlive { session: era.id.0 });
    let sent = AtomicBool::new(false);
    let call = link.call_unbounded(body, &sent);
    let answer = tokio::time::timeout(PERIOD_FIRST, call).await.ok()?.ok()?;
    match answer {
        Tell::Alive(v1::SessionAlive { lost: true, .. }) => Some(Sign::Lost),
        Tell::Alive(v1::SessionAlive { ttl_ms, .. }) => {
            inner.ttl_ms.store(u64::from(ttl_ms), Ordering::Relaxed);
            Some(Sign::Alive(Duration::from_millis(u64::from(ttl_ms))))
        }
        Tell::Failure(failure) if failure.kind() == v1::FailureKind::NotLeader => {
            let hint = Some(failure.leader_addr).filter(|addr| !addr.is_empty());
            link.leave("the node does not lead any more", hint);
            None
        }
        Tell::Failure(_) => None,
        _ => Some(Sign::Alive(PERIOD_FIRST)),
    }
}

/// Ends a session that was given up, once nothing is in flight in it.
fn bury(inner: &Arc<Inner>, era: Arc<Era>) {
    let inner = Arc::clone(inner);
    tokio::spawn(async move {
        let stop = inner.stop.clone();
        let work = async {
            era.slots.idle().await;
            inner.close_era(era.id).await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    });
}

/// Opens the next session. False if that will never succeed.
async fn next_era(inner: &Inner) -> bool {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match inner.reopen(Deadline::after(Some(REOPEN_LIMIT))).await {
            Ok(()) => return true,
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, "no new session could be opened yet");
                backoff.pause(Deadline::after(None)).await;
            }
            Err(error) => {
                tracing::error!(%error, "no new session can be opened");
                return false;
            }
        }
    }
}
