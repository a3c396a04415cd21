//! Writes that pass a limit: what fits is stored, and all is told.

use super::{Bench, pattern, until};
use crate::twin::{self, Mishap, ROOT};
use fs_client::vfs::VfsError;
use futures::FutureExt;
use meta_core::command::{NewNode, SetAttr};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::quota::Subject;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::{RwLock, RwLockWriteGuard};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_past_a_limit_is_stored_as_far_as_there_is_room() {
    let bench = Bench::new(twin::options());
    let name = Name::new("dir").expect("a name");
    let node = NewNode::Directory;
    let made = bench.vfs.make(&ROOT, Ino::ROOT, name, 0o755, node).await;
    let dir = made.expect("a directory").ino;
    // What is left of it is not whole blocks.
    bench.limit(Subject::Directory(dir), (2 << 20) + 4097);
    let (ino, handle) = bench.create_in(dir, "file").await;
    let data = pattern(6 << 20);
    bench.write(handle, 0, &data).await.expect("taken in");
    let over = Err(VfsError::Refused(Refusal::OverQuota));
    assert_eq!(bench.vfs.fsync(handle).await, over);
    bench.vfs.fsync(handle).await.expect("told once");
    assert_eq!(bench.vfs.pending_bytes(), 0);
    let room = (2 << 20) + 4096;
    let attr = bench.vfs.get_attr(&ROOT, ino).await.expect("attributes");
    assert_eq!(attr.length, room as u64);
    assert!(bench.stored(ino).await == data[..room], "a prefix");
    // What lies within the file has room; what is behind it has none.
    bench.write(handle, 0, b"again").await.expect("taken in");
    bench.vfs.fsync(handle).await.expect("stored");
    let behind = bench.write(handle, attr.length, &data);
    behind.await.expect("taken in");
    assert_eq!(bench.vfs.fsync(handle).await, over);
    assert_eq!(bench.stored(ino).await.len(), room);
    bench.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_past_a_limit_are_stored_as_far_as_there_is_room() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("log").await;
    let data = pattern(400_100);
    let (first, rest) = data.split_at(100);
    bench.append(handle, first).await.expect("taken in");
    bench.vfs.fsync(handle).await.expect("stored");
    bench.limit(Subject::Volume, 256 << 10);
    bench.append(handle, rest).await.expect("taken in");
    let full = Err(VfsError::Refused(Refusal::NoSpace));
    assert_eq!(bench.vfs.fsync(handle).await, full);
    assert!(bench.stored(ino).await == data[..256 << 10], "a prefix");
    bench.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_owner_has_room_for_is_stored() {
    let bench = Bench::new(twin::options());
    for (subject, megabytes) in [(Subject::User(7), 2), (Subject::Group(8), 1)] {
        let (ino, handle) = bench.create(&format!("{megabytes}")).await;
        let give = SetAttr {
            ino,
            uid: matches!(subject, Subject::User(_)).then_some(7),
            gid: matches!(subject, Subject::Group(_)).then_some(8),
            ..SetAttr::default()
        };
        bench.vfs.set_attr(&ROOT, give).await.expect("given");
        bench.limit(subject, megabytes << 20);
        let data = pattern(3 << 20);
        bench.write(handle, 0, &data).await.expect("taken in");
        let over = Err(VfsError::Refused(Refusal::OverQuota));
        assert_eq!(bench.vfs.fsync(handle).await, over);
        let room = (megabytes << 20) as usize;
        assert!(bench.stored(ino).await == data[..room], "{subject:?}");
    }
    bench.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn small_writes_up_to_a_limit_are_stored_and_none_behind_them() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.limit(Subject::Volume, 100 << 10);
    // None continues the one before.
    for index in 0..20 {
        let write = bench.write(handle, index * 20_480, &[1; 10_000]);
        write.await.expect("taken in");
    }
    // There would be room for it, but it was written after what has none.
    bench.write(handle, 0, &[2; 10]).await.expect("taken in");
    let full = Err(VfsError::Refused(Refusal::NoSpace));
    assert_eq!(bench.vfs.fsync(handle).await, full);
    let stored = bench.stored(ino).await;
    assert_eq!(stored.len(), 4 * 20_480 + 10_000);
    assert!(stored[..10_000] == [1; 10_000], "a prefix of the writes");
    bench.engine.check();
}

/// Lets those who wait through, and nobody who comes after them.
async fn let_through<'a>(
    gate: &'a RwLock<()>,
    closed: RwLockWriteGuard<'a, ()>,
) -> RwLockWriteGuard<'a, ()> {
    // A task that goes on for long is made to wait without being queued.
    tokio::task::yield_now().await;
    let mut next = Box::pin(gate.write());
    let queued = next.as_mut().now_or_never();
    assert!(queued.is_none(), "behind the others");
    drop(closed);
    next.await
}

#[tokio::test(flavor = "multi_thread")]
async fn room_that_others_take_before_it_is_used_is_asked_for_again() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"ids").await.expect("taken in");
    bench.vfs.fsync(handle).await.expect("stored");
    bench.limit(Subject::Volume, 2 << 20);
    let data = pattern(6 << 20);
    bench.write(handle, 0, &data).await.expect("taken in");
    let whole = bench.session.commits() + 1;
    let mut closed = bench.session.changing.write().await;
    let vfs = bench.vfs.clone();
    let syncing = tokio::spawn(async move { vfs.fsync(handle).await });
    while bench.session.commits() < whole {
        closed = let_through(&bench.session.changing, closed).await;
    }
    until("what fits", async || bench.session.waiting() == 1).await;
    // As much less as another one has written.
    bench.limit(Subject::Volume, 1 << 20);
    drop(closed);
    let told = syncing.await.expect("the fsync");
    assert_eq!(told, Err(VfsError::Refused(Refusal::NoSpace)));
    assert_eq!(bench.session.commits(), whole + 2);
    assert!(bench.stored(ino).await == data[..1 << 20], "a prefix");
    bench.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_whole_is_stored_where_a_part_cannot_be_uploaded() {
    let bench = Bench::new(twin::options());
    let (ino, handle) = bench.create("file").await;
    bench.write(handle, 0, b"ids").await.expect("taken in");
    bench.vfs.fsync(handle).await.expect("stored");
    bench.limit(Subject::Volume, 2 << 20);
    let closed = bench.session.changing.write().await;
    for (at, len) in [(4096, 4096), (1 << 20, 3 << 20)] {
        let data = vec![1; len];
        bench.write(handle, at, &data).await.expect("taken in");
    }
    let vfs = bench.vfs.clone();
    let syncing = tokio::spawn(async move { vfs.fsync(handle).await });
    until("the commit", async || bench.session.waiting() == 1).await;
    bench.store.failing.store(true, SeqCst);
    drop(closed);
    let told = syncing.await.expect("the fsync");
    assert_eq!(told, Err(VfsError::Refused(Refusal::NoSpace)));
    let stored = bench.stored(ino).await;
    assert!(stored.len() == 8192 && stored[4096..] == [1; 4096]);
    bench.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn that_nobody_knows_what_became_of_what_fits_is_told() {
    for mishap in [Mishap::DoneUnknown, Mishap::LostUnknown] {
        let bench = Bench::new(twin::options());
        let (ino, handle) = bench.create("log").await;
        bench.append(handle, b"ids").await.expect("taken in");
        bench.vfs.fsync(handle).await.expect("stored");
        bench.limit(Subject::Volume, 256 << 10);
        let data = pattern(400_000);
        bench.append(handle, &data).await.expect("taken in");
        let whole = bench.session.commits() + 1;
        let mut closed = bench.session.changing.write().await;
        let vfs = bench.vfs.clone();
        let syncing = tokio::spawn(async move { vfs.fsync(handle).await });
        while bench.session.commits() < whole {
            closed = let_through(&bench.session.changing, closed).await;
        }
        until("what fits", async || bench.session.waiting() == 1).await;
        bench.session.mishap(mishap);
        drop(closed);
        let told = syncing.await.expect("the fsync");
        assert!(matches!(told, Err(VfsError::Unknown(_))), "{told:?}");
        let is_done = mishap == Mishap::DoneUnknown;
        let length = if is_done { 256 << 10 } else { 3 };
        assert_eq!(bench.stored(ino).await.len(), length);
        bench.engine.check();
    }
}
