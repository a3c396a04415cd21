//! Opens on their way: which files a mount holds can be said only when they have settled.

use parking_lot::Mutex;
use std::collections::BTreeSet;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Running {
    next: u64,
    numbers: BTreeSet<u64>,
}

/// The creates and opens that wait for the engine's answer.
#[derive(Debug, Default)]
pub(super) struct OpensInFlight {
    running: Mutex<Running>,
    ended: Notify,
}

/// One open on its way; dropping it says that its handle, if any, is in the table.
#[derive(Debug)]
pub(super) struct OpenInFlight<'a> {
    all: &'a OpensInFlight,
    number: u64,
}

impl OpensInFlight {
    pub(super) fn begin(&self) -> OpenInFlight<'_> {
        let mut running = self.running.lock();
        let number = running.next;
        running.next += 1;
        running.numbers.insert(number);
        OpenInFlight { all: self, number }
    }

    /// Waits until all opens begun before now have ended. Later ones do not matter: they can only
    /// open what had a name, or was held, after the question came.
    pub(super) async fn settled(&self) {
        let bound = self.running.lock().next;
        loop {
            let ended = self.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let oldest = self.running.lock().numbers.first().copied();
            if oldest.is_none_or(|oldest| oldest >= bound) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for OpenInFlight<'_> {
    fn drop(&mut self) {
        self.all.running.lock().numbers.remove(&self.number);
        self.all.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn only_opens_begun_before_the_question_are_waited_for() {
        let opens = OpensInFlight::default();
        let before = opens.begin();
        let mut question = Box::pin(opens.settled());
        assert!(question.as_mut().now_or_never().is_none());
        let after = opens.begin();
        drop(before);
        question.await;
        drop(after);
    }
}
