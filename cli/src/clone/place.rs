//! Where `curlew clone` copies from and to.

use super::args::CloneArgs;
use crate::caller::caller;
use crate::exit::Usage;
use crate::target::{self, MountedName};
use crate::volume_path;
use anyhow::{Context, Result, anyhow, bail};
use meta_client::{MetaSession, MetaUrl};
use meta_core::attr::Caller;
use meta_core::ids::Ino;
use meta_core::name::Name;
use meta_core::path::{Links, PathEnd, Resolve};
use meta_core::query::{Answer, QueryBody};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A copy that is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) url: MetaUrl,
    /// On whose behalf.
    pub(super) caller: Caller,
    source: Place,
    target: Place,
}

#[derive(Debug)]
enum Place {
    /// On a mount, which knows the directory that holds it.
    Mounted(Ino, Name),
    /// From the volume's root.
    Names(Vec<Name>),
}

impl Asked {
    /// What the arguments say.
    ///
    /// # Errors
    /// Wrong usage; paths that are on no mount, or on mounts of two volumes.
    pub(super) fn find(args: &CloneArgs) -> Result<Self> {
        match &args.places[..] {
            [url, source, target] if is_url(url) => Ok(Self {
                url: target::resolve(&url.to_string_lossy())?,
                caller: caller(),
                source: Place::Names(volume_path::names_or_root(source)?),
                target: Place::Names(volume_path::names(target)?),
            }),
            [source, target] if !is_url(source) && !is_url(target) => {
                Self::on_mounts(source, target)
            }
            _ => Err(Usage::error(
                "give SRC and DST on a mount, or a META-URL and then SRC and DST from the volume's root",
            )),
        }
    }

    fn on_mounts(source: &Path, target: &Path) -> Result<Self> {
        let from = MountedName::find(source)?;
        let to = MountedName::find(target)?;
        if to.mounted.is_read_only()? {
            bail!(
                "{} is on a read-only mount; mount the volume without --read-only",
                target.display()
            );
        }
        let url = to.mounted.url()?;
        if from.mounted.url()? != url {
            bail!(
                "{} and {} are on mounts of different volumes, or of different addresses of one: \
                 a copy shares data with its source, which must be on the same volume",
                source.display(),
                target.display()
            );
        }
        Ok(Self {
            caller: to.mounted.caller()?,
            url,
            source: Place::of(&from)?,
            target: Place::of(&to)?,
        })
    }

    /// What is copied.
    pub(super) async fn source(&self, session: &MetaSession) -> Result<Ino> {
        match &self.source {
            Place::Mounted(parent, name) => {
                let body = QueryBody::Lookup {
                    parent: *parent,
                    name: name.clone(),
                };
                match session.query(self.caller.clone(), body).await? {
                    Answer::Attr(attr) => Ok(attr.ino),
                    _ => bail!("the cluster answered another question"),
                }
            }
            Place::Names(names) if names.is_empty() => Ok(Ino::ROOT),
            Place::Names(names) => {
                let path = names.iter().map(Name::as_bytes).collect::<Vec<_>>();
                let asked = Resolve {
                    from: Ino::ROOT,
                    path: path.join(&b'/'),
                    links: Links::Stop,
                    open: None,
                };
                let found = session.resolve(&self.caller, asked).await?;
                match &found.end {
                    PathEnd::Reached => Ok(found.last().ino),
                    PathEnd::Refused { refusal, .. } => Err(anyhow!(*refusal)
                        .context(format!("cannot go to {}", volume_path::shown(names)))),
                    _ => bail!(
                        "{} leads over a symlink, and links are not followed: give the path that it leads to",
                        volume_path::shown(names)
                    ),
                }
            }
        }
    }

    /// The directory that the copy is to be in, and its name there.
    pub(super) async fn target(&self, session: &MetaSession) -> Result<(Ino, Name)> {
        match &self.target {
            Place::Mounted(parent, name) => Ok((*parent, name.clone())),
            Place::Names(names) => {
                let name = names.last().context("there is a name")?.clone();
                let parent = volume_path::holder(session, &self.caller, names).await?;
                Ok((parent, name))
            }
        }
    }
}

impl Place {
    fn of(named: &MountedName) -> Result<Self> {
        let name = Name::new(named.name.as_bytes()).map_err(|refusal| anyhow!("{refusal}"))?;
        Ok(Self::Mounted(Ino(named.parent), name))
    }
}

pub(super) fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(target::is_meta_url)
}
