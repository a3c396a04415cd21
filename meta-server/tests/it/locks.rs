//! Locks between sessions of a cluster, through leaders and the ends of sessions.

use crate::cluster::{PATIENCE, Three, create, until};
use meta_client::meta_core::attr::Caller;
use meta_client::meta_core::ids::Ino;
use meta_client::meta_core::lock::{LockKind, LockMode, LockRange, UnlockRequest};
use meta_client::meta_core::outcome::Success;
use meta_client::{ClientError, LockEnd, LockWish, MetaSession, SessionOptions};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A word of the leader comes sooner; a question of who waits does not.
const SOON: Duration = Duration::from_millis(1500);

async fn file(session: &MetaSession, name: &str) -> Ino {
    match session.execute(Caller::root(), create(name)).await {
        Ok(Success::Entry { attr, .. }) => attr.ino,
        other => panic!("{other:?}"),
    }
}

fn wish(ino: Ino, owner: u64) -> LockWish {
    LockWish {
        ino,
        kind: LockKind::Posix,
        owner,
        pid: 4242,
        range: LockRange { first: 0, last: 9 },
        mode: LockMode::Exclusive,
    }
}

fn all_of(ino: Ino, owner: u64) -> UnlockRequest {
    UnlockRequest {
        ino,
        kind: LockKind::Posix,
        owner,
        range: LockRange::WHOLE,
    }
}

async fn has(session: &MetaSession, wish: LockWish) {
    let got = session.try_lock(wish).await.expect("an answer");
    assert_eq!(got, LockEnd::Granted(session.id()));
}

type Waiting = JoinHandle<Result<LockEnd, ClientError>>;

/// Waits for a lock, and is in the queue when this returns.
async fn queued(session: &MetaSession, wish: LockWish) -> (Waiting, oneshot::Sender<()>) {
    let (give_up, given_up) = oneshot::channel();
    let waiter = session.clone();
    let given_up = async move {
        if given_up.await.is_err() {
            std::future::pending().await
        }
    };
    let before = session.status();
    let waiting = tokio::spawn(async move { waiter.lock(wish, given_up).await });
    until("the request waits", async || {
        let now = session.status();
        let asked = now.answered > before.answered && now.operations_in_flight == 0;
        now.lock_waits > before.lock_waits && asked
    })
    .await;
    (waiting, give_up)
}

async fn end(waiting: Waiting) -> LockEnd {
    let ended = tokio::time::timeout(PATIENCE, waiting).await;
    let ended = ended.expect("in time").expect("no panic");
    ended.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_lock_is_told_when_it_has_it() {
    let three = Three::start("").await;
    let (one, two) = (
        three.session(SessionOptions::default()).await,
        three.session(SessionOptions::default()).await,
    );
    let ino = file(&one, "file").await;
    has(&one, wish(ino, 1)).await;
    let other = two.try_lock(wish(ino, 1)).await.expect("an answer");
    assert_eq!(other, LockEnd::Conflict);
    let found = two.get_lock(wish(ino, 1)).await.expect("an answer");
    let found = found.expect("it is held");
    assert_eq!((found.owner.session, found.pid), (one.id(), 4242));

    let (waiting, _give_up) = queued(&two, wish(ino, 1)).await;
    let begin = Instant::now();
    one.unlock(all_of(ino, 1)).await.expect("given back");
    assert_eq!(end(waiting).await, LockEnd::Granted(two.id()));
    assert!(begin.elapsed() < SOON, "it had to ask");

    // One that is given up leaves the queue.
    let (waiting, give_up) = queued(&one, wish(ino, 1)).await;
    give_up.send(()).expect("it waits");
    assert_eq!(end(waiting).await, LockEnd::Cancelled);
    two.unlock(all_of(ino, 1)).await.expect("given back");
    assert_eq!(two.get_lock(wish(ino, 1)).await.expect("an answer"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sessions_that_wait_for_each_other_are_a_deadlock() {
    let three = Three::start("").await;
    let (one, two) = (
        three.session(SessionOptions::default()).await,
        three.session(SessionOptions::default()).await,
    );
    let first = file(&one, "first").await;
    let second = file(&one, "second").await;
    has(&one, wish(first, 1)).await;
    has(&two, wish(second, 1)).await;
    let (waiting, _give_up) = queued(&one, wish(second, 1)).await;
    let never = std::future::pending();
    let refused = two.lock(wish(first, 1), never).await.expect("an answer");
    assert_eq!(refused, LockEnd::Deadlock);
    two.unlock(all_of(second, 1)).await.expect("given back");
    assert_eq!(end(waiting).await, LockEnd::Granted(one.id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_gives_back_what_it_has_and_a_queue_outlives_its_leader() {
    let mut three = Three::start("").await;
    let leader = three.leader().await;
    let two = three.session(SessionOptions::default()).await;
    let ino = file(&two, "file").await;
    let one = three.session(SessionOptions::default()).await;
    has(&one, wish(ino, 1)).await;
    let (waiting, _give_up) = queued(&two, wish(ino, 1)).await;
    one.close().await;
    assert_eq!(end(waiting).await, LockEnd::Granted(two.id()));

    // The next one waits while the leader goes, too: its place in the queue is no leader's own.
    let three_session = three.session(SessionOptions::default()).await;
    let (waiting, _give_up) = queued(&three_session, wish(ino, 1)).await;
    let node = three.nodes[leader].take().expect("it runs");
    node.abandon().await;
    two.unlock(all_of(ino, 1)).await.expect("given back");
    assert_eq!(end(waiting).await, LockEnd::Granted(three_session.id()));
}
