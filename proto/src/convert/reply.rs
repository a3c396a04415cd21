//! Replies.

use super::lock::lock_state;
use super::types::refusal;
use super::{Convert, bounded, list, maybe, need};
use crate::error::ConvertError;
use crate::v1::{self, not_executed, removal, reply, success};
use meta_core::ids::{Ino, SessionId, SliceId, VolumeId};
use meta_core::limits::{REMOVE_ENTRIES_MAX, TRASH_ENTRIES_MAX, WOKEN_MAX};
use meta_core::outcome::{NotExecuted, Outcome, Refusal, Removal, Reply, Success};

impl From<&Reply> for v1::Reply {
    fn from(word: &Reply) -> Self {
        let Reply {
            token,
            stamp,
            outcome,
        } = word;
        let outcome = match outcome {
            Outcome::Done(success) => reply::Outcome::Done(success.into()),
            Outcome::Refused(refusal) => {
                reply::Outcome::Refused(v1::Refusal::from(*refusal).into())
            }
            Outcome::NotExecuted(why) => reply::Outcome::NotExecuted((*why).into()),
        };
        Self {
            token: Some((*token).into()),
            stamp: Some((*stamp).into()),
            outcome: Some(outcome),
        }
    }
}

impl Convert<Reply> for v1::Reply {
    fn convert(self) -> Result<Reply, ConvertError> {
        let outcome = match self.outcome.ok_or(ConvertError::Missing("Reply.outcome"))? {
            reply::Outcome::Done(m) => Outcome::Done(m.convert()?),
            reply::Outcome::Refused(number) => Outcome::Refused(refusal(number)?),
            reply::Outcome::NotExecuted(m) => Outcome::NotExecuted(m.convert()?),
        };
        let token = need(self.token, "Reply.token")?;
        Ok(Reply {
            token,
            stamp: need(self.stamp, "Reply.stamp")?,
            outcome,
        })
    }
}

impl From<NotExecuted> for v1::NotExecuted {
    fn from(word: NotExecuted) -> Self {
        let why = match word {
            NotExecuted::UnknownSession => not_executed::Why::UnknownSession(v1::Nothing {}),
            NotExecuted::SlotMisordered { last } => not_executed::Why::SlotMisordered(last),
            NotExecuted::WrongVolume => not_executed::Why::WrongVolume(v1::Nothing {}),
        };
        Self { why: Some(why) }
    }
}

impl Convert<NotExecuted> for v1::NotExecuted {
    fn convert(self) -> Result<NotExecuted, ConvertError> {
        Ok(
            match self.why.ok_or(ConvertError::Missing("NotExecuted.why"))? {
                not_executed::Why::UnknownSession(v1::Nothing {}) => NotExecuted::UnknownSession,
                not_executed::Why::SlotMisordered(last) => NotExecuted::SlotMisordered { last },
                not_executed::Why::WrongVolume(v1::Nothing {}) => NotExecuted::WrongVolume,
            },
        )
    }
}

impl From<&Success> for v1::Success {
    fn from(word: &Success) -> Self {
        let success = match word {
            Success::Done => success::Success::Done(v1::Nothing {}),
            Success::Attr(attr) => success::Success::Attr(attr.into()),
            Success::Entry { attr, created } => success::Success::Entry(v1::Entry {
                attr: Some(attr.into()),
                created: *created,
            }),
            Success::Removed { ino, nlink } => success::Success::Removed(v1::Removed {
                ino: ino.0,
                nlink: *nlink,
            }),
            Success::RemovedEntries(removals) => {
                success::Success::RemovedEntries(v1::RemovedEntries {
                    removals: removals.iter().map(|removal| (*removal).into()).collect(),
                })
            }
            Success::Restored(ends) => success::Success::Restored(v1::Restored {
                refused: ends.iter().map(|end| restored(*end)).collect(),
            }),
            Success::Renamed { ino, replaced } => success::Success::Renamed(v1::Renamed {
                ino: ino.0,
                replaced: replaced.map(|(ino, nlink)| v1::Removed { ino: ino.0, nlink }),
            }),
            Success::Appended { offset, attr } => success::Success::Appended(v1::Appended {
                offset: *offset,
                attr: Some(attr.into()),
            }),
            Success::Fallocated { next, attr } => success::Success::Fallocated(v1::Fallocated {
                next: *next,
                attr: Some(attr.into()),
            }),
            Success::Copied { len, attr } => success::Success::Copied(v1::Copied {
                len: *len,
                attr: Some(attr.into()),
            }),
            Success::Cloning { job, done } => success::Success::Cloning(v1::Cloning {
                job: job.0,
                done: *done,
            }),
            Success::Granted { first, count } => success::Success::Granted(v1::Granted {
                first: first.0,
                count: *count,
            }),
            Success::Session(session) => success::Success::Session(session.0),
            Success::Volume(volume) => success::Success::Volume(volume.0),
            Success::Mirrored(state) => success::Success::Mirrored((*state).into()),
            Success::Claimed(claim) => success::Success::Claimed((*claim).into()),
            Success::Locked { state, woken } => success::Success::Locked(v1::Locked {
                state: v1::LockState::from(*state).into(),
                woken: woken.iter().map(|woken| (*woken).into()).collect(),
            }),
            Success::Unlocked(woken) => success::Success::Unlocked(v1::Unlocked {
                woken: woken.iter().map(|woken| (*woken).into()).collect(),
            }),
            Success::LockCancelled { waited } => {
                success::Success::LockCancelled(v1::LockCancelled { waited: *waited })
            }
            Success::Maintained { rows, more } => success::Success::Maintained(v1::Maintained {
                rows: *rows,
                more: *more,
            }),
        };
        Self {
            success: Some(success),
        }
    }
}

impl Convert<Success> for v1::Success {
    fn convert(self) -> Result<Success, ConvertError> {
        Ok(
            match self
                .success
                .ok_or(ConvertError::Missing("Success.success"))?
            {
                success::Success::Done(v1::Nothing {}) => Success::Done,
                success::Success::Attr(m) => Success::Attr(m.convert()?),
                success::Success::Entry(m) => Success::Entry {
                    attr: need(m.attr, "Entry.attr")?,
                    created: m.created,
                },
                success::Success::Removed(m) => {
                    let (ino, nlink) = m.convert()?;
                    Success::Removed { ino, nlink }
                }
                success::Success::RemovedEntries(m) => Success::RemovedEntries(list(
                    m.removals,
                    "RemovedEntries.removals",
                    REMOVE_ENTRIES_MAX,
                )?),
                success::Success::Restored(m) => {
                    let ends = bounded(m.refused, "Restored.refused", TRASH_ENTRIES_MAX)?;
                    let end = |number| match number {
                        0 => Ok(None),
                        number => refusal(number).map(Some),
                    };
                    Success::Restored(ends.into_iter().map(end).collect::<Result<_, _>>()?)
                }
                success::Success::Renamed(m) => Success::Renamed {
                    ino: Ino(m.ino),
                    replaced: maybe(m.replaced)?,
                },
                success::Success::Appended(m) => Success::Appended {
                    offset: m.offset,
                    attr: need(m.attr, "Appended.attr")?,
                },
                success::Success::Fallocated(m) => Success::Fallocated {
                    next: m.next,
                    attr: need(m.attr, "Fallocated.attr")?,
                },
                success::Success::Copied(m) => Success::Copied {
                    len: m.len,
                    attr: need(m.attr, "Copied.attr")?,
                },
                success::Success::Cloning(m) => Success::Cloning {
                    job: Ino(m.job),
                    done: m.done,
                },
                success::Success::Granted(m) => Success::Granted {
                    first: SliceId(m.first),
                    count: m.count,
                },
                success::Success::Session(session) => Success::Session(SessionId(session)),
                success::Success::Volume(volume) => Success::Volume(VolumeId(volume)),
                success::Success::Mirrored(m) => Success::Mirrored(m.convert()?),
                success::Success::Claimed(m) => Success::Claimed(m.convert()?),
                success::Success::Locked(m) => Success::Locked {
                    state: lock_state(m.state)?,
                    woken: list(m.woken, "Locked.woken", WOKEN_MAX)?,
                },
                success::Success::Unlocked(m) => {
                    Success::Unlocked(list(m.woken, "Unlocked.woken", WOKEN_MAX)?)
                }
                success::Success::LockCancelled(m) => Success::LockCancelled { waited: m.waited },
                success::Success::Maintained(m) => m.convert()?,
            },
        )
    }
}

impl Convert<Success> for v1::Maintained {
    fn convert(self) -> Result<Success, ConvertError> {
        let Self { rows, more } = self;
        Ok(Success::Maintained { rows, more })
    }
}

/// Why a file stays in the trash, if it does.
fn restored(end: Option<Refusal>) -> i32 {
    end.map_or(v1::Refusal::Unspecified, v1::Refusal::from)
        .into()
}

impl From<Removal> for v1::Removal {
    fn from(word: Removal) -> Self {
        let removal = match word {
            Removal::Removed { nlink } => removal::Removal::Removed(nlink),
            Removal::Refused(refusal) => {
                removal::Removal::Refused(v1::Refusal::from(refusal).into())
            }
        };
        Self {
            removal: Some(removal),
        }
    }
}

impl Convert<Removal> for v1::Removal {
    fn convert(self) -> Result<Removal, ConvertError> {
        Ok(
            match self
                .removal
                .ok_or(ConvertError::Missing("Removal.removal"))?
            {
                removal::Removal::Removed(nlink) => Removal::Removed { nlink },
                removal::Removal::Refused(number) => Removal::Refused(refusal(number)?),
            },
        )
    }
}

impl Convert<(Ino, u32)> for v1::Removed {
    fn convert(self) -> Result<(Ino, u32), ConvertError> {
        Ok((Ino(self.ino), self.nlink))
    }
}
