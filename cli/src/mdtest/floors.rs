//! What the machine does without Curlew.

use anyhow::{Context, Result};
use meta_client::bench::{EchoServer, Floor, Sample, echo};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long each floor is measured.
const TIME: Duration = Duration::from_secs(2);

/// Both floors, with so many operations at once.
pub(super) async fn measure(threads: usize) -> Result<Vec<Floor>> {
    let synced = tokio::task::spawn_blocking(fdatasync).await??;
    let server = EchoServer::start().await.context("cannot start the echo")?;
    let echoed = echo(server.addr(), threads, TIME).await?;
    Ok(vec![synced, echoed])
}

/// Appends small records to a file, each followed by fdatasync: what a log cannot do better with one
/// write at a time.
fn fdatasync() -> Result<Floor> {
    let dir = std::env::temp_dir();
    let mut file = tempfile::tempfile()
        .with_context(|| format!("no file can be made in {}", dir.display()))?;
    let record = [7_u8; 512];
    let mut each = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let start = Instant::now();
        file.write_all(&record)
            .and_then(|()| file.sync_data())
            .with_context(|| format!("{} takes no durable write", dir.display()))?;
        each.push(start.elapsed());
    }
    let took = begin.elapsed();
    Ok(Sample { took, each }.floor("fdatasync"))
}
