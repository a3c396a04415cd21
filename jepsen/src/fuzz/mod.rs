//! Random operations on real mounts, beside the same ones on ext4 in a loop image.
//!
//! A plan of operations follows from a seed. Five processes, of root and of two other
//! users, execute it on both file systems: most steps one after the other, some at once in directories
//! of their own. After each step outcome, attributes, extended attributes and link targets are
//! compared, and at the end the whole trees with what the files contain. Of two mounts of a volume
//! ([`FuzzOptions::pair`]) steps alternate between the mounts, and both must show each change when it is
//! answered; of two changes at once (a *race*) the outcome must be that of one of the two orders, as
//! ext4 has them.
//!
//! # What is not compared
//!
//! All that is left out is listed here, and nowhere else:
//!
//! | what | why |
//! |---|---|
//! | `st_blocks`, `st_blksize`, `st_dev` | each file system's own |
//! | `st_ino` | only which names are of one file is compared |
//! | sizes of directories | ext4 counts blocks |
//! | the order of a listing, and places in it | each file system's own; that what stays is told exactly once is checked of each, also after going back to a place |
//! | what is a hole | a file system may tell fewer holes; that no data are in one is checked of each |
//! | values of times that were not set | of a fourth of the steps it is compared which times changed, and that those of a mount are between the step's begin and end; values that utimensat set are compared always |
//! | ctime of a regular file while something that was written through a handle is not stored | it may move once more, forward, when a mount stores it: the engine orders all changes by ctime. mtime is the write's and stays |
//! | access times of reads | ext4 is mounted `noatime`, as Curlew behaves |
//! | numbers of `statfs` | that they are sane is checked of each |
//! | direct I/O that is not aligned to 4,096 bytes, direct appends, and copies from or to what is open so | ext4 refuses them |
//! | the process that F_GETLK names as the holder of a lock of an open file | ext4 names none, and the kernel does not tell a mount of which kind a lock is |
//! | fifos, on two mounts | both ends of one are at one mount |
//! | places from 16 TiB to 2^57, and positions of an open file from there on | ext4 ends there |
//! | times after fallocate without a flag | ext4 sets them also where all room was there |
//! | capabilities of a program after a write or truncation behind 2^57 bytes | the kernel takes them away before a mount can refuse; a plan has one or the other |
//! | whether a link, or a rename that replaces nothing, is refused as its first name is gone or as its second is there, when the other mount moves the one to the other | the kernel looks at the names one after the other, and not under a lock of both mounts |
//! | whether a rename that both mounts do at once says that there is nothing any more, or that it is done | the same; the kernel does nothing where both names are of one file |
//! | more than 3 MiB of extended attributes, or many names of them | ext4 has room for few |
//! | times before 1901 and after 2446 | ext4 has none |
//! | chown that names neither a user nor a group | the kernel tells a mount of it as of no change, and ext4 sets ctime |
//! | an extended attribute that is to be new and to be there already | EINVAL here, and what ext4 finds first there; it never succeeds |
//! | programs, set-user-id, devices | both are mounted `nosuid,nodev` |
//! | FALLOC_FL_KEEP_SIZE alone | nobody sees it, and ext4 may have no room |
//! | fallocate with another mode, RENAME_WHITEOUT, O_TMPFILE | not in this version: it must refuse them (`run::is_offered`), but for a whiteout of a name to another of the same file, of which the kernel makes nothing before it asks anybody |
//! | data read, at the mount that reads at the nearest member, through a handle that was opened before the other mount changed the file | not ordered there (`docs/SEMANTICS.md`); how often it was old is told |

mod act;
mod choices;
mod facts;
mod handle;
mod minimise;
mod op;
mod outcome;
mod plan;
mod run;
mod stage;
mod worker;

pub use stage::{again, missing, run, shown};
pub use worker::work;

/// What is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuzzOptions {
    /// Plan N is that of seed `seed` + N.
    pub seed: u64,
    /// How many plans.
    pub plans: u64,
    /// Operations of each.
    pub operations: usize,
    /// Two mounts of a volume.
    pub pair: bool,
    /// The second one reads at the nearest member of three.
    pub nearest: bool,
}
