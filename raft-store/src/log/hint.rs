//! How far the log was known to be durable, kept outside the log.
//!
//! A write-ahead file that ends early looks the same after a torn write, which was never
//! acknowledged, and after damage in its middle, which was. This file tells them apart: it is
//! rewritten after each synced round, so what it says was durable before. Only after a power
//! failure may it be behind, by what was written since the log last rested; it is never ahead,
//! because it is lowered, with a sync, before the log is cut.

use crate::durable;
use crate::error::StoreError;
use crate::types::LogId;
use crate::wire;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The file's size: it is written in place, in one sector.
const FILE_BYTES: usize = 128;

/// The end of the log and the term voted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tip {
    pub(crate) last: Option<LogId>,
    pub(crate) vote_term: u64,
}

impl Tip {
    /// The lesser of both in each part.
    pub(crate) fn min(self, other: Self) -> Self {
        Self {
            last: self.last.min(other.last),
            vote_term: self.vote_term.min(other.vote_term),
        }
    }

    /// Refuses a log that ends before what was durable.
    pub(crate) fn check(self, found: Self) -> Result<(), StoreError> {
        if found.last >= self.last && found.vote_term >= self.vote_term {
            return Ok(());
        }
        let show = |tip: Self| match tip.last {
            Some(last) => format!("entry {last} and term {}", tip.vote_term),
            None => format!("no entry and term {}", tip.vote_term),
        };
        let why = format!(
            "it reaches {}, but it had reached {}",
            show(found),
            show(self)
        );
        Err(StoreError::damaged("log", why))
    }
}

/// The open file and what it says.
#[derive(Debug)]
pub(crate) struct Hint {
    file: File,
    path: PathBuf,
    tip: Tip,
    unsynced: bool,
}

impl Hint {
    /// Opens the file, or makes it. A file that cannot be read says nothing.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = opened.map_err(StoreError::file("open", path))?;
        durable::sync_parent(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(StoreError::file("read", path))?;
        let tip = match read(&bytes) {
            Ok(tip) => tip,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the log's hint is damaged");
                Tip::default()
            }
        };
        let mut hint = Self {
            file,
            path: path.to_path_buf(),
            tip,
            unsynced: false,
        };
        if tip != Tip::default() {
            // What was read may be in the system's memory only, also after a sync that failed.
            hint.write(tip)?;
            hint.sync()?;
        }
        Ok(hint)
    }

    pub(crate) fn tip(&self) -> Tip {
        self.tip
    }

    /// Says that the log may soon end at `lowest`. Durable when it returns.
    pub(crate) fn lower(&mut self, lowest: Tip) -> Result<(), StoreError> {
        let lower = self.tip.min(lowest);
        if lower == self.tip {
            return Ok(());
        }
        self.write(lower)?;
        self.sync()
    }

    /// Whether what was said last may be lost with the power.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Makes durable what was said last.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.file.sync_data();
        synced.map_err(StoreError::file("sync", &self.path))?;
        self.unsynced = false;
        Ok(())
    }

    /// Says that the log is durable up to `tip`.
    pub(crate) fn raise(&mut self, tip: Tip) -> Result<(), StoreError> {
        if tip == self.tip {
            Ok(())
        } else {
            self.write(tip)
        }
    }

    fn write(&mut self, tip: Tip) -> Result<(), StoreError> {
        let mut bytes =
            wire::encode(&tip).map_err(|error| StoreError::Refused(error.to_string()))?;
        bytes.resize(FILE_BYTES, 0);
        self.file
            .write_all_at(&bytes, 0)
            .map_err(StoreError::file("write", &self.path))?;
        self.tip = tip;
        self.unsynced = true;
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<Tip, wire::WireError> {
    if bytes.is_empty() {
        return Ok(Tip::default());
    }
    match wire::whole_length(bytes)? {
        Some(length) if length <= bytes.len() => wire::decode(&bytes[..length]),
        _ => Err(wire::WireError::Length {
            expected: FILE_BYTES,
            got: bytes.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;

    fn tip(term: u64, index: u64, vote_term: u64) -> Tip {
        Tip {
            last: Some(id(term, index)),
            vote_term,
        }
    }

    #[test]
    fn a_hint_is_kept_and_only_lowered_on_purpose() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hint");
        let mut hint = Hint::open(&path).unwrap();
        assert_eq!(hint.tip(), Tip::default());
        hint.raise(tip(2, 9, 3)).unwrap();
        hint.lower(tip(2, 7, 5)).unwrap();
        assert_eq!(Hint::open(&path).unwrap().tip(), tip(2, 7, 3));
    }

    #[test]
    fn a_damaged_hint_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hint");
        Hint::open(&path).unwrap().raise(tip(2, 9, 3)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[17] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Hint::open(&path).unwrap().tip(), Tip::default());
    }

    #[test]
    fn a_log_or_vote_behind_the_hint_is_damage() {
        let hint = tip(2, 9, 3);
        assert!(hint.check(tip(2, 9, 3)).is_ok());
        assert!(hint.check(tip(3, 8, 3)).is_ok());
        assert!(hint.check(tip(2, 8, 3)).is_err());
        assert!(hint.check(tip(2, 9, 2)).is_err());
        assert!(hint.check(Tip::default()).is_err());
    }
}
