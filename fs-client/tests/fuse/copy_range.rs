//! copy_file_range: a file gets what another one has, and no data is read or stored for it.

use crate::mounted::{Mounted, World, mounted, possible, until};
use crate::twin::{self, ROOT};
use chunk_store::{Failing, Fault, ObjectStore as _, Step};
use fs_client::mount::MountOptions;
use fs_client::vfs::{HandleId, OpenHow, VfsError};
use meta_core::ids::{Ino, Level};
use meta_core::limits::{CHUNK_BYTES, FILE_BYTES_MAX, HOLES_MAX};
use meta_core::query::{Answer, QueryBody, VolumeStat};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, seek};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::Arc;

const MIB: usize = 1 << 20;

/// Other bytes for each length.
fn random(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(len as u64).fill_bytes(&mut bytes);
    bytes
}

fn open(mount: &Mounted, name: &str) -> File {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    options.open(mount.path(name)).expect("a file")
}

fn read(mount: &Mounted, name: &str) -> Vec<u8> {
    fs::read(mount.path(name)).expect("a read")
}

/// One call.
fn copy(
    (from, mut at): (&File, u64),
    (to, mut to_at): (&File, u64),
    len: usize,
) -> Result<usize, Errno> {
    copy_file_range(from, Some(&mut at), to, Some(&mut to_at), len)
}

/// As many calls as it takes, until there is no more. Gives how much there was.
fn copy_all((from, at): (&File, u64), (to, to_at): (&File, u64), len: usize) -> usize {
    let mut done = 0;
    while done < len {
        let past = done as u64;
        match copy((from, at + past), (to, to_at + past), len - done).expect("a copy") {
            0 => break,
            more => done += more,
        }
    }
    done
}

/// What a write does.
fn lay(model: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    model.resize(model.len().max(end), 0);
    model[at..end].copy_from_slice(bytes);
}

/// A counter of the mount, as `.stats` shows it.
fn counter(mount: &Mounted, name: &str) -> u64 {
    let text = mount.vfs.stats().text(&[]);
    let name = format!("curlew_{name} ");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name.as_str()));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

/// How often the kernel asked for a copy, and was refused one.
fn asked(mount: &Mounted) -> (u64, u64) {
    let of = |what: &str| counter(mount, &format!("{what}{{op=\"copy_file_range\"}}"));
    (of("fuse_ops_total"), of("fuse_op_errors_total"))
}

/// Objects in the bucket, and bytes that the mount has put there.
fn stored(mount: &Mounted) -> (usize, u64) {
    let listed = mount.block_on(mount.world.store.list("", "", usize::MAX));
    let objects = listed.expect("a listing").len();
    (objects, counter(mount, "uploaded_bytes_total"))
}

fn stat(mount: &Mounted) -> VolumeStat {
    match mount.world.engine.query(QueryBody::StatVolume) {
        Answer::Stat(stat) => stat,
        other => panic!("{other:?}"),
    }
}

/// Removes a file of a volume without a trash, and waits until it is deleted.
fn delete(mount: &Mounted, name: &str) {
    fs::remove_file(mount.path(name)).expect("unlink");
    // The kernel tells the last close in the background.
    until("the file to be deleted", || {
        mount.block_on(twin::reap(&mount.world.engine, &[&mount.vfs]));
        stat(mount).orphans == 0
    });
}

#[test]
fn a_copied_range_reads_as_its_source_and_nothing_is_stored_for_it() {
    let Some(mount) = mounted() else { return };
    mount.world.engine.without_trash();
    let data = random(10 * MIB);
    fs::write(mount.path("from"), &data).expect("a write");
    let mut model = random(MIB);
    fs::write(mount.path("to"), &model).expect("a write");
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    assert!(read(&mount, "to") == model, "the kernel has pages of it");
    let before = stored(&mount);
    assert!(before.0 > 0);
    for (at, to_at, len) in [
        (1, 3, 70_001),
        (65_535, 900_001, 4_000_003),
        (9_999_999, 12_345, 100_000),
        (0, 6_000_001, 10 * MIB),
    ] {
        let copied = copy_all((&from, at as u64), (&to, to_at as u64), len);
        assert_eq!(copied, len);
        lay(&mut model, to_at, &data[at..at + len]);
        let mut seen = vec![0; model.len()];
        to.read_exact_at(&mut seen, 0).expect("a read");
        assert!(seen == model, "{len} bytes from {at} to {to_at}");
    }
    assert_eq!(to.metadata().expect("fstat").len(), model.len() as u64);
    assert_eq!(asked(&mount).1, 0, "the kernel copied nothing itself");
    assert_eq!(stored(&mount), before);
    drop((from, to));

    delete(&mount, "from");
    let waiting = || stat(&mount).pending_delete_slices;
    assert_eq!(waiting(), 0, "the copy shows all that the source showed");
    let mount = mount.remount();
    assert!(read(&mount, "to") == model);
    delete(&mount, "to");
    assert!(stat(&mount).pending_delete_slices > 0, "nobody shows it");
}

#[test]
fn what_waits_to_be_stored_is_copied_and_copied_over() {
    let Some(mount) = mounted() else { return };
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    let (data, mut model) = (random(300_000), random(50_000));
    from.write_all_at(&data, 0).expect("a write");
    to.write_all_at(&model, 0).expect("a write");
    assert!(mount.vfs.pending_bytes() > 0, "nothing was synced");
    assert_eq!(copy_all((&from, 77), (&to, 20_000), 200_000), 200_000);
    lay(&mut model, 20_000, &data[77..200_077]);
    assert!(read(&mount, "to") == model);
    // What is written later lies over the copy, and not in its source.
    to.write_all_at(&[7; 5000], 100_000).expect("a write");
    lay(&mut model, 100_000, &[7; 5000]);
    assert!(read(&mount, "to") == model && read(&mount, "from") == data);
    // Records that wait for their place are copied from it.
    let mut options = OpenOptions::new();
    let log = options.append(true).create(true).read(true);
    let mut log = log.open(mount.path("log")).expect("a file");
    log.write_all(b"appended").expect("a write");
    assert_eq!(copy_all((&log, 0), (&to, 5), 8), 8);
    lay(&mut model, 5, b"appended");
    assert!(read(&mount, "to") == model);
    drop((from, to, log));
    let mount = mount.remount();
    assert!(read(&mount, "to") == model && read(&mount, "from") == data);
}

#[test]
fn holes_of_the_source_are_holes_of_the_copy() {
    const LEN: usize = 3 * MIB;
    const DATA: usize = 100_000;
    const AT: usize = 500_001;
    let Some(mount) = mounted() else { return };
    let (from, bytes) = (open(&mount, "from"), random(DATA));
    from.write_all_at(&bytes, MIB as u64).expect("a write");
    from.set_len(LEN as u64).expect("a length");
    let mut source = vec![0; LEN];
    lay(&mut source, MIB, &bytes);
    let mut model = random(5 * MIB);
    fs::write(mount.path("to"), &model).expect("a write");
    let (over, new) = (open(&mount, "to"), open(&mount, "new"));
    assert_eq!(copy_all((&from, 0), (&over, AT as u64), LEN), LEN);
    assert_eq!(copy_all((&from, 0), (&new, 0), LEN), LEN);
    lay(&mut model, AT, &source);
    assert!(read(&mount, "to") == model && read(&mount, "new") == source);

    let data = |file: &File, at: usize| seek(file, SeekFrom::Data(at as u64));
    let hole = |file: &File, at: usize| seek(file, SeekFrom::Hole(at as u64));
    for (file, begin) in [(&from, 0), (&new, 0), (&over, AT)] {
        let there = begin + MIB;
        assert_eq!(hole(file, begin), Ok(begin as u64));
        assert_eq!(data(file, begin), Ok(there as u64));
        assert_eq!(hole(file, there), Ok((there + DATA) as u64));
    }
    assert_eq!(hole(&over, 0), Ok(AT as u64), "data before it");
    let behind = data(&over, AT + 2 * MIB);
    assert_eq!(behind, Ok((AT + LEN) as u64), "and data behind it");
    assert_eq!(data(&new, 2 * MIB), Err(Errno::NXIO));
}

#[test]
fn ranges_are_copied_across_the_borders_of_chunks() {
    let Some(mount) = mounted() else { return };
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    let data = random(MIB);
    from.write_all_at(&data, CHUNK_BYTES - 500_000)
        .expect("a write");
    let (at, to_at) = (CHUNK_BYTES - 600_000, 2 * CHUNK_BYTES - 300_000);
    let len = 100_000 + MIB;
    assert_eq!(copy_all((&from, at), (&to, to_at), 2 * MIB), len);
    let mut model = vec![0; 100_000];
    model.extend(data);
    assert_eq!(to.metadata().expect("fstat").len(), to_at + len as u64);
    let mut seen = vec![0; len];
    to.read_exact_at(&mut seen, to_at).expect("a read");
    assert!(seen == model);
}

#[test]
fn a_copy_ends_with_its_source_and_overlaps_nothing() {
    let Some(mount) = mounted() else { return };
    let mut data = random(200_000);
    fs::write(mount.path("from"), &data).expect("a write");
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    assert_eq!(copy((&from, 200_000), (&to, 0), 10), Ok(0));
    assert_eq!(copy((&from, 1 << 40), (&to, 0), 10), Ok(0));
    assert_eq!(copy((&from, 0), (&to, 0), 0), Ok(0));
    assert_eq!(to.metadata().expect("fstat").len(), 0);
    assert_eq!(copy((&from, 199_990), (&to, 5), 1000), Ok(10));
    let mut model = vec![0; 5];
    lay(&mut model, 5, &data[199_990..]);
    assert_eq!(read(&mount, "to"), model);
    let cut_short = copy((&from, 0), (&to, FILE_BYTES_MAX - 5), 10);
    assert_eq!(cut_short, Ok(5), "as a write there");
    let past = copy((&from, 0), (&to, FILE_BYTES_MAX), 10);
    assert_eq!(past, Err(Errno::FBIG));

    let itself = |at, to_at, len| copy((&from, at), (&from, to_at), len);
    assert_eq!(itself(0, 100, 101), Err(Errno::INVAL));
    assert_eq!(itself(100, 0, 101), Err(Errno::INVAL));
    assert_eq!(itself(0, 0, 1), Err(Errno::INVAL));
    assert_eq!(itself(10, 100_000, 50_000), Ok(50_000));
    let part = data[10..50_010].to_vec();
    lay(&mut data, 100_000, &part);
    assert!(read(&mount, "from") == data);
    assert_eq!(itself(180_000, 200_000, 500_000), Ok(20_000), "to its end");
    let part = data[180_000..].to_vec();
    data.extend(part);
    assert!(read(&mount, "from") == data);
}

#[test]
fn a_copy_needs_a_file_that_may_be_read_and_one_that_may_be_written() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("from"), "data").expect("a write");
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    let with = |options: &OpenOptions, name: &str| options.open(mount.path(name)).expect("open");
    let writer = with(OpenOptions::new().write(true), "from");
    assert_eq!(copy((&writer, 0), (&to, 0), 4), Err(Errno::BADF));
    let reader = File::open(mount.path("to")).expect("open");
    assert_eq!(copy((&from, 0), (&reader, 0), 4), Err(Errno::BADF));
    let appends = with(OpenOptions::new().append(true), "to");
    assert_eq!(copy((&from, 0), (&appends, 0), 4), Err(Errno::BADF));
    assert_eq!(copy((&from, 0), (&to, 0), 4), Ok(4));
}

/// What the kernel would not ask for.
#[test]
fn a_file_that_grows_by_its_copy_is_copied_as_it_was() {
    let Some(mount) = mounted() else { return };
    let data = random(200_000);
    fs::write(mount.path("file"), &data).expect("a write");
    let ino = Ino(fs::metadata(mount.path("file")).expect("stat").ino());
    mount.block_on(async {
        let open = async |read: bool, write: bool| {
            let how = OpenHow {
                read,
                write,
                ..OpenHow::default()
            };
            let opened = mount.vfs.open_file(&ROOT, ino, how).await;
            opened.expect("a handle").handle
        };
        let copy = async |from: HandleId, to: HandleId, to_at: u64, len: u64| {
            let copied = mount.vfs.copy_range(from, 0, &ROOT, to, to_at, len);
            copied.await
        };
        let both = open(true, true).await;
        assert_eq!(copy(both, both, 300_000, 250_000).await, Ok(200_000));
        let (reader, writer) = (open(true, false).await, open(false, true).await);
        assert_eq!(copy(reader, writer, 500_000, 10).await, Ok(10));
        let refused = copy(both, reader, 600_000, 10).await;
        assert_eq!(refused, Err(VfsError::BadHandle));
        let refused = copy(writer, both, 600_000, 10).await;
        assert_eq!(refused, Err(VfsError::BadHandle));
        for handle in [both, reader, writer] {
            mount.vfs.release(handle);
        }
    });
    let mut model = data.clone();
    lay(&mut model, 300_000, &data);
    lay(&mut model, 500_000, &data[..10]);
    assert!(read(&mount, "file") == model);
}

#[test]
fn others_see_a_copy_at_once_and_it_parts_from_its_source_with_a_write() {
    if !possible() {
        return;
    }
    let world = World::new();
    let mount = || world.mount(&MountOptions::default());
    let (one, other) = (mount(), mount());
    let mut source = random(400_000);
    fs::write(one.path("from"), &source).expect("a write");
    let (from, to) = (open(&one, "from"), open(&one, "to"));
    assert_eq!(copy_all((&from, 0), (&to, 0), 400_000), 400_000);
    // It was neither synced nor closed.
    assert!(read(&other, "to") == source);
    let mut model = source.clone();
    let there = open(&other, "from");
    there.write_all_at(&[1; 1000], 500).expect("a write");
    there.sync_all().expect("fsync");
    lay(&mut source, 500, &[1; 1000]);
    to.write_all_at(&[2; 1000], 900).expect("a write");
    to.sync_all().expect("fsync");
    lay(&mut model, 900, &[2; 1000]);
    for mount in [&one, &other] {
        assert!(read(mount, "from") == source && read(mount, "to") == model);
    }
    // Over a copy that the other mount has read before.
    assert_eq!(copy_all((&from, 400), (&to, 300), 2000), 2000);
    lay(&mut model, 300, &source[400..2400]);
    for mount in [&one, &other] {
        assert!(read(mount, "from") == source && read(mount, "to") == model);
    }
}

#[test]
fn programs_that_copy_files_store_nothing() {
    let Some(mount) = mounted() else { return };
    let data = random(3 * MIB);
    fs::write(mount.path("from"), &data).expect("a write");
    let before = stored(&mount);
    let copied = fs::copy(mount.path("from"), mount.path("to"));
    assert_eq!(copied.expect("a copy"), data.len() as u64);
    assert!(read(&mount, "to") == data);
    assert_eq!(stored(&mount), before);
    let (asked, refused) = asked(&mount);
    assert!(asked > 0 && refused == 0, "{asked} and {refused}");
}

#[test]
fn below_level_5_the_kernel_copies_the_bytes() {
    if !possible() {
        return;
    }
    let world = World {
        engine: twin::Engine::at_level(Level(4)),
        store: twin::memory(),
    };
    let mount = world.mount(&MountOptions::default());
    let data = random(300_000);
    fs::write(mount.path("from"), &data).expect("a write");
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    let before = stored(&mount);
    assert_eq!(copy_all((&from, 5), (&to, 7), 250_000), 250_000);
    to.sync_all().expect("fsync");
    let mut model = vec![0; 7];
    lay(&mut model, 7, &data[5..250_005]);
    assert!(read(&mount, "to") == model);
    let after = stored(&mount);
    assert!(after.0 > before.0 && after.1 > before.1, "{after:?}");
    assert!(asked(&mount).1 > 0, "it was refused each time");
}

#[test]
fn the_kernel_copies_the_bytes_where_a_chunk_has_no_room_for_a_hole() {
    const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
    let Some(mount) = mounted() else { return };
    let mut model = random(2 * MIB);
    fs::write(mount.path("to"), &model).expect("a write");
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    for index in 0..HOLES_MAX {
        let at = 1000 * index + 5;
        fallocate(&to, PUNCH, at as u64, 10).expect("a hole");
        model[at..at + 10].fill(0);
    }
    let mut source = vec![1; 5000];
    lay(&mut source, 10_000, &[2; 5000]);
    from.write_all_at(&[1; 5000], 0).expect("a write");
    from.write_all_at(&[2; 5000], 10_000).expect("a write");
    assert_eq!(copy_all((&from, 0), (&to, 1_000_001), 15_000), 15_000);
    lay(&mut model, 1_000_001, &source);
    assert!(read(&mount, "to") == model);
    assert!(asked(&mount).1 > 0, "it was refused");
    // Where no hole is needed there is room.
    let refused = asked(&mount).1;
    assert_eq!(copy((&from, 0), (&to, 1_500_001), 5000), Ok(5000));
    lay(&mut model, 1_500_001, &source[..5000]);
    assert!(read(&mount, "to") == model);
    assert_eq!(asked(&mount).1, refused);
}

#[test]
fn a_write_that_could_not_be_stored_is_told_to_whoever_copies_it() {
    if !possible() {
        return;
    }
    let store = Arc::new(Failing::new(twin::memory()));
    let world = World {
        engine: twin::Engine::new(),
        store: store.clone(),
    };
    let mount = world.mount(&MountOptions::default());
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    from.write_all_at(b"kept", 0).expect("a write");
    from.sync_all().expect("fsync");
    store.always(Step::Put, Fault::Fail);
    from.write_all_at(b"lost", 4).expect("taken in");
    assert_eq!(copy((&from, 0), (&to, 0), 8), Err(Errno::IO));
    assert_eq!(to.metadata().expect("fstat").len(), 0, "nothing was copied");
    // So it is with what was to lie where the copy goes.
    to.write_all_at(b"lost", 0).expect("taken in");
    assert_eq!(copy((&from, 0), (&to, 0), 4), Err(Errno::IO));
    store.always(Step::Put, Fault::None);
    // It is told once, and what there is can be copied.
    assert_eq!(copy_all((&from, 0), (&to, 0), 8), 4);
    assert_eq!(read(&mount, "to"), b"kept");
}

#[test]
fn under_a_lock_that_is_lost_nothing_is_copied() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("from"), "data").expect("a write");
    let (from, to) = (open(&mount, "from"), open(&mount, "to"));
    to.lock().expect("a lock");
    assert_eq!(copy((&from, 0), (&to, 0), 4), Ok(4));
    // Its machine stood still, and the cluster gave it up.
    mount.session.renew();
    assert_eq!(copy((&from, 0), (&to, 4), 4), Err(Errno::IO));
    assert_eq!(read(&mount, "to"), b"data");
    to.unlock().expect("given up");
    assert_eq!(copy((&from, 0), (&to, 4), 4), Ok(4));
    assert_eq!(read(&mount, "to"), b"datadata");
}
