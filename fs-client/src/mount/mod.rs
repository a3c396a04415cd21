//! The life of a mount: check the mount point, connect, serve, unmount, flush.

mod error;
mod lifecycle;
mod mountpoint;
mod options;
mod serving;
mod umount;

pub use error::MountError;
pub use lifecycle::{Mounted, mount};
pub use mountpoint::{MountEntry, curlew_mount_at};
pub use options::MountOptions;
pub use serving::Serving;
pub use umount::{UmountMode, umount};
