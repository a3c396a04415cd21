use crate::mounted::mounted;
use std::fs::{File, TryLockError};

#[test]
fn locks_hold_on_this_machine() {
    let Some(mount) = mounted() else { return };
    let (one, other) = (
        File::create(mount.path("file")).expect("a file"),
        File::open(mount.path("file")).expect("a file"),
    );
    one.lock().expect("a lock");
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    one.unlock().expect("unlocked");
    other.try_lock().expect("a lock");
}
