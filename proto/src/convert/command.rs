//! Commands, without the operations of sessions.

use super::{Convert, bounded, clone, need, quota, sixteen, text, trash, within};
use crate::error::ConvertError;
use crate::v1::{self, command::Body};
use meta_core::command::{Command, CommandBody, CreateVolume};
use meta_core::ids::{Ino, Level, Seq, SessionId, Uuid, VolumeId};
use meta_core::limits::{
    BLOCK_BYTES_MAX, MAINTENANCE_ROWS_MAX, MIRROR_INFO_BYTES_MAX, REAP_FILES_MAX,
    SESSION_INFO_BYTES_MAX, SESSIONS_MAX, SLOTS_PER_SESSION_MAX, STORAGE_BYTES_MAX,
    TRASH_ENTRIES_MAX, VOLUME_NAME_BYTES_MAX,
};

impl From<&Command> for v1::Command {
    fn from(word: &Command) -> Self {
        let Command {
            volume,
            stamp,
            read_level,
            body,
        } = word;
        Self {
            volume: volume.0,
            stamp: Some((*stamp).into()),
            body: Some(body.into()),
            read_level: read_level.0,
        }
    }
}

impl From<&CommandBody> for Body {
    fn from(word: &CommandBody) -> Self {
        match word {
            CommandBody::InitCluster { cluster } => Self::InitCluster(v1::InitCluster {
                cluster: cluster.0.to_vec(),
            }),
            CommandBody::CreateVolume(create) => Self::CreateVolume(create.into()),
            CommandBody::OpenSession { nonce, slots, info } => {
                let nonce = nonce.to_le_bytes().to_vec();
                Self::OpenSession(v1::OpenSession {
                    nonce,
                    slots: *slots,
                    info: info.clone(),
                })
            }
            CommandBody::CloseSession { session } => {
                Self::CloseSession(v1::CloseSession { session: session.0 })
            }
            CommandBody::ExpireSessions { sessions } => {
                let sessions = sessions.iter().map(|session| session.0).collect();
                Self::ExpireSessions(v1::ExpireSessions { sessions })
            }
            CommandBody::Request(request) => Self::Request(request.into()),
            CommandBody::Reap { ino, rows_max } => Self::Reap(reap(*ino, *rows_max)),
            CommandBody::ReapFiles { inos, rows_max } => Self::ReapFiles(v1::ReapFiles {
                inos: inos.iter().map(|ino| ino.0).collect(),
                rows_max: *rows_max,
            }),
            CommandBody::PurgeTrash { before, files_max } => {
                Self::PurgeTrash(trash::purge(*before, *files_max))
            }
            CommandBody::SetOptions {
                caller,
                trash_seconds,
            } => Self::SetOptions(trash::set_options(caller, *trash_seconds)),
            CommandBody::SetQuota {
                caller,
                subject,
                limit,
            } => Self::SetQuota(quota::set_quota(caller, *subject, *limit)),
            CommandBody::CloneStep {
                job,
                rows_max,
                copies,
                attach,
            } => Self::CloneStep(clone::step((*job, *rows_max), *copies, attach.as_ref())),
            CommandBody::CountFiles { files_max } => Self::CountFiles(quota::count(*files_max)),
            CommandBody::Trim { ino, rows_max } => Self::Trim(trim(*ino, *rows_max)),
            CommandBody::TrimChangelog { keep_from } => Self::TrimChangelog(v1::TrimChangelog {
                keep_from: keep_from.0,
            }),
            CommandBody::RaiseLevel { level } => {
                Self::RaiseLevel(v1::RaiseLevel { level: level.0 })
            }
            CommandBody::Mark => Self::Mark(v1::Nothing {}),
            CommandBody::NoteFollower { name, info } => Self::NoteFollower(v1::NoteFollower {
                name: name.clone(),
                info: info.clone(),
            }),
            CommandBody::CreateMirror(create) => Self::CreateMirror(create.into()),
            CommandBody::Mirror(step) => Self::Mirror(step.into()),
            CommandBody::BeginRestore(begin) => Self::BeginRestore(begin.into()),
            CommandBody::RestoreRows(rows) => Self::RestoreRows(rows.into()),
            CommandBody::EndRestore { stamp, digest } => Self::EndRestore(v1::EndLoad {
                stamp: Some((*stamp).into()),
                digest: digest.to_le_bytes().to_vec(),
            }),
            CommandBody::Recovered => Self::Recovered(v1::Nothing {}),
        }
    }
}

fn reap(ino: Ino, rows_max: u32) -> v1::Reap {
    v1::Reap {
        ino: ino.0,
        rows_max,
    }
}

fn trim(ino: Ino, rows_max: u32) -> v1::Trim {
    v1::Trim {
        ino: ino.0,
        rows_max,
    }
}

impl From<&CreateVolume> for v1::CreateVolume {
    fn from(word: &CreateVolume) -> Self {
        let CreateVolume {
            name,
            uuid,
            block_bytes,
            storage,
        } = word;
        Self {
            name: name.clone(),
            uuid: uuid.0.to_vec(),
            block_bytes: *block_bytes,
            storage: storage.clone(),
        }
    }
}

impl Convert<Command> for v1::Command {
    fn convert(self) -> Result<Command, ConvertError> {
        let stamp = need(self.stamp, "Command.stamp")?;
        let body = need(self.body, "Command.body")?;
        Ok(Command {
            volume: VolumeId(self.volume),
            stamp,
            read_level: Level(self.read_level),
            body,
        })
    }
}

impl Convert<CommandBody> for Body {
    fn convert(self) -> Result<CommandBody, ConvertError> {
        Ok(match self {
            Self::InitCluster(m) => CommandBody::InitCluster {
                cluster: Uuid(sixteen(&m.cluster, "InitCluster.cluster")?),
            },
            Self::CreateVolume(m) => CommandBody::CreateVolume(m.convert()?),
            Self::OpenSession(m) => open_session(m)?,
            Self::CloseSession(m) => CommandBody::CloseSession {
                session: SessionId(m.session),
            },
            Self::ExpireSessions(m) => {
                let sessions = bounded(m.sessions, "ExpireSessions.sessions", SESSIONS_MAX)?;
                let sessions = sessions.into_iter().map(SessionId).collect();
                CommandBody::ExpireSessions { sessions }
            }
            Self::Request(m) => CommandBody::Request(m.convert()?),
            Self::Reap(m) => {
                let rows_max = maintenance_rows(m.rows_max, "Reap.rows_max")?;
                CommandBody::Reap {
                    ino: Ino(m.ino),
                    rows_max,
                }
            }
            Self::ReapFiles(m) => {
                let inos = bounded(m.inos, "ReapFiles.inos", REAP_FILES_MAX)?;
                CommandBody::ReapFiles {
                    inos: inos.into_iter().map(Ino).collect(),
                    rows_max: maintenance_rows(m.rows_max, "ReapFiles.rows_max")?,
                }
            }
            Self::PurgeTrash(m) => purge_trash(m)?,
            Self::SetOptions(m) => CommandBody::SetOptions {
                caller: need(m.caller, "SetOptions.caller")?,
                trash_seconds: m.trash_seconds,
            },
            Self::SetQuota(m) => m.convert()?,
            Self::CountFiles(m) => m.convert()?,
            Self::CloneStep(m) => m.convert()?,
            Self::Trim(m) => {
                let rows_max = maintenance_rows(m.rows_max, "Trim.rows_max")?;
                CommandBody::Trim {
                    ino: Ino(m.ino),
                    rows_max,
                }
            }
            Self::TrimChangelog(m) => CommandBody::TrimChangelog {
                keep_from: Seq(m.keep_from),
            },
            Self::RaiseLevel(m) => CommandBody::RaiseLevel {
                level: Level(m.level),
            },
            Self::Mark(v1::Nothing {}) => CommandBody::Mark,
            Self::NoteFollower(m) => CommandBody::NoteFollower {
                name: text(m.name, "NoteFollower.name", VOLUME_NAME_BYTES_MAX)?,
                info: bounded(m.info, "NoteFollower.info", MIRROR_INFO_BYTES_MAX)?,
            },
            Self::CreateMirror(m) => CommandBody::CreateMirror(m.convert()?),
            Self::Mirror(m) => CommandBody::Mirror(m.convert()?),
            Self::BeginRestore(m) => CommandBody::BeginRestore(m.convert()?),
            Self::RestoreRows(m) => CommandBody::RestoreRows(m.convert()?),
            Self::EndRestore(m) => CommandBody::EndRestore {
                stamp: need(m.stamp, "EndLoad.stamp")?,
                digest: u128::from_le_bytes(sixteen(&m.digest, "EndLoad.digest")?),
            },
            Self::Recovered(v1::Nothing {}) => CommandBody::Recovered,
        })
    }
}

fn purge_trash(m: v1::PurgeTrash) -> Result<CommandBody, ConvertError> {
    let max = TRASH_ENTRIES_MAX as u64;
    within(u64::from(m.files_max), "PurgeTrash.files_max", max)?;
    Ok(CommandBody::PurgeTrash {
        before: need(m.before, "PurgeTrash.before")?,
        files_max: m.files_max,
    })
}

fn open_session(m: v1::OpenSession) -> Result<CommandBody, ConvertError> {
    let max = u64::from(SLOTS_PER_SESSION_MAX);
    within(u64::from(m.slots), "OpenSession.slots", max)?;
    Ok(CommandBody::OpenSession {
        nonce: u128::from_le_bytes(sixteen(&m.nonce, "OpenSession.nonce")?),
        slots: m.slots,
        info: bounded(m.info, "OpenSession.info", SESSION_INFO_BYTES_MAX)?,
    })
}

fn maintenance_rows(rows_max: u32, field: &'static str) -> Result<u32, ConvertError> {
    within(u64::from(rows_max), field, u64::from(MAINTENANCE_ROWS_MAX))?;
    Ok(rows_max)
}

impl Convert<CreateVolume> for v1::CreateVolume {
    fn convert(self) -> Result<CreateVolume, ConvertError> {
        let max = u64::from(BLOCK_BYTES_MAX);
        within(u64::from(self.block_bytes), "CreateVolume.block_bytes", max)?;
        Ok(CreateVolume {
            name: text(self.name, "CreateVolume.name", VOLUME_NAME_BYTES_MAX)?,
            uuid: Uuid(sixteen(&self.uuid, "CreateVolume.uuid")?),
            block_bytes: self.block_bytes,
            storage: bounded(self.storage, "CreateVolume.storage", STORAGE_BYTES_MAX)?,
        })
    }
}
