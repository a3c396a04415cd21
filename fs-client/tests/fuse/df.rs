use crate::mounted::mounted;
use std::fs;

#[test]
fn the_volume_shows_what_is_used() {
    let Some(mount) = mounted() else { return };
    let stat = || rustix::fs::statvfs(mount.root()).expect("statvfs");
    let before = stat();
    assert_eq!((before.f_bsize, before.f_namemax), (4096, 255));
    assert!(before.f_bavail > 1 << 30);
    fs::write(mount.path("file"), vec![1; 100_000]).expect("a write");
    let after = stat();
    let used = |stat: &rustix::fs::StatVfs| stat.f_blocks - stat.f_bfree;
    assert_eq!(used(&after) - used(&before), 25);
    let inodes = |stat: &rustix::fs::StatVfs| stat.f_files - stat.f_ffree;
    assert_eq!(inodes(&after) - inodes(&before), 1);
}
