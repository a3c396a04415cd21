//! Arguments of `curlew mount`.

use super::atime::AtimeWord;
use crate::duration;
use crate::read_from::ReadFromWord;
use fs_client::mount::{BACKUP_META, Ids};
use meta_client::MetaUrl;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// How long a mirror may take if nothing is said.
const MIRROR_WAIT: Duration = Duration::from_millis(200);

/// The shortest interval of backups.
const BACKUP_META_SHORTEST: Duration = Duration::from_secs(1);

fn parse_backup_meta(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if interval.is_zero() || interval >= BACKUP_META_SHORTEST {
        Ok(interval)
    } else {
        Err("a backup is made once a second at most; 0 turns them off".to_owned())
    }
}

/// Mount a volume; stays in the foreground unless told -d
///
/// The keys of a volume in S3 come from the environment: `ACCESS_KEY`, `SECRET_KEY` and
/// `SESSION_TOKEN`, else `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
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
    /// Show this directory of the volume, a path from its root, as the root of the mount
    #[arg(long, value_name = "PATH")]
    pub(super) subdir: Option<PathBuf>,
    /// Refuse everything that would change the volume
    #[arg(long)]
    pub(super) read_only: bool,
    /// Take root for this user and group: the engine checks by them, and new files belong to them
    #[arg(long, value_name = "UID:GID")]
    pub(super) root_squash: Option<Ids>,
    /// Take everybody for this user and group
    #[arg(long, value_name = "UID:GID", conflicts_with = "root_squash")]
    pub(super) all_squash: Option<Ids>,
    /// Mount options as of mount(8): ro, rw, allow_other, exec, noexec, suid, nosuid, dev, nodev, nonempty, noatime, relatime, strictatime, nodiratime, user, subdir=PATH, fsname=NAME
    ///
    /// nosuid and nodev hold unless suid and dev are said, which only root may. What /etc/fstab says to
    /// others (defaults, noauto, nofail, _netdev, x-...) is taken and does nothing here. A value with a
    /// comma goes in double quotes.
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(super) options: Vec<String>,
    /// When a read of a file, a listing or a read of a symlink moves its access time; noatime if neither
    /// this nor an option says so. What the kernel answers from its cache moves nothing
    #[arg(long, value_enum, value_name = "MODE", overrides_with = "atime_mode")]
    pub(super) atime_mode: Option<AtimeWord>,
    /// Read metadata at this mirror of the volume; writes go to META-URL
    #[arg(long, value_name = "MIRROR-URL")]
    pub(super) mirror: Option<MetaUrl>,
    /// How long the mirror may take to apply what a read must see, before META-URL is asked
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = duration::parse,
          requires = "mirror")]
    pub(super) mirror_wait: Duration,
    /// Which metadata node answers reads. The nearest one asks the leader how far it must be, so that
    /// its answers are as new; they are not cached
    #[arg(long, value_enum, default_value_t, conflicts_with = "mirror")]
    pub(super) read_from: ReadFromWord,
    /// How long after the last backup of the volume's metadata to its bucket the next one is due; this
    /// mount offers itself for it, and the cluster says which mount does it. 0 for never
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_backup_meta)]
    pub(super) backup_meta: Duration,
    /// Do no work for the volume beside serving this mount
    #[arg(long)]
    pub(super) no_worker: bool,
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
            subdir: None,
            read_only,
            root_squash: None,
            all_squash: None,
            options: Vec::new(),
            atime_mode: None,
            mirror: None,
            mirror_wait: MIRROR_WAIT,
            read_from: ReadFromWord::Leader,
            backup_meta: BACKUP_META,
            no_worker: false,
            log: None,
        }
    }

    /// The same, with reads at a mirror.
    pub(crate) fn with_mirror(self, mirror: MetaUrl) -> Self {
        Self {
            mirror: Some(mirror),
            ..self
        }
    }

    /// The command line of the same mount in the foreground, whose log is stderr.
    pub(super) fn foreground(&self) -> Vec<OsString> {
        let Self {
            url,
            point,
            background: _,
            subdir,
            read_only,
            root_squash,
            all_squash,
            options,
            atime_mode,
            mirror,
            mirror_wait,
            read_from,
            backup_meta,
            no_worker,
            log: _,
        } = self;
        let mut words: Vec<OsString> = vec!["mount".into()];
        if let Some(subdir) = subdir {
            words.extend(["--subdir".into(), subdir.into()]);
        }
        if *read_only {
            words.push("--read-only".into());
        }
        let squashes = [("--root-squash", root_squash), ("--all-squash", all_squash)];
        for (flag, ids) in squashes {
            if let Some(ids) = ids {
                words.extend([flag.into(), ids.to_string().into()]);
            }
        }
        if !options.is_empty() {
            words.extend(["-o".into(), options.join(",").into()]);
        }
        words.extend(atime_mode.iter().flat_map(|word| word.words()));
        if let Some(mirror) = mirror {
            words.extend(["--mirror".into(), mirror.to_string().into()]);
            words.extend(["--mirror-wait".into(), duration::text(*mirror_wait).into()]);
        }
        words.extend(read_from.words());
        words.extend(["--backup-meta".into(), duration::text(*backup_meta).into()]);
        if *no_worker {
            words.push("--no-worker".into());
        }
        words.extend(["--".into(), url.to_string().into(), point.into()]);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::{CommandFactory, Parser};
    use std::path::Path;

    #[test]
    fn the_detached_child_mounts_the_same_in_the_foreground() {
        let line = "curlew mount -d curlew://h:1,i:2/v /m --read-only -o allow_other,ro --log l \
                    --mirror curlew://j:3/v --mirror-wait 1s --backup-meta 30m --no-worker --subdir /a/b \
                    --root-squash 7:8 --atime-mode relatime";
        let Command::Mount(asked) = Args::parse_from(line.split_whitespace()).command else {
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
        assert_eq!(child.options, ["allow_other,ro"]);
        assert_eq!(
            (&child.mirror, child.mirror_wait),
            (&asked.mirror, asked.mirror_wait)
        );
        assert_eq!(child.backup_meta, Duration::from_secs(1800));
        assert!(child.no_worker);
        assert_eq!(child.root_squash, Some(Ids { uid: 7, gid: 8 }));
        assert_eq!(child.atime_mode, Some(AtimeWord::Relatime));
        assert_eq!(child.subdir.as_deref(), Some(Path::new("/a/b")));
        assert!(child.mirror.is_some() && child.mirror_wait == Duration::from_secs(1));
    }

    #[test]
    fn reads_go_to_the_nearest_node_only_without_a_mirror() {
        let line = |words: &[&str]| {
            let line = ["curlew", "mount", "curlew://h:1/v", "/m"];
            Args::try_parse_from(line.iter().chain(words)).map(|args| args.command)
        };
        let Ok(Command::Mount(asked)) = line(&["--read-from", "nearest"]) else {
            panic!("a mount");
        };
        assert_eq!(asked.read_from, ReadFromWord::Nearest);
        let words = std::iter::once("curlew".into()).chain(asked.foreground());
        let Command::Mount(child) = Args::parse_from(words).command else {
            panic!("a mount")
        };
        assert_eq!(child.read_from, ReadFromWord::Nearest);
        assert!(line(&["--mirror", "curlew://j:3/v"]).is_ok());
        let both = ["--read-from", "nearest", "--mirror", "curlew://j:3/v"];
        assert!(line(&both).is_err());
        assert!(line(&["--read-from", "somewhere"]).is_err());
    }

    #[test]
    fn backups_are_made_each_hour_unless_it_is_said_otherwise() {
        let asked = |words: &[&str]| {
            let line = ["curlew", "mount", "curlew://h:1/v", "/m"];
            let line = line.iter().chain(words);
            match Args::try_parse_from(line).map(|args| args.command) {
                Ok(Command::Mount(asked)) => Some(super::super::options::parse(&asked)),
                _ => None,
            }
        };
        let options = |words: &[&str]| asked(words).expect("taken").expect("fits");
        let interval = |words: &[&str]| options(words).backup_meta;
        // Without backups it still compacts.
        let worker = |words: &[&str]| options(words).worker;
        assert_eq!(interval(&[]), Some(Duration::from_secs(3600)));
        assert_eq!(
            interval(&["--backup-meta", "2s"]),
            Some(Duration::from_secs(2))
        );
        assert_eq!(interval(&["--backup-meta", "0"]), None);
        assert!(worker(&[]) && worker(&["--backup-meta", "0"]));
        assert!(!worker(&["--no-worker"]));
        assert!(!worker(&["--no-worker", "--backup-meta", "5m"]));
        for wrong in ["10ms", "x", "-1s"] {
            assert!(asked(&["--backup-meta", wrong]).is_none(), "{wrong}");
        }
        let of = MountArgs::of("curlew://h:1/v".parse().expect("a URL"), "/m".into());
        assert_eq!(of.backup_meta, Duration::from_secs(3600));
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
            super::super::options::parse_for(&asked, true).expect(word);
        }
    }
}
