use crate::mounted::{World, mounted, possible};
use fs_client::mount::MountOptions;
use std::fs::{self, File, OpenOptions};
use std::io::Write;

fn append(path: &std::path::Path) -> File {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.expect("a file")
}

#[test]
fn records_go_to_the_end() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("log");
    let (mut first, mut second) = (append(&path), append(&path));
    first.write_all(b"one ").expect("a write");
    second.write_all(b"two ").expect("a write");
    first.write_all(b"three").expect("a write");
    assert_eq!(fs::read(&path).expect("a read"), b"one two three");
    assert_eq!(first.metadata().expect("fstat").len(), 13);
}

#[test]
fn two_mounts_append_without_overwriting() {
    if !possible() {
        return;
    }
    let world = World::new();
    let (one, other) = (
        world.mount(&MountOptions::default()),
        world.mount(&MountOptions::default()),
    );
    let write = |mount: &crate::mounted::Mounted, letter: u8| {
        let mut file = append(&mount.path("log"));
        for index in 0..200 {
            let mut record = vec![letter; 99];
            record.push(b'\n');
            file.write_all(&record).expect("a write");
            if index % 20 == 0 {
                file.sync_all().expect("fsync");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| write(&one, b'a'));
        scope.spawn(|| write(&other, b'b'));
    });
    let log = fs::read_to_string(one.path("log")).expect("a read");
    let count = |letter: char| {
        let whole = letter.to_string().repeat(99);
        log.lines().filter(|line| *line == whole).count()
    };
    assert_eq!((count('a'), count('b'), log.len()), (200, 200, 40_000));
    let seen_there = fs::read_to_string(other.path("log")).expect("a read");
    assert!(seen_there == log, "both mounts see the same");
}
