//! Queries.

use super::{Convert, bounded, compaction, name, narrow, need, quota, text, within};
use crate::error::ConvertError;
use crate::v1::{self, query::Body};
use meta_core::ids::{ChunkIndex, DentryNumber, Ino, SessionId, SliceOrder, VolumeId};
use meta_core::limits::{
    AMOUNTS_MAX, GET_ATTRS_MAX, READDIR_ENTRIES_MAX, VOLUME_NAME_BYTES_MAX, XATTR_NAME_BYTES_MAX,
};
use meta_core::query::{Query, QueryBody, SliceCursor};

impl From<&Query> for v1::Query {
    fn from(word: &Query) -> Self {
        let Query {
            volume,
            caller,
            body,
        } = word;
        Self {
            volume: volume.0,
            caller: Some(caller.into()),
            body: Some(body.into()),
        }
    }
}

impl Convert<Query> for v1::Query {
    fn convert(self) -> Result<Query, ConvertError> {
        let caller = need(self.caller, "Query.caller")?;
        Ok(Query {
            volume: VolumeId(self.volume),
            caller,
            body: need(self.body, "Query.body")?,
        })
    }
}

impl From<&QueryBody> for Body {
    fn from(word: &QueryBody) -> Self {
        match word {
            QueryBody::Lookup { parent, name } => Self::Lookup(v1::Lookup {
                parent: parent.0,
                name: name.as_bytes().to_vec(),
            }),
            QueryBody::GetAttr { ino } => Self::GetAttr(v1::GetAttr { ino: ino.0 }),
            QueryBody::GetAttrs { inos } => Self::GetAttrs(v1::GetAttrs {
                inos: inos.iter().map(|ino| ino.0).collect(),
            }),
            QueryBody::Resolve(asked) => Self::Resolve(asked.into()),
            QueryBody::Open { ino, read, write } => Self::Open(v1::Open {
                ino: ino.0,
                read: *read,
                write: *write,
            }),
            QueryBody::ReadDir {
                ino,
                after,
                entries_max,
                with_attrs,
            } => Self::ReadDir(v1::ReadDir {
                ino: ino.0,
                after: after.0,
                entries_max: *entries_max,
                with_attrs: *with_attrs,
            }),
            QueryBody::ReadLink { ino } => Self::ReadLink(v1::ReadLink { ino: ino.0 }),
            QueryBody::ReadSlices { ino, from, end } => Self::ReadSlices(v1::ReadSlices {
                ino: ino.0,
                from: Some((*from).into()),
                end: end.0,
            }),
            QueryBody::GetXattr { ino, name } => Self::GetXattr(v1::GetXattr {
                ino: ino.0,
                name: name.clone(),
            }),
            QueryBody::ListXattr { ino } => Self::ListXattr(v1::ListXattr { ino: ino.0 }),
            QueryBody::StatVolume => Self::StatVolume(v1::Nothing {}),
            QueryBody::Followers => Self::Followers(v1::Nothing {}),
            QueryBody::Backup => Self::Backup(v1::Nothing {}),
            QueryBody::Trash(asked) => Self::Trash(asked.into()),
            QueryBody::Usage(subject) => Self::Usage((*subject).into()),
            QueryBody::Amounts { inos } => Self::Amounts(v1::Inodes {
                inos: inos.iter().map(|ino| ino.0).collect(),
            }),
            QueryBody::Limits { after, count_max } => {
                Self::Limits(quota::ask_limits(*after, *count_max))
            }
            QueryBody::Space { ino } => Self::Space(v1::GetAttr { ino: ino.0 }),
            QueryBody::Compactable { after, count_max } => {
                Self::Compactable(compaction::ask(*after, *count_max))
            }
            QueryBody::PlanCompaction { ino, chunk, effort } => {
                Self::PlanCompaction(compaction::plan_compaction(*ino, *chunk, *effort))
            }
            QueryBody::Clones => Self::Clones(v1::AskClones {}),
            QueryBody::GetLock(asked) => Self::GetLock(asked.into()),
            QueryBody::PathOf { ino } => Self::PathOf(v1::PathOf { ino: ino.0 }),
            QueryBody::FindVolume { name } => {
                Self::FindVolume(v1::FindVolume { name: name.clone() })
            }
            QueryBody::Orphans { after, count_max } => Self::Orphans(page(after.0, *count_max)),
            QueryBody::Cuts { after, count_max } => Self::Cuts(page(after.0, *count_max)),
            QueryBody::Sessions { after, count_max } => Self::Sessions(page(after.0, *count_max)),
            QueryBody::Volumes { after, count_max } => {
                Self::Volumes(page(u64::from(after.0), *count_max))
            }
        }
    }
}

fn page(after: u64, count_max: u32) -> v1::Page {
    v1::Page { after, count_max }
}

impl Convert<QueryBody> for Body {
    fn convert(self) -> Result<QueryBody, ConvertError> {
        Ok(match self {
            Self::Lookup(m) => QueryBody::Lookup {
                parent: Ino(m.parent),
                name: name(m.name, "Lookup.name")?,
            },
            Self::GetAttr(m) => QueryBody::GetAttr { ino: Ino(m.ino) },
            Self::GetAttrs(m) => {
                let inos = bounded(m.inos, "GetAttrs.inos", GET_ATTRS_MAX)?;
                let inos = inos.into_iter().map(Ino).collect();
                QueryBody::GetAttrs { inos }
            }
            Self::Resolve(m) => QueryBody::Resolve(m.convert()?),
            Self::Open(m) => QueryBody::Open {
                ino: Ino(m.ino),
                read: m.read,
                write: m.write,
            },
            Self::ReadDir(m) => read_dir(&m)?,
            Self::ReadLink(m) => QueryBody::ReadLink { ino: Ino(m.ino) },
            Self::ReadSlices(m) => QueryBody::ReadSlices {
                ino: Ino(m.ino),
                from: need(m.from, "ReadSlices.from")?,
                end: ChunkIndex(m.end),
            },
            Self::GetXattr(m) => QueryBody::GetXattr {
                ino: Ino(m.ino),
                name: bounded(m.name, "GetXattr.name", XATTR_NAME_BYTES_MAX)?,
            },
            Self::ListXattr(m) => QueryBody::ListXattr { ino: Ino(m.ino) },
            Self::StatVolume(v1::Nothing {}) => QueryBody::StatVolume,
            Self::Followers(v1::Nothing {}) => QueryBody::Followers,
            Self::Backup(v1::Nothing {}) => QueryBody::Backup,
            Self::Trash(m) => QueryBody::Trash(m.convert()?),
            Self::Usage(m) => QueryBody::Usage(m.convert()?),
            Self::Amounts(m) => {
                let inos = bounded(m.inos, "Query.amounts", AMOUNTS_MAX)?;
                let inos = inos.into_iter().map(Ino).collect();
                QueryBody::Amounts { inos }
            }
            Self::Limits(m) => m.convert()?,
            Self::Space(m) => QueryBody::Space { ino: Ino(m.ino) },
            Self::Compactable(m) => m.convert()?,
            Self::PlanCompaction(m) => m.convert()?,
            Self::Clones(v1::AskClones {}) => QueryBody::Clones,
            Self::GetLock(m) => QueryBody::GetLock(m.convert()?),
            Self::PathOf(m) => QueryBody::PathOf { ino: Ino(m.ino) },
            Self::FindVolume(m) => QueryBody::FindVolume {
                name: text(m.name, "FindVolume.name", VOLUME_NAME_BYTES_MAX)?,
            },
            Self::Orphans(m) => QueryBody::Orphans {
                after: Ino(m.after),
                count_max: m.count_max,
            },
            Self::Cuts(m) => QueryBody::Cuts {
                after: Ino(m.after),
                count_max: m.count_max,
            },
            Self::Sessions(m) => QueryBody::Sessions {
                after: SessionId(m.after),
                count_max: m.count_max,
            },
            Self::Volumes(m) => QueryBody::Volumes {
                after: VolumeId(narrow(m.after, "Volumes.after", u32::MAX)?),
                count_max: m.count_max,
            },
        })
    }
}

fn read_dir(m: &v1::ReadDir) -> Result<QueryBody, ConvertError> {
    let max = u64::from(READDIR_ENTRIES_MAX);
    within(u64::from(m.entries_max), "ReadDir.entries_max", max)?;
    Ok(QueryBody::ReadDir {
        ino: Ino(m.ino),
        after: DentryNumber(m.after),
        entries_max: m.entries_max,
        with_attrs: m.with_attrs,
    })
}

impl From<SliceCursor> for v1::SliceCursor {
    fn from(word: SliceCursor) -> Self {
        Self {
            chunk: word.chunk.0,
            order: word.order.0,
        }
    }
}

impl Convert<SliceCursor> for v1::SliceCursor {
    fn convert(self) -> Result<SliceCursor, ConvertError> {
        Ok(SliceCursor {
            chunk: ChunkIndex(self.chunk),
            order: SliceOrder(self.order),
        })
    }
}
