//! The command line.

use crate::changelog::ChangelogArgs;
use crate::clone::CloneArgs;
use crate::compact::CompactArgs;
use crate::config::ConfigArgs;
use crate::detach::LauncherArgs;
use crate::dump::DumpArgs;
use crate::format::FormatArgs;
use crate::info::InfoArgs;
use crate::load::LoadArgs;
use crate::mdtest::MdtestArgs;
use crate::mirror::MirrorArgs;
use crate::mount::{MountArgs, UmountArgs};
use crate::playground::PlaygroundArgs;
use crate::quota::QuotaArgs;
use crate::restore::{RestoreArgs, TrashArgs};
use crate::rmr::RmrArgs;
use crate::status::StatusArgs;
use crate::summary::SummaryArgs;

/// One POSIX file system across clouds
#[derive(Debug, clap::Parser)]
#[command(name = "curlew", version, propagate_version = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be typed.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Format(FormatArgs),
    Mount(MountArgs),
    Umount(UmountArgs),
    Status(StatusArgs),
    Info(InfoArgs),
    Summary(SummaryArgs),
    Rmr(RmrArgs),
    Clone(CloneArgs),
    Compact(CompactArgs),
    Restore(RestoreArgs),
    Trash(TrashArgs),
    Config(ConfigArgs),
    Quota(QuotaArgs),
    Changelog(ChangelogArgs),
    Mirror(MirrorArgs),
    Dump(DumpArgs),
    Load(LoadArgs),
    Mdtest(MdtestArgs),
    Playground(PlaygroundArgs),
    /// Print the version
    Version,
    #[command(hide = true)]
    LaunchDetached(LauncherArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_that_exclude_each_other_are_refused() {
        let cases: [&[&str]; 9] = [
            &["restore", "curlew://h:1/v"],
            &["restore", "curlew://h:1/v", "/a", "--list", "--to", "/b"],
            &["trash", "curlew://h:1/v", "--older-than", "1h"],
            &["playground", "--dir", "d", "--stop", "--detach"],
            &["playground", "--dir", "d", "--stop", "--restart", "1"],
            &["playground", "--dir", "d", "--nodes", "0"],
            &["playground"],
            &["umount", "m", "--force", "--lazy"],
            &["mount", "not-a-url", "m"],
        ];
        for case in cases {
            let words = std::iter::once("curlew").chain(case.iter().copied());
            let error = Args::try_parse_from(words).expect_err(&case.join(" "));
            assert_eq!(error.exit_code(), 2, "{case:?}");
        }
    }

    #[test]
    fn the_commands_of_this_version_are_these() {
        let command = Args::command();
        let shown = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        let names: Vec<&str> = shown.map(clap::Command::get_name).collect();
        let all = [
            "format",
            "mount",
            "umount",
            "status",
            "info",
            "summary",
            "rmr",
            "clone",
            "compact",
            "restore",
            "trash",
            "config",
            "quota",
            "changelog",
            "mirror",
            "dump",
            "load",
            "mdtest",
            "playground",
            "version",
        ];
        assert_eq!(names, all);
    }
}
