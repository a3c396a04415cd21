use crate::mounted::{Mounted, World, possible};
use crate::twin::reap;
use fs_client::mount::{MountError, MountOptions};
use rustix::fs::{CWD, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, statvfs};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::time::Duration;

fn showing(subdir: &str) -> MountOptions {
    MountOptions {
        subdir: Some(subdir.into()),
        ..asking()
    }
}

/// The engine's twin tells no mount what another one changes, so the kernel must not keep it.
fn asking() -> MountOptions {
    MountOptions {
        entry_ttl: Duration::ZERO,
        ..MountOptions::default()
    }
}

/// A whole mount, and one of its directory `/a/b`.
fn two() -> Option<(Mounted, Mounted)> {
    possible().then(|| {
        let whole = World::new().mount(&asking());
        fs::create_dir_all(whole.path("a/b")).expect("directories");
        let part = whole.world.mount(&showing("/a/b"));
        (whole, part)
    })
}

/// The numbers of `.` and `..` as a listing has them.
fn dots(path: &Path) -> (u64, u64) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = openat(CWD, path, flags, Mode::empty()).expect("opened");
    let mut found = (0, 0);
    for entry in Dir::read_from(opened).expect("a listing") {
        let entry = entry.expect("an entry");
        match entry.file_name().to_bytes() {
            b"." => found.0 = entry.ino(),
            b".." => found.1 = entry.ino(),
            _ => {}
        }
    }
    found
}

#[test]
fn a_mount_shows_a_directory_as_its_root() {
    let Some((whole, part)) = two() else { return };
    fs::write(whole.path("a/b/file"), "data").expect("a write");
    fs::create_dir(part.path("dir")).expect("a directory");
    assert_eq!(fs::read(part.path("file")).expect("a read"), b"data");
    assert!(whole.path("a/b/dir").is_dir());
    assert!(!part.path("a").exists());
    assert_eq!(fs::metadata(part.root()).expect("metadata").ino(), 1);
    assert_eq!(dots(part.root()), (1, 1), "nothing is above the root");
    let dir = fs::metadata(part.path("dir")).expect("metadata").ino();
    assert_eq!(dots(&part.path("dir")), (dir, 1));
    let seen = fs::metadata(whole.path("a/b/dir")).expect("metadata").ino();
    assert_eq!(dir, seen, "all but the root have the volume's numbers");
    let (all, few) = (statvfs(whole.root()), statvfs(part.root()));
    let used = |stat: rustix::fs::StatVfs| stat.f_files - stat.f_ffree;
    assert_eq!(used(all.expect("totals")), used(few.expect("totals")));
    // Its own files are in the root that it shows, and names there are taken by them.
    assert!(fs::read_to_string(part.path(".stats")).is_ok());
    assert!(!part.path("dir/.stats").exists());
    let taken = fs::write(part.path(".status"), "x").expect_err("its own");
    assert_eq!(taken.kind(), ErrorKind::PermissionDenied, "{taken}");
    fs::write(whole.path("a/b/.config"), "x").expect("a name like any other");
}

#[test]
fn names_go_in_and_out_of_a_directory_that_is_a_root_elsewhere() {
    let Some((whole, part)) = two() else { return };
    fs::write(whole.path("file"), "data").expect("a write");
    fs::rename(whole.path("file"), whole.path("a/b/file")).expect("moved in");
    assert_eq!(fs::read(part.path("file")).expect("a read"), b"data");
    fs::hard_link(whole.path("a/b/file"), whole.path("link")).expect("a link");
    assert_eq!(
        fs::metadata(part.path("file")).expect("metadata").nlink(),
        2
    );
    fs::create_dir_all(part.path("one/two")).expect("directories");
    fs::rename(part.path("one/two"), part.path("two")).expect("into the root");
    assert_eq!(dots(&part.path("two")).1, 1);
    let (here, there) = (whole.path("a/b/two"), whole.path("a/b/one"));
    renameat_with(CWD, &here, CWD, &there, RenameFlags::EXCHANGE).expect("exchanged");
    fs::rename(whole.path("a/b/two"), whole.path("two")).expect("moved out");
    assert!(!part.path("two").exists() && part.path("one").exists());
    assert_eq!(dots(&whole.path("two")).1, 1);
    // The root itself may be moved: the mount goes on with it.
    fs::rename(whole.path("a/b"), whole.path("moved")).expect("moved");
    fs::write(part.path("late"), "x").expect("a write");
    assert!(whole.path("moved/late").exists());
}

#[test]
fn a_root_that_is_removed_elsewhere_stays_empty() {
    let Some((whole, part)) = two() else { return };
    fs::remove_dir(whole.path("a/b")).expect("removed");
    whole.block_on(reap(&whole.world.engine, &[&whole.vfs, &part.vfs]));
    let refused = fs::write(part.path("file"), "x").expect_err("it has no names");
    assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
    assert_eq!(fs::read_dir(part.root()).expect("a listing").count(), 0);
}

#[test]
fn what_is_no_directory_is_not_shown_as_a_root() {
    if !possible() {
        return;
    }
    let world = World::new();
    let whole = world.mount(&asking());
    fs::create_dir(whole.path("a")).expect("a directory");
    fs::write(whole.path("a/file"), "x").expect("a write");
    symlink("a", whole.path("link")).expect("a link");
    for (path, wrong, why) in [
        ("/none", "/none", "does not exist"),
        ("a/none/more", "/a/none", "does not exist"),
        ("/a/file", "/a/file", "not a directory"),
        ("/a/file/more", "/a/file", "not a directory"),
        ("/link", "/link", "symlink"),
        ("/a/..", "/a/..", ".."),
    ] {
        let error = world.mount_refused(&showing(path));
        assert!(
            matches!(error, MountError::Subdir { .. }),
            "{path}: {error}"
        );
        let text = error.to_string();
        assert!(text.contains(&format!("directory {wrong} of")), "{text}");
        assert!(text.contains(why), "{text}");
    }
    let same = world.mount(&showing("/"));
    assert!(same.path("a/file").exists(), "the volume's root is one too");
}
