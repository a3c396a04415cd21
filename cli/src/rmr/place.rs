//! Where the trees lie that `curlew rmr` is to remove.

use super::args::RmrArgs;
use crate::caller::caller;
use crate::exit::Usage;
use crate::target::{self, MountedName};
use crate::volume_path;
use anyhow::{Context, Result, anyhow, bail};
use meta_client::{Doomed, MetaSession, MetaUrl};
use meta_core::attr::Caller;
use meta_core::ids::Ino;
use meta_core::name::Name;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// One name to remove.
#[derive(Debug)]
pub(super) struct Place {
    /// As the user named it.
    pub(super) path: PathBuf,
    pub(super) at: Result<At>,
}

/// Where it is.
#[derive(Debug)]
pub(super) struct At {
    pub(super) url: MetaUrl,
    /// On whose behalf.
    pub(super) caller: Caller,
    way: Way,
    skip_trash: bool,
}

#[derive(Debug)]
enum Way {
    /// On a mount, which knows the directory that holds it.
    Mounted(MountedName, Name),
    /// From the volume's root.
    Names(Vec<Name>),
}

impl At {
    /// What the engine is to remove.
    pub(super) async fn doomed(&self, session: &MetaSession) -> Result<Doomed> {
        match &self.way {
            Way::Mounted(named, name) => Ok(Doomed {
                parent: Ino(named.parent),
                name: name.clone(),
                skip_trash: self.skip_trash,
            }),
            Way::Names(names) => {
                let name = names.last().context("there is a name")?.clone();
                let parent = volume_path::holder(session, &self.caller, names).await?;
                Ok(Doomed {
                    parent,
                    name,
                    skip_trash: self.skip_trash,
                })
            }
        }
    }

    /// Its path on a mount, whose kernel may show it for a while after it is gone.
    pub(super) fn mounted(&self) -> Option<&Path> {
        match &self.way {
            Way::Mounted(named, _) => Some(&named.path),
            Way::Names(_) => None,
        }
    }
}

/// Finds all of them. One that cannot be found does not hold up the others.
///
/// # Errors
/// Wrong usage, before anything is removed.
pub(super) fn find(args: &RmrArgs) -> Result<Vec<Place>> {
    let is_url = |path: &PathBuf| path.to_str().is_some_and(target::is_meta_url);
    if !args.paths.iter().any(is_url) {
        if !args.inside.is_empty() {
            return Err(Usage::error(
                "--path is for a META-URL; give paths on a mount as they are",
            ));
        }
        let places = args.paths.iter();
        return places.map(|path| on_mount(path, args.skip_trash)).collect();
    }
    let url = match &args.paths[..] {
        [one] => target::resolve(&one.to_string_lossy())?,
        _ => {
            return Err(Usage::error(
                "with a META-URL there is nothing beside it but --path",
            ));
        }
    };
    if args.inside.is_empty() {
        return Err(Usage::error(
            "with a META-URL, say with --path what to remove: the whole volume is not removed",
        ));
    }
    let place = |path: &PathBuf| {
        let names = volume_path::names(path)?;
        let url = url.clone();
        Ok(Place {
            path: path.clone(),
            at: Ok(At {
                url,
                caller: caller(),
                way: Way::Names(names),
                skip_trash: args.skip_trash,
            }),
        })
    };
    args.inside.iter().map(place).collect()
}

fn on_mount(path: &Path, skip_trash: bool) -> Result<Place> {
    let at = match mounted(path, skip_trash) {
        Err(error) if error.is::<Usage>() => return Err(error),
        at => at,
    };
    let path = path.to_owned();
    Ok(Place { path, at })
}

fn mounted(path: &Path, skip_trash: bool) -> Result<At> {
    let named = MountedName::find(path)?;
    if named.mounted.is_read_only()? {
        bail!("it is mounted read-only; mount the volume without --read-only");
    }
    let name = Name::new(named.name.as_bytes()).map_err(|refusal| anyhow!("{refusal}"))?;
    let url = named.mounted.url()?;
    Ok(At {
        url,
        caller: named.mounted.caller()?,
        way: Way::Mounted(named, name),
        skip_trash,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: RmrArgs,
    }

    const URL: &str = "curlew://127.0.0.1:7101/data";

    fn found(words: &[&str]) -> Result<Vec<Place>> {
        let line = ["rmr"].iter().chain(words);
        find(&Line::try_parse_from(line).expect("a line").args)
    }

    #[test]
    fn paths_of_a_volume_are_taken_from_its_root() {
        let places = found(&[URL, "--path", "/a/b", "--path", "c"]).expect("places");
        let names: Vec<usize> = places
            .iter()
            .map(|place| match place.at.as_ref().map(|at| &at.way) {
                Ok(Way::Names(names)) => names.len(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(names, [2, 1]);
    }

    #[test]
    fn a_whole_volume_and_what_makes_no_sense_are_wrong_usage() {
        let cases: [&[&str]; 6] = [
            &[URL],
            &[URL, "--path", "/"],
            &[URL, "--path", "/a/../.."],
            &[URL, "/tmp", "--path", "/a"],
            &["/tmp", "--path", "/a"],
            &["curlew://nothing", "--path", "/a"],
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
}
