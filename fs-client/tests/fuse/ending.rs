//! How a mount ends: by signals and unmounts, alone, together and in any order.

use crate::mounted::{Mounted, World, about, possible, signals};
use crate::twin;
use bytes::Bytes;
use fs_client::mount::{
    MountError, MountOptions, Serving, Signals, Told, UmountMode, curlew_mount_at,
};
use fs_client::vfs::{OpenHow, WriteHow};
use meta_core::ids::Ino;
use meta_core::name::Name;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// Nothing here takes nearly as long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

fn hasty() -> MountOptions {
    MountOptions {
        busy_grace: Duration::from_millis(50),
        ..MountOptions::default()
    }
}

/// A mount that would wait for its open files for ever.
fn patient() -> MountOptions {
    MountOptions {
        busy_grace: Duration::from_secs(3600),
        ..MountOptions::default()
    }
}

/// Serves to the end, which must come.
fn serve(mount: &Mounted, signals: Signals) -> Result<(), MountError> {
    let serve = mount.serving.serve(signals);
    let ended = mount.block_on(async { tokio::time::timeout(PATIENCE, serve).await });
    ended.expect("the mount ends")
}

/// Writes through the library, so that data waits that no file descriptor shows the kernel.
async fn write_unflushed(mount: &Mounted, data: &'static [u8]) {
    let name = Name::new("waiting").expect("a name");
    let how = OpenHow {
        write: true,
        ..OpenHow::default()
    };
    let create = mount.vfs.create(&twin::ROOT, Ino::ROOT, name, 0o644, how);
    let handle = create.await.expect("a file").handle;
    let data = Bytes::from_static(data);
    let write = WriteHow::default();
    let written = mount.vfs.write(handle, &twin::ROOT, 0, data, write);
    written.await.expect("taken in");
}

#[test]
fn a_signal_ends_a_mount_that_was_detached_before() {
    if !possible() {
        return;
    }
    let world = World::new();
    let mount = world.mount(&hasty());
    let mut file = File::create(mount.path("file")).expect("a file");
    file.write_all(b"written").expect("a write");
    mount.serving.unmount(UmountMode::Lazy).expect("detached");
    serve(&mount, signals(&[Told::Terminate])).expect("a clean end");
    // It was flushed although the file is still open.
    let other = world.mount(&MountOptions::default());
    assert_eq!(fs::read(other.path("file")).expect("a read"), b"written");
    drop(file);
}

#[test]
fn a_signal_ends_a_busy_mount_after_its_grace() {
    if !possible() {
        return;
    }
    let mount = World::new().mount(&hasty());
    let file = File::create(mount.path("file")).expect("a file");
    serve(&mount, signals(&[Told::HangUp])).expect("a clean end");
    assert_eq!(curlew_mount_at(mount.root()).expect("a table"), None);
    drop(file);
}

#[test]
fn a_second_signal_is_heard_while_a_busy_mount_is_left() {
    if !possible() {
        return;
    }
    let mount = World::new().mount(&patient());
    let mut file = File::create(mount.path("file")).expect("a file");
    file.write_all(b"lost").expect("a write");
    let told = [Told::Terminate, Told::HangUp, Told::Interrupt];
    let ended = serve(&mount, signals(&told));
    assert!(matches!(ended, Err(MountError::Abandoned(4))), "{ended:?}");
    drop(file);
}

#[test]
fn a_second_signal_gives_up_what_the_first_one_flushes() {
    if !possible() {
        return;
    }
    let mount = World::new().mount(&patient());
    let held = mount.session.clone();
    let gate = mount.block_on(async {
        write_unflushed(&mount, b"lost").await;
        held.gate.write().await
    });
    let ended = serve(&mount, signals(&[Told::Terminate, Told::Terminate]));
    assert!(matches!(ended, Err(MountError::Abandoned(4))), "{ended:?}");
    assert_eq!(curlew_mount_at(mount.root()).expect("a table"), None);
    drop(gate);
}

#[test]
fn the_first_signal_after_an_unmount_does_not_give_up_the_flush() {
    if !possible() {
        return;
    }
    let world = World::new();
    let mount = world.mount(&MountOptions::default());
    let held = mount.session.clone();
    let (sender, receiver) = mpsc::channel(1);
    mount.block_on(async {
        write_unflushed(&mount, b"kept").await;
        let gate = held.gate.write().await;
        mount.serving.unmount(UmountMode::Clean).expect("unmounted");
        mount.serving.ended().await.expect("a clean end");
        let flush = mount.serving.serve(Signals::from_channel(receiver));
        let told = async {
            sender.send(Told::Terminate).await.expect("it listens");
            // There is room again when the first was heard.
            sender.send(Told::HangUp).await.expect("it listens");
            sender.send(Told::HangUp).await.expect("it listens");
            drop(gate);
        };
        let both = async { tokio::join!(flush, told).0 };
        let ended = tokio::time::timeout(PATIENCE, both).await;
        ended.expect("it ends").expect("everything is stored");
    });
    drop(mount);
    let mount = world.mount(&MountOptions::default());
    assert_eq!(fs::read(mount.path("waiting")).expect("a read"), b"kept");
}

#[test]
fn a_mount_that_ends_leaves_a_new_one_at_its_path_alone() {
    if !possible() {
        return;
    }
    let world = World::new();
    let directory = tempfile::tempdir().expect("a directory");
    let old = world.mount_at(directory.path(), &hasty());
    fs::write(old.path("file"), "x").expect("a write");
    let mut file = File::open(old.path("file")).expect("a file");
    old.serving.unmount(UmountMode::Lazy).expect("detached");
    let new = world.mount_at(directory.path(), &MountOptions::default());
    let there = || curlew_mount_at(directory.path()).expect("a table");
    let entry = there().expect("the new mount");
    serve(&old, signals(&[Told::Terminate])).expect("a clean end");
    assert_eq!(there().as_ref(), Some(&entry));
    // Nor when the kernel lets go of the old one.
    let mut text = String::new();
    file.read_to_string(&mut text).expect("still readable");
    drop(file);
    old.block_on(old.serving.ended()).expect("a clean end");
    drop(old);
    assert_eq!(there().as_ref(), Some(&entry));
    assert_eq!(fs::read(new.path("file")).expect("a read"), b"x");
    drop(new);
    assert_eq!(there(), None);
}

#[test]
fn a_signal_before_the_mount_answers_leaves_nothing_behind() {
    if !possible() {
        return;
    }
    let world = World::new();
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let options = MountOptions::default();
    let started = runtime.block_on(async {
        let vfs_options = options.vfs(twin::BLOCK_BYTES);
        let (vfs, session) = twin::mount(&world.engine, &world.store, vfs_options);
        // The kernel's mount is made, and its first question is never answered.
        let gate = session.gate.write().await;
        let mut told = signals(&[Told::Interrupt]);
        let start = Serving::start(vfs, directory.path(), about(), &options, &mut told);
        let started = tokio::time::timeout(PATIENCE, start).await.expect("an end");
        drop(gate);
        started
    });
    assert!(
        matches!(started, Err(MountError::Interrupted(Told::Interrupt))),
        "{started:?}"
    );
    assert_eq!(curlew_mount_at(directory.path()).expect("a table"), None);
    fs::read_dir(directory.path()).expect("a plain directory again");
}
