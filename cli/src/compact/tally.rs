//! How far `curlew compact` is.

use super::report::Report;
use crate::progress::Progress;
use fs_client::vfs::Compacted;
use std::time::{Duration, Instant};

/// Between two words on how far it is, on a terminal and elsewhere.
const WORD_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// What was done so far, and told.
#[derive(Debug)]
pub(super) struct Tally {
    progress: Progress,
    report: Report,
    next_word: Instant,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            progress: Progress::new(),
            report: Report::default(),
            next_word: Instant::now(),
        }
    }

    /// Says what is done from now on.
    pub(super) fn step(&self, message: &str) {
        self.progress.step(message);
    }

    /// Notes what could not be done.
    pub(super) fn fail(&mut self, path: String, error: String) {
        let line = self.report.troubles.add(path, error);
        self.progress.note(&line);
    }

    /// Notes a file that was gone through.
    pub(super) fn file(&mut self) {
        self.report.files += 1;
        self.word();
    }

    /// Notes what was done in a chunk.
    pub(super) fn chunk(&mut self, done: Compacted) {
        self.report.add(done);
        self.word();
    }

    fn word(&mut self) {
        let now = Instant::now();
        if now < self.next_word {
            return;
        }
        let Report { files, chunks, .. } = &self.report;
        let message = format!("{files} files are looked at, {chunks} chunks are compacted");
        self.progress.step(&message);
        let [live, plain] = WORD_PAUSES;
        let pause = if self.progress.is_live() { live } else { plain };
        self.next_word = now + pause;
    }

    /// What there is to report.
    pub(super) fn end(self) -> Report {
        self.report
    }
}
