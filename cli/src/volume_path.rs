//! Paths of a volume, which are followed by the engine and not by a mount.

use crate::exit::Usage;
use anyhow::{Result, anyhow, bail};
use meta_client::{ClientError, MetaSession};
use meta_core::attr::Caller;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
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

/// The directory that names lead to from the root. Links are not followed.
pub(crate) async fn directory(
    session: &MetaSession,
    caller: &Caller,
    names: &[Name],
) -> Result<Ino> {
    let mut parent = Ino::ROOT;
    for name in names {
        let body = QueryBody::Lookup {
            parent,
            name: name.clone(),
        };
        match session.query(caller.clone(), body).await {
            Ok(Answer::Attr(attr)) => parent = attr.ino,
            Ok(other) => bail!("a directory is {other:?}"),
            Err(ClientError::Refused(Refusal::NotFound)) => {
                bail!("the volume has no directory {name}")
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
