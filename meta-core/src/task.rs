//! Work on a volume's bucket that the engine gives to one session at a time. Which session does it,
//! and when, is decided in `apply`; the session's mount is the hand that does it.

use crate::attr::Timestamp;
use crate::ids::SessionId;
use crate::outcome::Token;

/// A kind of work. The numbers are stored: never change one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Task {
    /// Puts a dump of the volume's metadata into its bucket.
    Backup = 1,
    /// Makes few slices of many.
    Compact = 2,
}

impl Task {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Backup, Self::Compact];

    /// The kind stored as `number`, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|task| *task as u8 == number)
    }
}

/// The answer to a session that offers itself for a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// The session does it.
    Given {
        /// The stamp of the command that gave it, or gave it for longer.
        at: Timestamp,
        /// How long from then on nobody else is given it, in milliseconds, unless the session ends.
        lease_ms: u64,
    },
    /// Another session does it.
    Held {
        /// When the other's lease is over at the earliest, in milliseconds from now.
        retry_ms: u64,
    },
    /// It was done not long enough ago.
    NotDue {
        /// When it is due, in milliseconds from now.
        retry_ms: u64,
    },
}

/// A backup that a session has put into the bucket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBackup {
    /// The volume's state that is in it.
    pub token: Token,
    /// Bytes of the object.
    pub bytes: u64,
    /// The object's name, up to [`crate::limits::BACKUP_NAME_BYTES_MAX`] bytes; opaque to the engine.
    pub name: String,
}

/// The last backup that was finished.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backup {
    /// When that was told to the engine.
    pub finished: Timestamp,
    /// What it is.
    pub made: NewBackup,
}

/// Who does a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AtWork {
    /// The session.
    pub session: SessionId,
    /// When it was given the task.
    pub since: Timestamp,
}

/// How a volume's backups stand.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BackupStatus {
    /// The last one, if there was any.
    pub last: Option<Backup>,
    /// Who makes the next one, if anybody does.
    pub at_work: Option<AtWork>,
}
