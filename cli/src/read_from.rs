//! The word after `--read-from`.

use meta_client::ReadFrom;
use std::ffi::OsString;

/// Which metadata node answers reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum ReadFromWord {
    /// The leader, whose answers can be cached
    #[default]
    Leader,
    /// The one with the shortest way there and back
    Nearest,
}

impl From<ReadFromWord> for ReadFrom {
    fn from(word: ReadFromWord) -> Self {
        match word {
            ReadFromWord::Leader => Self::Leader,
            ReadFromWord::Nearest => Self::Nearest,
        }
    }
}

impl ReadFromWord {
    /// The words of a command line that say so.
    pub(crate) fn words(self) -> Vec<OsString> {
        match self {
            Self::Leader => Vec::new(),
            Self::Nearest => vec!["--read-from".into(), "nearest".into()],
        }
    }
}
