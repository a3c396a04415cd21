//! Progress of long work: one line that is rewritten on a terminal, plain lines elsewhere. It
//! goes to stderr, so that stdout stays for results.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// How often the spinner moves on a terminal.
const TICK: Duration = Duration::from_millis(120);

/// The steps of one piece of work.
#[derive(Debug)]
pub(crate) struct Progress {
    spinner: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { spinner }
    }

    /// Whether each step replaces the one before.
    pub(crate) fn is_live(&self) -> bool {
        self.spinner.is_some()
    }

    /// Says what is done from now on.
    pub(crate) fn step(&self, message: &str) {
        match &self.spinner {
            Some(bar) => bar.set_message(message.to_owned()),
            None => line(message),
        }
    }

    /// Says something that stays.
    pub(crate) fn note(&self, message: &str) {
        match &self.spinner {
            Some(bar) => bar.println(message),
            None => line(message),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.spinner {
            bar.finish_and_clear();
        }
    }
}

fn line(message: &str) {
    // Whoever closed stderr does not want to know.
    let _closed = writeln!(std::io::stderr().lock(), "{message}");
}
