//! Copies of directories.

use super::types::refusal;
use super::{Convert, list, name, need, unknown};
use crate::error::ConvertError;
use crate::v1;
use meta_core::command::{CloneTree, CommandBody};
use meta_core::ids::Ino;
use meta_core::limits::{CLONES_MAX, ENDED_CLONES_MAX};
use meta_core::name::Name;
use meta_core::query::{Answer, CloneStatus};
use meta_core::row::CloneState;

impl From<&CloneTree> for v1::CloneTree {
    fn from(word: &CloneTree) -> Self {
        let CloneTree {
            source,
            parent,
            name,
            preserve,
            umask,
            rows_max,
        } = word;
        Self {
            source: source.0,
            parent: parent.0,
            name: name.as_bytes().to_vec(),
            preserve: *preserve,
            umask: *umask,
            rows_max: *rows_max,
        }
    }
}

impl Convert<CloneTree> for v1::CloneTree {
    fn convert(self) -> Result<CloneTree, ConvertError> {
        Ok(CloneTree {
            source: Ino(self.source),
            parent: Ino(self.parent),
            name: name(self.name, "CloneTree.name")?,
            preserve: self.preserve,
            umask: self.umask,
            rows_max: self.rows_max,
        })
    }
}

pub(super) fn step(
    (job, rows_max): (Ino, u32),
    copies: bool,
    attach: Option<&(Ino, Name)>,
) -> v1::CloneStep {
    v1::CloneStep {
        job: job.0,
        rows_max,
        copies,
        attach: attach.map(|(parent, name)| v1::ClonePlace {
            parent: parent.0,
            name: name.as_bytes().to_vec(),
        }),
    }
}

impl Convert<(Ino, Name)> for v1::ClonePlace {
    fn convert(self) -> Result<(Ino, Name), ConvertError> {
        Ok((Ino(self.parent), name(self.name, "ClonePlace.name")?))
    }
}

impl Convert<CommandBody> for v1::CloneStep {
    fn convert(self) -> Result<CommandBody, ConvertError> {
        Ok(CommandBody::CloneStep {
            job: Ino(self.job),
            rows_max: self.rows_max,
            copies: self.copies,
            attach: self.attach.map(Convert::convert).transpose()?,
        })
    }
}

pub(super) fn clones(clones: &[CloneStatus]) -> v1::Clones {
    v1::Clones {
        clones: clones.iter().map(Into::into).collect(),
    }
}

impl From<&CloneStatus> for v1::Clone {
    fn from(word: &CloneStatus) -> Self {
        let (state, refusal) = match word.state {
            CloneState::Copying => (v1::CloneState::Copying, v1::Refusal::Unspecified),
            CloneState::Again => (v1::CloneState::Again, v1::Refusal::Unspecified),
            CloneState::Attached => (v1::CloneState::Attached, v1::Refusal::Unspecified),
            CloneState::Failed(why) => (v1::CloneState::Failed, why.into()),
        };
        Self {
            job: word.job.0,
            source: word.source.0,
            parent: word.parent.0,
            name: word.name.as_bytes().to_vec(),
            uid: word.uid,
            state: state.into(),
            refusal: refusal.into(),
            at_work: word.is_at_work,
            files: word.files,
            since: Some(word.since.into()),
        }
    }
}

impl Convert<CloneStatus> for v1::Clone {
    fn convert(self) -> Result<CloneStatus, ConvertError> {
        let state = match v1::CloneState::try_from(self.state) {
            Ok(v1::CloneState::Copying) => CloneState::Copying,
            Ok(v1::CloneState::Again) => CloneState::Again,
            Ok(v1::CloneState::Attached) => CloneState::Attached,
            Ok(v1::CloneState::Failed) => CloneState::Failed(refusal(self.refusal)?),
            Ok(v1::CloneState::Unspecified) | Err(_) => {
                return Err(unknown("Clone.state", self.state));
            }
        };
        Ok(CloneStatus {
            job: Ino(self.job),
            source: Ino(self.source),
            parent: Ino(self.parent),
            name: name(self.name, "Clone.name")?,
            uid: self.uid,
            state,
            is_at_work: self.at_work,
            files: self.files,
            since: need(self.since, "Clone.since")?,
        })
    }
}

impl Convert<Answer> for v1::Clones {
    fn convert(self) -> Result<Answer, ConvertError> {
        let max = CLONES_MAX as usize + ENDED_CLONES_MAX;
        Ok(Answer::Clones(list(self.clones, "Clones.clones", max)?))
    }
}
