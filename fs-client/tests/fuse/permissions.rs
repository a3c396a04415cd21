use crate::mounted::mounted;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a shell command as somebody; says whether it succeeded.
pub(crate) fn somebody(uid: u32, gid: u32, command: &str, path: &Path) -> bool {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).arg("sh").arg(path);
    // A process made by root loses root's supplementary groups here as well.
    shell.uid(uid).gid(gid);
    shell.stdout(Stdio::null()).stderr(Stdio::null());
    shell.status().expect("a shell").success()
}

/// The temporary directory lets nobody in but its owner.
fn let_in(mount: &crate::mounted::Mounted) {
    fs::set_permissions(mount.root(), Permissions::from_mode(0o777)).expect("chmod");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("metadata").mode() & 0o7777
}

#[test]
fn others_are_kept_out_by_mode_bits() {
    let Some(mount) = mounted() else { return };
    let_in(&mount);
    let path = mount.path("file");
    fs::write(&path, "secret").expect("a write");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("chmod");
    chown(&path, Some(1001), Some(2001)).expect("chown");
    assert!(
        somebody(1001, 9, "cat \"$1\" && echo x >> \"$1\"", &path),
        "the owner"
    );
    assert!(somebody(1002, 2001, "cat \"$1\"", &path), "the group reads");
    assert!(
        !somebody(1002, 2001, "echo x >> \"$1\"", &path),
        "the group does not write"
    );
    assert!(!somebody(1002, 9, "cat \"$1\"", &path), "others do nothing");
    assert!(
        !somebody(1002, 9, "chmod 777 \"$1\"", &path),
        "only the owner changes the mode"
    );
}

#[test]
fn a_program_may_be_executed_without_being_readable() {
    let Some(mount) = mounted() else { return };
    let_in(&mount);
    let path = mount.path("program");
    fs::copy("/bin/true", &path).expect("a copy");
    fs::set_permissions(&path, Permissions::from_mode(0o711)).expect("chmod");
    assert!(somebody(1001, 1001, "\"$1\"", &path));
    assert!(!somebody(1001, 1001, "cat \"$1\"", &path));
}

#[test]
fn set_id_bits_go_when_somebody_else_writes_or_truncates() {
    let Some(mount) = mounted() else { return };
    let_in(&mount);
    for command in ["echo x >> \"$1\"", ": > \"$1\""] {
        let path = mount.path("file");
        fs::write(&path, "data").expect("a write");
        fs::set_permissions(&path, Permissions::from_mode(0o6777)).expect("chmod");
        fs::write(&path, "data").expect("root's write");
        assert_eq!(mode(&path), 0o6777, "root keeps them");
        assert!(somebody(1001, 1001, command, &path));
        assert_eq!(mode(&path), 0o777, "{command}");
    }
}

#[test]
fn set_group_id_without_execution_goes_when_a_stranger_writes() {
    let Some(mount) = mounted() else { return };
    let_in(&mount);
    let path = mount.path("file");
    for command in ["echo x >> \"$1\"", ": > \"$1\""] {
        for (gid, left) in [(2001, 0o2767), (9, 0o767)] {
            fs::write(&path, "data").expect("a write");
            chown(&path, Some(1001), Some(2001)).expect("chown");
            fs::set_permissions(&path, Permissions::from_mode(0o2767)).expect("chmod");
            assert!(somebody(1002, gid, command, &path));
            assert_eq!(mode(&path), left, "{command} by one of group {gid}");
        }
    }
}

#[test]
fn new_files_belong_to_their_makers() {
    let Some(mount) = mounted() else { return };
    let_in(&mount);
    let dir = mount.path("dir");
    assert!(somebody(
        1001,
        2001,
        "umask 027; mkdir \"$1\"; echo x > \"$1/file\"",
        &dir
    ));
    let file = fs::metadata(dir.join("file")).expect("metadata");
    assert_eq!(
        (file.uid(), file.gid(), mode(&dir.join("file"))),
        (1001, 2001, 0o640)
    );
    assert_eq!(mode(&dir), 0o750);
    assert!(!somebody(1002, 9, "ls \"$1\"", &dir));
}

#[test]
fn supplementary_groups_count() {
    let Some(mount) = mounted() else { return };
    let_in(&mount);
    let dir = mount.path("dir");
    fs::create_dir(&dir).expect("a directory");
    fs::set_permissions(&dir, Permissions::from_mode(0o070)).expect("chmod");
    chown(&dir, Some(1001), Some(2002)).expect("chown");
    let make = |groups: &str, name: &str| {
        let mut program = Command::new("setpriv");
        program.args(["--reuid=1002", "--regid=9", groups, "touch"]);
        program.arg(dir.join(name)).stderr(Stdio::null());
        program.status().map(|status| status.success())
    };
    // The kernel lets a member in, and so must the engine, which asks for itself.
    match make("--groups=5,2002,7", "member") {
        Ok(made) => assert!(made),
        Err(error) => {
            writeln!(std::io::stderr(), "SKIPPED: no setpriv: {error}").expect("stderr");
            let all = std::env::var_os("CURLEW_TEST_ALL");
            assert!(all.is_none(), "every test must run here");
            return;
        }
    }
    assert!(!make("--groups=5,7", "stranger").expect("setpriv"));
}
