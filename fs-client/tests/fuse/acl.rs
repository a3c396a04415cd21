//! POSIX ACLs, beside those of tmpfs: the same commands in both, and all that they print.

use crate::mounted::{Mounted, World, possible};
use crate::permissions::somebody;
use fs_client::mount::{Ids, MountOptions, Squash};
use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What every script begins with: `as USER COMMAND...` says whether a user may do something, `acl`
/// and `mode` show a file's, and `must` says what comes of a command as root.
const WORDS: &str = r#"
as() {
    who=$1; shift
    if setpriv --reuid "${who%:*}" --regid "${who#*:}" --clear-groups "$@" >/dev/null 2>&1 </dev/null
    then echo "$who may $*"; else echo "$who may not $*"; fi
}
acl() { getfacl -n "$@" 2>&1; }
mode() { stat -c '%n %a %u %g' "$@"; }
must() { if "$@" >/dev/null 2>&1; then echo "done $*"; else echo "refused $*"; fi; }
may() { for who in 1000:100 1001:200 1002:300 1003:400; do
    as $who cat "$1"; as $who sh -c "exec 3>>$1"; as $who test -x "$1"; as $who test -w "$1"; done; }
umask 022
"#;

/// The directory of a mount, and one of another file system.
struct Pair {
    mount: Mounted,
    other: tempfile::TempDir,
}

impl Drop for Pair {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.other.path()).status();
        let gone = unmounted.is_ok_and(|status| status.success());
        if !std::thread::panicking() {
            assert!(gone, "tmpfs is not unmounted");
        }
    }
}

fn tools() -> bool {
    let missing = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    let missing: Vec<&str> = ["setfacl", "getfacl", "setpriv"]
        .into_iter()
        .filter(missing)
        .collect();
    if missing.is_empty() {
        return possible();
    }
    writeln!(std::io::stderr(), "SKIPPED: no {missing:?}").expect("stderr");
    let all = std::env::var_os("CURLEW_TEST_ALL");
    assert!(all.is_none(), "every test must run here");
    false
}

fn pair() -> Option<Pair> {
    tools().then(|| {
        let other = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "tmpfs"])
            .arg(other.path())
            .status();
        assert!(mounted.expect("mount").success(), "no tmpfs");
        let mount = World::new().mount(&MountOptions::default());
        let pair = Pair { mount, other };
        for root in pair.roots() {
            fs::set_permissions(root, Permissions::from_mode(0o777)).expect("chmod");
        }
        pair
    })
}

fn printed(dir: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", &format!("{WORDS}{script}")])
        .current_dir(dir)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.is_empty(), "{said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Pair {
    fn roots(&self) -> [PathBuf; 2] {
        [self.mount.root().to_owned(), self.other.path().to_owned()]
    }

    /// What a script prints, in both the same.
    fn same(&self, script: &str) -> String {
        let [here, there] = self.roots().map(|root| printed(&root, script));
        assert_eq!(here, there, "{script}");
        here
    }
}

#[test]
fn named_users_and_groups_may_what_their_entries_and_the_mask_say() {
    let Some(pair) = pair() else { return };
    let printed = pair.same(
        r#"
        echo data > f; chown 1000:100 f; chmod 640 f
        must setfacl -m u:1001:rw f; acl f; mode f; may f
        must setfacl -m g:300:r-x,m::rx f; acl f; mode f; may f
        must setfacl -m m::r f; acl f; mode f; may f
        must setfacl -m u:1001:---,g:300:rwx,g:400:r,m::rwx,o::rwx f; acl f; mode f; may f
        must setfacl -m g::--- f; acl f; mode f; may f
        chmod 604 f; acl f; mode f; may f
        chmod 660 f; acl f; mode f; may f
        chown 1002:400 f; acl f; mode f; may f
        must setfacl -x u:1001 f; acl f; may f
        must setfacl -b f; acl f; mode f; may f
        "#,
    );
    assert!(printed.contains("1001:200 may cat f"), "{printed}");
    assert!(printed.contains("user:1001:rw-"), "{printed}");
    assert!(printed.contains("1001:200 may not cat f"), "{printed}");
}

#[test]
fn directories_hand_their_default_acl_on_and_the_umask_stays_out() {
    let Some(pair) = pair() else { return };
    let printed = pair.same(
        r#"
        mkdir d; chmod 755 d; umask 077
        must setfacl -d -m u::rwx,u:1001:rwx,g::r-x,g:300:rw,o::r d; acl d
        touch d/f; mkdir d/s d/s/t; mkfifo d/p; ln -s f d/l; (umask 0; touch d/g); mkdir -m 750 d/m
        echo x > d/s/t/n
        acl d/f d/s d/s/t d/p d/g d/m d/s/t/n; mode d/f d/s d/s/t d/p d/l d/g d/m d/s/t/n
        may d/f; as 1001:9 ls d/s; as 1001:9 touch d/s/t/x; as 1002:300 touch d/s/y; as 1003:9 ls d/m
        # Three entries alone are handed on as modes.
        mkdir e; must setfacl -d -m u::rwx,g::rwx,o::--- e; acl e
        touch e/f; mkdir e/s; acl e/f e/s; mode e/f e/s
        must setfacl -k e; acl e; touch e/g; mkdir e/t; mode e/g e/t; acl e/t
        # A set-group-id directory does both.
        mkdir g; chown 0:300 g; chmod 2775 g; must setfacl -d -m u:1001:rwx g; mkdir g/s; acl g/s; mode g/s
        "#,
    );
    assert!(printed.contains("default:user:1001:rwx"), "{printed}");
}

#[test]
fn directories_are_searched_and_changed_by_their_acl() {
    let Some(pair) = pair() else { return };
    pair.same(
        r#"
        mkdir -p d/e; echo x > d/e/f; chmod 700 d d/e; chmod 644 d/e/f
        as 1001:200 cat d/e/f
        must setfacl -m u:1001:x d; must setfacl -m g:200:rx d/e
        as 1001:200 cat d/e/f; as 1001:200 ls d; as 1001:200 ls d/e; as 1001:200 touch d/e/g
        as 1002:200 cat d/e/f; as 1002:200 stat d/e
        must setfacl -m u:1001:rwx d/e
        as 1001:200 touch d/e/g; as 1001:200 mv d/e/g d/e/h; as 1001:200 mkdir d/e/i; as 1001:200 mv d/e/i d/j
        as 1001:200 ln d/e/f d/e/k; as 1001:200 rm d/e/h d/e/k
        chmod g-w d/e; acl d/e; as 1001:200 touch d/e/l; as 1001:200 rm -f d/e/f
        chmod +t d/e; chmod g+w d/e; as 1001:200 rm -f d/e/f
        as 1001:200 touch -m d/e/f; must setfacl -m u:1001:rw d/e/f; as 1001:200 touch -m d/e/f
        as 1001:200 touch -d 2001-01-01 d/e/f; as 1001:200 truncate -s 0 d/e/f
        "#,
    );
}

/// An entry that names nobody.
const NONE: u32 = u32::MAX;
const USER: (u16, u16, u32) = (1, 7, NONE);
const GROUP: (u16, u16, u32) = (4, 5, NONE);
const MASK: (u16, u16, u32) = (16, 7, NONE);
const OTHER: (u16, u16, u32) = (32, 4, NONE);

/// An ACL as the kernel encodes it.
fn value(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, granted, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(granted.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

/// Values of ACLs, most of which make no sense.
fn values() -> Vec<Vec<u8>> {
    let mut third = value(&[USER, GROUP, OTHER]);
    third[0] = 3;
    vec![
        Vec::new(),
        value(&[]),
        value(&[USER, GROUP, OTHER]),
        value(&[USER, GROUP]),
        value(&[GROUP, USER, OTHER]),
        value(&[USER, (2, 7, 5), GROUP, OTHER]),
        value(&[USER, (2, 7, 5), GROUP, (16, 9, NONE), OTHER]),
        value(&[USER, (2, 7, 5), (2, 7, 6), GROUP, MASK, OTHER]),
        value(&[USER, (3, 7, 5), GROUP, MASK, OTHER]),
        value(&[USER, GROUP, OTHER])[..19].to_vec(),
        vec![2, 0, 0],
        third,
    ]
}

#[test]
fn only_the_owner_sets_acls_and_nonsense_is_refused() {
    let Some(pair) = pair() else { return };
    pair.same(
        r#"
        echo x > f; chown 1000:100 f; chmod 666 f; mkdir d; chown 1000:100 d; chmod 777 d; ln -s f l
        as 1001:200 setfacl -m u:1001:rwx f; as 1000:100 setfacl -m u:1001:rwx f; acl f
        as 1001:200 setfacl -d -m u:1001:rwx d; as 1000:100 setfacl -d -m u:1001:rwx d; acl d
        as 1001:200 setfacl -b f; as 1001:200 setfacl -k d; acl f d
        must setfacl -d -m u:1001:rwx f; must setfacl -P -m u:1001:rwx l
        # The group's set-id bit goes if who sets an ACL is not of the group.
        chmod 2755 f; mode f; as 1000:9 setfacl -m u:1002:r f; mode f
        chmod 2755 f; as 1000:100 setfacl -m u:1002:rx f; mode f; setfacl -m u:1003:r f; mode f
        "#,
    );
    let names = [
        "system.posix_acl_access",
        "system.posix_acl_default",
        "system.other",
    ];
    let cases = names
        .into_iter()
        .flat_map(|name| ["f", "d", "l"].map(|file| (name, file)));
    for (name, file) in cases {
        let [here, there] = &pair.roots().map(|root| root.join(file));
        for value in values() {
            let set = |path| setxattr(path, name, &value, XattrFlags::empty());
            assert_eq!(set(here), set(there), "{name} of {file}: {value:?}");
        }
        let kept = [here, there].map(|path| {
            let mut kept = [0; 200];
            let got = getxattr(path, name, &mut kept[..]);
            (got, kept)
        });
        assert_eq!(kept[0], kept[1], "{name} of {file}");
        for _ in 0..2 {
            let [here, there] = [here, there].map(|path| removexattr(path, name));
            assert_eq!(here, there, "{name} of {file}");
        }
    }
}

#[test]
fn an_acl_has_as_many_entries_as_the_kernel_hands_over() {
    let Some(mount) = tools().then(|| World::new().mount(&MountOptions::default())) else {
        return;
    };
    fs::set_permissions(mount.root(), Permissions::from_mode(0o755)).expect("chmod");
    let path = mount.path("f");
    fs::write(&path, "data").expect("a write");
    let set = |names: u32| {
        let mut entries = vec![USER];
        entries.extend((0..names).map(|id| (2, 4, id)));
        entries.extend([GROUP, MASK, OTHER]);
        let value = value(&entries);
        setxattr(
            &path,
            "system.posix_acl_access",
            &value,
            XattrFlags::empty(),
        )
    };
    assert_eq!(set(508), Err(Errno::TOOBIG));
    assert_eq!(set(507), Ok(()));
    fs::set_permissions(&path, Permissions::from_mode(0o770)).expect("chmod");
    assert!(somebody(300, 9, "cat \"$1\"", &path), "a named user");
    assert!(!somebody(600, 9, "cat \"$1\"", &path), "another");
}

#[test]
fn an_acl_that_one_mount_sets_the_other_obeys_at_once() {
    if !tools() {
        return;
    }
    // Without leases, as here, only what the kernel keeps no time at all is asked for anew.
    let options = MountOptions {
        entry_ttl: Duration::ZERO,
        ..MountOptions::default()
    };
    let world = World::new();
    let (one, other) = (world.mount(&options), world.mount(&options));
    fs::set_permissions(one.root(), Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir(one.path("d")).expect("a directory");
    fs::set_permissions(one.path("d"), Permissions::from_mode(0o700)).expect("chmod");
    fs::write(one.path("d/f"), "data").expect("a write");
    fs::set_permissions(one.path("d/f"), Permissions::from_mode(0o600)).expect("chmod");
    let set = |mount: &Mounted, acl: &str, file: &str| {
        let set = Command::new("setfacl")
            .args(["-m", acl])
            .arg(mount.path(file))
            .status();
        assert!(set.expect("setfacl").success(), "{acl} of {file}");
    };
    let reads = |mount: &Mounted| somebody(1001, 9, "cat \"$1\"", &mount.path("d/f"));
    for round in 0..20 {
        let (setter, reader) = if round % 2 == 0 {
            (&one, &other)
        } else {
            (&other, &one)
        };
        assert!(!reads(reader), "round {round}");
        set(setter, "u:1001:x", "d");
        assert!(!reads(reader), "round {round}");
        set(setter, "g:9:r", "d/f");
        assert!(reads(reader), "round {round}");
        set(setter, "m::---", "d/f");
        assert!(!reads(reader), "round {round}");
        set(setter, "m::r", "d/f");
        assert!(reads(reader) && reads(setter), "round {round}");
        // The mode is the mask.
        fs::set_permissions(setter.path("d"), Permissions::from_mode(0o700)).expect("chmod");
        for mount in [reader, setter] {
            let shown = printed(mount.root(), "acl d d/f; mode d d/f");
            assert!(!reads(mount), "round {round}: {shown}");
        }
        for file in ["d", "d/f"] {
            let gone = removexattr(setter.path(file), "system.posix_acl_access");
            gone.expect("removed");
        }
        fs::set_permissions(setter.path("d/f"), Permissions::from_mode(0o600)).expect("chmod");
    }
}

#[test]
fn who_is_taken_for_somebody_else_is_checked_by_that_users_entries() {
    if !tools() {
        return;
    }
    let ids = Ids {
        uid: 1007,
        gid: 2007,
    };
    let plain = World::new().mount(&MountOptions::default());
    fs::set_permissions(plain.root(), Permissions::from_mode(0o777)).expect("chmod");
    for (name, acl) in [
        ("shut", "u:1007:---,g::rwx"),
        ("open", "u:1007:rwx"),
        ("read", "g:2007:r"),
    ] {
        fs::write(plain.path(name), "#!/bin/sh\n").expect("a write");
        fs::set_permissions(plain.path(name), Permissions::from_mode(0o700)).expect("chmod");
        chown(plain.path(name), Some(1001), Some(2007)).expect("chown");
        let set = Command::new("setfacl")
            .args(["-m", acl])
            .arg(plain.path(name))
            .status();
        assert!(set.expect("setfacl").success(), "{name}");
    }
    for (squash, uid) in [
        (Squash::Root(ids), 0),
        (Squash::All(ids), 0),
        (Squash::All(ids), 1002),
    ] {
        let squashed = plain.world.mount(&MountOptions {
            squash,
            ..MountOptions::default()
        });
        let may = |command: &str, name: &str| somebody(uid, uid, command, &squashed.path(name));
        let each = ["shut", "open", "read"].map(|name| {
            (
                may("cat \"$1\"", name),
                may("echo >> \"$1\"", name),
                may("\"$1\"", name),
            )
        });
        let expected = [(false, false), (true, true), (true, false)];
        assert_eq!(
            each.map(|(read, write, _)| (read, write)),
            expected,
            "{squash:?}, {uid}"
        );
        if matches!(squash, Squash::All(_)) {
            // access(2) says the same.
            let asked = ["shut", "open", "read"].map(|name| {
                (
                    may("test -r \"$1\"", name),
                    may("test -w \"$1\"", name),
                    may("test -x \"$1\"", name),
                )
            });
            let expected = [
                (false, false, false),
                (true, true, true),
                (true, false, false),
            ];
            assert_eq!(asked, expected, "{squash:?}, {uid}");
            assert_eq!(
                each.map(|(_, _, run)| run),
                [false, true, false],
                "{squash:?}, {uid}"
            );
        }
    }
}

#[test]
fn listings_show_acls_to_whoever_asks() {
    let Some(pair) = pair() else { return };
    pair.same(
        r#"
        mkdir d; touch d/a d/b d/c; setfacl -m u:1001:r d/b; setfacl -d -m u:1001:r d
        ls -lR d | awk '{print $1, $NF}' | grep -v total
        as 1001:9 getfacl d/b; setpriv --reuid 1001 --regid 9 --clear-groups getfacl -n d/b d
        getfattr -m - d d/a d/b d/c | sort
        cp -a d e; acl e e/a e/b e/c; rm -r d; mv e d; acl d d/a d/b d/c; mode d d/a d/b d/c
        "#,
    );
    let path = pair.mount.path("d/b");
    let meta = fs::metadata(&path).expect("metadata");
    assert_eq!(meta.mode() & 0o7777, 0o644);
}
