//! Logs of a mount: structured, on stderr or in a file.

use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Mutex;
use tracing_subscriber::EnvFilter;

/// Takes what to log as `RUST_LOG` does elsewhere.
const FILTER_VARIABLE: &str = "CURLEW_LOG";
/// What is logged if nothing is asked for.
const FILTER_DEFAULT: &str = "info";

/// Begins to log to `file`, or to stderr.
pub(crate) fn start(file: Option<&Path>) -> Result<()> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => EnvFilter::try_new(text)
            .with_context(|| format!("{FILTER_VARIABLE} is no filter for logs"))?,
        Err(_unset) => EnvFilter::new(FILTER_DEFAULT),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    let started = match file {
        None => {
            let is_terminal = std::io::stderr().is_terminal();
            logs.with_ansi(is_terminal)
                .with_writer(std::io::stderr)
                .try_init()
        }
        Some(path) => {
            let file = File::options()
                .create(true)
                .append(true)
                .open(path)
                .with_context(|| format!("cannot write the log file {}", path.display()))?;
            logs.with_ansi(false)
                .with_writer(Mutex::new(file))
                .try_init()
        }
    };
    started.map_err(|error| anyhow!("cannot start logging: {error}"))
}
