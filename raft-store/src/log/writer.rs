//! The one thread that writes the log.
//!
//! It takes what is queued, writes it as one batch with at most one sync, and reports each write
//! in the order in which they were queued. While it syncs, the next round gathers behind it.

use super::disk::{Change, Durability, Ends};
use super::hint::Tip;
use super::image::Ticket;
use super::shared::LogShared;
use crate::error::StoreError;
use crate::simulated::Halt;
use crate::types::TypeConfig;
use crate::workers::Workers;
use meta_core::failpoint::{self, Point};
use meta_core::seeded::{Bug, has};
use openraft::storage::IOFlushed;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Writes that may wait. Their bytes have a bound of their own.
const QUEUE_WRITES_MAX: usize = 1024;
/// A round takes no more writes when it has these many bytes.
const ROUND_BYTES_MAX: usize = 8 << 20;
/// How long the log rests before what is no part of a write is made durable.
const REST: Duration = Duration::from_millis(100);
/// The unit in which the queue's bytes are counted: a semaphore has few permits.
const PERMIT_BYTES: usize = 1024;

/// Who is told when a write is done.
pub(crate) enum Done {
    /// openraft's core, for appended entries.
    Flushed(IOFlushed<TypeConfig>),
    /// A waiting call.
    Waiter(oneshot::Sender<io::Result<()>>),
    /// Nobody: a failure is seen in the poison.
    Nobody,
}

/// One queued write.
pub(crate) struct Write {
    pub(crate) ticket: Ticket,
    pub(crate) changes: Vec<Change>,
    pub(crate) durability: Durability,
    /// Where the log ends after it.
    pub(crate) tip: Tip,
    pub(crate) done: Done,
}

struct Queued {
    write: Write,
    bytes: usize,
    _room: OwnedSemaphorePermit,
}

/// Room in the queue for one write.
pub(crate) struct Place<'a> {
    permit: mpsc::Permit<'a, Queued>,
    room: OwnedSemaphorePermit,
    bytes: usize,
}

impl Place<'_> {
    /// Queues the write.
    pub(crate) fn fill(self, write: Write) {
        self.permit.send(Queued {
            write,
            bytes: self.bytes,
            _room: self.room,
        });
    }
}

/// The thread, and the way to it. Dropping it waits until the queue is written.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Queued>>,
    room: Arc<Semaphore>,
    room_permits: usize,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn spawn(
        shared: Arc<LogShared>,
        queue_bytes: usize,
        workers: Workers,
    ) -> Result<Self, StoreError> {
        let (queue, queued) = mpsc::channel(QUEUE_WRITES_MAX);
        let room_permits = (queue_bytes / PERMIT_BYTES).clamp(1, Semaphore::MAX_PERMITS >> 1);
        let thread = workers.spawn("log-writer", run(shared, queued))?;
        Ok(Self {
            queue: Some(queue),
            room: Arc::new(Semaphore::new(room_permits)),
            room_permits,
            thread,
        })
    }

    /// Waits for room for a write of `bytes`.
    pub(crate) async fn place(&self, bytes: usize) -> Result<Place<'_>, StoreError> {
        let gone = || StoreError::Poisoned(String::from("the log's writer thread is gone"));
        let permits = (bytes / PERMIT_BYTES + 1).min(self.room_permits);
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(permits);
        let room = room.await.map_err(|_closed| gone())?;
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        let permit = queue.reserve().await.map_err(|_closed| gone())?;
        Ok(Place {
            permit,
            room,
            bytes,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's writer thread panicked");
        }
    }
}

/// Stops the store if the thread ends by a panic: writes would wait for ever.
struct PanicGuard(Arc<LogShared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison.set("the log's writer thread panicked");
        }
    }
}

/// Waits for the next write, and settles the log when none comes for a while, or none any more.
async fn next(shared: &LogShared, queued: &mut mpsc::Receiver<Queued>) -> Option<Queued> {
    while shared.disk.is_unsettled() {
        let waited = tokio::time::timeout(REST, queued.recv()).await;
        if let Ok(Some(next)) = waited {
            return Some(next);
        }
        let settled = shared.poison.check().and_then(|()| shared.disk.settle());
        if let Err(error) = shared.poison.guard(settled) {
            tracing::error!(%error, "the log cannot be settled");
            break;
        }
        if waited.is_ok() {
            return None;
        }
    }
    queued.recv().await
}

async fn run(shared: Arc<LogShared>, mut queued: mpsc::Receiver<Queued>) {
    let _guard = PanicGuard(Arc::clone(&shared));
    while let Some(first) = next(&shared, &mut queued).await {
        let delay = shared.disk.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut bytes = first.bytes;
        let mut round = vec![first];
        while bytes < ROUND_BYTES_MAX
            && let Ok(next) = queued.try_recv()
        {
            bytes += next.bytes;
            round.push(next);
        }
        if shared.disk.halts(Halt::BeforeRound) {
            std::future::pending::<()>().await;
        }
        let written = write_round(&shared, round);
        failpoint::pass(Point::LogWritten);
        if shared.disk.halts(Halt::BeforeReport) {
            std::future::pending::<()>().await;
        }
        written.report();
        failpoint::pass(Point::LogReported);
    }
}

/// A round that was written, or failed, and of which nobody knows yet.
struct Written {
    reports: Vec<Done>,
    failure: Option<String>,
}

impl Written {
    /// Tells everybody, in the order in which they asked.
    fn report(self) {
        for done in self.reports {
            let result = match &self.failure {
                None => Ok(()),
                Some(failure) => Err(io::Error::other(failure.clone())),
            };
            match done {
                Done::Flushed(callback) => callback.io_completed(result),
                // A waiter that has gone away needs no answer.
                Done::Waiter(waiter) => drop(waiter.send(result)),
                Done::Nobody => {}
            }
        }
    }
}

fn write_round(shared: &LogShared, round: Vec<Queued>) -> Written {
    let mut changes = Vec::new();
    let mut durability = Durability::Later;
    let first = round
        .first()
        .map(|queued| queued.write.tip)
        .unwrap_or_default();
    let mut ends = Ends {
        lowest: first,
        after: first,
    };
    let mut reports = Vec::with_capacity(round.len());
    for queued in round {
        let Write {
            ticket,
            changes: more,
            durability: asked,
            tip,
            done,
        } = queued.write;
        changes.extend(more);
        durability = durability.max(asked);
        ends = Ends {
            lowest: ends.lowest.min(tip),
            after: tip,
        };
        reports.push((ticket, done));
    }
    if has(Bug::AckBeforeSync) {
        durability = Durability::Later;
    }
    let written = shared.poison.check().and_then(|()| {
        let written = shared
            .faults
            .hit(Point::LogWrite)
            .map_err(|error| StoreError::Refused(error.to_string()))
            .and_then(|()| shared.disk.write(&changes, durability, ends));
        shared.poison.guard(written)
    });
    if written.is_ok()
        && let Some((ticket, _)) = reports.last()
    {
        shared.image.lock().complete(*ticket);
    }
    Written {
        reports: reports.into_iter().map(|(_, done)| done).collect(),
        failure: written.err().map(|error| error.to_string()),
    }
}
