//! From a decoded request to its answer: on the runtime, counted and logged.

use super::adapter::Adapter;
use super::errno;
use super::reply::Refuse;
use crate::vfs::{Op, Vfs, VfsError};
use fuser::{Errno, Request};
use std::fmt;
use std::time::Instant;

/// A request while it is served.
#[derive(Debug)]
pub(super) struct Call {
    vfs: Vfs,
    op: Op,
    what: String,
    uid: u32,
    gid: u32,
    pid: u32,
    begun: Instant,
}

impl Call {
    /// Counts and logs the end.
    fn end(&self, failed: Option<Errno>) {
        let took = self.begun.elapsed();
        self.vfs.stats().count(self.op, took, failed.is_some());
        let Self {
            op,
            what,
            uid,
            gid,
            pid,
            ..
        } = self;
        let seconds = took.as_secs_f64();
        let name = op.name();
        let log = self.vfs.access_log();
        match failed {
            None => log.add(format_args!(
                "[uid:{uid},gid:{gid},pid:{pid}] {name} ({what}): OK <{seconds:.6}>"
            )),
            Some(errno) => log.add(format_args!(
                "[uid:{uid},gid:{gid},pid:{pid}] {name} ({what}): errno {} <{seconds:.6}>",
                errno.code()
            )),
        }
    }
}

impl Adapter {
    pub(super) fn call(&self, op: Op, request: &Request, what: fmt::Arguments<'_>) -> Call {
        Call {
            vfs: self.vfs.clone(),
            op,
            what: what.to_string(),
            uid: request.uid(),
            gid: request.gid(),
            pid: request.pid(),
            begun: Instant::now(),
        }
    }

    /// Does the work on the runtime and answers from there.
    pub(super) fn serve<R: Refuse, T: Send + 'static>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T, VfsError>> + Send + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) {
        self.runtime.spawn(async move {
            // Counted before the answer, so that whoever got it finds itself counted.
            match work.await {
                Ok(value) => {
                    call.end(None);
                    answer(reply, value);
                }
                Err(error) => {
                    let errno = errno::of(&error);
                    if errno::is_fault(errno) {
                        tracing::error!(op = call.op.name(), what = call.what, %error, "failed");
                        call.vfs.stats().note_error(&error);
                    }
                    call.end(Some(errno));
                    reply.refuse(errno);
                }
            }
        });
    }
}
