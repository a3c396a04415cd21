//! Paths of a volume, which are followed by the engine and not by a mount.

use crate::exit::Usage;
use anyhow::{Context as _, Result, anyhow, bail};
use meta_client::{Cluster, MetaSession};
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::ids::{Ino, VolumeId};
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::path::{Links, PathEnd, Resolve, Resolved};
use meta_core::query::{Answer, Query, QueryBody};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

/// The names that lead from the volume's root to `path`, which must not be the root.
pub(crate) fn names(path: &Path) -> Result<Vec<Name>> {
    let names = names_or_root(path)?;
    if names.is_empty() {
        return Err(Usage::error(format!(
            "{} is the volume's root: give a path below it, such as /a",
            path.display()
        )));
    }
    Ok(names)
}

/// The same, and none for the root itself.
pub(crate) fn names_or_root(path: &Path) -> Result<Vec<Name>> {
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
    Ok(names)
}

fn name_of(name: &OsStr) -> Result<Name> {
    let refused = |refusal| anyhow!("{}: {refusal}", name.display());
    Name::new(name.as_bytes()).map_err(refused)
}

/// The directory that holds the last of some names, which lead from the root, whether something has
/// that name or not: with one question. Links are not followed.
pub(crate) async fn holder(session: &MetaSession, caller: &Caller, names: &[Name]) -> Result<Ino> {
    held_by(&session.resolve(caller, walk(names)).await?, names)
}

/// The file that some names lead to, with one question; none lead to the root. Links are not followed.
pub(crate) async fn file(
    cluster: &Cluster,
    volume: VolumeId,
    caller: &Caller,
    names: &[Name],
) -> Result<Attr> {
    let query = Query {
        volume,
        caller: caller.clone(),
        body: QueryBody::Resolve(walk(names)),
    };
    match cluster.query(query).await? {
        Answer::Resolved(found) => at_end(&found, names),
        _ => bail!("the cluster answered another question"),
    }
}

fn walk(names: &[Name]) -> Resolve {
    let path = names.iter().map(Name::as_bytes).collect::<Vec<_>>();
    Resolve {
        from: Ino::ROOT,
        path: path.join(&b'/'),
        links: Links::Stop,
        open: None,
    }
}

fn at_end(found: &Resolved, names: &[Name]) -> Result<Attr> {
    match &found.end {
        PathEnd::Reached => Ok(found.last().clone()),
        _ => Err(astray(found, names)),
    }
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
        _ => Err(astray(found, names)),
    }
}

/// Why a walk along some names did not come to its end.
fn astray(found: &Resolved, names: &[Name]) -> anyhow::Error {
    let passed = found.steps.len().min(names.len());
    let next = (passed + 1).min(names.len());
    match &found.end {
        PathEnd::Symlink { .. } => anyhow!(
            "{} is a symlink, and links are not followed: give the path that it leads to",
            shown(&names[..passed])
        ),
        PathEnd::Refused {
            refusal: Refusal::NotFound,
            ..
        } => anyhow!("the volume has no directory {}", shown(&names[..next])),
        PathEnd::Refused { refusal, .. } => {
            anyhow!(*refusal).context(format!("cannot go to {}", shown(&names[..next])))
        }
        PathEnd::Reached | PathEnd::Above { .. } => anyhow!("the path was not walked to its end"),
    }
}

/// A path of a volume, for people.
pub(crate) fn shown(names: &[Name]) -> String {
    if names.is_empty() {
        return "/".to_owned();
    }
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
        let or_root = |path: &str| names_or_root(Path::new(path)).map(|names| shown(&names));
        assert_eq!(or_root("/").expect("the root"), "/");
        assert_eq!(or_root("a//b/").expect("names"), "/a/b");
        assert!(or_root("/a/..").is_err());
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
    fn a_file_is_found_only_where_all_names_lead_to_it() {
        let of = |found: &Resolved| at_end(found, &names(Path::new("/a/b")).expect("names"));
        let reached = walked(2, FileKind::Directory, PathEnd::Reached);
        assert_eq!(of(&reached).expect("there").ino, Ino(3));
        let missing = PathEnd::Refused {
            refusal: Refusal::NotFound,
            rest: Vec::new(),
        };
        let error = of(&walked(1, FileKind::Directory, missing)).expect_err("missing");
        assert!(error.to_string().contains("no directory /a/b"), "{error}");
        let root = walked(0, FileKind::Directory, PathEnd::Reached);
        assert_eq!(at_end(&root, &[]).expect("the root").ino, Ino(1));
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
