//! Locks.

use super::{Convert, need, unknown};
use crate::error::ConvertError;
use crate::v1;
use meta_core::ids::{Ino, SessionId};
use meta_core::lock::{
    GetLock, HeldLock, LockKind, LockMode, LockOwner, LockRange, LockRequest, LockState,
    UnlockRequest, Woken,
};

impl From<LockKind> for v1::LockKind {
    fn from(word: LockKind) -> Self {
        match word {
            LockKind::Posix => Self::Posix,
            LockKind::Ofd => Self::Ofd,
            LockKind::Flock => Self::Flock,
        }
    }
}

pub(super) fn lock_kind(number: i32) -> Result<LockKind, ConvertError> {
    let known = u8::try_from(number).ok().and_then(LockKind::from_number);
    known.ok_or_else(|| unknown("LockKind", number))
}

impl From<LockMode> for v1::LockMode {
    fn from(word: LockMode) -> Self {
        match word {
            LockMode::Shared => Self::Shared,
            LockMode::Exclusive => Self::Exclusive,
        }
    }
}

fn lock_mode(number: i32) -> Result<LockMode, ConvertError> {
    match v1::LockMode::try_from(number) {
        Ok(v1::LockMode::Shared) => Ok(LockMode::Shared),
        Ok(v1::LockMode::Exclusive) => Ok(LockMode::Exclusive),
        Ok(v1::LockMode::Unspecified) | Err(_) => Err(unknown("LockMode", number)),
    }
}

impl From<LockState> for v1::LockState {
    fn from(word: LockState) -> Self {
        match word {
            LockState::Granted => Self::Granted,
            LockState::Waiting => Self::Waiting,
            LockState::Conflict => Self::Conflict,
            LockState::Deadlock => Self::Deadlock,
        }
    }
}

pub(super) fn lock_state(number: i32) -> Result<LockState, ConvertError> {
    match v1::LockState::try_from(number) {
        Ok(v1::LockState::Granted) => Ok(LockState::Granted),
        Ok(v1::LockState::Waiting) => Ok(LockState::Waiting),
        Ok(v1::LockState::Conflict) => Ok(LockState::Conflict),
        Ok(v1::LockState::Deadlock) => Ok(LockState::Deadlock),
        Ok(v1::LockState::Unspecified) | Err(_) => Err(unknown("LockState", number)),
    }
}

impl From<LockRange> for v1::LockRange {
    fn from(word: LockRange) -> Self {
        let LockRange { first, last } = word;
        Self { first, last }
    }
}

impl Convert<LockRange> for v1::LockRange {
    fn convert(self) -> Result<LockRange, ConvertError> {
        let Self { first, last } = self;
        Ok(LockRange { first, last })
    }
}

impl From<&LockRequest> for v1::Lock {
    fn from(word: &LockRequest) -> Self {
        let LockRequest {
            ino,
            kind,
            owner,
            pid,
            range,
            mode,
            wait,
        } = word;
        Self {
            ino: ino.0,
            kind: v1::LockKind::from(*kind).into(),
            owner: *owner,
            pid: *pid,
            range: Some((*range).into()),
            mode: v1::LockMode::from(*mode).into(),
            wait: *wait,
        }
    }
}

impl Convert<LockRequest> for v1::Lock {
    fn convert(self) -> Result<LockRequest, ConvertError> {
        Ok(LockRequest {
            ino: Ino(self.ino),
            kind: lock_kind(self.kind)?,
            owner: self.owner,
            pid: self.pid,
            range: need(self.range, "Lock.range")?,
            mode: lock_mode(self.mode)?,
            wait: self.wait,
        })
    }
}

impl From<&UnlockRequest> for v1::Unlock {
    fn from(word: &UnlockRequest) -> Self {
        let UnlockRequest {
            ino,
            kind,
            owner,
            range,
        } = word;
        Self {
            ino: ino.0,
            kind: v1::LockKind::from(*kind).into(),
            owner: *owner,
            range: Some((*range).into()),
        }
    }
}

impl Convert<UnlockRequest> for v1::Unlock {
    fn convert(self) -> Result<UnlockRequest, ConvertError> {
        Ok(UnlockRequest {
            ino: Ino(self.ino),
            kind: lock_kind(self.kind)?,
            owner: self.owner,
            range: need(self.range, "Unlock.range")?,
        })
    }
}

impl From<Woken> for v1::Woken {
    fn from(word: Woken) -> Self {
        let Woken {
            session,
            ticket,
            granted,
        } = word;
        Self {
            session: session.0,
            ticket,
            granted,
        }
    }
}

impl Convert<Woken> for v1::Woken {
    fn convert(self) -> Result<Woken, ConvertError> {
        Ok(Woken {
            session: SessionId(self.session),
            ticket: self.ticket,
            granted: self.granted,
        })
    }
}

impl From<LockOwner> for v1::LockOwner {
    fn from(word: LockOwner) -> Self {
        let LockOwner {
            session,
            kind,
            number,
        } = word;
        Self {
            session: session.0,
            kind: v1::LockKind::from(kind).into(),
            number,
        }
    }
}

impl Convert<LockOwner> for v1::LockOwner {
    fn convert(self) -> Result<LockOwner, ConvertError> {
        Ok(LockOwner {
            session: SessionId(self.session),
            kind: lock_kind(self.kind)?,
            number: self.number,
        })
    }
}

impl From<&GetLock> for v1::GetLock {
    fn from(word: &GetLock) -> Self {
        let GetLock {
            ino,
            owner,
            range,
            mode,
        } = word;
        Self {
            ino: ino.0,
            owner: Some((*owner).into()),
            range: Some((*range).into()),
            mode: v1::LockMode::from(*mode).into(),
        }
    }
}

impl Convert<GetLock> for v1::GetLock {
    fn convert(self) -> Result<GetLock, ConvertError> {
        Ok(GetLock {
            ino: Ino(self.ino),
            owner: need(self.owner, "GetLock.owner")?,
            range: need(self.range, "GetLock.range")?,
            mode: lock_mode(self.mode)?,
        })
    }
}

impl From<HeldLock> for v1::HeldLock {
    fn from(word: HeldLock) -> Self {
        let HeldLock {
            owner,
            range,
            mode,
            pid,
        } = word;
        Self {
            owner: Some(owner.into()),
            range: Some(range.into()),
            mode: v1::LockMode::from(mode).into(),
            pid,
        }
    }
}

impl Convert<HeldLock> for v1::HeldLock {
    fn convert(self) -> Result<HeldLock, ConvertError> {
        Ok(HeldLock {
            owner: need(self.owner, "HeldLock.owner")?,
            range: need(self.range, "HeldLock.range")?,
            mode: lock_mode(self.mode)?,
            pid: self.pid,
        })
    }
}
