//! Paths of a volume, which are followed by the engine and not by a mount.

use crate::exit::Usage;
use anyhow::{Context as _, Result, anyhow, bail};
use meta_client::MetaSession;
use meta_core::attr::{Caller, FileKind};
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::path::{Links, PathEnd, Resolve, Resolved};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

/// The names that lead from the volume's root to `path`, which must not be the root.
pub(crate) fn names(path: &Path) -> Result<Vec<Name>> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(name_of(name)?),
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Usage::error(format!(
                    "{} must lead down from the volume's root",
                    path.display()
                )));
            }
        }
    }
    if names.is_empty() {
        return Err(Usage::error(format!(
            "{} is the volume's root: give a path below it, such as /a",
            path.display()
        )));
    }
    Ok(names)
}

fn name_of(name: &OsStr) -> Result<Name> {
    let refused = |refusal| anyhow!("{}: {refusal}", name.display());
    Name::new(name.as_bytes()).map_err(refused)
}

/// The directory that holds the last of some names, which lead from the root, whether something has
/// that name or not: with one question. Links are not followed.
pub(crate) async fn holder(session: &MetaSession, caller: &Caller, names: &[Name]) -> Result<Ino> {
    let path = names.iter().map(Name::as_bytes).collect::<Vec<_>>();
    let asked = Resolve {
        from: Ino::ROOT,
        path: path.join(&b'/'),
        links: Links::Stop,
        open: None,
    };
    held_by(&session.resolve(caller, asked).await?, names)
}

fn held_by(found: &Resolved, names: &[Name]) -> Result<Ino> {
    let passed = found.steps.len();
    if passed == names.len() {
        let last = found.steps.last().context("there is a name")?;
        return Ok(last.parent);
    }
    // What is wrong with the last one, whoever works with it is told.
    let is_last = passed + 1 == names.len();
    match &found.end {
        PathEnd::Refused { .. } if is_last && found.last().kind == FileKind::Directory => {
            Ok(found.place())
        }
        PathEnd::Symlink { .. } => bail!(
            "{} is a symlink, and links are not followed: give the path that it leads to",
            shown(&names[..passed])
        ),
        PathEnd::Refused {
            refusal: Refusal::NotFound,
            ..
        } => bail!("the volume has no directory {}", shown(&names[..=passed])),
        PathEnd::Refused { refusal, .. } => {
            Err(anyhow!(*refusal).context(format!("cannot go to {}", shown(&names[..=passed]))))
        }
        PathEnd::Reached | PathEnd::Above { .. } => bail!("the path was not walked to its end"),
    }
}

/// A path of a volume, for people.
fn shown(names: &[Name]) -> String {
    names.iter().map(|name| format!("/{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::{Attr, Timestamp};
    use meta_core::path::PathStep;

    #[test]
    fn a_path_leads_down_from_the_root() {
        let names = |path: &str| names(Path::new(path)).map(|names| names.len());
        assert_eq!(names("/a/./b//c").expect("names"), 3);
        assert_eq!(names("a").expect("names"), 1);
        for path in ["/", "", ".", "/a/..", "../a"] {
            let error = names(path).expect_err(path);
            assert!(error.is::<Usage>(), "{path}: {error}");
        }
    }

    /// A walk down directories with the inodes 2, 3 and so on, the last of which may be of another kind.
    fn walked(steps: u64, last: FileKind, end: PathEnd) -> Resolved {
        let attr = |ino: u64| Attr {
            ino: Ino(ino),
            kind: if ino == steps + 1 {
                last
            } else {
                FileKind::Directory
            },
            mode: 0o755,
            uid: 0,
            gid: 0,
            rdev: 0,
            nlink: 2,
            length: 0,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            parent: Ino(ino - 1),
            btime: None,
            access_acl: false,
            default_acl: false,
        };
        let step = |ino: u64| PathStep {
            parent: Ino(ino - 1),
            name: Some(Name::new("n").expect("a name")),
            attr: attr(ino),
        };
        Resolved {
            directory: attr(1),
            steps: (2..steps + 2).map(step).collect(),
            end,
        }
    }

    #[test]
    fn the_holder_of_a_name_is_told_or_where_the_way_ends() {
        let of = |found: &Resolved| held_by(found, &names(Path::new("/a/b/c")).expect("names"));
        let refused = |refusal| PathEnd::Refused {
            refusal,
            rest: Vec::new(),
        };
        let directory = FileKind::Directory;
        let reached = walked(3, FileKind::Regular, PathEnd::Reached);
        assert_eq!(of(&reached).expect("there"), Ino(3));
        // Whether the name is there is not asked here.
        for refusal in [Refusal::NotFound, Refusal::AccessDenied] {
            let missing = walked(2, directory, refused(refusal));
            assert_eq!(of(&missing).expect("there"), Ino(3));
        }
        let link = PathEnd::Symlink {
            target: b"x".to_vec(),
            rest: b"/c".to_vec(),
        };
        let wrong = [
            (
                walked(0, directory, refused(Refusal::NotFound)),
                "no directory /a",
            ),
            (
                walked(1, directory, refused(Refusal::NotFound)),
                "no directory /a/b",
            ),
            (
                walked(1, directory, refused(Refusal::AccessDenied)),
                "cannot go to /a/b",
            ),
            (
                walked(2, FileKind::Regular, refused(Refusal::NotDirectory)),
                "cannot go to /a/b/c",
            ),
            (walked(2, FileKind::Symlink, link), "/a/b is a symlink"),
        ];
        for (found, expected) in wrong {
            let error = format!("{:#}", of(&found).expect_err(expected));
            assert!(error.contains(expected), "{error}");
        }
    }
}
