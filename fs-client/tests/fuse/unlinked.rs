use crate::mounted::mounted;
use crate::twin;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path);
    let file = file.expect("a file");
    file.write_all_at(b"before", 0).expect("a write");
    fs::remove_file(&path).expect("unlink");
    assert!(!path.exists());
    mount.block_on(twin::reap(&mount.world.engine, &[&mount.vfs]));
    file.write_all_at(b" and after", 6).expect("a write");
    file.sync_all().expect("fsync");
    let mut read = [0; 16];
    file.read_exact_at(&mut read, 0).expect("a read");
    assert_eq!(&read, b"before and after");
    assert_eq!(file.metadata().expect("fstat").nlink(), 0);
    drop(file);
    // The kernel tells the last close in the background.
    let gone = || {
        mount.block_on(twin::reap(&mount.world.engine, &[&mount.vfs]));
        let body = meta_core::query::QueryBody::StatVolume;
        match mount.world.engine.query(body) {
            meta_core::query::Answer::Stat(stat) => stat.orphans == 0,
            other => panic!("{other:?}"),
        }
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !gone() {
        assert!(
            std::time::Instant::now() < deadline,
            "the file is still held"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_file_replaced_while_open_stays_what_it_was() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("old"), "old").expect("a write");
    fs::write(mount.path("new"), "new").expect("a write");
    let file = fs::File::open(mount.path("old")).expect("a file");
    fs::rename(mount.path("new"), mount.path("old")).expect("a rename");
    let mut read = [0; 3];
    file.read_exact_at(&mut read, 0).expect("a read");
    assert_eq!(&read, b"old");
    assert_eq!(fs::read(mount.path("old")).expect("a read"), b"new");
}
