use super::*;
use std::io::Write as _;
use std::process::Command;

fn write_aged(path: &Path, age: Duration) {
    let file = File::create(path).expect("a file");
    file.set_modified(SystemTime::now() - age).expect("a time");
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn what_a_crash_left_is_never_listed_and_goes_when_it_is_old() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = LocalDir::open(dir.path()).expect("opens");
    store
        .put("a/b", Bytes::from_static(b"x"))
        .await
        .expect("put");
    let aside = dir.path().join(WRITING);
    assert_eq!(names(&aside), [""; 0], "a put leaves nothing");
    write_aged(&aside.join("old"), ABANDONED_AFTER * 2);
    write_aged(&aside.join("young"), Duration::from_secs(60));
    // A clock ahead of ours is no reason to take a file away under its writer.
    let ahead = File::create(aside.join("ahead")).expect("a file");
    let later = SystemTime::now() + ABANDONED_AFTER * 9;
    ahead.set_modified(later).expect("a time");
    let store = LocalDir::open(dir.path()).expect("opens again");
    assert_eq!(names(&aside), ["ahead", "young"]);
    let listed = store.list("", "", 10).await.expect("listed");
    assert_eq!(listed, [("a/b".to_owned(), 1)]);
}

#[tokio::test]
async fn a_refused_put_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = LocalDir::open(dir.path()).expect("opens");
    store.put("a", Bytes::from_static(b"x")).await.expect("put");
    for key in ["a", "a/b"] {
        // The first is there with other content, the second lies below a file.
        let put = store.put(key, Bytes::from_static(b"other")).await;
        assert!(put.is_err(), "{key}");
    }
    assert_eq!(names(&dir.path().join(WRITING)), [""; 0]);
    assert_eq!(store.get("a", 0..1).await, Ok(Bytes::from_static(b"x")));
}

#[tokio::test]
async fn a_directory_that_was_removed_meanwhile_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = LocalDir::open(dir.path()).expect("opens");
    let data = Bytes::from_static(b"x");
    store.put("a/b/c", data.clone()).await.expect("put");
    fs::remove_dir_all(dir.path().join("a")).expect("removed");
    let first = store.put("a/b/d", data.clone()).await;
    assert!(first.is_err_and(|error| error.may_pass()));
    store.put("a/b/d", data.clone()).await.expect("put");
    assert_eq!(store.get("a/b/d", 0..1).await, Ok(data));
}

#[tokio::test]
async fn many_writers_of_one_object_agree() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        // Each as another mount would.
        let store = LocalDir::open(dir.path()).expect("opens");
        writers.spawn(async move {
            for index in 0..8 {
                let data = Bytes::from(vec![index; 1000]);
                store.put(&format!("a/{index}"), data).await.expect("put");
            }
        });
    }
    writers.join_all().await;
    let store = LocalDir::open(dir.path()).expect("opens");
    assert_eq!(store.list("", "", 100).await.expect("listed").len(), 8);
    assert_eq!(names(&dir.path().join(WRITING)), [""; 0]);
}

#[test]
fn a_file_is_no_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("written");
    assert!(matches!(
        LocalDir::open(&file),
        Err(StorageError::Open { .. })
    ));
}

/// A small file system of its own; unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]);
        let mounted = mount.arg(dir.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        // Not by the macro, whose output is shown only if the test fails.
        let said = writeln!(io::stderr(), "SKIPPED full disk test: cannot mount a tmpfs");
        said.expect("stderr");
        let all = std::env::var_os("CURLEW_TEST_ALL");
        assert!(all.is_none(), "every test must run here");
        None
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_full_disk_is_told_leaves_nothing_and_is_used_again() {
    let Some(disk) = Tmpfs::mount() else {
        return;
    };
    let store = LocalDir::open(disk.0.path()).expect("opens");
    let half = Bytes::from(vec![1; 100 << 10]);
    store.put("a", half.clone()).await.expect("fits");
    store.put("b", half.clone()).await.expect("fits");
    let full = ObjectError::NoSpace {
        key: "c".to_owned(),
    };
    assert_eq!(store.put("c", half.clone()).await, Err(full));
    assert_eq!(names(&disk.0.path().join(WRITING)), [""; 0]);
    store.delete("a").await.expect("deleted");
    store.put("c", half).await.expect("there is space again");
}

#[tokio::test]
async fn nothing_is_written_into_a_directory_that_took_the_others_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("bucket");
    LocalDir::make(&root).expect("made");
    let store = LocalDir::open(&root).expect("opens");
    store.put("a", Bytes::from_static(b"x")).await.expect("put");
    // As when a disk is unmounted: the directory below it comes to light.
    fs::rename(&root, dir.path().join("unmounted")).expect("moved");
    fs::create_dir(&root).expect("another");
    let put = store.put("b", Bytes::from_static(b"x")).await;
    assert!(
        matches!(&put, Err(ObjectError::Failed { why, .. }) if why.contains("mounted")),
        "{put:?}"
    );
    assert_eq!(names(&root), [""; 0]);
}
