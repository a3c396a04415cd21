//! What `curlew quota` is asked for.

use crate::size;
use meta_client::MetaUrl;
use meta_core::quota::Limit;
use std::path::PathBuf;

/// Limit how much a volume, a directory, a user or a group may be
///
/// Limits are of bytes, where each file counts as what it is long, rounded up to 4 KiB, and of inodes, which
/// are files and directories. They hold at once, on all mounts. A file with several names counts once, where
/// its first name is. Users and groups have the files that they own, by number.
#[derive(Debug, clap::Args)]
pub(crate) struct QuotaArgs {
    #[command(subcommand)]
    pub(super) command: QuotaCommand,
}

/// What can be done with limits.
#[derive(Debug, clap::Subcommand)]
pub(super) enum QuotaCommand {
    Set(SetArgs),
    Get(GetArgs),
    List(ListArgs),
    Delete(DeleteArgs),
}

/// Set a limit, as root
///
/// It may be below what there is: then nothing more comes until enough is gone.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").args(["capacity", "inodes"]).required(true).multiple(true)))]
pub(super) struct SetArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    #[command(flatten)]
    pub(super) of: SubjectArgs,
    #[command(flatten)]
    pub(super) limit: LimitArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Show what is used, and the limit
#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    #[command(flatten)]
    pub(super) of: SubjectArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// List all limits, as root
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Take a limit away, as root
#[derive(Debug, clap::Args)]
pub(super) struct DeleteArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    #[command(flatten)]
    pub(super) of: SubjectArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What has the limit: exactly one of these.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct SubjectArgs {
    /// A directory with all below it, by its path from the volume's root
    #[arg(long, value_name = "PATH")]
    pub(super) path: Option<PathBuf>,
    /// The whole volume, with its trash and with files that are open and have no name any more
    #[arg(long)]
    pub(super) volume: bool,
    /// A user, by number
    #[arg(long, value_name = "N")]
    pub(super) uid: Option<u32>,
    /// A group, by number
    #[arg(long, value_name = "N")]
    pub(super) gid: Option<u32>,
}

/// The most of one kind; none without a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Most(Option<u64>);

/// How much it may be. What is not given stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::Args)]
pub(crate) struct LimitArgs {
    /// The most that files may take: a size such as 512M, 10G or 2T, in steps of 1024; a bare number
    /// counts in bytes. 0 or `none` is no limit
    #[arg(long, value_name = "SIZE", value_parser = capacity)]
    capacity: Option<Most>,
    /// The most files and directories: a number. 0 or `none` is no limit
    #[arg(long, value_name = "N", value_parser = inodes)]
    inodes: Option<Most>,
}

impl LimitArgs {
    /// Whether nothing is said.
    pub(crate) fn is_empty(&self) -> bool {
        self.capacity.is_none() && self.inodes.is_none()
    }

    /// The limit of something that had another one.
    pub(crate) fn over(&self, had: Limit) -> Limit {
        Limit {
            bytes: self.capacity.map_or(had.bytes, |most| most.0),
            inodes: self.inodes.map_or(had.inodes, |most| most.0),
        }
    }
}

fn capacity(text: &str) -> Result<Most, String> {
    most(text, |text| size::parse(text, 1))
}

fn inodes(text: &str) -> Result<Most, String> {
    most(text, |text| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err(format!("`{text}` is no number; write for example 1000000"));
        }
        text.parse().map_err(|_| format!("`{text}` is too large"))
    })
}

fn most(text: &str, parse: impl Fn(&str) -> Result<u64, String>) -> Result<Most, String> {
    let text = text.trim();
    if text == "none" {
        return Ok(Most(None));
    }
    match parse(text)? {
        0 => Ok(Most(None)),
        // It stands for none where limits are stored.
        u64::MAX => Err(format!("`{text}` is too large")),
        most => Ok(Most(Some(most))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: QuotaArgs,
    }

    const URL: &str = "curlew://127.0.0.1:7101/data";

    fn parsed(words: &[&str]) -> Result<QuotaCommand, clap::Error> {
        let line = ["quota"].iter().chain(words);
        Line::try_parse_from(line).map(|line| line.args.command)
    }

    #[test]
    fn limits_are_read_with_units_and_none() {
        let of = |text: &str| capacity(text).map(|most| most.0);
        assert_eq!(of("10G"), Ok(Some(10 << 30)));
        assert_eq!(of("512MiB"), Ok(Some(512 << 20)));
        assert_eq!(of("4096"), Ok(Some(4096)));
        assert_eq!(
            (of("0"), of("none"), of("0G")),
            (Ok(None), Ok(None), Ok(None))
        );
        for wrong in [
            "",
            "-1",
            "1.5G",
            "18446744073709551615",
            "99999999T",
            "None!",
        ] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
        let of = |text: &str| inodes(text).map(|most| most.0);
        assert_eq!(
            (of("1000"), of("0"), of("none")),
            (Ok(Some(1000)), Ok(None), Ok(None))
        );
        for wrong in ["", "+1", "-1", "1K", "18446744073709551615"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_given_stays() {
        let had = Limit {
            bytes: Some(1),
            inodes: Some(2),
        };
        let limit = |words: &[&str]| {
            let line = [&["set", URL, "--volume"], words].concat();
            match parsed(&line).expect("a line") {
                QuotaCommand::Set(args) => args.limit,
                other => panic!("{other:?}"),
            }
        };
        let capacity = limit(&["--capacity", "1K"]).over(had);
        assert_eq!((capacity.bytes, capacity.inodes), (Some(1024), Some(2)));
        let inodes = limit(&["--inodes", "none"]).over(had);
        assert_eq!((inodes.bytes, inodes.inodes), (Some(1), None));
        let both = limit(&["--inodes", "0", "--capacity", "none"]);
        assert!(both.over(had).is_none() && !both.is_empty());
        assert!(LimitArgs::default().is_empty());
        assert_eq!(LimitArgs::default().over(had), had);
    }

    #[test]
    fn exactly_one_thing_has_the_limit() {
        let good: [&[&str]; 6] = [
            &["set", URL, "--path", "/a", "--capacity", "1G"],
            &["set", URL, "--volume", "--capacity", "1G", "--inodes", "5"],
            &["get", URL, "--uid", "0"],
            &["get", URL, "--gid", "7", "--json"],
            &["list", URL],
            &["delete", URL, "--volume"],
        ];
        for case in good {
            parsed(case).unwrap_or_else(|error| panic!("{case:?}: {error}"));
        }
        let wrong: [&[&str]; 8] = [
            &["set", URL, "--path", "/a"],
            &["set", URL, "--capacity", "1G"],
            &["set", URL, "--path", "/a", "--uid", "1", "--inodes", "5"],
            &["set", "/mnt", "--volume", "--inodes", "5"],
            &["get", URL],
            &["get", URL, "--volume", "--gid", "1"],
            &["list", URL, "--volume"],
            &["delete", URL, "--uid", "root"],
        ];
        for case in wrong {
            let error = parsed(case).expect_err(&case.join(" "));
            assert_eq!(error.exit_code(), 2, "{case:?}");
        }
    }
}
