use crate::mounted::mounted;
use rustix::fs::{XattrFlags, getxattr, getxattr_query, listxattr, listxattr_query};
use rustix::fs::{removexattr, setxattr};
use rustix::io::Errno;
use std::fs;

#[test]
fn attributes_are_set_listed_and_removed() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    fs::write(&path, "x").expect("a write");
    let set = |name: &str, value: &[u8], flags| setxattr(&path, name, value, flags);
    set("user.a", b"one", XattrFlags::empty()).expect("set");
    set("trusted.b", b"two", XattrFlags::CREATE).expect("set");
    assert_eq!(set("user.a", b"", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(set("user.c", b"", XattrFlags::REPLACE), Err(Errno::NODATA));
    let mut value = [0; 100];
    assert_eq!(getxattr(&path, "user.a", &mut value[..]), Ok(3));
    assert_eq!(&value[..3], b"one");
    assert_eq!(getxattr_query(&path, "user.a"), Ok(3));
    assert_eq!(
        getxattr(&path, "user.a", &mut value[..2]),
        Err(Errno::RANGE)
    );
    assert_eq!(
        getxattr(&path, "user.c", &mut value[..]),
        Err(Errno::NODATA)
    );
    let mut list = [0; 100];
    let size = listxattr(&path, &mut list[..]).expect("names");
    assert_eq!(listxattr_query(&path), Ok(size));
    let mut names: Vec<&[u8]> = list[..size].split_inclusive(|byte| *byte == 0).collect();
    names.sort();
    assert_eq!(names, [&b"trusted.b\0"[..], b"user.a\0"]);
    removexattr(&path, "user.a").expect("removed");
    assert_eq!(removexattr(&path, "user.a"), Err(Errno::NODATA));
}

#[test]
fn other_namespaces_are_refused_and_large_values_are_not() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    fs::write(&path, "x").expect("a write");
    for name in ["system.other", "system.posix_acl", "nonsense"] {
        let set = setxattr(&path, name, b"x", XattrFlags::empty());
        assert_eq!(set, Err(Errno::OPNOTSUPP), "{name}");
    }
    let value = vec![0; 65_536];
    setxattr(&path, "user.large", &value, XattrFlags::empty()).expect("64 KiB");
}

#[test]
fn capabilities_set_on_a_new_file_are_seen_at_once() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let file = fs::File::create(&path).expect("a file");
    // Version 2, no capabilities.
    let mut value = [0; 20];
    value[3] = 2;
    setxattr(&path, "security.capability", &value, XattrFlags::empty()).expect("set");
    assert_eq!(getxattr_query(&path, "security.capability"), Ok(20));
    drop(file);
    assert_eq!(getxattr_query(&path, "security.capability"), Ok(20));
}
