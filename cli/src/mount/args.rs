//! Arguments of `curlew mount`.

use meta_client::MetaUrl;
use std::ffi::OsString;
use std::path::PathBuf;

/// Mount a volume; stays in the foreground unless told -d
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MountArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    pub(super) url: MetaUrl,
    /// An existing directory
    #[arg(value_name = "MOUNTPOINT")]
    pub(super) point: PathBuf,
    /// Run in the background; return when the mount answers
    #[arg(short = 'd', long)]
    pub(super) background: bool,
    /// Refuse everything that would change the volume
    #[arg(long)]
    pub(super) read_only: bool,
    /// Mount options as of mount(8): ro, rw, allow_other
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    pub(super) options: Vec<String>,
    /// Where the log goes: stderr by default, with -d /var/log/curlew.log or ~/.curlew/curlew.log
    #[arg(long, value_name = "FILE")]
    pub(super) log: Option<PathBuf>,
}

impl MountArgs {
    /// A mount with nothing special about it.
    pub(crate) fn of(url: MetaUrl, point: PathBuf) -> Self {
        let (background, read_only) = (false, false);
        Self {
            url,
            point,
            background,
            read_only,
            options: Vec::new(),
            log: None,
        }
    }

    /// The command line of the same mount in the foreground, whose log is stderr.
    pub(super) fn foreground(&self) -> Vec<OsString> {
        let Self {
            url,
            point,
            background: _,
            read_only,
            options,
            log: _,
        } = self;
        let mut words: Vec<OsString> = vec!["mount".into()];
        if *read_only {
            words.push("--read-only".into());
        }
        if !options.is_empty() {
            words.extend(["-o".into(), options.join(",").into()]);
        }
        words.extend(["--".into(), url.to_string().into(), point.into()]);
        words
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Args, Command};
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_detached_child_mounts_the_same_in_the_foreground() {
        let line = "curlew mount -d curlew://h:1,i:2/v /m --read-only -o allow_other,ro --log l";
        let Command::Mount(asked) = Args::parse_from(line.split(' ')).command else {
            panic!("a mount");
        };
        let words = std::iter::once("curlew".into()).chain(asked.foreground());
        let Command::Mount(child) = Args::parse_from(words).command else {
            panic!("a mount")
        };
        assert!(asked.background && !child.background);
        assert_eq!(child.url.to_string(), "curlew://h:1,i:2/v");
        assert_eq!(child.point, asked.point);
        assert!(child.read_only && child.log.is_none());
        assert_eq!(child.options, ["allow_other", "ro"]);
    }

    #[test]
    fn every_mount_option_that_the_help_names_is_taken() {
        let mut command = Args::command();
        let mount = command.find_subcommand_mut("mount").expect("a command");
        let help = mount.render_long_help().to_string();
        let (_before, named) = help.split_once("mount(8): ").expect("the options");
        let named = named.lines().next().expect("a line");
        for word in named.split(", ") {
            let line = ["curlew", "mount", "-o", word, "curlew://h:1/v", "/m"];
            let Command::Mount(asked) = Args::parse_from(line).command else {
                panic!("a mount");
            };
            super::super::options::parse(&asked).expect(word);
        }
    }
}
