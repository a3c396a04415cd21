//! Tasks and backups.

use super::{Convert, maybe, need, text, unknown};
use crate::error::ConvertError;
use crate::v1::{self, claim};
use meta_core::ids::SessionId;
use meta_core::limits::BACKUP_NAME_BYTES_MAX;
use meta_core::task::{AtWork, Backup, BackupStatus, Claim, NewBackup, Task};

impl From<Task> for v1::Task {
    fn from(word: Task) -> Self {
        match word {
            Task::Backup => Self::Backup,
            Task::Compact => Self::Compact,
        }
    }
}

pub(super) fn task(number: i32, field: &'static str) -> Result<Task, ConvertError> {
    let known = u8::try_from(number).ok().and_then(Task::from_number);
    known.ok_or_else(|| unknown(field, number))
}

impl From<&NewBackup> for v1::NewBackup {
    fn from(word: &NewBackup) -> Self {
        let NewBackup { token, bytes, name } = word;
        Self {
            token: Some((*token).into()),
            bytes: *bytes,
            name: name.clone(),
        }
    }
}

impl Convert<NewBackup> for v1::NewBackup {
    fn convert(self) -> Result<NewBackup, ConvertError> {
        Ok(NewBackup {
            token: need(self.token, "NewBackup.token")?,
            bytes: self.bytes,
            name: text(self.name, "NewBackup.name", BACKUP_NAME_BYTES_MAX)?,
        })
    }
}

impl From<Claim> for v1::Claim {
    fn from(word: Claim) -> Self {
        let claim = match word {
            Claim::Given { at, lease_ms } => claim::Claim::Given(v1::ClaimGiven {
                at: Some(at.into()),
                lease_ms,
            }),
            Claim::Held { retry_ms } => claim::Claim::Held(retry_ms),
            Claim::NotDue { retry_ms } => claim::Claim::NotDue(retry_ms),
        };
        Self { claim: Some(claim) }
    }
}

impl Convert<Claim> for v1::Claim {
    fn convert(self) -> Result<Claim, ConvertError> {
        Ok(
            match self.claim.ok_or(ConvertError::Missing("Claim.claim"))? {
                claim::Claim::Given(m) => Claim::Given {
                    at: need(m.at, "ClaimGiven.at")?,
                    lease_ms: m.lease_ms,
                },
                claim::Claim::Held(retry_ms) => Claim::Held { retry_ms },
                claim::Claim::NotDue(retry_ms) => Claim::NotDue { retry_ms },
            },
        )
    }
}

impl From<&BackupStatus> for v1::BackupStatus {
    fn from(word: &BackupStatus) -> Self {
        let BackupStatus { last, at_work } = word;
        let backup = |Backup { finished, made }: &Backup| v1::Backup {
            finished: Some((*finished).into()),
            made: Some(made.into()),
        };
        let working = |AtWork { session, since }: AtWork| v1::AtWork {
            session: session.0,
            since: Some(since.into()),
        };
        Self {
            last: last.as_ref().map(backup),
            at_work: at_work.map(working),
        }
    }
}

impl Convert<BackupStatus> for v1::BackupStatus {
    fn convert(self) -> Result<BackupStatus, ConvertError> {
        Ok(BackupStatus {
            last: maybe(self.last)?,
            at_work: maybe(self.at_work)?,
        })
    }
}

impl Convert<Backup> for v1::Backup {
    fn convert(self) -> Result<Backup, ConvertError> {
        Ok(Backup {
            finished: need(self.finished, "Backup.finished")?,
            made: need(self.made, "Backup.made")?,
        })
    }
}

impl Convert<AtWork> for v1::AtWork {
    fn convert(self) -> Result<AtWork, ConvertError> {
        Ok(AtWork {
            session: SessionId(self.session),
            since: need(self.since, "AtWork.since")?,
        })
    }
}
