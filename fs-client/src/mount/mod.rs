//! The life of a mount: check the mount point, connect, serve, unmount, flush.

mod dead;
mod device;
mod ending;
mod error;
mod lifecycle;
mod mountpoint;
mod options;
mod outcome;
mod panics;
mod serving;
mod signals;
mod subdir;
mod umount;

pub use crate::fuse::{Ids, Squash};
pub use error::MountError;
pub use lifecycle::{MOUNT_WITHIN, Mounted, mount};
pub use mountpoint::{MountEntry, curlew_mount_at};
pub use options::{BACKUP_META, MountOptions};
pub use outcome::{Outcome, OutcomeReader};
pub use serving::Serving;
pub use signals::{Signals, Told};
pub use umount::{UmountMode, umount};
