//! What hurts the cluster. A kind of fault is one file, and one line in [`Nemesis::fault`].

mod bad_disk;
mod bucket;
mod churn;
mod clock;
mod fault;
mod flip;
mod full_disk;
mod loss;
mod mount;
mod partition;
mod power;
mod report;
mod restart;
mod shape;
mod slow_disk;
mod slow_link;
mod standstill;
mod stream;
mod torment;
mod upgrade;
mod ways;
mod wipe;

pub use report::{NemesisReport, Span};

use super::scene::Setting;

pub(super) use fault::{Fault, NODES};
pub(super) use torment::torment;

/// The kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Nemesis {
    /// No faults.
    None,
    /// SIGKILL, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// Control groups that are frozen, and thawed.
    Freeze,
    /// Ways between nodes that bring nothing.
    Partition,
    /// Ways between nodes that take their time.
    SlowLink,
    /// Ways between nodes that lose packets or connections.
    Loss,
    /// SIGTERM, which hands leadership over, and a new start, one node after the other.
    Restart,
    /// Nodes of the previous build are started from this one, one after the other.
    Upgrade,
    /// A node loses its disk, and is taken out and in again.
    Wipe,
    /// A node leaves, and joins as a new one.
    Churn,
    /// Clocks that jump.
    Clock,
    /// Disks whose syncs take long.
    SlowDisk,
    /// Disks that fail a sync with EIO.
    BadDisk,
    /// Disks without room, on a file system of the node's own.
    FullDisk,
    /// Power cuts, on a file system of the node's own.
    Power,
    /// Bits that flip and files that are cut off, at one node at a time.
    Flip,
    /// The mirror's way to its origin is cut, silent or damages what it brings.
    Stream,
    /// Mounts end by SIGKILL.
    Mount,
    /// The mounts' way to their bucket is cut, silent or damages what it brings.
    Bucket,
}

impl Nemesis {
    /// All that hurt.
    pub const ALL: [Self; 19] = [
        Self::Kill,
        Self::Pause,
        Self::Freeze,
        Self::Partition,
        Self::SlowLink,
        Self::Loss,
        Self::Restart,
        Self::Upgrade,
        Self::Wipe,
        Self::Churn,
        Self::Clock,
        Self::SlowDisk,
        Self::BadDisk,
        Self::FullDisk,
        Self::Power,
        Self::Flip,
        Self::Stream,
        Self::Mount,
        Self::Bucket,
    ];

    /// Whether there is something for it to hurt.
    pub(super) fn fits(self, setting: Setting) -> bool {
        match self {
            Self::Stream => setting == Setting::Mirror,
            Self::Mount | Self::Bucket => setting == Setting::Mounts,
            _ => true,
        }
    }

    /// Why it cannot be had on this machine, if it cannot.
    pub fn missing(self) -> Option<String> {
        self.fault()?.missing()
    }

    /// What does it; nothing if nothing is to be hurt.
    pub(super) fn fault(self) -> Option<Box<dyn Fault>> {
        Some(match self {
            Self::None => return None,
            Self::Kill => Box::new(standstill::KILL),
            Self::Pause => Box::new(standstill::PAUSE),
            Self::Freeze => Box::new(standstill::FREEZE),
            Self::Partition => Box::new(partition::Partition::default()),
            Self::SlowLink => Box::new(slow_link::SlowLink::default()),
            Self::Loss => Box::new(loss::Loss::default()),
            Self::Restart => Box::new(restart::Restart),
            Self::Upgrade => Box::new(upgrade::Upgrade::default()),
            Self::Wipe => Box::new(wipe::Wipe),
            Self::Churn => Box::new(churn::Churn),
            Self::Clock => Box::new(clock::Clock),
            Self::SlowDisk => Box::new(slow_disk::SlowDisk::default()),
            Self::BadDisk => Box::new(bad_disk::BadDisk::default()),
            Self::FullDisk => Box::new(full_disk::FullDisk::default()),
            Self::Power => Box::new(power::Power),
            Self::Flip => Box::new(flip::Flip::default()),
            Self::Stream => Box::new(stream::Stream::default()),
            Self::Mount => Box::new(mount::MountKill::default()),
            Self::Bucket => Box::new(bucket::Bucket::default()),
        })
    }
}
