use crate::mounted::mounted;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};

#[test]
fn the_mount_tells_of_itself() {
    let Some(mount) = mounted() else { return };
    fs::write(mount.path("file"), vec![1; 5000]).expect("a write");
    let stats = fs::read_to_string(mount.path(".stats")).expect(".stats");
    assert!(stats.contains("curlew_written_bytes_total 5000"), "{stats}");
    assert!(
        stats.contains("curlew_fuse_ops_total{op=\"create\"} 1"),
        "{stats}"
    );
    let config = fs::read(mount.path(".config")).expect(".config");
    let config: serde_json::Value = serde_json::from_slice(&config).expect("JSON");
    assert_eq!(config["volume"], "twin");
    let status = fs::read(mount.path(".status")).expect(".status");
    let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["pending_bytes"], 0);
    assert_eq!(status["leader"], "twin");
}

#[test]
fn virtual_files_are_never_listed_and_their_names_cannot_be_taken() {
    let Some(mount) = mounted() else { return };
    let listed = || fs::read_dir(mount.root()).expect("a directory").count();
    fs::create_dir(mount.path("dir")).expect("a directory");
    assert_eq!(listed(), 1);
    for name in [".stats", ".config", ".accesslog", ".status"] {
        let path = mount.path(name);
        assert_eq!(fs::metadata(&path).expect("metadata").len(), 0);
        assert!(
            File::options().write(true).open(&path).is_err(),
            "read-only"
        );
        let made = fs::create_dir(&path).expect_err("taken");
        assert_eq!(made.kind(), ErrorKind::AlreadyExists);
        let made = File::create_new(&path).expect_err("taken");
        assert_eq!(made.kind(), ErrorKind::AlreadyExists);
        assert!(fs::remove_file(&path).is_err());
        assert!(fs::rename(&path, mount.path("other")).is_err());
        assert!(fs::rename(mount.path("dir"), &path).is_err());
        // Anywhere else it is a name like others.
        fs::write(mount.path("dir").join(name), "own").expect("a write");
    }
    assert_eq!(listed(), 1);
    assert!(mount.path(".stats").exists());
}

#[test]
fn the_access_log_shows_what_is_done() {
    let Some(mount) = mounted() else { return };
    let mut log = File::open(mount.path(".accesslog")).expect(".accesslog");
    fs::write(mount.path("watched"), "x").expect("a write");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !(text.contains("create (1,\"watched\"") && text.contains("write (")) {
        let count = log.read(&mut buffer).expect("lines");
        assert!(count > 0, "the log never ends");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        assert!(text.len() < 1 << 20, "{text}");
    }
}
