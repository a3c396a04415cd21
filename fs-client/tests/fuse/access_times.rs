//! Reads that reach the mount move access times, as the mount was told.

use crate::mounted::{Mounted, World, possible, until};
use crate::twin;
use fs_client::mount::MountOptions;
use fs_client::vfs::AtimeMode;
use meta_core::ids::{Ino, Level};
use meta_core::query::{Answer, QueryBody};
use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Seconds and nanoseconds.
type Time = (i64, i64);

/// A time that a program sets, long before all that happens here.
const LONG_AGO: Time = (1_000_000_000, 5);

fn with(atime_mode: AtimeMode) -> MountOptions {
    MountOptions {
        atime_mode,
        // The engine's twin tells no mount what another one changes.
        entry_ttl: Duration::ZERO,
        ..MountOptions::default()
    }
}

fn mounted(atime_mode: AtimeMode) -> Option<Mounted> {
    possible().then(|| World::new().mount(&with(atime_mode)))
}

/// Reads a file by the mount, past the kernel's cache.
fn read_with(path: &Path, flags: i32) {
    let mut open = OpenOptions::new();
    let file = open.read(true).custom_flags(libc::O_DIRECT | flags);
    let mut read = Vec::new();
    let mut file = file.open(path).expect("a file");
    file.read_to_end(&mut read).expect("a read");
    assert_eq!(read, b"data");
}

fn read(path: &Path) {
    read_with(path, 0);
}

fn list(path: &Path) {
    for entry in fs::read_dir(path).expect("a directory") {
        entry.expect("a name");
    }
}

/// When a file was read last, as a mount shows it.
fn atime(path: &Path) -> Time {
    let found = fs::symlink_metadata(path).expect("stat");
    (found.atime(), found.atime_nsec())
}

/// The same, as the engine has it.
fn stored(mount: &Mounted, path: &Path) -> Time {
    let ino = Ino(fs::symlink_metadata(path).expect("stat").ino());
    match mount.world.engine.query(QueryBody::GetAttr { ino }) {
        Answer::Attr(attr) => (attr.atime.seconds, i64::from(attr.atime.nanos)),
        other => panic!("{other:?}"),
    }
}

/// Waits until the engine was told what the mount shows.
fn wait_stored(mount: &Mounted, path: &Path) {
    let shown = atime(path);
    until("the engine to be told", || stored(mount, path) == shown);
}

fn set_long_ago(file: &File) {
    let (seconds, nanos) = LONG_AGO;
    let since = Duration::new(seconds.unsigned_abs(), nanos as u32);
    let times = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH + since);
    file.set_times(times).expect("futimens");
}

#[test]
fn reads_leave_access_times_alone_unless_a_mount_is_told_otherwise() {
    if !possible() {
        return;
    }
    let mount = World::new().mount(&MountOptions::default());
    fs::create_dir(mount.path("dir")).expect("a directory");
    fs::write(mount.path("dir/file"), "data").expect("a write");
    symlink("file", mount.path("dir/link")).expect("a symlink");
    let names = ["dir", "dir/file", "dir/link"];
    let times = || names.map(|name| atime(&mount.path(name)));
    let before = times();
    read(&mount.path("dir/file"));
    list(&mount.path("dir"));
    fs::read_link(mount.path("dir/link")).expect("a target");
    assert_eq!(times(), before);
}

#[test]
fn with_relatime_the_first_read_after_a_change_moves_the_time() {
    let Some(mount) = mounted(AtimeMode::Relatime) else {
        return;
    };
    let path = mount.path("file");
    fs::write(&path, "data").expect("a write");
    let mut last = atime(&path);
    let open = File::open(&path).expect("a file");
    for round in 0..3 {
        read(&path);
        let moved = atime(&path);
        assert!(moved > last, "round {round}: {moved:?} after {last:?}");
        read(&path);
        assert_eq!(atime(&path), moved, "before the engine was told");
        wait_stored(&mount, &path);
        read(&path);
        assert_eq!(atime(&path), moved, "and after it");
        last = moved;
        // Of the content, and of anything.
        match round {
            0 => fs::write(&path, "data").expect("a write"),
            _ => fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod"),
        }
        assert_eq!(atime(&path), last, "a change moves other times");
    }
    drop(open);
}

#[test]
fn with_strictatime_each_read_moves_the_time_but_through_o_noatime() {
    let Some(mount) = mounted(AtimeMode::Strictatime) else {
        return;
    };
    let path = mount.path("file");
    fs::write(&path, "data").expect("a write");
    let mut last = atime(&path);
    for _ in 0..5 {
        read(&path);
        let moved = atime(&path);
        assert!(moved > last, "{moved:?} after {last:?}");
        read_with(&path, libc::O_NOATIME);
        assert_eq!(atime(&path), moved);
        last = moved;
    }
    wait_stored(&mount, &path);
    read(&path);
    assert!(atime(&path) > last, "also once the engine was told");
}

#[test]
fn what_the_kernel_answers_from_its_cache_moves_no_time() {
    let Some(mount) = mounted(AtimeMode::Strictatime) else {
        return;
    };
    let path = mount.path("file");
    fs::write(&path, "data").expect("a write");
    let before = atime(&path);
    assert_eq!(fs::read(&path).expect("a read"), b"data");
    let moved = atime(&path);
    assert!(moved > before, "it came from the mount");
    // That the engine is told makes no page of the file old.
    wait_stored(&mount, &path);
    assert_eq!(fs::read(&path).expect("a read"), b"data");
    assert_eq!(atime(&path), moved);
}

#[test]
fn stat_shows_a_read_at_once_and_other_mounts_within_a_moment() {
    let Some(one) = mounted(AtimeMode::Relatime) else {
        return;
    };
    let other = one.world.mount(&with(AtimeMode::Noatime));
    fs::write(one.path("file"), "data").expect("a write");
    let before = atime(&other.path("file"));
    let file = File::open(one.path("file")).expect("a file");
    read(&one.path("file"));
    let moved = atime(&one.path("file"));
    assert!(moved > before);
    let of_handle = file.metadata().expect("fstat");
    assert_eq!((of_handle.atime(), of_handle.atime_nsec()), moved);
    // A change that is no change of the time shows it as well.
    fs::set_permissions(one.path("file"), Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(atime(&one.path("file")), moved);
    until("the other mount to see it", || {
        atime(&other.path("file")) == moved
    });
}

#[test]
fn a_time_that_a_program_sets_is_not_moved_by_what_it_read_before() {
    let Some(mount) = mounted(AtimeMode::Strictatime) else {
        return;
    };
    let (path, beside) = (mount.path("file"), mount.path("beside"));
    fs::write(&path, "data").expect("a write");
    fs::write(&beside, "data").expect("a write");
    let file = File::open(&path).expect("a file");
    read(&path);
    set_long_ago(&file);
    assert_eq!(atime(&path), LONG_AGO);
    // What the engine is told after that is of other files.
    read(&beside);
    wait_stored(&mount, &beside);
    assert_eq!((atime(&path), stored(&mount, &path)), (LONG_AGO, LONG_AGO));

    // What is on its way to the engine comes first.
    let gate = mount.block_on(mount.session.changing.write());
    read(&path);
    until("a read to be on its way", || mount.session.waiting() == 1);
    std::thread::scope(|scope| {
        let set = scope.spawn(|| set_long_ago(&file));
        drop(gate);
        set.join().expect("it is set");
    });
    assert_eq!((atime(&path), stored(&mount, &path)), (LONG_AGO, LONG_AGO));
    read(&beside);
    wait_stored(&mount, &beside);
    assert_eq!((atime(&path), stored(&mount, &path)), (LONG_AGO, LONG_AGO));
    // Who reads it after that moves it again.
    read(&path);
    assert!(atime(&path) > LONG_AGO);
    wait_stored(&mount, &path);
}

#[test]
fn listings_and_reads_of_symlinks_move_their_times() {
    let Some(mount) = mounted(AtimeMode::Relatime) else {
        return;
    };
    let (dir, link) = (mount.path("dir"), mount.path("link"));
    fs::create_dir(&dir).expect("a directory");
    let mut last = atime(&dir);
    for name in ["one", "two"] {
        list(&dir);
        let moved = atime(&dir);
        assert!(moved > last, "{moved:?} after {last:?}");
        list(&dir);
        assert_eq!(atime(&dir), moved, "nothing was changed");
        fs::write(dir.join(name), "data").expect("a write");
        last = moved;
    }
    list(&dir);
    wait_stored(&mount, &dir);
    symlink("nowhere", &link).expect("a symlink");
    let before = atime(&link);
    fs::read_link(&link).expect("a target");
    let moved = atime(&link);
    assert!(moved > before, "{moved:?} after {before:?}");
    fs::read_link(&link).expect("a target");
    assert_eq!(atime(&link), moved, "nothing was changed");
    wait_stored(&mount, &link);
}

#[test]
fn with_nodiratime_listings_leave_directories_alone() {
    if !possible() {
        return;
    }
    let mount = World::new().mount(&MountOptions {
        directory_atimes: false,
        ..with(AtimeMode::Strictatime)
    });
    fs::write(mount.path("file"), "data").expect("a write");
    let before = (atime(mount.root()), atime(&mount.path("file")));
    list(mount.root());
    read(&mount.path("file"));
    assert_eq!(atime(mount.root()), before.0);
    assert!(atime(&mount.path("file")) > before.1);
}

#[test]
fn the_last_reads_are_told_before_the_mount_ends() {
    let Some(mount) = mounted(AtimeMode::Strictatime) else {
        return;
    };
    fs::write(mount.path("file"), "data").expect("a write");
    list(mount.root());
    read(&mount.path("file"));
    let moved = (atime(mount.root()), atime(&mount.path("file")));
    let mount = mount.remount();
    let found = (atime(mount.root()), atime(&mount.path("file")));
    assert_eq!(found, moved);
}

#[test]
fn a_read_only_mount_moves_no_time() {
    let Some(mount) = mounted(AtimeMode::Noatime) else {
        return;
    };
    fs::write(mount.path("file"), "data").expect("a write");
    let part = mount.world.mount(&MountOptions {
        read_only: true,
        ..with(AtimeMode::Strictatime)
    });
    let before = (atime(part.root()), atime(&part.path("file")));
    list(part.root());
    read(&part.path("file"));
    let after = (atime(part.root()), atime(&part.path("file")));
    assert_eq!(after, before);
    drop(part);
    assert_eq!(atime(&mount.path("file")), before.1);
}

#[test]
fn on_a_volume_of_an_earlier_level_no_time_moves() {
    if !possible() {
        return;
    }
    let world = World {
        engine: twin::Engine::at_level(Level(4)),
        store: twin::memory(),
    };
    let mount = world.mount(&with(AtimeMode::Strictatime));
    let path = mount.path("file");
    fs::write(&path, "data").expect("a write");
    let before = atime(&path);
    read(&path);
    until("the mount to be told no", || atime(&path) == before);
    read(&path);
    assert_eq!(atime(&path), before);
}
