use crate::mounted::{Mounted, World, possible};
use crate::permissions::somebody;
use fs_client::mount::{Ids, MountOptions, Squash};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const IDS: Ids = Ids {
    uid: 1007,
    gid: 2007,
};

/// A mount where everybody is who it is, and one where `squash` holds. All may write to the root.
fn two(squash: Squash) -> Option<(Mounted, Mounted)> {
    possible().then(|| {
        let plain = World::new().mount(&MountOptions::default());
        let open = Permissions::from_mode(0o777);
        fs::set_permissions(plain.root(), open).expect("chmod");
        let squashed = plain.world.mount(&MountOptions {
            squash,
            ..MountOptions::default()
        });
        (plain, squashed)
    })
}

fn owner(path: &Path) -> (u32, u32) {
    let data = fs::metadata(path).expect("metadata");
    (data.uid(), data.gid())
}

fn owned(path: &Path, mode: u32, uid: u32, gid: u32) {
    fs::write(path, "data").expect("a write");
    chown(path, Some(uid), Some(gid)).expect("chown");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

fn is_denied<T: std::fmt::Debug>(result: std::io::Result<T>) {
    let error = result.expect_err("denied");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
}

#[test]
fn root_is_taken_for_another_user_and_others_are_not() {
    let Some((plain, squashed)) = two(Squash::Root(IDS)) else {
        return;
    };
    fs::write(squashed.path("new"), "x").expect("a write");
    fs::create_dir(squashed.path("dir")).expect("a directory");
    let made = (IDS.uid, IDS.gid);
    assert_eq!(
        (owner(&plain.path("new")), owner(&plain.path("dir"))),
        (made, made)
    );
    owned(&plain.path("others"), 0o600, 1001, 1001);
    is_denied(fs::read(squashed.path("others")));
    is_denied(fs::write(squashed.path("others"), "x"));
    is_denied(chown(squashed.path("new"), Some(0), Some(0)));
    is_denied(fs::set_permissions(
        squashed.path("others"),
        Permissions::from_mode(0o666),
    ));
    owned(&plain.path("own"), 0o600, IDS.uid, IDS.gid);
    assert_eq!(fs::read(squashed.path("own")).expect("a read"), b"data");
    fs::set_permissions(squashed.path("own"), Permissions::from_mode(0o640)).expect("its own");
    assert!(somebody(
        1001,
        1001,
        "cat \"$1\"; echo x >> \"$1\"",
        &squashed.path("others")
    ));
    assert!(!somebody(
        1002,
        1002,
        "cat \"$1\"",
        &squashed.path("others")
    ));
}

#[test]
fn root_does_not_pass_where_somebody_else_has_just_passed() {
    let Some((plain, squashed)) = two(Squash::Root(IDS)) else {
        return;
    };
    let dir = plain.path("private");
    fs::create_dir(&dir).expect("a directory");
    owned(&dir.join("file"), 0o644, 1001, 1001);
    chown(&dir, Some(1001), Some(1001)).expect("chown");
    fs::set_permissions(&dir, Permissions::from_mode(0o700)).expect("chmod");
    let file = squashed.path("private/file");
    for _ in 0..20 {
        assert!(somebody(1001, 1001, "cat \"$1\"", &file), "its owner");
        is_denied(fs::read(&file));
        is_denied(fs::metadata(&file));
    }
    is_denied(fs::read_dir(squashed.path("private")));
}

#[test]
fn set_id_bits_go_when_root_that_is_another_user_writes() {
    let Some((plain, squashed)) = two(Squash::Root(IDS)) else {
        return;
    };
    owned(&plain.path("program"), 0o6777, 1001, 1001);
    fs::write(squashed.path("program"), "new").expect("all may write");
    let mode = fs::metadata(plain.path("program"))
        .expect("metadata")
        .mode();
    assert_eq!(mode & 0o7777, 0o777);
}

#[test]
fn all_are_taken_for_one_user() {
    let Some((plain, squashed)) = two(Squash::All(IDS)) else {
        return;
    };
    let made = (IDS.uid, IDS.gid);
    fs::write(squashed.path("by-root"), "x").expect("a write");
    let by_other = squashed.path("by-other");
    assert!(somebody(
        1001,
        1001,
        "umask 077; echo x > \"$1\"",
        &by_other
    ));
    assert_eq!(owner(&plain.path("by-root")), made);
    assert_eq!(owner(&plain.path("by-other")), made);
    // Each may do what that user may, also where the kernel would refuse it.
    assert!(somebody(
        1002,
        1002,
        "cat \"$1\"; echo y >> \"$1\"",
        &by_other
    ));
    assert!(somebody(
        1002,
        1002,
        "chmod 700 \"$1\"; test -x \"$1\"; test -w \"$1\"",
        &by_other
    ));
    assert!(somebody(
        1002,
        1002,
        "mkdir -m 700 \"$1\"; cd \"$1\"; touch in",
        &squashed.path("dir")
    ));
    // And nobody more.
    owned(&plain.path("others"), 0o640, 1001, 1001);
    let others = squashed.path("others");
    is_denied(fs::read(&others));
    for command in [
        "cat \"$1\"",
        "test -r \"$1\"",
        "chmod 666 \"$1\"",
        "echo x > \"$1\"",
    ] {
        assert!(!somebody(1001, 1001, command, &others), "{command}");
    }
    let private = plain.path("private");
    fs::create_dir(&private).expect("a directory");
    fs::set_permissions(&private, Permissions::from_mode(0o700)).expect("chmod");
    assert!(!somebody(0, 0, "cd \"$1\"", &squashed.path("private")));
    assert!(!somebody(
        1001,
        1001,
        "ls \"$1\"",
        &squashed.path("private")
    ));
}

#[test]
fn a_program_is_executed_by_the_user_that_all_are_taken_for() {
    let Some((plain, squashed)) = two(Squash::All(IDS)) else {
        return;
    };
    for (mode, uid, runs) in [
        (0o700, IDS.uid, true),
        (0o700, 1001, false),
        (0o711, 1001, true),
    ] {
        let program = plain.path("program");
        fs::copy("/bin/true", &program).expect("a copy");
        chown(&program, Some(uid), Some(uid)).expect("chown");
        fs::set_permissions(&program, Permissions::from_mode(mode)).expect("chmod");
        let run = somebody(1001, 1001, "\"$1\"", &squashed.path("program"));
        assert_eq!(run, runs, "{mode:o} of {uid}");
    }
}

#[test]
fn only_root_of_the_machine_sees_what_all_do() {
    let Some((_plain, squashed)) = two(Squash::All(IDS)) else {
        return;
    };
    let log = squashed.path(".accesslog");
    assert!(somebody(0, 0, "head -c 1 \"$1\"", &log));
    assert!(!somebody(1001, 1001, "head -c 1 \"$1\"", &log));
    assert!(somebody(1001, 1001, "cat \"$1\"", &squashed.path(".stats")));
}
