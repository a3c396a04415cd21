//! With a trash, what is removed is gone for every program, as without one; and what comes back is what
//! it was, on all mounts.

use crate::mounted::{Mounted, World, possible, until};
use crate::twin;
use fs_client::mount::MountOptions;
use meta_core::attr::{Caller, Timestamp};
use meta_core::command::{CommandBody, Operation};
use meta_core::ids::{Ino, Level};
use meta_core::name::Name;
use meta_core::outcome::Success;
use meta_core::query::{Answer, AskTrash, QueryBody, TrashEntry, TrashStat};
use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt};
use std::path::Path;

/// Two mounts of a volume with a trash.
fn two() -> Option<(Mounted, Mounted)> {
    if !possible() {
        return None;
    }
    let world = World::new();
    let level = Level(3);
    let volume = world.engine.volume();
    world
        .engine
        .command(volume, CommandBody::RaiseLevel { level });
    let mount = || world.mount(&MountOptions::default());
    Some((mount(), mount()))
}

fn stat(mount: &Mounted) -> (TrashStat, u64) {
    match mount.world.engine.query(QueryBody::StatVolume) {
        Answer::Stat(stat) => (stat.trash.expect("a trash"), stat.orphans),
        other => panic!("{other:?}"),
    }
}

/// What was removed from a directory, the latest of each name first.
fn removed(mount: &Mounted, parent: Ino) -> Vec<TrashEntry> {
    let asked = AskTrash::Of {
        parent,
        name: None,
        after: None,
        count_max: 1000,
    };
    match mount.world.engine.query(QueryBody::Trash(asked)) {
        Answer::Trash { entries, end: true } => entries,
        other => panic!("{other:?}"),
    }
}

fn restore(mount: &Mounted, parent: Ino, entries: &[TrashEntry]) {
    let files = entries
        .iter()
        .map(|entry| (entry.attr.ino, entry.name.clone()));
    let files: Vec<(Ino, Name)> = files.collect();
    let count = files.len();
    let operation = Operation::Restore { parent, files };
    let restored = mount.session.run(Caller::root(), operation).expect("done");
    assert_eq!(restored, Success::Restored(vec![None; count]));
}

fn purge(mount: &Mounted) {
    let seconds = i64::MAX;
    let before = Timestamp { seconds, nanos: 0 };
    let files_max = 256;
    let body = CommandBody::PurgeTrash { before, files_max };
    let engine = &mount.world.engine;
    engine.command(engine.volume(), body);
}

#[test]
fn a_removed_file_is_gone_for_programs_and_comes_back_as_it_was() {
    let Some((one, other)) = two() else { return };
    fs::create_dir(one.path("dir")).expect("a directory");
    fs::write(one.path("dir/file"), "content").expect("a write");
    fs::set_permissions(one.path("dir/file"), PermissionsExt::from_mode(0o640)).expect("chmod");
    let before = fs::metadata(one.path("dir/file")).expect("stat");
    let held = fs::File::open(other.path("dir/file")).expect("a file");
    fs::remove_file(one.path("dir/file")).expect("unlink");
    for mount in [&one, &other] {
        until("the name to be gone", || {
            let found = fs::metadata(mount.path("dir/file"));
            found.is_err_and(|error| error.kind() == ErrorKind::NotFound)
        });
    }
    until("fstat to show no name", || {
        held.metadata().expect("fstat").nlink() == 0
    });
    let mut read = [0; 7];
    held.read_exact_at(&mut read, 0).expect("a read");
    assert_eq!(&read, b"content");
    drop(held);
    fs::remove_dir(one.path("dir")).expect("rmdir: nothing is in it");
    one.block_on(twin::reap(&one.world.engine, &[&one.vfs, &other.vfs]));
    assert_eq!((stat(&one).0.inodes, stat(&one).1), (2, 0), "both are kept");

    let top = removed(&one, Ino::ROOT);
    restore(&one, Ino::ROOT, &top);
    let dir = top[0].attr.ino;
    restore(&one, dir, &removed(&one, dir));
    for mount in [&one, &other] {
        until("the file to be back", || mount.path("dir/file").exists());
        let text = fs::read_to_string(mount.path("dir/file"));
        assert_eq!(text.expect("a read"), "content");
        let after = fs::metadata(mount.path("dir/file")).expect("stat");
        let of = |meta: &fs::Metadata| (meta.mode(), meta.mtime_nsec(), meta.nlink(), meta.ino());
        assert_eq!(of(&after), of(&before));
    }
    assert_eq!(stat(&one).0.inodes, 0);
    one.world.engine.check();
}

/// The names in a directory, if it can be listed.
fn listed(path: &Path) -> Option<Vec<String>> {
    let entries: Result<Vec<_>, _> = fs::read_dir(path).ok()?.collect();
    let names = entries.ok()?.into_iter().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("UTF-8"))
        .collect();
    names.sort();
    Some(names)
}

#[test]
fn a_directory_that_is_held_meanwhile_is_alive_again_when_it_comes_back() {
    let Some((one, other)) = two() else { return };
    let dir = one.path("dir");
    fs::create_dir(&dir).expect("a directory");
    fs::write(dir.join("file"), "content").expect("a write");
    let ino = Ino(fs::metadata(&dir).expect("stat").ino());
    let mut names = vec!["file".to_owned()];
    // The kernel keeps each inode that it removed for as long as somebody holds it.
    let mut held = Vec::new();
    for round in 0..3 {
        held.push(fs::File::open(&dir).expect("the directory"));
        for name in &names {
            fs::remove_file(dir.join(name)).expect("unlink");
        }
        if round == 1 {
            fs::create_dir(one.path("new")).expect("a directory");
            fs::rename(one.path("new"), &dir).expect("a rename over it");
        }
        fs::remove_dir(&dir).expect("rmdir");

        let mut top = removed(&one, Ino::ROOT);
        top.retain(|entry| entry.attr.ino == ino);
        restore(&one, Ino::ROOT, &top);
        restore(&one, ino, &removed(&one, ino));
        until("all to be back", || listed(&dir).as_ref() == Some(&names));
        let text = fs::read_to_string(dir.join("file")).expect("a read");
        assert_eq!(text, "content");
        let more = format!("more{round}");
        fs::write(dir.join(&more), "more").expect("a write");
        names.push(more);
        assert_eq!(listed(&dir).as_ref(), Some(&names));
        assert_eq!(fs::metadata(&dir).expect("stat").ino(), ino.0);
        let there = other.path("dir");
        until("the other mount to see it", || {
            listed(&there).as_ref() == Some(&names)
        });
    }
    drop(held);
    one.world.engine.check();
}

#[test]
fn each_file_that_a_rename_replaces_is_kept() {
    let Some((one, _other)) = two() else { return };
    for text in ["first", "second", "third"] {
        fs::write(one.path("new"), text).expect("a write");
        fs::rename(one.path("new"), one.path("file")).expect("a rename");
    }
    let kept = removed(&one, Ino::ROOT);
    assert_eq!(kept.len(), 2);
    fs::remove_file(one.path("file")).expect("unlink");
    restore(&one, Ino::ROOT, &kept[..1]);
    let text = fs::read_to_string(one.path("file"));
    assert_eq!(text.expect("a read"), "second", "the latest before it");
    // A name that is left keeps the file out of the trash.
    let before = stat(&one).0.inodes;
    fs::hard_link(one.path("file"), one.path("link")).expect("a link");
    fs::remove_file(one.path("file")).expect("unlink");
    assert_eq!(stat(&one).0.inodes, before);
    one.world.engine.check();
}

#[test]
fn an_open_file_outlives_the_purge_and_is_counted_while_it_grows() {
    let Some((one, other)) = two() else { return };
    let path = one.path("file");
    let mut open = OpenOptions::new();
    let held = open.read(true).write(true).create_new(true).open(&path);
    let held = held.expect("a file");
    fs::remove_file(&path).expect("unlink");
    assert_eq!((stat(&one).0.inodes, stat(&one).0.bytes), (1, 0));
    held.write_all_at(&[7; 10_000], 0).expect("a write");
    held.sync_all().expect("fsync");
    assert_eq!(stat(&one).0.bytes, 12_288);
    purge(&one);
    assert_eq!((stat(&one).0.inodes, stat(&one).1), (0, 1));
    let reap = || one.block_on(twin::reap(&one.world.engine, &[&one.vfs, &other.vfs]));
    reap();
    let mut read = [0; 10_000];
    held.read_exact_at(&mut read, 0).expect("it is still there");
    assert_eq!(read, [7; 10_000]);
    drop(held);
    // The kernel tells the last close in the background.
    until("the file to be deleted", || {
        reap();
        stat(&one).1 == 0
    });
    one.world.engine.check();
}
