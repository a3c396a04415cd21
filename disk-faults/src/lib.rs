//! Lets one chosen write or sync of an unchanged program fail, as a bad disk would.
//!
//! Loaded before the C library (`LD_PRELOAD`, see ld.so(8)), it stands in for the calls by which a
//! program writes files, and passes them on. Only files below `CURLEW_DISK_ROOT` count. A *site* is
//! a kind of call and a file's path below the root with each number in it as `#`, zero as `0`, such as
//! `sync log/slot-#`.
//!
//! - `CURLEW_DISK_TRACE=FILE` adds each site to a file when it is first passed.
//! - `CURLEW_DISK_FAULT=N SITE` lets the N-th call of a site fail with EIO, and says so on the
//!   standard error. The calls after it work: a disk that fails once is the harder case, because
//!   whoever tries again is told that all is well.
//! - `CURLEW_DISK_CONTROL=FILE` shares a page of three 64-bit numbers with the program's calls: how
//!   many microseconds each sync takes longer, how many syncs of the log fail from now on, and, to
//!   be read, how many calls that has hit.
#![expect(
    unsafe_code,
    reason = "it stands in for functions of the C library and calls them"
)]

mod calls;
mod control;
mod plan;
