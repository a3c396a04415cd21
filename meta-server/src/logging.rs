//! The node's log: structured events on stderr, as lines for people or as JSON.

use crate::config::{LogConfig, LogFormat};
use tracing_subscriber::EnvFilter;

/// Says what is wrong with a level or filter.
pub(crate) fn check_level(level: &str) -> Result<(), String> {
    const LEVELS: &str = "error, warn, info, debug or trace";
    // A lone word that is no level would be taken as the name of a module, and log nothing.
    let lone = !level.contains([',', '=']);
    let known = matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace");
    if lone && !known {
        return Err(format!("must be {LEVELS}, not {level:?}"));
    }
    match EnvFilter::try_new(level) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("must be {LEVELS}, or a filter: {error}")),
    }
}

/// Sends the log of this process to stderr from now on. A second call changes nothing.
pub fn init(config: &LogConfig) {
    // openraft tells every vote at info, and every unanswered heartbeat as a warning; what an
    // administrator needs of that, the node says itself.
    let filter = if config.level.contains(['=', ',']) {
        EnvFilter::new(&config.level)
    } else {
        EnvFilter::new(format!(
            "{},openraft=error,h2=warn,hyper=warn,tower=warn",
            config.level
        ))
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => lines.with_target(false).with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "the process has a log already");
    }
}
