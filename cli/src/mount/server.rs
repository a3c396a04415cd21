//! The process behind a mount, as whoever unmounts it sees it.

use crate::process::ProcessId;
use crate::target::Mounted;
use anyhow::{Context, Result, anyhow, bail};
use fs_client::mount::{Outcome, OutcomeReader};
use std::path::Path;
use std::time::Duration;

/// A process that serves a mount, with its word on how that ends.
#[derive(Debug)]
pub(crate) struct Server {
    process: ProcessId,
    outcome: OutcomeReader,
}

impl Server {
    /// The server of the mount at `point`. To be found before the unmount: nothing says it after.
    pub(crate) fn of(point: &Path) -> Result<Self> {
        let mounted = Mounted::at(point)?;
        let config = mounted.config()?;
        let pid = mounted.server_pid(&config)?;
        let outcome = OutcomeReader::open(pid, &config)
            .with_context(|| format!("process {pid} does not let it be seen how it ends"))?;
        // Whoever had the outcome open a moment ago is the server, so this is the server.
        let process = ProcessId::of(pid)?;
        let process = process.with_context(|| format!("its process {pid} has ended"))?;
        Ok(Self { process, outcome })
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until the process has ended; whether it has within `limit`.
    pub(crate) async fn wait_gone(&self, limit: Duration) -> bool {
        self.process.wait_gone(limit).await
    }

    /// Whether the process, which has ended, had stored everything; if not, in its own words.
    pub(crate) fn stored(&self) -> Result<()> {
        let pid = self.process.pid();
        let said = self.outcome.read().with_context(|| {
            format!("cannot read how process {pid} ended, so data may have been lost")
        })?;
        match said {
            Some(Outcome::Stored) => Ok(()),
            Some(Outcome::Failed(words)) => Err(anyhow!("its process {pid} failed: {words}")),
            None => bail!(
                "its process {pid} ended without saying that everything written was stored, so \
                 data may have been lost"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::fs::File;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    /// A server that has said this, in the form that is a promise between versions.
    fn server(said: &str) -> Server {
        let file = memfd_create("curlew-outcome", MemfdFlags::CLOEXEC).expect("a file");
        let mut file = File::from(file);
        let inode = file.metadata().expect("metadata").ino();
        let place = serde_json::json!({ "fd": file.as_raw_fd(), "inode": inode });
        let config = serde_json::json!({ "outcome": place });
        file.write_all(said.as_bytes()).expect("written");
        let process = ProcessId::own().expect("/proc");
        let outcome = OutcomeReader::open(process.pid(), &config).expect("its outcome");
        Server { process, outcome }
    }

    #[test]
    fn only_a_server_that_says_so_has_stored_everything() {
        server("\"stored\"").stored().expect("all is well");
        for (said, told) in [
            ("{\"failed\":\"the disk is full\"}", "the disk is full"),
            ("", "without saying"),
            ("{\"fai", "cannot read"),
        ] {
            let error = server(said).stored().expect_err(said);
            assert!(error.to_string().contains(told), "{error:#}");
        }
    }

    #[test]
    fn a_directory_that_is_no_mount_has_no_server() {
        assert!(Server::of(Path::new("/proc")).is_err());
    }
}
