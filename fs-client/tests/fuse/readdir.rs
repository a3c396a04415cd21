use crate::mounted::mounted;
use rustix::fs::{Dir, Mode, OFlags, open};
use std::collections::BTreeSet;
use std::fs;

fn names(path: &std::path::Path) -> BTreeSet<String> {
    let entries = fs::read_dir(path).expect("a directory");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("a name").file_name();
    entries
        .map(|entry| name(entry).into_string().expect("text"))
        .collect()
}

#[test]
fn a_large_directory_is_listed_whole() {
    let Some(mount) = mounted() else { return };
    let dir = mount.path("dir");
    fs::create_dir(&dir).expect("a directory");
    let made: BTreeSet<String> = (0..3000).map(|index| format!("name-{index}")).collect();
    for name in &made {
        fs::File::create(dir.join(name)).expect("a file");
    }
    assert_eq!(names(&dir), made);
    assert!(names(mount.root()) == BTreeSet::from(["dir".to_owned()]));
}

#[test]
fn a_directory_is_emptied_while_it_is_listed() {
    let Some(mount) = mounted() else { return };
    let dir = mount.path("dir");
    fs::create_dir(&dir).expect("a directory");
    for index in 0..2000 {
        fs::File::create(dir.join(index.to_string())).expect("a file");
    }
    for entry in fs::read_dir(&dir).expect("a directory") {
        fs::remove_file(entry.expect("a name").path()).expect("unlink");
    }
    fs::remove_dir(&dir).expect("an empty directory");
}

#[test]
fn a_listing_goes_back_to_a_place_it_told() {
    let Some(mount) = mounted() else { return };
    for index in 0..500 {
        fs::File::create(mount.path(&index.to_string())).expect("a file");
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let fd = open(mount.root(), flags, Mode::empty()).expect("a directory");
    let mut dir = Dir::new(fd).expect("a listing");
    let next = |dir: &mut Dir| {
        let entry = dir.next()?.expect("a name");
        Some((entry.file_name().to_owned(), entry.offset()))
    };
    let mut seen = Vec::new();
    while let Some((name, place)) = next(&mut dir) {
        seen.push((name, place));
    }
    assert_eq!(seen.len(), 502, "with . and ..");
    assert_eq!(&seen[0].0, c".");
    assert_eq!(&seen[1].0, c"..");
    fs::remove_file(mount.path("100")).expect("unlink");
    for index in [0, 1, 50, 300] {
        dir.seek(seen[index].1).expect("a place");
        let (name, _) = next(&mut dir).expect("a name");
        assert_eq!(name, seen[index + 1].0, "behind {index}");
    }
    dir.rewind();
    let mut count = 0;
    while next(&mut dir).is_some() {
        count += 1;
    }
    assert_eq!(count, 501);
}

#[test]
fn directories_count_their_links() {
    use std::os::unix::fs::MetadataExt;
    let Some(mount) = mounted() else { return };
    fs::create_dir_all(mount.path("d/a/b")).expect("directories");
    fs::create_dir(mount.path("d/c")).expect("a directory");
    assert_eq!(fs::metadata(mount.path("d")).expect("d").nlink(), 4);
    let full = fs::remove_dir(mount.path("d")).expect_err("not empty");
    assert_eq!(full.raw_os_error(), Some(libc::ENOTEMPTY));
    fs::remove_dir_all(mount.path("d")).expect("removed");
    assert_eq!(names(mount.root()), BTreeSet::new());
}
