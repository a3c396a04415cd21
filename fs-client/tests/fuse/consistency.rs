use crate::mounted::{World, possible};
use fs_client::mount::MountOptions;
use std::fs::{self, File};
use std::io::{Read, Write};

#[test]
fn an_open_sees_what_another_mount_closed() {
    if !possible() {
        return;
    }
    let world = World::new();
    let (one, other) = (
        world.mount(&MountOptions::default()),
        world.mount(&MountOptions::default()),
    );
    for round in 0..20u8 {
        // The same length each time: only the content tells.
        fs::write(one.path("file"), vec![round; 100_000]).expect("a write");
        let read = fs::read(other.path("file")).expect("a read");
        assert!(read == vec![round; 100_000], "round {round}");
        let (one, other) = (
            fs::metadata(one.path("file")),
            fs::metadata(other.path("file")),
        );
        assert_eq!(
            one.expect("stat").modified().ok(),
            other.expect("stat").modified().ok()
        );
    }
}

#[test]
fn unchanged_files_are_read_from_the_page_cache() {
    if !possible() {
        return;
    }
    let mount = World::new().mount(&MountOptions::default());
    fs::write(mount.path("file"), vec![1; 1 << 20]).expect("a write");
    fs::read(mount.path("file")).expect("a first read");
    let reads = || {
        let stats = fs::read_to_string(mount.path(".stats")).expect(".stats");
        let line = stats
            .lines()
            .find(|line| line.starts_with("curlew_read_bytes_total"));
        line.expect("a counter").to_owned()
    };
    let before = reads();
    for _ in 0..5 {
        assert_eq!(fs::read(mount.path("file")).expect("a read").len(), 1 << 20);
    }
    assert_eq!(reads(), before);
}

#[test]
fn a_growing_file_is_followed() {
    if !possible() {
        return;
    }
    let world = World::new();
    let (one, other) = (
        world.mount(&MountOptions::default()),
        world.mount(&MountOptions::default()),
    );
    let mut writer = File::create(one.path("log")).expect("a file");
    let mut reader = File::open(other.path("log")).expect("a file");
    for round in 0..10 {
        writeln!(writer, "line {round}").expect("a write");
        writer.sync_all().expect("fsync");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("a read");
        assert_eq!(text, format!("line {round}\n"));
    }
}
