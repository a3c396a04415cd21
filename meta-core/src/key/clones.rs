//! Keys of copies of directories that are being made.

use super::{Key, Table};
use crate::ids::{Ino, VolumeId};

/// The kinds of rows of clones: jobs, copies by source, scans, rows to be copied again, sources by copy.
pub(crate) const CLONE_JOB: u8 = 0;
pub(crate) const CLONE_COPY: u8 = 1;
pub(crate) const CLONE_SCAN: u8 = 2;
pub(crate) const CLONE_DIRTY: u8 = 3;
pub(crate) const CLONE_SOURCE: u8 = 4;

/// The prefix of all clones.
pub fn clones(volume: VolumeId) -> Vec<u8> {
    Key::new(volume, Table::Clone).u8(CLONE_JOB).done()
}

/// The key of a clone.
pub fn clone_job(volume: VolumeId, job: Ino) -> Vec<u8> {
    Key::new(volume, Table::Clone)
        .u8(CLONE_JOB)
        .u64(job.0)
        .done()
}

/// The prefix of a clone's rows of one kind.
pub(crate) fn of_clone(volume: VolumeId, kind: u8, job: Ino) -> Vec<u8> {
    Key::new(volume, Table::Clone).u8(kind).u64(job.0).done()
}

/// The key of what a clone says of one file; the prefix of its rows to be copied again.
pub(crate) fn of_cloned(volume: VolumeId, kind: u8, job: Ino, ino: Ino) -> Vec<u8> {
    let key = Key::new(volume, Table::Clone).u8(kind);
    key.u64(job.0).u64(ino.0).done()
}
