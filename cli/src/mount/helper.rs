//! `mount.curlew`: what mount(8) runs for `mount -t curlew` and for lines of /etc/fstab.
//!
//! It is this program under that name. It mounts in the background, returns when the mount answers,
//! and ends with the numbers of mount(8).

use super::args::MountArgs;
use super::{command, options, words};
use crate::args::{Args, Command};
use crate::exit::Usage;
use anyhow::{Result, bail};
use clap::{ArgAction, CommandFactory as _, Parser as _};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What it must be called to be run so.
const NAME: &str = "mount.curlew";
/// How mount(8) calls this kind of file system, and how the kernel's table of mounts does.
const KINDS: [&str; 2] = ["curlew", "fuse.curlew"];
/// Of mount(8): the call makes no sense.
const INCORRECT: u8 = 1;
/// Of mount(8): nothing was mounted.
const FAILED: u8 = 32;

/// Mount a volume for mount(8): in the background, and return when it answers
///
/// Install it with `ln -s PATH/curlew /sbin/mount.curlew`. Flags of `curlew mount` are given among the
/// options and without their dashes, as in `mount -t curlew META-URL MOUNTPOINT -o ro,backup-meta=2h`.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
struct HelperArgs {
    /// curlew://HOST:PORT[,HOST:PORT...]/VOLUME
    #[arg(value_name = "META-URL")]
    url: String,
    /// An existing directory
    #[arg(value_name = "MOUNTPOINT")]
    point: PathBuf,
    /// Options of mount(8) and of `curlew mount`
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Pass over options that are not known
    #[arg(short = 's')]
    sloppy: bool,
    /// Look at the arguments, and mount nothing
    #[arg(short = 'f')]
    fake: bool,
    /// Does nothing: there is no table of mounts to be written
    #[arg(short = 'n', action = ArgAction::Count)]
    _no_table: u8,
    /// Does nothing: what there is to say goes to the log
    #[arg(short = 'v', action = ArgAction::Count)]
    _verbose: u8,
    /// The type that the mount was asked for by
    #[arg(short = 't', value_name = "TYPE")]
    kind: Option<String>,
    /// Another mount namespace, which is refused
    #[arg(short = 'N', value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Whether the first word of a command line asks for this.
pub(crate) fn is_helper(program: Option<&OsStr>) -> bool {
    program.and_then(|program| Path::new(program).file_name()) == Some(OsStr::new(NAME))
}

/// Runs it with this process's command line.
pub(crate) fn run_helper(line: impl Iterator<Item = OsString>) -> ExitCode {
    let ended = HelperArgs::try_parse_from(line).map_err(anyhow::Error::new);
    let code = ended
        .and_then(mount)
        .map_or_else(|error| told(&error), |()| 0);
    code.into()
}

fn mount(helper: HelperArgs) -> Result<()> {
    let fake = helper.fake;
    let args = mount_args(helper)?;
    if fake {
        return options::parse(&args).map(drop);
    }
    command::run(args).map(drop)
}

/// Says what is wrong, and gives the exit status.
fn told(error: &anyhow::Error) -> u8 {
    let Some(parsing) = error.downcast_ref::<clap::Error>() else {
        eprintln!("{NAME}: {error:#}");
        return if error.is::<Usage>() {
            INCORRECT
        } else {
            FAILED
        };
    };
    // Also the help, which is no error.
    if let Err(lost) = parsing.print() {
        eprintln!("{NAME}: {lost}");
    }
    u8::from(parsing.use_stderr())
}

/// The same mount as `curlew mount` would be asked for.
fn mount_args(helper: HelperArgs) -> Result<MountArgs> {
    if let Some(kind) = helper.kind
        && !KINDS.contains(&kind.as_str())
    {
        return Err(Usage::error(format!("-t {kind}: this mounts {}", KINDS[0])));
    }
    if helper.namespace.is_some() {
        return Err(Usage::error("-N: run it in the mount namespace itself"));
    }
    let mut line: Vec<OsString> = ["curlew", "mount", "-d"].map(OsString::from).into();
    let flags = flags();
    let mut is_named = false;
    for word in words::split(&helper.options)? {
        let (name, value) = words::name_and_value(&word);
        let flag = name.replace('_', "-");
        is_named |= name == options::FS_NAME;
        if flags.contains(&flag) {
            let value = value.map(|value| format!("={value}")).unwrap_or_default();
            line.push(format!("--{flag}{value}").into());
        } else if !helper.sloppy || options::takes(&word) {
            line.extend(["-o".into(), words::quoted(&word).into()]);
        }
    }
    if !is_named {
        // `mount -a` finds by it that this line of fstab is mounted.
        let named = format!("{}={}", options::FS_NAME, helper.url);
        line.extend(["-o".into(), words::quoted(&named).into()]);
    }
    line.extend(["--".into(), helper.url.into(), helper.point.into()]);
    match Args::try_parse_from(line)?.command {
        Command::Mount(args) => Ok(args),
        _ => bail!("it is not understood as a mount"),
    }
}

/// The flags of `curlew mount` that can stand among the options.
fn flags() -> Vec<String> {
    let command = Args::command();
    let mount = command.find_subcommand("mount");
    let named = mount.into_iter().flat_map(clap::Command::get_arguments);
    let long = named.filter_map(clap::Arg::get_long);
    let flags = long.filter(|long| *long != "background");
    flags.map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parsed(words: &[&str]) -> Result<MountArgs> {
        let line = [&[NAME][..], words].concat();
        mount_args(HelperArgs::try_parse_from(line)?)
    }

    #[test]
    fn the_name_that_it_is_called_by_decides() {
        let is = |name: &str| is_helper(Some(OsStr::new(name)));
        assert!(is("/sbin/mount.curlew") && is(NAME));
        assert!(!is("curlew") && !is("/mount.curlew/curlew") && !is_helper(None));
    }

    #[test]
    fn what_mount_passes_becomes_a_mount_in_the_background() {
        let url = "curlew://h:1,i:2/v";
        let asked = [
            "-o",
            "rw,_netdev,backup-meta=2h,no_worker,log=/var/log/x,user=ann",
        ];
        let line = [&[url, "/mnt", "-sv", "-t", "fuse.curlew"][..], &asked].concat();
        let args = parsed(&line).expect("a mount");
        assert!(args.background && args.no_worker && !args.read_only);
        assert_eq!(args.backup_meta, Duration::from_secs(7200));
        assert_eq!(args.log.as_deref(), Some(Path::new("/var/log/x")));
        assert_eq!(args.url.to_string(), url);
        let options = options::parse_for(&args, true).expect("fits");
        assert_eq!(options.fs_name.as_deref(), Some(url));
        assert!(!options.exec, "as users may mount it");
    }

    #[test]
    fn a_line_of_fstab_says_what_becomes_of_access_times() {
        use fs_client::vfs::AtimeMode;
        for (words, mode) in [
            ("rw,_netdev", AtimeMode::Noatime),
            ("relatime,nofail", AtimeMode::Relatime),
            ("relatime,strictatime", AtimeMode::Strictatime),
            ("atime-mode=relatime", AtimeMode::Relatime),
            ("atime_mode=relatime,atime-mode=noatime", AtimeMode::Noatime),
        ] {
            let args = parsed(&["curlew://h:1/v", "/m", "-o", words]).expect("a line");
            let options = options::parse_for(&args, true).expect("fits");
            assert_eq!(options.atime_mode, mode, "{words}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_or_passed_over() {
        let strict = parsed(&["curlew://h:1/v", "/m", "-o", "rw,nonsense=1"]).expect("a line");
        assert!(options::parse_for(&strict, true).is_err());
        let sloppy = parsed(&["curlew://h:1/v", "/m", "-s", "-o", "ro,nonsense=1,fsname=x"]);
        let options = options::parse_for(&sloppy.expect("a line"), true).expect("passed over");
        assert!(options.read_only);
        assert_eq!(options.fs_name.as_deref(), Some("x"));
    }

    #[test]
    fn a_wrong_call_ends_with_1_and_a_failed_mount_with_32() {
        let wrong: [&[&str]; 5] = [
            &["curlew://h:1/v"],
            &["no-url", "/m"],
            &["curlew://h:1/v", "/m", "-t", "ext4"],
            &["curlew://h:1/v", "/m", "-N", "1"],
            &["curlew://h:1/v", "/m", "-o", "read-from=nowhere"],
        ];
        for case in wrong {
            let error = parsed(case).expect_err(&case.join(" "));
            assert_eq!(told(&error), INCORRECT, "{case:?}");
        }
        assert_eq!(told(&anyhow::anyhow!("no cluster")), FAILED);
        let help = HelperArgs::try_parse_from([NAME, "--help"]).expect_err("a text");
        assert_eq!(told(&anyhow::Error::new(help)), 0);
    }
}
