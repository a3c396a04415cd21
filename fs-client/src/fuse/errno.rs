//! The one place where errors become error numbers.

use crate::vfs::VfsError;
use fuser::Errno;
use meta_core::outcome::Refusal;

/// The error number of a failed operation.
pub(super) fn of(error: &VfsError) -> Errno {
    match error {
        VfsError::Refused(refusal) => of_refusal(*refusal),
        VfsError::Unavailable(_)
        | VfsError::NotUnderstood(_)
        | VfsError::SessionLost(_)
        | VfsError::Unknown(_)
        | VfsError::Storage(_)
        | VfsError::Unexpected(_)
        | VfsError::Unstored(_)
        | VfsError::LockLost
        | VfsError::Stopped => Errno::EIO,
        VfsError::BadHandle => Errno::EBADF,
        VfsError::ReadOnly => Errno::EROFS,
        VfsError::NoData => Errno::ENXIO,
        VfsError::WouldBlock => Errno::EAGAIN,
        VfsError::Deadlock => Errno::EDEADLK,
        VfsError::Interrupted => Errno::EINTR,
    }
}

fn of_refusal(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::NotFound => Errno::ENOENT,
        Refusal::Exists => Errno::EEXIST,
        Refusal::NotDirectory => Errno::ENOTDIR,
        Refusal::IsDirectory => Errno::EISDIR,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::AccessDenied => Errno::EACCES,
        Refusal::NotPermitted => Errno::EPERM,
        Refusal::NameTooLong => Errno::ENAMETOOLONG,
        Refusal::InvalidArgument => Errno::EINVAL,
        Refusal::TooManyLinks => Errno::EMLINK,
        Refusal::NoSpace => Errno::ENOSPC,
        Refusal::NotSupported => Errno::EOPNOTSUPP,
        Refusal::FileTooLarge => Errno::EFBIG,
        Refusal::NoAttribute => Errno::ENODATA,
        Refusal::AttributeTooLarge => Errno::E2BIG,
        // The kernel then looks the path up anew.
        Refusal::Stale => Errno::ESTALE,
        Refusal::LimitReached => Errno::ENFILE,
        Refusal::Loop => Errno::ELOOP,
        Refusal::NoLocks => Errno::ENOLCK,
        Refusal::OverQuota => Errno::EDQUOT,
        Refusal::CrossesQuota => Errno::EXDEV,
        Refusal::Busy => Errno::EBUSY,
        Refusal::Cancelled => Errno::ECANCELED,
        Refusal::GrantRevoked
        | Refusal::UnknownVolume
        | Refusal::VolumeExists
        | Refusal::AlreadyInitialised
        | Refusal::MirrorLoading
        | Refusal::MirrorGap
        | Refusal::ClaimLost
        | Refusal::BeingCounted
        | Refusal::Changed
        | Refusal::Moved => Errno::EIO,
        // Somebody mounted the mirror itself: it is read only.
        Refusal::Mirror => Errno::EROFS,
    }
}

/// Whether a number stands for a fault that the operator should hear of.
pub(super) fn is_fault(errno: Errno) -> bool {
    errno == Errno::EIO
}

/// What this file system does not do.
pub(super) const NOT_SUPPORTED: Errno = Errno::EOPNOTSUPP;
/// No such control.
pub(super) const NO_CONTROL: Errno = Errno::ENOTTY;
/// An attribute does not fit the caller's buffer.
pub(super) const BUFFER_TOO_SMALL: Errno = Errno::ERANGE;
/// The name or file is the mount's own.
pub(super) const RESERVED: Errno = Errno::EPERM;
/// A virtual file is opened to be written, or by somebody who may not.
pub(super) const READ_ONLY_FILE: Errno = Errno::EACCES;
/// The caller is told to end, and waits no longer.
pub(super) const INTERRUPTED: Errno = Errno::EINTR;
/// The mount's own files have no locks.
pub(super) const NO_LOCKS: Errno = Errno::ENOLCK;
/// The handle is none.
pub(super) const BAD_HANDLE: Errno = Errno::EBADF;
