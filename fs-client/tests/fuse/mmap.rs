//! Maps are used in processes of their own. A process that unmaps waits for the pages to be
//! written back with its address space locked; if it served the mount as well, a page fault in the
//! serving threads would wait for ever.

use crate::mounted::mounted;
use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tells a child which file to map.
const FILE: &str = "CURLEW_TEST_MAPPED_FILE";

const LEN: usize = 1 << 20;

/// Maps a file shared, gives the bytes to `work`, and unmaps it.
#[expect(
    unsafe_code,
    reason = "there is no safe way to map memory among our dependencies"
)]
fn with_map(file: &fs::File, work: impl FnOnce(&mut [u8])) {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let fd = file.as_raw_fd();
    // SAFETY: a new mapping of LEN bytes of an open file, which is at least that long.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            LEN,
            protection,
            libc::MAP_SHARED,
            fd,
            0,
        )
    };
    assert_ne!(
        address,
        libc::MAP_FAILED,
        "{}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the mapping is LEN bytes, and nothing else refers to it.
    let bytes = unsafe { std::slice::from_raw_parts_mut(address.cast::<u8>(), LEN) };
    work(bytes);
    // SAFETY: the address and length of the mapping made above, no longer used.
    let result = unsafe { libc::munmap(address, LEN) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Runs one of the children below on a file.
fn run_child(name: &str, path: &Path) {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args([
        "--exact",
        &format!("mmap::{name}"),
        "--ignored",
        "--test-threads=1",
    ]);
    let output = child.env(FILE, path).output().expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn mapped_file() -> PathBuf {
    std::env::var_os(FILE)
        .expect("run by its parent test")
        .into()
}

fn content(at: usize) -> u8 {
    (at >> 8) as u8
}

fn changed(at: usize) -> u8 {
    if at.is_multiple_of(5000) {
        !content(at)
    } else {
        content(at)
    }
}

#[test]
#[ignore = "run by its parent test"]
fn child_changes_bytes() {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mapped_file());
    let file = file.expect("a file");
    with_map(&file, |bytes| {
        for (at, byte) in bytes.iter_mut().enumerate() {
            assert_eq!(*byte, content(at));
            if changed(at) != content(at) {
                *byte = changed(at);
            }
        }
    });
    file.sync_all().expect("fsync");
}

#[test]
#[ignore = "run by its parent test"]
fn child_unmaps_last() {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(mapped_file());
    let file = file.expect("a file");
    let duplicate = file.try_clone().expect("a duplicate");
    with_map(&duplicate, |bytes| {
        drop(file);
        bytes[LEN - 1] = 0xff;
    });
}

#[test]
fn a_map_reads_the_file_and_what_it_writes_is_stored() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    let model: Vec<u8> = (0..LEN).map(content).collect();
    fs::write(&path, &model).expect("a write");
    run_child("child_changes_bytes", &path);
    let model: Vec<u8> = (0..LEN).map(changed).collect();
    assert!(fs::read(&path).expect("a read") == model);
    let mount = mount.remount();
    assert!(fs::read(mount.path("file")).expect("a read") == model);
}

#[test]
fn a_map_that_outlives_its_descriptor_is_stored_before_the_unmount_ends() {
    let Some(mount) = mounted() else { return };
    let path = mount.path("file");
    fs::write(&path, vec![1; LEN]).expect("a write");
    run_child("child_unmaps_last", &path);
    let mount = mount.remount();
    let read = fs::read(mount.path("file")).expect("a read");
    assert_eq!((read[LEN - 2], read[LEN - 1]), (1, 0xff));
}
