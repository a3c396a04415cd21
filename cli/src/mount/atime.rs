//! The word after `--atime-mode`.

use fs_client::vfs::AtimeMode;
use std::ffi::OsString;

/// When a read moves a file's time of access.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum AtimeWord {
    /// Never
    Noatime,
    /// If the file was changed since it was read last, or that is a day ago
    Relatime,
    /// Always
    Strictatime,
}

impl From<AtimeWord> for AtimeMode {
    fn from(word: AtimeWord) -> Self {
        match word {
            AtimeWord::Noatime => Self::Noatime,
            AtimeWord::Relatime => Self::Relatime,
            AtimeWord::Strictatime => Self::Strictatime,
        }
    }
}

impl AtimeWord {
    /// The words of a command line that say so.
    pub(super) fn words(self) -> [OsString; 2] {
        ["--atime-mode".into(), AtimeMode::from(self).name().into()]
    }
}
