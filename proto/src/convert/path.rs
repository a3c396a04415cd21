//! Paths, what lies along them, and attributes of many files.

use super::types::refusal;
use super::{Convert, bounded, list, maybe, name, need, unknown};
use crate::error::ConvertError;
use crate::v1::{self, attr_or_refusal, resolved};
use meta_core::attr::Attr;
use meta_core::ids::Ino;
use meta_core::limits::{PATH_BYTES_MAX, PATH_STEPS_MAX, SYMLINK_BYTES_MAX};
use meta_core::outcome::Refusal;
use meta_core::path::{Access, Links, PathEnd, PathStep, Resolve, Resolved};

impl From<&Resolve> for v1::Resolve {
    fn from(word: &Resolve) -> Self {
        let Resolve {
            from,
            path,
            links,
            open,
        } = word;
        let links = match links {
            Links::Stop => v1::Links::Stop,
            Links::Above => v1::Links::Above,
            Links::All => v1::Links::All,
        };
        Self {
            from: from.0,
            path: path.clone(),
            links: links.into(),
            open: open.map(|Access { read, write }| v1::Access { read, write }),
        }
    }
}

impl Convert<Resolve> for v1::Resolve {
    fn convert(self) -> Result<Resolve, ConvertError> {
        let links = match self.links() {
            v1::Links::Stop => Links::Stop,
            v1::Links::Above => Links::Above,
            v1::Links::All => Links::All,
            v1::Links::Unspecified => return Err(unknown("Resolve.links", self.links)),
        };
        Ok(Resolve {
            from: Ino(self.from),
            path: bounded(self.path, "Resolve.path", PATH_BYTES_MAX)?,
            links,
            open: maybe(self.open)?,
        })
    }
}

impl Convert<Access> for v1::Access {
    fn convert(self) -> Result<Access, ConvertError> {
        let v1::Access { read, write } = self;
        Ok(Access { read, write })
    }
}

impl From<&Resolved> for v1::Resolved {
    fn from(word: &Resolved) -> Self {
        let Resolved {
            directory,
            steps,
            end,
        } = word;
        let end = match end {
            PathEnd::Reached => resolved::End::Reached(v1::Nothing {}),
            PathEnd::Symlink { target, rest } => resolved::End::Symlink(v1::PathSymlink {
                target: target.clone(),
                rest: rest.clone(),
            }),
            PathEnd::Above { rest } => resolved::End::Above(rest.clone()),
            PathEnd::Refused { refusal, rest } => resolved::End::Refused(v1::PathRefused {
                refusal: v1::Refusal::from(*refusal).into(),
                rest: rest.clone(),
            }),
        };
        Self {
            directory: Some(directory.into()),
            steps: steps.iter().map(Into::into).collect(),
            end: Some(end),
        }
    }
}

impl Convert<Resolved> for v1::Resolved {
    fn convert(self) -> Result<Resolved, ConvertError> {
        let end = self.end.ok_or(ConvertError::Missing("Resolved.end"))?;
        let rest = |bytes| bounded(bytes, "Resolved.rest", PATH_BYTES_MAX);
        let end = match end {
            resolved::End::Reached(v1::Nothing {}) => PathEnd::Reached,
            resolved::End::Symlink(m) => PathEnd::Symlink {
                target: bounded(m.target, "PathSymlink.target", SYMLINK_BYTES_MAX)?,
                rest: rest(m.rest)?,
            },
            resolved::End::Above(bytes) => PathEnd::Above { rest: rest(bytes)? },
            resolved::End::Refused(m) => PathEnd::Refused {
                refusal: refusal(m.refusal)?,
                rest: rest(m.rest)?,
            },
        };
        Ok(Resolved {
            directory: need(self.directory, "Resolved.directory")?,
            steps: list(self.steps, "Resolved.steps", PATH_STEPS_MAX)?,
            end,
        })
    }
}

impl From<&PathStep> for v1::PathStep {
    fn from(word: &PathStep) -> Self {
        let PathStep { parent, name, attr } = word;
        let name = name.as_ref().map(|name| name.as_bytes().to_vec());
        Self {
            parent: parent.0,
            name: name.unwrap_or_default(),
            attr: Some(attr.into()),
        }
    }
}

impl Convert<PathStep> for v1::PathStep {
    fn convert(self) -> Result<PathStep, ConvertError> {
        let name = match self.name {
            bytes if bytes.is_empty() => None,
            bytes => Some(name(bytes, "PathStep.name")?),
        };
        Ok(PathStep {
            parent: Ino(self.parent),
            name,
            attr: need(self.attr, "PathStep.attr")?,
        })
    }
}

impl From<&Result<Attr, Refusal>> for v1::AttrOrRefusal {
    fn from(word: &Result<Attr, Refusal>) -> Self {
        let result = match word {
            Ok(attr) => attr_or_refusal::Result::Attr(attr.into()),
            Err(refusal) => attr_or_refusal::Result::Refused(v1::Refusal::from(*refusal).into()),
        };
        Self {
            result: Some(result),
        }
    }
}

impl Convert<Result<Attr, Refusal>> for v1::AttrOrRefusal {
    fn convert(self) -> Result<Result<Attr, Refusal>, ConvertError> {
        let missing = ConvertError::Missing("AttrOrRefusal.result");
        match self.result.ok_or(missing)? {
            attr_or_refusal::Result::Attr(m) => Ok(Ok(m.convert()?)),
            attr_or_refusal::Result::Refused(number) => Ok(Err(refusal(number)?)),
        }
    }
}
