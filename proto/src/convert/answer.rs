//! Answers to queries.

use super::operation::FRAME_CRCS_MAX;
use super::types::{file_kind, refusal};
use super::{
    Convert, bounded, clone, compaction, list, maybe, name, narrow, need, quota, sixteen, text,
    within,
};
use crate::error::ConvertError;
use crate::v1::{self, query_answer};
use meta_core::ids::{
    ChunkIndex, DentryNumber, Epoch, Ino, Level, Seq, SessionId, SliceId, SliceOrder, Uuid,
    VolumeId,
};
use meta_core::limits::{
    COMPACT_ROWS_MAX, COMPACTABLE_PAGE_MAX, DEPTH_MAX, FOLLOWERS_MAX, GET_ATTRS_MAX,
    MESSAGE_BYTES_MAX, READ_SLICES_MAX, READDIR_ENTRIES_MAX, SESSION_INFO_BYTES_MAX,
    STORAGE_BYTES_MAX, VOLUME_NAME_BYTES_MAX, XATTR_LIST_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
};
use meta_core::name::Name;
use meta_core::outcome::{Refusal, Token};
use meta_core::query::{Answer, DirEntry, SessionInfo, Slice, TrashEntry, VolumeInfo, VolumeStat};

/// Hex digits of a digest.
const DIGEST_CHARS_MAX: usize = 64;
/// Epochs that there can be.
const EPOCHS_MAX: usize = 1 << 16;

/// A query's token with its answer or refusal, as a frame's body.
pub fn query_answer(token: Token, result: Result<&Answer, Refusal>) -> v1::QueryAnswer {
    let result = match result {
        Ok(answer) => query_answer::Result::Answer(answer.into()),
        Err(refused) => query_answer::Result::Refused(v1::Refusal::from(refused).into()),
    };
    v1::QueryAnswer {
        token: Some(token.into()),
        result: Some(result),
    }
}

impl Convert<(Token, Result<Answer, Refusal>)> for v1::QueryAnswer {
    fn convert(self) -> Result<(Token, Result<Answer, Refusal>), ConvertError> {
        let token = need(self.token, "QueryAnswer.token")?;
        let result = match self
            .result
            .ok_or(ConvertError::Missing("QueryAnswer.result"))?
        {
            query_answer::Result::Answer(m) => Ok(m.convert()?),
            query_answer::Result::Refused(number) => Err(refusal(number)?),
        };
        Ok((token, result))
    }
}

impl From<&Answer> for v1::Answer {
    fn from(word: &Answer) -> Self {
        use v1::answer::Answer as Message;
        let answer = match word {
            Answer::Attr(attr) => Message::Attr(attr.into()),
            Answer::Entries {
                parent,
                entries,
                end,
            } => Message::Entries(v1::Entries {
                parent: parent.0,
                entries: entries.iter().map(Into::into).collect(),
                end: *end,
            }),
            Answer::Bytes(bytes) => Message::Bytes(bytes.clone()),
            Answer::Slices { attr, slices, next } => Message::Slices(v1::Slices {
                attr: Some(attr.into()),
                slices: slices.iter().map(Into::into).collect(),
                next: next.map(Into::into),
            }),
            Answer::Names(names) => Message::Names(v1::Names {
                names: names.clone(),
            }),
            Answer::Stat(stat) => Message::Stat(stat.into()),
            Answer::Path(names) => {
                let names = names.iter().map(|name| name.as_bytes().to_vec()).collect();
                Message::Path(v1::Names { names })
            }
            Answer::Volume(volume) => Message::Volume(volume.into()),
            Answer::Volumes(volumes) => {
                let volumes = volumes.iter().map(Into::into).collect();
                Message::Volumes(v1::Volumes { volumes })
            }
            Answer::Inodes(inos) => Message::Inodes(v1::Inodes {
                inos: inos.iter().map(|ino| ino.0).collect(),
            }),
            Answer::Sessions(sessions) => {
                let sessions = sessions.iter().map(Into::into).collect();
                Message::Sessions(v1::Sessions { sessions })
            }
            Answer::Followers(followers) => {
                let follower = |(name, info): &(String, Vec<u8>)| v1::Follower {
                    name: name.clone(),
                    info: info.clone(),
                };
                let followers = followers.iter().map(follower).collect();
                Message::Followers(v1::Followers { followers })
            }
            Answer::Backup(status) => Message::Backup(status.into()),
            Answer::Trash { entries, end } => Message::Trash(trash(entries, *end)),
            Answer::Usage(usage) => Message::Usage((*usage).into()),
            Answer::Amounts(amounts) => Message::Amounts(quota::amounts(amounts)),
            Answer::Limits { limits, end } => Message::Limits(quota::limits(limits, *end)),
            Answer::Clones(clones) => Message::Clones(clone::clones(clones)),
            Answer::Space(space) => Message::Space((*space).into()),
            Answer::Chunks(chunks) => Message::Chunks(compaction::chunks(chunks)),
            Answer::Compaction(slices) => Message::Compaction(compaction::compaction(slices)),
            Answer::Lock(held) => Message::Lock(v1::FoundLock {
                held: held.map(Into::into),
            }),
            Answer::Resolved(found) => Message::Resolved(found.into()),
            Answer::Attrs(each) => Message::Attrs(v1::Attrs {
                attrs: each.iter().map(Into::into).collect(),
            }),
        };
        Self {
            answer: Some(answer),
        }
    }
}

fn trash(entries: &[TrashEntry], end: bool) -> v1::Trash {
    v1::Trash {
        entries: entries.iter().map(Into::into).collect(),
        end,
    }
}

impl Convert<Answer> for v1::Answer {
    fn convert(self) -> Result<Answer, ConvertError> {
        use v1::answer::Answer as Message;
        Ok(
            match self.answer.ok_or(ConvertError::Missing("Answer.answer"))? {
                Message::Usage(m) => Answer::Usage(m.convert()?),
                Message::Amounts(m) => m.convert()?,
                Message::Limits(m) => m.convert()?,
                Message::Clones(m) => m.convert()?,
                Message::Space(m) => Answer::Space(m.convert()?),
                Message::Chunks(m) => {
                    let max = COMPACTABLE_PAGE_MAX as usize;
                    Answer::Chunks(list(m.chunks, "Chunks.chunks", max)?)
                }
                Message::Compaction(m) => {
                    Answer::Compaction(list(m.slices, "Compaction.slices", COMPACT_ROWS_MAX)?)
                }
                Message::Attr(m) => Answer::Attr(m.convert()?),
                Message::Entries(m) => Answer::Entries {
                    parent: Ino(m.parent),
                    entries: list(m.entries, "Entries.entries", READDIR_ENTRIES_MAX as usize)?,
                    end: m.end,
                },
                Message::Bytes(m) => {
                    Answer::Bytes(bounded(m, "Answer.bytes", XATTR_VALUE_BYTES_MAX)?)
                }
                Message::Slices(m) => Answer::Slices {
                    attr: need(m.attr, "Slices.attr")?,
                    slices: list(m.slices, "Slices.slices", READ_SLICES_MAX as usize)?,
                    next: maybe(m.next)?,
                },
                Message::Names(m) => Answer::Names(xattr_names(m.names)?),
                Message::Stat(m) => Answer::Stat(m.convert()?),
                Message::Path(m) => Answer::Path(path(m.names)?),
                Message::Volume(m) => Answer::Volume(m.convert()?),
                Message::Volumes(m) => {
                    Answer::Volumes(list(m.volumes, "Volumes.volumes", MESSAGE_BYTES_MAX)?)
                }
                Message::Inodes(m) => Answer::Inodes(m.inos.into_iter().map(Ino).collect()),
                Message::Sessions(m) => {
                    Answer::Sessions(list(m.sessions, "Sessions.sessions", MESSAGE_BYTES_MAX)?)
                }
                Message::Followers(m) => {
                    within(
                        m.followers.len() as u64,
                        "Followers.followers",
                        FOLLOWERS_MAX as u64,
                    )?;
                    let followers = m.followers.into_iter();
                    Answer::Followers(followers.map(|m| (m.name, m.info)).collect())
                }
                Message::Backup(m) => Answer::Backup(m.convert()?),
                Message::Trash(m) => Answer::Trash {
                    entries: list(m.entries, "Trash.entries", READDIR_ENTRIES_MAX as usize)?,
                    end: m.end,
                },
                Message::Lock(m) => Answer::Lock(maybe(m.held)?),
                Message::Resolved(m) => Answer::Resolved(m.convert()?),
                Message::Attrs(m) => Answer::Attrs(list(m.attrs, "Attrs.attrs", GET_ATTRS_MAX)?),
            },
        )
    }
}

fn xattr_names(names: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, ConvertError> {
    let bytes: usize = names.iter().map(|name| name.len() + 1).sum();
    within(bytes as u64, "Names.names", XATTR_LIST_BYTES_MAX as u64)?;
    Ok(names)
}

fn path(names: Vec<Vec<u8>>) -> Result<Vec<Name>, ConvertError> {
    within(names.len() as u64, "Path.names", u64::from(DEPTH_MAX))?;
    names
        .into_iter()
        .map(|bytes| name(bytes, "Path.names"))
        .collect()
}

impl From<&DirEntry> for v1::DirEntry {
    fn from(word: &DirEntry) -> Self {
        let DirEntry {
            number,
            name,
            ino,
            kind,
            attr,
        } = word;
        Self {
            number: number.0,
            name: name.as_bytes().to_vec(),
            ino: ino.0,
            kind: v1::FileKind::from(*kind).into(),
            attr: attr.as_ref().map(Into::into),
        }
    }
}

impl Convert<DirEntry> for v1::DirEntry {
    fn convert(self) -> Result<DirEntry, ConvertError> {
        Ok(DirEntry {
            number: DentryNumber(self.number),
            name: name(self.name, "DirEntry.name")?,
            ino: Ino(self.ino),
            kind: file_kind(self.kind, "DirEntry.kind")?,
            attr: maybe(self.attr)?,
        })
    }
}

impl From<&Slice> for v1::Slice {
    fn from(word: &Slice) -> Self {
        let Slice {
            chunk,
            order,
            id,
            size,
            off,
            len,
            at,
            frame_crcs,
        } = word;
        Self {
            chunk: chunk.0,
            order: order.0,
            id: id.0,
            size: *size,
            off: *off,
            len: *len,
            at: *at,
            frame_crcs: frame_crcs.clone(),
        }
    }
}

impl Convert<Slice> for v1::Slice {
    fn convert(self) -> Result<Slice, ConvertError> {
        Ok(Slice {
            chunk: ChunkIndex(self.chunk),
            order: SliceOrder(self.order),
            id: SliceId(self.id),
            size: self.size,
            off: self.off,
            len: self.len,
            at: self.at,
            frame_crcs: bounded(self.frame_crcs, "Slice.frame_crcs", FRAME_CRCS_MAX)?,
        })
    }
}

impl From<&VolumeStat> for v1::VolumeStat {
    fn from(word: &VolumeStat) -> Self {
        let VolumeStat {
            inodes,
            bytes,
            pending_delete_bytes,
            pending_delete_slices,
            orphans,
            trash,
            is_counting,
            is_limited,
            changelog_bytes,
            changelog_first,
            digest,
            token,
        } = word;
        Self {
            inodes: *inodes,
            bytes: *bytes,
            pending_delete_bytes: *pending_delete_bytes,
            pending_delete_slices: *pending_delete_slices,
            orphans: *orphans,
            trash: trash.map(Into::into),
            is_counting: *is_counting,
            is_limited: *is_limited,
            changelog_bytes: *changelog_bytes,
            changelog_first: changelog_first.0,
            digest: digest.clone(),
            token: Some((*token).into()),
        }
    }
}

impl Convert<VolumeStat> for v1::VolumeStat {
    fn convert(self) -> Result<VolumeStat, ConvertError> {
        Ok(VolumeStat {
            inodes: self.inodes,
            bytes: self.bytes,
            pending_delete_bytes: self.pending_delete_bytes,
            pending_delete_slices: self.pending_delete_slices,
            orphans: self.orphans,
            trash: maybe(self.trash)?,
            is_counting: self.is_counting,
            is_limited: self.is_limited,
            changelog_bytes: self.changelog_bytes,
            changelog_first: Seq(self.changelog_first),
            digest: text(self.digest, "VolumeStat.digest", DIGEST_CHARS_MAX)?,
            token: need(self.token, "VolumeStat.token")?,
        })
    }
}

impl From<&VolumeInfo> for v1::VolumeInfo {
    fn from(word: &VolumeInfo) -> Self {
        let VolumeInfo {
            id,
            name,
            uuid,
            opened_by,
            epochs,
            block_bytes,
            level,
            storage,
        } = word;
        let opener = |(epoch, cluster): &(Epoch, Uuid)| v1::EpochOpener {
            epoch: u32::from(epoch.0),
            cluster: cluster.0.to_vec(),
        };
        Self {
            id: id.0,
            name: name.clone(),
            uuid: uuid.0.to_vec(),
            opened_by: opened_by.0.to_vec(),
            epochs: epochs.iter().map(opener).collect(),
            block_bytes: *block_bytes,
            level: level.0,
            storage: storage.clone(),
        }
    }
}

impl Convert<VolumeInfo> for v1::VolumeInfo {
    fn convert(self) -> Result<VolumeInfo, ConvertError> {
        Ok(VolumeInfo {
            id: VolumeId(self.id),
            name: text(self.name, "VolumeInfo.name", VOLUME_NAME_BYTES_MAX)?,
            uuid: Uuid(sixteen(&self.uuid, "VolumeInfo.uuid")?),
            opened_by: Uuid(sixteen(&self.opened_by, "VolumeInfo.opened_by")?),
            epochs: list(self.epochs, "VolumeInfo.epochs", EPOCHS_MAX)?,
            block_bytes: self.block_bytes,
            level: Level(self.level),
            storage: bounded(self.storage, "VolumeInfo.storage", STORAGE_BYTES_MAX)?,
        })
    }
}

impl Convert<(Epoch, Uuid)> for v1::EpochOpener {
    fn convert(self) -> Result<(Epoch, Uuid), ConvertError> {
        let epoch = Epoch(narrow(self.epoch, "EpochOpener.epoch", u16::MAX)?);
        Ok((epoch, Uuid(sixteen(&self.cluster, "EpochOpener.cluster")?)))
    }
}

impl From<&SessionInfo> for v1::SessionInfo {
    fn from(word: &SessionInfo) -> Self {
        let SessionInfo {
            id,
            volume,
            opened,
            info,
        } = word;
        Self {
            id: id.0,
            volume: volume.0,
            opened: Some((*opened).into()),
            info: info.clone(),
        }
    }
}

impl Convert<SessionInfo> for v1::SessionInfo {
    fn convert(self) -> Result<SessionInfo, ConvertError> {
        Ok(SessionInfo {
            id: SessionId(self.id),
            volume: VolumeId(self.volume),
            opened: need(self.opened, "SessionInfo.opened")?,
            info: bounded(self.info, "SessionInfo.info", SESSION_INFO_BYTES_MAX)?,
        })
    }
}
