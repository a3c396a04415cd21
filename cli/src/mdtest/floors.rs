//! What the machine does without Curlew.

use anyhow::{Context, Result};
use meta_client::bench::{EchoServer, Floor, echo, fdatasync};
use std::time::Duration;

/// How long each floor is measured.
const TIME: Duration = Duration::from_secs(2);

/// Both floors, with so many operations at once.
pub(super) async fn measure(threads: usize) -> Result<Vec<Floor>> {
    let synced = tokio::task::spawn_blocking(synced).await??;
    let server = EchoServer::start().await.context("cannot start the echo")?;
    let echoed = echo(server.addr(), threads, TIME).await?;
    Ok(vec![synced, echoed])
}

fn synced() -> Result<Floor> {
    let dir = std::env::temp_dir();
    let file = tempfile::tempfile()
        .with_context(|| format!("no file can be made in {}", dir.display()))?;
    fdatasync(file, TIME).with_context(|| format!("{} takes no durable write", dir.display()))
}
