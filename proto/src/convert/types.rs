//! What commands, replies, queries and answers have in common.

use super::{Convert, bounded, maybe, narrow, need, unknown};
use crate::error::ConvertError;
use crate::v1;
use meta_core::attr::{Attr, Caller, FileKind, Timestamp};
use meta_core::ids::{Epoch, Ino, Seq};
use meta_core::limits::GROUPS_MAX;
use meta_core::outcome::{Refusal, Token};

impl From<Timestamp> for v1::Timestamp {
    fn from(word: Timestamp) -> Self {
        Self {
            seconds: word.seconds,
            nanos: word.nanos,
        }
    }
}

impl Convert<Timestamp> for v1::Timestamp {
    fn convert(self) -> Result<Timestamp, ConvertError> {
        let word = Timestamp {
            seconds: self.seconds,
            nanos: self.nanos,
        };
        if !word.is_valid() {
            let (value, max) = (u64::from(self.nanos), 999_999_999);
            return Err(ConvertError::PastLimit {
                field: "Timestamp.nanos",
                value,
                max,
            });
        }
        Ok(word)
    }
}

impl From<FileKind> for v1::FileKind {
    fn from(word: FileKind) -> Self {
        match word {
            FileKind::Regular => Self::Regular,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::Symlink,
            FileKind::Fifo => Self::Fifo,
            FileKind::Socket => Self::Socket,
            FileKind::CharDevice => Self::CharDevice,
            FileKind::BlockDevice => Self::BlockDevice,
        }
    }
}

pub(super) fn file_kind(number: i32, field: &'static str) -> Result<FileKind, ConvertError> {
    let known = u8::try_from(number).ok().and_then(FileKind::from_number);
    known.ok_or_else(|| unknown(field, number))
}

impl From<Refusal> for v1::Refusal {
    fn from(word: Refusal) -> Self {
        match word {
            Refusal::NotFound => Self::NotFound,
            Refusal::Exists => Self::Exists,
            Refusal::NotDirectory => Self::NotDirectory,
            Refusal::IsDirectory => Self::IsDirectory,
            Refusal::NotEmpty => Self::NotEmpty,
            Refusal::AccessDenied => Self::AccessDenied,
            Refusal::NotPermitted => Self::NotPermitted,
            Refusal::NameTooLong => Self::NameTooLong,
            Refusal::InvalidArgument => Self::InvalidArgument,
            Refusal::TooManyLinks => Self::TooManyLinks,
            Refusal::NoSpace => Self::NoSpace,
            Refusal::NotSupported => Self::NotSupported,
            Refusal::FileTooLarge => Self::FileTooLarge,
            Refusal::NoAttribute => Self::NoAttribute,
            Refusal::AttributeTooLarge => Self::AttributeTooLarge,
            Refusal::Stale => Self::Stale,
            Refusal::GrantRevoked => Self::GrantRevoked,
            Refusal::UnknownVolume => Self::UnknownVolume,
            Refusal::VolumeExists => Self::VolumeExists,
            Refusal::LimitReached => Self::LimitReached,
            Refusal::AlreadyInitialised => Self::AlreadyInitialised,
            Refusal::Moved => Self::Moved,
            Refusal::Mirror => Self::Mirror,
            Refusal::MirrorLoading => Self::MirrorLoading,
            Refusal::MirrorGap => Self::MirrorGap,
            Refusal::ClaimLost => Self::ClaimLost,
            Refusal::Loop => Self::Loop,
            Refusal::NoLocks => Self::NoLocks,
            Refusal::OverQuota => Self::OverQuota,
            Refusal::CrossesQuota => Self::CrossesQuota,
            Refusal::BeingCounted => Self::BeingCounted,
            Refusal::Changed => Self::Changed,
            Refusal::Busy => Self::Busy,
            Refusal::Cancelled => Self::Cancelled,
        }
    }
}

/// The refusal that a message's number stands for.
///
/// # Errors
/// If it stands for none.
pub fn refusal(number: i32) -> Result<Refusal, ConvertError> {
    let known = u16::try_from(number).ok().and_then(Refusal::from_number);
    known.ok_or_else(|| unknown("Refusal", number))
}

impl From<Token> for v1::Token {
    fn from(word: Token) -> Self {
        Self {
            epoch: u32::from(word.epoch.0),
            seq: word.seq.0,
        }
    }
}

impl Convert<Token> for v1::Token {
    fn convert(self) -> Result<Token, ConvertError> {
        let epoch = Epoch(narrow(self.epoch, "Token.epoch", u16::MAX)?);
        Ok(Token {
            epoch,
            seq: Seq(self.seq),
        })
    }
}

impl From<&Caller> for v1::Caller {
    fn from(word: &Caller) -> Self {
        let Caller { uid, gid, groups } = word;
        Self {
            uid: *uid,
            gid: *gid,
            groups: groups.clone(),
        }
    }
}

impl Convert<Caller> for v1::Caller {
    fn convert(self) -> Result<Caller, ConvertError> {
        let groups = bounded(self.groups, "Caller.groups", GROUPS_MAX)?;
        Ok(Caller {
            uid: self.uid,
            gid: self.gid,
            groups,
        })
    }
}

impl From<&Attr> for v1::Attr {
    fn from(word: &Attr) -> Self {
        let Attr {
            ino,
            kind,
            mode,
            uid,
            gid,
            rdev,
            nlink,
            length,
            atime,
            mtime,
            ctime,
            parent,
            btime,
            access_acl,
            default_acl,
        } = word;
        Self {
            btime: btime.map(Into::into),
            ino: ino.0,
            kind: v1::FileKind::from(*kind).into(),
            mode: *mode,
            uid: *uid,
            gid: *gid,
            rdev: *rdev,
            nlink: *nlink,
            length: *length,
            atime: Some((*atime).into()),
            mtime: Some((*mtime).into()),
            ctime: Some((*ctime).into()),
            parent: parent.0,
            access_acl: *access_acl,
            default_acl: *default_acl,
        }
    }
}

impl Convert<Attr> for v1::Attr {
    fn convert(self) -> Result<Attr, ConvertError> {
        Ok(Attr {
            ino: Ino(self.ino),
            kind: file_kind(self.kind, "Attr.kind")?,
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            nlink: self.nlink,
            length: self.length,
            atime: need(self.atime, "Attr.atime")?,
            mtime: need(self.mtime, "Attr.mtime")?,
            ctime: need(self.ctime, "Attr.ctime")?,
            parent: Ino(self.parent),
            btime: maybe(self.btime)?,
            access_acl: self.access_acl,
            default_acl: self.default_acl,
        })
    }
}
