//! The starter's side: starts the launcher, and tells what a process that ended early said.

use crate::atomic_file;
use crate::process::ProcessId;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The hidden subcommand's name.
pub(super) const LAUNCHER: &str = "launch-detached";
/// What this program is called when it runs itself.
pub(super) const OWN_NAME: &str = "curlew";
/// Bytes of a log's end that are looked at for last words.
const LAST_WORDS_BYTES_MAX: u64 = 16 << 10;
/// How long the launcher may take to write down who it is.
const RECORD_LIMIT: Duration = Duration::from_secs(10);
/// How often its record is looked for meanwhile.
const RECORD_LOOK_EVERY: Duration = Duration::from_millis(2);
/// Lines that are shown of a log without an error line.
const LAST_WORDS_LINES_MAX: usize = 5;

/// What to run.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    /// Takes stdout and stderr, appended.
    pub(crate) log: PathBuf,
    /// Gets a [`crate::process::ProcessId`], before the program begins.
    pub(crate) record: Option<PathBuf>,
}

/// A process that was started so.
#[derive(Debug)]
pub(crate) struct Detached {
    child: Child,
    log: PathBuf,
    /// Where this process's part of the log begins.
    log_begin: u64,
}

impl Detached {
    pub(crate) fn start(job: &Job) -> Result<Self> {
        let (log, log_begin) = open_log(&job.log)?;
        let errors = log.try_clone().context("cannot share the log file")?;
        let mut command = Command::new(own_program()?);
        // Not under a name by which this program is something else.
        command.arg0(OWN_NAME).arg(LAUNCHER);
        if let Some(record) = &job.record {
            command.arg("--record").arg(record);
        }
        let child = command
            .arg("--")
            .arg(&job.program)
            .args(&job.args)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", job.program.display()))?;
        let mut detached = Self {
            child,
            log: job.log.clone(),
            log_begin,
        };
        if let Some(record) = &job.record {
            detached.wait_recorded(record)?;
        }
        Ok(detached)
    }

    /// Blocks for the few milliseconds that the launcher needs to write the record: whoever stops
    /// what runs, from here on, finds this process.
    fn wait_recorded(&mut self, record: &Path) -> Result<()> {
        let end = Instant::now() + RECORD_LIMIT;
        while self
            .child
            .try_wait()
            .context("cannot look after a process")?
            .is_none()
        {
            let own = ProcessId::of(self.child.id())?;
            if own.is_some() && atomic_file::read_json::<ProcessId>(record)? == own {
                return Ok(());
            }
            if Instant::now() > end {
                self.child
                    .kill()
                    .context("cannot end a process that does not start")?;
                bail!(
                    "a process did not begin within {} s",
                    RECORD_LIMIT.as_secs()
                );
            }
            std::thread::sleep(RECORD_LOOK_EVERY);
        }
        Ok(())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// If the process has ended: what it said last.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        let ended = self
            .child
            .try_wait()
            .context("cannot look after a process")?;
        Ok(ended.map(|status| {
            let words = last_words(&self.log, self.log_begin).unwrap_or_default();
            if words.is_empty() {
                format!("it ended with {status}")
            } else {
                words
            }
        }))
    }
}

/// This program's file.
pub(crate) fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("cannot find the program that runs now")
}

fn open_log(path: &Path) -> Result<(File, u64)> {
    let open = || {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let begin = file.metadata()?.len();
        Ok::<_, std::io::Error>((file, begin))
    };
    open().with_context(|| format!("cannot write the log file {}", path.display()))
}

/// The error line at the log's end, or its last lines if there is none.
fn last_words(log: &Path, begin: u64) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(
        begin.max(end.saturating_sub(LAST_WORDS_BYTES_MAX)),
    ))?;
    let mut bytes = Vec::new();
    file.take(LAST_WORDS_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(pick_words(&String::from_utf8_lossy(&bytes)))
}

fn pick_words(text: &str) -> String {
    let error = text.lines().rev().find_map(|line| {
        ["curlew: ", "curlew-meta: ", "error: "]
            .iter()
            .find_map(|mark| line.strip_prefix(mark))
    });
    if let Some(error) = error {
        return error.to_owned();
    }
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let first = lines.len().saturating_sub(LAST_WORDS_LINES_MAX);
    lines[first..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_line_is_picked_out_of_a_log() {
        let log = "INFO start\ncurlew: no volume `x`\nINFO end\n";
        assert_eq!(pick_words(log), "no volume `x`");
    }

    #[test]
    fn a_log_without_an_error_line_gives_its_last_lines() {
        let log: String = (0..9).map(|n| format!("line {n}\n\n")).collect();
        assert_eq!(pick_words(&log), "line 4\nline 5\nline 6\nline 7\nline 8");
        assert_eq!(pick_words(""), "");
    }

    #[test]
    fn only_the_own_part_of_a_log_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("log");
        fs::write(&log, "curlew: old\nnew\n").expect("written");
        assert_eq!(last_words(&log, 12).expect("readable"), "new");
    }
}
