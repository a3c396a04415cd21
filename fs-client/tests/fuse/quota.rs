//! Limits as programs meet them.

use crate::mounted::{Mounted, World, mounted, possible, until};
use fs_client::mount::MountOptions;
use meta_core::attr::Caller;
use meta_core::command::CommandBody;
use meta_core::ids::Ino;
use meta_core::outcome::{Outcome, Success};
use meta_core::query::{Answer, QueryBody};
use meta_core::quota::{Limit, Subject};
use rustix::fs::{StatVfs, statvfs};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn limit(mount: &Mounted, subject: Subject, bytes: Option<u64>, inodes: Option<u64>) {
    let engine = &mount.world.engine;
    let body = CommandBody::SetQuota {
        caller: Caller::root(),
        subject,
        limit: Limit { bytes, inodes },
    };
    let ended = engine.command(engine.volume(), body).outcome;
    assert_eq!(ended, Outcome::Done(Success::Done));
    let count = CommandBody::CountFiles { files_max: 256 };
    while let Outcome::Done(Success::Maintained { more: true, .. }) =
        engine.command(engine.volume(), count.clone()).outcome
    {}
}

fn limit_directory(mount: &Mounted, path: &Path, bytes: Option<u64>, inodes: Option<u64>) {
    let ino = fs::metadata(path).expect("a directory").ino();
    limit(mount, Subject::Directory(Ino(ino)), bytes, inodes);
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Writes until it is stored or told that it is not.
fn store(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

#[test]
fn writes_stop_at_a_directory_s_limit_and_go_on_below_it() {
    let Some(mount) = mounted() else { return };
    fs::create_dir(mount.path("dir")).expect("a directory");
    limit_directory(&mount, &mount.path("dir"), Some(100 << 10), None);
    let mut file = File::create(mount.path("dir/file")).expect("a file");
    store(&mut file, &[1; 100 << 10]).expect("it fits");
    let past = store(&mut file, &[2; 1]);
    assert_eq!(kind(past), Some(ErrorKind::QuotaExceeded));
    drop(file);
    let stored = fs::read(mount.path("dir/file")).expect("a read");
    assert_eq!(stored, vec![1; 100 << 10], "what was told to be stored is");
    // Elsewhere there is room; and here again once something went.
    fs::write(mount.path("beside"), [3; 200 << 10]).expect("no limit there");
    let moved = fs::rename(mount.path("beside"), mount.path("dir/beside"));
    assert_eq!(kind(moved), Some(ErrorKind::QuotaExceeded));
    let file = OpenOptions::new().write(true).open(mount.path("dir/file"));
    let mut file = file.expect("a file");
    file.set_len(4096).expect("shorter");
    let grown = file.set_len(101 << 10);
    assert_eq!(kind(grown), Some(ErrorKind::QuotaExceeded), "a hole counts");
    store(&mut file, &[4; 90 << 10]).expect("it fits");
}

#[test]
fn a_large_write_is_stored_up_to_the_limit() {
    let Some(mount) = mounted() else { return };
    fs::create_dir(mount.path("dir")).expect("a directory");
    limit_directory(&mount, &mount.path("dir"), Some(2 << 20), None);
    let data: Vec<u8> = (0..6_u32 << 20).map(|at| (at / 7) as u8).collect();
    let path = mount.path("dir/file");
    let mut file = File::create(&path).expect("a file");
    let past = store(&mut file, &data);
    assert_eq!(kind(past), Some(ErrorKind::QuotaExceeded));
    drop(file);
    assert_eq!(fs::metadata(&path).expect("stat").len(), 2 << 20);
    assert!(fs::read(&path).expect("a read") == data[..2 << 20]);
    fs::remove_file(&path).expect("unlink");
    let append = OpenOptions::new().create(true).append(true).open(&path);
    let mut file = append.expect("a file");
    store(&mut file, &data[..100]).expect("it fits");
    let past = store(&mut file, &data[100..]);
    assert_eq!(kind(past), Some(ErrorKind::QuotaExceeded));
    drop(file);
    assert!(fs::read(&path).expect("a read") == data[..2 << 20]);
}

#[test]
fn what_a_close_was_told_the_unmount_does_not_tell_again() {
    let Some(mount) = mounted() else { return };
    fs::create_dir(mount.path("dir")).expect("a directory");
    limit_directory(&mount, &mount.path("dir"), Some(1 << 20), None);
    let path = mount.path("dir/file");
    let mut program = Command::new("dd");
    let to = format!("of={}", path.display());
    program.args(["if=/dev/zero", &to, "bs=1M", "count=3"]);
    let output = program.output().expect("dd");
    assert!(!output.status.success(), "its close was told: {output:?}");
    // The kernel tells a moment later that the last descriptor is closed.
    until("the file to be let go", || mount.vfs.open_handles() == 0);
    assert_eq!(fs::metadata(&path).expect("stat").len(), 1 << 20);
    // Its end fails otherwise.
    mount.vfs.stored().expect("nothing that nobody knows");
}

#[test]
fn names_stop_at_a_directory_s_limit() {
    let Some(mount) = mounted() else { return };
    fs::create_dir(mount.path("dir")).expect("a directory");
    fs::create_dir(mount.path("dir/inner")).expect("a directory");
    limit_directory(&mount, &mount.path("dir"), None, Some(2));
    fs::write(mount.path("dir/inner/file"), "").expect("the second");
    let full = Some(ErrorKind::QuotaExceeded);
    assert_eq!(kind(File::create(mount.path("dir/more"))), full);
    assert_eq!(kind(fs::create_dir(mount.path("dir/inner/more"))), full);
    assert_eq!(kind(symlink("x", mount.path("dir/more"))), full);
    // A file counts once, and where its first name is.
    fs::hard_link(mount.path("dir/inner/file"), mount.path("dir/link")).expect("a name");
    let out = fs::hard_link(mount.path("dir/link"), mount.path("outside"));
    assert_eq!(kind(out), Some(ErrorKind::CrossesDevices));
    fs::write(mount.path("other"), "").expect("a file");
    let inside = fs::hard_link(mount.path("other"), mount.path("dir/other"));
    assert_eq!(kind(inside), Some(ErrorKind::CrossesDevices));
    fs::rename(mount.path("dir/inner"), mount.path("inner")).expect("out of it");
    fs::create_dir(mount.path("dir/more")).expect("there is room again");
}

#[test]
fn owners_stop_at_their_limits() {
    let Some(mount) = mounted() else { return };
    limit(&mount, Subject::User(1234), Some(8192), None);
    limit(&mount, Subject::Group(2345), None, Some(1));
    let mut file = File::create(mount.path("file")).expect("a file");
    store(&mut file, &[1; 8192]).expect("it is root's");
    chown(mount.path("file"), Some(1234), Some(2345)).expect("it fits");
    let past = store(&mut file, &[1]);
    assert_eq!(kind(past), Some(ErrorKind::QuotaExceeded));
    fs::write(mount.path("second"), "").expect("a file");
    let second = chown(mount.path("second"), None, Some(2345));
    assert_eq!(kind(second), Some(ErrorKind::QuotaExceeded));
    fs::remove_file(mount.path("file")).expect("unlink");
    chown(mount.path("second"), None, Some(2345)).expect("there is room again");
}

#[test]
fn a_full_volume_has_no_space_left() {
    let Some(mount) = mounted() else { return };
    limit(&mount, Subject::Volume, Some(64 << 10), Some(3));
    let mut file = File::create(mount.path("file")).expect("a file");
    store(&mut file, &[1; 64 << 10]).expect("it fits");
    let past = store(&mut file, &[1]);
    assert_eq!(kind(past), Some(ErrorKind::StorageFull));
    fs::create_dir(mount.path("dir")).expect("the third");
    let more = fs::create_dir(mount.path("more"));
    assert_eq!(kind(more), Some(ErrorKind::StorageFull));
}

/// Blocks of 4 KiB and files: all, and what is left.
fn shown(stat: &StatVfs) -> [u64; 4] {
    assert_eq!(stat.f_bavail, stat.f_bfree);
    [stat.f_blocks, stat.f_bavail, stat.f_files, stat.f_ffree]
}

#[test]
fn df_shows_the_narrowest_limit_of_a_place() {
    if !possible() {
        return;
    }
    let world = World::new();
    // The engine's twin tells no mount what another one changes.
    let options = MountOptions {
        entry_ttl: Duration::ZERO,
        ..MountOptions::default()
    };
    let mount = world.mount(&options);
    fs::create_dir_all(mount.path("outer/inner")).expect("directories");
    fs::write(mount.path("outer/inner/file"), [1; 4096 * 3]).expect("a write");
    limit_directory(&mount, &mount.path("outer"), Some(4096 * 10), None);
    limit_directory(
        &mount,
        &mount.path("outer/inner"),
        Some(4096 * 100),
        Some(5),
    );
    let at = |path: &Path| shown(&statvfs(path).expect("statvfs"));
    let [blocks, left, files, files_left] = at(&mount.path("outer/inner"));
    assert_eq!([blocks, left, files, files_left], [10, 7, 5, 4]);
    assert_eq!(at(&mount.path("outer/inner/file")), [10, 7, 5, 4]);
    let [blocks, left, files, _] = at(&mount.path("outer"));
    assert_eq!([blocks, left], [10, 7]);
    assert!(files > 1 << 30, "no limit there");
    assert!(at(mount.root())[0] > 1 << 30, "nor here");
    let part = MountOptions {
        subdir: Some("/outer/inner".into()),
        ..options
    };
    let part = mount.world.mount(&part);
    assert_eq!(at(part.root()), [10, 7, 5, 4]);
    limit(&mount, Subject::Volume, Some(4096 * 4), None);
    assert_eq!(at(part.root()), [4, 1, 5, 4]);
}

#[test]
fn writers_of_two_mounts_cannot_pass_a_limit_together() {
    if !possible() {
        return;
    }
    let world = World::new();
    let mounts = [(); 2].map(|()| world.mount(&MountOptions::default()));
    fs::create_dir(mounts[0].path("dir")).expect("a directory");
    let blocks = 50;
    limit_directory(
        &mounts[0],
        &mounts[0].path("dir"),
        Some(blocks * 4096),
        None,
    );
    let writer = |mount: &Mounted, name: String| {
        let path = mount.path("dir").join(name);
        move || {
            let mut stored = 0;
            let mut file = File::create(path).expect("a file");
            while store(&mut file, &[7; 4096]).is_ok() {
                stored += 1;
            }
            stored
        }
    };
    let writers = (0..6).map(|number| writer(&mounts[number % 2], format!("f{number}")));
    let threads: Vec<_> = writers.map(std::thread::spawn).collect();
    let stored = threads
        .into_iter()
        .map(|thread| thread.join().expect("ends"));
    assert_eq!(stored.sum::<u64>(), blocks, "all of it, and nothing more");
    let ino = fs::metadata(mounts[0].path("dir")).expect("stat").ino();
    let subject = Subject::Directory(Ino(ino));
    match mounts[0].world.engine.query(QueryBody::Usage(subject)) {
        Answer::Usage(usage) => assert_eq!(usage.amount.bytes, blocks * 4096),
        other => panic!("{other:?}"),
    }
}
