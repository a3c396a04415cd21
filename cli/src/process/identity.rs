//! A process is its pid, its start time and the boot it started in. A signal goes through a
//! pidfd that was opened *before* the start time was compared, so it can never reach a process
//! that got the pid later.

use crate::patience;
use anyhow::{Context, Result, anyhow};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::time::Duration;

/// How long a process that was killed may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// One process, for ever.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessId {
    pid: u32,
    /// Clock ticks between the boot and the start.
    start_ticks: u64,
    boot_id: String,
}

/// How a process was ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It was not there any more.
    WasGone,
    /// It ended by itself after SIGTERM.
    Clean,
    /// It did not answer SIGTERM in time and was killed.
    Killed,
}

impl ProcessId {
    /// The process that runs this code.
    pub(crate) fn own() -> Result<Self> {
        Self::of(std::process::id())?.context("/proc does not know this process")
    }

    /// The process that has `pid` now, if one has and it has not ended.
    pub(crate) fn of(pid: u32) -> Result<Option<Self>> {
        let Some(start_ticks) = start_of(pid)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            pid,
            start_ticks,
            boot_id: boot_id()?,
        }))
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs. One that has ended but that nobody waited for does not.
    pub(crate) fn is_alive(&self) -> Result<bool> {
        Ok(Self::of(self.pid)?.as_ref() == Some(self))
    }

    /// Asks it to end; after `limit` kills it.
    pub(crate) async fn terminate(&self, limit: Duration) -> Result<Ending> {
        let Some(handle) = self.open()? else {
            return Ok(Ending::WasGone);
        };
        self.signal(&handle, Signal::TERM)?;
        if self.wait_gone(limit).await {
            return Ok(Ending::Clean);
        }
        self.signal(&handle, Signal::KILL)?;
        if self.wait_gone(KILL_LIMIT).await {
            return Ok(Ending::Killed);
        }
        Err(anyhow!(
            "process {} does not end, not even when killed; look for it in `ps`",
            self.pid
        ))
    }

    /// Waits until it has ended; whether it has within `limit`.
    pub(crate) async fn wait_gone(&self, limit: Duration) -> bool {
        let gone = patience::until(limit, || match self.is_alive() {
            Ok(false) => Some(()),
            Ok(true) | Err(_) => None,
        });
        gone.await.is_some()
    }

    fn open(&self) -> Result<Option<OwnedFd>> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is no process id", self.pid))?;
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error).context("cannot take hold of a process"),
        };
        // The handle is the process that had the pid when it was opened; if that one is ours
        // now, it was ours then.
        Ok(self.is_alive()?.then_some(handle))
    }

    fn signal(&self, handle: &OwnedFd, signal: Signal) -> Result<()> {
        match pidfd_send_signal(handle, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot end process {}", self.pid)),
        }
    }
}

/// Start time of the process that has `pid`; `None` if none has or it is a zombie.
fn start_of(pid: u32) -> Result<Option<u64>> {
    let stat = match std::fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        // ESRCH: it ended between open and read.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot look at process {pid}")),
    };
    parse_stat(&stat).with_context(|| format!("/proc/{pid}/stat is not as Linux writes it"))
}

/// The program's name, in parentheses, may itself hold spaces and parentheses.
fn parse_stat(stat: &[u8]) -> Result<Option<u64>> {
    let text = String::from_utf8_lossy(stat);
    let (_name, rest) = text.rsplit_once(')').context("no program name")?;
    let mut fields = rest.split_whitespace();
    let state = fields.next().context("no state")?;
    // The state is field 3, the start time field 22.
    let start = fields
        .nth(18)
        .context("no start time")?
        .parse()
        .context("no start time")?;
    Ok((!matches!(state, "Z" | "X" | "x")).then_some(start))
}

fn boot_id() -> Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .context("cannot read the id of this boot")?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper() -> Child {
        Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("sleep starts")
    }

    #[test]
    fn a_stat_line_with_a_wild_program_name_is_read() {
        let tail = "S 1 5 5 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1";
        let line = format!("42 (a) b (c) {tail}");
        assert_eq!(parse_stat(line.as_bytes()).expect("a line"), Some(777));
        let zombie = format!("42 (x) {}", tail.replacen('S', "Z", 1));
        assert_eq!(parse_stat(zombie.as_bytes()).expect("a line"), None);
        assert!(parse_stat(b"42 (x) S 1").is_err());
        assert!(parse_stat(b"").is_err());
    }

    #[tokio::test]
    async fn a_recycled_pid_is_never_signalled() {
        let mut child = sleeper();
        let real = ProcessId::of(child.id()).expect("/proc").expect("it runs");
        let other = ProcessId {
            start_ticks: real.start_ticks + 1,
            ..real.clone()
        };
        assert!(!other.is_alive().expect("/proc"));
        assert_eq!(
            other.terminate(Duration::ZERO).await.expect("/proc"),
            Ending::WasGone
        );
        let other = ProcessId {
            boot_id: "another boot".into(),
            ..real.clone()
        };
        assert_eq!(
            other.terminate(Duration::ZERO).await.expect("/proc"),
            Ending::WasGone
        );
        assert!(real.is_alive().expect("/proc"));
        child.kill().expect("it runs");
        child.wait().expect("it ended");
    }

    #[tokio::test]
    async fn a_process_is_ended_once_and_its_zombie_counts_as_gone() {
        let mut child = sleeper();
        let id = ProcessId::of(child.id()).expect("/proc").expect("it runs");
        let limit = Duration::from_secs(30);
        assert_eq!(id.terminate(limit).await.expect("/proc"), Ending::Clean);
        // Nobody has waited for it yet.
        assert!(!id.is_alive().expect("/proc"));
        assert_eq!(id.terminate(limit).await.expect("/proc"), Ending::WasGone);
        child.wait().expect("it ended");
        assert_eq!(id.terminate(limit).await.expect("/proc"), Ending::WasGone);
    }

    #[test]
    fn an_identity_survives_its_file() {
        let own = ProcessId::own().expect("/proc");
        let text = serde_json::to_string(&own).expect("JSON");
        assert_eq!(serde_json::from_str::<ProcessId>(&text).expect("JSON"), own);
    }
}
