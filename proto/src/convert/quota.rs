//! What files add up to, and may.

use super::types::refusal;
use super::{Convert, list, maybe, narrow, need, within};
use crate::error::ConvertError;
use crate::v1::{self, amount_or_refusal};
use meta_core::attr::Caller;
use meta_core::command::CommandBody;
use meta_core::ids::Ino;
use meta_core::limits::{AMOUNTS_MAX, COUNT_FILES_MAX, LIMITS_PAGE_MAX};
use meta_core::outcome::Refusal;
use meta_core::query::{Answer, QueryBody};
use meta_core::quota::{Amount, Limit, Room, Space, Subject, Usage};

impl From<Subject> for v1::Subject {
    fn from(word: Subject) -> Self {
        use v1::subject::Of;
        let of = match word {
            Subject::Volume => Of::Volume(v1::Nothing {}),
            Subject::Directory(ino) => Of::Directory(ino.0),
            Subject::User(uid) => Of::User(uid),
            Subject::Group(gid) => Of::Group(gid),
        };
        Self { of: Some(of) }
    }
}

impl Convert<Subject> for v1::Subject {
    fn convert(self) -> Result<Subject, ConvertError> {
        use v1::subject::Of;
        Ok(match self.of.ok_or(ConvertError::Missing("Subject.of"))? {
            Of::Volume(v1::Nothing {}) => Subject::Volume,
            Of::Directory(ino) => Subject::Directory(Ino(ino)),
            Of::User(uid) => Subject::User(uid),
            Of::Group(gid) => Subject::Group(gid),
        })
    }
}

impl From<Limit> for v1::Limit {
    fn from(word: Limit) -> Self {
        let Limit { bytes, inodes } = word;
        Self { bytes, inodes }
    }
}

impl Convert<Limit> for v1::Limit {
    fn convert(self) -> Result<Limit, ConvertError> {
        let Self { bytes, inodes } = self;
        Ok(Limit { bytes, inodes })
    }
}

impl From<Amount> for v1::Amount {
    fn from(word: Amount) -> Self {
        let Amount {
            files,
            directories,
            bytes,
        } = word;
        Self {
            files,
            directories,
            bytes,
        }
    }
}

impl Convert<Amount> for v1::Amount {
    fn convert(self) -> Result<Amount, ConvertError> {
        let Self {
            files,
            directories,
            bytes,
        } = self;
        Ok(Amount {
            files,
            directories,
            bytes,
        })
    }
}

impl From<&Result<Amount, Refusal>> for v1::AmountOrRefusal {
    fn from(word: &Result<Amount, Refusal>) -> Self {
        let result = match word {
            Ok(amount) => amount_or_refusal::Result::Amount((*amount).into()),
            Err(refused) => amount_or_refusal::Result::Refused(v1::Refusal::from(*refused).into()),
        };
        Self {
            result: Some(result),
        }
    }
}

impl Convert<Result<Amount, Refusal>> for v1::AmountOrRefusal {
    fn convert(self) -> Result<Result<Amount, Refusal>, ConvertError> {
        let missing = ConvertError::Missing("AmountOrRefusal.result");
        Ok(match self.result.ok_or(missing)? {
            amount_or_refusal::Result::Amount(amount) => Ok(amount.convert()?),
            amount_or_refusal::Result::Refused(number) => Err(refusal(number)?),
        })
    }
}

impl From<Usage> for v1::Usage {
    fn from(word: Usage) -> Self {
        let Usage {
            subject,
            amount,
            limit,
            is_counted,
        } = word;
        Self {
            subject: Some(subject.into()),
            amount: Some(amount.into()),
            limit: Some(limit.into()),
            is_counted,
        }
    }
}

impl Convert<Usage> for v1::Usage {
    fn convert(self) -> Result<Usage, ConvertError> {
        Ok(Usage {
            subject: need(self.subject, "Usage.subject")?,
            amount: need(self.amount, "Usage.amount")?,
            limit: need(self.limit, "Usage.limit")?,
            is_counted: self.is_counted,
        })
    }
}

impl From<Room> for v1::Room {
    fn from(word: Room) -> Self {
        let Room { limit, used } = word;
        Self { limit, used }
    }
}

impl Convert<Room> for v1::Room {
    fn convert(self) -> Result<Room, ConvertError> {
        let Self { limit, used } = self;
        Ok(Room { limit, used })
    }
}

impl From<Space> for v1::Space {
    fn from(word: Space) -> Self {
        Self {
            bytes: word.bytes.map(Into::into),
            inodes: word.inodes.map(Into::into),
        }
    }
}

impl Convert<Space> for v1::Space {
    fn convert(self) -> Result<Space, ConvertError> {
        Ok(Space {
            bytes: maybe(self.bytes)?,
            inodes: maybe(self.inodes)?,
        })
    }
}

pub(super) fn ask_limits(after: Option<Subject>, count_max: u32) -> v1::AskLimits {
    v1::AskLimits {
        after: after.map(Into::into),
        count_max,
    }
}

impl Convert<QueryBody> for v1::AskLimits {
    fn convert(self) -> Result<QueryBody, ConvertError> {
        let max = u64::from(LIMITS_PAGE_MAX);
        within(u64::from(self.count_max), "AskLimits.count_max", max)?;
        Ok(QueryBody::Limits {
            after: maybe(self.after)?,
            count_max: self.count_max,
        })
    }
}

pub(super) fn limits(limits: &[Usage], end: bool) -> v1::Limits {
    v1::Limits {
        limits: limits.iter().copied().map(Into::into).collect(),
        end,
    }
}

impl Convert<Answer> for v1::Limits {
    fn convert(self) -> Result<Answer, ConvertError> {
        // The volume's comes before a whole page of the others.
        let max = LIMITS_PAGE_MAX as usize + 1;
        Ok(Answer::Limits {
            limits: list(self.limits, "Limits.limits", max)?,
            end: self.end,
        })
    }
}

pub(super) fn amounts(amounts: &[Result<Amount, Refusal>]) -> v1::Amounts {
    v1::Amounts {
        amounts: amounts.iter().map(Into::into).collect(),
    }
}

impl Convert<Answer> for v1::Amounts {
    fn convert(self) -> Result<Answer, ConvertError> {
        let amounts = list(self.amounts, "Amounts.amounts", AMOUNTS_MAX)?;
        Ok(Answer::Amounts(amounts))
    }
}

pub(super) fn set_quota(caller: &Caller, subject: Subject, limit: Limit) -> v1::SetQuota {
    v1::SetQuota {
        caller: Some(caller.into()),
        subject: Some(subject.into()),
        limit: Some(limit.into()),
    }
}

pub(super) fn count(files_max: u32) -> v1::CountFiles {
    v1::CountFiles { files_max }
}

impl Convert<CommandBody> for v1::SetQuota {
    fn convert(self) -> Result<CommandBody, ConvertError> {
        Ok(CommandBody::SetQuota {
            caller: need(self.caller, "SetQuota.caller")?,
            subject: need(self.subject, "SetQuota.subject")?,
            limit: need(self.limit, "SetQuota.limit")?,
        })
    }
}

impl Convert<CommandBody> for v1::CountFiles {
    fn convert(self) -> Result<CommandBody, ConvertError> {
        let max = u32::try_from(COUNT_FILES_MAX).unwrap_or(u32::MAX);
        let files_max = narrow(u64::from(self.files_max), "CountFiles.files_max", max)?;
        Ok(CommandBody::CountFiles { files_max })
    }
}
