use crate::mounted::mounted;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at ^ (at >> 9) ^ (at >> 17)) as u8)
        .collect()
}

#[test]
fn a_file_is_read_back_also_after_a_remount() {
    let Some(mount) = mounted() else { return };
    let data = pattern(5 * (1 << 20) + 123);
    fs::write(mount.path("big"), &data).expect("a write");
    fs::write(mount.path("small"), "hello").expect("a write");
    fs::write(mount.path("empty"), "").expect("a write");
    let check = |mount: &crate::mounted::Mounted| {
        assert!(fs::read(mount.path("big")).expect("a read") == data);
        assert_eq!(fs::read(mount.path("small")).expect("a read"), b"hello");
        assert_eq!(fs::metadata(mount.path("empty")).expect("a file").len(), 0);
    };
    check(&mount);
    check(&mount.remount());
}

#[test]
fn writes_in_many_places_and_sizes_lie_where_they_were_made() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    let file = file.expect("a file");
    let mut model = vec![0u8; 700_000];
    for round in 0..300usize {
        let at = (round * 7919) % 600_000;
        let len = 1 + (round * 331) % 9_000;
        let data = vec![round as u8 | 1; len];
        file.write_all_at(&data, at as u64).expect("a write");
        model[at..at + len].copy_from_slice(&data);
        let mut read = vec![0; len];
        file.read_exact_at(&mut read, at as u64).expect("a read");
        assert!(read == data, "round {round}");
    }
    file.sync_all().expect("fsync");
    let len = file.metadata().expect("metadata").len() as usize;
    assert!(fs::read(&path).expect("a read") == model[..len]);
}

#[test]
fn truncation_cuts_and_extends_with_zeros() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    fs::write(&path, pattern(100_000)).expect("a write");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("a file");
    file.write_all_at(b"late", 99_998).expect("a write");
    file.set_len(50_000).expect("a cut");
    file.set_len(60_000).expect("an extension");
    let read = fs::read(&path).expect("a read");
    assert!(read[..50_000] == pattern(100_000)[..50_000]);
    assert!(read.len() == 60_000 && read[50_000..].iter().all(|byte| *byte == 0));
    // Opening with O_TRUNC empties it.
    File::create(&path)
        .expect("an open")
        .write_all(b"new")
        .expect("a write");
    assert_eq!(fs::read(&path).expect("a read"), b"new");
}

#[test]
fn metadata_shows_writes_before_they_are_flushed() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let mut file = File::create(&path).expect("a file");
    file.write_all(&[1; 10_000]).expect("a write");
    assert_eq!(file.metadata().expect("fstat").len(), 10_000);
    assert_eq!(fs::metadata(&path).expect("stat").len(), 10_000);
    assert_eq!(file.seek(SeekFrom::End(0)).expect("lseek"), 10_000);
    assert_eq!(fs::metadata(&path).expect("stat").blocks(), 24);
}

#[test]
fn a_file_made_exclusively_must_be_new() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let new = || OpenOptions::new().write(true).create_new(true).open(&path);
    new().expect("a new file");
    assert_eq!(
        new().expect_err("it exists").kind(),
        ErrorKind::AlreadyExists
    );
    let missing = File::open(mount.path("missing")).expect_err("it does not");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let long = File::create(mount.path(&"n".repeat(256))).expect_err("a long name");
    assert_eq!(long.raw_os_error(), Some(libc::ENAMETOOLONG));
}

#[test]
fn direct_and_synchronous_files_work() {
    let Some(mount) = mounted() else { return };
    for flags in [libc::O_DIRECT, libc::O_SYNC, libc::O_DSYNC] {
        let path = mount.path(&format!("file-{flags}"));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(flags);
        let mut file = options.open(&path).expect("a file");
        // Unlike a disk, FUSE asks for no alignment.
        file.write_all(&pattern(8192)).expect("a write");
        assert_eq!(mount.vfs.pending_bytes(), 0, "stored when write returned");
        file.seek(SeekFrom::Start(0)).expect("a seek");
        let mut read = Vec::new();
        file.read_to_end(&mut read).expect("a read");
        assert!(read == pattern(8192));
    }
}

#[test]
fn holes_are_found_and_read_as_zeros() {
    let Some(mount) = mounted() else { return };
    let file = File::create_new(mount.path("sparse")).expect("a file");
    file.write_all_at(b"data", 1 << 20).expect("a write");
    file.set_len(3 << 20).expect("a length");
    file.sync_all().expect("fsync");
    let seek = |at| rustix::fs::seek(&file, at);
    assert_eq!(seek(rustix::fs::SeekFrom::Data(0)), Ok(1 << 20));
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(1 << 20)), Ok((1 << 20) + 4));
    assert_eq!(
        seek(rustix::fs::SeekFrom::Data(2 << 20)),
        Err(rustix::io::Errno::NXIO)
    );
    let read = fs::read(mount.path("sparse")).expect("a read");
    assert_eq!(read.len(), 3 << 20);
    assert_eq!(read.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 410);
}

#[test]
fn space_is_given_in_advance() {
    use rustix::fs::{FallocateFlags, fallocate};
    let Some(mount) = mounted() else { return };
    let file = File::create_new(mount.path("file")).expect("a file");
    let length = || file.metadata().expect("fstat").len();
    fallocate(&file, FallocateFlags::empty(), 10, 5000).expect("an extension");
    assert_eq!(length(), 5010);
    fallocate(&file, FallocateFlags::empty(), 0, 10).expect("nothing to do");
    assert_eq!(length(), 5010);
    fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 30).expect("room");
    assert_eq!(length(), 5010);
    let tried = fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(tried, Err(rustix::io::Errno::OPNOTSUPP));
}

#[test]
fn holes_are_punched_and_ranges_zeroed() {
    use rustix::fs::{FallocateFlags, fallocate};
    const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
    const ZERO: FallocateFlags = FallocateFlags::ZERO_RANGE;
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let mut model = pattern(3 << 20);
    fs::write(&path, &model).expect("a write");
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.expect("a file");
    let seek = |at| rustix::fs::seek(&file, at);
    fallocate(&file, PUNCH, 100_000, 1 << 20).expect("a hole");
    model[100_000..100_000 + (1 << 20)].fill(0);
    assert!(fs::read(&path).expect("a read") == model);
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(0)), Ok(100_000));
    let behind = 100_000 + (1 << 20);
    assert_eq!(seek(rustix::fs::SeekFrom::Data(100_000)), Ok(behind));
    // What is written later shows in the hole, and goes with the next one although it was not stored.
    file.write_all_at(&[7; 5000], 200_000).expect("a write");
    model[200_000..205_000].fill(7);
    fallocate(&file, ZERO | FallocateFlags::KEEP_SIZE, 201_000, 1000).expect("zeros");
    model[201_000..202_000].fill(0);
    assert!(fs::read(&path).expect("a read") == model);
    // A hole behind the end changes nothing, zeros there make the file longer.
    fallocate(&file, PUNCH, 4 << 20, 4096).expect("nothing to do");
    assert_eq!(file.metadata().expect("fstat").len(), 3 << 20);
    fallocate(&file, ZERO, (3 << 20) - 10, 20).expect("zeros");
    model[(3 << 20) - 10..].fill(0);
    model.resize((3 << 20) + 10, 0);
    assert!(fs::read(&path).expect("a read") == model);
    drop(file);
    let mount = mount.remount();
    assert!(fs::read(mount.path("file")).expect("a read") == model);
}

#[test]
fn files_are_copied_by_the_kernel_where_it_wants_a_copy() {
    let Some(mount) = mounted() else { return };
    let data = pattern(300_000);
    fs::write(mount.path("from"), &data).expect("a write");
    // Uses copy_file_range, which copies no data where the volume shares slices.
    assert_eq!(
        fs::copy(mount.path("from"), mount.path("to")).expect("a copy"),
        300_000
    );
    assert!(fs::read(mount.path("to")).expect("a read") == data);
}

#[test]
fn a_tree_of_files_is_written_from_many_threads() {
    let Some(mount) = mounted() else { return };
    let root = mount.root();
    std::thread::scope(|scope| {
        for thread in 0..4usize {
            scope.spawn(move || {
                let dir = root.join(format!("dir-{thread}"));
                fs::create_dir(&dir).expect("a directory");
                for index in 0..50usize {
                    let data = pattern(index * 1000 + thread);
                    fs::write(dir.join(index.to_string()), data).expect("a write");
                }
            });
        }
    });
    let mount = mount.remount();
    for thread in 0..4usize {
        let dir = mount.path(&format!("dir-{thread}"));
        assert_eq!(fs::read_dir(&dir).expect("a directory").count(), 50);
        for index in 0..50usize {
            let read = fs::read(dir.join(index.to_string())).expect("a read");
            assert!(read == pattern(index * 1000 + thread));
        }
    }
}
