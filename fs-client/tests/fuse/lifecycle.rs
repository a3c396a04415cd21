use crate::mounted::{World, about, mounted, possible, signals};
use fs_client::mount::{MountError, MountOptions, Serving, UmountMode, curlew_mount_at, umount};
use std::fs::{self, File};

#[test]
fn the_kernel_knows_it_as_a_mount_of_curlew() {
    let Some(mount) = mounted() else { return };
    let entry = curlew_mount_at(mount.root())
        .expect("a table")
        .expect("a mount");
    assert_eq!(
        (entry.kind.as_str(), entry.source.as_str()),
        ("fuse.curlew", "curlew:twin")
    );
    assert_eq!(curlew_mount_at("/proc".as_ref()).expect("a table"), None);
}

#[test]
fn a_mount_point_in_use_is_refused() {
    let Some(mount) = mounted() else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = MountOptions::default();
    let vfs = mount.vfs.clone();
    let mut signals = signals(&[]);
    let start = Serving::start(vfs, mount.root(), about(), &options, &mut signals);
    let second = runtime.block_on(start);
    assert!(
        matches!(second, Err(MountError::AlreadyMounted { .. })),
        "{second:?}"
    );
}

#[test]
fn a_busy_mount_stays_unless_it_may_be_detached() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("file"), "x").expect("a write");
    let file = File::open(mount.path("file")).expect("a file");
    let busy = umount(mount.root(), UmountMode::Clean);
    assert!(matches!(busy, Err(MountError::InUse(_))), "{busy:?}");
    assert_eq!(fs::read(mount.path("file")).expect("still there"), b"x");
    drop(file);
    mount.unmount().expect("not busy any more");
    let again = umount(mount.root(), UmountMode::Clean);
    assert!(matches!(again, Err(MountError::NotCurlew(_))), "{again:?}");
}

#[test]
fn an_unmount_from_outside_ends_the_service() {
    if !possible() {
        return;
    }
    let world = World::new();
    let mount = world.mount(&MountOptions::default());
    fs::write(mount.path("file"), "x").expect("a write");
    mount.unmount().expect("unmounted");
    mount.block_on(mount.serving.ended()).expect("a clean end");
    drop(mount);
    let mount = world.mount(&MountOptions::default());
    assert_eq!(fs::read(mount.path("file")).expect("a read"), b"x");
}

#[test]
fn a_read_only_mount_refuses_changes() {
    if !possible() {
        return;
    }
    let world = World::new();
    let writable = world.mount(&MountOptions::default());
    fs::write(writable.path("file"), "x").expect("a write");
    let mount = world.mount(&MountOptions {
        read_only: true,
        ..MountOptions::default()
    });
    assert_eq!(fs::read(mount.path("file")).expect("a read"), b"x");
    let refused = fs::write(mount.path("file"), "y").expect_err("read-only");
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let refused = fs::remove_file(mount.path("file")).expect_err("read-only");
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn the_mount_waits_for_its_engine_and_then_goes_on() {
    let Some(mount) = mounted() else { return };
    // What a leader's death looks like from here: operations take longer, none fails.
    let root = mount.root().to_owned();
    let writer = std::thread::spawn(move || {
        for index in 0..100 {
            fs::write(root.join(index.to_string()), index.to_string()).expect("a write");
        }
    });
    let held = mount.session.clone();
    let gate = mount.block_on(held.gate.write());
    std::thread::sleep(std::time::Duration::from_millis(300));
    drop(gate);
    writer.join().expect("no operation failed");
    assert_eq!(fs::read(mount.path("99")).expect("a read"), b"99");
}
