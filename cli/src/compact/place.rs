//! Where the trees lie that `curlew compact` is to go through.

use super::args::CompactArgs;
use crate::caller::caller;
use crate::exit::Usage;
use crate::target::{self, MountedFile};
use crate::volume_path;
use anyhow::{Result, bail};
use meta_client::MetaUrl;
use meta_core::attr::Caller;
use meta_core::ids::Ino;
use meta_core::name::Name;
use std::path::{Path, PathBuf};

/// One file or directory.
#[derive(Debug)]
pub(super) struct Place {
    /// As it is shown.
    pub(super) path: String,
    pub(super) at: Result<At>,
}

/// Where it is.
#[derive(Debug)]
pub(super) struct At {
    pub(super) url: MetaUrl,
    pub(super) way: Way,
}

/// How it is found.
#[derive(Debug)]
pub(super) enum Way {
    /// On a mount, which knows its number.
    Mounted(Ino),
    /// From the volume's root.
    Names(Vec<Name>),
}

/// Finds all of them. One that cannot be found does not hold up the others.
///
/// # Errors
/// Wrong usage, before anything is done.
pub(super) fn find(args: &CompactArgs) -> Result<Vec<Place>> {
    let is_url = |path: &PathBuf| path.to_str().is_some_and(target::is_meta_url);
    if args.more.iter().any(is_url) {
        return Err(Usage::error(
            "a META-URL comes first, and only paths from its volume's root come behind it",
        ));
    }
    if !is_url(&args.at) {
        let paths = std::iter::once(&args.at).chain(&args.more);
        return paths.map(|path| on_mount(path)).collect();
    }
    let url = target::resolve(&args.at.to_string_lossy())?;
    if args.more.is_empty() {
        return Err(Usage::error(
            "with a META-URL, say what to compact behind it: / is the whole volume",
        ));
    }
    let paths = args.more.iter();
    paths.map(|path| in_volume(&url, path)).collect()
}

fn in_volume(url: &MetaUrl, path: &Path) -> Result<Place> {
    let names = volume_path::names_or_root(path)?;
    Ok(Place {
        path: volume_path::shown(&names),
        at: only_root(&caller()).map(|()| At {
            url: url.clone(),
            way: Way::Names(names),
        }),
    })
}

fn on_mount(path: &Path) -> Result<Place> {
    let at = match mounted(path) {
        Err(error) if error.is::<Usage>() => return Err(error),
        at => at,
    };
    let path = path.display().to_string();
    Ok(Place { path, at })
}

fn mounted(path: &Path) -> Result<At> {
    let file = MountedFile::find(path)?;
    if file.mounted.is_read_only()? {
        bail!("it is mounted read-only; mount the volume without --read-only");
    }
    only_root(&file.mounted.caller()?)?;
    Ok(At {
        url: file.mounted.url()?,
        way: Way::Mounted(Ino(file.inode)),
    })
}

/// Whoever compacts reads and writes what files hold, whoever owns them.
fn only_root(caller: &Caller) -> Result<()> {
    if !caller.is_root() {
        bail!("only root may compact: run this as root");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: CompactArgs,
    }

    const URL: &str = "curlew://127.0.0.1:7101/data";

    fn found(words: &[&str]) -> Result<Vec<Place>> {
        let line = ["compact"].iter().chain(words);
        find(&Line::try_parse_from(line).expect("a line").args)
    }

    #[test]
    fn paths_of_a_volume_are_taken_from_its_root() {
        let places = found(&[URL, "/a//b", "c", "/"]).expect("places");
        let shown: Vec<&str> = places.iter().map(|place| place.path.as_str()).collect();
        assert_eq!(shown, ["/a/b", "/c", "/"]);
    }

    #[test]
    fn what_makes_no_sense_is_wrong_usage() {
        let cases: [&[&str]; 5] = [
            &[URL],
            &[URL, "/a/../.."],
            &[URL, URL],
            &["/tmp", URL],
            &["curlew://nothing", "/a"],
        ];
        for case in cases {
            let error = found(case).expect_err(&case.join(" "));
            assert!(error.is::<Usage>(), "{case:?}: {error}");
        }
    }

    #[test]
    fn one_that_is_on_no_mount_does_not_hold_up_the_others() {
        let places = found(&["/proc/self", "/nowhere/at/all"]).expect("places");
        let errors: Vec<String> = places
            .iter()
            .map(|place| place.at.as_ref().expect_err("no mount").to_string())
            .collect();
        assert!(errors[0].contains("not on a Curlew mount"), "{errors:?}");
        assert!(errors[1].contains("cannot go to"), "{errors:?}");
    }

    #[test]
    fn only_root_may() {
        let user = Caller {
            uid: 7,
            gid: 0,
            groups: vec![0],
        };
        let error = only_root(&user).expect_err("no root").to_string();
        assert!(error.contains("run this as root"), "{error}");
        assert!(only_root(&Caller::root()).is_ok());
    }
}
