//! Lets one chosen write or sync of an unchanged program fail, as a bad disk would.
//!
//! Loaded before the C library (`LD_PRELOAD`, see ld.so(8)), it stands in for the calls by which a
//! program writes files, and passes them on. Only files below `CURLEW_DISK_ROOT` count. A *site* is
//! a kind of call and a file's path below the root with each number in it as `#`, zero as `0`, such as
//! `sync log/#.log`.
//!
//! - `CURLEW_DISK_TRACE=FILE` adds each site to a file when it is first passed.
//! - `CURLEW_DISK_FAULT=N SITE` lets the N-th call of a site fail with EIO, and says so on the
//!   standard error. The calls after it work: a disk that fails once is the harder case, because
//!   whoever tries again is told that all is well.
#![expect(
    unsafe_code,
    reason = "it stands in for functions of the C library and calls them"
)]

mod calls;
mod plan;
