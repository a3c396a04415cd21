//! POSIX ACLs on real mounts: what programs make of them is what they make of them on ext4; what one mount
//! sets the other obeys at once, also when the leader dies.

use jepsen::alone::beside_others;
use jepsen::cluster::{Cluster, ClusterOptions};
use jepsen::fuse::{skip, skip_unless_fuse};
use jepsen::loop_image::{Kind, LoopImage, loop_missing};
use jepsen::mount::Mount;
use rustix::fs::removexattr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn missing() -> Option<String> {
    let tools = ["setfacl", "getfacl", "rsync", "setpriv"];
    let absent = |tool: &&str| Command::new(tool).arg("--version").output().is_err();
    let absent: Vec<&str> = tools.into_iter().filter(absent).collect();
    if absent.is_empty() {
        loop_missing()
    } else {
        Some(format!("there is no {absent:?}"))
    }
}

/// A cluster whose volume may have ACLs.
async fn cluster(name: &str) -> Cluster {
    let options = ClusterOptions::new(name, 3);
    let cluster = Cluster::start(options).await.expect("a cluster");
    cluster.format("vol").await.expect("a volume");
    cluster.raised("vol", PATIENCE).await.expect("raised");
    cluster
}

fn mount(cluster: &Cluster, name: &str) -> Mount {
    let log = cluster.dir().join(format!("{name}.log"));
    Mount::start(&cluster.url("vol"), &cluster.dir().join(name), &log, &[]).expect("mounted")
}

/// What a shell prints in a directory, with another one as `$1`. Names are relative: no user needs to
/// reach the directory from the root.
fn printed(dir: &Path, other: &Path, script: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(other)
        .current_dir(dir)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.is_empty() && output.status.success(),
        "{script}: {said}"
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const TREE: &str = r#"
set -e; umask 027
mkdir d; cd d
setfacl -m u:1001:rwx,g:300:r-x . ; setfacl -d -m u:1001:rwx,g:300:r-X,o::- .
mkdir -p sub/deep; echo one > one; echo two > sub/two; echo three > sub/deep/three
chmod 4755 one; setfacl -m u:1002:r sub/two; setfacl -b sub/deep/three; ln one sub/link; ln -s one soft
setfattr -n user.note -v hello sub/two; chown 1000:100 sub sub/two; setfacl -m m::r sub
"#;

const SHOW: &str = r#"
for file in . one sub sub/two sub/link sub/deep sub/deep/three; do
    getfacl -n $file; stat -c '%n %a %u %g %h %F' $file; [ -d $file ] || wc -c < $file; getfattr -d $file; done
for user in 1000:100 1001:200 1002:300 1003:400; do for file in one sub/two sub/deep/three; do
    setpriv --reuid ${user%:*} --regid ${user#*:} --clear-groups cat $file 2>/dev/null || echo $user may not read $file
    setpriv --reuid ${user%:*} --regid ${user#*:} --clear-groups sh -c "exec 2>/dev/null; : >> $file" || echo $user may not write $file
done; done
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_copy_acls_as_on_ext4() {
    let test = "programs_copy_acls_as_on_ext4";
    if skip_unless_fuse(test) {
        return;
    }
    if let Some(why) = missing() {
        return skip(test, &why);
    }
    let _turn = beside_others().expect("the turn");
    let cluster = cluster("acl-copies").await;
    let point = cluster.dir().join("ext4");
    let _image = LoopImage::new(Kind::Ext4, cluster.dir(), &point).expect("an image");
    let mount = mount(&cluster, "curlew");
    let roots = [mount.path().to_owned(), point];
    for root in &roots {
        fs::set_permissions(root, Permissions::from_mode(0o755)).expect("chmod");
    }
    let same = |script: &str| {
        let [here, there] = [0, 1].map(|at| printed(&roots[at], &roots[1 - at], script));
        assert_eq!(here, there, "{script}");
        here
    };
    same(TREE);
    let shown = same(&format!("cd d\n{SHOW}"));
    assert!(shown.contains("default:user:1001:rwx"), "{shown}");
    // Within the file system, and from the one into the other.
    for copy in [
        "cp -a d copied",
        "rsync -aHAX d/ copied",
        "cp -a \"$1/d\" copied",
        "rsync -aHAX \"$1/d/\" copied",
        "mkdir copied; tar -C d --acls --xattrs -cf - . | tar -C copied --acls --xattrs -xpf -",
    ] {
        let copied = same(&format!("{copy}; cd copied\n{SHOW}"));
        assert_eq!(copied, shown, "{copy}");
        same("rm -r copied");
    }
    same(
        "getfacl -nR --absolute-names d/sub/two > list; setfacl -b d/sub/two; setfacl --restore=list; rm list",
    );
    assert_eq!(same(&format!("cd d\n{SHOW}")), shown, "restored");
    mount.unmount().expect("unmounted");
}

/// Whether a user may read `d/f`, by the shell's word.
fn reads(mount: &Path) -> bool {
    let script = "setpriv --reuid 1001 --regid 9 --clear-groups cat d/f 2>/dev/null || echo no";
    match printed(mount, mount, script).as_str() {
        "data" => true,
        "no\n" => false,
        other => panic!("{other}"),
    }
}

fn set(mount: &Path, acl: &str, file: &str) {
    printed(mount, mount, &format!("setfacl -m {acl} {file}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acl_that_one_mount_sets_the_other_has_leases_on_is_obeyed_at_once() {
    let test = "an_acl_that_one_mount_sets_the_other_has_leases_on_is_obeyed_at_once";
    if skip_unless_fuse(test) {
        return;
    }
    if let Some(why) = missing() {
        return skip(test, &why);
    }
    let _turn = beside_others().expect("the turn");
    let mut cluster = cluster("acl-leases").await;
    let mounts = [mount(&cluster, "one"), mount(&cluster, "other")];
    let [one, other] = mounts.each_ref().map(Mount::path);
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    };
    mode(one, 0o755);
    fs::create_dir(one.join("d")).expect("a directory");
    mode(&one.join("d"), 0o700);
    fs::write(one.join("d/f"), "data").expect("a write");
    mode(&one.join("d/f"), 0o600);
    let mut killed = None;
    for round in 0..30 {
        let (setter, reader) = if round % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        if round == 20 {
            let leader = cluster.leader(PATIENCE).await.expect("a leader");
            cluster
                .node(leader)
                .expect("a node")
                .kill()
                .expect("killed");
            killed = Some(leader);
        }
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
        mode(&setter.join("d"), 0o700);
        assert!(!reads(reader) && !reads(setter), "round {round}");
        for file in ["d", "d/f"] {
            let gone = removexattr(setter.join(file), "system.posix_acl_access");
            gone.expect("removed");
        }
        mode(&setter.join("d/f"), 0o600);
    }
    for mount in mounts {
        mount.unmount().expect("unmounted");
    }
    let killed = killed.expect("a leader was");
    cluster
        .node(killed)
        .expect("a node")
        .start()
        .expect("started");
    cluster.wait_ready(PATIENCE).await.expect("ready");
    cluster
        .digests_equal(PATIENCE)
        .await
        .expect("equal digests");
    cluster.check_stores(PATIENCE).await.expect("sound stores");
}
