//! What is on its way to clients, bounded: a client that does not read its answers holds neither the
//! node's memory nor the way of others.

use crate::failure::Failure;
use crate::listener::Line;
use futures::{FutureExt as _, Stream};
use parking_lot::Mutex;
use proto::v1;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

/// Answers that wait for a client; then its requests wait.
const AHEAD: usize = 128;
/// Large answers of one client that are read or wait for it, 2 MiB each at most.
const LARGE_MAX: usize = 8;
/// The same of all clients.
const LARGE_TOTAL_MAX: usize = 128;
/// Commands of all clients that are taken in and not answered, in KiB.
const TAKEN_KIB_MAX: usize = 128 << 10;
/// How long a large answer waits for room that others use.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// A client that takes nothing for so long, while answers wait, is left.
const STUCK_LIMIT: Duration = Duration::from_secs(10);
/// How often that is looked for in this time.
const LOOKS: u32 = 4;
/// What must have gone out since the last look, in bytes, or a whole frame: a client on a slow line is
/// not left, one that reads a byte now and then is.
const MOVED_BYTES: u64 = 16 << 10;
/// Frames that the transport keeps after it has taken them.
const TAKEN_AHEAD: usize = 2;

/// What all clients of a node share.
#[derive(Debug)]
pub(crate) struct Budget {
    large: Arc<Semaphore>,
    taken_kib: Arc<Semaphore>,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            large: Arc::new(Semaphore::new(LARGE_TOTAL_MAX)),
            taken_kib: Arc::new(Semaphore::new(TAKEN_KIB_MAX)),
        }
    }
}

impl Budget {
    /// Takes in a command of so many bytes, until it is answered.
    ///
    /// # Errors
    /// [`Failure`] of kind overloaded if too many are not answered yet.
    pub(crate) fn take_in(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        Arc::clone(&self.taken_kib)
            .try_acquire_many_owned(kib)
            .map_err(|_full| Failure::overloaded("too many commands wait for their answers"))
    }
}

/// A frame for a client.
pub(crate) struct Outgoing {
    frame: v1::ServerFrame,
    /// What it takes until the transport has sent it.
    room: Option<Room>,
}

/// The way to a client.
pub(crate) type Out = mpsc::Sender<Outgoing>;
/// The same, which does not keep its stream open.
pub(crate) type WeakOut = mpsc::WeakSender<Outgoing>;

impl Outgoing {
    /// What is sent.
    #[cfg(test)]
    pub(crate) fn into_frame(self) -> v1::ServerFrame {
        self.frame
    }
}

impl From<v1::ServerFrame> for Outgoing {
    fn from(frame: v1::ServerFrame) -> Self {
        Self { frame, room: None }
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("id", &self.frame.id)
            .finish_non_exhaustive()
    }
}

/// Room for one large answer.
#[derive(Debug)]
pub(crate) struct Room {
    _own: OwnedSemaphorePermit,
    _total: OwnedSemaphorePermit,
}

/// The sending side of one client.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    out: Out,
    large: Arc<Semaphore>,
    stuck: CancellationToken,
}

struct Queue {
    /// Gone when the stream is.
    frames: Mutex<Option<mpsc::Receiver<Outgoing>>>,
    /// Frames that the transport has taken.
    taken: AtomicU64,
}

/// The receiving side, for the transport.
pub(crate) struct Answers {
    queue: Arc<Queue>,
    /// Of the frames that were taken last.
    rooms: VecDeque<Option<Room>>,
    stuck: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Both sides of a new client on a connection.
pub(crate) fn answers(line: Option<Line>) -> (Outbox, Answers) {
    let (out, queue) = mpsc::channel(AHEAD);
    let queue = Arc::new(Queue {
        frames: Mutex::new(Some(queue)),
        taken: AtomicU64::new(0),
    });
    let stuck = CancellationToken::new();
    let answers = Answers {
        queue: Arc::clone(&queue),
        rooms: VecDeque::new(),
        stuck: Box::pin(stuck.clone().cancelled_owned()),
    };
    let outbox = Outbox {
        out,
        large: Arc::new(Semaphore::new(LARGE_MAX)),
        stuck,
    };
    let (stuck, large) = (outbox.stuck.clone(), Arc::clone(&outbox.large));
    tokio::spawn(async move {
        if watch(&queue, line.as_ref()).await.is_err() {
            stuck.cancel();
            // Whoever waits to read more for it need not.
            large.close();
            drop(queue.frames.lock().take());
            // What the transport has taken goes with the connection.
            if let Some(line) = line {
                line.end();
            }
        }
    });
    (outbox, answers)
}

/// A client takes nothing.
struct Stuck;

/// Looks at a client until its stream ends, or it takes nothing for too long. The transport asks for
/// nothing while the client does not, so it cannot tell.
async fn watch(queue: &Queue, line: Option<&Line>) -> Result<(), Stuck> {
    let sent = || line.map_or(0, Line::sent);
    let (mut taken, mut bytes, mut silent) = (0, sent(), 0);
    while silent < LOOKS {
        tokio::time::sleep(STUCK_LIMIT / LOOKS).await;
        let waiting = match &*queue.frames.lock() {
            Some(frames) => frames.len(),
            // The stream has ended.
            None => return Ok(()),
        };
        let now = (queue.taken.load(Ordering::Relaxed), sent());
        let moved = now.0 != taken || now.1 >= bytes + MOVED_BYTES;
        silent = if waiting == 0 || moved { 0 } else { silent + 1 };
        (taken, bytes) = now;
    }
    Err(Stuck)
}

impl Outbox {
    pub(crate) fn out(&self) -> &Out {
        &self.out
    }

    /// Waits until the client is left because it takes nothing.
    pub(crate) async fn stuck(&self) {
        self.stuck.cancelled().await;
    }

    /// Room for a large answer, before it is read.
    ///
    /// # Errors
    /// [`Failure`] of kind overloaded if other clients leave none.
    pub(crate) async fn room(&self, budget: &Budget) -> Result<Room, Failure> {
        let gone = |_closed| Failure::unavailable("the client has left");
        let own = Arc::clone(&self.large)
            .acquire_owned()
            .await
            .map_err(gone)?;
        let total = Arc::clone(&budget.large).acquire_owned();
        match tokio::time::timeout(ROOM_WAIT, total).await {
            Ok(total) => Ok(Room {
                _own: own,
                _total: total.map_err(gone)?,
            }),
            Err(_elapsed) => Err(Failure::overloaded(
                "too many large answers wait for clients that do not take them",
            )),
        }
    }

    /// Sends a frame, once there is a place for it.
    pub(crate) async fn send(&self, frame: v1::ServerFrame, room: Option<Room>) {
        let outgoing = Outgoing { frame, room };
        // The client may have left; whoever resends finds the reply in its slot.
        let _left = self.out.send(outgoing).await;
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        drop(self.queue.frames.lock().take());
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

impl Stream for Answers {
    type Item = Result<v1::ServerFrame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.stuck.poll_unpin(cx).is_ready() {
            return Poll::Ready(None);
        }
        let mut queue = self.queue.frames.lock();
        let Some(frames) = queue.as_mut() else {
            return Poll::Ready(None);
        };
        let polled = frames.poll_recv(cx);
        drop(queue);
        polled.map(|outgoing| {
            let Outgoing { frame, room } = outgoing?;
            self.queue.taken.fetch_add(1, Ordering::Relaxed);
            self.rooms.push_back(room);
            if self.rooms.len() > TAKEN_AHEAD {
                self.rooms.pop_front();
            }
            Some(Ok(frame))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;

    fn frame(id: u64) -> v1::ServerFrame {
        v1::ServerFrame { id, body: None }
    }

    fn room(total: &Arc<Semaphore>) -> Room {
        let one = || Arc::clone(total).try_acquire_owned().expect("room");
        Room {
            _own: one(),
            _total: one(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_gives_its_room_back_when_it_is_taken() {
        let total = Arc::new(Semaphore::new(2));
        let (outbox, mut answers) = answers(None);
        outbox.send(frame(7), Some(room(&total))).await;
        assert_eq!(total.available_permits(), 0);
        let taken = answers.next().await.expect("a frame").expect("no error");
        assert_eq!(taken.id, 7);
        // The transport may not have sent it yet.
        assert_eq!(total.available_permits(), 0);
        for id in 8..10 {
            outbox.send(frame(id), None).await;
            answers.next().await.expect("a frame").expect("no error");
        }
        assert_eq!(total.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left_and_holds_nothing() {
        let total = Arc::new(Semaphore::new(2));
        let (outbox, mut answers) = answers(None);
        outbox.send(frame(1), Some(room(&total))).await;
        // The transport does not ask.
        outbox.stuck().await;
        outbox.out().closed().await;
        assert_eq!(total.available_permits(), 2, "what waited is gone");
        assert!(answers.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_not_left_and_neither_is_one_that_asks_nothing() {
        let (outbox, mut answers) = answers(None);
        for id in 0..4 {
            outbox.send(frame(id), None).await;
        }
        for _ in 0..4 {
            tokio::time::sleep(STUCK_LIMIT / 2).await;
            assert!(answers.next().await.is_some());
        }
        tokio::time::sleep(10 * STUCK_LIMIT).await;
        assert!(!outbox.stuck.is_cancelled());
        outbox.send(frame(9), None).await;
        assert!(answers.next().await.is_some());
    }
}
