//! What is on its way to clients, bounded: a client that does not read its answers holds neither the
//! node's memory nor the way of others.

use crate::failure::Failure;
use crate::node::Core;
use futures::{FutureExt as _, Stream};
use parking_lot::Mutex;
use proto::v1;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
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
pub(crate) const LARGE_TOTAL_MAX: usize = 128;
/// How long a large answer waits for room that others use.
const ROOM_WAIT: Duration = Duration::from_secs(5);
/// A client that takes nothing for so long, while answers wait, is left.
const STUCK_LIMIT: Duration = Duration::from_secs(10);

/// A frame for a client.
pub(crate) struct Outgoing {
    frame: v1::ServerFrame,
    /// What it takes until the transport has it.
    _room: Option<Room>,
}

/// The way to a client.
pub(crate) type Out = mpsc::Sender<Outgoing>;
/// The same, which does not keep its stream open.
pub(crate) type WeakOut = mpsc::WeakSender<Outgoing>;

impl From<v1::ServerFrame> for Outgoing {
    fn from(frame: v1::ServerFrame) -> Self {
        Self { frame, _room: None }
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

/// The receiving side, for the transport.
pub(crate) struct Answers {
    queue: Arc<Mutex<Option<mpsc::Receiver<Outgoing>>>>,
    stuck: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Both sides of a new client.
pub(crate) fn answers() -> (Outbox, Answers) {
    let (out, queue) = mpsc::channel(AHEAD);
    let stuck = CancellationToken::new();
    let queue = Arc::new(Mutex::new(Some(queue)));
    let answers = Answers {
        queue: Arc::clone(&queue),
        stuck: Box::pin(stuck.clone().cancelled_owned()),
    };
    // The transport asks for nothing while the client takes nothing, so what waits is let go here.
    let emptied = stuck.clone().cancelled_owned();
    tokio::spawn(async move {
        emptied.await;
        drop(queue.lock().take());
    });
    let outbox = Outbox {
        out,
        large: Arc::new(Semaphore::new(LARGE_MAX)),
        stuck,
    };
    (outbox, answers)
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
    pub(crate) async fn room(&self, core: &Core) -> Result<Room, Failure> {
        let gone = |_closed| Failure::unavailable("the client has left");
        let own = Arc::clone(&self.large).acquire_owned().await.map_err(gone)?;
        let total = Arc::clone(&core.large_answers).acquire_owned();
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

    /// Sends a frame. A client that has not taken any for long is left.
    pub(crate) async fn send(&self, frame: v1::ServerFrame, room: Option<Room>) {
        let outgoing = Outgoing { frame, _room: room };
        // It may have left; whoever resends finds the reply in its slot.
        let sending = self.out.send(outgoing);
        if tokio::time::timeout(STUCK_LIMIT, sending).await.is_err() {
            self.stuck.cancel();
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        drop(self.queue.lock().take());
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
            let why = Status::resource_exhausted("answers were not taken for too long");
            let first = self.queue.lock().take().is_some();
            return Poll::Ready(first.then_some(Err(why)));
        }
        let mut queue = self.queue.lock();
        let Some(frames) = queue.as_mut() else {
            return Poll::Ready(None);
        };
        frames
            .poll_recv(cx)
            .map(|outgoing| outgoing.map(|outgoing| Ok(outgoing.frame)))
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
        let (outbox, mut answers) = answers();
        outbox.send(frame(7), Some(room(&total))).await;
        assert_eq!(total.available_permits(), 0);
        let taken = answers.next().await.expect("a frame").expect("no error");
        assert_eq!(taken.id, 7);
        assert_eq!(total.available_permits(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left_and_holds_nothing() {
        let total = Arc::new(Semaphore::new(2));
        let (outbox, mut answers) = answers();
        outbox.send(frame(1), Some(room(&total))).await;
        for id in 2..=AHEAD as u64 {
            outbox.send(frame(id), None).await;
        }
        // The transport does not ask.
        outbox.send(frame(1000), None).await;
        outbox.stuck().await;
        outbox.out().closed().await;
        assert_eq!(total.available_permits(), 2, "what waited is gone");
        assert!(answers.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_not_left() {
        let (outbox, mut answers) = answers();
        for id in 0..AHEAD as u64 {
            outbox.send(frame(id), None).await;
        }
        let sending = tokio::spawn({
            let outbox = outbox.clone();
            async move { outbox.send(frame(1000), None).await }
        });
        tokio::time::sleep(STUCK_LIMIT - Duration::from_secs(1)).await;
        assert!(answers.next().await.is_some());
        sending.await.expect("sent");
        assert!(!outbox.stuck.is_cancelled());
    }
}
