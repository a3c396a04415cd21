use crate::mounted::mounted;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

#[test]
fn hard_links_are_one_file() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("a"), "one").expect("a write");
    fs::hard_link(mount.path("a"), mount.path("b")).expect("a link");
    fs::write(mount.path("b"), "two").expect("a write");
    assert_eq!(fs::read(mount.path("a")).expect("a read"), b"two");
    let (a, b) = (fs::metadata(mount.path("a")), fs::metadata(mount.path("b")));
    let (a, b) = (a.expect("a"), b.expect("b"));
    assert_eq!((a.ino(), a.nlink(), b.nlink()), (b.ino(), 2, 2));
    fs::remove_file(mount.path("a")).expect("unlink");
    assert_eq!(fs::metadata(mount.path("b")).expect("b").nlink(), 1);
    fs::create_dir(mount.path("d")).expect("a directory");
    let refused = fs::hard_link(mount.path("d"), mount.path("e")).expect_err("a directory");
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn symlinks_lead_where_they_say() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("target"), "there").expect("a write");
    symlink("target", mount.path("link")).expect("a symlink");
    assert_eq!(fs::read(mount.path("link")).expect("a read"), b"there");
    let target = fs::read_link(mount.path("link")).expect("a target");
    assert_eq!(target, Path::new("target"));
    assert_eq!(
        fs::symlink_metadata(mount.path("link"))
            .expect("a link")
            .len(),
        6
    );
    symlink("nowhere", mount.path("dangling")).expect("a symlink");
    assert!(fs::read(mount.path("dangling")).is_err());
}
