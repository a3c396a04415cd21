//! What two mounts, and several handles of one, see of each other.

mod twin;

use bytes::Bytes;
use fs_client::vfs::{HandleId, ListAttrs, OpenHow, SeekFor, Vfs, VfsError, WriteHow};
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{CommandBody, NewNode, RenameMode, SetAttr, SetTime};
use meta_core::ids::{DentryNumber, Ino, Level, VolumeId};
use meta_core::limits::{CHUNK_BYTES, LEVEL_MAX};
use meta_core::name::Name;
use meta_core::outcome::{Outcome, Refusal};
use std::collections::BTreeSet;
use std::sync::Arc;
use twin::ROOT;

struct Two {
    engine: Arc<twin::Engine>,
    one: Vfs,
    other: Vfs,
}

impl Two {
    fn new() -> Self {
        let engine = twin::Engine::new();
        let store = twin::memory();
        let (one, _) = twin::mount(&engine, &store, twin::options());
        let (other, _) = twin::mount(&engine, &store, twin::options());
        Self { engine, one, other }
    }
}

fn name(name: &str) -> Name {
    Name::new(name).expect("a name")
}

fn both() -> OpenHow {
    OpenHow {
        read: true,
        write: true,
        ..OpenHow::default()
    }
}

async fn create(vfs: &Vfs, file: &str) -> (Ino, HandleId) {
    let create = vfs.create(&ROOT, Ino::ROOT, name(file), 0o644, both());
    let opened = create.await.expect("a file");
    (opened.attr.ino, opened.handle)
}

async fn open(vfs: &Vfs, ino: Ino) -> HandleId {
    let opened = vfs.open_file(&ROOT, ino, both()).await;
    opened.expect("a handle").handle
}

async fn write(vfs: &Vfs, handle: HandleId, offset: u64, data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let how = WriteHow::default();
    let written = vfs.write(handle, &ROOT, offset, data, how).await;
    written.expect("a write");
}

async fn append(vfs: &Vfs, handle: HandleId, data: Vec<u8>) {
    let how = WriteHow {
        append: true,
        sync: false,
    };
    let written = vfs.write(handle, &ROOT, 0, data.into(), how).await;
    written.expect("an append");
}

async fn read(vfs: &Vfs, handle: HandleId, offset: u64, len: u32) -> Vec<u8> {
    vfs.read(handle, offset, len)
        .await
        .expect("a read")
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_after_the_close_are_still_told_of() {
    let two = Two::new();
    let (_, handle) = create(&two.one, "file").await;
    write(&two.one, handle, 0, b"bytes").await;
    let handed_on = two.one.handed_on(handle).expect("an open file");
    two.one.flush(handle).await.expect("a flush");
    two.one.release(handle);
    assert!(two.one.handed_on(handle).is_none());
    assert!(handed_on.is_told());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_closed_on_one_mount_is_read_on_the_other_that_opens_it_then() {
    let two = Two::new();
    let (ino, writer) = create(&two.one, "file").await;
    write(&two.one, writer, 0, b"first").await;
    two.one.flush(writer).await.expect("close");
    let reader = open(&two.other, ino).await;
    assert_eq!(read(&two.other, reader, 0, 100).await, b"first");
    write(&two.one, writer, 0, b"second!").await;
    two.one.flush(writer).await.expect("close");
    let again = open(&two.other, ino).await;
    assert_eq!(read(&two.other, again, 0, 100).await, b"second!");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_kept_only_while_the_file_is_unchanged() {
    let two = Two::new();
    let (ino, writer) = create(&two.one, "file").await;
    write(&two.one, writer, 0, b"first").await;
    two.one.flush(writer).await.expect("close");
    let valid = async |vfs: &Vfs| {
        let opened = vfs.open_file(&ROOT, ino, both()).await.expect("open");
        vfs.release(opened.handle);
        opened.pages_valid
    };
    assert!(!valid(&two.other).await, "never opened before");
    assert!(valid(&two.other).await, "unchanged since");
    write(&two.one, writer, 0, b"second").await;
    two.one.flush(writer).await.expect("close");
    assert!(!valid(&two.other).await, "changed by the other mount");
    assert!(valid(&two.other).await, "unchanged since");
    let own = open(&two.other, ino).await;
    write(&two.other, own, 0, b"third").await;
    assert!(!valid(&two.other).await, "data waits");
    two.other.flush(own).await.expect("close");
    assert!(!valid(&two.other).await, "changed by this mount");
}

/// After a recovery from a lost majority the volume has one more epoch, and blocks have its number in
/// their names.
#[tokio::test(flavor = "multi_thread")]
async fn a_mount_goes_on_in_an_epoch_that_is_opened_under_it() {
    let two = Two::new();
    let (ino, writer) = create(&two.one, "file").await;
    write(&two.one, writer, 0, &[7; 300_000]).await;
    two.one.fsync(writer).await.expect("fsync");
    let reply = two
        .engine
        .command(VolumeId::CLUSTER, CommandBody::Recovered);
    assert!(matches!(reply.outcome, Outcome::Done(_)), "{reply:?}");
    // This one was granted no ids before, the other one learns of the epoch when it reads.
    let second = open(&two.other, ino).await;
    write(&two.other, second, 100_000, &[9; 300_000]).await;
    two.other.flush(second).await.expect("close");
    let reader = open(&two.one, ino).await;
    let found = read(&two.one, reader, 0, 1 << 20).await;
    let expected = [vec![7; 100_000], vec![9; 300_000]].concat();
    assert!(found == expected, "each mount reads what both have written");
    assert_eq!(two.engine.info().epochs.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_appended_by_two_mounts_all_stay_whole() {
    const RECORD: usize = 1000;
    let two = Two::new();
    let (ino, first) = create(&two.one, "log").await;
    let second = open(&two.other, ino).await;
    let writer = |vfs: Vfs, handle: HandleId, letter: u8| async move {
        for index in 0..100u8 {
            let mut record = vec![letter; RECORD];
            record[1] = index;
            append(&vfs, handle, record).await;
            if index % 7 == 0 {
                vfs.fsync(handle).await.expect("fsync");
            }
        }
        vfs.flush(handle).await.expect("close");
    };
    let one = tokio::spawn(writer(two.one.clone(), first, b'a'));
    let other = tokio::spawn(writer(two.other.clone(), second, b'b'));
    one.await.expect("a writer");
    other.await.expect("a writer");
    let reader = open(&two.one, ino).await;
    let log = read(&two.one, reader, 0, 1 << 20).await;
    assert_eq!(log.len(), 200 * RECORD);
    let mut next = [0u8; 2];
    for record in log.chunks(RECORD) {
        let letter = record[0];
        let own = &mut next[usize::from(letter - b'a')];
        assert_eq!(record[1], *own, "records of one mount keep their order");
        *own += 1;
        assert!(
            record[2..].iter().all(|byte| *byte == letter),
            "a record is whole"
        );
    }
    two.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_waits_is_read_through_other_handles_and_after_a_rename() {
    let two = Two::new();
    let (ino, writer) = create(&two.one, "old").await;
    let reader = open(&two.one, ino).await;
    write(&two.one, writer, 10, b"waiting").await;
    assert_eq!(
        read(&two.one, reader, 0, 100).await,
        b"\0\0\0\0\0\0\0\0\0\0waiting"
    );
    let (from, to) = ((Ino::ROOT, name("old")), (Ino::ROOT, name("new")));
    two.one
        .rename(&ROOT, from, to, RenameMode::Replace)
        .await
        .expect("a rename");
    let found = two
        .one
        .lookup(&ROOT, Ino::ROOT, name("new"))
        .await
        .expect("the file");
    assert_eq!((found.ino, found.length), (ino, 17));
    assert_eq!(read(&two.one, reader, 10, 100).await, b"waiting");
    append(&two.one, writer, b"+".to_vec()).await;
    assert_eq!(read(&two.one, reader, 10, 100).await, b"waiting+");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unlinked_file_lives_while_it_is_open() {
    let two = Two::new();
    two.engine.without_trash();
    let (ino, handle) = create(&two.one, "file").await;
    write(&two.one, handle, 0, b"before").await;
    two.one.flush(handle).await.expect("close of a duplicate");
    two.one
        .unlink(&ROOT, Ino::ROOT, name("file"))
        .await
        .expect("unlink");
    twin::reap(&two.engine, &[&two.one, &two.other]).await;
    write(&two.one, handle, 6, b" and after").await;
    two.one.fsync(handle).await.expect("fsync");
    assert_eq!(read(&two.one, handle, 0, 100).await, b"before and after");
    let attr = two.one.get_attr(&ROOT, ino).await.expect("attributes");
    assert_eq!((attr.nlink, attr.length), (0, 16));
    two.one.release(handle);
    twin::reap(&two.engine, &[&two.one, &two.other]).await;
    let gone = two.one.get_attr(&ROOT, ino).await;
    assert_eq!(gone, Err(VfsError::Refused(Refusal::Stale)));
    two.engine.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn below_level_6_set_group_id_without_execution_stays_when_a_stranger_writes() {
    for (level, left) in [(Level(5), 0o2767), (LEVEL_MAX, 0o767)] {
        let engine = twin::Engine::at_level(level);
        let (vfs, _) = twin::mount(&engine, &twin::memory(), twin::options());
        let (ino, handle) = create(&vfs, "file").await;
        let bits = SetAttr {
            ino,
            mode: Some(0o2767),
            ..SetAttr::default()
        };
        vfs.set_attr(&ROOT, bits).await.expect("mode");
        let stranger = Caller {
            uid: 1000,
            gid: 1000,
            groups: Vec::new(),
        };
        let data = Bytes::from_static(b"data");
        let how = WriteHow::default();
        let written = vfs.write(handle, &stranger, 0, data, how).await;
        written.expect("a write");
        vfs.fsync(handle).await.expect("stored");
        let attr = vfs.get_attr(&ROOT, ino).await.expect("attributes");
        assert_eq!(attr.mode, left, "{level:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_another_mount_removed_is_not_listed() {
    let two = Two::new();
    let node = NewNode::Directory;
    let made = two
        .one
        .make(&ROOT, Ino::ROOT, name("dir"), 0o755, node)
        .await;
    let ino = made.expect("a directory").ino;
    let handle = two.one.open_directory(&ROOT, ino).await.expect("opened");
    let begin = DentryNumber(0);
    let listed = two.one.list(handle, begin, ListAttrs::Without).await;
    assert!(listed.expect("an empty list").entries().is_empty());
    let removed = two.other.rmdir(&ROOT, Ino::ROOT, name("dir")).await;
    assert_eq!(removed, Ok(ino));
    let listed = two.one.list(handle, begin, ListAttrs::Without).await;
    let refused = VfsError::Refused(Refusal::NotFound);
    assert_eq!(listed.map(drop), Err(refused));
    two.one.close_directory(handle);
    // What is kept as the root of a mount stays, and is empty.
    two.one.keep_directory(ino);
    let handle = two.one.open_directory(&ROOT, ino).await.expect("opened");
    let listed = two.one.list(handle, begin, ListAttrs::Without).await;
    assert!(listed.expect("an empty list").entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_held_until_its_data_is_stored_even_after_the_last_handle() {
    let engine = twin::Engine::new();
    let (vfs, session) = twin::mount(&engine, &twin::memory(), twin::options());
    let (ino, handle) = create(&vfs, "file").await;
    write(&vfs, handle, 0, b"from a memory map").await;
    let closed = session.gate.write().await;
    vfs.release(handle);
    assert_eq!(vfs.held(&[ino]).await, [ino]);
    drop(closed);
    vfs.flush_all().await.expect("a flush");
    let let_go = async {
        while !vfs.held(&[ino]).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), let_go)
        .await
        .expect("let go");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_who_holds_a_file_waits_for_opens_on_their_way() {
    let engine = twin::Engine::new();
    let (vfs, session) = twin::mount(&engine, &twin::memory(), twin::options());
    let (ino, handle) = create(&vfs, "file").await;
    vfs.release(handle);
    let closed = session.gate.write().await;
    let mut opening = Box::pin(open(&vfs, ino));
    assert!(futures::poll!(opening.as_mut()).is_pending(), "on its way");
    let asked_inos = [ino];
    let mut asked = Box::pin(vfs.held(&asked_inos));
    assert!(
        futures::poll!(asked.as_mut()).is_pending(),
        "the open may hold it"
    );
    drop(closed);
    let handle = opening.await;
    assert_eq!(asked.await, [ino]);
    vfs.release(handle);
    assert!(vfs.held(&[ino]).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_neither_misses_nor_repeats_names_that_stay() {
    let two = Two::new();
    let make = async |file: &str| {
        let made = two
            .one
            .make(&ROOT, Ino::ROOT, name(file), 0o644, NewNode::Regular)
            .await;
        made.expect("a file");
    };
    for index in 0..1000 {
        make(&format!("stays-{index}")).await;
        make(&format!("goes-{index}")).await;
    }
    let handle = two
        .other
        .open_directory(&ROOT, Ino::ROOT)
        .await
        .expect("a listing");
    let mut after = DentryNumber(0);
    let mut seen = Vec::new();
    let mut round = 0;
    loop {
        let listing = two
            .other
            .list(handle, after, ListAttrs::With)
            .await
            .expect("names");
        // As few at a time as a small buffer takes.
        for entry in listing.entries().iter().take(50) {
            assert!(entry.number > after);
            after = entry.number;
            seen.push(entry.name.to_string());
        }
        if listing.entries().len() <= 50 && listing.is_end() {
            break;
        }
        let gone = name(&format!("goes-{round}"));
        two.one
            .unlink(&ROOT, Ino::ROOT, gone)
            .await
            .expect("unlink");
        if round < 5 {
            make(&format!("comes-{round}")).await;
        }
        round += 1;
    }
    let names: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(names.len(), seen.len(), "a name came twice");
    let stayed = seen.iter().filter(|name| name.starts_with("stays-"));
    assert_eq!(stayed.count(), 1000);
    // A place told earlier is found again.
    let middle = two
        .other
        .list(handle, DentryNumber(1000), ListAttrs::Without)
        .await;
    let middle = middle.expect("names");
    assert!(middle.entries()[0].number > DentryNumber(1000));
    two.other.close_directory(handle);
    assert!(
        two.other
            .list(handle, after, ListAttrs::With)
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_never_shows_less_than_was_written_here() {
    let two = Two::new();
    let vfs = &two.one;
    let (ino, handle) = create(vfs, "grows").await;
    let (log, appender) = create(vfs, "log").await;
    let directory = vfs.open_directory(&ROOT, Ino::ROOT).await;
    let directory = directory.expect("a directory");
    let length = async |of: Ino| {
        let listing = vfs.list(directory, DentryNumber(0), ListAttrs::With).await;
        let listing = listing.expect("names");
        let entry = listing.entries().iter().find(|entry| entry.ino == of);
        let attr = listing.attr(entry.expect("the file"));
        attr.expect("attributes").length
    };
    assert_eq!((length(ino).await, length(log).await), (0, 0));
    write(vfs, handle, 0, b"pending").await;
    append(vfs, appender, b"appended".to_vec()).await;
    assert_eq!((length(ino).await, length(log).await), (7, 8));
    // The page is the one that was read first; what was committed and closed since counts.
    for handle in [handle, appender] {
        vfs.flush(handle).await.expect("close");
        vfs.release(handle);
    }
    assert_eq!((length(ino).await, length(log).await), (7, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn making_room_never_cuts_what_another_mount_wrote() {
    let two = Two::new();
    let (ino, handle) = create(&two.one, "file").await;
    let other = open(&two.other, ino).await;
    write(&two.other, other, 0, &[7; 2000]).await;
    two.other.fsync(other).await.expect("fsync");
    // This mount knows the file as empty.
    two.one.extend(handle, &ROOT, 1000).await.expect("room");
    assert_eq!(read(&two.other, other, 0, 4000).await, [7; 2000]);
    two.one.extend(handle, &ROOT, 3000).await.expect("room");
    let attr = two.other.get_attr(&ROOT, ino).await.expect("attributes");
    assert_eq!(attr.length, 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_are_set_survive_the_flush_of_earlier_writes() {
    let two = Two::new();
    let (ino, handle) = create(&two.one, "file").await;
    write(&two.one, handle, 0, b"data").await;
    let time = Timestamp {
        seconds: 1_000_000,
        nanos: 5,
    };
    let change = SetAttr {
        ino,
        mtime: Some(SetTime::At(time)),
        ..SetAttr::default()
    };
    two.one.set_attr(&ROOT, change).await.expect("a time");
    two.one.flush(handle).await.expect("close");
    let attr = two.other.get_attr(&ROOT, ino).await.expect("attributes");
    assert_eq!((attr.mtime, attr.length), (time, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_stat_shows_before_a_flush_is_the_one_after_it() {
    let two = Two::new();
    let (ino, handle) = create(&two.one, "file").await;
    write(&two.one, handle, 0, b"data").await;
    let before = two.one.get_attr(&ROOT, ino).await.expect("attributes");
    two.one.flush(handle).await.expect("close");
    let after = two.other.get_attr(&ROOT, ino).await.expect("attributes");
    assert_eq!((before.mtime, before.length), (after.mtime, after.length));
}

#[tokio::test(flavor = "multi_thread")]
async fn data_and_holes_are_found() {
    let two = Two::new();
    let (ino, handle) = create(&two.one, "file").await;
    write(&two.one, handle, 1000, b"data").await;
    write(&two.one, handle, 3 * CHUNK_BYTES - 2, b"data").await;
    let seek = async |offset, what| two.one.seek(handle, offset, what).await;
    assert_eq!(seek(0, SeekFor::Data).await, Ok(1000));
    assert_eq!(seek(1000, SeekFor::Hole).await, Ok(1004));
    assert_eq!(seek(1004, SeekFor::Data).await, Ok(3 * CHUNK_BYTES - 2));
    assert_eq!(
        seek(3 * CHUNK_BYTES, SeekFor::Hole).await,
        Ok(3 * CHUNK_BYTES + 2)
    );
    assert_eq!(
        seek(3 * CHUNK_BYTES + 2, SeekFor::Data).await,
        Err(VfsError::NoData)
    );
    let change = SetAttr {
        ino,
        length: Some(5 * CHUNK_BYTES),
        ..SetAttr::default()
    };
    two.one.set_attr(&ROOT, change).await.expect("a length");
    assert_eq!(
        seek(4 * CHUNK_BYTES, SeekFor::Data).await,
        Err(VfsError::NoData)
    );
    assert_eq!(
        seek(4 * CHUNK_BYTES, SeekFor::Hole).await,
        Ok(4 * CHUNK_BYTES)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_in_order_are_read_ahead() {
    let two = Two::new();
    let (ino, handle) = create(&two.one, "file").await;
    let data: Vec<u8> = (0..12u32 << 20).map(|at| (at ^ (at >> 11)) as u8).collect();
    for (index, piece) in data.chunks(1 << 20).enumerate() {
        write(&two.one, handle, (index as u64) << 20, piece).await;
    }
    two.one.flush(handle).await.expect("close");
    let reader = open(&two.other, ino).await;
    for (index, wanted) in data.chunks(128 << 10).enumerate() {
        let got = read(&two.other, reader, (index as u64) * (128 << 10), 128 << 10).await;
        assert!(got == wanted, "piece {index}");
    }
    assert!(two.other.stats().readahead_hits() > 50);
    // Written over by this mount, what was read ahead is stale.
    write(&two.other, reader, 5 << 20, b"new").await;
    two.other.fsync(reader).await.expect("fsync");
    assert_eq!(read(&two.other, reader, 5 << 20, 3).await, b"new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_mount_changes_nothing() {
    let engine = twin::Engine::new();
    let store = twin::memory();
    let (vfs, _) = twin::mount(&engine, &store, twin::options());
    let (ino, handle) = create(&vfs, "file").await;
    write(&vfs, handle, 0, b"data").await;
    vfs.flush(handle).await.expect("close");
    let read_only = fs_client::vfs::VfsOptions {
        read_only: true,
        ..twin::options()
    };
    let (vfs, _) = twin::mount(&engine, &store, read_only);
    assert_eq!(
        vfs.open_file(&ROOT, ino, both()).await,
        Err(VfsError::ReadOnly)
    );
    let unlink = vfs.unlink(&ROOT, Ino::ROOT, name("file")).await;
    assert_eq!(unlink, Err(VfsError::ReadOnly));
    let how = OpenHow {
        read: true,
        ..OpenHow::default()
    };
    let opened = vfs.open_file(&ROOT, ino, how).await.expect("to read");
    assert_eq!(read(&vfs, opened.handle, 0, 10).await, b"data");
}
