//! The way to a server that does nothing, in a process of its own.

use anyhow::{Context, Result, ensure};
use clap::Args;
use jepsen::process::Process;
use jepsen::wait;
use meta_client::bench::{EchoServer, Floor, echo};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `bench echo-server`.
#[derive(Args, Debug)]
pub(crate) struct EchoServerArgs {
    /// The file that gets its address
    #[arg(long)]
    address: PathBuf,
}

/// Serves until it is killed.
pub(crate) async fn serve_echo(args: &EchoServerArgs) -> Result<ExitCode> {
    let server = EchoServer::start().await?;
    fs::write(&args.address, format!("{}\n", server.addr()))?;
    server.served().await;
    Ok(ExitCode::FAILURE)
}

/// Creates over a stream to an echo, so many at once, for `time`.
pub(crate) async fn echoed(dir: &Path, in_flight: usize, time: Duration) -> Result<Floor> {
    let (address, log) = (dir.join("echo.address"), dir.join("echo.log"));
    if address.exists() {
        fs::remove_file(&address)?;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("echo-server").arg("--address").arg(&address);
    let mut server = Process::spawn("the echo", &mut command, &log)?;
    let addr = wait::until("the echo to listen", PATIENCE, async || {
        ensure!(
            server.ended()?.is_none(),
            "it ended\n{}",
            server.log_tail(20)
        );
        let told = fs::read_to_string(&address).unwrap_or_default();
        Ok(match told.strip_suffix('\n') {
            Some(addr) => Ok(addr.to_owned()),
            None => Err(String::new()),
        })
    });
    let addr = addr.await?.parse().context("the echo's address")?;
    Ok(echo(addr, in_flight, time).await?)
}
