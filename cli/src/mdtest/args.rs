//! What `curlew mdtest` is asked for.

use super::plan::dirs_of;
use crate::exit::Usage;
use crate::read_from::ReadFromWord;
use anyhow::Result;
use meta_core::limits::SLOTS_PER_SESSION_MAX;
use std::path::PathBuf;

/// Files and directories that one run may make.
const OBJECTS_MAX: u64 = 100_000_000;

/// Measure the metadata engine: make, look up and remove names, without a mount
///
/// Each thread has one operation in flight, and a tree of its own below DIR, which is made, must not be
/// there before, and is removed: `--files` files in each of 1 + dirs + ... + dirs^depth directories.
///
/// Beside the operations it measures two floors of the machine that it runs on: `fdatasync`, one small
/// durable write after the other into TMPDIR, and `stream echo`, the same requests over loopback to a
/// server that does nothing, as many at once. Processor time is that of this process alone.
#[derive(Debug, clap::Args)]
pub(crate) struct MdtestArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME, or a directory on a mount of the volume
    #[arg(value_name = "META-URL|PATH")]
    pub(super) volume: String,
    /// A directory of the volume that is made for the test
    #[arg(value_name = "DIR")]
    pub(super) path: PathBuf,
    /// Operations in flight at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_PER_SESSION_MAX)))]
    pub(super) threads: u32,
    /// Directories in each directory
    #[arg(long, default_value_t = 3)]
    pub(super) dirs: u32,
    /// Levels of directories below a thread's own
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(super) depth: u32,
    /// Files in each directory
    #[arg(long, default_value_t = 10)]
    pub(super) files: u32,
    /// Write so many bytes into each file, through the volume's object store
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=4 << 20))]
    pub(super) write: u32,
    /// Which metadata node answers lookups and listings
    #[arg(long, value_enum, default_value_t)]
    pub(super) read_from: ReadFromWord,
    /// What is told of; mkdir, create, unlink and rmdir are done in any case
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Op::ALL)]
    pub(super) ops: Vec<Op>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Kinds of operations, in the order in which they are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Op {
    Mkdir,
    Create,
    Write,
    Stat,
    Readdir,
    Rename,
    Unlink,
    Rmdir,
}

impl Op {
    pub(super) const ALL: [Self; 8] = [
        Self::Mkdir,
        Self::Create,
        Self::Write,
        Self::Stat,
        Self::Readdir,
        Self::Rename,
        Self::Unlink,
        Self::Rmdir,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mkdir => "mkdir",
            Self::Create => "create",
            Self::Write => "write",
            Self::Stat => "stat",
            Self::Readdir => "readdir",
            Self::Rename => "rename",
            Self::Unlink => "unlink",
            Self::Rmdir => "rmdir",
        }
    }

    /// Whether it is done although nobody wants to know: others need it.
    fn is_needed(self) -> bool {
        matches!(
            self,
            Self::Mkdir | Self::Create | Self::Unlink | Self::Rmdir
        )
    }
}

impl MdtestArgs {
    /// What is done, in order.
    pub(super) fn steps(&self) -> Vec<Op> {
        let done = |op: &Op| match op {
            Op::Write => self.write > 0 && self.ops.contains(op),
            op => op.is_needed() || self.ops.contains(op),
        };
        Op::ALL.into_iter().filter(done).collect()
    }

    /// Refuses what nobody can mean.
    pub(super) fn check(&self) -> Result<()> {
        let dirs = dirs_of(self.dirs, self.depth);
        let of_thread = dirs.and_then(|dirs| dirs.checked_mul(u64::from(self.files) + 1));
        let all = of_thread.and_then(|count| count.checked_mul(u64::from(self.threads)));
        match all {
            Some(all) if all <= OBJECTS_MAX => Ok(()),
            _ => Err(Usage::error(format!(
                "that is more than {OBJECTS_MAX} files and directories: take fewer --dirs, --depth, \
                 --files or --threads"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: MdtestArgs,
    }

    fn args(words: &[&str]) -> MdtestArgs {
        let line = ["mdtest", "curlew://127.0.0.1:1/v", "/t"];
        let line = line.iter().chain(words);
        Line::try_parse_from(line).expect("a line").args
    }

    #[test]
    fn what_others_need_is_done_and_the_rest_as_asked() {
        let all = args(&[]).steps();
        assert_eq!(all.len(), 7, "nothing is written: {all:?}");
        assert_eq!(args(&["--write", "1"]).steps(), Op::ALL);
        let few = args(&["--ops", "stat,create"]).steps();
        assert_eq!(
            few,
            [Op::Mkdir, Op::Create, Op::Stat, Op::Unlink, Op::Rmdir]
        );
    }

    #[test]
    fn too_much_is_wrong_usage() {
        assert!(args(&[]).check().is_ok());
        for words in [
            &["--dirs", "1000000", "--depth", "3"][..],
            &["--files", "4000000000"],
        ] {
            let error = args(words).check().expect_err("too much");
            assert!(error.is::<Usage>(), "{error}");
        }
    }
}
