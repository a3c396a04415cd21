use crate::mounted::mounted;
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;

#[test]
fn special_files_keep_their_kind_and_device() {
    let Some(mount) = mounted() else { return };
    let make = |name: &str, kind, dev| mknodat(CWD, mount.path(name), kind, Mode::RWXU, dev);
    make("fifo", FileType::Fifo, 0).expect("a fifo");
    make("device", FileType::CharacterDevice, makedev(1, 3)).expect("a device");
    make("regular", FileType::RegularFile, 0).expect("a file");
    UnixListener::bind(mount.path("socket")).expect("a socket");
    let metadata = |name: &str| fs::metadata(mount.path(name)).expect("metadata");
    assert!(metadata("fifo").file_type().is_fifo());
    assert!(metadata("socket").file_type().is_socket());
    assert!(metadata("regular").file_type().is_file());
    let device = metadata("device");
    assert!(device.file_type().is_char_device());
    assert_eq!(device.rdev(), makedev(1, 3));
    assert_eq!(device.mode() & 0o7777, 0o700);
}

#[test]
fn a_file_without_a_name_is_refused() {
    let Some(mount) = mounted() else { return };
    let flags = OFlags::TMPFILE | OFlags::RDWR;
    let refused = open(mount.root(), flags, Mode::RUSR).expect_err("not supported");
    assert_eq!(refused, Errno::OPNOTSUPP);
}

#[test]
fn unknown_controls_are_refused() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("file"), "x").expect("a write");
    let file = fs::File::open(mount.path("file")).expect("a file");
    assert_eq!(rustix::fs::ioctl_getflags(&file), Err(Errno::NOTTY));
}
