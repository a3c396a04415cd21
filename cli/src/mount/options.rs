//! What the flags and the words after `-o` mean together.

use super::args::MountArgs;
use super::words;
use crate::exit::Usage;
use anyhow::Result;
use fs_client::mount::{MountOptions, Squash};
use fs_client::vfs::AtimeMode;
use meta_client::MirrorOptions;
use std::path::{Component, PathBuf};
use std::time::Duration;

/// How long a mount with a mirror tries a write, or a read that the mirror cannot answer.
const MIRROR_RETRY_FOR: Duration = Duration::from_secs(30);

/// The word with which a mount is named in the table of mounts.
pub(super) const FS_NAME: &str = "fsname";

/// Words that say nothing to a file system: whoever reads /etc/fstab acts on them.
const FOR_OTHERS: [&str; 7] = [
    "auto", "noauto", "nofail", "_netdev", "_rnetdev", "nouser", "defaults",
];
/// Words for what is always so here: the engine checks every permission, a change of a directory is
/// durable when it is answered, and data is written in the background.
const ALWAYS: [&str; 3] = ["default_permissions", "dirsync", "async"];
/// Words for what this version does not do, and why it says so.
const REFUSED: [(&str, &str); 4] = [
    (
        "lazytime",
        "no times are held back; say relatime or strictatime to keep access times",
    ),
    (
        "sync",
        "not every write is synchronous; open files with O_SYNC, or sync them",
    ),
    (
        "remount",
        "a mount's options do not change; unmount it and mount it anew",
    ),
    (
        "mand",
        "there are no mandatory locks; flock and fcntl locks are advisory",
    ),
];
/// What only root may ask for: to others fusermount3 does not give it.
const FOR_ROOT: [&str; 2] = ["suid", "dev"];

/// What the words and flags of the command line mean together.
pub(super) fn parse(args: &MountArgs) -> Result<MountOptions> {
    let is_root = rustix::process::geteuid().is_root();
    parse_for(args, is_root)
}

/// As [`parse`], for root or somebody else.
pub(super) fn parse_for(args: &MountArgs, is_root: bool) -> Result<MountOptions> {
    let mut options = MountOptions {
        read_from: args.read_from.into(),
        backup_meta: Some(args.backup_meta).filter(|every| !every.is_zero()),
        worker: !args.no_worker,
        ..MountOptions::default()
    };
    options.squash = match (args.root_squash, args.all_squash) {
        (_, Some(ids)) => Squash::All(ids),
        (Some(ids), None) => Squash::Root(ids),
        (None, None) => Squash::Nobody,
    };
    if let Some(url) = &args.mirror {
        options.mirror = Some(MirrorOptions {
            url: url.clone(),
            wait: args.mirror_wait,
        });
        // Reads go on without the origin, so a write to a lost one must not hang for ever.
        options.retry_for = Some(MIRROR_RETRY_FOR);
    }
    for word in words::split(&args.options)? {
        set(&mut options, &word, is_root)?;
    }
    if let Some(subdir) = &args.subdir {
        options.subdir = Some(subdir.clone());
    }
    if let Some(word) = args.atime_mode {
        options.atime_mode = word.into();
    }
    let leads_up = |path: &PathBuf| path.components().any(|part| part == Component::ParentDir);
    if let Some(path) = options.subdir.as_ref().filter(|path| leads_up(path)) {
        return Err(Usage::error(format!(
            "{} must lead down from the volume's root",
            path.display()
        )));
    }
    // Whoever said so by a flag of its own means it, and fstab's `rw` is there unasked.
    options.read_only |= args.read_only;
    Ok(options)
}

/// The last of words that contradict each other holds, as everywhere in fstab.
fn set(options: &mut MountOptions, word: &str, is_root: bool) -> Result<()> {
    if !is_root && FOR_ROOT.contains(&word) {
        return Err(refused(word, "only root can mount so"));
    }
    let (name, value) = words::name_and_value(word);
    match (name, value) {
        ("ro", None) => options.read_only = true,
        ("rw", None) => options.read_only = false,
        ("allow_other", None) => options.allow_other = true,
        ("exec", None) => options.exec = true,
        ("noexec", None) => options.exec = false,
        ("suid", None) => options.suid = true,
        ("nosuid", None) => options.suid = false,
        ("dev", None) => options.dev = true,
        ("nodev", None) => options.dev = false,
        ("nonempty", None) => options.nonempty = true,
        ("noatime", None) => options.atime_mode = AtimeMode::Noatime,
        // What mount(8) calls the kernel's default.
        ("relatime" | "atime", None) => options.atime_mode = AtimeMode::Relatime,
        ("strictatime", None) => options.atime_mode = AtimeMode::Strictatime,
        ("norelatime", None) => take_back(options, AtimeMode::Relatime),
        ("nostrictatime", None) => take_back(options, AtimeMode::Strictatime),
        ("nodiratime", None) => options.directory_atimes = false,
        ("diratime", None) => options.directory_atimes = true,
        // As mount(8) says of a mount that users may make.
        ("owner" | "group", None) => (options.suid, options.dev) = (false, false),
        ("user", _) | ("users", None) => {
            (options.suid, options.dev, options.exec) = (false, false, false);
        }
        (FS_NAME, Some(fs_name)) if !fs_name.is_empty() => {
            options.fs_name = Some(fs_name.to_owned());
        }
        ("subdir", Some(path)) if !path.is_empty() => options.subdir = Some(path.into()),
        ("comment", Some(_)) => {}
        (name, _) if name.starts_with("x-") || name.starts_with("X-") => {}
        (name, None) if FOR_OTHERS.contains(&name) || ALWAYS.contains(&name) => {}
        (name, _) => {
            let known = REFUSED.iter().find(|(refused, _)| *refused == name);
            let why = known.map_or("there is no such mount option", |(_, why)| *why);
            return Err(refused(word, why));
        }
    }
    Ok(())
}

/// What is left if an earlier word said so is what a mount does by default.
fn take_back(options: &mut MountOptions, said: AtimeMode) {
    if options.atime_mode == said {
        options.atime_mode = AtimeMode::default();
    }
}

/// Whether there is such a word, and it may be said.
pub(super) fn takes(word: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    set(&mut MountOptions::default(), word, is_root).is_ok()
}

fn refused(word: &str, why: &str) -> anyhow::Error {
    Usage::error(format!("-o {word}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser as _;

    fn parsed_as(is_root: bool, words: &[&str]) -> Result<MountOptions> {
        let line = ["curlew", "mount", "curlew://h:1/v", "/m"];
        let line = line.iter().chain(words);
        match Args::try_parse_from(line).expect("a line").command {
            Command::Mount(args) => parse_for(&args, is_root),
            other => panic!("{other:?}"),
        }
    }

    fn parsed(words: &str) -> Result<MountOptions> {
        parsed_as(true, &["-o", words])
    }

    /// suid, dev, exec.
    fn flags(options: &MountOptions) -> (bool, bool, bool) {
        (options.suid, options.dev, options.exec)
    }

    #[test]
    fn set_id_bits_and_devices_do_not_count_unless_it_is_said() {
        let of = |words: &str| flags(&parsed(words).expect(words));
        let (on, off) = (true, false);
        assert_eq!(of("rw"), (off, off, on));
        assert_eq!(of("defaults"), (off, off, on), "safe by default");
        assert_eq!(of("suid,dev"), (on, on, on));
        assert_eq!(of("suid,nosuid,dev,nodev,noexec"), (off, off, off));
        assert_eq!(of("noexec,exec"), (off, off, on), "the last one holds");
        for by_users in ["user", "users", "user=ann"] {
            assert_eq!(of(&format!("suid,dev,{by_users}")), (off, off, off));
            assert_eq!(of(&format!("{by_users},exec")), (off, off, on));
        }
        assert_eq!(of("suid,owner"), (off, off, on));
        assert!(!parsed("rw").expect("taken").nonempty);
        assert!(parsed("nonempty").expect("taken").nonempty);
    }

    #[test]
    fn what_fstab_says_to_others_is_taken() {
        let line = "defaults,rw,auto,noauto,nofail,_netdev,x-systemd.automount,\
                    x-systemd.requires=\"a,b\",X-mount.mkdir=0755,comment=cloud,noatime,nodiratime,\
                    dirsync,async,allow_other,,default_permissions";
        assert!(!parsed(line).expect("taken").read_only);
        assert!(parsed("").is_ok(), "nothing");
    }

    #[test]
    fn read_only_is_the_last_word_or_the_flag() {
        let read_only = |words: &[&str]| parsed_as(true, words).expect("taken").read_only;
        assert!(read_only(&["-o", "rw,ro"]));
        assert!(!read_only(&["-o", "ro,rw"]));
        assert!(!read_only(&["-o", "ro", "-o", "rw"]));
        assert!(read_only(&["-o", "rw", "--read-only"]));
    }

    #[test]
    fn access_times_are_as_the_last_word_or_the_flag_says() {
        use AtimeMode::{Noatime, Relatime, Strictatime};
        let of = |words: &[&str]| parsed_as(true, words).expect("taken").atime_mode;
        assert_eq!(of(&[]), Noatime);
        for (words, mode) in [
            ("defaults,rw", Noatime),
            ("relatime", Relatime),
            ("atime", Relatime),
            ("strictatime,relatime", Relatime),
            ("relatime,strictatime", Strictatime),
            ("strictatime,noatime", Noatime),
            ("noatime,nodiratime,strictatime", Strictatime),
            ("relatime,norelatime", Noatime),
            ("relatime,nostrictatime", Relatime),
            ("strictatime,nostrictatime", Noatime),
        ] {
            assert_eq!(of(&["-o", words]), mode, "{words}");
        }
        assert_eq!(of(&["-o", "relatime", "-o", "noatime"]), Noatime);
        let flag = ["--atime-mode", "strictatime", "-o", "noatime"];
        assert_eq!(of(&flag), Strictatime, "whoever says it so means it");
        let twice = ["--atime-mode", "strictatime", "--atime-mode", "relatime"];
        assert_eq!(of(&twice), Relatime);
        let of_directories = |words: &str| parsed(words).expect("taken").directory_atimes;
        assert!(of_directories("relatime"));
        assert!(!of_directories("relatime,nodiratime"));
        assert!(of_directories("nodiratime,diratime,relatime"));
    }

    #[test]
    fn a_subdirectory_is_a_flag_or_a_word_and_leads_down() {
        let of = |words: &[&str]| parsed_as(true, words).map(|options| options.subdir);
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(of(&["-o", "ro,subdir=/a/b"]).expect("taken"), path("/a/b"));
        assert_eq!(of(&["--subdir", "a,b"]).expect("taken"), path("a,b"));
        let both = ["--subdir", "/x", "-o", "subdir=/y"];
        assert_eq!(of(&both).expect("taken"), path("/x"));
        for wrong in ["subdir=/a/../b", "subdir=", "subdir"] {
            assert!(of(&["-o", wrong]).expect_err(wrong).is::<Usage>());
        }
    }

    #[test]
    fn root_or_all_are_taken_for_a_user_and_not_for_root() {
        let ids = |uid, gid| fs_client::mount::Ids { uid, gid };
        let of = |words: &[&str]| parsed_as(true, words).expect("taken").squash;
        assert_eq!(of(&[]), Squash::Nobody);
        assert_eq!(
            of(&["--root-squash", "65534:100"]),
            Squash::Root(ids(65_534, 100))
        );
        assert_eq!(of(&["--all-squash", "5:6"]), Squash::All(ids(5, 6)));
        let line = ["curlew", "mount", "curlew://h:1/v", "/m"];
        for wrong in [
            &["--all-squash", "0:0"][..],
            &["--root-squash", "nobody"],
            &["--root-squash", "5:6", "--all-squash", "5:6"],
        ] {
            assert!(
                Args::try_parse_from(line.iter().chain(wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn what_would_not_be_so_is_refused_with_the_reason() {
        for (word, why) in [
            ("lazytime", "access times"),
            ("relatime=1", "no such mount option"),
            ("sync", "O_SYNC"),
            ("remount", "anew"),
            ("mand", "mandatory"),
            ("no_such_thing", "no such mount option"),
            ("ro=1", "no such mount option"),
            ("allow_root", "no such mount option"),
        ] {
            let error = parsed(&format!("rw,{word}")).expect_err(word);
            let text = format!("{error:#}");
            assert!(text.contains(&format!("-o {word}")), "{text}");
            assert!(text.contains(why), "{text}");
            assert!(error.is::<Usage>(), "{text}");
        }
        for word in FOR_ROOT {
            let error = parsed_as(false, &["-o", word]).expect_err(word);
            assert!(format!("{error:#}").contains("only root"), "{error:#}");
        }
        assert!(parsed_as(false, &["-o", "nosuid,nodev,noexec"]).is_ok());
    }
}
