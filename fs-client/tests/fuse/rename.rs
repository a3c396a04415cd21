use crate::mounted::mounted;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::Write;

#[test]
fn a_name_moves_and_replaces() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("a"), "a").expect("a write");
    fs::write(mount.path("b"), "b").expect("a write");
    fs::rename(mount.path("a"), mount.path("b")).expect("a rename");
    assert_eq!(fs::read(mount.path("b")).expect("a read"), b"a");
    assert!(!mount.path("a").exists());
    fs::create_dir_all(mount.path("d/e")).expect("directories");
    fs::rename(mount.path("b"), mount.path("d/e/c")).expect("a rename");
    assert_eq!(fs::read(mount.path("d/e/c")).expect("a read"), b"a");
    fs::rename(mount.path("d"), mount.path("f")).expect("a rename");
    assert_eq!(fs::read(mount.path("f/e/c")).expect("a read"), b"a");
    let loops = fs::rename(mount.path("f"), mount.path("f/e/g")).expect_err("a loop");
    assert_eq!(loops.raw_os_error(), Some(libc::EINVAL));
    fs::create_dir(mount.path("h")).expect("a directory");
    let full = fs::rename(mount.path("h"), mount.path("f")).expect_err("not empty");
    assert_eq!(full.raw_os_error(), Some(libc::ENOTEMPTY));
}

#[test]
fn the_flags_of_rename_are_honoured() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("a"), "a").expect("a write");
    fs::write(mount.path("b"), "b").expect("a write");
    let rename = |flags| renameat_with(CWD, mount.path("a"), CWD, mount.path("b"), flags);
    assert_eq!(rename(RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(rename(RenameFlags::WHITEOUT), Err(Errno::INVAL));
    assert_eq!(rename(RenameFlags::EXCHANGE), Ok(()));
    assert_eq!(fs::read(mount.path("a")).expect("a read"), b"b");
    assert_eq!(fs::read(mount.path("b")).expect("a read"), b"a");
}

#[test]
fn data_that_waits_moves_along() {
    let Some(mount) = mounted() else { return };
    let mut file = File::create(mount.path("old")).expect("a file");
    file.write_all(b"waiting").expect("a write");
    fs::rename(mount.path("old"), mount.path("new")).expect("a rename");
    assert_eq!(fs::read(mount.path("new")).expect("a read"), b"waiting");
    file.write_all(b" more").expect("a write");
    drop(file);
    assert_eq!(
        fs::read(mount.path("new")).expect("a read"),
        b"waiting more"
    );
}
