//! How a mount ended, told to whoever unmounted it.
//!
//! The mount's last flush comes after its unmount, so its end cannot be asked of the mount, and a
//! process's exit status is told to its parent only. Therefore the process keeps a file in memory
//! and names the descriptor in `.config`. Who is about to unmount opens it beforehand by
//! `/proc/PID/fd`, which the kernel allows to the same user and to root; it can then be read when
//! the process is gone. Nothing is left behind, and no name can be forged or outlive its process.

use super::MountError;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// What `/proc` shows of the file, behind `/memfd:`.
const NAME: &str = "curlew-outcome";
/// Bytes of it that are read, at most.
const BYTES_MAX: u64 = 64 << 10;

/// Where the file is: what `.config` says.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    fd: i32,
    /// Tells it from a file of the same kind in another process that has the pid.
    inode: u64,
}

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything written was stored.
    Stored,
    /// Something went wrong, in words.
    Failed(String),
}

/// The side of the mount's process.
#[derive(Debug)]
pub(super) struct OutcomeNote {
    file: File,
    inode: u64,
}

impl OutcomeNote {
    pub(super) fn new() -> io::Result<Self> {
        let file = File::from(memfd_create(NAME, MemfdFlags::CLOEXEC)?);
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode })
    }

    /// For `.config`.
    pub(super) fn place(&self) -> serde_json::Value {
        serde_json::json!(Place {
            fd: self.file.as_raw_fd(),
            inode: self.inode,
        })
    }

    /// Says how the mount ended; the last that the process does for it.
    pub(super) fn write(&self, ended: &Result<(), MountError>) -> io::Result<()> {
        let outcome = match ended {
            Ok(()) => Outcome::Stored,
            Err(error) => Outcome::Failed(error.to_string()),
        };
        // In one piece: a reader finds all of it or nothing that it can parse.
        (&self.file).write_all(&serde_json::to_vec(&outcome)?)
    }
}

/// The side of whoever unmounts.
#[derive(Debug)]
pub struct OutcomeReader(File);

impl OutcomeReader {
    /// Takes hold of the outcome of the process `pid` whose mount shows this `.config`. To be done
    /// before the unmount: nobody can once the process is gone.
    ///
    /// # Errors
    /// If the process is of another user or version, or is not the one that wrote `.config`.
    pub fn open(pid: u32, config: &serde_json::Value) -> io::Result<Self> {
        let place = config.get("outcome").cloned().unwrap_or_default();
        let place: Place = serde_json::from_value(place)?;
        let path = format!("/proc/{pid}/fd/{}", place.fd);
        let named = std::fs::read_link(&path)?;
        let is_ours = named.to_string_lossy().contains(NAME);
        // Only now: opening somebody else's pipe or device might do something.
        let other = || io::Error::other(format!("process {pid} does not serve this mount"));
        let file = is_ours.then(|| File::open(&path)).ok_or_else(other)??;
        if file.metadata()?.ino() == place.inode {
            Ok(Self(file))
        } else {
            Err(other())
        }
    }

    /// What the process said; `None` if it ended without a word, or has not ended.
    ///
    /// # Errors
    /// If what it said cannot be read.
    pub fn read(&self) -> io::Result<Option<Outcome>> {
        let mut bytes = Vec::new();
        (&self.0).take(BYTES_MAX).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&bytes)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::VfsError;

    fn config(note: &OutcomeNote) -> serde_json::Value {
        serde_json::json!({ "outcome": note.place() })
    }

    fn said(ended: &Result<(), MountError>) -> Option<Outcome> {
        let note = OutcomeNote::new().expect("a note");
        let reader = OutcomeReader::open(std::process::id(), &config(&note)).expect("a reader");
        note.write(ended).expect("written");
        // As when the process is gone.
        drop(note);
        reader.read().expect("read")
    }

    #[test]
    fn the_outcome_outlives_the_one_who_wrote_it() {
        assert_eq!(said(&Ok(())), Some(Outcome::Stored));
        let lost = Err(MountError::Unflushed(VfsError::Unstored(7)));
        let Some(Outcome::Failed(words)) = said(&lost) else {
            panic!("a failure");
        };
        assert!(words.contains("7 written bytes"), "{words}");
    }

    #[test]
    fn an_end_without_a_word_is_no_outcome() {
        let note = OutcomeNote::new().expect("a note");
        let reader = OutcomeReader::open(std::process::id(), &config(&note)).expect("a reader");
        drop(note);
        assert_eq!(reader.read().expect("read"), None);
    }

    #[test]
    fn the_note_of_another_mount_and_any_other_file_are_refused() {
        let own = std::process::id();
        let note = OutcomeNote::new().expect("a note");
        let fd = note.file.as_raw_fd();
        let other = serde_json::json!({ "outcome": { "fd": fd, "inode": note.inode + 1 } });
        assert!(OutcomeReader::open(own, &other).is_err());
        let file = tempfile::tempfile().expect("a file");
        let inode = file.metadata().expect("metadata").ino();
        let other = serde_json::json!({ "outcome": { "fd": file.as_raw_fd(), "inode": inode } });
        assert!(OutcomeReader::open(own, &other).is_err());
        for older in [serde_json::json!({}), serde_json::json!({ "outcome": 7 })] {
            assert!(OutcomeReader::open(own, &older).is_err());
        }
    }
}
