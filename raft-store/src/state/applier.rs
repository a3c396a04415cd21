//! The one thread that changes the state.
//!
//! Commands read rows that may have to come from the disk, so they do not run on the runtime's
//! workers. Entries come in batches; a batch is one write unless it is large, and whoever proposed an
//! entry is answered after its batch, by the task that gave the batch: each answer from here would wake
//! a worker of its own.

use super::marks::AppliedState;
use super::remembered::Remembered;
use super::store::State;
use crate::error::StoreError;
use crate::poison::Poison;
use crate::simulated::Observed;
use crate::snapshot::SnapshotFiles;
use crate::store::Parts;
use crate::types::{Applied, Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use meta_core::failpoint::{self, Point};
use meta_core::ids::VolumeId;
use meta_core::kv::{KvRead, Overlay, Writes};
use meta_core::machine;
use meta_core::outcome::Token;
use openraft::entry::EntryPayload;
use openraft::storage::{ApplyResponder, EntryResponder};
use std::io;
use std::iter::Peekable;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::sync::{mpsc, oneshot};

/// Entries handed over at once. With few of them those who wait are answered while others are applied,
/// and do not all ask again at the same moment; each write costs more the fewer rows it has.
pub(crate) const BATCH_ENTRIES_MAX: usize = 16;
/// Bytes of commands handed over at once.
pub(crate) const BATCH_BYTES_MAX: usize = 4 << 20;
/// A write is made when it has these many rows: one command may change many.
const WRITE_ROWS_MAX: usize = 16 << 10;
/// Work that may wait.
const QUEUE_MAX: usize = 4;

type Done<T> = oneshot::Sender<Result<T, StoreError>>;
type Batch = Vec<EntryResponder<TypeConfig>>;
/// Who waits for an entry, and what applying it gave.
pub(crate) type Answers = Vec<(ApplyResponder<TypeConfig>, Applied)>;

enum Job {
    Apply(Batch, Done<Answers>),
    Install(Box<SnapshotMeta>, SnapshotFiles, Done<()>),
}

/// What the thread works with.
pub(crate) struct Core {
    pub(crate) state: Arc<State>,
    pub(crate) parts: Parts,
}

impl Core {
    fn observe(&self, id: LogId, entry: Observed<'_>) {
        if let Some(observer) = &self.parts.observer {
            observer.applied(id, entry);
        }
    }
}

/// The thread, and the way to it. Dropping it waits until its work is done.
#[derive(Debug)]
pub(crate) struct Applier {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Applier {
    pub(crate) fn spawn(core: Core) -> Result<Self, StoreError> {
        let (jobs, queued) = mpsc::channel(QUEUE_MAX);
        let workers = core.parts.workers;
        let thread = workers.spawn("state-applier", run(core, queued))?;
        Ok(Self {
            jobs: Some(jobs),
            thread,
        })
    }

    /// Hands entries over, to be applied after those before.
    pub(crate) async fn apply(&self, batch: Batch) -> Result<Applying, StoreError> {
        let (done, finished) = oneshot::channel();
        self.hand_over(Job::Apply(batch, done)).await?;
        Ok(Applying(finished))
    }

    pub(crate) async fn install(
        &self,
        meta: SnapshotMeta,
        files: SnapshotFiles,
    ) -> Result<(), StoreError> {
        let (done, finished) = oneshot::channel();
        self.hand_over(Job::Install(Box::new(meta), files, done))
            .await?;
        finished.await.map_err(|_dropped| gone())?
    }

    async fn hand_over(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).await.map_err(|_closed| gone())
    }
}

fn gone() -> StoreError {
    StoreError::Poisoned(String::from("the state's thread is gone"))
}

/// Entries that are being applied, or wait for it.
pub(crate) struct Applying(oneshot::Receiver<Result<Answers, StoreError>>);

impl Applying {
    /// Waits until they are applied. Gives back who must be answered now.
    pub(crate) async fn done(self) -> Result<Answers, StoreError> {
        self.0.await.map_err(|_dropped| gone())?
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the state's thread panicked");
        }
    }
}

/// Stops the store if the thread ends by a panic.
struct PanicGuard(Poison);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set("the state's thread panicked");
        }
    }
}

async fn run(core: Core, mut queued: mpsc::Receiver<Job>) {
    let _guard = PanicGuard(core.parts.poison.clone());
    let memory = Remembered::default();
    while let Some(job) = queued.recv().await {
        // Whoever asked may have been shut down meanwhile.
        match job {
            Job::Apply(batch, done) => {
                let sound = core.parts.poison.check();
                let applied = sound.and_then(|()| apply(&core, &memory, batch));
                drop(done.send(core.parts.poison.guard(applied)));
            }
            Job::Install(meta, files, done) => {
                memory.forget();
                drop(done.send(install(&core, &meta, files)));
            }
        }
    }
}

fn install(core: &Core, meta: &SnapshotMeta, files: SnapshotFiles) -> Result<(), StoreError> {
    core.state.install(meta, files)?;
    if let Some(observer) = &core.parts.observer {
        observer.installed(core.state.applied());
    }
    Ok(())
}

/// Applies a batch in as few writes as its size allows.
fn apply(core: &Core, memory: &Remembered, batch: Batch) -> Result<Answers, StoreError> {
    failpoint::pass(Point::Apply);
    let mut answers = Vec::with_capacity(batch.len());
    let mut entries = batch.into_iter().peekable();
    while entries.peek().is_some() {
        let mut marked = None;
        let mut position = core.state.position();
        let writes = core.state.latest(|rows| {
            let remembering = memory.over(rows);
            let mut pending = Overlay::new(&remembering as &dyn KvRead);
            fill(
                core,
                &mut entries,
                &mut pending,
                &mut position,
                &mut answers,
                &mut marked,
            )?;
            position.put(&mut pending)?;
            Ok::<Writes, StoreError>(pending.into_writes())
        })?;
        let io_error = |error: io::Error| StoreError::Refused(error.to_string());
        core.parts.faults.hit(Point::StateWrite).map_err(io_error)?;
        memory.note(&writes);
        let marking = marked.map(|mark| (core.state.marked().marking(), mark));
        core.state.write(writes, position)?;
        failpoint::pass(Point::StateWritten);
        if let Some((marking, (volume, mark))) = marking {
            marking.keep(&core.state, volume, mark);
            failpoint::pass(Point::MarkKept);
        }
    }
    Ok(answers)
}

/// Applies entries onto `pending` until it is full.
fn fill(
    core: &Core,
    entries: &mut Peekable<impl Iterator<Item = EntryResponder<TypeConfig>>>,
    pending: &mut Overlay<&dyn KvRead>,
    position: &mut AppliedState,
    answers: &mut Answers,
    marked: &mut Option<(VolumeId, Token)>,
) -> Result<(), StoreError> {
    // A mark ends the write, so that its view shows nothing behind it.
    while pending.writes().len() < WRITE_ROWS_MAX
        && marked.is_none()
        && let Some((entry, responder)) = entries.next()
    {
        let answer = apply_entry(core, entry, pending, position, marked)?;
        if let Some(responder) = responder {
            answers.push((responder, answer));
        }
    }
    Ok(())
}

fn apply_entry(
    core: &Core,
    entry: Entry,
    pending: &mut Overlay<&dyn KvRead>,
    position: &mut AppliedState,
    marked: &mut Option<(VolumeId, Token)>,
) -> Result<Applied, StoreError> {
    let id = entry.log_id;
    if let Some(applied) = position.applied
        && !core.parts.follows(applied, id)
    {
        let why = format!("entry {id} was handed over behind {applied}");
        return Err(StoreError::damaged("order of the log", why));
    }
    position.applied = Some(id);
    match entry.payload {
        EntryPayload::Blank => {
            core.observe(id, Observed::Blank);
            Ok(Applied::Nothing)
        }
        EntryPayload::Normal(command) => {
            let command = core.parts.codec.decode_command(&command.0)?;
            let codec = &*core.parts.codec;
            let reply = machine::apply(pending, codec, &command)?;
            core.observe(id, Observed::Command(&command, &reply));
            *marked = machine::marked(codec, &command, &reply).map(|mark| (command.volume, mark));
            Ok(Applied::Reply(reply))
        }
        EntryPayload::Membership(membership) => {
            core.observe(id, Observed::Membership(&membership));
            position.membership = StoredMembership::new(Some(id), membership);
            position.put_membership(pending)?;
            Ok(Applied::Nothing)
        }
    }
}
