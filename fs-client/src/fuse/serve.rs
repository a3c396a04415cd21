//! From a decoded request to its answer: on the runtime, counted and logged.

use super::adapter::Adapter;
use super::errno;
use super::interrupt::Late;
use super::reply::Refuse;
use crate::vfs::{Op, Vfs, VfsError};
use fuser::{Errno, Request};
use std::fmt;
use std::pin::Pin;
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
    /// Who waits for the answer and can be told to end, by its number; 0 for nobody.
    waits: u32,
    begun: Instant,
}

impl Call {
    /// The same, of which no signal lets go.
    pub(super) fn going_to_its_end(self) -> Self {
        Self { waits: 0, ..self }
    }

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

impl Call {
    /// The error number of a failure, of which the operator hears if it is a fault.
    fn fail(&self, error: &VfsError) -> Errno {
        let errno = errno::of(error);
        if errno::is_fault(errno) {
            let (op, what) = (self.op.name(), &self.what);
            tracing::error!(op, what, %error, "failed");
            self.vfs.stats().note_error(error);
        }
        errno
    }

    /// Does the rest of what nobody waits for. A write ends with the bytes that were taken in: later
    /// ones could lie over what is written meanwhile.
    async fn go_on<T: Late>(&self, work: Pin<&mut impl Future<Output = Result<T, VfsError>>>) {
        if self.op == Op::Write {
            return;
        }
        match work.await {
            Ok(late) => late.let_go(&self.vfs),
            Err(error) => {
                let _told_already = self.fail(&error);
            }
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
            waits: request.pid(),
            begun: Instant::now(),
        }
    }

    /// Does the work on the runtime and answers from there, or before it is done if the caller is told
    /// to end. Then the work goes on: it may have been sent, and the engine does it once.
    pub(super) fn serve<R: Refuse, T: Late + Send + 'static>(
        &self,
        call: Call,
        reply: R,
        work: impl Future<Output = Result<T, VfsError>> + Send + 'static,
        answer: impl FnOnce(R, T) + Send + 'static,
    ) {
        let interrupts = self.interrupts.clone();
        self.runtime.spawn(async move {
            let mut work = std::pin::pin!(work);
            let result = tokio::select! {
                biased;
                result = &mut work => result,
                going_on = interrupts.told(call.waits, call.op) => {
                    call.end(Some(errno::INTERRUPTED));
                    reply.refuse(errno::INTERRUPTED);
                    call.go_on(work).await;
                    drop(going_on);
                    return;
                }
            };
            // Counted before the answer, so that whoever got it finds itself counted.
            match result {
                Ok(value) => {
                    call.end(None);
                    answer(reply, value);
                }
                Err(error) => {
                    let errno = call.fail(&error);
                    call.end(Some(errno));
                    reply.refuse(errno);
                }
            }
        });
    }
}
