//! What a mirror is told: commands of its leader, records, rows.

use super::{Convert, bounded, list, need, sixteen, text, unknown};
use crate::error::ConvertError;
use crate::v1::{self, mirror_step::Step};
use meta_core::changelog::SealedRecord;
use meta_core::command::{BeginRestore, CreateMirror, LoadRows, MirrorStep};
use meta_core::ids::{Seq, Uuid};
use meta_core::limits::{
    MIRROR_INFO_BYTES_MAX, MIRROR_RECORDS_MAX, MIRROR_ROWS_MAX, STORAGE_BYTES_MAX,
    VOLUME_NAME_BYTES_MAX,
};
use meta_core::outcome::{MirrorState, StopReason};

impl From<&CreateMirror> for v1::CreateMirror {
    fn from(word: &CreateMirror) -> Self {
        let CreateMirror {
            name,
            uuid,
            origin,
            storage,
            info,
        } = word;
        Self {
            name: name.clone(),
            uuid: uuid.0.to_vec(),
            origin: origin.0.to_vec(),
            storage: storage.clone(),
            info: info.clone(),
        }
    }
}

impl Convert<CreateMirror> for v1::CreateMirror {
    fn convert(self) -> Result<CreateMirror, ConvertError> {
        Ok(CreateMirror {
            name: text(self.name, "CreateMirror.name", VOLUME_NAME_BYTES_MAX)?,
            uuid: Uuid(sixteen(&self.uuid, "CreateMirror.uuid")?),
            origin: Uuid(sixteen(&self.origin, "CreateMirror.origin")?),
            storage: bounded(self.storage, "CreateMirror.storage", STORAGE_BYTES_MAX)?,
            info: bounded(self.info, "CreateMirror.info", MIRROR_INFO_BYTES_MAX)?,
        })
    }
}

impl From<&BeginRestore> for v1::BeginRestore {
    fn from(word: &BeginRestore) -> Self {
        let BeginRestore {
            name,
            uuid,
            origin,
            storage,
            snapshot,
            record_crc,
        } = word;
        Self {
            name: name.clone(),
            uuid: uuid.0.to_vec(),
            origin: origin.0.to_vec(),
            storage: storage.clone(),
            snapshot: Some((*snapshot).into()),
            record_crc: *record_crc,
        }
    }
}

impl Convert<BeginRestore> for v1::BeginRestore {
    fn convert(self) -> Result<BeginRestore, ConvertError> {
        Ok(BeginRestore {
            name: text(self.name, "BeginRestore.name", VOLUME_NAME_BYTES_MAX)?,
            uuid: Uuid(sixteen(&self.uuid, "BeginRestore.uuid")?),
            origin: Uuid(sixteen(&self.origin, "BeginRestore.origin")?),
            storage: bounded(self.storage, "BeginRestore.storage", STORAGE_BYTES_MAX)?,
            snapshot: need(self.snapshot, "BeginRestore.snapshot")?,
            record_crc: self.record_crc,
        })
    }
}

impl From<&MirrorStep> for v1::MirrorStep {
    fn from(word: &MirrorStep) -> Self {
        let step = match word {
            MirrorStep::BeginLoad {
                snapshot,
                record_crc,
                again,
            } => Step::BeginLoad(v1::BeginLoad {
                snapshot: Some((*snapshot).into()),
                record_crc: *record_crc,
                again: *again,
            }),
            MirrorStep::Load(rows) => Step::Load(rows.into()),
            MirrorStep::EndLoad { stamp, digest } => Step::EndLoad(v1::EndLoad {
                stamp: Some((*stamp).into()),
                digest: digest.to_le_bytes().to_vec(),
            }),
            MirrorStep::Apply(records) => Step::Apply(v1::SealedRecords {
                records: records.iter().map(Into::into).collect(),
            }),
            MirrorStep::Stop { reason, at } => Step::Stop(v1::StopMirror {
                reason: u32::from(*reason as u8),
                at: at.0,
            }),
        };
        Self { step: Some(step) }
    }
}

impl Convert<MirrorStep> for v1::MirrorStep {
    fn convert(self) -> Result<MirrorStep, ConvertError> {
        Ok(
            match self.step.ok_or(ConvertError::Missing("MirrorStep.step"))? {
                Step::BeginLoad(m) => MirrorStep::BeginLoad {
                    snapshot: need(m.snapshot, "BeginLoad.snapshot")?,
                    record_crc: m.record_crc,
                    again: m.again,
                },
                Step::Load(m) => MirrorStep::Load(m.convert()?),
                Step::EndLoad(m) => MirrorStep::EndLoad {
                    stamp: need(m.stamp, "EndLoad.stamp")?,
                    digest: u128::from_le_bytes(sixteen(&m.digest, "EndLoad.digest")?),
                },
                Step::Apply(m) => MirrorStep::Apply(m.convert()?),
                Step::Stop(m) => MirrorStep::Stop {
                    reason: stop_reason(m.reason)?,
                    at: Seq(m.at),
                },
            },
        )
    }
}

impl From<&LoadRows> for v1::LoadRows {
    fn from(word: &LoadRows) -> Self {
        let LoadRows {
            after,
            through,
            rows,
        } = word;
        let row = |(key, row): &(Vec<u8>, Vec<u8>)| v1::KeyedRow {
            key: key.clone(),
            row: row.clone(),
        };
        Self {
            after: after.clone(),
            through: through.clone(),
            rows: rows.iter().map(row).collect(),
        }
    }
}

impl Convert<LoadRows> for v1::LoadRows {
    fn convert(self) -> Result<LoadRows, ConvertError> {
        let rows = bounded(self.rows, "LoadRows.rows", MIRROR_ROWS_MAX)?;
        Ok(LoadRows {
            after: self.after,
            through: self.through,
            rows: rows.into_iter().map(|m| (m.key, m.row)).collect(),
        })
    }
}

impl From<&SealedRecord> for v1::SealedRecord {
    fn from(word: &SealedRecord) -> Self {
        Self {
            crc: word.crc,
            body: word.body.clone(),
        }
    }
}

impl Convert<SealedRecord> for v1::SealedRecord {
    fn convert(self) -> Result<SealedRecord, ConvertError> {
        Ok(SealedRecord {
            crc: self.crc,
            body: self.body,
        })
    }
}

impl Convert<Vec<SealedRecord>> for v1::SealedRecords {
    fn convert(self) -> Result<Vec<SealedRecord>, ConvertError> {
        list(self.records, "SealedRecords.records", MIRROR_RECORDS_MAX)
    }
}

impl From<MirrorState> for v1::MirrorState {
    fn from(word: MirrorState) -> Self {
        let (phase, reason) = match word {
            MirrorState::Loading => (v1::MirrorPhase::Loading, 0),
            MirrorState::Following => (v1::MirrorPhase::Following, 0),
            MirrorState::Stopped(reason) => (v1::MirrorPhase::Stopped, u32::from(reason as u8)),
            MirrorState::Restoring => (v1::MirrorPhase::Restoring, 0),
        };
        Self {
            phase: phase.into(),
            reason,
        }
    }
}

impl Convert<MirrorState> for v1::MirrorState {
    fn convert(self) -> Result<MirrorState, ConvertError> {
        match (v1::MirrorPhase::try_from(self.phase), self.reason) {
            (Ok(v1::MirrorPhase::Loading), 0) => Ok(MirrorState::Loading),
            (Ok(v1::MirrorPhase::Following), 0) => Ok(MirrorState::Following),
            (Ok(v1::MirrorPhase::Restoring), 0) => Ok(MirrorState::Restoring),
            (Ok(v1::MirrorPhase::Stopped), reason) => {
                Ok(MirrorState::Stopped(stop_reason(reason)?))
            }
            _ => Err(unknown("MirrorState.phase", self.phase)),
        }
    }
}

fn stop_reason(number: u32) -> Result<StopReason, ConvertError> {
    let known = u8::try_from(number).ok().and_then(StopReason::from_number);
    known.ok_or_else(|| unknown("StopReason", number))
}
